package main

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/finetune/generate"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/regular"
)

func generateCommand() *cli.Command {
	return &cli.Command{
		Name:      "generate",
		Usage:     "let a model write, with or without an adapter",
		UsageText: "-m model.gguf [-a adapter.gguf] -p TEXT [options]",
		Description: "-p is raw text, which the model continues; with --chat it is put to the model as a user's " +
			"turn.\n\n" +
			"  ggtune generate -m model.gguf -a run/adapter.gguf -p \"Once upon a time\" -n 64 --temp 0\n" +
			"  ggtune generate -m model.gguf -a run/adapter.gguf --chat -p \"Where does a cow live?\" --compare",
		Flags: append(append([]cli.Flag{modelFlag(), adapterFlag()}, generateFlags()...),
			append(samplingFlags(), seedFlag(), threadsFlag(), deviceFlag(), jsonFlag())...),
		Action: generateAction,
	}
}

func generateFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "the `TEXT` to continue"},
		&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the prompt from `FILE`; -: standard input"},
		&cli.BoolFlag{Name: "chat", Usage: "put the prompt as a user's turn, through the model's chat template"},
		&cli.StringFlag{Name: "system", Usage: "with --chat: the system message `TEXT`"},
		&cli.StringFlag{Name: "template",
			Usage: "with --chat: the Jinja template in `FILE`, or a built-in one by name, instead of the model's own"},
		&cli.IntFlag{Name: "predict", Aliases: []string{"n"}, Usage: "write at most `N` tokens", Value: 256},
		&cli.IntFlag{Name: "ctx", Usage: "context of `N` tokens; 0: what the model was trained for, at most 4096"},
		&cli.Float64Flag{Name: "scale", Usage: "multiply the adapter's effect by `X`", Value: 1},
		&cli.BoolFlag{Name: "compare", Usage: "with an adapter: first without it, then with it"},
	}
}

// generateLine is one text in --json. The prompt is not part of the text.
type generateLine struct {
	generate.Result
	Prompt  string  `json:"prompt"`
	Adapter *string `json:"adapter"` // null: the model as it is
}

func generateAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	prompt, err := promptText(c)
	if err != nil {
		return err
	}
	s, err := sampling(c)
	if err != nil {
		return err
	}
	if c.Int("predict") < 1 {
		return usagef("generate: --predict is %d, expected 1 or more", c.Int("predict"))
	}
	if c.Bool("compare") && c.String("adapter") == "" {
		return usagef("generate: --compare needs an adapter, such as --adapter run/adapter.gguf")
	}
	for _, name := range []string{"system", "template"} {
		if c.IsSet(name) && !c.Bool("chat") {
			return usagef("generate: %s has no effect on raw text; add --chat", dashes(name))
		}
	}
	g, err := openGenerator(c)
	if err != nil {
		return err
	}
	defer g.Close()
	tokens, err := promptTokens(c, g, prompt)
	if err != nil {
		return err
	}
	if c.Bool("compare") {
		if err := g.Use(generate.Base); err != nil {
			return err
		}
		if err := writeText(c, g, prompt, tokens, s, nil); err != nil {
			return err
		}
		if err := g.Use(0); err != nil {
			return err
		}
	}
	var adapter *string
	if a := c.String("adapter"); a != "" {
		adapter = &a
	}
	if err := writeText(c, g, prompt, tokens, s, adapter); err != nil {
		return err
	}
	return noteBase(c, g)
}

// writeText prints one text as it comes, or as one JSON line.
func writeText(c *cli.Context, g *generate.Generator, prompt string, tokens []int32, s llama.Sampling,
	adapter *string) error {
	noteUninvoked(c, g, tokens)
	w := modelText(c.App.Writer)
	if c.Bool("json") {
		written := busy(c, "write")
		r, err := g.Continue(c.Context, tokens, c.Int("predict"), s, nil)
		written()
		if err != nil {
			return err
		}
		return printJSON(w, generateLine{r, prompt, adapter})
	}
	if c.Bool("compare") {
		name := "base"
		if adapter != nil {
			name = *adapter
		}
		fmt.Fprintf(w, "--- %s\n", name)
	}
	read, began := busy(c, "read the prompt"), false
	begin := func() {
		if read(); !began && !c.Bool("chat") {
			fmt.Fprint(w, prompt) // as llama.cpp does
		}
		began = true
	}
	r, err := g.Continue(c.Context, tokens, c.Int("predict"), s, func(text string) {
		begin()
		io.WriteString(w, text)
	})
	begin()
	fmt.Fprintln(w)
	if err == nil && r.Stop == generate.StopContext {
		fmt.Fprintf(c.App.ErrWriter, "note: the context of %s is full; --ctx raises it\n", count.Of(g.NCtx(), "token"))
	}
	return err
}

// noteUninvoked says that the adapter in use does nothing for a prompt without its invocation.
func noteUninvoked(c *cli.Context, g *generate.Generator, prompt []int32) {
	if !g.Invoked(prompt) {
		fmt.Fprintln(c.App.ErrWriter, "note: the prompt does not hold the adapter's invocation, so the base alone "+
			"writes (ggtune inspect shows its tokens)")
	}
}

// promptText is the prompt from -p or --file.
func promptText(c *cli.Context) (string, error) {
	path := c.String("file")
	switch {
	case path != "" && c.IsSet("prompt"):
		return "", usagef("generate: --prompt and --file are both given; give one")
	case path == "-":
		return readStdin(c)
	case path != "":
		b, err := regular.Read(path, maxSmall)
		return string(b), err
	case !c.IsSet("prompt"):
		return "", missing(c, "prompt", `"Once upon a time"`)
	}
	return c.String("prompt"), nil
}

// readStdin reads all of standard input, or returns context.Cause(c.Context) once that ends. The reading is in a
// goroutine that ends with the process: a read from a terminal or a pipe cannot be cancelled, and Ctrl-C must not wait
// for one.
func readStdin(c *cli.Context) (string, error) {
	type result struct {
		text []byte
		err  error
	}
	out := make(chan result, 1)
	go func() {
		b, err := regular.ReadFrom(c.App.Reader, "standard input", maxSmall)
		out <- result{b, err}
	}()
	select {
	case <-c.Context.Done():
		return "", context.Cause(c.Context)
	case r := <-out:
		return string(r.text), r.err
	}
}

// openGenerator opens what -m, -a and the options beside them name.
func openGenerator(c *cli.Context) (*generate.Generator, error) {
	model, err := required(c, "model", "model.gguf")
	if err != nil {
		return nil, err
	}
	if err := checkDevice(c); err != nil {
		return nil, err
	}
	n, err := threads(c)
	if err != nil {
		return nil, err
	}
	if c.Int("ctx") < 0 {
		return nil, usagef("%s: --ctx is %d, expected 0 or more", c.Command.Name, c.Int("ctx"))
	}
	if c.IsSet("scale") && c.String("adapter") == "" {
		return nil, usagef("%s: --scale needs an adapter to scale", c.Command.Name)
	}
	cfg := generate.Config{Model: model, Ctx: c.Int("ctx"), Threads: n}
	if a := c.String("adapter"); a != "" {
		cfg.Adapters = []generate.Adapter{{Path: a, Scale: float32(c.Float64("scale"))}}
	}
	loaded := busy(c, "load "+model)
	g, err := generate.Open(cfg)
	loaded()
	if err != nil {
		return nil, err
	}
	for _, note := range g.Notes() {
		fmt.Fprintln(c.App.ErrWriter, "note:", note)
	}
	return g, nil
}

// rawTokens tokenizes a raw prompt, and warns of a beginning that is there twice.
func rawTokens(c *cli.Context, g *generate.Generator, prompt string) ([]int32, error) {
	tokens, err := g.Raw(prompt)
	if err != nil {
		return nil, err
	}
	bos, err := g.TwiceBegun(tokens)
	if bos != "" {
		fmt.Fprintf(c.App.ErrWriter, "note: the prompt begins with %q, and the model asks for one before every "+
			"text: it reads two, which it never learned; "+
			"leave it out of the prompt\n", bos)
	}
	return tokens, err
}

// promptTokens tokenizes the prompt: raw, or as a user's turn.
func promptTokens(c *cli.Context, g *generate.Generator, prompt string) ([]int32, error) {
	if !c.Bool("chat") {
		return rawTokens(c, g, prompt)
	}
	chat, err := openChat(c, g)
	if err != nil {
		return nil, err
	}
	var messages []template.Message
	if system := c.String("system"); system != "" {
		messages = append(messages, template.Message{Role: "system", Content: system})
	}
	return chat.Prompt(append(messages, template.Message{Role: "user", Content: prompt}))
}
