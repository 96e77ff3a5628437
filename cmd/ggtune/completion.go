package main

import (
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/bench"
	"github.com/ggtune/ggtune/finetune/combine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/match"
	"github.com/ggtune/ggtune/finetune/merge"
	"github.com/ggtune/ggtune/finetune/mine"
	"github.com/ggtune/ggtune/internal/registry"
	"github.com/ggtune/ggtune/quant/mix"
)

// shellScripts hold, by the shell's name, what makes it ask `ggtune completion --line` for words.
//
//go:embed shells
var shellScripts embed.FS

// shells lists those that there is a script for.
func shells() (names []string) {
	entries, err := fs.ReadDir(shellScripts, "shells")
	if err != nil {
		panic(err) // it is in the binary
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print what completes ggtune's command line in your shell",
		UsageText: "SHELL",
		Description: "SHELL is one of " + strings.Join(shells(), ", ") + ". Commands, options, the names that\n" +
			"options take, and files are completed. For every new shell:\n\n" +
			"  ggtune completion bash > ~/.local/share/bash-completion/completions/ggtune\n" +
			"  ggtune completion zsh > \"${fpath[1]}/_ggtune\"\n" +
			"  ggtune completion fish > ~/.config/fish/completions/ggtune.fish\n\n" +
			"Or for this one alone: source <(ggtune completion bash)",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "line", Hidden: true, Usage: "print what the last of the words that follow may become"},
			jsonFlag(),
		},
		Action: completionAction,
	}
}

func completionAction(c *cli.Context) error {
	if c.Bool("line") {
		w := verbatim(c.App.Writer)
		for _, line := range complete(c.App, c.Args().Slice()) {
			fmt.Fprintln(w, line)
		}
		return nil
	}
	if c.NArg() != 1 {
		return usagef("completion: expected the name of one shell: %s", strings.Join(shells(), ", "))
	}
	shell := c.Args().First()
	if !slices.Contains(shells(), shell) {
		return usagef("completion: %w", &registry.UnknownError{Kind: "shell", Name: shell, Known: shells()})
	}
	script, err := shellScripts.ReadFile("shells/" + shell)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, map[string]string{"shell": shell, "script": string(script)})
	}
	_, err = c.App.Writer.Write(script)
	return err
}

// What complete says in place of words where the shell knows better.
const (
	completeFiles       = ":files"
	completeDirectories = ":directories"
)

// complete lists what the last of words, the command line without the program's name, may become: each a word and,
// after a tab, what it means; or completeFiles or completeDirectories.
func complete(app *cli.App, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	command := app.Command(words[0])
	switch {
	case len(words) == 1 && strings.HasPrefix(last, "-"):
		return beginning(last, []string{"--help\tshow the commands", "--version\tprint the version"})
	case len(words) == 1 || words[0] == "help":
		return beginning(last, described(app))
	case command == nil:
		return nil
	}
	at := standing(command, words[1:])
	switch name, value, joined := strings.Cut(last, "="); {
	case at.option != nil:
		if at.bare {
			last = ""
		}
		return values(command, at.option, last, "")
	case at.onlyArguments:
	case joined && strings.HasPrefix(name, "-"):
		if f := optionOf(command, strings.TrimLeft(name, "-")); f != nil {
			return values(command, f, value, name+"=")
		}
		return nil
	case strings.HasPrefix(last, "-"):
		return beginning(last, options(command, at.given))
	}
	if out := arguments(command, last); out != nil || at.onlyArguments {
		return out
	}
	return beginning(last, options(command, at.given))
}

// A place is where the last word of a command line stands.
type place struct {
	given         []string // options that stand before it
	option        cli.Flag // whose value it is; nil where it is none's
	bare          bool     // it is the sign between option and value
	onlyArguments bool     // after "--"
}

// standing reads a command's words but the last. bash gives the equals sign between an option and its value as a word
// of its own.
func standing(c *cli.Command, words []string) (p place) {
	for i, word := range words {
		last := i == len(words)-1
		switch {
		case word == "=" && i > 0 && strings.HasPrefix(words[i-1], "-"):
			p.option, p.bare = optionOf(c, strings.TrimLeft(words[i-1], "-")), last
		case last:
			return p
		case p.option != nil:
			p.option = nil
		case p.onlyArguments:
		case word == "--":
			p.onlyArguments = true
		case strings.HasPrefix(word, "-"):
			name, _, joined := strings.Cut(strings.TrimLeft(word, "-"), "=")
			f := optionOf(c, name)
			if f == nil {
				continue
			}
			p.given = append(p.given, f.Names()[0])
			if _, isBool := f.(*cli.BoolFlag); !isBool && !joined {
				p.option = f
			}
		}
	}
	return p
}

func optionOf(c *cli.Command, name string) cli.Flag {
	for _, f := range c.Flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// beginning keeps the lines that begin with a word as it is so far.
func beginning(word string, lines []string) []string {
	return slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, word) })
}

// described lists the commands.
func described(app *cli.App) (out []string) {
	for _, name := range commandNames(app) {
		about := "show the commands, or the options of one"
		if c := app.Command(name); c != nil && name != "help" {
			about = c.Usage
		}
		out = append(out, name+"\t"+about)
	}
	return out
}

// options lists a command's options but for those given already that can be given once.
func options(c *cli.Command, given []string) (out []string) {
	for _, f := range c.Flags {
		name := f.Names()[0]
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() {
			continue
		}
		if _, several := f.(*cli.StringSliceFlag); slices.Contains(given, name) && !several {
			continue
		}
		out = append(out, dashes(name)+"\t"+usageOf(c, name))
	}
	return append(out, "--help\tshow the command's options and examples")
}

// values lists what an option's value may become, each after prefix. Of a list with commas it is the last one.
func values(c *cli.Command, f cli.Flag, value, prefix string) (out []string) {
	names, kind := takes(c, f)
	before := value[:strings.LastIndexByte(value, ',')+1]
	for _, name := range names {
		if strings.HasPrefix(name, value[len(before):]) {
			out = append(out, prefix+before+name)
		}
	}
	if kind != "" {
		out = append(out, kind)
	}
	return out
}

// ownValues are what options take that no setting of a run is, by command and option.
var ownValues = map[string]map[string]func() []string{
	"quantize": {"type": writtenTypes},
	"merge":    {"type": writtenTypes, "rounding": merge.Roundings},
	"new":      {"type": func() []string { return []string{"f32", "f16", "bf16"} }},
	"convert":  {"type": convertedTypes},
	"eval":     {"match": match.Names},
	"adapter":  {"type": func() []string { return []string{"f32", "f16"} }},
	"embed": {"as": func() []string { return []string{asDocument, asQuery} },
		"normalize": func() []string { return []string{normalizeL2, normalizeNone} }},
	"mine":  {"sampling": mine.Samplings},
	"bench": {"shape": bench.Shapes, "cases": func() []string { names, _ := bench.CaseNames(); return names }},
}

func writtenTypes() (names []string) {
	for _, m := range mix.All() {
		names = append(names, m.Name)
	}
	return names
}

// placeholder finds the word that stands for the value in an option's help.
var placeholder = regexp.MustCompile("`([^`]*)`|\\b(FILE|DIRECTORY)\\b")

// takes says what an option's value is: one of names, or a file or directory, as its help has it, or both.
func takes(c *cli.Command, f cli.Flag) (names []string, kind string) {
	name := f.Names()[0]
	if own := ownValues[c.Name][name]; own != nil {
		return own(), ""
	}
	defaults := config.Default()
	for _, o := range defaults.Options() {
		if o.Name == name {
			names = o.Values
		}
	}
	usage := ""
	if d, ok := f.(cli.DocGenerationFlag); ok {
		usage = d.GetUsage()
	}
	if m := placeholder.FindStringSubmatch(usage); m != nil {
		switch m[1] + m[2] {
		case "FILE", "FILE[:SCALE]":
			kind = completeFiles
		case "DIRECTORY":
			kind = completeDirectories
		}
	}
	return names, kind
}

// notArguments matches what a usage text says beside arguments: groups of options, options with their values, and
// alternatives.
var notArguments = regexp.MustCompile(`\[[^\[\]A-Z][^\[\]]*\]|\([^()]*\)|--?[a-z-]+ \S+|,.*`)

// arguments lists what a command's argument may become; nil where it takes none, as its usage text has it.
func arguments(c *cli.Command, word string) []string {
	text := c.UsageText
	for before := ""; before != text; { // from the inmost brackets outwards
		before, text = text, notArguments.ReplaceAllString(text, "")
	}
	switch strings.TrimSpace(text) {
	case "":
		return nil
	case "SHELL":
		return append([]string{}, beginning(word, shells())...)
	case "OPERATION FILE…":
		var names []string
		for _, o := range combine.Operations() {
			names = append(names, o.Name+"\t"+o.Doc)
		}
		return append(beginning(word, names), completeFiles)
	case "RUN", "[DIR…]":
		return []string{completeDirectories}
	}
	return []string{completeFiles}
}
