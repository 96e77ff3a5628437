package data

import (
	"encoding/json"
	"fmt"
	"strings"
)

// NaturalInstructions is the format of Natural Instructions and Super-NaturalInstructions task files: one JSON object
// with a Definition, Positive and Negative Examples, and Instances with an input and one or more accepted outputs.
//
// A prompt follows the instruction schema of Mishra et al. 2022, "Cross-Task Generalization via Natural Language
// Crowdsourcing Instructions", section 5: definition, prompt, things to avoid, emphasis and caution, negative and
// positive examples, then "input: x" and "output:". Parts that a task leaves empty are left out. Of several accepted
// outputs the first is trained.
var NaturalInstructions = register(&Format{
	Name: "natural-instructions",
	Fields: `a JSON object with "Definition", "Instances" [{"input", "output"}][, "Positive Examples", "Negative ` +
		`Examples"]`,
	Priority: 95,
	Aside:    taskAside,
	Match: func(r *Record) bool {
		return r.Head.Get("Definition") != nil && r.Has("input", "output")
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		prompt, err := r.Head.Once(o.Instructions,
			func() (string, error) { return instructionPrompt(r, o.Instructions) })
		if err != nil {
			return err
		}
		input, err := r.Text("input")
		if err != nil {
			return err
		}
		v, _ := r.Get("output")
		output, ok := firstText(v)
		if !ok {
			return r.errorf("field \"output\" is %s; expected a string or a list of strings", describe(v))
		}
		prompt += "input: " + input + "\noutput:"
		if o.Instructions.Chat {
			add(Example{Source: r.Source, Kind: KindMessages, Messages: []Message{
				{Role: User, Content: prompt}, {Role: Assistant, Content: output}}})
			return nil
		}
		if strings.TrimSpace(output) != "" {
			output = " " + output // so that the border lies before the space, where tokenizers cut
		}
		add(Example{Source: r.Source, Kind: KindCompletion, Prompt: prompt, Completion: output})
		return nil
	},
})

// taskAside are a task's fields that are for people and catalogues, an instance's number, and examples that the
// options leave out.
var taskAside = []string{"id", "Contributors", "Source", "Name", "URL", "Categories", "Reasoning", "Input_language",
	"Output_language",
	"Instruction_language", "Domains", "Instance License", "Unlabelled", "Positive Examples", "Negative Examples"}

// firstText gives a string, or the first of a list of strings.
func firstText(v json.RawMessage) (string, bool) {
	if s, ok := asText(v); ok {
		return s, true
	}
	var list []json.RawMessage
	if json.Unmarshal(v, &list) != nil {
		return "", false
	}
	if len(list) == 0 {
		return "", true
	}
	return asText(list[0])
}

// instructionPrompt writes everything before the instance's own input.
func instructionPrompt(r *Record, o InstructionOptions) (string, error) {
	var b strings.Builder
	if !o.NoDefinition {
		for _, name := range []string{"Definition", "Prompt", "Things to Avoid", "Emphasis & Caution"} {
			v := r.Head.Get(name)
			if v == nil {
				continue
			}
			s, ok := firstText(v)
			if !ok {
				return "", r.errorf("field %q of the task is %s; expected a string or a list of strings", name,
					describe(v))
			}
			if s = strings.TrimSpace(s); s != "" && s != "-" {
				fmt.Fprintf(&b, "%s: %s\n\n", name, s)
			}
		}
	}
	for _, part := range []struct {
		field, title string
		n            int
	}{
		{"Negative Examples", "Negative Example", o.Negative}, {"Positive Examples", "Positive Example", o.Examples},
	} {
		if err := writeShown(&b, r, part.field, part.title, part.n); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// writeShown writes the first n of the task's examples in field.
func writeShown(b *strings.Builder, r *Record, field, title string, n int) error {
	v := r.Head.Get(field)
	if v == nil || n == 0 {
		return nil
	}
	var items []json.RawMessage
	if err := json.Unmarshal(v, &items); err != nil {
		return r.errorf("field %q of the task is %s; expected a list of {\"input\", \"output\"}", field, describe(v))
	}
	for i, item := range items[:min(n, len(items))] {
		fields, err := parseObject(item)
		if err != nil {
			return r.errorf("field %q of the task, example %d: %v", field, i+1, err)
		}
		ex := &Record{Source: r.Source, Fields: fields}
		input, err := ex.Text("input")
		if err != nil {
			return err
		}
		output, ok := firstText(mustGet(ex, "output"))
		if !ok {
			return r.errorf("field %q of the task, example %d: the output is no string", field, i+1)
		}
		fmt.Fprintf(b, "%s %d-\ninput: %s\noutput: %s\n", title, i+1, input, output)
		for _, name := range []string{"explanation", "reason"} {
			why, err := ex.Text(name)
			if err != nil {
				return err
			}
			if why = strings.TrimSpace(why); why != "" && why != "-" {
				fmt.Fprintf(b, "%s: %s\n", name, why)
			}
		}
		b.WriteString("\n")
	}
	return nil
}
