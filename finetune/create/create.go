// Package create makes models from nothing: of a given shape, with architecture, vocabulary and chat template of a
// model at hand, and with numbers by chance. It trains nothing.
package create

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/stream"
	"github.com/ggtune/ggtune/quant/mix"
)

// A Job is one model to make. A size of 0 is left to Like, or follows from Width: see shapeOf.
type Job struct {
	Like, Output                                string
	Layers, Width, Heads, KVHeads, FFN, Context int
	Type                                        gguf.Type // of matrices: see Types
	Seed                                        uint64
	Threads                                     int
	FS                                          atomicfile.FS // that the model is written to; nil: the real one
}

// Types are those that a model can begin in: training would move no quantized number.
func Types() []gguf.Type { return []gguf.Type{gguf.F32, gguf.F16, gguf.BF16} }

// A Result says what was made.
type Result struct {
	Output string `json:"output"`
	Like   string `json:"like"`
	Arch   string `json:"arch"`
	Shape
	Vocab  int    `json:"n_vocab"`
	Params int64  `json:"parameters"`
	Type   string `json:"type"`
}

// unverified is put behind the output's name until llama.cpp has computed the same from it.
const unverified = ".unverified"

// Make writes the model, has llama.cpp load it and compares its logits. Nothing is left of one that fails.
func Make(ctx context.Context, job Job) (_ Result, err error) {
	like, err := gguf.Open(job.Like)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, like.Close()) }()
	if err := like.CheckModel(); err != nil {
		return Result{}, err
	}
	if err := atomicfile.Distinct(job.Output, like.Parts()...); err != nil {
		return Result{}, err
	}
	m := &maker{Job: job, like: like}
	if err := m.plan(); err != nil {
		return Result{}, err
	}
	if err := m.room(); err != nil {
		return Result{}, err
	}
	if m.FS == nil {
		m.FS = atomicfile.OS
	}
	temporary := job.Output + unverified
	if err = m.write(ctx, temporary); err == nil {
		if err = m.check(ctx, temporary); err == nil {
			err = m.FS.Rename(temporary, job.Output)
		}
	}
	if err != nil {
		if gone := m.FS.Remove(temporary); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return Result{}, err
	}
	return m.result, m.FS.SyncDir(filepath.Dir(job.Output))
}

// room refuses a model that the disk has no room for: a few digits too many in a shape are gigabytes.
func (m *maker) room() error {
	size, err := m.w.Size()
	if free := budget.FreeDisk(filepath.Dir(m.Output)); err == nil && free > 0 && size > free {
		err = fmt.Errorf("write %s: a model of that shape takes %s, and %s are free on that disk", m.Output,
			report.Bytes(size), report.Bytes(free))
	}
	return err
}

// A maker makes one model.
type maker struct {
	Job
	like   *gguf.File
	shaped shaped // like, in the shape that is asked for
	net    *arch.Net
	w      gguf.Writer
	result Result
}

// plan decides the shape and lists metadata and tensors.
func (m *maker) plan() error {
	if !slices.Contains(Types(), m.Type) {
		return fmt.Errorf("a model begins as f32, f16 or bf16, not as %s: make it so, train it, and quantize it then",
			m.Type)
	}
	name, err := m.like.Architecture()
	if err != nil {
		return err
	}
	like, err := arch.Of(m.like)
	if err != nil {
		return err
	}
	shape, file, err := shapeOf(m.like, name, &m.Job)
	if err != nil {
		return err
	}
	m.shaped = file
	if m.net, err = arch.Of(m.shaped); err != nil {
		return fmt.Errorf("the shape that is asked for: %w", err)
	}
	m.result = Result{Output: m.Output, Like: m.Like, Arch: name, Shape: shape, Vocab: like.NVocab,
		Type: m.Type.String()}
	m.metadata()
	for _, p := range m.net.Embed.Parts() {
		err = errors.Join(err, m.add(p, -1))
	}
	shared := map[string]bool{} // by name: several layers list it
	for il := range m.net.NLayer {
		for _, p := range m.net.Layer(il).Parts() {
			if name := p.Name(il); !shared[name] {
				err = errors.Join(err, m.add(p, il))
				shared[name] = p.Shared
			}
		}
	}
	for _, p := range m.net.Final.Parts() {
		err = errors.Join(err, m.add(p, -1))
	}
	return err
}

// metadata is that of the model at hand, with another shape and name: what else it says of itself in general is not
// true of this one.
func (m *maker) metadata() {
	m.w.CopyMetadata(m.like)
	for _, kv := range slices.Clone(m.w.KVs()) {
		general := strings.HasPrefix(kv.Key, "general.") && kv.Key != "general.architecture" &&
			kv.Key != "general.alignment"
		if general || strings.HasPrefix(kv.Key, "quantize.") {
			m.w.Delete(kv.Key)
		}
	}
	for key, v := range m.shaped.keys {
		switch v := v.(type) {
		case int64:
			fewer := strings.HasSuffix(key, keyHeads) && m.result.KVHeads != m.result.Heads
			if fewer || m.like.Has(key) {
				m.w.SetUint32(key, uint32(v))
			}
		case []int64:
			each := make([]int32, len(v)) // as llama.cpp's converter writes them
			for i, n := range v {
				each[i] = int32(n)
			}
			m.w.Set(key, gguf.NumbersValue(each))
		case []bool:
			m.w.Set(key, gguf.BoolsValue(v))
		}
	}
	m.w.SetString("general.name", strings.TrimSuffix(filepath.Base(m.Output), ".gguf"))
	if t, err := mix.Get(m.Type.String()); err == nil {
		m.w.SetUint32("general.file_type", t.FileType)
	}
}

// add lists a tensor, if the model at hand has one of its kind.
func (m *maker) add(p arch.Part, il int) error {
	name := p.Name(il)
	if p.Optional && !m.shaped.HasTensor(name) {
		return nil
	}
	if p.Shared { // a table of numbers that are no chance
		t, err := m.like.Tensor(name)
		if err != nil {
			return err
		}
		if !slices.Equal(t.Shape, p.Shape) {
			return fmt.Errorf("%s: tensor %q has shape %v, and the heads asked for want %v; keep the size of a head "+
				"(--heads)", m.Like, name, t.Shape, p.Shape)
		}
		m.result.Params += t.Elements() // as engine.Model.Params counts them
		return m.w.AddFrom(m.like, t)
	}
	n := int64(1)
	for _, d := range p.Shape {
		n *= d
	}
	m.result.Params += n
	as := m.Type
	if !p.Matrix() {
		as = gguf.F32
	}
	return m.w.Add(name, as, p.Shape, m.numbers(name, p, n, as))
}

// spread is the standard deviation of fresh matrices (Radford et al. 2018, "Improving Language Understanding by
// Generative Pre-Training", section 4.1; Llama's too in transformers).
const spread = 0.02

// spreadOf is that of a part: what adds to the residual stream begins smaller, by √(2·layers), of which there are so
// many (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3).
func (m *maker) spreadOf(p arch.Part) float64 {
	if slices.Contains([]arch.Role{arch.AttnOutput, arch.ConvOut, arch.FFNDown, arch.FFNDownExps, arch.FFNDownShexp},
		p.Role) {
		return spread / math.Sqrt(2*float64(m.net.NLayer))
	}
	return spread
}

// numbers writes a fresh tensor, a few rows at a time: norms of ones, biases and sinks of zeros, and matrices by
// chance, which the seed and the tensor's name decide.
func (m *maker) numbers(name string, p arch.Part, n int64, as gguf.Type) stream.Source {
	h := fnv.New64a()
	h.Write([]byte(name)) // which cannot fail
	return func(dst io.Writer) error {
		r := rand.New(rand.NewPCG(m.Seed, h.Sum64()))
		size := m.spreadOf(p)
		width := p.Shape[0]
		const most = 1 << 18 // numbers at once
		step := max(1, most/width) * width
		row := make([]float32, min(step, n))
		for at := int64(0); at < n; at += step {
			part := row[:min(step, n-at)]
			for i := range part {
				switch {
				case p.Suffix == ".bias" || p.Role == arch.AttnSinks:
					part[i] = 0
				case len(p.Shape) == 1:
					part[i] = 1
				default:
					part[i] = float32(r.NormFloat64() * size)
				}
			}
			b, err := ggml.Quantize(ggml.Type(as), part, width)
			if err != nil {
				return err
			}
			if _, err := dst.Write(b); err != nil {
				return err
			}
		}
		return nil
	}
}

func (m *maker) write(ctx context.Context, path string) error { return m.w.WriteFile(ctx, m.FS, path) }

// check computes a few tokens with the model, and has llama.cpp do the same.
func (m *maker) check(ctx context.Context, path string) error {
	model, err := engine.Open(path)
	if err != nil {
		return err
	}
	s, err := engine.NewSession(model, engine.SessionConfig{Threads: m.Threads, Exact: true})
	if err != nil {
		return errors.Join(err, model.Close())
	}
	var tokens []int32
	for i := range min(16, m.net.NCtxTrain) {
		tokens = append(tokens, int32(i*m.result.Vocab/16))
	}
	probe, err := verify.NewProbe(ctx, s, tokens, 0)
	if err = errors.Join(err, s.Close(), model.Close()); err != nil {
		return err
	}
	_, err = probe.VerifyModel(ctx, path, path, verify.Distance{}, m.Threads)
	return err
}
