package reward

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/finetune/data"
)

// TestGiven: the answers of whatever data holds some, with what they answer.
func TestGiven(t *testing.T) {
	for _, tc := range []struct {
		line string
		want data.Want
		said []string // prompt, turns before the answer, answer, whether it ended
	}{
		{`{"prompt": "p", "completion": "a", "gold": 1}`, data.WantAnswers, []string{"p 0 a true"}},
		{`{"question": "q", "answer": "a"}`, data.WantAnswers, []string{"q 1 a true"}},
		{`{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, ` +
			`{"role": "user", "content": "r"}, {"role": "assistant", "content": "b"}, ` +
			`{"role": "user", "content": "s"}]}`,
			data.WantAnswers, []string{"r 3 b true"}},
		{`{"prompt": "p", "chosen": "a", "rejected": "b"}`, data.WantPairs, []string{"p 0 a true", "p 0 b true"}},
		{`{"prompt": [{"role": "user", "content": "q"}], "answers": [{"text": "a", "stop": "length"}, ` +
			`{"text": "b"}], "choice": "b"}`, data.WantPairs, []string{"q 1 b true", "q 1 a false"}},
		{`{"prompt": "p", "completion": "a", "label": false}`, data.WantVerdicts, []string{"p 0 a true"}},
		{`{"text": "t"}`, data.WantAnswers, nil},
	} {
		path := filepath.Join(t.TempDir(), "a.jsonl")
		if err := os.WriteFile(path, []byte(tc.line), 0o666); err != nil {
			t.Fatal(err)
		}
		d, err := data.Open(t.Context(), []string{path}, data.Options{Want: tc.want})
		if err != nil {
			t.Fatal(err)
		}
		x, err := d.At(0)
		if err != nil {
			t.Fatal(err)
		}
		row, err := d.Row(0)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, s := range Given(&x, row) {
			said = append(said, strings.TrimSpace(s.Prompt+" "+string(rune('0'+len(s.Messages)))+" "+s.Answer+" "+
				map[bool]string{true: "true", false: "false"}[s.Ended]))
			if s.Source != path+":1" || s.Tokens != UnknownTokens || len(s.Row) == 0 {
				t.Errorf("%s: %+v", tc.line, s)
			}
		}
		if diff := cmp.Diff(tc.said, said); diff != "" {
			t.Errorf("%s: %s", tc.line, diff)
		}
		d.Close()
	}
	r, err := Open([]string{"length=3"}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Score(t.Context(), []Sample{{Tokens: UnknownTokens}}); err == nil ||
		!strings.Contains(err.Error(), "name the model") {
		t.Errorf("got %v", err)
	}
}
