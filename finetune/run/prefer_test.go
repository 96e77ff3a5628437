package run

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
)

// tinyPairs is a JSONL file of pairs: one word is always chosen, so that there is something to learn.
func tinyPairs(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"prompt": "the number %d is", "chosen": " even", "rejected": " odd"}`+"\n", i)
	}
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func pairConfig(t *testing.T, how string) config.Config {
	t.Helper()
	c := tinyConfig(t, gguf.F32)
	c.Method, c.Data = how, []string{tinyPairs(t, 40)}
	return c
}

// evaluated gives the figures of the evaluations of a run.
func (r *recorder) evaluated(name string) (out []float64) {
	for _, e := range r.events {
		if v, ok := e.(report.Evaluated); ok {
			for _, m := range v.Metrics {
				if m.Name == name {
					out = append(out, m.Sum/m.Weight)
				}
			}
		}
	}
	return out
}

// referenceRows counts the rows that the reference was asked about or found in the cache.
func (r *recorder) referenceRows() (rows int) {
	for _, e := range r.events {
		if p, ok := e.(report.Progress); ok && p.What == "reference" {
			rows = max(rows, p.Done)
		}
	}
	return rows
}

// TestEveryMethodLearns trains a generated model with every method of preferences: the held-out margin rises, the
// result is one that llama.cpp agrees with, and `eval` finds the report's loss in it, with the adapter's own method
// and settings.
func TestEveryMethodLearns(t *testing.T) {
	for _, name := range append(method.Names(), "dpo,sft") {
		how, err := method.New(name, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if how.Need == method.Answers || how.Need == method.Rollouts || how.Need.Pools() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := pairConfig(t, name)
			c.Dropout, c.Steps, c.EvalEvery, c.LR = 0, 20, config.Fixed(0), config.Fixed(1e-2)
			rec := &recorder{}
			s, err := Train(t.Context(), c, rec)
			if err != nil {
				t.Fatal(err)
			}
			acc, margin := rec.evaluated("accuracy"), rec.evaluated("margin")
			if n := len(acc); n < 2 || !(acc[n-1] > 0.7) || !(margin[n-1] > margin[0]) {
				t.Errorf("held-out accuracy %v, margin %v; want accuracy above 0.7 and a margin that has risen", acc,
					margin)
			}
			if how.Reference && acc[0] != 0.5 {
				t.Errorf("accuracy before the first step is %g, want 0.5: the policy is the reference", acc[0])
			}
			if s.LlamaMaxDiff == nil {
				t.Errorf("report: %+v", s)
			}
			e := config.Default()
			e.Model, e.Data, e.Threads = c.Model, c.Data, 1
			got, err := Evaluate(t.Context(), e, s.Result, nil, report.Silent{})
			if err != nil || got.Method != name || !(got.Figures["accuracy"] > 0.7) || !math.IsNaN(got.Perplexity) {
				t.Errorf("eval: %+v, %v", got, err)
			}
		})
	}
}

// TestListsAsPairs: training on ranked lists, each one tree, is training on their pairs, each a tree: loss, figures and
// what is learned are the same, and so is what is measured.
func TestListsAsPairs(t *testing.T) {
	const tol = 1e-6 // measured: 1e-7, of sums in F32
	var b strings.Builder
	for i := range 6 {
		fmt.Fprintf(&b, `{"prompt": "the number %d is", "responses": ["even", "odd", "prime number", "even or odd"], `+
			`"scores": [%d, 1, 2, 0]}`+"\n", i, i)
	}
	path := filepath.Join(t.TempDir(), "lists.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"reward", "dpo", "dpo,sft"} {
		var got [2][]float64
		var held [2]Evaluation
		trained := "" // from lists
		for i, rows := range []string{"list", "pair"} {
			c := tinyConfig(t, gguf.F32)
			c.Method, c.Data, c.RankedRows, c.Exact, c.Dropout = name, []string{path}, rows, true, 0
			c.EvalSplit, c.EvalEvery, c.Steps, c.LR = config.Fixed(0.0), config.Fixed(0), 2, config.Fixed(1e-2)
			c.Accum, c.Template = config.Fixed(64), "plain" // a step is an epoch
			rec := &recorder{}
			s, err := Train(t.Context(), c, rec)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range rec.events {
				if st, ok := e.(report.Step); ok {
					got[i] = append(got[i], st.Loss, st.GradNorm)
					for _, key := range slices.Sorted(maps.Keys(st.Figures)) {
						got[i] = append(got[i], st.Figures[key])
					}
				}
			}
			if trained == "" {
				trained = s.Result
			}
			e := config.Default()
			e.Model, e.Data, e.Threads, e.RankedRows, e.Template = c.Model, c.Data, 1, rows, "plain"
			if held[i], err = Evaluate(t.Context(), e, trained, nil, report.Silent{}); err != nil {
				t.Fatal(err)
			}
		}
		if len(got[0]) < 12 || len(got[0]) != len(got[1]) {
			t.Fatalf("%s: figures %v and %v", name, got[0], got[1])
		}
		for k, x := range got[1] {
			if !(math.Abs(got[0][k]-x) <= tol*max(1, math.Abs(x))) {
				t.Errorf("%s: figure %d is %.9g of lists, %.9g of pairs", name, k, got[0][k], x)
			}
		}
		if !(math.Abs(held[0].Loss-held[1].Loss) <= tol) || held[0].Counted*2 >= held[1].Counted {
			t.Errorf("%s: measured %.9g on %d tokens of lists, %.9g on %d of pairs", name, held[0].Loss,
				held[0].Counted, held[1].Loss, held[1].Counted)
		}
	}
}

// TestPreferenceResume: a run with a reference that was stopped, in the reference pass or later, ends as a straight
// one.
func TestPreferenceResume(t *testing.T) {
	for _, name := range []string{"dpo", "kto"} {
		straight := pairConfig(t, name)
		mustTrain(t, straight)
		for where, at := range map[string]func(e report.Event) bool{
			"in the reference pass": func(e report.Event) bool {
				p, ok := e.(report.Progress)
				return ok && p.What == "reference" && p.Done == 1
			},
			"after step 1": func(e report.Event) bool { s, ok := e.(report.Step); return ok && s.Step == 1 },
		} {
			t.Run(name+" "+where, func(t *testing.T) {
				c := straight
				c.Output = filepath.Join(t.TempDir(), "run")
				stopAndResume(t, c, at, func() {
					if _, err := os.Stat(filepath.Join(c.Output, fileReference)); err != nil {
						t.Error(err)
					}
				})
				sameResult(t, c.Output, straight.Output)
			})
		}
	}
}

// TestReferenceCache: what is in the cache is taken from it, under its key only.
func TestReferenceCache(t *testing.T) {
	c := pairConfig(t, "dpo")
	c.RefCache = filepath.Join(t.TempDir(), "ref.bin")
	mustTrain(t, c)
	first := metrics(t, c.Output)
	cache := readFile(t, c.RefCache)
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, c *config.Config)
		note   string // "": the cache is used
	}{
		{"the same", func(*testing.T, *config.Config) {}, ""},
		{"another beta", func(_ *testing.T, c *config.Config) { c.Settings.Set("beta", 0.5) }, ""},
		{"another method", func(_ *testing.T, c *config.Config) { c.Method = "ipo" }, ""},
		{"other data", func(t *testing.T, c *config.Config) { c.Data = []string{tinyPairs(t, 30)} },
			"for other data or another chat template"},
		{"exact", func(_ *testing.T, c *config.Config) { c.Exact = true }, "for other settings of rows"},
		{"damaged", func(t *testing.T, c *config.Config) {
			if err := os.WriteFile(c.RefCache, []byte(cache[:len(cache)-8]), 0o666); err != nil {
				t.Fatal(err)
			}
		}, "damaged"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := c
			c.Output = filepath.Join(t.TempDir(), "run")
			c.RefCache = filepath.Join(t.TempDir(), "ref.bin")
			if err := os.WriteFile(c.RefCache, []byte(cache), 0o666); err != nil {
				t.Fatal(err)
			}
			tc.change(t, &c)
			rec := &recorder{}
			if _, err := Train(t.Context(), c, rec); err != nil {
				t.Fatal(err)
			}
			notes := rec.notes()
			if used := !strings.Contains(notes, "computed anew"); used != (tc.note == "") ||
				!strings.Contains(notes, tc.note) {
				t.Errorf("notes %q, want %q", notes, tc.note)
			}
			if rec.referenceRows() == 0 {
				t.Error("no reference pass was shown")
			}
			if tc.name == "the same" && !reflect.DeepEqual(metrics(t, c.Output), first) {
				t.Error("the run differs from the one without a cache")
			}
		})
	}
}

// TestCachedReferenceIsNotOpened: where the cache holds every row, no session of the reference is opened, which would
// take memory and threads beside training's.
func TestCachedReferenceIsNotOpened(t *testing.T) {
	r := begun(t, pairConfig(t, "dpo"), func(*run) {})
	never := func() error { return errors.New("saved, and nothing is new") }
	m := &referenceModel{} // of no model: opening it would fail
	err := r.refs.train.compute(t.Context(), m, r.rows.TrainRows, r.meta.Course.Steps*r.cfg.Accum.N, func(int) {},
		never)
	if err := errors.Join(err, r.refs.held.compute(t.Context(), m, r.rows.HeldRows, r.rows.HeldRows.Micros(),
		func(int) {}, never)); err != nil {
		t.Error(err)
	}
	if m.sess != nil {
		t.Error("a session was opened")
	}
}

// TestReferenceCacheIsNoOther: a file that is no reference cache is not replaced by one, and a cache that cannot be
// written is found out before the pass that fills it.
func TestReferenceCacheIsNoOther(t *testing.T) {
	c := pairConfig(t, "dpo")
	mustTrain(t, c)
	states, err := filepath.Glob(filepath.Join(c.Output, dirCheckpoints, "*", "state.bin"))
	if err != nil || len(states) == 0 {
		t.Fatalf("no checkpoint: %v", err)
	}
	for name, content := range map[string]string{"a model": readFile(t, c.Model), "data": readFile(t, c.Data[0]),
		"a checkpoint": readFile(t, states[0]), "a note": "eggs"} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.Output, c.RefCache = filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "mine")
			if err := os.WriteFile(c.RefCache, []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
			if _, err := Train(t.Context(), c, report.Silent{}); err == nil ||
				!strings.Contains(err.Error(), "--ref-cache") {
				t.Errorf("got %v, want it refused", err)
			}
			if readFile(t, c.RefCache) != content {
				t.Error("the file was overwritten")
			}
		})
	}
	c.Output, c.RefCache = filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "missing", "ref.bin")
	rec := &recorder{}
	if _, err := Train(t.Context(), c, rec); err == nil || rec.referenceRows() > 0 {
		t.Errorf("a cache in a folder that is not there: got %v after %d rows", err, rec.referenceRows())
	}
}

// TestInitAdapter: a run that starts from an adapter begins where that ended, and has it as its reference unless
// another is named.
func TestInitAdapter(t *testing.T) {
	sft := tinyConfig(t, gguf.F32)
	sft.Dropout = 0
	s := mustTrain(t, sft)
	c := pairConfig(t, "dpo")
	c.Model, c.InitAdapter, c.Rank, c.LR, c.Dropout = sft.Model, s.Result, config.Default().Rank, config.Fixed(1e-2), 0
	c.Steps, c.EvalEvery = 10, config.Fixed(0)
	rec := &recorder{}
	tuned, err := Train(t.Context(), c, rec)
	if err != nil {
		t.Fatal(err)
	}
	if *tuned.EvalLossBefore != math.Ln2 && math.Abs(*tuned.EvalLossBefore-math.Ln2) > 1e-6 {
		t.Errorf("loss before the first step is %g, want ln 2: the policy is its reference", *tuned.EvalLossBefore)
	}
	// What its settings file says of the adapter is that adapter's, and the file serves to go on with the run.
	saved := readFile(t, c.Output, fileConfig)
	if !strings.Contains(saved, "has rank 4 and alpha 32\n") || strings.Contains(saved, "\nrank =") ||
		strings.Contains(saved, "\nalpha =") {
		t.Errorf("run.toml:\n%s", saved)
	}
	resumed, err := ResumeConfig(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	if again := mustTrain(t, *resumed); *again.AdapterSHA256 != *tuned.AdapterSHA256 {
		t.Error("the finished run, resumed, ended otherwise")
	}
	e := config.Default()
	e.Model, e.Data, e.Threads = c.Model, c.Data, 1
	quiet := &recorder{}
	if _, err := Evaluate(t.Context(), e, tuned.Result, nil, quiet); err != nil ||
		!strings.Contains(quiet.notes(), "was trained against the base with an adapter") {
		t.Errorf("eval against the base alone: %v, notes %q", err, quiet.notes())
	}
	e.RefAdapter = s.Result
	quiet = &recorder{}
	if got, err := Evaluate(t.Context(), e, tuned.Result, nil, quiet); err != nil ||
		strings.Contains(quiet.notes(), "was trained against") || !(got.Loss < math.Ln2) {
		t.Errorf("eval against the adapter: %+v, %v, notes %q", got, err, quiet.notes())
	}
	// Against the base alone, the policy is not its reference from the first step on; a run of one step asks the
	// reference about the rows of that step, and about those held out.
	alone := c
	alone.Output, alone.RefAdapter, alone.Steps = filepath.Join(t.TempDir(), "alone"), "none", 1
	short := &recorder{}
	if got, err := Train(t.Context(), alone, short); err != nil || math.Abs(*got.EvalLossBefore-math.Ln2) < 1e-3 {
		t.Errorf("against the base alone: %+v, %v", got, err)
	}
	if got, all := short.referenceRows(), rec.referenceRows(); got >= all {
		t.Errorf("a run of one step asked the reference about %d rows, one of %d steps about %d", got, c.Steps, all)
	}
	// A method without a reference starts from an adapter as well.
	c.Output, c.Method = filepath.Join(t.TempDir(), "orpo"), "orpo"
	c.InitAdapter = tuned.Result
	start := mustTrain(t, c)
	e.RefAdapter, e.Method = "", "orpo"
	got, err := Evaluate(t.Context(), e, tuned.Result, func(o string) bool { return o == "method" }, report.Silent{})
	if err != nil || start.EvalLossBefore == nil || got.Loss == 0 {
		t.Errorf("orpo from the adapter: %+v, %v", got, err)
	}

	// A resumed run keeps the adapter that it started from: its parameters are the checkpoint's, but its scale is not
	// there.
	louder := sft
	louder.Output, louder.Alpha = filepath.Join(t.TempDir(), "louder"), 2*sft.Alpha
	c.Resume, c.InitAdapter = true, mustTrain(t, louder).Result
	if _, err := Train(t.Context(), c, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "--init-adapter") {
		t.Errorf("resumed from another adapter: got %v", err)
	}

	// A resumed run keeps its reference.
	c = pairConfig(t, "dpo")
	c.Model, c.RefAdapter = sft.Model, s.Result
	mustTrain(t, c)
	c.Resume, c.RefAdapter = true, ""
	if _, err := Train(t.Context(), c, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "the reference is the base alone, and was the base with an adapter") {
		t.Errorf("resumed with another reference: got %v", err)
	}
}

// TestCountedAnswers: pairs taken as verdicts have the counted tokens that they have as pairs, in the table, in the
// steps and in evaluations: the answers that kto sets beside the judged ones are not trained on.
func TestCountedAnswers(t *testing.T) {
	counted := func(name string) []int {
		c := pairConfig(t, name)
		c.Data = []string{tinyPairs(t, 12)}
		c.EvalSplit, c.EvalData, c.EvalEvery, c.Epochs, c.Steps = config.Fixed(0.0), c.Data, config.Fixed(0),
			config.Fixed(1), 0
		s := mustTrain(t, c)
		steps := 0
		for _, l := range metrics(t, c.Output) {
			steps += l.Counted
		}
		e := config.Default()
		e.Model, e.Data, e.Threads = c.Model, c.Data, 1
		got, err := Evaluate(t.Context(), e, s.Result, nil, report.Silent{})
		if err != nil {
			t.Fatal(err)
		}
		return []int{s.Train.Counted, s.Held.Counted, int(s.Counted), steps, got.Counted, got.Data.Counted}
	}
	pairs, verdicts := counted("dpo"), counted("kto")
	if !slices.Equal(verdicts, pairs) || pairs[0] != pairs[3] {
		t.Errorf("table, held-out table, report, steps, eval, its table: got %v, want %v", verdicts, pairs)
	}
}

// TestReadingShows: every pass over the examples is told of, the one that only compares prompts and answers too.
func TestReadingShows(t *testing.T) {
	for _, tc := range []struct {
		name, method string
		split        float64
		want         []int // examples of each pass
	}{{"pairs", "dpo", 0, []int{40, 40}}, {"pairs, split by prompt", "dpo", 0.2, []int{40, 40, 32, 8}},
		{"verdicts", "kto", 0, []int{80, 80, 80}}} {
		t.Run(tc.name, func(t *testing.T) {
			c := pairConfig(t, tc.method)
			c.EvalSplit, c.EvalEvery = config.Fixed(tc.split), config.Fixed(0)
			rec := &recorder{}
			r := &run{setup: setup{cfg: c}, rep: rec}
			defer r.close()
			if err := r.open(t.Context(), r.rep); err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, e := range rec.events {
				if p, ok := e.(report.Progress); ok && p.What == "read" && p.Done == p.Total {
					got = append(got, p.Total)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got passes over %v examples, want %v", got, tc.want)
			}
		})
	}
}
