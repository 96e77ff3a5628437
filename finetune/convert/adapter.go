// Package convert turns files of other tools into ours, and ours into theirs. It knows no flag and no terminal.
package convert

import (
	"context"
	"slices"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// An AdapterJob is an adapter to convert: one of PEFT's to a GGUF file, a GGUF file to a directory that PEFT loads.
type AdapterJob struct {
	In    string // PEFT's directory; or an adapter's file, a run's directory, a checkpoint's
	Model string // the base as a GGUF file: its sizes and its order of rows are needed, not its weights
	Out   string // GGUF file, which is replaced; or directory, which must not exist
	// Base is what PEFT's settings call the base. Default "": what the adapter says, or nothing.
	Base string
	Type gguf.Type // of a GGUF file: F32, the default, or F16
}

// An AdapterResult is what was written.
type AdapterResult struct {
	Input  string   `json:"input"`
	Output string   `json:"output"`
	Format string   `json:"format"` // of the output: "gguf" or "peft"
	Pairs  int      `json:"pairs"`
	Ranks  []int64  `json:"ranks"`
	Alpha  float64  `json:"alpha"` // divided by the rank it is the scale
	Notes  []string `json:"notes"` // what whoever uses the output should know
}

// Adapter converts an adapter. What it does not fit is refused, and a base other than that which it was trained on is
// noted.
func Adapter(ctx context.Context, job AdapterJob) (*AdapterResult, error) {
	toGGUF, in := adapter.IsPEFT(job.In), job.In
	if !toGGUF {
		var err error
		if in, err = checkpoint.FindAdapter(job.In); err != nil {
			return nil, err
		}
	} else if err := apart(job.Out, job.In); err != nil {
		return nil, err
	}
	f, err := gguf.Open(job.Model)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.CheckModel(); err != nil {
		return nil, err
	}
	if err := atomicfile.Distinct(job.Out, append(f.Parts(), in)...); err != nil {
		return nil, err
	}
	net, err := arch.Of(f)
	if err != nil {
		return nil, err
	}
	a, err := adapter.Load(in, net)
	if err != nil {
		return nil, err
	}
	if job.Base != "" {
		a.SetPEFTBase(job.Base)
	}
	r := &AdapterResult{Input: in, Output: job.Out, Format: "peft", Pairs: len(a.Pairs), Alpha: a.Alpha,
		Notes: slices.Clone(a.Notes)}
	for i := range a.Pairs {
		r.Ranks = append(r.Ranks, a.Pairs[i].Rank)
	}
	slices.Sort(r.Ranks)
	r.Ranks = slices.Compact(r.Ranks)
	if err := r.differs(ctx, f, a); err != nil {
		return nil, err
	}
	if toGGUF {
		r.Format, a.Type = "gguf", job.Type
		return r, a.Save(ctx, nil, job.Out)
	}
	return r, a.SavePEFT(ctx, nil, job.Out, net)
}

// differs notes what the adapter's making says against the base here.
func (r *AdapterResult) differs(ctx context.Context, f *gguf.File, a *adapter.Adapter) error {
	made := &origin.Origin{Adapter: r.Input, Info: a.Info}
	if note := made.Unfinished(); note != "" {
		r.Notes = append(r.Notes, note)
	}
	if made.Base() == "" {
		return nil // others' adapters do not say, and hashing reads the whole base
	}
	sum, err := f.SHA256(ctx)
	if err != nil {
		return err
	}
	r.Notes = append(r.Notes, made.Differs(origin.Use{Model: f.Path(), ModelSHA256: sum})...)
	return nil
}
