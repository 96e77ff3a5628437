package config

import (
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestQATRefused: rounding is of tensors of the model, to what can be written, and says what is written.
func TestQATRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(c *Config)
		want   string
	}{
		"of an adapter": {func(c *Config) { c.QAT = "q4_0" },
			"--qat is given with --tune lora; expected it with --tune full"},
		"unknown": {func(c *Config) { c.QAT, c.Tune = "q4_9", "full" }, `--qat: unknown storage type or mix "q4_9"`},
		"two types": {func(c *Config) { c.QAT, c.Tune, c.OutType = "q4_0", "full", "f16" },
			"--outtype is given with --qat"},
		"a coarse master": {func(c *Config) { c.QAT, c.Tune, c.Master = "q4_0", "full", "bf16" },
			"--master is bf16 with --qat"},
		"well": {func(c *Config) { c.QAT, c.Tune = "Q4_K", "full" }, ""},
	} {
		c := validConfig()
		tc.change(&c)
		err := c.Validate()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

// TestQATTypes: each matrix is rounded to the type that the mix gives it, of a quantized model too.
func TestQATTypes(t *testing.T) {
	for _, base := range []gguf.Type{gguf.F32, gguf.Q8_0} {
		m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", base)))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		c := validConfig()
		c.Tune, c.QAT = "full", "q4_0"
		sc, err := c.Session(m)
		if err != nil {
			t.Fatal(err)
		}
		set := sc.Sets[0]
		q, err := m.File().Tensor("blk.0.attn_q.weight")
		if err != nil {
			t.Fatal(err)
		}
		norm, err := m.File().Tensor("blk.0.attn_norm.weight")
		if err != nil {
			t.Fatal(err)
		}
		if !set.Rounded || set.Written(q) != gguf.Q4_0 || set.Written(norm) != gguf.F32 || *set.FileType != 2 {
			t.Errorf("%v: got %+v", base, set)
		}
	}
}
