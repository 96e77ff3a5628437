package rollout

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ggtune/ggtune/bindings"
)

// TestPhilox: the known answers of the generator's authors (Random123, kat_vectors).
func TestPhilox(t *testing.T) {
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, [2]uint32{0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philox(c.counter, c.key); got != c.want {
			t.Errorf("philox(%x, %x) is %x, want %x", c.counter, c.key, got, c.want)
		}
	}
}

// Every part of a token's place has numbers of its own, and they are spread evenly.
func TestUniform(t *testing.T) {
	seen := map[float64]bool{}
	for _, u := range []float64{uniform(1, 2, 3, 4, 5), uniform(0, 2, 3, 4, 5), uniform(1<<32|1, 2, 3, 4, 5),
		uniform(1, 0, 3, 4, 5), uniform(1, 2, 0, 4, 5), uniform(1, 2, 3, 0, 5), uniform(1, 2, 3, 4, 0),
		uniform(1, 3, 2, 4, 5), uniform(1, 2, 4, 3, 5), uniform(1, 2, 3, 5, 4)} {
		if seen[u] || !(u >= 0 && u < 1) {
			t.Errorf("%g is of two places, or out of range", u)
		}
		seen[u] = true
	}
	const n = 10000
	var bins [10]int
	for i := range uint32(n) {
		bins[int(10*uniform(7, 0, i%10, i/10%10, i/100))]++
	}
	for b, k := range bins { // 1000 each, standard deviation 30
		if math.Abs(float64(k)-n/10) > 150 {
			t.Errorf("%d of %d numbers are in tenth %d", k, n, b)
		}
	}
}

// Tokens are as frequent as their probabilities, and each says its own, for vocabularies below, at and above a piece.
func TestDrawFrequencies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 7, piece, 2*piece + 5} {
		for _, temp := range []float64{0.5, 1, 2} {
			logits, p, total := make([]float32, n), make([]float64, n), 0.0
			for i := range logits {
				logits[i] = float32(3 * rng.NormFloat64())
				p[i] = math.Exp(float64(logits[i]) / temp)
				total += p[i]
			}
			var d drawer
			const draws = 4000
			counts, first := make([]float64, n), 0.0 // first: of the first half of the vocabulary
			for range draws {
				got, err := d.draw(logits, temp, rng.Float64())
				if err != nil {
					t.Fatal(err)
				}
				if want := math.Log(p[got.token] / total); math.Abs(got.logp-want) > 1e-9 {
					t.Fatalf("token %d has log p %g, want %g", got.token, got.logp, want)
				}
				counts[got.token]++
			}
			wantFirst := 0.0
			for i, k := range counts {
				want := draws * p[i] / total
				if math.Abs(k-want) > 6*math.Sqrt(want)+6 {
					t.Errorf("%d tokens at %g: token %d was drawn %g times of %d, want %.1f", n, temp, i, k, draws,
						want)
				}
				if i < n/2 {
					first, wantFirst = first+k, wantFirst+want
				}
			}
			if math.Abs(first-wantFirst) > 6*math.Sqrt(draws/4) {
				t.Errorf("%d tokens at %g: the first half was drawn %g times, want %.1f", n, temp, first, wantFirst)
			}
		}
	}
}

func TestDrawEnds(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	below := math.Nextafter(1, 0)
	var d drawer
	for _, c := range []struct {
		name    string
		logits  []float32
		temp, u float64
		want    int32
	}{
		{"the most likely", []float32{1, 3, 2}, 0, 0.99, 1},
		{"the first of equals", []float32{1, 3, 3}, 0, 0.99, 1},
		{"the beginning", []float32{1, 1, 1}, 1, 0, 0},
		{"the end", []float32{1, 1, 1}, 1, below, 2},
		{"never what has no probability", []float32{-inf, 1, -inf}, 1, 0, 1},
		{"nor at the end", []float32{-inf, 1, -inf}, 1, below, 1},
		{"large numbers", []float32{3e38, -3e38, 0}, 1, below, 0},
		{"nearly 0", []float32{1, 3, 2}, 1e-300, 0.5, 1},
	} {
		if got, err := d.draw(c.logits, c.temp, c.u); err != nil || got.token != c.want {
			t.Errorf("%s: got %v, %v, want token %d", c.name, got, err, c.want)
		}
	}
	for _, logits := range [][]float32{{1, nan}, {nan}, {inf, 1}, {-inf, -inf}, {}} {
		for _, temp := range []float64{0, 1} {
			if got, err := d.draw(logits, temp, 0.5); !errors.Is(err, bindings.ErrNotFinite) {
				t.Errorf("%v: got %v, %v, want ErrNotFinite", logits, got, err)
			}
		}
	}
}

// TestExp: as exact as it says, on all of its range.
func TestExp(t *testing.T) {
	worst := 0.0
	for x := 0.0; x > -708; x -= 0.00917 {
		want := math.Exp(x)
		worst = max(worst, math.Abs(exp(x)-want)/want)
	}
	if !(worst <= 1e-13) {
		t.Errorf("a relative error of %g", worst)
	}
	if exp(0) != 1 || exp(-708) != 0 || exp(math.Inf(-1)) != 0 || exp(-1e300) != 0 {
		t.Errorf("at the ends: %g, %g, %g, %g", exp(0), exp(-708), exp(math.Inf(-1)), exp(-1e300))
	}
}

func BenchmarkDraw(b *testing.B) {
	logits := make([]float32, 49152)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range logits {
		logits[i] = float32(rng.NormFloat64() * 4)
	}
	var d drawer
	for i := range b.N {
		if _, err := d.draw(logits, 1, float64(i%97)/97); err != nil {
			b.Fatal(err)
		}
	}
}
