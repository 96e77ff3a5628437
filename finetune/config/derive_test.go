package config

import (
	"testing"

	"github.com/ggtune/ggtune/engine"
)

// TestOptimizerBytes: what an optimizer keeps, averages beside it, and what an update of Muon takes meanwhile.
func TestOptimizerBytes(t *testing.T) {
	params := []*engine.Param{{Name: "matrix", Group: "full", Shape: []int64{30, 50}}, {Name: "norm", Group: "full",
		Shape: []int64{10}}, {Name: "embedding", Group: "embed", Shape: []int64{30, 7}}}
	const matrix, rest = 30 * 50, 10 + 30*7
	for _, tc := range []struct {
		optimizer  string
		ema        float64
		kept, work int64
	}{
		{"adamw", 0, 8 * (matrix + rest), 0},
		{"adamw", 0.9, 12 * (matrix + rest), 0},
		{"muon", 0, 4*matrix + 8*rest, 4 * 2 * (matrix + 30*30)},
		{"muon", 0.9, 8*matrix + 12*rest, 4 * 2 * (matrix + 30*30)},
	} {
		c := Default()
		c.Optim, c.EMA = tc.optimizer, tc.ema
		if kept, work := c.OptimizerBytes(params); kept != tc.kept || work != tc.work {
			t.Errorf("%s, --ema %g: keeps %d and takes %d, want %d and %d", tc.optimizer, tc.ema, kept, work, tc.kept,
				tc.work)
		}
	}
}
