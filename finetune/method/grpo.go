package method

import (
	"errors"
	"math"

	"github.com/ggtune/ggtune/internal/setting"
)

var (
	lossType = setting.Choice("loss-type", "how the loss of answers is averaged, or formed",
		"dapo", "grpo", "dr-grpo", "cispo")
	scaleRewards = setting.Choice("scale-rewards", "advantages are divided by the spread of the rewards: of their "+
		"group, of the whole rollout, or not", "group", "batch", "none")
	samplingLevel = setting.Choice("importance-sampling-level",
		"ratios of new to old probability are those of tokens, or one of each answer", "token", "sequence")
	klForm = setting.Choice("kl", "how --beta pulls towards the reference", "k3-corrected", "k3", "k1-in-reward")
)

// What clip ranges are where they are not given: of tokens (Yu et al. 2025, section 4.1), of answers (Zheng et al.
// 2025, section 5.1) and of CISPO, whose epsilon-high is the largest ratio itself (ε_max of Khatri et al. 2025, "The
// Art of Scaling Reinforcement Learning Compute for LLMs", as TRL has it).
const (
	clipLow, clipHigh                 = 0.2, 0.28
	sequenceClipLow, sequenceClipHigh = 3e-4, 4e-4
	cispoMost                         = 5
)

// GRPO is group relative policy optimisation (Shao et al. 2024, "DeepSeekMath", section 4.1, outcome
// supervision): an answer i of the G to one prompt has in each of its tokens the advantage
//
//	Aᵢ = (Rᵢ − mean(R₁ … R_G)) / (std(R₁ … R_G) + 10⁻⁴),
//
// and of token t, with ratio r = π/old,
//
//	Lₜ = w·(−min(r·A, clip(r, 1−ε, 1+ε_high)·A)) + β·k3·r − c·H.
//
// w is the capped importance weight of what another engine sampled, H the entropy and c entropy-coef. Variants are
// settings, named as in TRL:
//   - loss-type: dapo, the mean over all tokens of a step (Yu et al. 2025, "DAPO", section 3); grpo, the mean over the
//     answers of each answer's mean; dr-grpo, the sum over tokens by answers times the most tokens that an answer may
//     have (Liu et al. 2025, "Understanding R1-Zero-Like Training", section 3.2); cispo, over all tokens, of
//     −sg(min(r, ε_high))·A·log π (MiniMax 2025, "MiniMax-M1"), ε_high 5 unless given: every token
//     keeps its gradient;
//   - scale-rewards: the divisor is the spread within the group, over the rollout (batch), or none (dr-grpo's authors);
//   - importance-sampling-level sequence: r is exp of the mean of log π/old over the answer, the same for all of its
//     tokens (Zheng et al. 2025, "Group Sequence Policy Optimization"), ε 3e-4 and 4e-4 unless given;
//   - kl: k3-corrected is k3 times r, whose gradient is that of KL(π‖ref) (DeepSeek-V3.2; TRL's
//     use_bias_correction_kl); k3 is without r, as in Shao et al., and its gradient is another's; with
//     k1-in-reward, β·log old/ref summed over the answer is taken off its reward, and nothing is added to the loss;
//   - mask-truncated-completions: an answer that did not end counts in its group's mean and is not learned from;
//   - missing-eos-penalty: its reward is lowered.
//
// Departures: a group whose answers are worth the same has no signal. It is left out of the loss and of what it is
// divided by (as in dynamic sampling, where it does not enter the batch; TRL counts its tokens), unless the pull to the
// reference or the entropy has something to teach there. So are masked answers with every loss-type (TRL counts them in
// grpo's mean). The entropy is averaged as the rest of the loss is, where TRL always takes its mean over tokens.
// The step's divisor is that of the whole step, whatever the micro-batches.
var GRPO = register(&Method{
	Name:  "grpo",
	Doc:   "group relative policy optimisation: each answer against the others to its prompt (Shao et al. 2024)",
	Unit:  "token",
	Need:  Rollouts,
	Usual: Usual{Generations: 8, Least: 2, Iterations: 1, LR: 5e-5, LargeLR: 1e-5},
	Reads: []setting.Use{beta.At(0).In(setting.AtLeast(0, "0 or more")), epsilon.At(clipLow), epsilonHigh.At(clipHigh),
		lossType.Word("dapo"), scaleRewards.Word("group"), samplingLevel.Word("token"), klForm.Word("k3-corrected"),
		maskTruncated.Word("no"), missingEOSPenalty.At(0), entropyCoef.At(0)},
	Loss:       groupLoss,
	Advantages: groupAdvantages,
	Constant:   cappedRatios,
	follow:     followGRPO,
})

func followGRPO(m *Method, given setting.Values) error {
	m.Reference, m.Entropy = m.set.Of(beta) > 0, m.set.Of(entropyCoef) > 0
	m.Unit = "token"
	if m.set.Word(lossType) == "grpo" {
		m.Unit = "answer"
	}
	cispo := m.set.Word(lossType) == "cispo"
	if cispo && given.Has(epsilon) {
		return errors.New("--epsilon is given, and --loss-type cispo has no lower bound; it has --epsilon-high")
	}
	low, high := clipLow, clipHigh
	if m.set.Word(samplingLevel) == "sequence" {
		low, high = sequenceClipLow, sequenceClipHigh
	}
	if cispo {
		high = cispoMost
	}
	if !given.Has(epsilon) {
		m.set[epsilon.Name] = low
	}
	if !given.Has(epsilonHigh) {
		m.set[epsilonHigh.Name] = high
	}
	return nil
}

func groupAdvantages(all []Answer, _ []float64, s setting.Values) (Advantages, error) {
	worth := make([]float64, len(all))
	for i := range all {
		worth[i] = punished(&all[i], s)
		if s.Word(klForm) == "k1-in-reward" {
			worth[i] -= s.Of(beta) * all[i].drift()
		}
	}
	_, overall := meanStd(worth)
	var out Advantages
	out.Trained = make([]bool, len(all))
	each := make([]float64, len(all))
	// the loss has more than the advantage to learn from
	more := s.Of(entropyCoef) > 0 || s.Of(beta) > 0 && s.Word(klForm) != "k1-in-reward"
	groups(all, func(_, first, end int) {
		mean, std := meanStd(worth[first:end])
		signal := differ(worth[first:end])
		scale := 1.0
		switch s.Word(scaleRewards) {
		case "group":
			scale = std + spreadFloor
		case "batch":
			scale = overall + spreadFloor
		}
		for i := first; i < end; i++ {
			if signal {
				each[i] = (worth[i] - mean) / scale
			}
			out.Trained[i] = (signal || more) && learned(&all[i], s)
		}
		out.Signal = append(out.Signal, signal)
	})
	out.Advantage = spread(all, each)
	out.Metrics = answersMetrics(all, out.Signal)
	return out, nil
}

// spreadFloor keeps what is divided by a spread finite, as TRL's 1e-4.
const spreadFloor = 1e-4

// logRatios are, of an answer's tokens, log π/old, or their mean at each.
func logRatios(in *Inputs, q Sequence, s setting.Values) []float64 {
	out := make([]float64, q.Len)
	sum := 0.0
	for t := range out {
		out[t] = in.LogP[q.Start+t] - in.Old[q.Start+t]
		sum += out[t]
	}
	if s.Word(samplingLevel) == "sequence" {
		for t := range out {
			out[t] = sum / float64(q.Len)
		}
	}
	return out
}

// cappedRatios are those by which CISPO weighs the log-probabilities.
func cappedRatios(in *Inputs, s setting.Values) []float64 {
	if s.Word(lossType) != "cispo" {
		return nil
	}
	out := make([]float64, 0, len(in.LogP))
	for _, q := range in.Sequences {
		for _, x := range logRatios(in, q, s) {
			r, _ := boundedExp(x)
			out = append(out, math.Min(r, s.Of(epsilonHigh)))
		}
	}
	return out
}

func groupLoss(in *Inputs, s setting.Values) (Result, error) {
	res := Result{Grad: make([]float64, len(in.LogP))}
	res.GradEntropy = make([]float64, len(in.Entropy))
	var figures policyFigures
	for _, q := range in.Sequences {
		share := 1.0
		switch s.Word(lossType) {
		case "grpo":
			share = 1 / float64(q.Len)
			res.Units++
		case "dr-grpo":
			res.Units += float64(in.Longest)
		default:
			res.Units += float64(q.Len)
		}
		res.answer(in, q, s, share, &figures)
	}
	res.Metrics = figures.metrics(in)
	return res, nil
}

// answer adds the loss of one answer's tokens, each times share.
func (res *Result) answer(in *Inputs, q Sequence, s setting.Values, share float64, figures *policyFigures) {
	logs := logRatios(in, q, s)
	ratios, slopes, clips := make([]float64, q.Len), make([]float64, q.Len), make([]side, q.Len)
	var all float64 // derivative by the log-ratio that all tokens share
	for t := range q.Len {
		i := q.Start + t
		r, bySlope := boundedExp(logs[t])
		tok := tokenLoss(in, i, r, s)
		ratios[t], clips[t] = r, tok.where
		res.Sum += share * tok.loss
		res.Grad[i] += share * tok.byLogP
		slopes[t] = share * tok.byRatio * bySlope
		all += slopes[t]
		if c := s.Of(entropyCoef); c > 0 {
			res.Sum -= share * c * in.Entropy[i]
			res.GradEntropy[i] = -share * c
		}
	}
	for t := range q.Len {
		if s.Word(samplingLevel) == "sequence" {
			slopes[t] = all / float64(q.Len)
		}
		res.Grad[q.Start+t] += slopes[t]
	}
	figures.add(in, q, ratios, clips)
}

// A tokenTerm is the loss of a token and its derivatives by its log-probability and by its ratio.
type tokenTerm struct {
	loss, byLogP, byRatio float64
	where                 side
}

// tokenLoss is that of token i with ratio r, but for the entropy.
func tokenLoss(in *Inputs, i int, r float64, s setting.Values) (tok tokenTerm) {
	a, w := in.Advantage[i], in.weight(i)
	if s.Word(lossType) == "cispo" {
		tok.loss, tok.byLogP = -w*in.Constant[i]*a*in.LogP[i], -w*in.Constant[i]*a
		if r > s.Of(epsilonHigh) && a > 0 {
			tok.where = above
		}
	} else {
		tok.loss, tok.byRatio, tok.where = clipped(r, a, s.Of(epsilon), s.Of(epsilonHigh))
		tok.loss, tok.byRatio = w*tok.loss, w*tok.byRatio
	}
	b := s.Of(beta)
	if b == 0 || s.Word(klForm) == "k1-in-reward" {
		return tok
	}
	k, slope := k3(in.LogP[i], in.Ref[i])
	if s.Word(klForm) == "k3" {
		r = 1
	} else {
		tok.byRatio += b * k
	}
	tok.loss += b * r * k
	tok.byLogP += b * r * slope
	return tok
}
