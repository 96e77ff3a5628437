package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestComplete(t *testing.T) {
	for _, tc := range []struct {
		name  string
		words []string
		want  []string // words that must be among what is offered; none: nothing is
		not   []string // words that must not
	}{
		{"a command", []string{""}, []string{"train", "chat", "help"}, []string{"--help", ":files"}},
		{"the beginning of a command", []string{"qu"}, []string{"quantize"}, []string{"train"}},
		{"options of the program", []string{"--"}, []string{"--version", "--help"}, nil},
		{"what to help with", []string{"help", "ch"}, []string{"chat", "check"}, []string{"train"}},
		{"of a command that there is not", []string{"trian", ""}, nil, nil},
		{"an option that there is not", []string{"train", "--grx"}, nil, nil},
		{"the beginning of an option", []string{"train", "--me"}, []string{"--method", "--memory"},
			[]string{"--model"}},
		{"help of a command", []string{"train", "--h"}, []string{"--help"}, nil},
		{"no option that was given", []string{"train", "-m", "x", "--mod"}, []string{"--model-dropout"},
			[]string{"--model"}},
		{"but one that may be given again", []string{"train", "-d", "x", "--da"}, []string{"--data"}, nil},
		{"no hidden option", []string{"bench", "--tr"}, nil, nil},
		{"where no argument may stand, options", []string{"train", ""}, []string{"--model", "--help"},
			[]string{":files"}},
		{"a file", []string{"train", "-m", ""}, []string{":files"}, []string{"--data"}},
		{"a directory", []string{"train", "--output", "r"}, []string{":directories"}, []string{":files"}},
		{"a file or a name", []string{"train", "--template", "chat"}, []string{"chatml", ":files"}, []string{"plain"}},
		{"a name", []string{"train", "--method", "sf"}, []string{"sft"}, []string{"dpo", ":files"}},
		{"the second of several names", []string{"train", "--method", "sft,dp"}, []string{"sft,dpo"}, []string{"dpo"}},
		{"a name behind the sign", []string{"train", "--method=sf"}, []string{"--method=sft"}, nil},
		{"a name behind the sign, as bash has it", []string{"train", "--method", "=", "sf"}, []string{"sft"}, nil},
		{"the sign, as bash has it", []string{"train", "--packing", "="}, []string{"best-fit", "none"}, nil},
		{"behind such a value", []string{"train", "--packing", "=", "none", "--me"}, []string{"--method"},
			[]string{"none"}},
		{"a number or a word", []string{"train", "--eval-every", ""}, []string{"auto"}, nil},
		{"a number", []string{"train", "--rank", ""}, nil, nil},
		{"a switch takes no value", []string{"train", "--full", "--me"}, []string{"--method"}, nil},
		{"an argument", []string{"inspect", "r"}, []string{":files"}, nil},
		{"a run", []string{"watch", "r"}, []string{":directories"}, nil},
		{"a directory that may be left out", []string{"runs", ""}, []string{":directories"}, nil},
		{"an argument behind options", []string{"quantize", "--type", "q8_0", "in"}, []string{":files"}, nil},
		{"options where arguments may stand", []string{"inspect", "--te"}, []string{"--tensors", "--template"}, nil},
		{"arguments alone", []string{"inspect", "--", "--te"}, []string{":files"}, nil},
		{"no argument", []string{"train", "--", ""}, nil, nil},
		{"a way to match", []string{"eval", "--match", ""}, []string{"exact", "number", "regex"}, nil},
		{"a type", []string{"quantize", "--type", "q"}, []string{"q8_0"}, []string{"f16"}},
		{"a type to merge into", []string{"merge", "--type", "q"}, []string{"q8_0"}, []string{"f16"}},
		{"a type to convert to", []string{"convert", "--type", ""}, []string{"bf16"}, []string{":files"}},
		{"an adapter with a scale", []string{"merge", "-a", ""}, []string{":files"}, nil},
		{"a shape", []string{"bench", "--cases", "kept,pack"}, []string{"kept,packed"}, nil},
		{"a shell", []string{"completion", ""}, []string{"bash", "fish", "zsh"}, []string{":files"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, line := range complete(newApp(nil, nil, nil), tc.words) {
				word, _, _ := strings.Cut(line, "\t")
				got = append(got, word)
			}
			if len(tc.want) == 0 && len(got) > 0 {
				t.Errorf("got %q, want nothing", got)
			}
			for _, w := range tc.want {
				if !slices.Contains(got, w) {
					t.Errorf("got %q, want %s among them", got, w)
				}
			}
			for _, w := range tc.not {
				if slices.Contains(got, w) {
					t.Errorf("got %q, want no %s", got, w)
				}
			}
		})
	}
}

// freeText are options of text that shells cannot complete. A new one is either named here, or its help says `FILE`
// or `DIRECTORY`, or what it takes is in config's values or in ownValues.
var freeText = strings.Fields(`columns loss-weights reward-weights reward-column reward-cmd env-cmd mix targets train layers system prompt
	notify convert.base convert.split-size export.ollama quantize.tensor-type quantize.split-size quantize.budget
	quantize.size merge.tensor-type merge.budget merge.size
	eval.pattern eval.dimensions mine.range bench.type bench.level compare.output task-name prompt-prefix query-prefix document-prefix matryoshka`)

func TestOptionsOfTextComplete(t *testing.T) {
	for _, c := range commands() {
		for _, f := range c.Flags {
			switch f.(type) {
			case *cli.StringFlag, *cli.StringSliceFlag:
			default:
				continue
			}
			name := f.Names()[0]
			free := slices.Contains(freeText, name) || slices.Contains(freeText, c.Name+"."+name)
			names, kind := takes(c, f)
			if v := f.(cli.VisibleFlag); v.IsVisible() && free == (len(names) > 0 || kind != "") {
				t.Errorf("%s --%s: named in freeText: %v, takes %q %s", c.Name, name, free, names, kind)
			}
		}
	}
	for command, options := range ownValues {
		i := slices.IndexFunc(commands(), func(c *cli.Command) bool { return c.Name == command })
		for name := range options {
			if i < 0 || optionOf(commands()[i], name) == nil {
				t.Errorf("ownValues: %s --%s: there is no such option", command, name)
			}
		}
	}
}
