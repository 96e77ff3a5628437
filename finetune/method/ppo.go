package method

import (
	"fmt"
	"math"

	"github.com/ggtune/ggtune/internal/setting"
)

var (
	klCoef = &setting.Setting{
		Name:  "kl-coef",
		Usage: "what each token's reward is lowered by, times its distance from the reference",
		Range: setting.AtLeast(0, "0 or more"),
	}
	klEstimator = setting.Choice("kl-estimator", "estimator of that distance", "k1", "k3")
	klTarget    = &setting.Setting{
		Name: "adaptive-kl-target",
		Usage: "distance from the reference, in nats per answer, that --kl-coef is raised and lowered to keep; " +
			"0: it stays as it is",
		Range: setting.AtLeast(0, "0 or more"),
	}
	klHorizon = &setting.Setting{
		Name:  "adaptive-kl-horizon",
		Usage: "answers over which --kl-coef may change by a fifth",
		Range: setting.Above(0, "above 0"),
	}
	earlyStopKL = &setting.Setting{
		Name: "early-stop-kl",
		Usage: "leave out what updates a rollout has left when one finds that they have moved the policy this far, " +
			"in nats per token (approx_kl); 0: never",
		Range: setting.AtLeast(0, "0 or more"),
	}
	discountFactor = &setting.Setting{
		Name:  "discount",
		Usage: "what a reward one token later counts (γ)",
		Range: setting.Within(0, 1, "0 to 1"),
	}
	gaeLambda = &setting.Setting{
		Name:  "lam",
		Usage: "how far advantages look past the value of the next token (λ)",
		Range: setting.Within(0, 1, "0 to 1"),
	}
	valueCoef = &setting.Setting{
		Name:  "vf-coef",
		Usage: "weight of the loss of the values",
		Range: setting.AtLeast(0, "0 or more"),
	}
	valueClip = &setting.Setting{
		Name:  "cliprange-value",
		Usage: "how far a value may move in a rollout before it stops to count",
		Range: setting.Above(0, "above 0"),
	}
	whitenRewards = setting.Choice("whiten-rewards", "divide the rewards of a rollout's tokens by their spread", "no",
		"yes")
)

// PPO is proximal policy optimisation (Schulman et al. 2017; on language models Ziegler et al. 2019, "Fine-Tuning
// Language Models from Human Preferences", and Ouyang et al. 2022), as TRL's trainer had it until version 1.9. Token t
// of an answer of n is rewarded with
//
//	rₜ = −kl-coef·kₜ + [t = n]·R,
//
// kₜ being log old/ref (k1) or Schulman's k3; whiten-rewards divides them by their spread over the rollout. With the
// values V before each token, 0 behind the last, the advantages are (Schulman et al. 2016, "High-Dimensional
// Continuous Control Using Generalized Advantage Estimation", section 3)
//
//	δₜ = rₜ + γ·Vₜ₊₁ − Vₜ,  Aₜ = δₜ + γλ·Aₜ₊₁,  and what Vₜ should have been is Gₜ = Aₜ + Vₜ.
//
// Over the rollout's tokens A is then shifted to mean 0 and divided by its spread. The loss, a mean over tokens, is
//
//	L = −w·min(r·A, clip(r, 1−ε, 1+ε_high)·A) + vf-coef·½·max((V−G)², (clip(V, V_old ± δ)−G)²) − c·H
//
// (sections 3 and 5; the clip of the values is OpenAI baselines'), w being the capped importance weight of what
// another engine sampled, δ cliprange-value, H the entropy, c entropy-coef. ε is TRL's cliprange, γ (discount) its
// gamma, λ its lam.
//
// With adaptive-kl-target, kl-coef follows the distance from the reference (Ziegler et al. 2019, section 2.2; early
// TRL's AdaptiveKLController): after a rollout of N answers it is multiplied by 1 + e·N/horizon, where e is KL/target −
// 1, at most 0.2 either way, and KL is the mean of log old/ref summed over an answer. What it has come to is carried
// from rollout to rollout, and so kept in a checkpoint.
//
// Departures from TRL: an answer that ended has its reward at its end token, where TRL has it one place later, with one
// more value, of the state behind the end; approx_kl stops at early-stop-kl itself (early TRL at 1.5 times its
// target_kl). mask-truncated-completions and the weight w are not in TRL's.
//
// Figures: value_loss, before vf-coef; value_clip_frac; and of the rollout kl_coef and explained_variance, 1 −
// Var(G − V)/Var(G): 1 where the values foresaw everything, 0 where a constant would have done as well.
var PPO = register(&Method{
	Name:  "ppo",
	Doc:   "proximal policy optimisation, with values of tokens (Schulman et al. 2017)",
	Unit:  "token",
	Need:  Rollouts,
	Value: AtTokens,
	Usual: Usual{Generations: 1, Least: 1, Iterations: 4, LR: 3e-5, LargeLR: 1e-5},
	Reads: []setting.Use{klCoef.At(0.05), klEstimator.Word("k1"), klTarget.At(0), klHorizon.At(10000),
		earlyStopKL.At(0), discountFactor.At(1), gaeLambda.At(0.95), epsilon.At(clipLow),
		epsilonHigh.At(clipLow), valueCoef.At(0.1), valueClip.At(0.2), whitenRewards.Word("no"),
		maskTruncated.Word("no"), missingEOSPenalty.At(1), entropyCoef.At(0)},
	Loss:       policyAndValue,
	Advantages: generalised,
	Enough: func(f []Metric, s setting.Values) bool {
		most := s.Of(earlyStopKL)
		return most > 0 && shown(f, "approx_kl") > most
	},
	follow: func(m *Method, given setting.Values) error {
		m.symmetric(given)
		m.Reference, m.Entropy = m.set.Of(klCoef) > 0, m.set.Of(entropyCoef) > 0
		if !m.Reference && m.set.Of(klTarget) > 0 {
			return fmt.Errorf("--%s is %g, and --%s is 0, which no factor changes; give it a beginning, such as 0.05",
				klTarget.Name, m.set.Of(klTarget), klCoef.Name)
		}
		return nil
	},
})

// shown is the figure of that name; 0 if there is none.
func shown(all []Metric, name string) float64 {
	for _, f := range all {
		if f.Name == name && f.Weight > 0 {
			return f.Sum / f.Weight
		}
	}
	return 0
}

// penalised are the rewards of an answer's tokens.
func penalised(a *Answer, coef float64, s setting.Values) []float64 {
	out := make([]float64, len(a.LogP))
	for t := range a.Ref {
		k := a.LogP[t] - a.Ref[t]
		if s.Word(klEstimator) == "k3" {
			k, _ = k3(a.LogP[t], a.Ref[t])
		}
		out[t] = -coef * k
	}
	out[len(out)-1] += punished(a, s)
	return out
}

func generalised(all []Answer, carry []float64, s setting.Values) (Advantages, error) {
	coef := s.Of(klCoef)
	if len(carry) == 1 {
		coef = carry[0]
	} else if carry != nil {
		return Advantages{}, fmt.Errorf("%d numbers are carried on from the last rollout, expected the coefficient",
			len(carry))
	}
	rewards := make([][]float64, len(all))
	for i := range all {
		rewards[i] = penalised(&all[i], coef, s)
	}
	if s.Word(whitenRewards) == "yes" {
		whiten(rewards, false)
	}
	out := Advantages{Signal: everyGroup(all)}
	for i := range all {
		values := all[i].Value
		n := len(values)
		advantage, returns := make([]float64, n), make([]float64, n)
		behind, next := 0.0, 0.0 // advantage and value of the token behind
		for t := n - 1; t >= 0; t-- {
			delta := rewards[i][t] + s.Of(discountFactor)*next - values[t]
			behind = delta + s.Of(discountFactor)*s.Of(gaeLambda)*behind
			next = values[t]
			advantage[t], returns[t] = behind, behind+values[t]
		}
		out.Advantage, out.Return = append(out.Advantage, advantage), append(out.Return, returns)
		out.Trained = append(out.Trained, learned(&all[i], s))
	}
	whiten(out.Advantage, true)
	out.Metrics = append(answersMetrics(all, nil),
		Metric{"explained_variance", explained(all, out.Return), 1}, Metric{"kl_coef", coef, 1})
	if s.Of(klTarget) > 0 {
		out.Carry = []float64{adapted(coef, all, s)}
	}
	return out, nil
}

// adapted is the coefficient after a rollout.
func adapted(coef float64, all []Answer, s setting.Values) float64 {
	kl := 0.0
	for i := range all {
		kl += all[i].drift()
	}
	n := float64(len(all))
	off := math.Max(-0.2, math.Min(0.2, kl/n/s.Of(klTarget)-1))
	return coef * (1 + off*n/s.Of(klHorizon))
}

// explained is the share of the returns' variance that the values foresaw; 0 where there is none.
func explained(all []Answer, returns [][]float64) float64 {
	var given, missed []float64
	for i := range all {
		for t, g := range returns[i] {
			given, missed = append(given, g), append(missed, g-all[i].Value[t])
		}
	}
	_, whole := meanStd(given)
	_, rest := meanStd(missed)
	if whole == 0 {
		return 0
	}
	return 1 - rest*rest/(whole*whole)
}

// policyAndValue is the loss of the policy, and that of the values beside it.
func policyAndValue(in *Inputs, s setting.Values) (Result, error) {
	res, err := tokenwise(in, s)
	res.GradValue = make([]float64, len(in.Value))
	sum, cut := 0.0, 0.0
	for i, v := range in.Value {
		loss, slope, stopped := valueLoss(v, in.OldValue[i], in.Return[i], s.Of(valueClip))
		sum += loss
		res.GradValue[i] = s.Of(valueCoef) * slope
		if stopped {
			cut++
		}
	}
	res.Sum += s.Of(valueCoef) * sum
	res.Metrics = append(res.Metrics, Metric{"value_loss", sum, res.Units}, Metric{"value_clip_frac", cut, res.Units})
	return res, err
}

// valueLoss is half the larger of the squared errors of a value and of what it is when it may move so far from the old
// one, with the derivative by the value; cut says that the second is the larger.
func valueLoss(v, old, should, most float64) (loss, slope float64, cut bool) {
	bound := math.Max(old-most, math.Min(old+most, v))
	plain, held := (v-should)*(v-should), (bound-should)*(bound-should)
	if held > plain {
		return held / 2, 0, true // bound is not v, and does not move with it
	}
	return plain / 2, v - should, false
}
