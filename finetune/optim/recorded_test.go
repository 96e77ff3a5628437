package optim

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/internal/setting"
)

// A recording is what other implementations did: scripts/record_optim.py.
type recording struct {
	Steps, Entries int
	Tables         [2][]float64
	Cases          []struct {
		Optimizer string
		LR        float64
		Settings  setting.Values
		Scale     string // of Muon's steps
		Tensors   []struct {
			Name  string
			Shape []int64
		}
		After map[string]map[string][]float64
	}
}

func readRecording(t *testing.T) (rec recording) {
	t.Helper()
	raw, err := os.ReadFile("testdata/recorded.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &rec); err != nil {
		t.Fatal(err)
	}
	return rec
}

// TestOptimizersEqualOthers follows recorded trajectories of every optimizer but AdamW, which has its own.
func TestOptimizersEqualOthers(t *testing.T) {
	// They computed in float64; our parameters and moments are float32.
	const tol = 1e-6
	rec, met := readRecording(t), []string{AdamW.Name}
	for _, c := range rec.Cases {
		t.Run(strings.TrimSpace(c.Optimizer+" "+c.Scale), func(t *testing.T) {
			met = append(met, c.Optimizer)
			o, err := Get(c.Optimizer)
			if err != nil {
				t.Fatal(err)
			}
			b := newBackend(t, 2)
			var params params
			for _, x := range c.Tensors {
				n := int64(1)
				for _, d := range x.Shape {
					n *= d
				}
				p := newParam(t, b, x.Name, "", int(n))
				p.Shape, p.Decay = x.Shape, len(x.Shape) > 1
				for i := range p.value {
					p.value[i] = value(c.Optimizer+"."+x.Name, i, 0)
				}
				params = append(params, p)
			}
			a := mustStartOf(t, o, params, c.Settings, Options{MuonScale: c.Scale})
			worst, compared := 0.0, 0
			for step := 1; step <= rec.Steps; step++ {
				for _, p := range params {
					name := c.Optimizer + "." + p.Name + "." + strconv.Itoa(step)
					for i := range p.grad { // half of the scale lies in Update's factor, which must be the same
						p.grad[i] = 2 * value(name, i, step%4)
					}
				}
				mustUpdate(t, a, c.LR, 0.5)
				for _, p := range params {
					every := max(1, len(p.value)/rec.Entries)
					for i, w := range c.After[strconv.Itoa(step)][p.Name] {
						compared++
						worst = max(worst, math.Abs(float64(p.value[i*every])-w))
					}
				}
			}
			t.Logf("largest difference %.2g over %d numbers", worst, compared)
			if worst > tol || compared == 0 {
				t.Errorf("largest difference %g over %d numbers, want at most %g", worst, compared, tol)
			}
		})
	}
	for _, o := range All() {
		if !slices.Contains(met, o.Name) {
			t.Errorf("%s is held to no recording", o.Name)
		}
	}
}

// TestCodeTables: they are bitsandbytes' own.
func TestCodeTables(t *testing.T) {
	for i, want := range readRecording(t).Tables {
		got := codeTable(i == 0)
		for k := range got {
			if len(want) != len(got) || math.Abs(float64(got[k])-want[k]) > 2e-7*math.Abs(want[k]) {
				t.Fatalf("table %d: number %d of %d is %g, want %g", i, k, len(got), got[k], want[k])
			}
		}
	}
}

// TestAdamW8KeepsState: moments in blocks, and those of small parameters, are all that the next update depends on, and
// take a quarter of AdamW's memory.
func TestAdamW8KeepsState(t *testing.T) {
	b := newBackend(t, 2)
	make8 := func() (params, *Running) {
		p := params{newParam(t, b, "large", "", 3*4096+77), newParam(t, b, "small", "", 9)}
		for _, x := range p {
			for i := range x.value {
				x.value[i], x.grad[i] = value(x.Name, i, 0), value(x.Name+".grad", i, 2)
			}
		}
		return p, mustStartOf(t, AdamW8, p, nil, Options{})
	}
	one, a := make8()
	mustUpdate(t, a, 0.01, 1)
	mustUpdate(t, a, 0.01, 1)
	two, other := make8()
	size, to := int64(0), other.State()
	for i, s := range a.State() {
		piece := make([]byte, s.N*int64(s.Type.BlockBytes()))
		size += int64(len(piece))
		if err := s.Memory.Read(piece, 0); err != nil {
			t.Fatal(err)
		}
		if err := to[i].Memory.Write(piece, 0); err != nil {
			t.Fatal(err)
		}
	}
	if want := AdamW8.StateBytes(one.list()); size != want || 3*size > AdamW.StateBytes(one.list()) {
		t.Errorf("the state is %d bytes, planned are %d, AdamW's is %d", size, want, AdamW.StateBytes(one.list()))
	}
	other.SetUpdates(2)
	for k := range one {
		copy(two[k].value, one[k].value)
	}
	mustUpdate(t, a, 0.01, 1)
	mustUpdate(t, other, 0.01, 1)
	for k := range one {
		if !slices.Equal(one[k].value, two[k].value) {
			t.Errorf("%s: restored, it goes on otherwise", one[k].Name)
		}
	}
}
