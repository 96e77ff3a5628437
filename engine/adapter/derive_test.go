package adapter

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestDeriveAgainstPEFT: each start from a weight is PEFT's.
func TestDeriveAgainstPEFT(t *testing.T) {
	text, err := os.ReadFile("testdata/peft_init.json")
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		In, Out, Rank   int64
		Alpha           float64
		Weight, Rounded []float64
		Starts          map[string]struct {
			Product []float64
			A, B    []float32
		}
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	for _, init := range Derived() {
		p := Pair{Tensor: "attn_q", Rank: r.Rank, AShape: [2]int64{r.In, r.Rank}, BShape: [2]int64{r.Rank, r.Out},
			A: make([]float32, r.In*r.Rank), B: make([]float32, r.Rank*r.Out)}
		a := &Adapter{Alpha: r.Alpha, Pairs: []Pair{p}}
		lost, err := a.Derive(context.Background(), init, func(string) ([]float64, error) {
			w := append([]float64(nil), r.Weight...)
			for i := range w {
				if init == LoftQ {
					w[i] -= r.Rounded[i]
				}
			}
			return w, nil
		}, nobody)
		if err != nil {
			t.Fatalf("%s: %v", init, err)
		}
		want, ok := r.Starts[init]
		if !ok {
			t.Fatalf("%s is not recorded", init)
		}
		energy, away := 0.0, 0.0
		for i, x := range change(a)["attn_q"] {
			if math.Abs(x-want.Product[i]) > peftNoise {
				t.Errorf("%s: the start adds %.7f at %d, PEFT's %.7f", init, x, i, want.Product[i])
				break
			}
			w := r.Weight[i]
			if init == LoftQ {
				w -= r.Rounded[i]
			}
			energy, away = energy+w*w, away+(w-x)*(w-x)
		}
		if init != OLoRA && math.Abs(lost.Energy-away/energy) > 1e-5 {
			t.Errorf("%s: said to leave out %g, and leaves out %g", init, lost.Energy, away/energy)
		}
		for half, pair := range map[string][2][]float32{"A": {a.Pairs[0].A, want.A}, "B": {a.Pairs[0].B, want.B}} {
			for i, x := range pair[1] {
				if math.Abs(float64(pair[0][i]-x)) > peftNoise {
					t.Errorf("%s: %s[%d] is %.7f, PEFT's %.7f", init, half, i, pair[0][i], x)
					break
				}
			}
		}
		if back, err := Add(Scaled{a, 1}, Scaled{a.Opposite(), 1}); err != nil {
			t.Error(err)
		} else {
			for i, x := range change(back)["attn_q"] {
				if math.Abs(x) > 1e-12 {
					t.Errorf("%s: with its opposite it adds %g at %d, want 0", init, x, i)
					break
				}
			}
		}
	}
}
