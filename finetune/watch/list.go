package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/rundir"
	"github.com/ggtune/ggtune/internal/fileerr"
	"github.com/ggtune/ggtune/internal/regular"
)

// An Entry is a run in a list of runs. What is not known of it is null.
type Entry struct {
	Path   string     `json:"path"`
	State  State      `json:"state"`
	Method string     `json:"method"`
	Unit   string     `json:"unit"` // what the loss is per; "" for a run from before start.json
	Model  string     `json:"model"`
	Data   []string   `json:"data"`
	Step   int        `json:"step"`  // steps done
	Steps  *int       `json:"steps"` // of the whole run
	Time   *time.Time `json:"time"`  // of its last step

	// Means over the first and the last tenth of the steps done, as report.json has them: one step says little.
	FirstTenth *float64 `json:"first_tenth_loss"`
	LastTenth  *float64 `json:"last_tenth_loss"`
	EvalBefore *float64 `json:"eval_loss_before"` // of the untouched base
	EvalLoss   *float64 `json:"eval_loss"`        // the last; of a run that is done, that of what was written
	Faults     []string `json:"faults"`           // of its files

	// Rewards are, of a run by rewards, the same of these: its losses say little. null of another.
	Rewards *Rewards `json:"rewards"`

	lines []report.Line
}

// Rewards are of a run what Entry's losses are of others.
type Rewards struct {
	FirstTenth *float64 `json:"first_tenth"`
	LastTenth  *float64 `json:"last_tenth"`
	EvalBefore *float64 `json:"eval_before"`
	Eval       *float64 `json:"eval"`
}

// Told are the means over the first and the last tenth of the steps, and what was measured before and last: losses, or
// rewards.
func (e *Entry) Told() (first, last, before, after *float64) {
	if r := e.Rewards; r != nil {
		return r.FirstTenth, r.LastTenth, r.EvalBefore, r.Eval
	}
	return e.FirstTenth, e.LastTenth, e.EvalBefore, e.EvalLoss
}

// Find lists the directories of runs among roots and below them, sorted. What cannot be read is named in notes.
func Find(ctx context.Context, roots []string) (dirs, notes []string, err error) {
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil && path == root:
				return fmt.Errorf("look for runs: %w", fileerr.Open(root, err))
			case err != nil:
				notes = append(notes, fmt.Sprintf("%s is left out: %v", path, err))
				return fs.SkipDir
			case !d.IsDir() && path == root:
				return fmt.Errorf("look for runs: %s is a file; name a run's directory, or one that holds some", root)
			case d.IsDir() && IsRun(path):
				dirs = append(dirs, path)
				return fs.SkipDir
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), notes, nil
}

// Look describes a run. It fails on nothing: what is damaged is named in Faults.
func Look(dir string) Entry {
	e := Entry{Path: dir, Data: []string{}, Faults: []string{}}
	fault := func(err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.Faults = append(e.Faults, err.Error())
		}
	}
	fault(e.settings(filepath.Join(dir, rundir.Settings)))
	start, err := report.ReadStart(filepath.Join(dir, rundir.Start))
	fault(err)
	if err == nil {
		e.Unit, e.Steps = start.Unit, &start.Steps
		if x, ok := start.Before["eval_loss"]; ok {
			e.EvalBefore = &x
		}
	}
	e.metrics(dir, fault)
	if x, ok := start.Before["eval_reward"]; ok && e.Rewards != nil {
		e.Rewards.EvalBefore = &x
	}
	done, err := readReport(dir)
	fault(err)
	if done != nil {
		if e.Rewards != nil {
			e.Rewards.Eval = done.EvalRewardAfter
		}
		e.Steps, e.EvalLoss = &done.Steps, done.EvalLossAfter
		if e.EvalBefore == nil {
			e.EvalBefore = done.EvalLossBefore
		}
	}
	e.State = state(dir, false, done != nil)
	return e
}

// settings reads of run.toml what a list shows: other keys may be of a newer version.
func (e *Entry) settings(path string) error {
	text, err := regular.Read(path, mostSmall)
	if err != nil {
		return err
	}
	var keys struct {
		Model  string   `toml:"model"`
		Method string   `toml:"method"`
		Data   []string `toml:"data"`
	}
	if _, err := toml.Decode(string(text), &keys); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	e.Model, e.Method, e.Data = keys.Model, keys.Method, append(e.Data, keys.Data...)
	return nil
}

// metrics reads metrics.jsonl.
func (e *Entry) metrics(dir string, fault func(error)) {
	t := tail{path: filepath.Join(dir, rundir.Metrics)}
	fault(t.refresh())
	for _, l := range t.lines {
		var line report.Line
		if err := json.Unmarshal(l.text, &line); err != nil {
			fault(fmt.Errorf("%s:%d: %w", t.path, len(e.lines)+1, err))
			break
		}
		e.lines = append(e.lines, line)
		if line.EvalLoss != nil {
			e.EvalLoss = line.EvalLoss
		}
	}
	if len(e.lines) == 0 {
		return
	}
	e.Step = e.lines[len(e.lines)-1].Step
	first, last, _ := report.Tenths(e.lines)
	e.FirstTenth, e.LastTenth = finite(first), finite(last)
	if rewards := report.RewardLines(e.lines); rewards != nil {
		first, last, _ := report.Tenths(rewards)
		e.Rewards = &Rewards{FirstTenth: finite(first), LastTenth: finite(last)}
		for _, l := range rewards {
			if l.EvalLoss != nil {
				e.Rewards.Eval = l.EvalLoss
			}
		}
	}
	if st, err := os.Stat(t.path); err == nil {
		at := st.ModTime().UTC().Truncate(time.Second)
		e.Time = &at
	}
}

// finite is nil for what is no number: JSON has none such.
func finite(x float64) *float64 {
	if x-x != 0 {
		return nil
	}
	return &x
}

// Curve is the run's loss, or its reward, for a plot of several.
func (e *Entry) Curve() report.Curve {
	if e.Rewards != nil {
		return report.NewCurve(e.Path, report.RewardLines(e.lines), e.Rewards.EvalBefore)
	}
	return report.NewCurve(e.Path, e.lines, e.EvalBefore)
}

// A Lister looks at the same runs again and again, at each only when its files have changed. It is not safe for
// concurrent use.
type Lister struct {
	dirs    []string
	entries []Entry
	stamps  []string
}

// NewLister looks at the runs in dirs.
func NewLister(dirs []string) *Lister {
	return &Lister{dirs: dirs, entries: make([]Entry, len(dirs)), stamps: make([]string, len(dirs))}
}

// Look describes the runs as they are now.
func (l *Lister) Look() []Entry {
	for i, dir := range l.dirs {
		stamp := fmt.Sprint(rundir.Running(dir), rundir.Asked(dir))
		for _, name := range []string{rundir.Settings, rundir.Start, rundir.Metrics, rundir.Report} {
			if st, err := os.Stat(filepath.Join(dir, name)); err == nil {
				stamp += fmt.Sprint(" ", name, st.Size(), st.ModTime().UnixNano())
			}
		}
		if stamp != l.stamps[i] {
			l.entries[i], l.stamps[i] = Look(dir), stamp
		}
	}
	return slices.Clone(l.entries)
}
