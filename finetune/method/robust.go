package method

import "github.com/ggtune/ggtune/internal/setting"

// Robust is DPO for preferences of which a known share is the wrong way round (Chowdhury et al. 2024, "Provably Robust
// DPO: Aligning Language Models with Noisy Feedback", the rDPO loss):
//
//	L = (−(1−ε) log σ(βh) + ε log σ(−βh)) / (1−2ε),
//
// with DPO's h and ε = label-smoothing. Its mean over noisy labels is DPO's loss over the true ones, and so it may fall
// below 0. With ε = 0 it is DPO; the default, 0.1, is the paper's. Settings and rewards are DPO's.
var Robust = register(&Method{
	Name:      "robust",
	Doc:       "DPO that allows for a share of wrong preferences, --label-smoothing (Chowdhury et al. 2024)",
	Unit:      "pair",
	Need:      Pairs,
	Reference: true,
	Reads:     []setting.Use{beta.At(0.1), labelSmoothing.At(0.1), rpoAlpha.At(0), ldAlpha.At(1)},
	Loss: overPairs(func(c, r answer, s setting.Values) pairLoss {
		e := s.Of(labelSmoothing)
		return againstReference(c, r, s, (1-e)/(1-2*e), -e/(1-2*e))
	}),
})
