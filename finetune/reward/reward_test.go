package reward

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// schema is what the cases of json=SCHEMA are valid by.
const schema = `{"type": "object", "required": ["name"], "properties": {"name": {"type": "string"},
	"age": {"type": "integer", "maximum": 200}}}`

// worth are cases of every kind: a spec, an answer and what it is worth.
var worth = []struct {
	spec, answer string
	row          string
	want         float64
}{
	{"exact", "  I_JUMP\nI_WALK ", `{"answer": "I_JUMP I_WALK"}`, 1},
	{"exact", "I_JUMP", `{"answer": "I_JUMP I_WALK"}`, 0},
	{"exact", "b", `{"output": ["a", "b"]}`, 1},
	{"exact", "b", `{"messages": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "a"}]}`, 0},
	{"exact", "a", `{"messages": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "a"}]}`, 1},
	{"exact", "3", `{"answer": 3, "output": "4"}`, 1},
	{"exact", "true", `{"label": true}`, 1},
	{"exact=Answer:", "I think.\nAnswer: 3", `{"answer": "3"}`, 1},
	{"exact=Answer:", "3", `{"answer": "3"}`, 0},
	{`exact=\boxed`, `so \boxed{x+1}.`, `{"solution": "It is \\boxed{x+1}"}`, 1},
	{"number", "6 times 7 is 42.0", `{"answer": "6*7=42\n#### 42"}`, 1},
	{"number", "6 times 7 is 43", `{"answer": 42}`, 0},
	{"number", "none", `{"answer": 42}`, 0},
	{"number=The answer is", "42. The answer is 41", `{"answer": 42}`, 0},
	{"regex=^yes", "yes, it is", "", 1},
	{"regex=^yes", "oh yes", "", 0},
	{"length=4", "four words are four", "", 0},
	{"length=4", "one two three four five six", "", -0.5},
	{"length=2", "one two three four five six", "", -1},
	{"length=4-", "one", "", -0.75},
	{"length=4-", "", "", -1},
	{"length=2-3", "one two three", "", 0},
	{"repetition", "a b c d e", "", 0},
	{"repetition", "a b", "", 0},
	{"repetition", "a a a a a a", "", -0.75},
	{"repetition=1", "A a b", "", 2.0/3 - 1},
	{"format", "<think>hm</think>yes", "", 1},
	{"format", "\n<think>hm</think>\nyes", "", 1},
	{"format", "<think>hm</think>\n", "", 0},
	{"format", "<think> </think> yes", "", 0},
	{"format", "oh <think>hm</think> yes", "", 0},
	{"format", "<think>hm</think> yes <think>hm</think>", "", 0},
	{"format", "</think><think>hm</think> yes", "", 0},
	{"format", "hm</think> yes", "", 0},
	{"format=a", "hm</a> yes", "", 1}, // the prompt ends with <a>
	{"format=think,answer", "<think>hm</think> <answer>yes</answer>", "", 1},
	{"format=think,answer", "<think>hm</think> yes", "", 0},
	{"format=think,answer", "<think>hm</think> <answer>yes</answer> no", "", 0},
	{"format=think,answer", "<answer>yes</answer> <think>hm</think>", "", 0},
	{"constraints", "a, b", `{"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}`, 0},
	{"constraints", "a b", `{"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}`, 1},
	{"json", ` {"a": 1} `, "", 1},
	{"json", "```json\n[1]\n```", "", 1},
	{"json", "```\n[1]", "", 0},
	{"json", "1", "", 0},
	{"json", `{"a": 1} so`, "", 0},
	{"json", `{"a": }`, "", 0},
	{"json=SCHEMA", `{"name": "x", "age": 3}`, "", 1},
	{"json=SCHEMA", `{"name": "x", "age": 3.5}`, "", 0},
	{"json=SCHEMA", `{"age": 3}`, "", 0},
	{"json=SCHEMA", `{"name": "x", "age": 1e999999999}`, "", 0},
	{"json=SCHEMA", `{"name": "x", "age": -1e-999999999}`, "", 0},
	{"json=SCHEMA", `{"name": "x", "age": 0e-7}`, "", 1},
	{"json=SCHEMA", strings.Repeat("[", 20000), "", 0},
}

func sample(t *testing.T, answer, row string) Sample {
	t.Helper()
	s := Sample{Source: "data.jsonl:7", Prompt: "What? <a>", Answer: answer, Tokens: len(strings.Fields(answer)),
		Ended: true}
	if row == "" {
		row = "{}"
	}
	if err := json.Unmarshal([]byte(row), &s.Row); err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWorth tries every kind. One without cases fails.
func TestWorth(t *testing.T) {
	path := write(t, "schema.json", schema)
	tried := map[string]map[float64]bool{}
	for _, tc := range worth {
		name, _, _ := strings.Cut(tc.spec, "=")
		r, err := Open([]string{strings.ReplaceAll(tc.spec, "SCHEMA", path)}, nil, Options{})
		if err != nil {
			t.Fatalf("%s: %v", tc.spec, err)
		}
		samples := []Sample{sample(t, tc.answer, tc.row)}
		if err := r.Check(samples); err != nil {
			t.Errorf("%s: %s: %v", tc.spec, tc.row, err)
		}
		got, err := r.Score(t.Context(), samples)
		if err != nil || math.Abs(got.Total[0]-tc.want) > 1e-12 {
			t.Errorf("%s: %q of %s: got %v (%v), want %g", tc.spec, tc.answer, tc.row, got.Total, err, tc.want)
		}
		if tried[name] == nil {
			tried[name] = map[float64]bool{}
		}
		tried[name][tc.want] = true
	}
	for _, k := range Kinds() {
		if len(tried[k.Name]) < 2 {
			t.Errorf("reward %s has no two cases of unequal worth: write them", k.Name)
		}
		if k.Usage == "" || k.Needs && k.Arg == "" {
			t.Errorf("reward %s is declared without usage, or needs what has no name", k.Name)
		}
	}
}

// TestRefused: what is asked for wrongly says so before anything is scored.
func TestRefused(t *testing.T) {
	bad := write(t, "bad.json", `{"type": 7}`)
	outside := write(t, "outside.json", `{"$ref": "other.json"}`)
	web := write(t, "web.json", `{"$ref": "http://127.0.0.1:1/x.json"}`)
	for _, tc := range []struct {
		specs   []string
		weights []float64
		o       Options
		want    string
	}{
		{nil, nil, Options{}, "no reward is given"},
		{[]string{"exakt"}, nil, Options{}, `unknown reward "exakt"; nearest: "exact"`},
		{[]string{"exact", "exact"}, nil, Options{}, `reward "exact" is given twice`},
		{[]string{"exact="}, nil, Options{}, "nothing stands behind ="},
		{[]string{"length"}, nil, Options{}, "MAX|MIN-MAX|MIN- is missing; write length=MAX|MIN-MAX|MIN-"},
		{[]string{"length=9-3"}, nil, Options{}, "is no length"},
		{[]string{"length=0"}, nil, Options{}, "is no length"},
		{[]string{"length=1e3"}, nil, Options{}, "is no length"},
		{[]string{"regex=("}, nil, Options{}, "missing closing )"},
		{[]string{"repetition=0"}, nil, Options{}, "is no number of words"},
		{[]string{"format=a,b,c"}, nil, Options{}, "is no name of one block"},
		{[]string{"format=a>"}, nil, Options{}, "is no name of one block"},
		{[]string{"json=none.json"}, nil, Options{}, "none.json: no such file"},
		{[]string{"json=" + bad}, nil, Options{}, "no JSON Schema"},
		{[]string{"json=" + outside}, nil, Options{}, "stands alone"},
		{[]string{"json=" + web}, nil, Options{}, "stands alone"},
		{[]string{"exact", "json"}, []float64{1}, Options{}, "there are 1 weights for 2 rewards"},
		{[]string{"exact"}, []float64{1, 2}, Options{}, "there are 2 weights for 1 rewards"},
		{[]string{"exact"}, []float64{math.NaN()}, Options{}, "weight 1 is NaN"},
		{[]string{"exact", "json"}, []float64{0, 0}, Options{}, "every weight is 0"},
		{nil, nil, Options{Command: " "}, "empty command"},
		{nil, nil, Options{Command: "x", Timeout: -1}, "expected more than 0"},
	} {
		r, err := Open(tc.specs, tc.weights, tc.o)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v %v: got %v, want %q", tc.specs, tc.weights, err, tc.want)
		}
		if err == nil {
			r.Close()
		}
	}
}

// TestRows: a row without what is compared is found before there is an answer, and named with what it has.
func TestRows(t *testing.T) {
	for _, tc := range []struct{ spec, row, column, want string }{
		{"exact", `{"question": "q", "id": 3}`, "", "data.jsonl:7: reward \"exact\": the row has " +
			"no column with the right answer (answer, solution, target, output, reference, completion, response, " +
			"label, messages); say which it is (--reward-column); it has id, question"},
		{"exact", `{"answer": "x"}`, "gold", `no column "gold" (--reward-column); it has answer`},
		{"exact", `{}`, "gold", `it has none`},
		{"exact", `{"answer": null}`, "", `the column "answer" holds no right answer: "null"`},
		{"exact", `{"answer": []}`, "", `holds no right answer`},
		{"exact", `{"answer": {"a": 1}}`, "", `holds no right answer`},
		{"exact", `{"answer": [["x"]]}`, "", `holds no right answer`},
		{"exact", `{"messages": [{"role": "user", "content": "b"}]}`, "", `holds no right answer`},
		{"exact", `{"answer": " "}`, "", `holds no text`},
		{"number", `{"answer": "none"}`, "", `the answer "none" holds no number`},
	} {
		r, err := Open([]string{tc.spec}, nil, Options{Column: tc.column})
		if err != nil {
			t.Fatal(err)
		}
		samples := []Sample{sample(t, "a", tc.row)}
		if err := r.Check(samples); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %s: Check: got %v, want %q", tc.spec, tc.row, err, tc.want)
		}
		if _, err := r.Score(t.Context(), samples); err == nil || !strings.Contains(err.Error(), "data.jsonl:7") {
			t.Errorf("%s %s: Score: got %v", tc.spec, tc.row, err)
		}
	}
}

// A fixed reward gives what it is told.
type fixed struct {
	gives  []float64
	err    error
	closed *int
}

func (f fixed) Score(context.Context, []Sample) ([]float64, error) { return f.gives, f.err }

func (f fixed) Close() error {
	*f.closed++
	return f.err
}

// TestChecks: a check gives at most 1, for what is right; the others say how much, or how well. A program is a check as
// long as it gives 0 and 1 alone.
func TestChecks(t *testing.T) {
	right := map[string]bool{}
	for _, c := range worth {
		name, _, _ := strings.Cut(c.spec, "=")
		k, err := kinds.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		right[name] = right[name] || c.want == 1
		if k.Check && (c.want < 0 || c.want > 1) {
			t.Errorf("%s of %q is a check, and gives %g", c.spec, c.answer, c.want)
		}
	}
	for _, k := range Kinds() {
		if k.Check != right[k.Name] {
			t.Errorf("%s: Check is %v, and an answer is worth 1: %v", k.Name, k.Check, right[k.Name])
		}
	}
	r, err := Open([]string{"length=3", "exact", "constraints=all"}, nil,
		Options{Command: `while read -r line; do echo "$line" | sed 's/.*"answer":"\([0-9.]*\)","tokens.*/\1/'; done`})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rows := `{"answer": "1", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}`
	for _, c := range []struct {
		answer string
		want   []int
	}{{"", []int{1, 2}}, {"1", []int{1, 2, 3}}, {"0", []int{1, 2, 3}}, {"0.5", []int{1, 2}}, {"1", []int{1, 2}}} {
		if c.answer != "" {
			if _, err := r.Score(t.Context(), []Sample{sample(t, c.answer, rows)}); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(c.want, r.Checks()); diff != "" {
			t.Errorf("after %q: %s", c.answer, diff)
		}
	}
}

func TestRewards(t *testing.T) {
	closed := 0
	broken := errors.New("broken")
	give := func(name string, f fixed) *Kind {
		f.closed = &closed
		return &Kind{Name: name, Usage: "for tests", Open: func(string, *Options) (Reward, error) { return f, nil }}
	}
	o := Options{Kinds: []*Kind{give("nan", fixed{gives: []float64{0, math.NaN()}}),
		give("few", fixed{gives: []float64{1}}), give("err", fixed{err: broken}),
		give("model", fixed{gives: []float64{3, -1}})}}
	samples := []Sample{sample(t, "x", `{"answer": "x"}`), sample(t, strings.Repeat("y", 99), `{"answer": "x"}`)}
	r, err := Open([]string{"exact", "model", "regex=q", "regex=z"}, []float64{1, 0.5, 2, 0}, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Try(t.Context(), samples[:1]); err == nil { // two rewards for one sample
		t.Error("too many rewards are accepted")
	}
	got, err := r.Score(t.Context(), samples)
	want := Scores{Total: []float64{2.5, -0.5}, Parts: [][]float64{{1, 0}, {3, -1}, {0, 0}, {0, 0}}}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	if diff := cmp.Diff([]string{"exact", "model", "regex=q", "regex=z"}, r.Names()); diff != "" {
		t.Error(diff)
	}
	// regex=z weighs nothing: it is not missed that it says nothing.
	if diff := cmp.Diff([]string{`reward "regex=q" gave 0 to all 2 answers: from such nothing is learned`},
		r.Constant()); diff != "" {
		t.Error(diff)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil || closed != 2 {
		t.Errorf("closed %d times: %v", closed, err)
	}
	for name, want := range map[string]string{
		"nan": `data.jsonl:7: reward "nan" of the answer "` + strings.Repeat("y", 60) + `…": it is NaN`,
		"few": `reward "few" gave 1 rewards for 2 answers`, "err": `reward "err": broken`,
	} {
		r, err := Open([]string{name}, nil, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Score(t.Context(), samples); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
		if said := r.Constant(); said != nil {
			t.Errorf("%s: %q", name, said)
		}
	}
	if _, err := Open([]string{"exact", "moddel"}, nil, o); err == nil ||
		!strings.Contains(err.Error(), `nearest: "model"`) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	r, err = Open([]string{"exact"}, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Score(ctx, samples); !errors.Is(err, broken) {
		t.Errorf("cancelled: got %v", err)
	}
}
