package method

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/ggtune/ggtune/internal/setting"
)

// The settings that several methods read. One that a single method reads stands in its file.
var (
	beta = &setting.Setting{
		Name:  "beta",
		Usage: "strength of the pull towards the reference, or of the margin without one",
		Range: setting.Above(0, "above 0, such as 0.1"),
	}
	labelSmoothing = &setting.Setting{
		Name:  "label-smoothing",
		Usage: "probability that a preference is the wrong way round",
		Range: setting.Below(0, 0.5, "0 to below 0.5"),
	}
	rpoAlpha = &setting.Setting{
		Name:  "rpo-alpha",
		Usage: "weight of an added term of supervised fine-tuning on the chosen answer",
		Range: setting.AtLeast(0, "0 or more"),
	}
	ldAlpha = &setting.Setting{
		Name:  "ld-alpha",
		Usage: "weight of the tokens by which an answer is longer than the other; 1: plain sum",
		Range: setting.Within(0, 1, "0 to 1"),
	}
)

// Readers lists the methods with the settings they read.
func Readers() setting.Readers {
	r := setting.Readers{Kind: "method"}
	for _, m := range methods.All() {
		r.List = append(r.List, setting.Reader{Name: m.Name, Uses: m.Reads})
	}
	return r
}

// Configure gives the method with settings: those that are given, and its own defaults for the rest. It reports every
// setting of methods that this one does not read and every value out of range. What else of a method follows from its
// settings (Reference, Entropy, Unit) follows from these.
func (m *Method) Configure(given setting.Values) (*Method, error) {
	c := *m
	var unread []*setting.Setting
	var errs, bad []error
	c.set, unread, bad = setting.Resolve(given, m.Reads, Readers().Settings())
	for _, s := range unread {
		errs = append(errs, fmt.Errorf("--%s is given, and method %s does not read it; %s", s.Name, m.Name, m.reads()))
	}
	if errs = append(errs, bad...); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if m.follow != nil {
		if err := m.follow(&c, given); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// defaults are the method's own.
func (m *Method) defaults() setting.Values {
	v, _, _ := setting.Resolve(nil, m.Reads, nil)
	return v
}

// Settings are the method's settings: its defaults, or what Configure was given. What a mixture leaves to its parts'
// defaults is not there.
func (m *Method) Settings() setting.Values { return m.set }

func (m *Method) reads() string {
	if len(m.Reads) == 0 {
		return "it reads no such option"
	}
	names := make([]string, 0, len(m.Reads))
	for _, u := range m.Reads {
		names = append(names, "--"+u.Setting.Name)
	}
	sort.Strings(names)
	return "it reads " + strings.Join(names, ", ")
}
