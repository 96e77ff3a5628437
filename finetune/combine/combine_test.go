package combine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/combine"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/internal/atomicfile/faultfs"
)

const (
	in, out = 12, 10 // of each matrix
	tensor  = "blk.0.attn_q.weight"
	thisOne = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" // a base
)

// lora writes an adapter of two pairs and gives its path.
func lora(t *testing.T, path string, rank int64, seed int, base string) string {
	t.Helper()
	a := &adapter.Adapter{Arch: "llama", Alpha: 8, Info: origin.ForBase(base)}
	for _, name := range []string{tensor, "blk.1.ffn_up.weight"} {
		p := adapter.Pair{Tensor: name, Rank: rank, AShape: [2]int64{in, rank}, BShape: [2]int64{rank, out},
			A: make([]float32, in*rank), B: make([]float32, out*rank)}
		for i := range p.A {
			p.A[i] = float32((i*7+seed)%11-5) / 10
		}
		for i := range p.B {
			p.B[i] = float32((i*5+seed)%13-6) / 10
		}
		a.Pairs = append(a.Pairs, p)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := a.Save(t.Context(), nil, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// change is what adapters add to one matrix, each times its scale.
func change(t *testing.T, scales map[string]float64) []float64 {
	t.Helper()
	sum := make([]float64, in*out)
	for path, scale := range scales {
		a, err := adapter.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range a.Pairs {
			for i := range sum {
				for k := range p.Rank {
					if p.Tensor == tensor {
						sum[i] += scale * a.Scale(&p) * float64(p.A[k*in+int64(i%in)]) *
							float64(p.B[int64(i/in)*p.Rank+k])
					}
				}
			}
		}
	}
	return sum
}

func job(t *testing.T, name, output string, inputs ...string) combine.Job {
	t.Helper()
	o, err := combine.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	j := combine.Job{Operation: o, Output: output, Density: 0.5, Seed: 3}
	for _, path := range inputs {
		j.Inputs = append(j.Inputs, combine.Input{Path: path, Scale: 1})
	}
	if o.NeedsRank {
		j.Rank = 2
	}
	return j
}

// TestEveryOperation: whatever is registered makes of two inputs, or one, an adapter that says of what, on which base,
// and tells what it tells of it.
func TestEveryOperation(t *testing.T) {
	for _, o := range combine.Operations() {
		t.Run(o.Name, func(t *testing.T) {
			dir := t.TempDir()
			inputs := []string{lora(t, filepath.Join(dir, "one.gguf"), 3, 1, thisOne),
				lora(t, filepath.Join(dir, "two.gguf"), 2, 4, thisOne)}
			if o.Files != "" {
				spec := synth.Tiny("llama", gguf.F32)
				inputs[0] = synth.Temp(t, spec)
				spec.Seed++
				inputs[1] = synth.Temp(t, spec)
			}
			if o.Most == 1 {
				inputs = inputs[:1]
			}
			j, done := job(t, o.Name, filepath.Join(dir, "made.gguf"), inputs...), 0
			j.Progress = func(int, int) { done++ }
			r, err := combine.Run(t.Context(), j)
			if err != nil {
				t.Fatal(err)
			}
			a, err := adapter.Read(j.Output)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Pairs) != r.Pairs || r.Alpha != a.Alpha || !slices.Equal(r.Inputs, inputs) {
				t.Errorf("told %d pairs of alpha %g from %q; there are %d of %g from %q", r.Pairs, r.Alpha, r.Inputs,
					len(a.Pairs), a.Alpha, inputs)
			}
			made := &origin.Origin{Adapter: j.Output, Info: a.Info}
			if words := a.Info[origin.Made]; !strings.HasPrefix(words, o.Name+" ") || made.Base() == "" {
				t.Errorf("it says that it is made by %q, of base %q", words, made.Base())
			}
			for _, option := range o.Options {
				if words := a.Info[origin.Made]; !strings.Contains(words, " --"+option+" ") {
					t.Errorf("%q does not say its %s", words, option)
				}
			}
			if o.Name != "add" && done == 0 {
				t.Error("nobody was told of progress")
			}
			if (r.Lost > 0) != (r.Worst != nil) {
				t.Errorf("%g of the energy is lost, and of the worst tensor %+v", r.Lost, r.Worst)
			}
		})
	}
}

// TestAdd: the sum changes what its parts change, as strongly as was asked for, and is named after their runs.
func TestAdd(t *testing.T) {
	dir := t.TempDir()
	one := lora(t, filepath.Join(dir, "run", "adapter.gguf"), 3, 1, thisOne)
	two := lora(t, filepath.Join(dir, "two.gguf"), 2, 4, "")
	j := job(t, "add", filepath.Join(dir, "sum.gguf"), filepath.Dir(one), two)
	j.Inputs[1].Scale = -0.5
	r, err := combine.Run(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.Ranks, []int64{5}) || r.Lost != 0 || r.Worst != nil {
		t.Errorf("ranks %d, lost %g: want 5 and nothing", r.Ranks, r.Lost)
	}
	want, got := change(t, map[string]float64{one: 1, two: -0.5}), change(t, map[string]float64{j.Output: 1})
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-6 {
			t.Fatalf("element %d changes by %g, want %g", i, got[i], want[i])
		}
	}
	a, err := adapter.Read(j.Output)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := a.Info[origin.Made], "add run/adapter.gguf two.gguf:-0.5"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "not said on which base it was trained") {
		t.Errorf("notes %q do not say that two.gguf names no base", r.Notes)
	}
}

// TestRefuses: nothing is written of what cannot be, and what is there stays.
func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	one := lora(t, filepath.Join(dir, "one.gguf"), 3, 1, thisOne)
	other := lora(t, filepath.Join(dir, "other.gguf"), 3, 1, strings.Repeat("f", 64))
	link, nan := filepath.Join(dir, "link.gguf"), filepath.Join(dir, "nan.gguf")
	if err := os.Symlink(one, link); err != nil {
		t.Fatal(err)
	}
	a, err := adapter.Read(one)
	if err != nil {
		t.Fatal(err)
	}
	a.Pairs[0].A[3] = float32(math.NaN())
	unreadable := a.Save(t.Context(), nil, nan) // refused when written, or when read
	before, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		operation string
		inputs    []string
		change    func(*combine.Job)
		want      string
	}{
		"a rank below 0":   {"ties", []string{one, one}, func(j *combine.Job) { j.Rank = -1 }, "the rank is -1"},
		"no rank":          {"truncate", []string{one}, func(j *combine.Job) { j.Rank = 0 }, "expected 1 or more"},
		"no density":       {"dare", []string{one, one}, func(j *combine.Job) { j.Density = 0 }, "the density is 0"},
		"too much density": {"ties", []string{one, one}, func(j *combine.Job) { j.Density = 2 }, "the density is 2"},
		"no number": {"ties", []string{one, one}, func(j *combine.Job) { j.Density = math.NaN() },
			"the density is NaN"},
		"another base": {"add", []string{one, other}, nil, "other.gguf was trained on another base"},
		"nothing left": {"add", []string{one}, func(j *combine.Job) { j.Inputs[0].Scale = 0 }, "scaled by 0"},
		"an endless scale": {"add", []string{one}, func(j *combine.Job) { j.Inputs[0].Scale = math.Inf(1) },
			"one.gguf: "},
		"no adapter":    {"add", []string{filepath.Join(dir, "nowhere.gguf")}, nil, "nowhere.gguf"},
		"itself":        {"add", []string{one}, func(j *combine.Job) { j.Output = one }, "a file that is being read"},
		"itself linked": {"add", []string{one}, func(j *combine.Job) { j.Output = link }, "a file that is being read"},
		"no models":     {"extract", []string{one, one}, nil, "one.gguf"},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t, tt.operation, filepath.Join(dir, "made.gguf"), tt.inputs...)
			if tt.change != nil {
				tt.change(&j)
			}
			_, err := combine.Run(t.Context(), j)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	if unreadable == nil {
		if _, err := combine.Run(t.Context(), job(t, "add", filepath.Join(dir, "made.gguf"), nan)); err == nil {
			t.Error("an adapter with a number that is none was added")
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "made.gguf")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("made.gguf is left (%v)", err)
	}
	if after, err := os.ReadFile(one); err != nil || !bytes.Equal(after, before) {
		t.Errorf("one.gguf is another now (%v)", err)
	}
}

// TestEveryFault: whatever fails in writing, the output is as it was, or whole.
func TestEveryFault(t *testing.T) {
	dir := t.TempDir()
	one := lora(t, filepath.Join(dir, "one.gguf"), 3, 1, thisOne)
	for at := 1; ; at++ {
		j := job(t, "add", filepath.Join(dir, fmt.Sprintf("made%d.gguf", at)), one)
		j.FS = faultfs.New(nil, at, faultfs.Fail, nil)
		_, err := combine.Run(t.Context(), j)
		if err == nil {
			if at < 4 {
				t.Errorf("only %d operations could fail", at)
			}
			return
		}
		if _, err := os.Stat(j.Output); err == nil {
			if _, err := adapter.Read(j.Output); err != nil {
				t.Errorf("operation %d: half a file is left: %v", at, err)
			}
		}
	}
}

// TestStops: cancelled, it ends with the cause and leaves nothing.
func TestStops(t *testing.T) {
	stop := errors.New("stopped")
	for _, o := range combine.Operations() {
		if o.Files != "" {
			continue // as truncate, once the models are open
		}
		dir := t.TempDir()
		one := lora(t, filepath.Join(dir, "one.gguf"), 3, 1, thisOne)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(stop)
		j := job(t, o.Name, filepath.Join(dir, "made.gguf"), slices.Repeat([]string{one}, o.Least)...)
		if _, err := combine.Run(ctx, j); !errors.Is(err, stop) {
			t.Errorf("%s: got %v, want %v", o.Name, err, stop)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("%s: %d files are left (%v), want one.gguf", o.Name, len(left), err)
		}
	}
}
