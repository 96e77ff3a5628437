package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/finetune/generate"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/count"
)

func chatCommand() *cli.Command {
	return &cli.Command{
		Name:      "chat",
		Usage:     "talk with a model, with or without an adapter",
		UsageText: "-m model.gguf [-a adapter.gguf] [options]",
		Description: "Reads a line, answers, and remembers. Ctrl-C stops an answer, Ctrl-D ends. A line that begins " +
			"with a\n" +
			"slash is a command; with a space before the slash it is a message:\n" + talkHelp() + "\n" +
			"In a terminal lines can be edited, earlier ones come with the arrow keys and Ctrl-R, and are kept for " +
			"the\n" +
			"next time in " + historyPlace + ", which only you can read.\n\n" +
			"  ggtune chat -m model.gguf -a run/adapter.gguf --system \"You are terse.\"",
		Flags: append(append([]cli.Flag{modelFlag(), adapterFlag()}, chatFlags()...),
			append(samplingFlags(), seedFlag(), threadsFlag(), deviceFlag(), jsonFlag())...),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return chatAction(c)
		},
	}
}

func chatFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "system", Usage: "the system message `TEXT`"},
		&cli.StringFlag{Name: "template",
			Usage: "the Jinja template in `FILE`, or a built-in one by name, instead of the model's own"},
		&cli.IntFlag{Name: "predict", Aliases: []string{"n"},
			Usage: "at most `N` tokens an answer; 0: until the model ends it"},
		&cli.IntFlag{Name: "ctx", Usage: "context of `N` tokens; 0: what the model was trained for, at most 4096"},
		&cli.Float64Flag{Name: "scale", Usage: "multiply the adapter's effect by `X`", Value: 1},
		&cli.BoolFlag{Name: "no-history", Usage: "neither read nor write the file of lines typed earlier"},
	}
}

// errStopped is the cause of the end of an answer that the user had enough of.
var errStopped = errors.New("the answer was stopped")

// A talk is one running conversation.
type talk struct {
	c        *cli.Context
	g        *generate.Generator
	chat     *generate.Chat
	system   string
	messages []template.Message // without the system message
	sampling llama.Sampling
	most     int // tokens of an answer
	// person says that somebody types the lines, who is told of what went wrong and may go on, where a program fails.
	person bool
	saved  saved
}

func chatAction(c *cli.Context) error {
	s, err := sampling(c)
	if err != nil {
		return err
	}
	if c.Int("predict") < 0 {
		return usagef("chat: --predict is %d, expected 0 or more", c.Int("predict"))
	}
	g, err := openGenerator(c)
	if err != nil {
		return err
	}
	defer g.Close()
	chat, err := openChat(c, g)
	if err != nil {
		return err
	}
	if err := noteBase(c, g); err != nil {
		return err
	}
	t := &talk{c: c, g: g, chat: chat, system: c.String("system"), sampling: s, most: c.Int("predict"),
		person: isTerminal(c.App.Reader) && !c.Bool("json")}
	if t.most == 0 {
		t.most = math.MaxInt32 // the end of the turn or of the context comes first
	}
	if t.person && isTerminal(c.App.Writer) {
		t.banner()
	}
	lines := openLines(c)
	defer lines.close()
	return t.run(lines)
}

// banner says with whom one talks, and how.
func (t *talk) banner() {
	who := t.c.String("model")
	if a := t.c.String("adapter"); a != "" {
		who += ", adapter " + a
	}
	var names []string
	for _, c := range talkCommands() {
		names = append(names, c.name)
	}
	fmt.Fprintf(t.c.App.Writer, "%s; context of %s\nCommands: %s\nCtrl-C stops an answer, Ctrl-D ends.\n\n", who,
		count.Of(t.g.NCtx(), "token"), strings.Join(names, " "))
}

// run answers lines until their end.
func (t *talk) run(lines lines) error {
	for {
		prompt := "> "
		if t.c.String("adapter") != "" && t.g.InUse() == generate.Base {
			prompt = "base> "
		}
		line, err := lines.next(t.c.Context, prompt)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch text := strings.TrimSpace(line); {
		case text == "":
		case strings.HasPrefix(line, "/"):
			if err := t.command(text); err == errQuit {
				return nil
			} else if err != nil {
				return err
			}
		default:
			if err := t.answer(text); err != nil {
				return err
			}
		}
	}
}

// conversation is what the template renders.
func (t *talk) conversation(system string, messages []template.Message) []template.Message {
	if system == "" {
		return messages
	}
	return append([]template.Message{{Role: "system", Content: system}}, messages...)
}

// answer lets the model answer a line.
func (t *talk) answer(line string) error {
	messages := append(t.messages[:len(t.messages):len(t.messages)], template.Message{Role: "user", Content: line})
	tokens, err := t.chat.Prompt(t.conversation(t.system, messages))
	if err != nil {
		return t.told(err, "")
	}
	noteUninvoked(t.c, t.g, tokens)
	read := busy(t.c, "read")
	show := func(text string) {
		read()
		io.WriteString(modelText(t.c.App.Writer), text)
	}
	if t.c.Bool("json") {
		show = nil
	}
	ctx, release := t.stoppable()
	r, err := t.g.Continue(ctx, tokens, t.most, t.sampling, show)
	release()
	read()
	if long := (*generate.LongError)(nil); errors.As(err, &long) {
		return t.told(err, "; /reset begins anew")
	}
	stopped := errors.Is(err, errStopped) && t.c.Context.Err() == nil
	if err != nil && !stopped {
		return err
	}
	if stopped && r.Text == "" {
		fmt.Fprintln(t.c.App.ErrWriter, "\nnote: stopped before the answer began; the conversation is as it was")
		return nil
	}
	t.messages = messages
	return t.answered(line, r, stopped)
}

// stoppable is the context of an answer. Where a person waits for it Ctrl-C ends that context, once; pressed again it
// ends the program, as anywhere else. release must be called.
func (t *talk) stoppable() (ctx context.Context, release func()) {
	if !t.person {
		return t.c.Context, func() {}
	}
	ctx, stop := context.WithCancelCause(t.c.Context)
	back := divertInterrupt(ctx, func() { stop(errStopped) })
	return ctx, func() { back(); stop(nil) }
}

// told tells a person of what went wrong with a line; for a program it is the end.
func (t *talk) told(err error, way string) error {
	if !t.person {
		return err
	}
	fmt.Fprintf(t.c.App.ErrWriter, "note: %v%s\n", err, way)
	return nil
}

// answered shows the end of an answer and remembers it. What the model did not end itself is nothing to learn from.
func (t *talk) answered(prompt string, r generate.Result, stopped bool) error {
	answer := template.Message{Role: "assistant", Content: r.Text}
	if stopped || r.Stop != generate.StopEnd {
		answer.Train = new(bool)
	}
	t.messages = append(t.messages, answer)
	if t.c.Bool("json") {
		line := generateLine{Result: r, Prompt: prompt}
		if a := t.c.String("adapter"); a != "" && t.g.InUse() != generate.Base {
			line.Adapter = &a
		}
		return printJSON(t.c.App.Writer, line)
	}
	fmt.Fprintln(t.c.App.Writer)
	switch {
	case stopped:
		fmt.Fprintln(t.c.App.ErrWriter, "note: stopped; what was said is remembered, /again answers anew")
	case r.Stop == generate.StopContext:
		fmt.Fprintf(t.c.App.ErrWriter, "note: the context of %s is full; /reset begins anew, --ctx raises it\n",
			count.Of(t.g.NCtx(), "token"))
	}
	return nil
}

// openChat opens the chat template that the options and the model name, and says so where one stands in.
func openChat(c *cli.Context, g *generate.Generator) (*generate.Chat, error) {
	chat, err := g.Chat(c.String("template"))
	if err != nil {
		return nil, err
	}
	for _, note := range chat.Notes {
		fmt.Fprintln(c.App.ErrWriter, "note:", note)
	}
	return chat, nil
}

// noteBase warns of an adapter that was trained on another base.
func noteBase(c *cli.Context, g *generate.Generator) error {
	hashed := busy(c, "hash "+c.String("model"))
	notes, err := g.BaseNotes(c.Context)
	hashed()
	for _, note := range notes {
		fmt.Fprintln(c.App.ErrWriter, "note:", note)
	}
	return err
}
