package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
)

// VerifyMerged opens a merged model with ours and with llama.cpp, one after the other, and compares what they say. The
// probe is of the base with the adapters beside it, in exact mode. What merging cost the
// predictions is measured elsewhere. Where nothing was quantized, and own says that it is the base's weights that the
// adapters were added to, they must compute what base and adapters do.
func (p *Probe) VerifyMerged(ctx context.Context, base, merged string, own bool, threads int) (Agreement, error) {
	a := Agreement{}
	err := p.withLlama(base, threads, p.against(ctx, p.Base, &a.Base))
	if err != nil {
		return a, err
	}
	var ours *Probe
	var plain, rounded bool
	if err := withSession(merged, engine.SessionConfig{Threads: threads, Exact: p.exact},
		func(s *engine.Session) (err error) {
			plain, rounded = float(s.Model().File()), quantized(s.Model().File())
			ours, err = p.of(ctx, s)
			return err
		}); err != nil {
		return a, err
	}
	if a.Trained, err = ours.Distance(ctx, merged, threads); err != nil {
		return a, err
	}
	// The merged model may have other types than the base, with other rounding: it is judged as any model is in Check.
	size, share := rms(ours.Trained, nil), textBound
	if plain {
		share = floatBound
	}
	if bound := p.allowed(size, share, agreementFactor*a.Base.RMS); !(a.Trained.RMS <= bound) {
		return a, fmt.Errorf("verify %s: %w: %s (of size %.3g) differ by %.3g in the root mean square, expected "+
			"at most %.3g; run ggtune check on the base, and report this with its output", merged, ErrDisagree,
			p.what(), size, a.Trained.RMS, bound)
	}
	brought, left := rms(p.Trained, p.Base), rms(ours.Trained, p.Trained)
	if own && !rounded && brought > floatBound*size && !(left < brought/2) {
		return a, fmt.Errorf("verify %s: %w: the adapters move the base's %s by %.3g in the root mean square, and "+
			"those of the merged model are %.3g from there; report this with the output of ggtune check on the base",
			merged, ErrDisagree, p.what(), brought, left)
	}
	return a, nil
}

// quantized says whether any of a file's tensors are.
func quantized(f *gguf.File) bool {
	return slices.ContainsFunc(f.Tensors, func(t gguf.TensorInfo) bool { return t.Type.IsQuantized() })
}
