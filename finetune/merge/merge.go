// Package merge makes one model of a base and adapters: it writes base + Σ scale·B·A in the base's types or others,
// has llama.cpp load what was written, and measures what merging cost. It knows no flag and no terminal.
//
//	open:      the base, the adapters and what they say of their making (package origin)
//	plan:      the type of each tensor: its own, or those of a mix (package quant)
//	write:     a few rows at a time: the base's, plus what the adapters add there (adapter.Sum), in the new type
//	measure:   predictions of the merged model beside those of the base with the adapters applied (eval.Compare), or
//	           vectors of texts
//	verify:    llama.cpp's logits, or vectors, beside ours
//	publish:   only then does the file get its name
package merge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/finetune/allot"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/quant"
)

// Config says what is merged.
type Config struct {
	Model    string
	Adapters []Adapter // at least one
	Output   string    // replaced if it exists; none of the files that are read
	// Type is the mix that is written, by name; "": each tensor keeps the type that it has in the base.
	Type string
	// Types are written instead, by role.
	Types map[string]gguf.Type
	// Budget chooses the type of each tensor instead of Type; nil: it does not.
	Budget *allot.Budget
	// Importance weighs what is quantized.
	Importance quant.Importance
	// Report is what the loss is measured on: a file of data, read as the first adapter's was, or a text. "": the rows
	// that the adapter's run held out, or a general text.
	Report string
	// From is the full-precision file that the base was quantized from: the adapters are added to its weights, which
	// are then quantized once, to the nearest. "": to the base's own.
	From string
	// Template is a chat template to write into the merged file, by the name of a built-in one or of a file, with the
	// token that ends a turn in it as end-of-text token. "": the base's own stays.
	Template string

	// Head is the head.gguf that the only adapter was trained with, to be written as llama.cpp's classification head;
	// "": none. Of architectures that llama.cpp reads one of.
	Head string

	// Rounding says how weights are rounded that stay in a quantized type: see Roundings. "": auto.
	Rounding string

	// As is what the file of the only adapter will be called; "": as it is.
	As string

	Threads int // 0: one for each physical core

	FS atomicfile.FS // that the model is written to; nil: the real one
}

// An Adapter is one that is merged.
type Adapter struct {
	Path  string  // a file, or the directory of a run or checkpoint
	Scale float64 // beside its own; 1 as trained
}

// A Result is what came of it.
type Result struct {
	Output   string  `json:"output"`
	Model    string  `json:"model"`
	From     *string `json:"from"`     // null: the base's own weights
	Type     *string `json:"type"`     // null: each tensor its own
	Template *string `json:"template"` // null: the base's own
	// ExpectedKL is the divergence, in nats, that the types of a budget were chosen by.
	ExpectedKL *float64  `json:"expected_kl"`
	Adapters   []Adapted `json:"adapters"`
	Tensors    int       `json:"tensors"`
	Merged     int       `json:"merged_tensors"` // that adapters add to
	// Rounded counts the tensors that were quantized anew, and Rounding is the root mean square of what that changed,
	// relative to that of their weights.
	Rounded  int     `json:"rounded_tensors"`
	Rounding float64 `json:"rounding"`
	// Minima counts the tensors of which only the minima of blocks changed, which loses nothing but their rounding.
	Minima int `json:"minima_tensors"`
	// Scales counts those of which only the scales of blocks did.
	Scales int `json:"scales_tensors"`
	// Nudged is the share of the weights of tensors quantized anew that kept the grids of their blocks, where each went
	// at random to one of the two points next to it: quantizing them anew would have lost the change (quant.Nudged).
	Nudged float64 `json:"nudged_share"`
	Before int64   `json:"tensor_bytes_before"`
	After  int64   `json:"tensor_bytes_after"`

	Report *Report `json:"report"`
	Ranked *Ranked `json:"ranked,omitempty"` // the head that was written too

	LlamaRMSDiff     float64 `json:"llama_cpp_rms_diff"`      // root mean square of llama.cpp's difference from ours
	LlamaBaseRMSDiff float64 `json:"llama_cpp_base_rms_diff"` // the same of the base
}

// An Adapted is an adapter that was merged.
type Adapted struct {
	Path   string  `json:"path"` // its file
	Scale  float64 `json:"scale"`
	SHA256 string  `json:"sha256"`
}

// Unverified are the names of what is written for an output until llama.cpp has computed the same from it: the model,
// the one in which all is rounded to the nearest, and the one with a head, if they are written too.
func Unverified(output string) []string {
	return []string{output + ".unverified", output + ".unverified.nearest", output + ".unverified.head"}
}

// A merging is one under way.
type merging struct {
	Config
	rep      report.Reporter
	said     []string // notes
	model    *engine.Model
	adapters []adapter.Scaled
	sum      *adapter.Sum
	sha256   string // of the model
	plan     quant.Plan
	made     []candidate  // what was written
	chat     *chat        // nil: the base's own
	head     *head.File   // nil: none
	probed   []int32      // what was computed on for llama.cpp
	pooling  arch.Pooling // of a model that makes vectors of texts; 0: predictions are compared
	result   Result

	from      *gguf.File // nil: the base's own weights
	fromIndex []int      // of the base's tensors in it
}

// Merge writes a model and tells rep what happens. What stood under cfg.Output stays as it was unless it succeeds. On
// cancel it returns context.Cause(ctx).
func Merge(ctx context.Context, cfg Config, rep report.Reporter) (_ Result, err error) {
	if cfg.Threads == 0 {
		cfg.Threads = budget.PhysicalCores()
	}
	if cfg.FS == nil {
		cfg.FS = atomicfile.OS
	}
	m := &merging{Config: cfg, rep: rep}
	defer func() { err = errors.Join(err, m.close()) }()
	if err := m.open(ctx); err != nil {
		return Result{}, err
	}
	if err := m.choose(ctx); err != nil {
		return Result{}, err
	}
	temporary := Unverified(m.Output)
	for _, step := range []func(context.Context, string) error{m.write, m.check, m.rank, m.publish} {
		if err := step(ctx, temporary[0]); err != nil {
			for _, path := range temporary {
				if gone := m.FS.Remove(path); !errors.Is(gone, fs.ErrNotExist) {
					err = errors.Join(err, gone)
				}
			}
			return Result{}, err
		}
	}
	return m.result, nil
}

func (m *merging) close() error {
	err := m.from.Close()
	if m.model != nil {
		err = errors.Join(err, m.model.Close())
	}
	m.from, m.model = nil, nil
	return err
}

// note says something once, though two adapters, or one that is given twice, are reasons for it.
func (m *merging) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if slices.Contains(m.said, text) {
		return
	}
	m.said = append(m.said, text)
	m.rep.Report(report.Notice{Text: text})
}

// open opens the base and the adapters, and says what does not go together.
func (m *merging) open(ctx context.Context) error {
	var err error
	if m.model, err = engine.Open(m.Model); err != nil {
		return err
	}
	read := m.model.File().Parts()
	m.result = Result{Output: m.Output, Model: m.Model, Tensors: len(m.model.File().Tensors)}
	m.rep.Report(report.Progress{What: "read"})
	if m.sha256, err = m.model.SHA256(ctx); err != nil {
		return err
	}
	for _, a := range m.Adapters {
		path, err := checkpoint.FindAdapter(a.Path)
		if err != nil {
			return err
		}
		if err := m.openAdapter(ctx, path, a.Scale); err != nil {
			return err
		}
		if m.As != "" {
			m.result.Adapters[0].Path = m.As
		}
		read = append(read, path)
	}
	if m.sum, err = adapter.NewSum(m.adapters...); err != nil {
		return err
	}
	m.result.Merged = m.sum.Tensors()
	if err := m.pool(); err != nil {
		return err
	}
	if m.Head != "" {
		if err := m.openHead(); err != nil {
			return err
		}
		read = append(read, m.Head)
	}
	if m.From != "" {
		if err := m.openFrom(); err != nil {
			return err
		}
		read = append(read, m.from.Parts()...)
		m.result.From = &m.From
	}
	if err := m.openTemplate(); err != nil {
		return err
	}
	if m.chat != nil {
		m.result.Template = &m.Template
	}
	return atomicfile.Distinct(m.Output, read...)
}

func (m *merging) openAdapter(ctx context.Context, path string, scale float64) error {
	if math.IsNaN(scale) || math.IsInf(scale, 0) {
		return fmt.Errorf("%s: its scale is %g, expected a number", path, scale)
	}
	a, err := adapter.Load(path, m.model.Net())
	if err != nil {
		return err
	}
	for i := range a.Pairs {
		if _, err := m.model.File().Tensor(a.Pairs[i].Tensor); err != nil {
			return fmt.Errorf("%s: an adapter of another model: %w", path, err)
		}
	}
	// The sum of all could not say which file is at fault.
	if _, err := adapter.NewSum(adapter.Scaled{Adapter: a, Scale: 1}); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(a.Invocation) > 0 {
		return fmt.Errorf("%s: the adapter acts %s, and merged weights act on every token; leave it beside the base: "+
			"llama-server takes it with --lora, ggtune with -a", path, a.Acts())
	}
	if a.TaskName != "" || a.PromptPrefix != "" {
		m.note("%s: what it is for (%s) stands in the merged model under %s*; llama.cpp reads it of adapters only",
			path, purpose(a), keyMerged)
	}
	made := &origin.Origin{Adapter: path, Info: a.Info}
	if note := made.Unfinished(); note != "" {
		m.note("%s", note)
	}
	for _, note := range made.Differs(origin.Use{Model: m.Model, ModelSHA256: m.sha256}) {
		m.note("%s", note)
	}
	sum, err := fileSHA256(ctx, path)
	m.adapters = append(m.adapters, adapter.Scaled{Adapter: a, Scale: scale})
	m.result.Adapters = append(m.result.Adapters, Adapted{Path: path, Scale: scale, SHA256: sum})
	return err
}

// purpose is what an adapter says of its use.
func purpose(a *adapter.Adapter) string {
	var said []string
	if a.TaskName != "" {
		said = append(said, fmt.Sprintf("task name %q", a.TaskName))
	}
	if a.PromptPrefix != "" {
		said = append(said, fmt.Sprintf("prompt prefix %q", a.PromptPrefix))
	}
	return strings.Join(said, ", ")
}

func fileSHA256(ctx context.Context, path string) (string, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return f.SHA256(ctx)
}

// choose decides the type of each tensor.
func (m *merging) choose(ctx context.Context) (err error) {
	choice, err := m.choice(ctx)
	if err != nil {
		return err
	}
	if m.plan, err = quant.NewPlan(m.model.File(), choice); err != nil {
		return err
	}
	m.result.Before, m.result.After = m.plan.Bytes()
	stays := 0 // tensors that adapters add to, and whose quantized type stays
	for _, c := range m.plan.Changes {
		if c.To == c.Tensor.Type && !m.sum.Changes(c.Tensor.Name) {
			continue
		}
		if c.To == c.Tensor.Type && m.rows().intoMinima(&c.Tensor) {
			m.result.Minima++
			continue
		}
		if c.To == c.Tensor.Type && m.rows().intoScales(&c.Tensor) {
			m.result.Scales++
			continue
		}
		to := ggml.Type(c.To)
		if !to.Quantizes() || to.NeedsImportance() && m.Importance[c.Tensor.Name] == nil {
			return fmt.Errorf("%s: tensor %q is storage type %s, which cannot be written without an importance "+
				"matrix; give one with --imatrix, or choose the types of the merged model with --type, such as "+
				"--type q8_0", m.Model,
				c.Tensor.Name, c.To)
		}
		if c.To.IsQuantized() {
			m.result.Rounded++
		}
		if c.To == c.Tensor.Type && c.To.IsQuantized() {
			stays++
		}
		if m.Rounding == "random" && c.To == c.Tensor.Type && c.To.IsQuantized() && !quant.HasGrid(c.To) {
			return fmt.Errorf("%s: tensor %q is storage type %s, whose values lie on no even grid, so that it can "+
				"only be rounded to the nearest; leave out --rounding random", m.Model, c.Tensor.Name, c.To)
		}
	}
	if m.Rounding == "random" && stays == 0 {
		return errors.New("--rounding random is for weights that stay on the grids of their blocks, and no tensor " +
			"that the adapters add to keeps a quantized type; leave it out")
	}
	return nil
}

// A candidate is a merged model that was written, of which the best is kept.
type candidate struct {
	path             string
	rounding, nudged float64
}

// write writes the merged weights: once, or where the rounding is left to us and some of it was by chance, a second
// time to the nearest. Which is better depends on how inputs and errors of the weights lie to each other, and is
// measured.
func (m *merging) write(ctx context.Context, path string) error {
	first, err := m.writeOne(ctx, path, roundings[m.Rounding])
	if err != nil {
		return err
	}
	m.made = []candidate{first}
	if roundings[m.Rounding] != quant.WhereBetter || first.nudged == 0 {
		return nil
	}
	second, err := m.writeOne(ctx, Unverified(m.Output)[1], quant.Never)
	m.made = append(m.made, second)
	return err
}

func (m *merging) writeOne(ctx context.Context, path string, nudging quant.Nudging) (candidate, error) {
	rows := m.rows()
	rows.nudging = nudging
	done, err := quant.Write(ctx, m.plan, rows, path, quant.Output{FS: m.FS, Threads: m.Threads,
		Metadata: m.metadata,
		Progress: func(done, total int64) {
			m.rep.Report(report.Progress{What: "merge", Done: int(done), Total: int(total)})
		}})
	var nudged, quantized int64
	for i, c := range m.plan.Changes {
		nudged += done.Nudged[i]
		if c.To.IsQuantized() && m.sum.Changes(c.Tensor.Name) && !(c.To == c.Tensor.Type && rows.Stores(i)) {
			quantized += c.Tensor.Elements()
		}
	}
	return candidate{path, done.Total.RMS(), float64(nudged) / float64(max(quantized, 1))}, err
}

// keep leaves of the models that were written one alone, under the first's name.
func (m *merging) keep(best int) error {
	m.result.Rounding, m.result.Nudged = m.made[best].rounding, m.made[best].nudged
	for i, c := range m.made {
		if i == best {
			continue
		}
		if err := m.FS.Remove(c.path); err != nil {
			return fmt.Errorf("remove the merged model that is farther from the adapter kept apart: %w", err)
		}
	}
	if best == 0 {
		return nil
	}
	if err := m.FS.Rename(m.made[best].path, m.made[0].path); err != nil {
		return fmt.Errorf("name the merged model: %w", err)
	}
	return nil
}

// merged are the rows of the merged model: quant.Rows.
type merged struct {
	quant.Rows // the base's, or the original's
	file       *gguf.File
	sum        *adapter.Sum
	other      bool // the rows are the original's
	nudging    quant.Nudging
}

func (m *merging) rows() *merged {
	f := m.model.File()
	if m.from != nil {
		return &merged{Rows: original{quant.FileRows(m.from), m.fromIndex}, file: f, sum: m.sum, other: true}
	}
	return &merged{Rows: quant.FileRows(f), file: f, sum: m.sum}
}

// Unchanged says that no adapter adds to tensor i.
func (r *merged) Unchanged(i int) bool { return !r.sum.Changes(r.file.Tensors[i].Name) }

// Read gives rows of tensor i.
func (r *merged) Read(i int, at int64, dst []float32) error {
	if err := r.Rows.Read(i, at, dst); err != nil {
		return err
	}
	t := &r.file.Tensors[i]
	if !r.sum.Changes(t.Name) || ggml.NotFinite(dst) >= 0 { // what is wrong with the base's is told by who reads it
		return nil
	}
	r.sum.AddTo(t.Name, at/t.Shape[0], dst, t.Shape[0])
	if k := ggml.NotFinite(dst); k >= 0 {
		return fmt.Errorf("element %d is %v with what the adapters add to it, and a number without: their scales are "+
			"too large, or their training diverged", at+int64(k), dst[k])
	}
	return nil
}

// publish gives what was verified its name.
func (m *merging) publish(_ context.Context, temporary string) error {
	if err := m.FS.Rename(temporary, m.Output); err != nil {
		return fmt.Errorf("name the merged model: %w", err)
	}
	if err := m.FS.SyncDir(filepath.Dir(m.Output)); err != nil {
		return fmt.Errorf("flush the directory of %s to disk: %w; the model is whole, but may be missing after a "+
			"power cut", m.Output, err)
	}
	return nil
}
