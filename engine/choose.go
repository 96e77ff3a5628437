package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
)

// kinds are names for the tensors of several roles: what norm tuning trains, and what BitFit does (Ben Zaken et al.
// 2022).
var kinds = []struct {
	name string
	has  func(p arch.Part) bool
}{
	{"norms", func(p arch.Part) bool { return len(p.Shape) == 1 && p.Suffix == ".weight" && p.Role != arch.AttnSinks }},
	{"biases", func(p arch.Part) bool { return p.Suffix == ".bias" }},
	{"all", func(arch.Part) bool { return true }},
}

// Choose gives a choice of the model's tensors, for Set.Whole: those of the kinds (norms, biases, all) and roles named,
// in the layers given. No names mean all tensors but routers, which choose among experts: trained with the rest they
// send tokens elsewhere before the experts there have learned them. No layers mean all, and what lies outside them.
// With layers, a tensor outside them is chosen only by its role's name. A name that chooses nothing is an error.
func (m *Model) Choose(names []string, layers []int) (func(p arch.Part, il int) bool, error) {
	within := func(il int) bool { return len(layers) == 0 || slices.Contains(layers, il) }
	named := func(name string, p arch.Part, il int) bool {
		for _, k := range kinds {
			if k.name == name {
				return k.has(p) && within(il)
			}
		}
		return string(p.Role) == name && (il < 0 || within(il))
	}
	for _, name := range names {
		if !slices.ContainsFunc(m.file.Tensors, func(x gguf.TensorInfo) bool {
			t, ok := m.tensors[x.Name]
			return ok && t.trainable() && named(name, t.part, m.layer(&t))
		}) {
			return nil, fmt.Errorf("%q is the role of no tensor that this model has there; known: %s", name,
				strings.Join(m.choices(), ", "))
		}
	}
	return func(p arch.Part, il int) bool {
		if len(names) == 0 {
			return within(il) && p.Role != arch.FFNGateInp
		}
		return slices.ContainsFunc(names, func(name string) bool { return named(name, p, il) })
	}, nil
}

// choices lists what Choose knows of this model, in the file's order.
func (m *Model) choices() (out []string) {
	var roles []string
	for i := range m.file.Tensors {
		t, ok := m.tensors[m.file.Tensors[i].Name]
		if !ok || !t.trainable() {
			continue
		}
		for _, k := range kinds {
			if k.has(t.part) && !slices.Contains(out, k.name) {
				out = append(out, k.name)
			}
		}
		if !slices.Contains(roles, string(t.part.Role)) {
			roles = append(roles, string(t.part.Role))
		}
	}
	return append(out, roles...)
}
