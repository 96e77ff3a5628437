package verify

import (
	"context"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
)

// Vectors are what a session makes of texts, for llama.cpp to make the same.
type Vectors struct {
	Pooling arch.Pooling
	Texts   [][]int32
	Ours    [][]float32 // of each text, of any length
}

// A VectorReport says how llama.cpp's vectors compare, all at length 1.
type VectorReport struct {
	RMS   float64 `json:"rms"`   // root mean squared distance of ours from llama.cpp's
	Far   float64 `json:"far"`   // the largest
	Moved float64 `json:"moved"` // root mean squared distance of ours from llama.cpp's without the adapter
}

// VerifyVectors opens a model, and an adapter ("": none), with llama.cpp and compares its vectors with ours. No session
// or Model may have the file mapped meanwhile.
func VerifyVectors(ctx context.Context, path, adapter string, v Vectors, threads int) (r VectorReport, err error) {
	if len(v.Texts) == 0 || len(v.Texts) != len(v.Ours) {
		return r, fmt.Errorf("verify %s: %d vectors of %d texts, expected one of each", path, len(v.Ours), len(v.Texts))
	}
	m, err := OpenModel(path, llama.VerifyModelOptions())
	if err != nil {
		return r, err
	}
	defer m.Close()
	o := givesOf(llama.GivesPooled, v.Texts, threads)
	o.Pooling = int(v.Pooling)
	c, err := m.NewContext(o)
	if err != nil {
		return r, err
	}
	defer c.Close()
	if r.Moved, _, err = v.distance(ctx, c); err != nil {
		return r, err
	}
	release, err := applied(m, c, adapter)
	if err != nil {
		return r, err
	}
	defer release()
	if r.RMS, r.Far, err = v.distance(ctx, c); err != nil {
		return r, err
	}
	exact := false
	if err := checked(path, func(f *gguf.File) error {
		exact = float(f)
		return nil
	}); err != nil {
		return r, err
	}
	return r, r.judge(path, adapter, exact)
}

// distance is the root mean squared distance of ours from what the context makes, and the largest.
func (v *Vectors) distance(ctx context.Context, c *llama.Context) (rms, far float64, err error) {
	for i, text := range v.Texts {
		theirs, err := c.Pooled(ctx, text)
		if err != nil {
			return 0, 0, err
		}
		d := apart(v.Ours[i], theirs)
		rms, far = rms+d*d, max(far, d)
	}
	return math.Sqrt(rms / float64(len(v.Texts))), far, nil
}

// apart is the distance of two vectors at length 1.
func apart(a, b []float32) float64 {
	var x, y, d float64
	for i := range a {
		x += float64(a[i]) * float64(a[i])
		y += float64(b[i]) * float64(b[i])
	}
	for i := range a {
		e := float64(a[i])/math.Sqrt(x) - float64(b[i])/math.Sqrt(y)
		d += e * e
	}
	return math.Sqrt(d)
}

// judge demands vectors as near as logits must be, in shares of their length; and where the adapter moved them by more
// than that, nearer to ours with it than without.
func (r VectorReport) judge(path, adapter string, exact bool) error {
	bound := textBound
	if exact {
		bound = scoreFloor
	}
	if !(r.RMS <= bound) {
		return fmt.Errorf("verify the vectors of %s with %q: %w: at length 1 they are %.3g from ours in the root mean "+
			"square, expected at most %.3g; run ggtune check on the base, and report this with its output", path,
			adapter, ErrDisagree, r.RMS, bound)
	}
	if adapter != "" && r.Moved > bound && !(r.RMS < r.Moved/2) {
		return fmt.Errorf("verify the vectors of %s with %q: %w: the adapter moved them by %.3g, and llama.cpp's are "+
			"%.3g from there; report this with the output of ggtune check on the base", path, adapter, ErrDisagree,
			r.Moved, r.RMS)
	}
	return nil
}
