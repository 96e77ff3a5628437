package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/rate"
	"github.com/ggtune/ggtune/internal/count"
)

// A desk is where a person rates in a terminal.
type desk struct {
	c    *cli.Context
	s    *rate.Session
	w    io.Writer // standard error with --json
	line func(context.Context) (string, error)
	// equal and failed are how many of the pairs left out have been told of.
	equal, failed int
	shown         string // the pair that stands above, with its revision
}

// errQuit is how a person ends.
var errQuit = errors.New("quit")

// rateTTY rates in the terminal until the input ends, the person ends it, or, with finish, all is rated.
func rateTTY(ctx context.Context, c *cli.Context, s *rate.Session, finish bool) error {
	d := &desk{c: c, s: s, w: c.App.Writer, line: readLines(c.App.Reader)}
	if c.Bool("json") {
		d.w = c.App.ErrWriter
	}
	view, _ := s.View()
	fmt.Fprintf(d.w, "Every choice is saved at once in %s. Keys, each with Enter:\n%s\n", c.String("output"),
		deskKeys(view))
	for {
		err := d.pair(ctx, finish)
		var refused *rate.RefusedError
		switch {
		case errors.Is(err, errQuit), err == io.EOF:
			return nil
		case errors.As(err, &refused):
			fmt.Fprintf(d.w, "  %v\n", err)
		case err != nil:
			return err
		}
	}
}

func deskKeys(view rate.View) string {
	const others = "    s skip    u undo    p TEXT a prompt of your own    q quit"
	switch {
	case view.Stars:
		return fmt.Sprintf("  4 1 5 the stars of each answer in their order, 1 to %d\n", rate.MostStars) +
			"  x all bad    e a edit A to be better" + others
	case view.Ranked():
		return "  b a=c the best first, = between equals; those that are not named come last\n" +
			"  x all bad    e a edit A to be better" + others
	}
	return "  a or 1 A is better    t tie    e a, e b edit A or B to be better    u undo    p TEXT a prompt of " +
		"your own\n" +
		"  b or 2 B is better    x both bad    s skip    q quit"
}

// pair shows the pair at hand, as it is written, and does what one line asks.
func (d *desk) pair(ctx context.Context, finish bool) error {
	view, err := d.show(ctx)
	if err != nil {
		return err
	}
	if view.Complete() {
		return d.complete(ctx, view, finish)
	}
	keys := "a b t x e s u p q > "
	if view.Stars {
		keys = "stars, or x e s u p q > "
	} else if view.Ranked() {
		keys = "best first, or x e s u p q > "
	}
	line, err := d.ask(ctx, keys)
	if err != nil {
		return err
	}
	if choice, values := listedIn(view, line); choice != "" {
		return d.s.Decide(rate.Decision{Revision: view.Revision, ID: view.ID, Choice: choice, Values: values})
	}
	decide := func(c rate.Choice) error {
		return d.s.Decide(rate.Decision{Revision: view.Revision, ID: view.ID, Choice: c})
	}
	word, rest, _ := strings.Cut(line, " ")
	switch word = strings.ToLower(word); word {
	case "x":
		return decide(rate.Bad)
	case "s":
		return decide(rate.Skip)
	case "e":
		return d.edit(ctx, view, strings.ToLower(strings.TrimSpace(rest)))
	}
	ofTwo := map[string]rate.Choice{"a": rate.A, "1": rate.A, "b": rate.B, "2": rate.B, "t": rate.Tie, "3": rate.Tie,
		"4": rate.Bad}
	if choice := ofTwo[word]; choice != "" && !view.Listed() {
		return decide(choice)
	}
	return d.command(view, word, rest)
}

// listedIn reads what a line says of a list of answers, by view's way of judging them; "" where it says something else.
func listedIn(view rate.View, line string) (rate.Choice, []int) {
	n := len(view.Texts)
	values := make([]int, n)
	words := strings.Fields(strings.ToLower(line))
	switch {
	case view.Stars:
		if digits := strings.Join(words, ""); len(digits) == n && strings.Trim(digits, "0123456789") == "" {
			for i := range values {
				values[i] = int(digits[i] - '0')
			}
			return rate.Stars, values
		}
	case view.Ranked():
		rank, equal := 0, false
		for _, c := range strings.Join(words, "") {
			i := max(strings.IndexRune("abcdefghi"[:n], c), strings.IndexRune("123456789"[:n], c))
			switch {
			case c == '=' && rank > 0 && !equal:
				equal = true
				continue
			case i < 0 || values[i] != 0:
				return "", nil
			case !equal:
				rank++
			}
			values[i], equal = rank, false
		}
		if rank > 0 && !equal {
			return rate.Rank, values
		}
	}
	return "", nil
}

// command does what may be asked whether or not a pair is on show.
func (d *desk) command(view rate.View, word, rest string) error {
	switch strings.ToLower(word) {
	case "u":
		return d.s.Undo(view.Revision)
	case "p":
		return d.s.Type(view.Revision, rest)
	case "q":
		return errQuit
	}
	return &rate.RefusedError{Reason: "keys:\n" + deskKeys(view)}
}

// complete asks what to do when nothing is left.
func (d *desk) complete(ctx context.Context, view rate.View, finish bool) error {
	prompt := "All pairs are rated. Enter ends, u takes the last choice back > "
	if !finish {
		prompt = "Your prompt (u takes the last choice back, q ends) > "
	}
	line, err := d.ask(ctx, prompt)
	switch {
	case err != nil:
		return err
	case line == "" && finish:
		return errQuit
	case line == "":
		return nil
	}
	word, rest, _ := strings.Cut(line, " ")
	if !finish && line != "u" && line != "q" && word != "p" {
		word, rest = "p", line
	}
	return d.command(view, word, rest)
}

// ask reads a line.
func (d *desk) ask(ctx context.Context, prompt string) (string, error) {
	fmt.Fprint(d.w, prompt)
	line, err := d.line(ctx)
	if err != nil {
		fmt.Fprintln(d.w)
	}
	return strings.TrimSpace(line), err
}

// show prints the pair on show while it is written, and returns the view once it is ready, or once there is none.
func (d *desk) show(ctx context.Context) (rate.View, error) {
	var id string   // of the pair being printed
	var at, put int // answer being printed, and bytes of it that are
	for {
		view, changed := d.s.View()
		d.leftOut(view)
		key := fmt.Sprint(view.Revision, " ", view.ID)
		if view.Complete() || key == d.shown {
			return view, nil
		}
		if view.Choosing && id == "" {
			fmt.Fprintln(d.w, "\n(answers are being written, of which the reward model's most doubtful come next)")
			id = "choosing"
		}
		if !view.Choosing && view.ID != id {
			id, at, put = view.ID, 0, 0
			d.head(view)
		}
		for at < len(view.Texts) {
			if put == 0 {
				fmt.Fprintf(d.w, "\n--- %c\n", 'A'+at)
				put = 1 // the heading is out: bytes are counted from 1
			}
			text := view.Texts[at]
			if put-1 > len(text) { // it came out equal to the other and is written again
				fmt.Fprint(d.w, "\n(again)\n")
				put = 1
			}
			fmt.Fprint(d.w, printable(text[put-1:]))
			put = 1 + len(text)
			if !view.Written[at] {
				break
			}
			if n := view.Cut[at]; n > 0 {
				fmt.Fprintf(d.w, " … (cut off after %s)", count.Of(n, "token"))
			}
			fmt.Fprintln(d.w)
			at, put = at+1, 0
		}
		if view.Ready {
			fmt.Fprintln(d.w)
			d.shown = key
			return view, nil
		}
		select {
		case <-ctx.Done():
			fmt.Fprintln(d.w)
			return view, context.Cause(ctx)
		case <-changed:
		}
	}
}

// head prints the prompt.
func (d *desk) head(view rate.View) {
	fmt.Fprintf(d.w, "\n=== %d of %d\n", view.Rated+1, view.Total())
	for _, m := range view.Prompt.Messages {
		fmt.Fprintf(d.w, "%s: %s\n", printable(m.Role), printable(m.Content))
	}
	if view.Prompt.Messages == nil {
		fmt.Fprintln(d.w, printable(view.Prompt.Text))
	}
}

// leftOut tells of pairs that cannot be rated.
func (d *desk) leftOut(view rate.View) {
	for ; d.equal < len(view.Equal); d.equal++ {
		fmt.Fprintf(d.w, "\n(%s is left out: both answers came out the same)\n", view.Equal[d.equal])
	}
	for ; d.failed < len(view.Failed); d.failed++ {
		fmt.Fprintln(d.w, "\n(this prompt cannot be answered, and is left out; why is said at the end)")
	}
}

// edit takes a better text for one answer: from the person's editor in a terminal, else from lines up to a lone dot.
func (d *desk) edit(ctx context.Context, view rate.View, which string) error {
	from := strings.Index("abcdefghi"[:len(view.Texts)], which)
	if len(which) != 1 || from < 0 {
		return &rate.RefusedError{Reason: "say which one to edit: e a, or e b"}
	}
	var text string
	var err error
	if editor := d.editor(); editor != "" {
		text, err = edited(ctx, editor, view.Texts[from])
	} else {
		text, err = d.typed(ctx)
	}
	if err != nil {
		return err
	}
	return d.s.Decide(rate.Decision{Revision: view.Revision, ID: view.ID, Choice: rate.Edit, Edited: text,
		EditedFrom: from})
}

func (d *desk) typed(ctx context.Context) (string, error) {
	fmt.Fprintln(d.w, "Write the better answer; a line with a single dot ends it.")
	var b strings.Builder
	for {
		line, err := d.line(ctx)
		if err != nil {
			return "", err
		}
		if strings.TrimRight(line, "\r\n") == "." {
			return strings.TrimSuffix(b.String(), "\n"), nil
		}
		b.WriteString(line)
	}
}

// editor is the person's own, where input and output are a terminal that it can have.
func (d *desk) editor() string {
	if !isTerminal(d.c.App.Reader) || !isTerminal(d.w) {
		return ""
	}
	if e := os.Getenv("VISUAL"); e != "" {
		return e
	}
	return os.Getenv("EDITOR")
}

// edited lets the person's editor change a text. The command is split at spaces, as git does: "code --wait".
func edited(ctx context.Context, editor, text string) (string, error) {
	f, err := os.CreateTemp("", "ggtune-answer-*.txt")
	if err != nil {
		return "", fmt.Errorf("edit the answer: %w", err)
	}
	defer os.Remove(f.Name())
	_, werr := f.WriteString(text)
	if err := errors.Join(werr, f.Close()); err != nil {
		return "", fmt.Errorf("edit the answer: %w", err)
	}
	words := append(strings.Fields(editor), f.Name())
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", &rate.RefusedError{Reason: fmt.Sprintf("the editor %s: %v; set EDITOR to another one", editor, err)}
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return "", fmt.Errorf("edit the answer: %w", err)
	}
	// Editors end the last line.
	if !strings.HasSuffix(text, "\n") {
		b = []byte(strings.TrimSuffix(string(b), "\n"))
	}
	return string(b), nil
}

// printable drops what would steer the terminal: a model may write escape sequences.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}
