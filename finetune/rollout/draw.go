package rollout

import (
	"fmt"
	"math"

	"github.com/ggtune/ggtune/bindings"
)

// A drawn token has the log-probability, in nats, of the distribution that it was drawn from.
type drawn struct {
	token int32
	logp  float64
}

// piece is how many logits are summed up together, so that a token is found without going over all of them again.
const piece = 1024

// drawer draws tokens. It keeps sums from one call to the next and is used by one goroutine at a time.
type drawer struct{ sums []float64 }

// draw draws a token from softmax(logits / temp), nothing of which is cut off: the one at which the cumulated
// probability passes u, 0 to below 1. temp 0 is the limit: the most likely token, with certainty.
func (d *drawer) draw(logits []float32, temp, u float64) (drawn, error) {
	top, largest := -1, float32(math.Inf(-1))
	for i, x := range logits {
		if !(x < float32(math.Inf(1))) { // NaN as well
			return drawn{}, fmt.Errorf("logit %d is %g: %w", i, x, bindings.ErrNotFinite)
		}
		if x > largest {
			top, largest = i, x
		}
	}
	if top < 0 {
		return drawn{}, fmt.Errorf("all logits are %g: %w", largest, bindings.ErrNotFinite)
	}
	if temp == 0 {
		return drawn{token: int32(top)}, nil
	}
	w := weighing{float64(largest), temp}
	d.sums = d.sums[:0]
	total := 0.0
	for from := 0; from < len(logits); from += piece {
		sum := 0.0
		for _, x := range logits[from:min(from+piece, len(logits))] {
			sum += w.of(x)
		}
		d.sums = append(d.sums, sum)
		total += sum
	}
	at := d.find(logits, u*total, w)
	if at < 0 { // u*total was rounded up to all there is
		at = top
	}
	return drawn{int32(at), (float64(logits[at])-float64(largest))/temp - math.Log(total)}, nil
}

// weighing gives logits their weights: a token's is 1 where its logit is the largest.
type weighing struct{ largest, temp float64 }

func (w weighing) of(logit float32) float64 { return exp((float64(logit) - w.largest) / w.temp) }

// find gives the token at which the cumulated weight passes want, or -1.
func (d *drawer) find(logits []float32, want float64, w weighing) int {
	for p, sum := range d.sums {
		if want >= sum {
			want -= sum
			continue
		}
		for i, x := range logits[p*piece : min((p+1)*piece, len(logits))] {
			if want -= w.of(x); want < 0 {
				return p*piece + i
			}
		}
		return -1 // rounding: the piece's sum is the sum of these
	}
	return -1
}
