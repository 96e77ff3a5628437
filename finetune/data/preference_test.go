package data_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/finetune/data"
)

const (
	chatPair = `"prompt": [{"role": "user", "content": "q"}]`
	yesNo    = `"chosen": [{"role": "assistant", "content": "yes"}], "rejected": [{"role": "assistant", "content": ` +
		`"no"}]`
	user  = `{"role": "user", "content": "q"}`
	reply = `{"role": "assistant", "content": "r"}`
	yes   = `{"role": "assistant", "content": "yes"}`
	no    = `{"role": "assistant", "content": "no"}`
)

// TestPreferenceFormats reads every format of preferences as pairs and as verdicts: what is given, and what is left
// out.
func TestPreferenceFormats(t *testing.T) {
	const q = `user "q" train false`
	for _, c := range []struct {
		name, format, content string
		opts                  data.Options
		pairs, verdicts       []string
		dropped               []string // reasons, of pairs
	}{
		{name: "literal", format: "preference", content: `{"prompt": "P", "chosen": " A", "rejected": " B"}`,
			pairs: []string{`"P" + " A" - " B"`}, verdicts: []string{`"P" + " A"`, `"P" - " B"`}},
		{name: "text that is JSON", format: "preference",
			content:  `{"prompt": "P", "chosen": "[1, 2]", "rejected": "{\"a\": 1}"}`,
			pairs:    []string{`"P" + "[1, 2]" - "{\"a\": 1}"`},
			verdicts: []string{`"P" + "[1, 2]"`, `"P" - "{\"a\": 1}"`}},
		{name: "conversation", format: "preference", content: `{` + chatPair + `, ` + yesNo +
			`, "tools": [{"type": "function"}]}`,
			pairs: []string{q + `; tools [{"type": "function"}] + assistant "yes" - assistant "no"`},
			verdicts: []string{q + `; tools [{"type": "function"}] + assistant "yes"`,
				q + `; tools [{"type": "function"}] - assistant "no"`}},
		{name: "whole conversations and the prompt", format: "preference",
			content: `{` + chatPair + `, "chosen": [` + user + `, ` + yes + `], "rejected": [` + user + `, ` + no +
				`]}`,
			pairs: []string{q + ` + assistant "yes" - assistant "no"`}},
		{name: "whole conversations beside a string", format: "preference",
			content: `{"prompt": "q", "chosen": [{"role": "system", "content": "s"}, ` + user + `, ` + yes +
				`], "rejected": [{"role": "system", "content": "s"}, ` + user + `, ` + no + `]}`,
			pairs: []string{`system "s" train false; ` + q + ` + assistant "yes" - assistant "no"`}},
		{name: "a string and answers as messages", format: "preference", content: `{"prompt": "q", ` + yesNo + `}`,
			pairs: []string{q + ` + assistant "yes" - assistant "no"`}},
		{name: "messages and answers as strings", format: "preference",
			content: `{` + chatPair + `, "chosen": "yes", "rejected": "no"}`,
			pairs:   []string{q + ` + assistant "yes" - assistant "no"`}},
		{name: "answers in several turns", format: "preference",
			content: `{` + chatPair + `, "chosen": [` + reply + `, ` + user + `, ` + yes + `], "rejected": [` + no +
				`]}`,
			pairs: []string{q + ` + assistant "r"; user "q"; assistant "yes" - assistant "no"`}},
		{name: "implicit literal", format: "implicit-preference",
			content: `{"chosen": "The sky is blue.", "rejected": "The sky is green."}
{"chosen": "The sky is bluer", "rejected": "The sky is blue"}
{"chosen": "A", "rejected": "B"}`,
			pairs: []string{`"The sky is" + " blue." - " green."`, `"The sky is blu" + "er" - "e"`, `"" + "A" - "B"`}},
		{name: "implicit conversation", format: "implicit-preference",
			content: `{"chosen": [` + user + `, ` + reply + `, ` + user + `, ` + yes + `], "rejected": [` + user +
				`, ` + reply + `, ` + user + `, ` + no + `]}`,
			pairs: []string{q + `; assistant "r" train false; ` + q + ` + assistant "yes" - assistant "no"`}},
		{name: "sharegpt", format: "sharegpt-preference", content: `{"conversations": [{"from": "human", "value": ` +
			`"q"}], "chosen": {"from": "gpt", "value": "yes"}, "rejected": {"from": "gpt", "value": "no"}, ` +
			`"system": "s"}
{"conversations": [{"from": "human", "value": "q"}], "chosen": [{"from": "gpt", "value": "yes"}], "rejected": [{"from": "gpt", "value": "no"}]}`,
			pairs: []string{`system "s" train false; ` + q + ` + assistant "yes" - assistant "no"`,
				q + ` + assistant "yes" - assistant "no"`}},
		{name: "messages beside answers", format: "sharegpt-preference",
			content: `{"messages": [` + user + `], "chosen": ` + yes + `, "rejected": ` + no + `}`,
			pairs:   []string{q + ` + assistant "yes" - assistant "no"`}},
		{name: "two lists", format: "messages-preference",
			content: `{"chosen_messages": [` + user + `, ` + yes + `], "rejected_messages": [` + user +
				`, {"role": "assistant", "content": [{"type": "text", "value": "no"}], "loss_weight": 1.0}]}`,
			pairs: []string{q + ` + assistant "yes" - assistant "no" train true`}},
		{name: "alpaca", format: "alpaca-preference", content: `{"instruction": "q", "input": "x", "output": "yes", ` +
			`"chosen": "yes", "rejected": "no", "history": [["a", "b"]]}`,
			pairs: []string{`user "a" train false; assistant "b" train false; user "q\nx" train false + assistant ` +
				`"yes" - assistant "no"`}},
		{name: "question with a system prompt", format: "alpaca-preference",
			content: `{"system": "s", "question": "q", "chosen": "yes", "rejected": "no"}
{"system": "", "question": "q", "chosen": "yes", "rejected": "no"}`,
			pairs: []string{`system "s" train false; ` + q + ` + assistant "yes" - assistant "no"`,
				q + ` + assistant "yes" - assistant "no"`}},
		{name: "instruction and whole conversations", format: "alpaca-preference",
			content: `{"instruction": "q", "chosen": [` + user + `, ` + yes + `], "rejected": [` + user + `, ` + no +
				`]}`,
			pairs: []string{q + ` + assistant "yes" - assistant "no"`}},
		{name: "transcripts", format: "hh", content: `{"chosen": "\n\nHuman: q\n\nAssistant: r\n\nHuman: ` +
			`q\n\nAssistant: yes", "rejected": "\n\nHuman: q\n\nAssistant: r\n\nHuman: q\n\nAssistant: no\n\nmore"}
{"chosen": "\n\nHuman: q\n\nHuman: q2\n\nAssistant: yes", "rejected": "\n\nHuman: q\n\nHuman: q2\n\nAssistant:"}
{"chosen": "\n\nHuman: q\n\nAssistant: yes", "rejected": "\n\nHuman: other\n\nAssistant: no"}
{"chosen": "\n\nHuman: q\n\nAssistant: yes\n\nHuman: q", "rejected": "\n\nHuman: q\n\nAssistant: no"}`,
			pairs: []string{q + `; assistant "r" train false; ` + q + ` + assistant "yes" - assistant "no\n\nmore"`},
			dropped: []string{"empty rejected answer", "the chosen answer begins with a turn of the user",
				"the chosen answer ends with a turn of the user"}},
		{name: "a transcript as prompt", format: "hh",
			content: `{"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": " yes", "rejected": " no"}`,
			pairs:   []string{q + ` + assistant "yes" - assistant "no"`}},
		{name: "ultrafeedback", format: "scored", content: `{"instruction": "q", "completions": [{"response": "b", ` +
			`"overall_score": 3.5, "fine-grained_score": 1}, {"response": "a", "overall_score": "5"}, ` +
			`{"response": "c", "overall_score": 3.5}, {"response": "d", "overall_score": null}]}`,
			pairs: []string{q + ` + assistant "a" - assistant "b"`, q + ` + assistant "a" - assistant "c"`},
			verdicts: []string{q + ` + assistant "a"`, q + ` - assistant "b"`, q + ` + assistant "a"`,
				q + ` - assistant "c"`},
			dropped: []string{"an answer without a score", "a tie: two answers of equal score"}},
		{name: "best against worst", format: "scored", opts: data.Options{BestWorst: true},
			content: `{"prompt": [` + user + `], "responses": ["b", "a", "c"], "scores": [2, 3, 1]}`,
			pairs:   []string{q + ` + assistant "a" - assistant "c"`}},
		{name: "ranks", format: "scored", content: `{"prompt": "q", "answers": ["b", "a"], "rank": [2, 1]}`,
			pairs: []string{q + ` + assistant "a" - assistant "b"`}},
		{name: "scored messages", format: "scored", content: `{"system": "s", "prompt": "q", "responses": [{"role": ` +
			`"assistant", "content": "b", "score": 1}, {"role": "assistant", "content": "a", "score": 2}]}`,
			pairs: []string{`system "s" train false; ` + q + ` + assistant "a" - assistant "b"`}},
		{name: "all tied", format: "scored", content: `{"prompt": "q", "responses": ["b", "a"], "scores": [1, 1]}
{"prompt": "q", "responses": ["b", "a"], "scores": [1, 2]}
{"prompt": "q", "responses": ["b"], "scores": [1]}`,
			pairs:   []string{q + ` + assistant "a" - assistant "b"`},
			dropped: []string{"a tie: two answers of equal score", "fewer than two answers with a score"}},
		{name: "rated", format: "rated", content: `{"prompt": [` + user +
			`], "answers": [{"text": "x", "seed": 1}, {"text": "y"}], "choice": "a", ` + yesNo + `}
{"prompt": [` + user + `], "answers": [{"text": "x"}, {"text": "y"}], "choice": "b"}
{"prompt": [` + user + `], "answers": [{"text": "x"}, {"text": "y"}], "choice": "edit", "edited": "z", "edited_from": 1}
{"prompt": [` + user + `], "answers": [{"text": "x"}, {"text": "y"}], "choice": "tie"}
{"prompt": [` + user + `], "answers": [{"text": "x"}, {"text": "y"}], "choice": "skip"}
{"prompt": [` + user + `], "answers": [{"text": "x"}, {"text": "y"}], "choice": "bad"}
{"prompt": "P", "answers": [{"text": "x"}, {"text": "y"}], "choice": "b"}`,
			pairs: []string{q + ` + assistant "x" - assistant "y"`, q + ` + assistant "y" - assistant "x"`,
				q + ` + assistant "z" - assistant "y"`, `"P" + "y" - "x"`},
			verdicts: []string{q + ` + assistant "x"`, q + ` - assistant "y"`, q + ` + assistant "y"`,
				q + ` - assistant "x"`, q + ` + assistant "z"`, q + ` - assistant "y"`,
				q + ` - assistant "x"`, q + ` - assistant "y"`, `"P" + "y"`, `"P" - "x"`},
			dropped: []string{"a tie", "skipped", "both answers are bad"}},
		{name: "lists that a person judged", format: "rated",
			content: `{"prompt": "P", "answers": [{"text": "x"}, {"text": "y"}, {"text": "z"}], "choice": "rank", "ranks": [2, 1, 2]}
{"prompt": [` + user + `], "answers": [{"text": "x"}, {"text": "y"}], "choice": "stars", "ratings": [1, 5], "chosen": "y"}
{"prompt": "P", "answers": [{"text": "x"}, {"text": "y"}, {"text": "z"}], "choice": "edit", "edited": "v", "edited_from": 2}
{"prompt": "P", "answers": [{"text": "x"}, {"text": "y"}, {"text": "z"}], "choice": "bad"}`,
			pairs: []string{`"P" + "y" - "x"`, `"P" + "y" - "z"`, q + ` + assistant "y" - assistant "x"`,
				`"P" + "v" - "z"`},
			verdicts: []string{`"P" + "y"`, `"P" - "x"`, `"P" + "y"`, `"P" - "z"`, q + ` + assistant "y"`,
				q + ` - assistant "x"`, `"P" + "v"`, `"P" - "z"`, `"P" - "x"`, `"P" - "y"`, `"P" - "z"`},
			dropped: []string{"a tie: two answers of equal score", "all answers are bad"}},
		{name: "verdicts", format: "kto", content: `{"prompt": "P", "completion": " A", "label": true}
{"prompt": "P", "completion": " B", "label": false}
{"prompt": [` + user + `], "completion": [` + no + `], "label": false}
{"prompt": "P", "completion": "C", "label": "False"}`,
			verdicts: []string{`"P" + " A"`, `"P" - " B"`, q + ` - assistant "no"`, `"P" - "C"`}},
		{name: "conversations with a verdict", format: "kto",
			content: `{"messages": [` + user + `, ` + reply + `, ` + user + `, ` + yes + `], "label": true}
{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "no"}], "kto_tag": false, "system": "s"}`,
			verdicts: []string{q + `; assistant "r" train false; ` + q + ` + assistant "yes"`,
				`system "s" train false; ` + q + ` - assistant "no"`}},
		{name: "left out", format: "preference", content: `{"prompt": "P", "chosen": "A", "rejected": "A"}
{"prompt": "P", "chosen": " ", "rejected": "B"}
{"prompt": "P", "chosen": "A", "rejected": null}
{` + chatPair + `, "chosen": [` + user + `], "rejected": [` + no + `]}
{"prompt": [` + user + `, ` + reply + `], ` + yesNo + `}
{` + chatPair + `, "chosen": [{"role": "assistant", "content": "no "}], "rejected": [` + no + `]}
{` + chatPair + `, "chosen": [{"role": "assistant", "content": "a", "weight": 0}], "rejected": [` + no + `]}
{` + chatPair + `, "chosen": [], "rejected": [` + no + `]}
{"prompt": "P", "chosen": "A", "rejected": "B"}`,
			pairs: []string{`"P" + "A" - "B"`},
			dropped: []string{"the chosen and the rejected answer are equal", "empty chosen answer",
				"empty rejected answer", "the chosen answer begins with a turn of the user",
				"the prompt ends with an assistant's turn",
				"every turn of the chosen answer is marked as not trained"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "a.jsonl", c.content)
			if c.pairs != nil {
				c.opts.Want = data.WantPairs
				checkChoices(t, open(t, c.opts, path), c.format, c.pairs)
				var dropped []string
				for _, d := range open(t, c.opts, path).Stats().Dropped {
					dropped = append(dropped, d.Reason)
				}
				if diff := cmp.Diff(c.dropped, dropped); diff != "" {
					t.Errorf("dropped (-want +got):\n%s", diff)
				}
			}
			if c.verdicts != nil {
				c.opts.Want = data.WantVerdicts
				checkChoices(t, open(t, c.opts, path), c.format, c.verdicts)
			}
		})
	}
}

func checkChoices(t *testing.T, d *data.Dataset, format string, want []string) {
	t.Helper()
	if d.Format() != format {
		t.Errorf("got format %q, want %q", d.Format(), format)
	}
	if diff := cmp.Diff(want, all(t, d)); diff != "" {
		t.Errorf("examples (-want +got):\n%s", diff)
	}
}

// TestVerdictsInTables: a table has no booleans.
func TestVerdictsInTables(t *testing.T) {
	d := open(t, data.Options{Want: data.WantVerdicts},
		write(t, "a.csv", "prompt,completion,label\nP,A,True\nP,B,false\n"))
	checkChoices(t, d, "kto", []string{`"P" + "A"`, `"P" - "B"`})
	d = open(t, data.Options{Want: data.WantPairs}, write(t, "a.csv", "prompt,chosen,rejected\n"+
		`"[{""role"": ""user"", ""content"": ""q""}]",yes,no`+"\n"))
	checkChoices(t, d, "preference", []string{`user "q" train false + assistant "yes" - assistant "no"`})
}

// TestBadPreferences gives every fault of preferences its message, with its place.
func TestBadPreferences(t *testing.T) {
	ok := `{"prompt": "p", "chosen": "a", "rejected": "b"}` + "\n"
	okVerdict := `{"prompt": "p", "completion": "a", "label": true}` + "\n"
	rated := func(rest string) string {
		return `{"prompt": "p", "answers": [{"text": "x"}, {"text": "y"}], ` + rest + `}`
	}
	answers, pairs, verdicts := data.WantAnswers, data.WantPairs, data.WantVerdicts
	for _, c := range []struct {
		name, content string
		want          data.Want
		err           []string
	}{
		{"pairs for sft", ok, answers, []string{"a.jsonl:1: found preference data", "rejected", "dpo", "kto"}},
		{"verdicts for sft", okVerdict, answers, []string{"a.jsonl:1: found preference data", "undesirable", "kto"}},
		{"ratings for sft", rated(`"choice": "a"`), answers, []string{"a.jsonl:1: found preference data"}},
		{"scores for sft", `{"prompt": "p", "responses": ["a", "b"], "scores": [1, 2]}`, answers,
			[]string{"a.jsonl:1: found preference data"}},
		{"plain data for pairs", `{"prompt": "p", "completion": "a"}`, pairs,
			[]string{`a.jsonl:1: found plain data ("completion")`, "learns from pairs", "sft", "\n  preference "}},
		{"plain text for verdicts", `{"text": "p"}`, verdicts,
			[]string{`a.jsonl:1: found plain data ("text")`, "learns from verdicts", "sft", "\n  kto "}},
		{"no label", `{"prompt": "p", "completion": "a"}`, verdicts,
			[]string{`a.jsonl:1: found plain data`, "a label, true or false"}},
		{"verdicts for pairs", okVerdict, pairs,
			[]string{`a.jsonl:1: found verdicts on single answers ("kto")`, "kto trains on verdicts",
				"\n  preference "}},
		{"no rejected", `{"prompt": "p", "chosen": "a"}`, pairs,
			[]string{`a.jsonl:1: found preference data of which a part is missing: the fields are "prompt", "chosen"`}},
		{"later no rejected", ok + `{"prompt": "p", "chosen": "a"}`, pairs,
			[]string{`a.jsonl:2: the fields are "prompt", "chosen", but the records before it are "preference"`}},
		{"plain row among pairs", ok + `{"prompt": "p", "completion": "a"}`, pairs,
			[]string{`a.jsonl:2: mixed formats: this record is "completion"`}},
		{"label a word", okVerdict + `{"prompt": "p", "completion": "a", "label": "yes"}`, verdicts,
			[]string{`a.jsonl:2: field "label" is a string, "yes"; expected true`}},
		{"label a number", okVerdict + `{"prompt": "p", "completion": "a", "label": 3}`, verdicts,
			[]string{`a.jsonl:2: field "label" is a number, 3; expected true`}},
		{"label null", okVerdict + `{"prompt": "p", "completion": "a", "label": null}`, verdicts,
			[]string{`a.jsonl:2: field "label" is null`}},
		{"first label a number", `{"prompt": "p", "completion": "a", "label": 1}`, verdicts,
			[]string{`a.jsonl:1: field "label" is a number, 1`}},
		{"all equal", `{"prompt": "p", "chosen": "a", "rejected": "a"}`, pairs,
			[]string{"the dataset is empty", "the chosen and the rejected answer are equal (", "a.jsonl:1"}},
		{"swapped roles", `{"prompt": [` + reply + `], "chosen": [` + user + `], "rejected": [` + user + `]}`, pairs,
			[]string{"the dataset is empty", "the prompt ends with an assistant's turn", "a.jsonl:1"}},
		{"chosen a number list", `{"prompt": "p", "chosen": [1], "rejected": "b"}`, pairs,
			[]string{`a.jsonl:1: field "chosen", message 1: found a number; expected an object`}},
		{"chosen a boolean", `{"prompt": "p", "chosen": true, "rejected": "b"}`, pairs,
			[]string{`a.jsonl:1: field "chosen" is a boolean; expected a string, or a list of messages`}},
		{"chosen an object",
			`{"conversations": [{"from": "human", "value": "q"}], "chosen": {"value": "q"}, "rejected": "b"}`, pairs,
			[]string{`a.jsonl:1: field "chosen": found the fields "value"`}},
		{"transcript", `{"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "b"}`, pairs,
			[]string{`a.jsonl:1: field "rejected" is no transcript`}},
		{"scores missing", `{"prompt": "p", "responses": ["a", "b"], "scores": [1]}`, pairs,
			[]string{`a.jsonl:1: field "scores" is a list of 1, and "responses" has 2 answers`}},
		{"score a word", `{"prompt": "p", "responses": ["a", "b"], "scores": [1, "good"]}`, pairs,
			[]string{`a.jsonl:1: field "responses", answer 2: "scores" is a string, "good"; expected a number`}},
		{"score without answer", `{"prompt": "p", "responses": [{"txt": "a", "score": 1}]}`, pairs,
			[]string{`a.jsonl:1: field "responses", answer 1 has the fields "txt", "score"`}},
		{"choice", rated(`"choice": "c"`), pairs,
			[]string{`a.jsonl:1: field "choice" is "c"; known: a, b, tie, bad, edit, skip`}},
		{"ranks of others", rated(`"choice": "rank", "ranks": [1]`), pairs,
			[]string{`a.jsonl:1: field "ranks" is a list of 1; with the choice "rank" it holds a number for each of ` +
				`2 answers`}},
		{"stars in words", rated(`"choice": "stars", "ratings": ["good", 1]`), pairs,
			[]string{`a.jsonl:1: field "ratings": `, "expected a number"}},
		{"the first of three", `{"prompt": "p", "answers": [{"text": "x"}, {"text": "y"}, {"text": "z"}], ` +
			`"choice": "a"}`, pairs, []string{`a.jsonl:1: field "choice" is "a", of two, and there are 3 answers`}},
		{"edit of nothing", rated(`"choice": "edit", "edited": "z"`), pairs,
			[]string{`a.jsonl:1: field "edited_from" is ""`}},
		{"empty edit", rated(`"choice": "edit", "edited_from": 0`), verdicts,
			[]string{`a.jsonl:1: field "edited" is empty`}},
		{"one answer", `{"prompt": "p", "answers": [{"text": "x"}], "choice": "a"}`, pairs,
			[]string{`a.jsonl:1: field "answers" is a list of 1; expected two answers`}},
		{"answers without text", `{"prompt": "p", "answers": [{"text": "x"}, {"txt": "x"}], "choice": "a"}`, pairs,
			[]string{`a.jsonl:1: field "answers", answer 2 has the fields "txt"; expected "text"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := data.Open(context.Background(), []string{write(t, "a.jsonl", c.content)},
				data.Options{Want: c.want})
			if err == nil {
				d.Close()
				t.Fatalf("got no error, want one with %q", c.err)
			}
			for _, want := range c.err {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
		})
	}
	_, err := data.Open(context.Background(), []string{write(t, "a.jsonl", okVerdict)},
		data.Options{Want: pairs, Format: "kto"})
	if err == nil || !strings.Contains(err.Error(), "found verdicts on single answers") {
		t.Errorf("a format that does not suit: got %v", err)
	}
	path := write(t, "a.jsonl", ok+`{"prompt": "p", "chosen": "a", "rejected": "a"}`)
	if _, err := data.Open(context.Background(), []string{path}, data.Options{Want: pairs, Strict: true}); err == nil ||
		!strings.Contains(err.Error(), path+":2: the chosen and the rejected answer are equal") {
		t.Errorf("strict: got %v", err)
	}
}

// TestCutOff: an answer that reached its limit is known as such, an edited one is whole; they are counted, and refused
// on request.
func TestCutOff(t *testing.T) {
	const answers = `{"prompt": "p", "answers": [{"text": "x", "stop": "length"}, {"text": "y", "stop": "end"}], `
	path := write(t, "a.jsonl", answers+`"choice": "b"}`+"\n"+answers+
		`"choice": "edit", "edited": "z", "edited_from": 1}`)
	d := open(t, data.Options{Want: data.WantPairs}, path)
	want := &data.Drop{Reason: "an answer was cut off when it was written", Count: 1, First: []string{path + ":1"}}
	if diff := cmp.Diff(want, d.Stats().CutOff); diff != "" {
		t.Errorf("cut off (-want +got):\n%s", diff)
	}
	e, err := d.At(0)
	if err != nil || e.Answers[0].CutOff || !e.Answers[1].CutOff {
		t.Errorf("got %+v, %v, want the rejected answer cut off", e.Answers, err)
	}
	_, err = data.Open(context.Background(), []string{path}, data.Options{Want: data.WantPairs, Strict: true})
	if err == nil || !strings.Contains(err.Error(), path+":1: an answer was cut off") {
		t.Errorf("strict: got %v", err)
	}
}

// TestMargins: pairs say by how much the chosen answer is better where that is asked for, data that does not say it is
// refused, and a list of answers weighs as much as a pair.
func TestMargins(t *testing.T) {
	const pair = `{"prompt": "P", "chosen": "A", "rejected": "B"`
	for name, c := range map[string]struct {
		content string
		margins []float64
		weights []float64
		fault   string
	}{
		"margin":     {pair + `, "margin": 0.5}`, []float64{0.5}, []float64{1}, ""},
		"two scores": {pair + `, "score_chosen": "9", "score_rejected": 6.5}`, []float64{2.5}, []float64{1}, ""},
		"list": {`{"prompt": "P", "responses": ["a", "b", "c", "b"], "scores": [1, 3, 1.5, 3]}`,
			[]float64{2, 0.5, 2, 1.5, 1.5}, []float64{0.2, 0.2, 0.2, 0.2, 0.2}, ""},
		"ranks":     {`{"prompt": "P", "responses": ["a", "b"], "ranks": [2, 1]}`, []float64{1}, []float64{1}, ""},
		"none":      {pair + `}`, nil, nil, `expected "margin", or "score_chosen"`},
		"no number": {pair + `, "margin": "much"}`, nil, nil, `"margin" is a string`},
		"empty":     {pair + `, "margin": ""}`, nil, nil, `"margin" is empty`},
		"rated": {`{"prompt": "P", "answers": [{"text": "A"}, {"text": "B"}], "choice": "a"}`, nil, nil,
			"--margin"},
		"other score": {pair + `, "score_chosen": 1}`, nil, nil, `"score_rejected"`},
	} {
		path := write(t, "a.jsonl", c.content)
		opts := data.Options{Want: data.WantPairs, Margins: true}
		d, err := data.Open(t.Context(), []string{path}, opts)
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, want %q", name, err, c.fault)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var margins, weights []float64
		for i := range d.Len() {
			e, err := d.At(i)
			if err != nil {
				t.Fatal(err)
			}
			margins, weights = append(margins, e.Margin), append(weights, e.Weight)
		}
		d.Close()
		if !slices.Equal(margins, c.margins) || !slices.Equal(weights, c.weights) {
			t.Errorf("%s: margins %v, weights %v, want %v and %v", name, margins, weights, c.margins, c.weights)
		}
		opts.Margins = false
		plain := open(t, opts, path)
		if e, err := plain.At(0); err != nil || e.Margin != 0 || e.Weight != c.weights[0] {
			t.Errorf("%s: unasked: margin %g, weight %g, %v", name, e.Margin, e.Weight, err)
		}
	}
}
