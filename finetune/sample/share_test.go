package sample

import "testing"

// TestRoom: however long answers take, and whenever they are asked for, they stay within their share; and where they
// are cheap enough none is left out.
func TestRoom(t *testing.T) {
	for _, tc := range []struct {
		share, cost, step float64 // seconds of an answer, of a step
		want              int     // answers of 100 steps with one asked for after each
	}{
		{0.05, 1, 1, 5}, {0.05, 0.05, 1, 100}, {0.05, 10, 1, 0}, {0.05, 5.3, 1, 0}, {0.05, 5.2, 1, 1}, {0.5, 1, 1, 100},
		{0.5, 2, 1, 50}, {1, 1000, 1, 100},
	} {
		spent, n := 0.0, 0
		for step := 1; step <= 100; step++ {
			trained := float64(step) * tc.step
			if tc.cost <= Room(tc.share, spent, trained) {
				spent += tc.cost
				n++
			}
			if all := trained + spent; tc.share < 1 && spent > tc.share*all*(1+1e-9) {
				t.Fatalf("%+v: after step %d %g of %g seconds went into answers", tc, step, spent, all)
			}
		}
		if n != tc.want {
			t.Errorf("%+v: got %d answers", tc, n)
		}
	}
}
