package method

import (
	"math"
	"testing"

	"github.com/ggtune/ggtune/internal/setting"
)

const (
	recordedRollout = 1e-8 // TRL in float64, ten digits kept, over numbers of some 1: measured 3e-10
	recordedFigure  = 1e-7 // TRL counts in float32
)

// A trlAnswer is one of a recorded rollout.
type trlAnswer struct {
	Group   int       `json:"group"`
	Ended   bool      `json:"ended"`
	Reward  float64   `json:"reward"`
	Old     []float64 `json:"old"`
	Ref     []float64 `json:"ref"`
	New     []float64 `json:"new"`
	Sampler []float64 `json:"sampler"`
	Entropy []float64 `json:"entropy"`
	Value   []float64 `json:"value"`
}

// recordedSettings are a case's, whose choices are words.
func recordedSettings(t *testing.T, m *Method, given map[string]any) *Method {
	t.Helper()
	v := setting.Values{}
	for _, u := range m.Reads {
		switch x := given[u.Setting.Name].(type) {
		case float64:
			v[u.Setting.Name] = x
		case string:
			y, err := u.Setting.Parse(x)
			if err != nil {
				t.Fatal(err)
			}
			v[u.Setting.Name] = y
		}
	}
	c, err := m.Configure(v)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rolledOut are recorded answers as Credit takes them.
func rolledOut(m *Method, all []trlAnswer) (out []Answer) {
	for _, a := range all {
		one := Answer{Group: a.Group, Reward: a.Reward, LogP: a.Old, Ended: a.Ended}
		if m.Reference {
			one.Ref = a.Ref
		}
		if m.Value == AtTokens {
			one.Value = a.Value
		}
		out = append(out, one)
	}
	return out
}

// trained are the inputs of the answers that are learned from, with their places among all tokens.
func trained(m *Method, all []trlAnswer, a *Advantages, weights [][]float64, longest int) (*Inputs, []int) {
	in, places, place := &Inputs{}, []int(nil), 0
	for i, one := range all {
		if !a.Trained[i] {
			place += len(one.Old)
			continue
		}
		more := &Inputs{LogP: one.New,
			Sequences: []Sequence{{Len: len(one.Old), Example: one.Group, Child: i + 1}},
			Rolled:    Rolled{Old: one.Old, Advantage: a.Advantage[i], Longest: longest}}
		if m.Reference {
			more.Ref = one.Ref
		}
		if m.Entropy {
			more.Entropy = one.Entropy
		}
		if weights != nil {
			more.Weight = weights[i]
		}
		if a.Return != nil {
			more.OldValue, more.Return = one.Value, a.Return[i]
		}
		in.Append(more)
		for range one.Old {
			places = append(places, place)
			place++
		}
	}
	return in, places
}

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol) {
		t.Errorf("%s: got %.12g, want %.12g", what, got, want)
	}
}

// TestRolloutsRecorded holds GRPO with its variants, and RLOO, to TRL's trainers: from rewards to advantages,
// importance weights, loss and gradient.
func TestRolloutsRecorded(t *testing.T) {
	var rec struct {
		MadeWith string      `json:"made_with"`
		Longest  int         `json:"longest"`
		Answers  []trlAnswer `json:"answers"`
		Cases    []struct {
			Name        string             `json:"name"`
			Method      string             `json:"method"`
			Settings    map[string]any     `json:"settings"`
			Loss        float64            `json:"loss"`
			Advantages  []float64          `json:"advantages"`
			Grad        []float64          `json:"grad"`
			GradEntropy []float64          `json:"grad_entropy"`
			Metrics     map[string]float64 `json:"metrics"`
		} `json:"cases"`
	}
	readRecording(t, "trl_groups.json", &rec)
	figures := map[string]string{"entropy": "entropy", "clip_ratio/region_mean": "clip_frac"}
	for _, c := range rec.Cases {
		t.Run(c.Name, func(t *testing.T) {
			m, err := methods.Get(c.Method)
			if err != nil {
				t.Fatal(err)
			}
			m = recordedSettings(t, m, c.Settings)
			all := rolledOut(m, rec.Answers)
			a, err := m.Credit(all, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range c.Advantages {
				near(t, "advantage", a.Advantage[i][0], want, recordedRollout)
			}
			var weights [][]float64
			if c.Settings["weights"] == true {
				var sampler [][]float64
				for _, one := range rec.Answers {
					sampler = append(sampler, one.Sampler)
				}
				if weights, _, err = Truncated(all, sampler, 2); err != nil {
					t.Fatal(err)
				}
			}
			in, places := trained(m, rec.Answers, &a, weights, rec.Longest)
			r, err := m.Evaluate(in)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "loss", r.Sum/r.Units, c.Loss, recordedRollout)
			grad, byEntropy := make([]float64, len(c.Grad)), make([]float64, len(c.Grad))
			for k, i := range places {
				grad[i], byEntropy[i] = r.slope(0, k)/r.Units, r.slope(2, k)/r.Units
			}
			for i, want := range c.Grad {
				near(t, "gradient", grad[i], want, recordedRollout)
				near(t, "gradient by entropy", byEntropy[i], c.GradEntropy[i], recordedRollout)
			}
			for theirs, ours := range figures {
				// TRL counts ratios of answers by answers, here they are counted by their tokens
				byAnswer := m.Name == "rloo" || m.set.Word(samplingLevel) == "sequence"
				if want, shows := c.Metrics[theirs]; shows && !(ours == "clip_frac" && byAnswer) &&
					(ours != "entropy" || m.Entropy) {
					near(t, ours, shown(r.Metrics, ours), want, recordedFigure)
				}
			}
			if want, shows := c.Metrics["kl"]; shows && c.Settings["kl"] == nil && c.Method == "grpo" &&
				m.set.Word(samplingLevel) == "token" {
				near(t, "kl", shown(r.Metrics, "kl"), want, recordedFigure)
			}
			if want, shows := c.Metrics["kl"]; shows && c.Method == "rloo" { // per token there
				each := float64(len(all)) / float64(len(grad))
				near(t, "answer_kl", shown(a.Metrics, "answer_kl")*each, want, recordedFigure)
			}
		})
	}
}

// TestPPORecorded holds four epochs of PPO on one rollout to TRL's trainer: rewards of tokens, advantages, returns,
// and at each epoch both losses and their gradients, along which policy and values then descend.
func TestPPORecorded(t *testing.T) {
	var rec struct {
		MadeWith string `json:"made_with"`
		Longest  int    `json:"longest"`
		Cases    []struct {
			Name       string         `json:"name"`
			Settings   map[string]any `json:"settings"`
			Rate       float64        `json:"rate"`
			Answers    []trlAnswer    `json:"answers"`
			Advantages []float64      `json:"advantages"`
			Returns    []float64      `json:"returns"`
			Scores     []float64      `json:"scores"`
			KL         float64        `json:"kl"`
			Epochs     []struct {
				PolicyLoss    float64   `json:"policy_loss"`
				ValueLoss     float64   `json:"value_loss"`
				Values        int       `json:"values"` // TRL has one more behind the end of an answer that ended early
				ValueClipFrac float64   `json:"value_clip_frac"`
				Grad          []float64 `json:"grad"`
				GradValue     []float64 `json:"grad_value"`
			} `json:"epochs"`
		} `json:"cases"`
	}
	readRecording(t, "trl_ppo.json", &rec)
	for _, c := range rec.Cases {
		t.Run(c.Name, func(t *testing.T) {
			m := recordedSettings(t, PPO, c.Settings)
			all := rolledOut(m, c.Answers)
			a, err := m.Credit(all, nil)
			if err != nil {
				t.Fatal(err)
			}
			if m.set.Word(klEstimator) == "k1" {
				near(t, "answer_kl", shown(a.Metrics, "answer_kl"), c.KL, recordedFigure)
			}
			for i := range c.Answers {
				c.Answers[i].New = c.Answers[i].Old
				near(t, "reward", punished(&all[i], m.set), c.Scores[i], recordedRollout)
			}
			in, _ := trained(m, c.Answers, &a, nil, rec.Longest)
			in.LogP = append([]float64(nil), in.LogP...)
			in.Value = append([]float64(nil), in.OldValue...)
			for i := range c.Advantages {
				near(t, "advantage", in.Advantage[i], c.Advantages[i], recordedRollout)
				near(t, "return", in.Return[i], c.Returns[i], recordedRollout)
			}
			for _, e := range c.Epochs {
				r, err := m.Evaluate(in)
				if err != nil {
					t.Fatal(err)
				}
				more := r.Units / float64(e.Values) // what the values' mean is less there
				values := shown(r.Metrics, "value_loss")
				near(t, "value loss", values*more, e.ValueLoss, recordedRollout)
				near(t, "policy loss", r.Sum/r.Units-m.set.Of(valueCoef)*values, e.PolicyLoss, recordedRollout)
				near(t, "clipped values", shown(r.Metrics, "value_clip_frac")*more, e.ValueClipFrac, recordedFigure)
				for i := range e.Grad {
					near(t, "gradient", r.Grad[i]/r.Units, e.Grad[i], recordedRollout)
					near(t, "gradient by value", r.GradValue[i]/r.Units*more, e.GradValue[i], recordedRollout)
					in.LogP[i] -= c.Rate * r.Grad[i] / r.Units
					in.Value[i] -= c.Rate * r.GradValue[i] / r.Units * more
				}
			}
		})
	}
}
