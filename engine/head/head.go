// Package head reads and writes head.gguf: the numbers that turn a model's state at a token into a score or a value. It
// knows no adapter and no training.
//
// The file is a GGUF file of ggtune's own (general.type "head", head.version 1) that llama.cpp does not read:
//
//	general.architecture  that of the base
//	head.purpose          what the number means: reward, value, rerank
//	head.mean             f32: the mean of the numbers where it was made, which a reader takes off each
//	head.base_sha256      of the base model's file
//	head.adapter_sha256   of the adapter's file that the head was trained with; "" where there was none
//	head.sha256           of value.weight's bytes
//	head.unfinished       how far its run has come, where that is not at its end
//	tensor value.weight   f32 [n_embd, 1]: the number is its product with the state after the output norm
package head

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// FileName is that of a run's head, beside its adapter.
const FileName = "head.gguf"

// Version of the format; newer ones are refused.
const Version = 1

// A Purpose is what the number means.
type Purpose string

// The purposes.
const (
	Reward Purpose = "reward" // what an answer is worth
	Value  Purpose = "value"  // what is still to come
	Rerank Purpose = "rerank" // the log-odds that an answer is good, a document relevant
)

var purposes = []string{string(Reward), string(Value), string(Rerank)}

// A File is what head.gguf holds.
type File struct {
	Arch    string
	Purpose Purpose
	Weight  []float32 // n_embd
	// Mean is taken off every number, so that those of the answers that it was made from have the mean 0.
	Mean float32
	// The hashes of the base model and of the adapter that it belongs to, in hexadecimal; Adapter is "" for none.
	Base, Adapter string
	// Unfinished is how far its run has come, "" at its end.
	Unfinished string
}

const (
	keyType       = "general.type"
	keyArch       = "general.architecture"
	typeHead      = "head"
	keyVersion    = "head.version"
	keyPurpose    = "head.purpose"
	keyMean       = "head.mean"
	keyBase       = "head.base_sha256"
	keyAdapter    = "head.adapter_sha256"
	keySum        = "head.sha256"
	keyUnfinished = "head.unfinished"
	tensor        = string(engine.ValueHead) + ".weight"
)

// spread is the standard deviation of New's numbers: transformers' initializer_range, with which TRL's reward models
// begin. It is not 0, because then the adapter would get no gradient in the first step.
const spread = 0.02

// New draws the numbers that training begins with, from the seed.
func New(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 0x68656164))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(spread * r.NormFloat64())
	}
	return out
}

// Head is what a set of a session takes.
func Head(weight []float32) engine.Head {
	return engine.Head{Role: engine.ValueHead, Shape: []int64{int64(len(weight)), 1}, Values: weight}
}

// Save writes the file, atomically.
func (f *File) Save(ctx context.Context, fsys atomicfile.FS, path string) error {
	var w gguf.Writer
	w.SetString(keyType, typeHead)
	w.SetString(keyArch, f.Arch)
	w.SetUint32(keyVersion, Version)
	w.SetString(keyPurpose, string(f.Purpose))
	w.SetFloat32(keyMean, f.Mean)
	w.SetString(keyBase, f.Base)
	w.SetString(keyAdapter, f.Adapter)
	w.SetString(keySum, sumOf(f.Weight))
	if f.Unfinished != "" {
		w.SetString(keyUnfinished, f.Unfinished)
	}
	if err := f.check(path); err != nil {
		return err
	}
	if err := w.AddFloats(tensor, []int64{int64(len(f.Weight)), 1}, f.Weight); err != nil {
		return err
	}
	return w.WriteFile(ctx, fsys, path)
}

// Load reads and checks a file.
func Load(path string) (*File, error) {
	g, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	if kind, err := g.StringOr(keyType, "model"); err != nil || !g.IsHead() {
		return nil, fmt.Errorf("%s: this is a file of type %q, not a head; a head is the %s beside the adapter of a "+
			"run with --method reward or rerank", path, kind, FileName)
	}
	version, err := g.Uint32(keyVersion)
	if err != nil {
		return nil, err
	}
	if version > Version {
		return nil, fmt.Errorf("%s: version %d of the format, and this ggtune reads up to %d; use a newer one", path,
			version, Version)
	}
	f := &File{}
	for key, to := range map[string]*string{keyArch: &f.Arch, keyBase: &f.Base, keyAdapter: &f.Adapter} {
		if *to, err = g.String(key); err != nil {
			return nil, err
		}
	}
	purpose, err := g.String(keyPurpose)
	if err != nil {
		return nil, err
	}
	f.Purpose = Purpose(purpose)
	if f.Mean, err = g.Float32(keyMean); err != nil {
		return nil, err
	}
	if f.Unfinished, err = g.StringOr(keyUnfinished, ""); err != nil {
		return nil, err
	}
	if err := f.read(g); err != nil {
		return nil, err
	}
	return f, f.check(path)
}

// read reads the tensor.
func (f *File) read(g *gguf.File) error {
	t, err := g.Tensor(tensor)
	if err != nil {
		return err
	}
	if t.Type != gguf.F32 || t.Elements() != t.Shape[0] {
		return fmt.Errorf("%s: tensor %q is %v of type %v; expected one row of f32", g.Path(), tensor, t.Shape, t.Type)
	}
	data, err := g.Data(t)
	if err != nil {
		return err
	}
	f.Weight = make([]float32, len(data)/4)
	for i := range f.Weight {
		f.Weight[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	sum, err := g.String(keySum)
	if err != nil {
		return err
	}
	if got := sumOf(f.Weight); got != sum {
		return fmt.Errorf("%s: tensor %q has the sha256 %.12s…, and the file says %.12s…: it is damaged; take another "+
			"copy", g.Path(), tensor, got, sum)
	}
	return nil
}

// check refuses what no head says.
func (f *File) check(path string) error {
	if !slices.Contains(purposes, string(f.Purpose)) {
		return fmt.Errorf("%s: the head's purpose is %q; known: %s", path, f.Purpose, strings.Join(purposes, ", "))
	}
	if len(f.Weight) == 0 {
		return fmt.Errorf("%s: the head holds no number", path)
	}
	for i, x := range append(f.Weight[:len(f.Weight):len(f.Weight)], f.Mean) {
		if x-x != 0 {
			return fmt.Errorf("%s: number %d of the head is %g; train it anew, with a lower learning rate", path, i, x)
		}
	}
	return nil
}

// Of refuses a head for a model of another architecture or size.
func (f *File) Of(path string, m *engine.Model) error {
	if n := m.HParams().NEmbd; f.Arch != m.Net().Arch || len(f.Weight) != n {
		return fmt.Errorf("%s: the head is for a model of architecture %q with n_embd %d, and %s is %q with %d; give "+
			"the model that it was trained on", path, f.Arch, len(f.Weight), m.Path(), m.Net().Arch, n)
	}
	return nil
}

// Fits refuses a head for another base than the model, which has that hash, or for another adapter.
func (f *File) Fits(path string, m *engine.Model, base, adapter string) error {
	if err := f.Of(path, m); err != nil {
		return err
	}
	if f.Base != base {
		return fmt.Errorf("%s: the head was trained on another base (sha256 %.12s…) than %s (%.12s…); give that one",
			path, f.Base, m.Path(), base)
	}
	switch {
	case f.Adapter == adapter:
		return nil
	case adapter == "":
		return fmt.Errorf("%s: the head was trained with an adapter (sha256 %.12s…), and none is given; give the one "+
			"beside it (--adapter)", path, f.Adapter)
	case f.Adapter == "":
		return fmt.Errorf("%s: the head was trained without an adapter; leave --adapter out", path)
	}
	return fmt.Errorf("%s: the head was trained with another adapter (sha256 %.12s…) than the one given (%.12s…); "+
		"give the one beside it", path, f.Adapter, adapter)
}

func sumOf(weight []float32) string {
	h := sha256.New()
	var b [4]byte
	for _, x := range weight {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(x))
		h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}
