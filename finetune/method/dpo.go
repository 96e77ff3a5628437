package method

import "github.com/ggtune/ggtune/internal/setting"

// DPO is direct preference optimisation (Rafailov et al. 2023, equation 7),
//
//	L = −log σ(β·h),  h = log π(y_w)/ref(y_w) − log π(y_l)/ref(y_l)
//
// for a prompt's chosen answer y_w and rejected answer y_l. Three settings of TRL's change it:
//   - label-smoothing ε, the conservative DPO of Mitchell 2023 ("A note on DPO with noisy preferences & relationship to
//     IPO"): L = −(1−ε) log σ(βh) − ε log σ(−βh);
//   - rpo-alpha, weight of the chosen answer's negative log-probability per token (see pairLoss.nll);
//   - ld-alpha, weight of the tokens by which one answer is longer than the other (see discount).
//
// Reward: β·log π(y)/ref(y), as the loss sees it.
var DPO = register(&Method{
	Name:      "dpo",
	Doc:       "direct preference optimisation (Rafailov et al. 2023), with label smoothing cDPO",
	Unit:      "pair",
	Need:      Pairs,
	Reference: true,
	Reads:     []setting.Use{beta.At(0.1).Below(1000, 0.5), labelSmoothing.At(0), rpoAlpha.At(0), ldAlpha.At(1)},
	Loss: overPairs(func(c, r answer, s setting.Values) pairLoss {
		return againstReference(c, r, s, 1-s.Of(labelSmoothing), s.Of(labelSmoothing))
	}),
})

// againstReference is the logistic loss of DPO with weights of the preference as it is given and of its opposite.
func againstReference(c, r answer, s setting.Values, given, opposite float64) pairLoss {
	b := s.Of(beta)
	x, y := b*c.ratio, b*r.ratio
	loss, slope := logistic(x-y, given, opposite)
	return pairLoss{loss: loss, chosen: b * slope, rejected: -b * slope, nll: s.Of(rpoAlpha), chosenReward: x,
		rejectedReward: y}
}
