package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestRoundParams: rounding is what the storage type does, does nothing a second time or to F32, and tells of a value
// that does not fit, with the tensor's name.
func TestRoundParams(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.F32, gguf.F16, gguf.BF16} {
		m, err := Open(synth.Temp(t, synth.Tiny("llama", typ)))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		s, err := NewSession(m, SessionConfig{Threads: 1, Sets: []Set{{Whole: Everything}}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		p := s.byName["blk.1.ffn_up.weight"]
		const x = 1 + 1.0/256 + 1.0/4096 // f16 keeps 10 bits behind the point, bf16 7
		want := map[gguf.Type]float32{gguf.F32: x, gguf.F16: 1 + 1.0/256, gguf.BF16: 1 + 1.0/128}[typ]
		set := func(at int64, x float32) {
			if err := p.Value.Upload([]float32{x}, at); err != nil {
				t.Fatal(err)
			}
		}
		all := func() []float32 {
			v, err := p.Value.All()
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		set(p.Len()-1, x)
		changed, err := s.RoundParams("")
		once := all()
		if got := once[len(once)-1]; err != nil || changed != (typ != gguf.F32) || got != want {
			t.Errorf("%v: got %v, %v, %v, want %v", typ, got, changed, err, want)
		}
		if _, err := s.RoundParams(""); err != nil || !slices.Equal(all(), once) {
			t.Errorf("%v: a second rounding changed something: %v", typ, err)
		}
		set(0, 1e6)
		if _, err := s.RoundParams(""); typ == gguf.F16 &&
			(err == nil || !strings.Contains(err.Error(), p.Name) || !strings.Contains(err.Error(), "range")) ||
			typ != gguf.F16 && err != nil {
			t.Errorf("%v: a million: got %v", typ, err)
		}
	}
}

// TestWritten: what mixes leave in its type is written in it, whatever the others' type: norms, biases, and what
// chooses experts.
func TestWritten(t *testing.T) {
	m, err := Open(synth.Temp(t, synth.Tiny("gpt-oss", gguf.F16)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	q8 := gguf.Q8_0
	for name, want := range map[string]gguf.Type{"blk.0.ffn_up_exps.weight": q8, "output.weight": q8,
		"blk.0.ffn_up_exps.bias": gguf.F32, "blk.0.attn_sinks.weight": gguf.F32,
		"blk.0.ffn_gate_inp.weight": gguf.F32} {
		x, err := m.file.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []Set{{Type: &q8}, {Types: map[string]gguf.Type{name: q8}}} {
			if got := set.Written(x); got != want {
				t.Errorf("%s is written as %s, want %s", name, got, want)
			}
		}
	}
}
