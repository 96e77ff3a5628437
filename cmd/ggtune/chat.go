package main

import (
	"bufio"
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
		Description: "Reads a line, answers, and remembers. A line that begins with a slash is a command:\n" + talkHelp() + "\n" +
			"  ggtune chat -m model.gguf -a run/adapter.gguf --system \"You are terse.\"",
		Flags: append(append([]cli.Flag{modelFlag(), adapterFlag()}, chatFlags()...), append(samplingFlags(), seedFlag(), threadsFlag(), deviceFlag(), jsonFlag())...),
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
		&cli.StringFlag{Name: "template", Usage: "the Jinja template in `FILE`, or a built-in one by name, instead of the model's own"},
		&cli.IntFlag{Name: "predict", Aliases: []string{"n"}, Usage: "at most `N` tokens an answer; 0: until the model ends it"},
		&cli.IntFlag{Name: "ctx", Usage: "context of `N` tokens; 0: what the model was trained for, at most 4096"},
		&cli.Float64Flag{Name: "scale", Usage: "multiply the adapter's effect by `X`", Value: 1},
	}
}

// talkCommands are what a line may ask for in place of an answer.
var talkCommands = []struct{ name, about string }{
	{"/reset", "forget the conversation"},
	{"/base", "switch the adapter off"},
	{"/adapter", "switch the adapter on again"},
	{"/help", "list these commands"},
	{"/quit", "end; so does the end of the input"},
}

// talkHelp is a line for each command.
func talkHelp() string {
	var b strings.Builder
	for _, c := range talkCommands {
		fmt.Fprintf(&b, "  %-9s %s\n", c.name, c.about)
	}
	return b.String()
}

// A talk is one running conversation.
type talk struct {
	c        *cli.Context
	g        *generate.Generator
	chat     *generate.Chat
	messages []template.Message
	sampling llama.Sampling
	most     int // tokens of an answer
	terminal bool
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
	t := &talk{c: c, g: g, chat: chat, sampling: s, most: c.Int("predict"), terminal: isTerminal(c.App.Writer) && !c.Bool("json")}
	t.reset()
	if t.most == 0 {
		t.most = math.MaxInt32 // the end of the turn or of the context comes first
	}
	nextLine := readLines(c.App.Reader)
	for {
		if t.terminal {
			fmt.Fprint(c.App.Writer, "> ")
		}
		line, err := nextLine(c.Context)
		if err == io.EOF {
			if t.terminal {
				fmt.Fprintln(c.App.Writer)
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch line = strings.TrimSpace(line); {
		case line == "":
			continue
		case line == "/quit":
			return nil
		case strings.HasPrefix(line, "/"):
			if err := t.command(line); err != nil {
				return err
			}
			continue
		}
		if err := t.answer(line); err != nil {
			return err
		}
	}
}

// answer lets the model answer a line. A person whose conversation no longer fits is told, and may go on; a program fails.
func (t *talk) answer(line string) error {
	messages := append(t.messages[:len(t.messages):len(t.messages)], template.Message{Role: "user", Content: line})
	tokens, err := t.chat.Prompt(messages)
	if err != nil {
		return err
	}
	read := busy(t.c, "read")
	show := func(text string) {
		read()
		io.WriteString(modelText(t.c.App.Writer), text)
	}
	if t.c.Bool("json") {
		show = nil
	}
	r, err := t.g.Continue(t.c.Context, tokens, t.most, t.sampling, show)
	read()
	if long := (*generate.LongError)(nil); errors.As(err, &long) && isTerminal(t.c.App.Reader) {
		fmt.Fprintf(t.c.App.ErrWriter, "note: %v; /reset begins anew\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	t.messages = messages
	return t.answered(line, r)
}

// answered shows the end of an answer and remembers it.
func (t *talk) answered(prompt string, r generate.Result) error {
	t.messages = append(t.messages, template.Message{Role: "assistant", Content: r.Text})
	if t.c.Bool("json") {
		line := generateLine{Result: r, Prompt: prompt}
		if a := t.c.String("adapter"); a != "" && t.g.InUse() != generate.Base {
			line.Adapter = &a
		}
		return printJSON(t.c.App.Writer, line)
	}
	fmt.Fprintln(t.c.App.Writer)
	if r.Stop == generate.StopContext {
		fmt.Fprintf(t.c.App.ErrWriter, "note: the context of %s is full; /reset begins anew, --ctx raises it\n", count.Of(t.g.NCtx(), "token"))
	}
	return nil
}

func (t *talk) reset() {
	t.messages = nil
	if s := t.c.String("system"); s != "" {
		t.messages = []template.Message{{Role: "system", Content: s}}
	}
}

// command does what a line that begins with a slash asks.
func (t *talk) command(line string) error {
	w := t.c.App.ErrWriter
	switch line {
	case "/reset":
		t.reset()
	case "/base", "/adapter":
		if t.c.String("adapter") == "" {
			fmt.Fprintln(w, "there is no adapter; start with -a adapter.gguf")
			return nil
		}
		if line == "/base" {
			return t.g.Use(generate.Base)
		}
		return t.g.Use(0)
	case "/help":
		fmt.Fprint(w, talkHelp())
	default:
		var known []string
		for _, c := range talkCommands {
			known = append(known, c.name)
		}
		fmt.Fprintf(w, "unknown command %s; known: %s\n", line, strings.Join(known, ", "))
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

// readLines gives a function that reads the next line of r, or returns context.Cause(ctx) once ctx ends. The reading is in a
// goroutine: a read from a terminal cannot be cancelled, and Ctrl-C must not wait for one. It reads only when asked, so that
// another program may have the terminal in between, and ends with the process.
func readLines(r io.Reader) func(ctx context.Context) (string, error) {
	type result struct {
		text string
		err  error
	}
	ask, out := make(chan struct{}), make(chan result)
	go func() {
		b := bufio.NewReader(r)
		for range ask {
			text, err := b.ReadString('\n')
			if text != "" {
				err = nil // it comes again
			}
			out <- result{text, err}
		}
	}()
	return func(ctx context.Context) (string, error) {
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case ask <- struct{}{}:
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case l := <-out:
			return l.text, l.err
		}
	}
}
