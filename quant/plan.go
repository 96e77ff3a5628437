package quant

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/registry"
	"github.com/ggtune/ggtune/quant/mix"
)

// A Change is what happens to one tensor.
type Change struct {
	Tensor   gguf.TensorInfo // as it is
	To       gguf.Type
	ToBytes  int64
	Fallback bool // the type that was chosen does not fit the tensor's rows
}

// A Plan says in what type each tensor of a model is written.
type Plan struct {
	// FileType is written as general.file_type; nil leaves the file's own.
	FileType *uint32
	Changes  []Change // one for each tensor of the file, in its order
	// Unweighted are the roles that are quantized without weights, though there is an importance matrix for others.
	Unweighted []string

	file       *gguf.File
	importance Importance
}

// Bytes is the size of the tensors before and after.
func (p *Plan) Bytes() (before, after int64) {
	for _, c := range p.Changes {
		before += c.Tensor.Size
		after += c.ToBytes
	}
	return before, after
}

// Changed counts the tensors that get another type.
func (p *Plan) Changed() (n int) {
	for _, c := range p.Changes {
		if c.To != c.Tensor.Type {
			n++
		}
	}
	return n
}

// Set chooses a type for tensor i, or the one that takes its place where its blocks do not fill the tensor's rows.
func (p *Plan) Set(i int, to gguf.Type) error {
	c := &p.Changes[i]
	fit := to
	if len(c.Tensor.Shape) > 0 {
		fit = mix.Fit(to, c.Tensor.Shape[0])
	}
	size, err := fit.Size(c.Tensor.Shape)
	if err != nil {
		return fmt.Errorf("%s: tensor %q as %s %w", p.file.Path(), c.Tensor.Name, fit, err)
	}
	c.To, c.ToBytes, c.Fallback = fit, size, fit != to
	return nil
}

// Keep is the plan that changes no type: for weights that are not the file's own (Rows).
func Keep(f *gguf.File) (Plan, error) {
	p := Plan{file: f}
	if err := f.CheckModel(); err != nil {
		return p, err
	}
	for _, t := range f.Tensors {
		p.Changes = append(p.Changes, Change{Tensor: t, To: t.Type, ToBytes: t.Size})
	}
	return p, nil
}

// ErrRequantize is matched by the refusal of weights that are quantized already.
var ErrRequantize = errors.New("quantized already")

// ErrImportance is matched by the refusal of types that are worth nothing without an importance matrix.
var ErrImportance = errors.New("needs an importance matrix")

// A Choice is what a user wants of a plan.
type Choice struct {
	// Mix chooses types; the zero Mix leaves each tensor its own.
	Mix mix.Mix
	// Types are chosen by role ("attn_v", "token_embd"), instead of the mix's.
	Types map[string]gguf.Type
	// Tensors are chosen by name, before anything else.
	Tensors map[string]gguf.Type
	// Requantize allows sources that are quantized already: what was rounded away does not come back, and rounding
	// twice loses more than once.
	Requantize bool
	Importance Importance
}

// Importance is an importance matrix: by tensor, how much each element of a row weighs when it is rounded. A tensor of
// several matrices has one such vector for each, one after the other.
type Importance map[string][]float32

// of gives the weights of a matrix (of several) of a tensor, or nil.
func (m Importance) of(t *gguf.TensorInfo, matrix int64) []float32 {
	all := m[t.Name]
	if all == nil {
		return nil
	}
	return all[matrix*t.Shape[0] : (matrix+1)*t.Shape[0]]
}

// check refuses what is not of this model.
func (m Importance) check(f *gguf.File) error {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !f.HasTensor(name) {
			return fmt.Errorf("the importance matrix has an entry for %q, which %s does not have; it is of another "+
				"model", name, f.Path())
		}
		t, err := f.Tensor(name)
		if err != nil {
			return err
		}
		want := t.Shape[0]
		for _, n := range t.Shape[min(2, len(t.Shape)):] {
			want *= n
		}
		if int64(len(m[name])) != want {
			return fmt.Errorf("the importance matrix has %d elements for %q, which takes %d in %s; it is of another "+
				"model", len(m[name]), name, want, f.Path())
		}
		if i := ggml.NotFinite(m[name]); i >= 0 {
			return fmt.Errorf("the importance matrix's element %d for %q is %v; make it anew", i, name, m[name][i])
		}
	}
	return m.checkLayers(f)
}

// checkLayers refuses a matrix that knows some layers and not others: it is of a model with fewer.
func (m Importance) checkLayers(f *gguf.File) error {
	layers, known := map[int]bool{}, map[int]bool{}
	for i := range f.Tensors {
		name := f.Tensors[i].Name
		if layer := mix.Layer(name); layer >= 0 && len(f.Tensors[i].Shape) > 1 {
			layers[layer] = true
			if m[name] != nil {
				known[layer] = true
			}
		}
	}
	if len(known) == 0 || len(known) == len(layers) {
		return nil
	}
	return fmt.Errorf("the importance matrix has entries for %d of the %d layers of %s; it is of another model",
		len(known), len(layers), f.Path())
}

// NewPlan decides the type of every tensor of a model. A quantized tensor that would have to change its type is refused
// (ErrRequantize), unless the choice allows it, and so is a type that is worth nothing without an importance matrix
// where there is none for the tensor (ErrImportance).
func NewPlan(f *gguf.File, c Choice) (Plan, error) {
	p, err := Keep(f)
	if err != nil {
		return p, err
	}
	if p.importance = c.Importance; c.Mix.Of != nil {
		p.FileType = &c.Mix.FileType
	}
	if err := c.Importance.check(f); err != nil {
		return p, err
	}
	m, err := mix.ModelOf(f)
	if err != nil {
		return p, err
	}
	m.Importance = c.Importance != nil
	places := mix.Places(f.Tensors, m)
	if err := c.checkTypes(f, places); err != nil {
		return p, err
	}
	for i, place := range places {
		t := &p.Changes[i].Tensor
		if place.Kept || t.Type == gguf.F64 || t.Type.IsInt() {
			continue
		}
		to, ok := c.Tensors[t.Name]
		if !ok {
			to, ok = c.Types[place.Role]
		}
		if !ok && c.Mix.Of == nil {
			continue
		}
		if !ok {
			to = c.Mix.Of(place)
		}
		if err := p.Set(i, to); err != nil {
			return p, err
		}
		if err := c.allows(f, place, &p.Changes[i]); err != nil {
			return p, err
		}
		if to := p.Changes[i].To; c.Importance != nil && c.Importance[t.Name] == nil && to != t.Type &&
			to.IsQuantized() && !slices.Contains(p.Unweighted, place.Role) {
			p.Unweighted = append(p.Unweighted, place.Role)
		}
	}
	return p, nil
}

// TypeToWrite finds by name, in any case, a storage type that tensors can be written in.
func TypeToWrite(name string) (gguf.Type, error) {
	var known []string
	for _, t := range gguf.Types() {
		if !ggml.Type(t).Quantizes() {
			continue
		}
		if strings.EqualFold(t.String(), name) {
			return t, nil
		}
		known = append(known, t.String())
	}
	return 0, &registry.UnknownError{Kind: "storage type to write", Name: name, Known: known}
}

// checkTypes refuses roles that the model does not have, and types that cannot be written.
func (c Choice) checkTypes(f *gguf.File, places []mix.Place) error {
	roles := mix.Roles(places)
	var errs []error
	for _, role := range slices.Sorted(maps.Keys(c.Types)) {
		if !slices.Contains(roles, role) {
			errs = append(errs, fmt.Errorf("%s: %w", f.Path(),
				&registry.UnknownError{Kind: "tensor role", Name: role, Known: roles}))
		}
		if t := c.Types[role]; !ggml.Type(t).Quantizes() {
			_, err := TypeToWrite(t.String())
			errs = append(errs, fmt.Errorf("tensor role %s: %w", role, err))
		}
	}
	return errors.Join(errs...)
}

// allows refuses what the choice does not allow.
func (c Choice) allows(f *gguf.File, place mix.Place, ch *Change) error {
	switch {
	case ch.To == ch.Tensor.Type:
		return nil
	case c.AllowsFrom(f, &ch.Tensor) != nil:
		return c.AllowsFrom(f, &ch.Tensor)
	case c.Importance[ch.Tensor.Name] == nil && c.Mix.NeedsImportance(place, ch.To):
		return fmt.Errorf("%s: tensor %q: storage type %s %w, and there is none for it; give one with --imatrix "+
			"(ggtune imatrix makes it), or choose another type, such as q2_k or iq3_s", f.Path(), ch.Tensor.Name,
			ch.To, ErrImportance)
	}
	return nil
}

// AllowsFrom refuses another type for a tensor that is quantized already, unless the choice allows it (ErrRequantize).
func (c Choice) AllowsFrom(f *gguf.File, t *gguf.TensorInfo) error {
	if !t.Type.IsQuantized() || c.Requantize {
		return nil
	}
	return fmt.Errorf("%s: tensor %q is storage type %s, %w; start from an f32, f16 or bf16 file of the model, or "+
		"allow it with --allow-requantize: what was lost is lost, and more will be", f.Path(), t.Name, t.Type,
		ErrRequantize)
}
