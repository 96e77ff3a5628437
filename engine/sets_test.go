package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// alone is a session of one unnamed set over a model.
func alone(t *testing.T, m *engine.Model, set engine.Set) *rig {
	t.Helper()
	set.Name = ""
	var sets []engine.Set
	if set.Adapter != nil || set.Whole != nil {
		sets = []engine.Set{set}
	}
	s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Exact: true, Sets: sets})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &rig{Session: s, t: t, model: m}
}

// normsAndBiases are what is no matrix.
func normsAndBiases(p arch.Part, _ int) bool { return len(p.Shape) == 1 }

// TestSetsOfOneSession: a policy, a frozen reference, a second policy and norms of their own in one session give what
// a session of each gives, log-probabilities and gradients, bit for bit; so does the model without any.
func TestSetsOfOneSession(t *testing.T) {
	eachArch(t, func(t *testing.T, spec synth.Spec) {
		m, err := engine.Open(synth.Temp(t, spec))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		named := func(name string, rank int, layers ...int) engine.Set {
			return engine.Set{Name: name, Adapter: newAdapter(t, m,
				adapter.Config{Rank: rank, Alpha: 8, Init: "kaiming", Seed: uint64(rank), Layers: layers})}
		}
		sets := []engine.Set{named("policy", 4), named("reference", 3), named("critic", 2, 1),
			{Name: "norms", Whole: normsAndBiases}, {Name: "frozen norms", Whole: normsAndBiases, Frozen: true}}
		sets[1].Frozen = true
		s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Exact: true, Sets: sets})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r := &rig{Session: s, t: t, model: m}
		b := batch(chain(tokens(1, 17, spec.Vocab)))
		says, seen := m.Says(), 0
		for _, set := range append(sets, engine.Set{}) {
			apply := engine.Only(set.Name)
			if set.Name == "" {
				apply = engine.Only()
			}
			one := alone(t, m, set)
			trains := len(one.Params()) > 0
			opt := engine.Options{Apply: apply, Backward: trains}
			got, want := r.forward(b, opt)[says], one.forward(b, engine.Options{Backward: trains})[says]
			if !slices.Equal(got, want) {
				t.Errorf("%q: %s differs from that of a session of its own", set.Name, says.Name)
			}
			if !trains {
				continue
			}
			r.zeroGrad()
			for _, x := range []*rig{r, one} {
				d := engine.Outputs{says: coefficients(len(got))}
				if err := x.Backward(context.Background(), d, nil); err != nil {
					t.Fatal(err)
				}
			}
			grads := r.grads()
			for name, w := range one.grads() {
				if g, ok := grads[set.Name+"/"+name]; !ok || !slices.Equal(g, w) {
					t.Errorf("%q: the gradient of %s differs from that in a session of its own", set.Name, name)
				}
				delete(grads, set.Name+"/"+name)
				seen++
			}
			for name, g := range grads {
				if slices.ContainsFunc(g, func(x float32) bool { return x != 0 }) {
					t.Errorf("%q: %s, which is not applied, has a gradient", set.Name, name)
				}
			}
		}
		if seen != len(s.Params()) {
			t.Errorf("compared %d gradients, the session has %d", seen, len(s.Params()))
		}
	})
}

// TestSetsTogether: sets applied at once stand on top of each other, and those that are not to be trained get no
// gradients while others do.
func TestSetsTogether(t *testing.T) {
	eachArch(t, func(t *testing.T, spec synth.Spec) {
		var under engine.Set
		r := newRig(t, spec, func(c *setup, a *adapter.Config) {
			m, err := engine.Open(synth.Temp(t, spec))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			under = engine.Set{Name: "under", Adapter: newAdapter(t, m,
				adapter.Config{Rank: 3, Alpha: 8, Init: "kaiming", Seed: 9})}
			c.Sets = []engine.Set{under, {Name: "norms", Whole: normsAndBiases}}
		})
		b, says := batch(chain(tokens(1, 17, spec.Vocab))), r.model.Says()
		for _, train := range []string{"", "under", "norms"} {
			r.zeroGrad()
			n := len(r.forward(b, engine.Options{Backward: true, Train: engine.Only(train)})[says])
			if err := r.Backward(context.Background(), engine.Outputs{says: coefficients(n)}, nil); err != nil {
				t.Fatal(err)
			}
			grads := r.grads()
			for _, p := range r.Params() {
				set, _, named := strings.Cut(p.Name, "/")
				if !named {
					set = ""
				}
				if set == train {
					r.checkDirection(b, p, grads[p.Name])
				} else if slices.ContainsFunc(grads[p.Name], func(x float32) bool { return x != 0 }) {
					t.Errorf("training %q: %s has a gradient", train, p.Name)
				}
			}
		}
		all := r.forward(b, engine.Options{})[says]
		for _, name := range []string{"", "under"} {
			if some := r.forward(b, engine.Options{Apply: engine.Only(name)})[says]; slices.Equal(some, all) {
				t.Errorf("the set %q alone gives what all sets give", name)
			}
		}
	})
}

// TestSetsApart: a set that is apart is applied where a pass names it and else not; named, it is trained like others.
func TestSetsApart(t *testing.T) {
	r := newRig(t, synth.Tiny("llama", gguf.Q8_0), func(c *setup, _ *adapter.Config) {
		m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", gguf.Q8_0)))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		c.Sets = []engine.Set{{Name: "critic", Apart: true, Adapter: newAdapter(t, m,
			adapter.Config{Rank: 3, Alpha: 8, Init: "kaiming", Seed: 9})}}
	})
	b, coef := batch(chain(tokens(1, 17, 64))), engine.Outputs{engine.LogP: coefficients(16)}
	trained := func(o engine.Options) (sets []string) {
		r.zeroGrad()
		o.Backward = true
		r.forward(b, o)
		if err := r.Backward(context.Background(), coef, nil); err != nil {
			t.Fatal(err)
		}
		for name, g := range r.grads() {
			set, _, named := strings.Cut(name, "/")
			if !named {
				set = ""
			}
			if slices.ContainsFunc(g, func(x float32) bool { return x != 0 }) && !slices.Contains(sets, set) {
				sets = append(sets, set)
			}
		}
		return sets
	}
	plain, named := r.forward(b, engine.Options{})[engine.LogP],
		r.forward(b, engine.Options{Apply: engine.Only("")})[engine.LogP]
	if !slices.Equal(plain, named) {
		t.Error("a plain pass applies the set that is apart")
	}
	if got, want := trained(engine.Options{}), []string{""}; !slices.Equal(got, want) {
		t.Errorf("a plain pass trains %q, want %q", got, want)
	}
	critic := engine.Options{Apply: engine.Only("critic")}
	if got, want := trained(critic), []string{"critic"}; !slices.Equal(got, want) {
		t.Errorf("a pass of the set alone trains %q, want %q", got, want)
	}
}

// TestWholeTensors: tensors chosen by role and layer get the gradients of finite differences, others none; in a
// quantized model those that are not quantized can be.
func TestWholeTensors(t *testing.T) {
	for name, c := range map[string]struct {
		typ    gguf.Type
		choose func(p arch.Part, il int) bool
	}{
		"norms and biases": {gguf.F32, normsAndBiases},
		"biases":           {gguf.F32, func(p arch.Part, _ int) bool { return p.Suffix == ".bias" }},
		"weights of norms": {gguf.F32, func(p arch.Part, _ int) bool {
			return len(p.Shape) == 1 &&
				p.Suffix == ".weight"
		}},
		"one layer":      {gguf.F16, func(_ arch.Part, il int) bool { return il == 1 }},
		"one role":       {gguf.F32, func(p arch.Part, _ int) bool { return p.Role == arch.AttnOutput }},
		"outside":        {gguf.F32, func(_ arch.Part, il int) bool { return il < 0 }},
		"of a quantized": {gguf.Q8_0, normsAndBiases},
	} {
		t.Run(name, func(t *testing.T) {
			eachArch(t, func(t *testing.T, spec synth.Spec) {
				spec = synth.Tiny(spec.Arch, c.typ)
				spec.Bias = true
				if spec.Validate() != nil {
					spec.Bias = false // it has no optional ones
				}
				r := newRig(t, spec, func(s *setup, a *adapter.Config) {
					a.Rank = 0
					s.Sets = []engine.Set{{Whole: c.choose}}
				})
				biased := slices.ContainsFunc(r.model.Net().Layer(0).Parts(),
					func(p arch.Part) bool { return p.Suffix == ".bias" && (spec.Bias || !p.Optional) })
				if name == "biases" && !biased {
					return
				}
				b := batch(chain(tokens(1, 17, spec.Vocab)))
				_, grads := r.pass(b, nil)
				for _, p := range r.Params() {
					r.checkDirection(b, p, grads[p.Name])
				}
				if len(grads) == 0 {
					t.Error("nothing is trained")
				}
			})
		})
	}
}

func TestSetsRefused(t *testing.T) {
	r := newRig(t, synth.Tiny("llama", gguf.Q8_0), func(c *setup, _ *adapter.Config) {
		c.Sets = []engine.Set{{Name: "norms", Whole: normsAndBiases},
			{Name: "other", Whole: normsAndBiases, Frozen: true}}
	})
	head := func(role arch.Role, n int, shape ...int64) []engine.Head {
		return []engine.Head{{Role: role, Shape: shape, Values: make([]float32, n)}}
	}
	for _, c := range []struct {
		sets []engine.Set
		want string
	}{
		{[]engine.Set{{Name: "a"}, {Name: "a"}}, `two sets are named "a"`},
		{[]engine.Set{{Name: "a/b"}}, "without a slash"},
		{[]engine.Set{{Heads: head("output", 64, 64, 1)}}, "the model has a tensor of that name"},
		{[]engine.Set{{Heads: head("value", 3, 2, 2)}}, "3 numbers for shape [2 2]"},
		{make([]engine.Set, 65), "65 sets"},
	} {
		_, err := engine.NewSession(r.model, engine.SessionConfig{Threads: 1, Sets: c.sets})
		says(t, err, c.want)
	}
	b := batch(chain(tokens(1, 5, 320)))
	for _, c := range []struct {
		opt  engine.Options
		want string
	}{
		{engine.Options{Apply: engine.Only("nroms")}, `no set is named "nroms"; the session's: "", "norms", "other"`},
		{engine.Options{}, `"norms" and "other" both have numbers for tensor`},
		{engine.Options{Apply: engine.Only("", "other"), Backward: true, Train: engine.Only("other")},
			"frozen or not applied"},
		{engine.Options{Apply: engine.Only(""), Backward: true, Train: engine.Only("norms")}, "frozen or not applied"},
		{engine.Options{Apply: engine.Only("other"), Backward: true}, "trains nothing"},
		{engine.Options{Apply: engine.Only(), Backward: true}, "trains nothing"},
	} {
		_, err := r.Forward(context.Background(), b, c.opt)
		says(t, err, c.want)
	}
	_, err := r.Set("nroms")
	says(t, err, "nroms")
	_, err = r.RoundParams("nroms")
	says(t, err, "no tensors of the model")
}
