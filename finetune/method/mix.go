package method

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/ggtune/ggtune/internal/setting"
)

// New gives a method with settings: that of one name, or the weighed sum of several, named with commas (as TRL's
// loss_type and loss_weights; mixed preference optimisation, L = Σ wᵢ·Lᵢ: Wang et al. 2024, "Enhancing the Reasoning
// Ability of Multimodal Large Language Models via Mixed Preference Optimization"). weights has one for each name, or is
// empty for 1 each.
//
// The parts must have the same kind of example; sft stands for the chosen answers' NLL beside methods over pairs. A
// setting goes to every part that reads it; what is not given is each part's own default. It reports every fault at
// once.
func New(names string, weights []float64, given setting.Values) (*Method, error) {
	list := strings.Split(names, ",")
	if len(list) == 1 && len(weights) == 0 {
		m, err := Get(names)
		if err != nil {
			return nil, err
		}
		return m.Configure(given)
	}
	m, err := mix(list, weights)
	if err != nil {
		return nil, fmt.Errorf("method %s: %w", names, err)
	}
	return m.Configure(given)
}

// mix makes the method that is the weighed sum of those named.
func mix(names []string, weights []float64) (*Method, error) {
	var parts []*Method
	var errs []error
	seen := map[string]bool{}
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		m, err := Get(names[i])
		if err == nil && seen[m.Name] {
			err = fmt.Errorf("%s is named twice; give it one weight", m.Name)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		seen[m.Name] = true
		parts = append(parts, m)
	}
	if len(weights) == 0 {
		weights = make([]float64, len(names))
		for i := range weights {
			weights[i] = 1
		}
	}
	errs = append(errs, checkWeights(names, weights))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := align(parts); err != nil {
		return nil, err
	}
	return sumOf(parts, weights), nil
}

func checkWeights(names []string, weights []float64) error {
	if len(weights) != len(names) {
		return fmt.Errorf("%d weights for %d methods; give one for each", len(weights), len(names))
	}
	total := 0.0
	for i, w := range weights {
		if !(w >= 0) || math.IsInf(w, 0) {
			return fmt.Errorf("the weight of %s is %g; expected 0 or more", names[i], w)
		}
		total += w
	}
	if total == 0 {
		return errors.New("every weight is 0; nothing would be learned")
	}
	return nil
}

// align puts each part that has one into its form over pairs, if others need pairs, and refuses parts that do not go
// together.
func align(parts []*Method) error {
	need := Answers
	for _, m := range parts {
		if m.Need != Answers {
			need = m.Need
		}
	}
	for i, m := range parts {
		if need == Pairs && m.OverPairs != nil {
			parts[i] = m.OverPairs
		}
	}
	for _, m := range parts {
		if m.Teacher {
			return fmt.Errorf("%s learns from a teacher's predictions; it cannot be mixed or weighed", m.Name)
		}
		if m.Need == Rollouts {
			return fmt.Errorf("%s learns from rollouts; it cannot be mixed or weighed", m.Name)
		}
		if m.Value != NoValues || m.Entropy || m.Need.Pools() {
			return fmt.Errorf("%s learns from more than log-probabilities; it cannot be mixed or weighed", m.Name)
		}
	}
	for _, m := range parts[1:] {
		if a := parts[0]; m.Need != a.Need || m.Unit != a.Unit || m.AllTokens != a.AllTokens {
			return fmt.Errorf("%s learns from %s and %s from %s; they cannot be mixed", a.Name, a.examples(), m.Name,
				m.examples())
		}
	}
	return nil
}

// examples says what a method learns from, for messages.
func (m *Method) examples() string {
	switch {
	case m.Need == Pairs:
		return "pairs of answers"
	case m.Need.Pools():
		return "texts, of each of which a vector is made"
	case m.Need == Verdicts, m.Need == Labels:
		return "answers with a label"
	case m.AllTokens:
		return "whole texts"
	}
	return "answers"
}

// sumOf adds the losses of parts that go together.
//
// Of the figures that several parts report, the first part's is shown: they are the same, but for rewards, whose
// definition is the method's own. loss_NAME is each part's own loss, before its weight.
func sumOf(parts []*Method, weights []float64) *Method {
	out := &Method{Unit: parts[0].Unit, Need: parts[0].Need, AllTokens: parts[0].AllTokens}
	var names []string
	for _, m := range parts {
		names = append(names, m.Name)
		out.Reference = out.Reference || m.Reference
		out.Coupled = out.Coupled || m.Coupled
		for _, u := range m.Reads {
			if _, again := setting.Reads(out.Reads, u.Setting); !again {
				out.Reads = append(out.Reads, u.Setting.At(math.NaN())) // left to each part
			}
		}
	}
	out.Name = strings.Join(names, ",")
	out.Doc = "weighed sum of " + strings.Join(names, " and ")
	out.Loss = func(in *Inputs, s setting.Values) (Result, error) {
		sum := Result{Grad: make([]float64, len(in.LogP))}
		var own []Metric
		shown := map[string]bool{}
		for i, m := range parts {
			r, err := m.loss(in, m.overlay(s))
			if err != nil {
				return sum, fmt.Errorf("%s: %w", m.Name, err)
			}
			sum.Sum += weights[i] * r.Sum
			sum.Units = r.Units
			for t, g := range r.Grad {
				sum.Grad[t] += weights[i] * g
			}
			for _, f := range r.Metrics {
				if !shown[f.Name] {
					shown[f.Name] = true
					sum.Metrics = append(sum.Metrics, f)
				}
			}
			own = append(own, Metric{"loss_" + strings.ReplaceAll(m.Name, "-", "_"), r.Sum, r.Units})
		}
		sum.Metrics = append(sum.Metrics, own...)
		return sum, nil
	}
	out.set = out.defaults()
	return out
}

// overlay gives the method's own defaults under those values of s that it reads.
func (m *Method) overlay(s setting.Values) setting.Values {
	o := m.defaults()
	for _, u := range m.Reads {
		if s.Has(u.Setting) {
			o[u.Setting.Name] = s.Of(u.Setting)
		}
	}
	return o
}
