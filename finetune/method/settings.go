package method

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"
)

// Settings are what methods can be told. NaN leaves a setting to the method's own default. A setting that a method does not
// read is refused by Configure: nothing is given and forgotten.
type Settings struct {
	// Beta scales the implicit reward or, without a reference, the margin; above 0.
	Beta float64 `toml:"beta"`
	// Gamma is the margin that the chosen answer's reward must have over the rejected one's (SimPO); at least 0.
	Gamma float64 `toml:"gamma"`
	// LabelSmoothing is the probability that a preference is the wrong way round, 0 to below 0.5.
	LabelSmoothing float64 `toml:"label_smoothing"`
	// RPOAlpha weighs an added term of supervised fine-tuning on the chosen answer; at least 0.
	RPOAlpha float64 `toml:"rpo_alpha"`
	// LDAlpha weighs the tokens by which an answer is longer than the other of its pair (LD-DPO), 0 to 1; 1 is the plain sum.
	LDAlpha float64 `toml:"ld_alpha"`
	// DesirableWeight and UndesirableWeight weigh KTO's two classes; above 0.
	DesirableWeight   float64 `toml:"desirable_weight"`
	UndesirableWeight float64 `toml:"undesirable_weight"`
}

// A Setting describes one field of Settings.
type Setting struct {
	Name  string // as options and files write it, with dashes
	Usage string
	// Expected says what values it may have, and OK whether x is one of them.
	Expected string
	OK       func(x float64) bool
	Field    func(s *Settings) *float64
}

// DefaultsUsage says which methods read the setting, with their defaults: " (dpo 0.1, simpo 2)".
func (s Setting) DefaultsUsage() string {
	var who []string
	for _, m := range methods.All() {
		if x, ok := m.Defaults[s.Name]; ok {
			who = append(who, fmt.Sprintf("%s %g", m.Name, x))
		}
	}
	if len(who) == 0 {
		return ""
	}
	return " (" + strings.Join(who, ", ") + ")"
}

// AllSettings lists every field of Settings.
func AllSettings() []Setting {
	finite := func(x float64) bool { return !math.IsInf(x, 0) }
	return []Setting{
		{"beta", "strength of the pull towards the reference, or of the margin without one", "above 0, such as 0.1",
			func(x float64) bool { return x > 0 && finite(x) }, func(s *Settings) *float64 { return &s.Beta }},
		{"gamma", "margin that the chosen answer must have", "0 or more",
			func(x float64) bool { return x >= 0 && finite(x) }, func(s *Settings) *float64 { return &s.Gamma }},
		{"label-smoothing", "probability that a preference is the wrong way round", "0 to below 0.5",
			func(x float64) bool { return x >= 0 && x < 0.5 }, func(s *Settings) *float64 { return &s.LabelSmoothing }},
		{"rpo-alpha", "weight of an added term of supervised fine-tuning on the chosen answer", "0 or more",
			func(x float64) bool { return x >= 0 && finite(x) }, func(s *Settings) *float64 { return &s.RPOAlpha }},
		{"ld-alpha", "weight of the tokens by which an answer is longer than the other; 1: plain sum", "0 to 1",
			func(x float64) bool { return x >= 0 && x <= 1 }, func(s *Settings) *float64 { return &s.LDAlpha }},
		{"desirable-weight", "weight of desirable answers", "above 0",
			func(x float64) bool { return x > 0 && finite(x) }, func(s *Settings) *float64 { return &s.DesirableWeight }},
		{"undesirable-weight", "weight of undesirable answers", "above 0",
			func(x float64) bool { return x > 0 && finite(x) }, func(s *Settings) *float64 { return &s.UndesirableWeight }},
	}
}

// Unset is Settings with every setting left to the method.
func Unset() Settings {
	var o Settings
	for _, s := range AllSettings() {
		*s.Field(&o) = math.NaN()
	}
	return o
}

// Configure gives the method with settings: those of o that are given, and its own defaults for the rest. It reports every
// setting that the method does not read and every value out of range.
func (m *Method) Configure(o Settings) (*Method, error) {
	c := *m
	c.set = m.defaults()
	var errs []error
	for _, s := range AllSettings() {
		x := *s.Field(&o)
		if math.IsNaN(x) {
			continue
		}
		if _, reads := m.Defaults[s.Name]; !reads {
			errs = append(errs, fmt.Errorf("--%s is given, and method %s does not read it; %s", s.Name, m.Name, m.reads()))
			continue
		}
		if !s.OK(x) {
			errs = append(errs, fmt.Errorf("--%s is %g; expected %s", s.Name, x, s.Expected))
			continue
		}
		*s.Field(&c.set) = x
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &c, nil
}

// defaults are the method's own; what it does not read is NaN.
func (m *Method) defaults() Settings {
	o := Unset()
	for _, s := range AllSettings() {
		if x, ok := m.Defaults[s.Name]; ok {
			*s.Field(&o) = x
		}
	}
	return o
}

// Settings are the method's settings: its defaults, or what Configure was given; NaN where it reads none, and where a mixture
// leaves one to its parts' defaults.
func (m *Method) Settings() Settings { return m.set }

func (m *Method) reads() string {
	if len(m.Defaults) == 0 {
		return "it reads no such option"
	}
	names := make([]string, 0, len(m.Defaults))
	for name := range m.Defaults {
		names = append(names, "--"+name)
	}
	sort.Strings(names)
	return "it reads " + strings.Join(names, ", ")
}
