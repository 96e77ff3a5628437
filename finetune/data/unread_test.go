package data_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/finetune/data"
)

// TestUnread: what nothing reads is named with the number of records that have it; what nothing could be lost of is
// not.
func TestUnread(t *testing.T) {
	chat := `"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"`
	pair := `"prompt": "p", "chosen": "a", "rejected": "b"`
	for _, c := range []struct {
		name, content string
		opts          data.Options
		want          []string
	}{
		{"all read", `{` + chat + `}], "system": "s", "tools": [{"name": "f"}]}`, data.Options{}, nil},
		{"columns", `{"id": 7, ` + chat + `}], "source": "x"}` + "\n" + `{` + chat + `}], "source": "y"}`,
			data.Options{}, []string{"id", "source", "source"}},
		{"nothing in them", `{` + chat + `}], "a": null, "b": "", "c": [], "d": { }, "e": " "}`, data.Options{}, nil},
		{"of messages", `{` + chat + `, "refusal": "no", "audio": null}], "x": 0}`, data.Options{},
			[]string{"x", "messages[].refusal"}},
		{"of calls", `{` + chat +
			`, "tool_calls": [{"index": 1, "function": {"name": "f", "arguments": "{}", "strict": true}}]}]}`,
			data.Options{},
			[]string{"messages[].tool_calls[].function.strict", "messages[].tool_calls[].index"}},
		{"of parts",
			`{"messages": [{"role": "assistant", "content": [{"type": "text", "text": "a", "cache": {"x": 1}}]}]}`,
			data.Options{}, []string{"messages[].content[].cache"}},
		{"literal text has no place for them",
			`{"prompt": "p", "completion": "c", "system": "s", "tools": [{"name": "f"}]}`, data.Options{},
			[]string{"system", "tools"}},
		{"of two names the first",
			`{"question": "q", "answer": "a", "system": "s", "system_prompt": "t", "response": "r"}`, data.Options{},
			[]string{"system_prompt", "response"}},
		{"a label that is no verdict", `{"question": "q", "answer": "a", "label": 3}`, data.Options{},
			[]string{"label"}},
		{"left out on purpose", `{"text": "t", "id": 1, "source": "x"}`, data.Options{Ignore: []string{"id"}},
			[]string{"source"}},
		{"a verdict left out on purpose", `{"question": "q", "answer": "a", "label": true}`,
			data.Options{Ignore: []string{"label"}}, nil},
		{"of scored answers", `{"prompt": "q", "completions": [{"response": "a", "score": 1, "model": "m"}, ` +
			`{"response": "b", "score": 2}], "n": 2}`, data.Options{Want: data.WantPairs},
			[]string{"n", "completions[].model"}},
		{"of messages that are answers", `{"prompt": "q", "responses": [{"role": "assistant", "content": "b", ` +
			`"score": 1, "id": 4}, {"role": "assistant", "content": "a", "score": 2}]}`,
			data.Options{Want: data.WantPairs}, []string{"responses[].response.id"}},
		{"a rating's own", `{"prompt": "p", "answers": [{"text": "x", "seed": 1}, ` +
			`{"text": "y"}], "choice": "a", "chosen": "x", "rejected": "y", "ggtune": {"id": "1"}, "note": "n"}`,
			data.Options{Want: data.WantPairs}, []string{"note"}},
		{"of instances", `{"instruction": "i", "instances": [{"input": "x", "output": "o", "n": 1}], "name": "t"}`,
			data.Options{}, []string{"name", "instances[].n"}},
		{"beside a list", `{"version": 3, "empty": "", "data": [{` + pair + `}]}`, data.Options{Want: data.WantPairs},
			[]string{"version"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "a.json", c.content)
			var got []string
			for _, col := range open(t, c.opts, path).Stats().Unread {
				for range col.Count {
					got = append(got, col.Name)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("unread (-want +got):\n%s", diff)
			}
			c.opts.Strict = true
			d, err := data.Open(context.Background(), []string{path}, c.opts)
			if err == nil {
				d.Close()
			}
			if c.want == nil != (err == nil) || err != nil &&
				!strings.Contains(err.Error(), "nothing reads the field \""+c.want[0]+"\"") {
				t.Errorf("strict: got %v", err)
			}
		})
	}
}

// TestManyColumns: a stranger's data has any number of names, of which a bounded number is kept.
func TestManyColumns(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"text": "t"`)
	for i := range 300_000 {
		b.WriteString(`, "k`)
		b.WriteString(strings.Repeat("x", i%7))
		b.WriteString(string(rune('0'+i%10)) + string(rune('a'+i/10%26)) + string(rune('A'+i/260%26)) +
			string(rune(0x4e00+i/6760)))
		b.WriteString(`": 1`)
	}
	b.WriteString("}")
	d := open(t, data.Options{}, write(t, "a.jsonl", b.String()))
	if n := len(d.Stats().Unread); n < 100 || n > 300 {
		t.Errorf("%d names are kept", n)
	}
}

// TestVerdictsBesideAnswers: a verdict beside any format of single answers is read where verdicts are learned from, and
// refused by plain training, also in a table, which has no booleans.
func TestVerdictsBesideAnswers(t *testing.T) {
	for _, c := range []struct{ name, file, content, want string }{
		{"alpaca", "a.jsonl", `{"system": "s", "instruction": "i", "input": "x", "output": "o", "label": false}`,
			`system "s" train false; user "i\nx" train false - assistant "o"`},
		{"qa", "a.jsonl", `{"question": "q", "answer": "a", "kto_tag": true}`, `user "q" train false + assistant "a"`},
		{"messages", "a.jsonl",
			`{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "label": true}`,
			`user "q" train false + assistant "a"`},
		{"self-instruct", "a.jsonl", `{"instruction": "i", "instances": [{"input": "", "output": "o"}], "label": true}`,
			`user "i" train false + assistant "o"`},
		{"table", "a.csv", "question,answer,label\nq,a,False\n", `user "q" train false - assistant "a"`},
		{"words", "a.jsonl", `{"prompt": "p", "completion": "c", "label": "TRUE"}`, `"p" + "c"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.file, c.content)
			d := open(t, data.Options{Want: data.WantVerdicts}, path)
			checkChoices(t, d, "kto", []string{c.want})
			if u := d.Stats().Unread; u != nil {
				t.Errorf("unread: %v", u)
			}
			if _, err := data.Open(context.Background(), []string{path}, data.Options{}); err == nil ||
				!strings.Contains(err.Error(), "verdicts on answers") {
				t.Errorf("plain: got %v", err)
			}
		})
	}
}

// TestMarks reads who trains on what, as other trainers write it.
func TestMarks(t *testing.T) {
	for field, want := range map[string]string{
		`"loss": false`: "train false", `"loss": true`: "train true", `"loss": null`: "",
		`"loss_weight": 0`: "train false", `"weight": 1.0`: "train true",
		`"training": false`: "train false", `"loss_scale": 0.0`: "train false", `"masked": true`: "train false",
		`"masked": false`: "train true", `"train": "False"`: "train false",
		`"train_detail": []`: "",
	} {
		d := open(t, data.Options{},
			write(t, "a.jsonl", `{"messages": [{"role": "assistant", "content": "a", `+field+
				`}, {"role": "assistant", "content": "b"}]}`))
		if got := strings.TrimSuffix(strings.TrimPrefix(all(t, d)[0], `assistant "a"`),
			`; assistant "b"`); strings.TrimSpace(got) != want {
			t.Errorf("%s: got %q, want %q", field, got, want)
		}
	}
	for _, field := range []string{`"mask": true`,
		`"train_detail": [{"begin_offset": 0, "end_offset": 3, "train": false}]`} {
		_, err := data.Open(context.Background(),
			[]string{write(t, "a.jsonl", `{"messages": [{"role": "assistant", "content": "a", `+field+`}]}`)},
			data.Options{})
		if err == nil || !strings.Contains(err.Error(), "not supported; write \"train\": true or false") {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

// TestBesideConversations: a system prompt and tools beside a conversation belong to it, under every name.
func TestBesideConversations(t *testing.T) {
	const f = `{"name": "f", "parameters": {}}`
	for _, c := range []struct{ name, content, want string }{
		{"OpenOrca", `{"system_prompt": "s", "question": "q", "response": "a"}`, `system "s"; user "q"; assistant "a"`},
		{"empty", `{"system_prompt": "", "question": "q", "response": "a"}`, `user "q"; assistant "a"`},
		{"messages",
			`{"system": "s", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}`,
			`system "s"; user "q"; assistant "a"`},
		{"the same twice", `{"system": "s ", "messages": [{"role": "system", "content": "s"}, ` +
			`{"role": "assistant", "content": "a"}]}`, `system "s"; assistant "a"`},
		{"functions", `{"functions": [` + f + `], "messages": [{"role": "assistant", "content": "a"}]}`,
			`assistant "a"; tools [{"type": "function", "function": ` + f + `}]`},
		{"functions beside nothing", `{"tools": null, "functions": [` + f + `], "question": "q", "answer": "a"}`,
			`user "q"; assistant "a"; tools [{"type": "function", "function": ` + f + `}]`},
		{"tools in strings", `{"tools": ["{\"name\": \"f\"}", "{\"name\": \"g\"}"], "instruction": "q", "output": "a"}`,
			`user "q"; assistant "a"; tools [{"name": "f"}, {"name": "g"}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff([]string{c.want},
				all(t, open(t, data.Options{Strict: true}, write(t, "a.jsonl", c.content)))); diff != "" {
				t.Errorf("examples (-want +got):\n%s", diff)
			}
		})
	}
	d := open(t, data.Options{Want: data.WantPairs, Strict: true},
		write(t, "a.jsonl", `{"system_message": "s", "prompt": "q", "chosen": "a", "rejected": "b"}
{"system_message": "s", "prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]}`))
	pair := `system "s" train false; user "q" train false + assistant "a" - assistant "b"`
	checkChoices(t, d, "alpaca-preference", []string{pair, pair})
}

// TestRemarks: texts that stand for a missing one, and arguments that are no JSON, are said, with the number of
// records.
func TestRemarks(t *testing.T) {
	const call = `{"messages": [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", ` +
		`"arguments": "{a: 1"}}, {"function": {"name": "f", "arguments": "x"}}]}]}`
	for _, c := range []struct {
		name, file, content string
		want                []string
	}{
		{"table", "a.csv", "prompt,completion,note\np,NaN,None\nq,None,x\nr,NaN,x\ns,fine,x\n",
			[]string{`"completion" is the text "NaN" 2`, `"completion" is the text "None" 1`}},
		{"message", "a.jsonl",
			`{"messages": [{"role": "user", "content": "null"}, {"role": "assistant", "content": "a"}]}`,
			[]string{`"messages[].content" is the text "null" 1`}},
		{"arguments", "a.jsonl", call + "\n" + call, []string{"the arguments of a tool call are no JSON 2"}},
		{"none", "a.jsonl", `{"text": "None of it", "x": "None"}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			remarks := open(t, data.Options{}, write(t, c.file, c.content)).Stats().Remarks
			if len(remarks) != len(c.want) {
				t.Fatalf("got %+v, want %q", remarks, c.want)
			}
			for i, r := range remarks {
				text, n, _ := strings.Cut(c.want[i], c.want[i][len(c.want[i])-1:])
				if !strings.Contains(r.Reason, strings.TrimSpace(text)) || n != "" ||
					r.Count != int(c.want[i][len(c.want[i])-1]-'0') {
					t.Errorf("got %d × %q, want %q", r.Count, r.Reason, c.want[i])
				}
			}
		})
	}
}

// TestLabelBits: 0 and 1 may be verdicts or classes: both kinds of training say so.
func TestLabelBits(t *testing.T) {
	for _, file := range []struct{ name, content string }{
		{"a.jsonl", `{"prompt": "p", "completion": "c", "label": 1}`},
		{"a.csv", "question,answer,label\nq,a,0\n"},
	} {
		path := write(t, file.name, file.content)
		s := open(t, data.Options{}, path).Stats()
		if len(s.Unread) != 1 || len(s.Remarks) != 1 ||
			!strings.Contains(s.Remarks[0].Reason, "write false and true, and train with --method kto") {
			t.Errorf("%s: unread %v, remarks %v", file.name, s.Unread, s.Remarks)
		}
		_, err := data.Open(context.Background(), []string{path}, data.Options{Want: data.WantVerdicts})
		if err == nil || !strings.Contains(err.Error(), "0 and 1 may be classes: where they are verdicts write") {
			t.Errorf("%s for kto: got %v", file.name, err)
		}
		s = open(t, data.Options{Ignore: []string{"label"}}, path).Stats()
		if len(s.Remarks) != 0 {
			t.Errorf("%s, left out: %v", file.name, s.Remarks)
		}
	}
}
