package optim

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/cpu"
	"github.com/ggtune/ggtune/internal/setting"
)

// value is the formula of scripts/record_torch.py: number i of a tensor, exact in float32, within ±2^-shift.
func value(name string, i, shift int) float32 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	z := h + uint64(i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float32((float64(z>>48) - 32768) / 32768 * math.Pow(2, -float64(shift)))
}

// TestAdamWEqualsTorch follows recorded trajectories of torch.optim.AdamW over 100 steps.
func TestAdamWEqualsTorch(t *testing.T) {
	// torch computed in float64; our moments and parameters are float32, whose rounding over 100 steps was measured at
	// 3e-7 of numbers of about 1.
	const tol = 1e-6
	raw, err := os.ReadFile("testdata/adamw.json")
	if err != nil {
		t.Fatal(err)
	}
	var rec struct {
		Steps int
		Cases []struct {
			Name                  string
			LR, Beta1, Beta2, Eps float64
			Tensors               []struct {
				Name        string
				N           int
				Shift       int
				GradShift   int     `json:"grad_shift"`
				WeightDecay float64 `json:"weight_decay"`
			}
			After map[string]map[string][]float64
		}
	}
	if err := json.Unmarshal(raw, &rec); err != nil {
		t.Fatal(err)
	}
	if len(rec.Cases) == 0 {
		t.Fatal("the recording has no case")
	}
	for _, c := range rec.Cases {
		t.Run(c.Name, func(t *testing.T) {
			given := setting.Values{"beta1": c.Beta1, "beta2": c.Beta2, "eps": c.Eps, "weight-decay": 0}
			b := newBackend(t, 1)
			var params params
			for _, x := range c.Tensors {
				p := newParam(t, b, x.Name, "", x.N)
				p.Decay = x.WeightDecay > 0
				for i := range p.value {
					p.value[i] = value(c.Name+"."+x.Name, i, x.Shift)
				}
				given["weight-decay"] = max(given["weight-decay"], x.WeightDecay)
				params = append(params, p)
			}
			a := mustStart(t, params, given, Options{})
			worst, compared := 0.0, 0
			for step := range rec.Steps {
				for k, x := range c.Tensors {
					for i := range x.N {
						// Half of the scale lies in the gradient and half in Update's factor, which must be the same.
						params[k].grad[i] = 2 * value(c.Name+"."+x.Name+".grad", step*x.N+i, x.GradShift)
					}
				}
				mustUpdate(t, a, c.LR, 0.5)
				for name, want := range c.After[strconv.Itoa(step+1)] {
					for _, p := range params {
						if p.Name != name {
							continue
						}
						for i, w := range want {
							compared++
							worst = max(worst, math.Abs(float64(p.value[i])-w))
						}
					}
				}
			}
			t.Logf("largest difference %.2g over %d numbers", worst, compared)
			if worst > tol || compared == 0 {
				t.Errorf("largest difference %g over %d numbers, want at most %g", worst, compared, tol)
			}
		})
	}
}

// A param is one with its numbers and gradients where they lie.
type param struct {
	*engine.Param
	value, grad []float32
}

type params []param

func (p params) list() []*engine.Param {
	var out []*engine.Param
	for _, x := range p {
		out = append(out, x.Param)
	}
	return out
}

func newBackend(t *testing.T, threads int) backend.Backend {
	t.Helper()
	b, err := cpu.New(threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func newParam(t *testing.T, b backend.Backend, name, group string, n int) param {
	t.Helper()
	p := param{Param: &engine.Param{Name: name, Group: group, Shape: []int64{int64(n)}}}
	for f, host := range map[*backend.Floats]*[]float32{&p.Value: &p.value, &p.Grad: &p.grad} {
		var err error
		if *f, err = backend.NewFloats(b, int64(n)); err != nil {
			t.Fatal(err)
		}
		if *host, err = f.Host(); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func bigParams(t *testing.T, b backend.Backend, n int) params {
	t.Helper()
	var out params
	for k, name := range []string{"a", "b"} {
		p := newParam(t, b, name, "lora_"+name, n+k)
		p.Decay = true
		for i := range p.value {
			p.value[i], p.grad[i] = value(name, i, 0), value(name+"g", i, 3)
		}
		out = append(out, p)
	}
	for _, shape := range [][]int64{{13, 7}, {6, 40}} { // matrices, of both orientations
		p := newParam(t, b, fmt.Sprint("matrix ", shape), "full", int(shape[0]*shape[1]))
		p.Shape, p.Decay = shape, true
		for i := range p.value {
			p.value[i], p.grad[i] = value(p.Name, i, 0), value(p.Name+"g", i, 3)
		}
		out = append(out, p)
	}
	return out
}

// TestThreadsDoNotMatter wants equal bits from one and three threads, over chunk borders.
func TestThreadsDoNotMatter(t *testing.T) {
	eachOptimizer(t, threadsDoNotMatter)
}

func threadsDoNotMatter(t *testing.T, o *Optimizer) {
	run := func(threads int) (float64, params) {
		params := bigParams(t, newBackend(t, threads), 2*chunk+7)
		a := mustStartOf(t, o, params, setting.Values{"beta2": 0.99, "weight-decay": 0.1}, Options{LoRAPlus: 4})
		norm, err := a.GradNorm()
		if err != nil {
			t.Fatal(err)
		}
		mustUpdate(t, a, 0.01, ClipScale(norm, 1))
		return norm, params
	}
	n1, p1 := run(1)
	n3, p3 := run(3)
	if n1 != n3 {
		t.Errorf("norm: %v with 1 thread, %v with 3", n1, n3)
	}
	for k := range p1 {
		for i := range p1[k].value {
			if p1[k].value[i] != p3[k].value[i] {
				t.Fatalf("%s[%d]: %v with 1 thread, %v with 3", p1[k].Name, i, p1[k].value[i], p3[k].value[i])
			}
		}
	}
}

// TestLoRAPlus: Adam's first step is the learning rate itself, whatever the gradient, so the ratio can be read off.
func TestLoRAPlus(t *testing.T) {
	b := newBackend(t, 1)
	params := params{newParam(t, b, "a", "lora_a", 1), newParam(t, b, "b", "lora_b", 1)}
	params[0].value[0], params[0].grad[0] = 1, 3
	params[1].value[0], params[1].grad[0] = 1, -5
	a := mustStart(t, params, setting.Values{"eps": 1e-12}, Options{LoRAPlus: 16})
	mustUpdate(t, a, 0.01, 1)
	if got := params[0].value[0]; math.Abs(float64(got)-0.99) > 1e-6 {
		t.Errorf("lora_a: got %v, want 0.99", got)
	}
	if got := params[1].value[0]; math.Abs(float64(got)-1.16) > 1e-6 {
		t.Errorf("lora_b: got %v, want 1.16", got)
	}
}

func eachOptimizer(t *testing.T, test func(t *testing.T, o *Optimizer)) {
	for _, o := range optimizers.All() {
		t.Run(o.Name, func(t *testing.T) { test(t, o) })
	}
}

func mustStart(t *testing.T, p params, given setting.Values, o Options) *Running {
	t.Helper()
	return mustStartOf(t, AdamW, p, given, o)
}

func mustStartOf(t *testing.T, how *Optimizer, p params, given setting.Values, o Options) *Running {
	t.Helper()
	a, err := how.Start(p.list(), given, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func mustUpdate(t *testing.T, a *Running, lr, scale float64) {
	t.Helper()
	if err := a.Update(lr, scale); err != nil {
		t.Fatal(err)
	}
}

// TestUpdateNotFinite: a rate that takes a parameter beyond F32 is told, with the parameter's name.
func TestUpdateNotFinite(t *testing.T) {
	eachOptimizer(t, updateNotFinite)
}

func updateNotFinite(t *testing.T, o *Optimizer) {
	for _, threads := range []int{1, 3} {
		params := bigParams(t, newBackend(t, threads), 2*chunk+7)
		last := params[len(params)-1]
		last.value[len(last.value)-1] = float32(math.Inf(1))
		a := mustStartOf(t, o, params, nil, Options{})
		if err := a.Update(0.01, 1); !errors.Is(err, ErrParams) ||
			!strings.Contains(err.Error(), strconv.Quote(last.Name)) {
			t.Errorf("%d threads: got %v, want an error that names %q", threads, err, last.Name)
		}
		err := a.Update(1e39, 1)
		if !errors.Is(err, ErrParams) || !slices.ContainsFunc(params, func(p param) bool {
			return strings.Contains(err.Error(), strconv.Quote(p.Name)) &&
				slices.ContainsFunc(p.value, func(x float32) bool { return x-x != 0 })
		}) {
			t.Errorf("%d threads, rate 1e39: got %v, want an error that names one that it spoiled", threads, err)
		}
	}
}

// TestClosed: a closed optimizer does nothing, and says so.
func TestClosed(t *testing.T) {
	eachOptimizer(t, closed)
}

func closed(t *testing.T, o *Optimizer) {
	a := mustStartOf(t, o, params{newParam(t, newBackend(t, 1), "a", "", 2)}, nil, Options{})
	a.Close()
	if err := a.Update(0.01, 1); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("update: got %v, want that it is closed", err)
	}
	if norm, err := a.GradNorm(); !errors.Is(err, engine.ErrClosed) || norm != 0 {
		t.Errorf("norm: got %g, %v; want that it is closed", norm, err)
	}
}

func TestGradNorm(t *testing.T) {
	b := newBackend(t, 1)
	params := params{newParam(t, b, "a", "", 2), newParam(t, b, "b", "", 1)}
	params[0].grad[0], params[1].grad[0] = 3, 4
	a := mustStart(t, params, nil, Options{})
	if norm, err := a.GradNorm(); err != nil || norm != 5 {
		t.Errorf("got %v, %v; want 5", norm, err)
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
		params[1].grad[0] = bad
		if _, err := a.GradNorm(); err == nil || !strings.Contains(err.Error(), `"b"`) {
			t.Errorf("with %v: error %v, want one that names \"b\"", bad, err)
		}
	}
	for _, tc := range []struct{ norm, limit, want float64 }{{5, 1, 0.2}, {0.5, 1, 1}, {5, 0, 1}, {0, 1, 1}} {
		if got := ClipScale(tc.norm, tc.limit); got != tc.want {
			t.Errorf("ClipScale(%v, %v): got %v, want %v", tc.norm, tc.limit, got, tc.want)
		}
	}
}

// TestConformance: every optimizer's settings are complete and read, its state has the size that is planned for, and
// one that is given another's state goes on as the other would.
func TestConformance(t *testing.T) {
	if err := errors.Join(Readers().Check(), ScheduleReaders().Check()); err != nil {
		t.Error(err)
	}
	for _, o := range optimizers.All() {
		t.Run(o.Name, func(t *testing.T) {
			if o.Doc == "" || o.StateBytes == nil || o.Rate == 0 {
				t.Fatalf("incomplete: %+v", o)
			}
			start := func(given setting.Values) (*Running, params) {
				params := bigParams(t, newBackend(t, 1), 10)
				a, err := o.Start(params.list(), given, Options{})
				if err != nil {
					t.Fatal(err)
				}
				return a, params
			}
			// Gradients change, and shrink, from update to update, so that what is remembered shows.
			update := func(a *Running, p params, k int) {
				t.Helper()
				for _, x := range p {
					for i := range x.grad {
						x.grad[i] = value(x.Name+"g", i+100*k, 4*k)
					}
				}
				mustUpdate(t, a, 0.1, 1)
			}
			a, one := start(nil)
			update(a, one, 1)
			update(a, one, 2)
			b, two := start(nil)
			var size int64
			to := b.State()
			for i, s := range a.State() {
				if to[i].Name != s.Name {
					t.Fatalf("state %d is %q in one and %q in the other", i, s.Name, to[i].Name)
				}
				piece := make([]byte, s.N/int64(s.Type.BlockSize())*int64(s.Type.BlockBytes()))
				size += int64(len(piece))
				if err := errors.Join(s.Memory.Read(piece, 0), to[i].Memory.Write(piece, 0)); err != nil {
					t.Fatal(err)
				}
			}
			if want := o.StateBytes(one.list()); size != want {
				t.Errorf("the state is %d bytes, and planned are %d", size, want)
			}
			for k := range one {
				copy(two[k].value, one[k].value)
			}
			b.SetUpdates(2)
			update(a, one, 3)
			update(b, two, 3)
			for k := range one {
				if !slices.Equal(one[k].value, two[k].value) {
					t.Fatalf("%s: %v, restored %v", one[k].Name, one[k].value, two[k].value)
				}
			}
			for _, u := range o.Reads {
				another := u.Default + 1
				if !u.Setting.Range.Holds(another) {
					another = u.Default / 2
				}
				c, three := start(setting.Values{u.Setting.Name: another})
				for k := range 3 {
					update(c, three, k+1)
				}
				if slices.EqualFunc(one, three, func(a, b param) bool { return slices.Equal(a.value, b.value) }) {
					t.Errorf("another --%s changes nothing", u.Setting.Name)
				}
			}
		})
	}
}

func TestStartRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		given setting.Values
		opts  Options
	}{
		"beta 1":    {given: setting.Values{"beta1": 1}},
		"beta NaN":  {given: setting.Values{"beta2": math.NaN()}},
		"eps 0":     {given: setting.Values{"eps": 0}},
		"decay":     {given: setting.Values{"weight-decay": -1}},
		"lora plus": {opts: Options{LoRAPlus: -1}},
	} {
		if _, err := AdamW.Start(nil, tc.given, tc.opts); err == nil || !strings.HasPrefix(err.Error(), "adamw: ") {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	if _, err := Get("adam"); err == nil {
		t.Error("an unknown optimizer is accepted")
	}
}

// TestClose: an optimizer gives back what it takes of a backend, and may be closed again.
func TestClose(t *testing.T) {
	eachOptimizer(t, closes)
}

func closes(t *testing.T, o *Optimizer) {
	b := newBackend(t, 1)
	params := bigParams(t, b, 10)
	before := b.Bytes()
	a := mustStartOf(t, o, params, nil, Options{})
	if now := b.Bytes(); now < before+o.StateBytes(params.list()) {
		t.Errorf("%d bytes more, the state alone is %d", now-before, o.StateBytes(params.list()))
	}
	for range 2 {
		a.Close()
	}
	if now := b.Bytes(); now != before {
		t.Errorf("%d bytes are left", now-before)
	}
}
