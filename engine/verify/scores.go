package verify

import (
	"context"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
)

// Scores are numbers that a head of one row gives: those of a session, to be held against llama.cpp's state after the
// output norm times the head.
type Scores struct {
	Head []float32 // n_embd numbers
	Rows [][]int32 // sequences, each scored at its last token
	Ours []float32 // the session's score of each, without a mean taken off
}

// A ScoreReport says how llama.cpp's scores compare.
type ScoreReport struct {
	Distance
	// Size is what the scores of states as large as llama.cpp's would be for a head of random signs: the yardstick of
	// Distance. Scores themselves may all be alike.
	Size  float64 `json:"size"`
	Moved float64 `json:"moved"` // root mean squared difference of ours from llama.cpp's scores without the adapter
}

// VerifyScores opens base and adapter ("": none) with llama.cpp and compares its scores with ours. No session or Model
// may have the base mapped meanwhile.
func VerifyScores(ctx context.Context, base, adapter string, s Scores, threads int) (ScoreReport, error) {
	var r ScoreReport
	longest := 0
	for _, row := range s.Rows {
		longest = max(longest, len(row))
	}
	if len(s.Rows) == 0 || len(s.Rows) != len(s.Ours) {
		return r, fmt.Errorf("verify %s: %d scores of %d sequences, expected one of each", base, len(s.Ours),
			len(s.Rows))
	}
	m, err := OpenModel(base, llama.VerifyModelOptions())
	if err != nil {
		return r, err
	}
	defer m.Close()
	o := llama.VerifyContextOptions(max(longest, 32), threads)
	o.Gives = llama.GivesStates
	c, err := m.NewContext(o)
	if err != nil {
		return r, err
	}
	defer c.Close()
	if n := m.Info().NEmbd; len(s.Head) != n {
		return r, fmt.Errorf("verify %s: a head of %d numbers for states of %d", base, len(s.Head), n)
	}
	plain, _, err := s.score(ctx, c)
	if err != nil {
		return r, err
	}
	release, err := applied(m, c, adapter)
	if err != nil {
		return r, err
	}
	defer release()
	theirs, size, err := s.score(ctx, c)
	if err != nil {
		return r, err
	}
	r = ScoreReport{Size: size, Moved: rms(s.Ours, plain)}
	r.RMS = rms(s.Ours, theirs)
	for i, v := range theirs {
		if d := math.Abs(float64(v) - float64(s.Ours[i])); d > r.Max || math.IsNaN(d) {
			r.Max = d
		}
	}
	exact := false
	if err := checked(base, func(f *gguf.File) error {
		exact = float(f)
		return nil
	}); err != nil {
		return r, err
	}
	return r, r.judge(base, adapter, exact)
}

// score gives llama.cpp's scores, and the size of such scores.
func (s *Scores) score(ctx context.Context, c *llama.Context) (scores []float32, size float64, err error) {
	norm, squares := 0.0, 0.0
	for _, w := range s.Head {
		norm += float64(w) * float64(w)
	}
	for _, row := range s.Rows {
		err := c.EachState(ctx, row, []int{len(row) - 1}, func(_ int, state []float32) error {
			sum := 0.0
			for i, h := range state {
				sum += float64(h) * float64(s.Head[i])
				squares += float64(h) * float64(h)
			}
			scores = append(scores, float32(sum))
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return scores, math.Sqrt(norm * squares / float64(len(s.Rows)*len(s.Head))), nil
}

// scoreFloor is agreementFloorFull for scores, which are few, so that their mean is less sure: the fast mode's rounding
// made 0.023 of one model's six (1e-6 in the exact mode).
const scoreFloor = 3e-2

// judge demands scores as near as logits must be: a score is what one more row of the output head would say. Where the
// adapter moved them by more than that, llama.cpp must also be nearer to ours with it than without: a small adapter
// that it does not apply would pass the bound.
func (r ScoreReport) judge(base, adapter string, exact bool) error {
	share := textBound
	if exact {
		share = scoreFloor
	}
	bound := allowed(r.Size, share, 0)
	if !(r.RMS <= bound) {
		return fmt.Errorf("verify the scores of %s with %q: %w: states times the head (of size %.3g) differ from ours "+
			"by %.3g in the root mean square, expected at most %.3g; run ggtune check on the base, and report this "+
			"with its output", base, adapter, ErrDisagree, r.Size, r.RMS, bound)
	}
	if adapter != "" && r.Moved > bound && !(r.RMS < r.Moved/2) {
		return fmt.Errorf("verify the scores of %s with %q: %w: the adapter moved them by %.3g, and llama.cpp's are "+
			"%.3g from there; report this with the output of ggtune check on the base", base, adapter, ErrDisagree,
			r.Moved, r.RMS)
	}
	return nil
}
