package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/internal/study"
)

// TestBestOf: it is the mean over all ways to draw n answers, of the one that is best by the first score.
func TestBestOf(t *testing.T) {
	by, worth := []float64{0.3, 2, -1, 0.7, 0.1}, []float64{5, 1, 4, 2, -3}
	for n := 1; n <= len(by); n++ {
		sum, ways := 0.0, 0
		for set := range 1 << len(by) {
			best, size := -1, 0
			for i := range by {
				if set>>i&1 == 1 {
					if size++; best < 0 || by[i] > by[best] {
						best = i
					}
				}
			}
			if size == n {
				sum += worth[best]
				ways++
			}
		}
		if got, want := bestOf(n, by, worth), sum/float64(ways); !(math.Abs(got-want) < 1e-12) {
			t.Errorf("best of %d: %g, want %g", n, got, want)
		}
	}
}

// judgedOptions are those of the judged study over pairs like the real.
func judgedOptions(t *testing.T) *options {
	t.Helper()
	o := prepared(t)
	o.study = &judged
	var rows []map[string]string
	for i := range judgedHeld + 2*judgedHalf + 10 {
		rows = append(rows, map[string]string{"instruction": fmt.Sprint("ask ", i), "chosen": fmt.Sprint("kind ", i),
			"rejected": fmt.Sprint("rude ", i)})
	}
	rows = append(rows, rows[0], map[string]string{"instruction": "same", "chosen": "a", "rejected": "a"})
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	o.data = filepath.Join(t.TempDir(), "pairs.json")
	if err := os.WriteFile(o.data, text, 0o666); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestJudged: what the gold model learns from no other arm does, and none of it is measured on; the figures are those
// of eval, of two losses of the same answers and of the run's own course.
func TestJudged(t *testing.T) {
	o := judgedOptions(t)
	o.Seeds = 1
	if err := o.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range []string{proxyFile, goldFile, askedFile} {
		rows, err := study.Read[pair](o.file(file))
		if err != nil || len(rows) < judgedHeld {
			t.Fatalf("%s: %d pairs, %v", file, len(rows), err)
		}
		for _, p := range rows {
			if seen[p.Prompt] || p.Chosen == p.Rejected {
				t.Errorf("%s: %+v", file, p)
			}
			seen[p.Prompt] = true
		}
	}
	all, err := study.Read[result](o.Out)
	if err != nil || len(all) != len(judged.arms) {
		t.Fatalf("%d results, want %d: %v", len(all), len(judged.arms), err)
	}
	for _, r := range all {
		switch f := r.Figures; {
		case r.Arm == "rloo":
			if r.Failed == "" {
				t.Error("rloo did not fail")
			}
		case r.Failed != "":
			t.Errorf("%s: %s", r.Arm, r.Failed)
		case r.Arm == "proxy" || r.Arm == "gold" || r.Arm == "small":
			if f["accuracy"].Value != 0.75 || r.Prompts != 9 {
				t.Errorf("%+v", r)
			}
		case r.Arm == preferred || r.Arm == notPreferred:
			// "kind 7" is of two words, and none of its runs of two comes twice.
			if f["proxy"].Value != 0.5 || f["gold"].Value != 0.5 || f["words"].Value != 2 ||
				f["distinct-2"].Value != 1 {
				t.Errorf("%s: %+v", r.Arm, f)
			}
		case r.Arm == drawn || r.Arm == drawnSmall:
			// Of a prompt's answers, which are one to the pretender, the best is worth what all are.
			if len(r.Curve) != 7 || r.Curve[6].At != drawEach || r.Curve[6].Gold.Value != r.Curve[0].Gold.Value {
				t.Errorf("%+v", r.Curve)
			}
		default:
			// The pretender finds a loss of 1 nat a token, and of 2 with start's adapter; an answer has 3 tokens.
			want := 3.0
			if r.Arm == "start" {
				want = 0
			}
			if f["kl"].Value != want || f["proxy"].Value != 0.5 || f["gold"].Value != 0.25 || f["words"].Value != 2 {
				t.Errorf("%s: %+v", r.Arm, f)
			}
			if len(r.Curve) != 2 || r.Curve[1].At != 2 || r.Curve[1].KL != 4 || r.Curve[1].Gold.Value != 0.5 {
				t.Errorf("%s: %+v", r.Arm, r.Curve)
			}
		}
	}
	var b strings.Builder
	printCurves(&b, all)
	if want := "| 2 | 2.00 | 1.500 | 0.500 |"; !strings.Contains(b.String(), want) {
		t.Errorf("the curves lack %q:\n%s", want, &b)
	}
}

// TestConstraints: what is measured on asks for nothing that was trained on, in other words about other things; and the
// reward reads every row, and finds an answer that does as asked right.
func TestConstraints(t *testing.T) {
	o := prepared(t)
	o.study, o.data = &constraints, ""
	if err := o.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	judge, err := reward.Open([]string{"constraints=all"}, nil, reward.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer judge.Close()
	trained := map[string]bool{}
	for _, file := range []string{singleFile, valuesFile, combinedFile} {
		rows, err := study.Read[constrained](o.file(file))
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			said, err := json.Marshal(row.Kwargs)
			if err != nil {
				t.Fatal(err)
			}
			if file == singleFile {
				trained[string(said)] = true
			} else if trained[string(said)] {
				t.Errorf("%s: %s is trained on", file, said)
			}
			follows(t, judge, row)
		}
	}
	all, err := study.Read[result](o.Out)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d results, want base, grpo and grpo: %v", len(all), err)
	}
	for _, r := range all {
		if f := r.Figures; r.Failed != "" || f["values"].Value != 0.5 || f["combinations"].Value != 0.5 ||
			math.Abs(f["perplexity"].Value-math.E) > 1e-9 {
			t.Errorf("%+v", r)
		}
	}
}

// follows checks that the reward finds right what is made as a row asks, and wrong what is not.
func follows(t *testing.T, judge *reward.Rewards, row constrained) {
	t.Helper()
	text, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	var words, said string
	var keys []any
	for i, name := range row.Instructions {
		k := row.Kwargs[i]
		switch {
		case strings.HasPrefix(name, "keywords"):
			for _, w := range k["keywords"].([]any) {
				words += w.(string) + " "
			}
		case strings.HasPrefix(name, "length"):
			said = strings.Repeat("So it is. ", int(k["num_sentences"].(float64)))
		default:
			keys = k["schema"].(map[string]any)["required"].([]any)
		}
	}
	right := words + said
	if keys != nil {
		right = fmt.Sprintf("{%q: %q, %q: \"x\"}", keys[0], right, keys[1])
	}
	var columns map[string]json.RawMessage
	if err := json.Unmarshal(text, &columns); err != nil {
		t.Fatal(err)
	}
	var samples []reward.Sample
	for _, a := range []string{right, "Nothing. Of. The. Kind. At. All."} {
		samples = append(samples, reward.Sample{Row: columns, Answer: a, Ended: true})
	}
	got, err := judge.Score(context.Background(), samples)
	if err != nil {
		t.Fatal(err)
	}
	if got.Total[0] != 1 || got.Total[1] != 0 {
		t.Errorf("%s: %q and another answer are worth %v, want 1 and 0", row.Prompt[0].Content, right, got.Total)
	}
}
