package report

import (
	"maps"
	"slices"
	"strings"
)

// A Figure is one of metrics.jsonl that belongs to the method, for people.
type Figure struct {
	Name  string `json:"name"`
	Title string `json:"title"`
}

// rewardName is the figure of what answers are worth; those of each reward apart are rewardName, "_" and its name.
const rewardName = "reward"

// ofRewards are the figures of learning by rewards that say how it goes, in the order in which they are shown. Those of
// each reward apart stand behind the first.
var ofRewards = []Figure{
	{rewardName, "reward"},
	{"kl", "KL to the reference (nats per token)"},
	{"answer_kl", "KL to the reference (nats per answer)"},
	{"entropy", "entropy (nats per token)"},
	{"answer_len", "length of an answer (tokens)"},
	{"ended", "answers that ended (share)"},
	{"signal", "groups with signal (share)"},
	{"clip_frac", "clipped (share of tokens)"},
	{"approx_kl", "moved since written (nats per token)"},
	{"explained_variance", "variance explained by values (share)"},
	{"value_loss", "loss of the values"},
	{"mismatch", "mismatch of the writer (nats)"},
	{"ess", "effective sample size (share)"},
	{"rollout_tok_per_s", "tokens written a second"},
}

// notApart are figures whose names begin as those of single rewards do.
var notApart = []string{rewardName + "_std", rewardName + "_seconds"}

// Figures lists those of a run by rewards that its lines have, as ofRewards has them; none of another run.
func Figures(lines []Line) (out []Figure) {
	has := map[string]bool{}
	for _, l := range lines {
		for name := range l.Figures {
			has[name] = true
		}
	}
	if !has[rewardName] {
		return nil
	}
	for _, f := range ofRewards {
		if has[f.Name] {
			out = append(out, f)
		}
		if f.Name != rewardName {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(has)) {
			if one, ok := strings.CutPrefix(name, rewardName+"_"); ok && !slices.Contains(notApart, name) {
				out = append(out, Figure{name, "reward: " + strings.ReplaceAll(one, "_", " ")})
			}
		}
	}
	return out
}

// RewardLines are lines of a run with the rewards in the place of the losses; nil of a run without them.
func RewardLines(lines []Line) (out []Line) {
	for _, l := range lines {
		reward, ok := l.Figures[rewardName]
		if !ok {
			return nil
		}
		one := Line{Step: l.Step, Loss: reward}
		if x, ok := l.Figures["eval_"+rewardName]; ok {
			one.EvalLoss = &x
		}
		out = append(out, one)
	}
	return out
}
