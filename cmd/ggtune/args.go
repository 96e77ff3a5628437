package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/internal/registry"
)

// arrange moves a command's options before its arguments, because cli stops reading options at the first argument, and
// refuses an unknown option with the nearest known one. Everything after "--" is an argument.
func arrange(app *cli.App, args []string) ([]string, error) {
	at := 1
	for at < len(args) && strings.HasPrefix(args[at], "-") && args[at] != "--" {
		if err := known(nil, args[at], appOptions); err != nil {
			return nil, err
		}
		at++
	}
	if at >= len(args) {
		return args, nil
	}
	if args[at] == "help" && at+1 < len(args) && app.Command(args[at+1]) == nil {
		return nil, unknownName("command", args[at+1], commandNames(app), "`ggtune help` lists all")
	}
	command := app.Command(args[at])
	if command == nil {
		return args, nil // help, or an unknown command: the app's own action answers
	}
	options := takesValue(command)
	head := slices.Clone(args[:at+1])
	var rest []string
	help := false
	for i := at + 1; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if !strings.HasPrefix(a, "-") || a == "-" {
			rest = append(rest, a)
			continue
		}
		if err := known(command, a, options); err != nil {
			return nil, err
		}
		head = append(head, a)
		help = help || a == "--help" || a == "-h"
		if name, _, joined := strings.Cut(strings.TrimLeft(a, "-"), "="); options[name] && !joined {
			if i+1 >= len(args) {
				return nil, usagef("%s: option %s needs a value", command.Name, a)
			}
			i++
			head = append(head, args[i])
		}
	}
	if help {
		rest = nil // cli takes an argument beside it for a topic of help
	}
	return append(append(head, "--"), rest...), nil
}

var appOptions = map[string]bool{"help": false, "h": false, "version": false}

// takesValue maps each option name of a command to whether a value follows it.
func takesValue(c *cli.Command) map[string]bool {
	m := map[string]bool{"help": false, "h": false}
	for _, f := range c.Flags {
		_, isBool := f.(*cli.BoolFlag)
		for _, n := range f.Names() {
			m[n] = !isBool
		}
	}
	return m
}

// known reports an option that the command does not have.
func known(c *cli.Command, arg string, options map[string]bool) error {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if _, ok := options[name]; ok {
		return nil
	}
	prefix, where := "", "a command's options stand behind its name; `ggtune --help` lists the commands"
	if c != nil {
		prefix, where = c.Name+": ", "`ggtune "+c.Name+" --help` lists all"
	}
	option, _, _ := strings.Cut(arg, "=")
	if _, rolls := options["rollout-prompts"]; rolls && truncates[strings.ReplaceAll(strings.ToLower(name), "_", "-")] {
		return usagef("%sunknown option %s; rewarded answers are drawn from all tokens, at --temperature: training "+
			"takes each token's probability among all of them (%s)", prefix, option, where)
	}
	if c != nil && files[name] && strings.Contains(c.UsageText, "IN.gguf") {
		return usagef("%sunknown option %s; its files are arguments: ggtune %s %s (%s)", prefix, option, c.Name,
			c.UsageText, where)
	}
	hint, ok := otherNames().Hint(name, slices.Collect(maps.Keys(options)))
	if !ok {
		return usagef("%sunknown option %s (%s)", prefix, option, where)
	}
	our := dashes(hint.Ours)
	if hint.Theirs != "" {
		our = fmt.Sprintf("%s (%s)", our, usageOf(c, hint.Ours)) // which may take another unit, or other words
	}
	if hint.Exact(name) {
		return usagef("%sunknown option %s; ggtune calls it %s (%s)", prefix, option, our, where)
	}
	return usagef("%sunknown option %s; did you mean %s? (%s)", prefix, option, our, where)
}

// files are options that name files in most commands.
var files = map[string]bool{"m": true, "model": true, "o": true, "output": true}

// truncates are options of other tools that draw from some of the tokens, or from others than the model finds likely:
// what training learned from such answers would be biased by what it does not see.
var truncates = map[string]bool{"top-k": true, "top-p": true, "min-p": true, "typical-p": true,
	"repetition-penalty": true, "repeat-penalty": true}

// otherNames are the names that other tools, or other commands of ours, have for our options: their users are shown
// ours. A command takes its own names only.
func otherNames() config.Others {
	all := config.OtherNames()
	maps.Copy(all, config.Others{
		"ctx":            {"c", "ctx-size", "n-ctx"},
		"predict":        {"max-new-tokens", "max-tokens", "n-predict"},
		"repeat-penalty": {"repetition-penalty"},
		"scale":          {"lora-scale", "lora-scaled"},
		"system":         {"sys", "system-prompt"},
		"temp":           {"temperature"},
	})
	return all
}

// usageOf is what a command's help says of an option.
func usageOf(c *cli.Command, option string) string {
	for _, f := range c.Flags {
		if d, ok := f.(cli.DocGenerationFlag); ok && slices.Contains(f.Names(), option) {
			return strings.ReplaceAll(d.GetUsage(), "`", "")
		}
	}
	return ""
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// unknownName is the error for a name that is not among the known ones.
func unknownName(kind, name string, all []string, where string) error {
	if near, ok := registry.Nearest(name, all); ok {
		return usagef("unknown %s %q; did you mean %q? (%s)", kind, name, near, where)
	}
	return usagef("unknown %s %q; known: %s (%s)", kind, name, strings.Join(all, ", "), where)
}
