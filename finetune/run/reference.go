package run

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/embed"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/vectors"
)

// A reference holds the reference model's log-probabilities of every counted token of a dataset, or its vectors of
// every text, so that the reference is run once and not in every epoch. It is not safe for concurrent use.
type reference struct {
	said  []float32 // of the items one after the other; NaN where it is not known yet
	start []int     // where each item's begin
	width int       // numbers of a vector; 0: log-probabilities
	// made has the vectors of texts that another embedder has read, by encode.Sum: parts of said. It makes one of a
	// text, however many examples have it.
	made map[uint64][]float32
}

// References are those of a run's rows, nil where the method needs none.
type references struct{ train, held *reference }

func newReference(d *encode.Dataset, width int) *reference {
	r := &reference{start: make([]int, len(d.Items)), width: width, made: map[uint64][]float32{}}
	n := 0
	for i := range d.Items {
		r.start[i] = n
		if width > 0 {
			n += width * len(d.Items[i].Segments)
		} else {
			n += d.Items[i].NumCounted()
		}
	}
	r.said = make([]float32, n)
	for i := range r.said {
		r.said[i] = float32(math.NaN())
	}
	return r
}

// places gives, for each of m's sequences, its part of what is said.
func (r *reference) places(m *encode.Micro) [][]float32 {
	out := make([][]float32, len(m.Sequences))
	at, example := 0, -1
	for i, s := range m.Sequences {
		if s.Example != example {
			at, example = r.start[s.Example], s.Example
		}
		n := s.Len
		if r.width > 0 {
			n = r.width
		}
		out[i] = r.said[at : at+n]
		at += n
	}
	return out
}

// of gives what is said of m, in order.
func (r *reference) of(_ context.Context, m *encode.Micro) ([]float64, error) {
	if !r.known(m) {
		return nil, fmt.Errorf("the reference's numbers of the examples at %s are missing", encode.Places(m))
	}
	out := make([]float64, 0, max(m.Counted, r.width*len(m.Sequences)))
	for _, part := range r.places(m) {
		for _, x := range part {
			out = append(out, float64(x))
		}
	}
	return out, nil
}

// known says whether nothing of m is missing.
func (r *reference) known(m *encode.Micro) bool {
	for _, part := range r.places(m) {
		if slices.ContainsFunc(part, func(x float32) bool { return x-x != 0 }) { // NaN, or infinite
			return false
		}
	}
	return true
}

// compute runs the reference over what is missing of the first micro-batches of rows. saved is called now and then
// with what there is so far, and before it returns because of ctx.
func (r *reference) compute(ctx context.Context, ref *referenceModel, rows *encode.Loader, micros int,
	progress func(rows int), saved func() error) error {
	const often = 2 * time.Minute // what a killed process loses
	last, done := time.Now(), 0
	c := encode.Cursor{}
	for range min(micros, rows.Micros()) {
		if ctx.Err() != nil {
			return finetune.EndedBy(context.Cause(ctx), saved())
		}
		m, next, err := rows.Next(c)
		if err != nil {
			return err
		}
		if !r.known(m) {
			if err := r.ask(context.WithoutCancel(ctx), ref, m); err != nil {
				return err
			}
			if !r.known(m) {
				return fmt.Errorf("the reference's numbers of the examples at %s are %w; look at the "+
					"model with ggtune check", encode.Places(m), finetune.ErrNotFinite)
			}
			if time.Since(last) > often {
				if err := saved(); err != nil {
					return err
				}
				last = time.Now()
			}
		} else {
			r.note(m)
		}
		done += len(m.Batch.Rows)
		progress(done)
		c = next
	}
	return nil
}

// note has the vectors of m's texts found for others that are equal.
func (r *reference) note(m *encode.Micro) {
	if m.Other == nil {
		return
	}
	for i, part := range r.places(m) {
		if sum := encode.Sum(m.Other[i]); r.made[sum] == nil {
			r.made[sum] = part
		}
	}
}

// ask has the reference say what it says of m.
func (r *reference) ask(ctx context.Context, ref *referenceModel, m *encode.Micro) error {
	places := r.places(m)
	if m.Other == nil {
		out, err := ref.forward(ctx, m)
		if err != nil {
			return err
		}
		at := 0
		for _, part := range places {
			at += copy(part, out[at:])
		}
		return nil
	}
	var texts [][]int32
	var fresh [][]float32 // their places
	for i, text := range m.Other {
		if sum := encode.Sum(text); r.made[sum] == nil {
			r.made[sum] = places[i]
			texts, fresh = append(texts, text), append(fresh, places[i])
		}
	}
	if len(texts) > 0 {
		v, err := ref.read(ctx, texts)
		if err != nil {
			return fmt.Errorf("%s, asked about the examples at %s: %w", ref.model.Path(), encode.Places(m), err)
		}
		for i, place := range fresh {
			copy(place, v.Row(i))
		}
	}
	for i, text := range m.Other {
		copy(places[i], r.made[encode.Sum(text)])
	}
	return nil
}

// referenceAdapter is the adapter with which the base is the reference: its file, and the hash of that; "" for the
// base alone.
func referenceAdapter(cfg *config.Config) (path, sum string, err error) {
	if path = cfg.ReferenceAdapter(); path == "" {
		return "", "", nil
	}
	if sum, err = fileSHA256(path); err != nil {
		return "", "", err
	}
	return path, sum, nil
}

// A referenceModel is the reference at work. It is opened for the first row: a cache may hold them all, and then a
// session would take memory and threads for nothing. What it needs is freed with it, before training takes its own.
type referenceModel struct {
	model   *engine.Model
	cfg     *config.Config
	adapter string // path; "" for the base alone
	// invocation is what the rows have been searched for.
	invocation []int32
	pooling    arch.Pooling    // of vectors; 0: log-probabilities are asked for
	sess       *engine.Session // nil until a row is asked for
}

// width is that of its vectors, 0 where log-probabilities are asked for.
func (m *referenceModel) width() int {
	if m.pooling.Pools() {
		return m.model.HParams().NEmbd
	}
	return 0
}

func (m *referenceModel) forward(ctx context.Context, b *encode.Micro) ([]float32, error) {
	if err := m.open(); err != nil {
		return nil, err
	}
	want := engine.LogP
	if m.pooling.Pools() {
		want = engine.Pooled
	}
	out, err := m.sess.Forward(ctx, &b.Batch, engine.Options{Want: []*engine.Output{want}, Pooling: m.pooling})
	return out[want], err
}

// read gives the vectors of texts, of tokens of its own.
func (m *referenceModel) read(ctx context.Context, texts [][]int32) (vectors.Matrix, error) {
	if err := m.open(); err != nil {
		return vectors.Matrix{}, err
	}
	return embed.All(ctx, m.sess, texts, embed.Options{Pooling: m.pooling})
}

// open makes the session, once.
func (m *referenceModel) open() (err error) {
	if m.sess != nil {
		return nil
	}
	sc := engine.SessionConfig{Threads: m.cfg.Threads, Exact: m.cfg.Exact, Seed: m.cfg.Seed}
	if m.adapter != "" {
		a, err := adapter.Load(m.adapter, m.model.Net())
		if err != nil {
			return fmt.Errorf("reference: %w", err)
		}
		if len(a.Invocation) > 0 && !slices.Equal(a.Invocation, m.invocation) {
			return fmt.Errorf("reference: %s acts %s, and the rows do not say where these are; give one that acts "+
				"where the adapter in training does", m.adapter, a.Acts())
		}
		sc.Sets = []engine.Set{{Adapter: a}}
	}
	m.sess, err = engine.NewSession(m.model, sc)
	return err
}

// takes makes another embedder the reference, unless it is nil.
func (m *referenceModel) takes(o *other) {
	if o != nil {
		m.model, m.pooling, m.adapter = o.model, o.pooling, ""
	}
}

// Close frees what was opened, if anything was.
func (m *referenceModel) Close() error {
	if m.sess == nil {
		return nil
	}
	return m.sess.Close()
}

// A referenceKey is all that the reference's log-probabilities depend on.
type referenceKey struct {
	Kind    string `json:"kind"`              // kindReference: checkpoints are files of the same form
	Base    string `json:"base_sha256"`       // or another embedder's
	Adapter string `json:"adapter_sha256"`    // "" for the base alone
	Pooling string `json:"pooling,omitempty"` // of vectors
	rowsKey
}

// A rowsKey is all of a run's rows and of the arithmetic that what a model says of them depends on.
type rowsKey struct {
	// Train and Held are fingerprints of tokens, marks and trees: of data, tokenizer, template and settings of rows.
	Train string `json:"train_data"`
	Held  string `json:"held_data"`
	// What shares a row may change the last bits.
	Packing  string `json:"packing"`
	SeqLen   int    `json:"seq_len"`
	Seed     uint64 `json:"seed"`
	EvalRows int    `json:"eval_rows"`
	Exact    bool   `json:"exact"`
}

func (r *run) rowsKey() rowsKey {
	return rowsKey{Train: r.meta.TrainData, Held: r.meta.HeldData, Packing: r.cfg.Packing, SeqLen: r.cfg.SeqLen,
		Seed: r.cfg.Seed, EvalRows: r.cfg.EvalRows, Exact: r.cfg.Exact}
}

const kindReference = "reference"

// changed says what differs in another key.
func (k referenceKey) changed(other referenceKey) string {
	switch {
	case k.Base != other.Base:
		return "another model"
	case k.Pooling != other.Pooling:
		return "another pooling"
	case k.Adapter != other.Adapter:
		return "another reference adapter"
	case k.Train != other.Train || k.Held != other.Held:
		return "other data or another chat template"
	}
	return "other settings of rows (packing, seq-len, seed, eval-rows or exact)"
}

// reference computes the reference's log-probabilities of the run's rows, or takes them from the cache.
func (r *run) reference(ctx context.Context) (err error) {
	if !r.how.Reference || r.rolls() {
		return nil
	}
	path, _, err := referenceAdapter(&r.cfg)
	if err != nil {
		return err
	}
	key := referenceKey{Kind: kindReference, Base: r.meta.BaseSHA256, Adapter: r.meta.RefAdapter, rowsKey: r.rowsKey()}
	ref := &referenceModel{model: r.model, cfg: &r.cfg, adapter: path, invocation: r.rows.Invocation,
		pooling: r.pooling}
	if ref.takes(r.other); r.other != nil {
		key.Base, key.Adapter = r.meta.Teacher, ""
	}
	if r.pools() {
		key.Pooling = ref.pooling.String()
	}
	r.refs.train = newReference(r.rows.Train, ref.width())
	tensors := []checkpoint.Tensor{checkpoint.Floats("train", r.refs.train.said)}
	reached, trained := r.rows.Reached()
	total := trained
	if r.rows.HeldRows != nil {
		r.refs.held = newReference(r.rows.Held, ref.width())
		r.refs.held.made = r.refs.train.made // texts of both have one vector
		tensors = append(tensors, checkpoint.Floats("held", r.refs.held.said))
		total += r.rows.HeldRows.Rows()
	}
	file := r.cfg.RefCache
	if file == "" {
		file = r.dir.file(fileReference)
	}
	if err := r.cached(file, key, tensors); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ref.Close(), r.other.close()) }()
	save := func() error { return checkpoint.WriteFile(nil, file, key, tensors) }
	before := 0
	progress := func(rows int) { r.rep.Report(report.Progress{What: "reference", Done: before + rows, Total: total}) }
	if err := r.refs.train.compute(ctx, ref, r.rows.TrainRows, reached, progress, save); err != nil {
		return err
	}
	before = trained
	if r.refs.held != nil {
		if err := r.refs.held.compute(ctx, ref, r.rows.HeldRows, r.rows.HeldRows.Micros(), progress,
			save); err != nil {
			return err
		}
	}
	if ref.sess == nil {
		return nil // all was there
	}
	return save()
}

// cached fills tensors from the cache in a file, where it is of this key. One of another key is not used, and said so;
// a file that somebody named and that is no cache is refused. Where there is none it makes one, so that a place that
// cannot be written to is known before the pass, which may take long, and not after it.
func (r *run) cached(file string, key referenceKey, tensors []checkpoint.Tensor) error {
	f, err := checkpoint.OpenFile(file)
	noCache := func(why string) error {
		return fmt.Errorf("--ref-cache: %s is no cache of the reference's log-probabilities, and is left as it is: "+
			"%s; name another file", file, why)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkpoint.WriteFile(nil, file, key, tensors)
	case errors.Is(err, checkpoint.ErrForeign) && r.cfg.RefCache != "":
		return noCache(err.Error())
	case errors.Is(err, checkpoint.ErrDamaged):
		r.note("the reference's log-probabilities are computed anew: %v", err)
		return nil
	case err != nil:
		return err
	}
	defer f.Close()
	var is referenceKey
	if err := f.Meta(&is); err != nil {
		return err
	}
	if is.Kind != kindReference {
		return noCache("it holds a checkpoint")
	}
	if is != key {
		r.note("%s holds the reference's log-probabilities for %s; they are computed anew, and replace it", file,
			key.changed(is))
		return nil
	}
	return f.Read(tensors)
}

// heldFingerprint is the hash of what is held out, of data that is mixed in too, "" of nothing.
func (s *setup) heldFingerprint() string {
	all := []string{fingerprint(s.rows.Held)}
	for _, m := range s.rows.Mixed {
		all = append(all, fingerprint(m.Held))
	}
	return strings.Join(all, " ")
}

// fingerprint is the hash of a dataset in hex, "" of none.
func fingerprint(d *encode.Dataset) string {
	if d == nil {
		return ""
	}
	sum := d.Fingerprint()
	return hex.EncodeToString(sum[:])
}
