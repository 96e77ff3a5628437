package lowrank

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
)

// TestBytes: no more is taken than is said, and not far less. What is counted is all that is ever taken, of which a
// part may be given back meanwhile.
func TestBytes(t *testing.T) {
	for _, s := range []struct{ rows, columns, rank int }{{64, 48, 4}, {48, 200, 8}, {300, 700, 16}, {700, 300, 16},
		{320, 300, 140}} {
		w := make([]float64, s.rows*s.columns)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range w { // a few directions above noise, so that they are found in few iterations
			w[i] = float64(i%s.columns%4)*float64(i/s.columns%3) + 0.01*r.NormFloat64()
		}
		measure := func(name string, said int64, do func()) {
			t.Helper()
			took := int64(math.MaxInt64)
			// A collection of garbage empties gonum's pools, and what was in them is taken again.
			for tries := 5; took > said && tries > 0; tries-- {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				do()
				runtime.ReadMemStats(&after)
				took = min(took, int64(after.TotalAlloc-before.TotalAlloc))
			}
			if took > said || said > 4*took {
				t.Errorf("%s of %v takes %d bytes in all, and %d are said", name, s, took, said)
			}
		}
		measure("QR", QRBytes(s.rows, s.columns, s.rank), func() { QR(w, s.rows, s.columns, s.rank) })
		measure("OfMatrix", Bytes(s.rows, s.columns, s.rank), func() {
			if _, err := OfMatrix(w, s.rows, s.columns, s.rank); err != nil {
				t.Error(fmt.Errorf("%v: %w", s, err))
			}
		})
	}
}
