package watch

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/rundir"
)

// A list says of each run what its files say, of an older one and a damaged one too.
func TestList(t *testing.T) {
	root := t.TempDir()
	put := func(dir, name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, dir, name), text)
	}
	settings := "model = \"m/base.gguf\"\nmethod = \"dpo\"\ndata = [\"a.jsonl\", \"b.jsonl\"]\nof_a_newer_version = 1\n"
	put("done", rundir.Settings, settings)
	put("done", rundir.Start, `{"steps":4,"unit":"pair","before":{"eval_loss":0.7}}`)
	put("done", rundir.Metrics, `{"step":1,"loss":3}`+"\n"+`{"step":2,"loss":2,"eval_loss":0.6}`+"\n"+
		`{"step":3,"loss":1}`+"\n"+`{"step":4,"loss":null}`+"\n")
	put("done", rundir.Report, `{"steps":4,"eval_loss_after":0.55,"eval_loss_before":0.7}`)
	put("done/checkpoints/step-00000004", rundir.Settings, settings) // no run of its own
	put("deep/er/older", rundir.Settings, settings)
	put("deep/er/older", rundir.Metrics, `{"step":1,"loss":3}`+"\n"+`{"step":2,"loss":2,"eval_loss":0.6}`+"\n"+
		`{"step"`)
	put("damaged", rundir.Settings, "model = ")
	put("damaged", rundir.Metrics, `{"step":1,"loss":3}`+"\n[]\n")
	put("none", "data.jsonl", "{}\n")
	dirs, notes, err := Find(t.Context(), []string{root, filepath.Join(root, "deep", "er", "older")})
	var names []string
	for _, d := range dirs {
		name, _ := filepath.Rel(root, d)
		names = append(names, name)
	}
	if want := []string{"damaged", filepath.Join("deep", "er", "older"), "done"}; err != nil || len(notes) > 0 ||
		!reflect.DeepEqual(names, want) {
		t.Fatalf("got %q, %q, %v, want %q", names, notes, err, want)
	}
	lock, ok, err := rundir.Lock(dirs[1])
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	defer lock.Close()
	is := func(x *float64, want float64) bool { return x != nil && *x == want }

	e := Look(dirs[2])
	if e.State != Done || e.Method != "dpo" || e.Unit != "pair" || e.Model != "m/base.gguf" || len(e.Data) != 2 ||
		e.Step != 4 || *e.Steps != 4 ||
		!is(e.FirstTenth, 3) || e.LastTenth != nil || !is(e.EvalBefore, 0.7) || !is(e.EvalLoss, 0.55) ||
		e.Time == nil || len(e.Faults) > 0 {
		t.Errorf("done: %+v", e)
	}
	// A run by rewards is told by them.
	put("rewarded", rundir.Start, `{"steps":2,"unit":"token","before":{"eval_loss":-0.25,"eval_reward":0.25}}`)
	put("rewarded", rundir.Metrics, `{"step":1,"loss":0.01,"reward":0.5}`+"\n"+
		`{"step":2,"loss":-0.02,"reward":0.75,"eval_loss":-0.625,"eval_reward":0.625}`+"\n")
	rewarded := Look(filepath.Join(root, "rewarded"))
	first, last, before, after := rewarded.Told()
	if !is(first, 0.5) || !is(last, 0.75) || !is(before, 0.25) || !is(after, 0.625) ||
		!is(rewarded.FirstTenth, 0.01) || !is(rewarded.EvalLoss, -0.625) {
		t.Errorf("rewarded: %+v, %+v", rewarded, rewarded.Rewards)
	}
	if smooth, held := rewarded.Curve().Points(); smooth[0][1] != 0.5 || held[0] != [2]float64{0, 0.25} ||
		held[1] != [2]float64{2, 0.625} {
		t.Errorf("rewarded is drawn as %v, %v", smooth, held)
	}
	put("rewarded", rundir.Report, `{"steps":2,"eval_loss_after":-0.7,"eval_reward_after":0.7}`)
	rewarded = Look(filepath.Join(root, "rewarded"))
	if _, _, _, after := rewarded.Told(); !is(after, 0.7) {
		t.Errorf("rewarded, done: %+v", rewarded.Rewards)
	}
	if e.Rewards != nil {
		t.Errorf("done: rewards %+v of a run without", e.Rewards)
	}
	e = Look(dirs[1])
	if e.State != Running || e.Step != 2 || e.Steps != nil || !is(e.LastTenth, 2) || e.EvalBefore != nil ||
		!is(e.EvalLoss, 0.6) || len(e.Faults) > 0 {
		t.Errorf("older: %+v", e)
	}
	e = Look(dirs[0])
	if e.State != Stopped || e.Step != 1 || e.Model != "" || len(e.Faults) != 2 ||
		!strings.Contains(e.Faults[1], "metrics.jsonl:2") {
		t.Errorf("damaged: %+v", e)
	}
	if _, _, err := Find(t.Context(), []string{filepath.Join(root, "nowhere")}); err == nil {
		t.Error("a directory that is not there was listed")
	}
	if _, _, err := Find(t.Context(), []string{filepath.Join(root, "none", "data.jsonl")}); err == nil ||
		!strings.Contains(err.Error(), "is a file") {
		t.Errorf("a file was listed: %v", err)
	}
}
