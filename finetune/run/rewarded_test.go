package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/reward"
)

// TestRewardAnswers: given answers, of pairs both, are rewarded in the data's order, and figures say what of.
func TestRewardAnswers(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var many strings.Builder
	for i := range 300 { // more than a program is asked about at once
		fmt.Fprintf(&many, `{"prompt": "p", "completion": "it is %d", "gold": [7, %d]}`+"\n", i, i/2*2)
	}
	pairs := `{"prompt": "p", "chosen": "a b", "rejected": "a", "answer": "a"}`
	for _, tc := range []struct {
		name, data, model string
		specs             []string
		weights           []float64
		want              string // figures, notes, or the error
		first             string // what is said of the first answers
	}{
		{"many", file("many.jsonl", many.String()), "", []string{"number", "regex=9"}, []float64{2, 1},
			"300: score mean 1.19667 0 to 3; number mean 0.503333 0 to 1; regex=9 mean 0.19 0 to 1",
			"1 {2 map[number:1"},
		{"pairs", file("pairs.jsonl", pairs), "", []string{"exact"}, nil,
			"2: score mean 0.5 0 to 1; exact mean 0.5 0 to 1",
			"1 chosen {0 map[exact:0]}, 1 rejected {1 map[exact:1]}"},
		{"tokens", file("pairs.jsonl", pairs), synth.Temp(t, synth.Tiny("llama", gguf.F32)), []string{"length=2"}, nil,
			"2: score mean -0.5", "1 chosen"},
		{"no tokens", file("pairs.jsonl", pairs), "", []string{"length=2"}, nil, "name the model", ""},
		{"constant", file("two.jsonl", "{\"prompt\": \"p\", \"completion\": \"a\"}\n{\"prompt\": \"q\", "+
			"\"completion\": \"b\"}"), "", []string{"regex=x"}, nil,
			`2: score mean 0 0 to 0; regex=x mean 0 0 to 0; note reward "regex=x" gave 0 to all 2 answers: from ` +
				`such nothing is learned`, ""},
		{"themselves", file("own.jsonl", `{"prompt": "p", "completion": "a", "gold": "b"}`), "", []string{"exact"}, nil,
			"1: score mean 1 1 to 1; exact mean 1 1 to 1; note each answer is compared with itself: the data " +
				"holds no other right one, or its column is to be named (--reward-column)", ""},
		{"text", file("t.txt", "a text"), "", []string{"regex=x"}, nil, "holds no answers", ""},
		{"no right answer", file("none.jsonl", `{"messages": [{"role": "user", "content": "q"}, `+
			`{"role": "assistant", "content": "a"}], "gold": 1}`), "", []string{"number"}, nil,
			`none.jsonl:1: the answer "a" holds no number`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			column := ""
			if tc.name == "many" {
				column = "gold"
			}
			r, err := reward.Open(tc.specs, tc.weights, reward.Options{Column: column})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			cfg := config.Default()
			cfg.Data, cfg.Model = []string{tc.data}, tc.model
			var said []string
			f, err := RewardAnswers(t.Context(), &cfg, r, func(a Rewarded) error {
				_, line, _ := strings.Cut(a.Source, ":")
				said = append(said, strings.Join(strings.Fields(line+" "+a.Answer), " ")+
					fmt.Sprintf(" {%g %v}", a.Score, a.Rewards))
				return nil
			})
			got := fmt.Sprint(err)
			if err == nil {
				got = fmt.Sprintf("%d", f.Answers)
				for i, x := range append([]RewardFigure{f.Score}, f.Rewards...) {
					got += fmt.Sprintf("%s %s mean %.6g %g to %g", []string{":", ";"}[min(i, 1)], x.Name, x.Mean, x.Low,
						x.High)
				}
				for _, n := range f.Notes {
					got += "; note " + n
				}
			}
			if !strings.Contains(got, tc.want) || !strings.HasPrefix(strings.Join(said, ", "), tc.first) {
				t.Errorf("got %s\nwant %s\nsaid %q", got, tc.want, said[:min(2, len(said))])
			}
		})
	}
	stop := errors.New("stop")
	cfg := config.Default()
	cfg.Data = []string{filepath.Join(dir, "pairs.jsonl")}
	r, err := reward.Open([]string{"exact"}, nil, reward.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := RewardAnswers(t.Context(), &cfg, r, func(Rewarded) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}
