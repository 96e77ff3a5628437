// Package combine makes an adapter of others, or of two models, without training. It knows no flag and no terminal.
package combine

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/registry"
)

// An Operation is one way of making an adapter.
type Operation struct {
	Name, Doc string
	// Least and Most are how many files it takes; Most 0: any number.
	Least, Most int
	// Options are those of Job that it reads, by the name of their flags.
	Options []string
	Files   string // names what it takes, where that is not adapters
	// NeedsRank says that it has no rank of its own accord.
	NeedsRank bool
	apply     func(ctx context.Context, w *work) (*adapter.Adapter, adapter.Lost, error)
}

// Reads says whether the operation reads an option.
func (o *Operation) Reads(option string) bool { return slices.Contains(o.Options, option) }

var operations = registry.New[*Operation]("operation")

// Operations lists them.
func Operations() []*Operation { return operations.All() }

// Get finds an operation by name.
func Get(name string) (*Operation, error) { return operations.Get(name) }

// A Job says what is made.
type Job struct {
	Operation *Operation
	Inputs    []Input
	Output    string // replaced if it exists; none of the inputs
	Rank      int    // 0: the largest of the inputs
	Density   float64
	Seed      uint64
	Type      gguf.Type // of what is written: F32, the default, or F16
	Progress  adapter.Progress
	FS        atomicfile.FS // that the adapter is written to; nil: the real one
}

// An Input is a file, or the directory of a run or checkpoint.
type Input struct {
	Path  string
	Scale float64 // beside its own; 1 as trained
}

// A Result is what was written.
type Result struct {
	Output    string   `json:"output"`
	Operation string   `json:"operation"`
	Inputs    []string `json:"inputs"` // their files
	Pairs     int      `json:"pairs"`
	Ranks     []int64  `json:"ranks"`
	Alpha     float64  `json:"alpha"`
	// Lost is the share that the rank left out of the sum of squares of the change to the weights.
	Lost  float64  `json:"lost_energy"`
	Worst *Worst   `json:"worst"` // null: no tensor lost anything
	Notes []string `json:"notes"`
}

// Worst is the tensor that lost most.
type Worst struct {
	Tensor string  `json:"tensor"`
	Lost   float64 `json:"lost_energy"`
}

// work is a job under way.
type work struct {
	Job
	paths    []string // of Inputs
	adapters []adapter.Scaled
	origins  []*origin.Origin
	notes    []string
}

// Run does a job.
func Run(ctx context.Context, job Job) (*Result, error) {
	w := &work{Job: job}
	if w.Progress == nil {
		w.Progress = func(int, int) {}
	}
	if job.Rank < 0 || job.Rank == 0 && job.Operation.NeedsRank {
		return nil, fmt.Errorf("%s: the rank is %d, expected 1 or more", job.Operation.Name, job.Rank)
	}
	if !(job.Density > 0 && job.Density <= 1) && job.Operation.Reads("density") {
		return nil, fmt.Errorf("%s: the density is %g, expected above 0 to 1", job.Operation.Name, job.Density)
	}
	if err := w.open(); err != nil {
		return nil, err
	}
	a, lost, err := job.Operation.apply(ctx, w)
	switch {
	case err != nil && job.Operation.Files != "": // it names the files
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", job.Operation.Name, strings.Join(w.paths, ", "), err)
	}
	a.Type = job.Type
	w.notes = append(w.notes, a.Notes...)
	r := &Result{Output: job.Output, Operation: job.Operation.Name, Inputs: w.paths, Pairs: len(a.Pairs),
		Alpha: a.Alpha, Lost: lost.Energy, Notes: append([]string{}, w.notes...)}
	if lost.Tensor != "" {
		r.Worst = &Worst{lost.Tensor, lost.Worst}
	}
	for i := range a.Pairs {
		r.Ranks = append(r.Ranks, a.Pairs[i].Rank)
	}
	slices.Sort(r.Ranks)
	r.Ranks = slices.Compact(r.Ranks)
	return r, a.Save(ctx, job.FS, job.Output)
}

// open finds the inputs, and reads them where they are adapters.
func (w *work) open() error {
	for _, in := range w.Inputs {
		path := in.Path
		if w.Operation.Files == "" {
			var err error
			if path, err = checkpoint.FindAdapter(path); err != nil {
				return err
			}
			a, err := adapter.Read(path)
			if err != nil {
				return err
			}
			// The sum of all could not say which file is at fault.
			if _, err := adapter.NewSum(adapter.Scaled{Adapter: a, Scale: in.Scale}); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			w.adapters = append(w.adapters, adapter.Scaled{Adapter: a, Scale: in.Scale})
			w.origins = append(w.origins, &origin.Origin{Adapter: path, Info: a.Info})
		}
		w.paths = append(w.paths, path)
	}
	return atomicfile.Distinct(w.Output, w.paths...)
}

// made gives the adapter what is true of its making.
func (w *work) made(a *adapter.Adapter) error {
	info, notes, err := origin.Common(w.origins...)
	if err != nil {
		return err
	}
	info[origin.Made] = w.words()
	a.Info, w.notes = info, append(w.notes, notes...)
	return nil
}

// words is the command in short: what was made of which files.
func (w *work) words() string {
	out := []string{w.Operation.Name}
	for i, path := range w.paths {
		text := filepath.Base(path)
		if dir := filepath.Base(filepath.Dir(path)); text == checkpoint.AdapterFile && dir != "." {
			text = dir + "/" + text
		}
		if scale := w.Inputs[i].Scale; scale != 1 {
			text += fmt.Sprintf(":%g", scale)
		}
		out = append(out, text)
	}
	for _, o := range []struct {
		name  string
		value any
	}{{"rank", w.rank()}, {"density", w.Density}, {"seed", w.Seed}} {
		if w.Operation.Reads(o.name) {
			out = append(out, fmt.Sprintf("--%s %v", o.name, o.value))
		}
	}
	return strings.Join(out, " ")
}

// rank is the largest of the inputs', unless one was given.
func (w *work) rank() int {
	if w.Rank > 0 {
		return w.Rank
	}
	most := int64(0)
	for _, a := range w.adapters {
		for i := range a.Pairs {
			most = max(most, a.Pairs[i].Rank)
		}
	}
	return int(most)
}

var _ = operations.Register("add", &Operation{Name: "add", Least: 1,
	Doc: "the sum of what adapters change, each FILE:SCALE times as strongly; exact, its rank is the sum of theirs",
	apply: func(_ context.Context, w *work) (*adapter.Adapter, adapter.Lost, error) {
		a, err := adapter.Add(w.adapters...)
		if err != nil {
			return nil, adapter.Lost{}, err
		}
		return a, adapter.Lost{}, w.made(a)
	}})

var _ = operations.Register("truncate", &Operation{Name: "truncate", Least: 1, Most: 1, Options: []string{"rank"},
	NeedsRank: true,
	Doc:       "an adapter of a lower rank, the nearest (singular value decomposition)",
	apply: func(ctx context.Context, w *work) (*adapter.Adapter, adapter.Lost, error) {
		a, lost, err := w.adapters[0].Truncate(ctx, w.Rank, w.Progress)
		if err != nil {
			return nil, lost, err
		}
		return a, lost, w.made(a)
	}})

// sparse registers a merge of thinned adapters.
func sparse(name, doc string, o adapter.Sparse) *Operation {
	options := []string{"rank", "density"}
	if o.Random {
		options = append(options, "seed")
	}
	return operations.Register(name, &Operation{Name: name, Doc: doc, Least: 2, Options: options,
		apply: func(ctx context.Context, w *work) (*adapter.Adapter, adapter.Lost, error) {
			o := o
			o.Density, o.Rank, o.Seed = w.Density, w.rank(), w.Seed
			a, lost, err := adapter.MergeSparse(ctx, o, w.Progress, w.adapters...)
			if err != nil {
				return nil, lost, err
			}
			return a, lost, w.made(a)
		}})
}

var (
	_ = sparse("ties", "each adapter's largest changes, those of one sign averaged (Yadav et al. 2023)",
		adapter.Sparse{Elect: true})
	_ = sparse("dare", "changes kept by chance and rescaled, added (Yu et al. 2024)", adapter.Sparse{Random: true})
	_ = sparse("dare-ties", "changes kept by chance and rescaled, those of one sign averaged",
		adapter.Sparse{Random: true, Elect: true})
)

var _ = operations.Register("extract", &Operation{Name: "extract", Least: 2, Most: 2, Options: []string{"rank"},
	NeedsRank: true, Files: "base.gguf tuned.gguf",
	Doc:   "an adapter that makes of a base a model that was trained from it, as nearly as its rank allows",
	apply: extract})

func extract(ctx context.Context, w *work) (*adapter.Adapter, adapter.Lost, error) {
	var files [2]*gguf.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for i, path := range w.paths {
		var err error
		if files[i], err = gguf.Open(path); err != nil {
			return nil, adapter.Lost{}, err
		}
	}
	a, lost, err := adapter.Extract(ctx, files[0], files[1], w.Rank, w.Progress)
	if err != nil {
		return nil, lost, err
	}
	sum, err := files[0].SHA256(ctx)
	if err != nil {
		return nil, lost, err
	}
	a.Info = origin.ForBase(sum)
	a.Info[origin.Made] = w.words()
	return a, lost, nil
}
