package data

import (
	"regexp"
	"slices"
	"strings"
)

// ChoiceInstruction is multiple choice written out as an instruction, as LLM-Adapters has its commonsense sets (Hu et
// al. 2023): "Please choose the correct answer to the question: … Answer1: … Answer2: … Answer format:
// answer1/answer2", with an output that names the answer. Read as literal text it is the question and its choices,
// without the words around them, or, with a blank to fill in, what Winogrande is; in a conversation it is the
// instruction as it stands, and the choices are the output with each of the answers in the place of the right one: what
// training on this data teaches.
var ChoiceInstruction = register(&Format{
	Name:     "choice-instruction",
	Fields:   `"instruction" that ends with "Answer format: answer1/answer2/…", "output", "answer"`,
	Priority: 30,
	Choices:  true,
	Match: func(r *Record) bool {
		if !r.Has("instruction", "output", "answer") {
			return false
		}
		text, err := r.Text("instruction")
		return err == nil && answerFormat.MatchString(text)
	},
	Examples: func(r *Record, o *Options, add func(Example)) error {
		var texts [3]string
		for i, name := range []string{"instruction", "output", "answer"} {
			var err error
			if texts[i], err = r.Text(name); err != nil {
				return err
			}
		}
		names, right, err := namesOf(r, texts[0], texts[2])
		if err != nil {
			return err
		}
		if o.ChatChoices {
			return addInstruction(r, o, texts[0], texts[1], names, right, add)
		}
		question, choices := writtenOut(texts[0], names)
		x := multipleChoice(r.Source, o, question, choices, right)
		if strings.Contains(texts[0], "fill in the blank") {
			if x, err = fillings(r.Source, o, question, choices, right); err != nil {
				return r.errorf("field \"instruction\": %v", err)
			}
		}
		add(x)
		return nil
	},
})

var (
	answerFormat = regexp.MustCompile(`(?s)^(.*?)\s*Answer format:\s*([^\s/]+(?:/[^\s/]+)+)\s*$`)
	// asking is what comes before a question: "Please choose the correct answer to the question: ".
	asking = regexp.MustCompile(`^Please [^:]*:\s*`)
)

// namesOf gives the names that answers have, and which is right.
func namesOf(r *Record, instruction, answer string) (names []string, right int, err error) {
	names = strings.Split(answerFormat.FindStringSubmatch(instruction)[2], "/")
	if right = slices.Index(names, strings.TrimSpace(answer)); right < 0 {
		err = r.errorf("field \"answer\" is %q; expected one of %s", answer, quoted(names))
	}
	return names, right, err
}

// writtenOut parts an instruction into the question and the choices behind the names of answers. Where these are not
// written out, as with true/false, they are themselves the choices.
func writtenOut(instruction string, names []string) (question string, choices []string) {
	text := answerFormat.FindStringSubmatch(instruction)[1]
	var ends, starts []int // of what stands before each choice, and of the choices
	for _, name := range names {
		from := 0
		if len(starts) > 0 {
			from = starts[len(starts)-1]
		}
		at := regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(name) + `:`).FindStringIndex(text[from:])
		if at == nil {
			return asking.ReplaceAllString(strings.TrimSpace(text), ""), names
		}
		ends, starts = append(ends, from+at[0]), append(starts, from+at[1])
	}
	question = asking.ReplaceAllString(strings.TrimSpace(text[:ends[0]]), "")
	for i, from := range starts {
		to := len(text)
		if i+1 < len(ends) {
			to = ends[i+1]
		}
		choices = append(choices, strings.TrimSpace(text[from:to]))
	}
	return question, choices
}

// addInstruction adds the instruction as a user's turn.
func addInstruction(r *Record, o *Options, instruction, output string, names []string, right int,
	add func(Example)) error {
	if !strings.Contains(output, names[right]) {
		return r.errorf("field \"output\" does not name the answer %q", names[right])
	}
	var outputs []string
	for _, name := range names {
		outputs = append(outputs, strings.ReplaceAll(output, names[right], name))
	}
	add(multipleChoice(r.Source, o, instruction, outputs, right))
	return nil
}
