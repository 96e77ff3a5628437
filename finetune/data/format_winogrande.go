package data

import (
	"fmt"
	"strings"
)

// Winogrande is a sentence with a blank and two ways to fill it (Sakaguchi et al. 2019). As in lm-evaluation-harness it
// is not the filling whose likelihood counts but what follows it, given the sentence up to it with either: partial
// evaluation (Trinh and Le 2018). In a conversation the fillings are the answers to the sentence.
var Winogrande = register(&Format{
	Name:     "winogrande",
	Fields:   `"sentence" with a blank _, "option1", "option2", "answer" (1 or 2)`,
	Priority: 20,
	Choices:  true,
	Match:    func(r *Record) bool { return r.Has("sentence", "option1", "option2", "answer") },
	Examples: func(r *Record, o *Options, add func(Example)) error {
		var texts [4]string
		for i, name := range []string{"sentence", "option1", "option2", "answer"} {
			var err error
			if texts[i], err = r.Text(name); err != nil {
				return err
			}
		}
		right := strings.Index("12", texts[3])
		if len(texts[3]) != 1 || right < 0 {
			return r.errorf("field \"answer\" is %q; expected 1 or 2", texts[3])
		}
		x, err := fillings(r.Source, o, texts[0], texts[1:3], right)
		if err != nil {
			return r.errorf("field \"sentence\": %v", err)
		}
		add(x)
		return nil
	},
})

// blank stands where something is to be filled in.
const blank = "_"

// fillings makes an example of a sentence with a blank.
func fillings(src Source, o *Options, sentence string, options []string, right int) (Example, error) {
	if o.ChatChoices {
		return multipleChoice(src, o, sentence, options, right), nil
	}
	before, after, ok := strings.Cut(sentence, blank)
	if after = strings.TrimSpace(after); !ok || after == "" {
		return Example{}, fmt.Errorf("%q has no blank %s with something behind it", sentence, blank)
	}
	x := Example{Source: src, Kind: KindChoice, Right: right, Prompt: before}
	for _, option := range options {
		x.Answers = append(x.Answers, Answer{Given: option, Text: " " + after, CutOff: true})
	}
	return x, nil
}
