package data_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/internal/testdata"
)

// briefQuestion writes a question with its choices, the right one behind +.
func briefQuestion(e data.Example) string {
	s := fmt.Sprintf("%q", e.Prompt)
	if e.Messages != nil {
		s = fmt.Sprintf("user %q", e.Messages[0].Content)
	}
	for i, a := range e.Answers {
		mark := " - "
		if i == e.Right {
			mark = " + "
		}
		text := a.Given + a.Text
		if a.Messages != nil {
			text = a.Messages[0].Content
		}
		s += mark + fmt.Sprintf("%q", text)
	}
	return s
}

func TestChoices(t *testing.T) {
	const instruction = `{"instruction": "Please choose the correct answer to the question: Stars are\n\nAnswer1: ` +
		`lights ` +
		`Answer2: great balls of gas: hot\n\nAnswer format: answer1/answer2", "input": "", "output": "the correct ` +
		`answer is answer2", "answer": "answer2"}`
	const filling = `{"instruction": "Please choose the correct answer to fill in the blank to complete the given ` +
		`sentence: Ann paid ` +
		`Bea because _ was poor.\n\nOption1: Ann Option2: Bea Answer format: option1/option2", "input": "", ` +
		`"output": "the correct answer is option2", "answer": "option2"}`
	for _, tc := range []struct {
		name, record, format, want, chat string
	}{
		{"a number", `{"question": "2+1?", "choices": ["1", "3"], "answer": 1}`, "choices", `"2+1?" - " 1" + " 3"`,
			`user "2+1?" - "1" + "3"`},
		{"a text before a number", `{"question": "2-1?", "choices": ["0", "1"], "answer": "0"}`, "choices",
			`"2-1?" + " 0" - " 1"`, ""},
		{"ARC", `{"id": "x", "question": "q", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"}`,
			"choices", `"q" - " a" + " b"`, ""},
		{"OpenBookQA", `{"question_stem": "q", "choices": [{"text": "a", "label": "A"}, ` +
			`{"text": "b", "label": "B"}], "answerKey": "A"}`, "choices", `"q" + " a" - " b"`, ""},
		{"by letter of an object", `{"question": "q", "options": {"A": "a", "B": "b"}, "answer": "B"}`, "choices",
			`"q" - " a" + " b"`, ""},
		{"HellaSwag", `{"ctx": "He", "endings": ["ran", "sat"], "label": "1"}`, "choices", `"He" - " ran" + " sat"`,
			""},
		{"PIQA", `{"goal": "g", "sol1": "a", "sol2": "b", "label": 0}`, "choices", `"g" + " a" - " b"`, ""},
		{"WinoGrande",
			`{"sentence": "Ann paid Bea because _ was poor.", "option1": "Ann", "option2": "Bea", "answer": "2"}`,
			"winogrande",
			`"Ann paid Bea because " - "Ann was poor." + "Bea was poor."`,
			`user "Ann paid Bea because _ was poor." - "Ann" + "Bea"`},
		{"LLM-Adapters", instruction, "choice-instruction", `"Stars are" - " lights" + " great balls of gas: hot"`,
			`user "Please choose the correct answer to the question: Stars are\n\nAnswer1: lights Answer2: great ` +
				`balls of gas: hot\n\nAnswer format: answer1/answer2" ` +
				`- "the correct answer is answer1" + "the correct answer is answer2"`},
		{"LLM-Adapters, a blank", filling, "choice-instruction",
			`"Ann paid Bea because " - "Ann was poor." + "Bea was poor."`, ""},
		{"LLM-Adapters, names alone", `{"instruction": "Please answer the following question with true or false, ` +
			`question: is it?\n\nAnswer format: true/false", "output": "the correct answer is false", "answer": ` +
			`"false"}`,
			"choice-instruction", `"is it?" - " true" + " false"`, ""},
	} {
		for _, o := range []data.Options{{Want: data.WantChoices}, {Want: data.WantChoices, ChatChoices: true}} {
			want := tc.want
			if o.ChatChoices {
				if want = tc.chat; want == "" {
					continue
				}
			}
			d := open(t, o, write(t, "d.jsonl", tc.record))
			x, err := d.At(0)
			if err != nil {
				t.Fatal(err)
			}
			if got := briefQuestion(x); got != want || d.Format() != tc.format || d.Stats().CutOff != nil {
				t.Errorf("%s: got %s as %s, want %s as %s", tc.name, got, d.Format(), want, tc.format)
			}
		}
	}
}

func TestChoicesRefused(t *testing.T) {
	for _, tc := range [][2]string{
		{`{"question": "q", "choices": ["a", "b"], "answer": "C"}`,
			`d.jsonl:1: field "answer" is "C"; expected one of the labels "A", "B"`},
		{`{"question": "q", "choices": ["a", ["b"]], "answer": 0}`,
			`d.jsonl:1: field "choices", choice 2 is a list`},
		{`{"question": "q", "choices": {"text": ["a", "b"], "label": ["A"]}, "answer": "A"}`,
			`2 texts and 1 labels`},
		{`{"question": "q", "choices": [], "answer": 0}`,
			`d.jsonl:1: there are no choices`},
		{`{"question": "q", "choices": ["a", "b"], "answer": null}`,
			`expected which choice is right`},
		{`{"sentence": "no blank", "option1": "a", "option2": "b", "answer": "1"}`,
			`has no blank _`},
		{`{"sentence": "a _ here", "option1": "a", "option2": "b", "answer": "3"}`,
			`expected 1 or 2`},
		{`{"question": "q", "answer": "a"}`,
			`which is no known format`},
		{`{"question": "q", "choices": ["a"], "answer": 0}`,
			`a question with 1 choices`},
		{`{"question": "q", "choices": ["a", " "], "answer": 0}`,
			`empty choice`},
		{`{"instruction": "Q Answer format: a/b", "output": "the answer is c", "answer": "c"}`,
			`expected one of "a", "b"`},
	} {
		record, want := tc[0], tc[1]
		_, err := data.Open(context.Background(), []string{write(t, "d.jsonl", record)},
			data.Options{Want: data.WantChoices})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", record, err, want)
		}
	}
	path := write(t, "d.jsonl", `{"question": "q", "choices": ["a", "b"], "answer": "A"}`)
	for format, want := range map[string]string{"choices": "is multiple choice, which `ggtune eval --choices` measures",
		"": ""} {
		_, err := data.Open(context.Background(), []string{path}, data.Options{Format: format})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("format %q: got %v, want %s", format, err, want)
		}
	}
	_, err := data.Open(context.Background(), []string{path}, data.Options{Format: "qa", Want: data.WantChoices})
	if err == nil || !strings.Contains(err.Error(), "--choices measures multiple choice") {
		t.Errorf("got %v", err)
	}
}

// TestPublishedChoices reads the published sets whole.
func TestPublishedChoices(t *testing.T) {
	for name, n := range map[string]int{"openbookqa": 3453, "winogrande": 887} {
		d := open(t, data.Options{Want: data.WantChoices}, testdata.Path(t, "instruct", name+"_alpaca.json"))
		if d.Len() != n {
			t.Errorf("%s: %d questions, want %d", name, d.Len(), n)
		}
		for i := range d.Len() {
			x, err := d.At(i)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[string]int{"openbookqa": 4, "winogrande": 2}[name]; len(x.Answers) != want {
				t.Errorf("%s: %d choices, want %d", x.Source, len(x.Answers), want)
			}
		}
	}
}
