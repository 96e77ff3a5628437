// Package method holds the training methods: each turns the log-probabilities of counted tokens into a loss and its
// gradient. It knows no engine, no token and no text.
//
// A method is one file with a package-level variable that registers it; the conformance test checks its gradient
// against finite differences.
package method

import (
	"fmt"

	"github.com/ggtune/ggtune/internal/registry"
	"github.com/ggtune/ggtune/internal/setting"
)

// A Sequence is a run of counted tokens that belong together: an answer, a text.
type Sequence struct {
	Start, Len int // place in Inputs.LogP
	// Example is the number of the example in the dataset. The sequences of one example are neighbours.
	Example int
	// Child tells the sequences of one example apart: 0 is the example's root, or the only sequence; 1, 2, … are the
	// continuations of a tree in order. Need says what they are.
	Child int
	Label float64 // the example's own verdict, where the data has one
}

// Inputs is what a method sees of one micro-batch, or, for a coupled method, of all micro-batches of a step.
type Inputs struct {
	LogP      []float64  // of the model in training, for each counted token, nats
	Ref       []float64  // of the reference model, for the same tokens; nil unless the method needs it
	Sequences []Sequence // in order, covering LogP without gap or overlap
	// Constant is what Method.Constant gave; nil: Evaluate asks it.
	Constant []float64

	// Of methods with a teacher: for each counted token Width log-probabilities of the model in training, nats: of
	// tokens that may stand in its place, itself among them, and behind them of all others together; and the teacher's
	// of the same tokens.
	Named, Teacher []float64
	Width          int
}

// A Metric is one figure of a method, kept as a weighted sum so that figures of micro-batches add up: Sum/Weight is
// shown. With Weight 0 there is none: nothing of what it measures was among the inputs.
type Metric struct {
	Name        string // snake_case, a key of metrics.jsonl
	Sum, Weight float64
}

// A Result is a method's verdict on its inputs.
type Result struct {
	// Sum is the loss summed over Units; the loop adds both over a step and divides once.
	Sum, Units float64
	Grad       []float64 // dSum/dLogP, of methods with a teacher dSum/dNamed
	Metrics    []Metric  // in a fixed order, the same names at every call
	Counted    int       // tokens of the sequences that Need.Trains; Evaluate fills it in
}

// A Need says what a method's examples are.
type Need uint8

// The kinds of example that methods learn from.
const (
	// Answers are plain examples, one Sequence each.
	Answers Need = iota
	// Pairs are a prompt with two answers: Child 1 is chosen, Child 2 rejected.
	Pairs
	// Verdicts are a prompt with an answer (Child 1) under a Label, 1 desirable and 0 not, and the answer to another
	// example's prompt (Child 2), which is not trained: what it gains is an estimate of the distance from the
	// reference.
	Verdicts
)

// Trains says whether the loss of an example's sequence with that Child counts.
func (n Need) Trains(child int) bool { return n != Verdicts || child == 1 }

// A Method is one training method. Its Loss is a pure function.
type Method struct {
	Name string
	Doc  string // one line, with the source
	Unit string // what Units counts: token, pair, answer
	Need Need
	// Reference says that Loss needs Inputs.Ref.
	Reference bool
	// Teacher says that Loss is made of Inputs.Named and Inputs.Teacher.
	Teacher bool
	// Coupled says that the loss of one row depends on others of the step: Loss must see the whole step at once.
	Coupled bool
	// AllTokens says that every token of an example counts, prompts included.
	AllTokens bool
	// Reads lists the settings that the method reads, with its defaults; in a mixture they are the parts'.
	Reads []setting.Use

	Loss func(in *Inputs, s setting.Values) (Result, error)

	// Constant gives, for each token, a number that follows from the inputs and that the loss takes as given: no
	// gradient goes through it. nil: there is none.
	Constant func(in *Inputs) []float64
	// Measure is what held-out rows are measured by where a lower loss is not a better one; nil: the method itself.
	Measure *Method

	// OverPairs is the form that a method of plain answers takes in a mixture with methods over pairs (see New), under
	// the same name; nil: none.
	OverPairs *Method

	set setting.Values // see Configure
}

var methods = registry.New[*Method]("method")

func register(m *Method) *Method {
	m.set = m.defaults()
	return methods.Register(m.Name, m)
}

// Get gives the method of that name with its default settings; the error lists the names.
func Get(name string) (*Method, error) { return methods.Get(name) }

// Names lists the methods, sorted.
func Names() []string { return methods.Names() }

// Evaluate checks the inputs, calls the method's loss and checks what it returns.
func (m *Method) Evaluate(in *Inputs) (Result, error) {
	if m.Reference && len(in.Ref) != len(in.LogP) {
		return Result{},
			fmt.Errorf("method %s needs the reference's log-probability of every counted token: have %d of %d", m.Name,
				len(in.Ref), len(in.LogP))
	}
	at, counted := 0, 0
	for i, s := range in.Sequences {
		if s.Start != at || s.Len < 1 {
			return Result{},
				fmt.Errorf("method %s: sequence %d is tokens %d to %d, expected it to begin at %d", m.Name, i, s.Start,
					s.Start+s.Len, at)
		}
		at += s.Len
		if m.Need.Trains(s.Child) {
			counted += s.Len
		}
	}
	if at != len(in.LogP) {
		return Result{},
			fmt.Errorf("method %s: %d log-probabilities for sequences of %d tokens", m.Name, len(in.LogP), at)
	}
	slopes := len(in.LogP)
	if m.Teacher {
		if err := m.checkTaught(in); err != nil {
			return Result{}, err
		}
		slopes = len(in.Named)
	}
	r, err := m.loss(in, m.set)
	if err != nil {
		return Result{}, fmt.Errorf("method %s: %w", m.Name, err)
	}
	if len(r.Grad) != slopes {
		return Result{}, fmt.Errorf("method %s: %d gradients for %d log-probabilities", m.Name, len(r.Grad), slopes)
	}
	r.Counted = counted
	return r, nil
}

// loss is Loss of inputs with what is constant in them.
func (m *Method) loss(in *Inputs, s setting.Values) (Result, error) {
	if m.Constant != nil && in.Constant == nil {
		whole := *in
		whole.Constant = m.Constant(in)
		in = &whole
	}
	return m.Loss(in, s)
}

// Append puts the inputs of one micro-batch behind those of others.
func (in *Inputs) Append(more *Inputs) {
	base := len(in.LogP)
	in.LogP = append(in.LogP, more.LogP...)
	in.Ref = append(in.Ref, more.Ref...)
	in.Named, in.Teacher = append(in.Named, more.Named...), append(in.Teacher, more.Teacher...)
	in.Width = more.Width
	for _, s := range more.Sequences {
		s.Start += base
		in.Sequences = append(in.Sequences, s)
	}
}

// AddMetrics adds figures of the same names in the same order to sums, which may be nil.
func AddMetrics(sums, more []Metric) ([]Metric, error) {
	if sums == nil {
		return append(sums, more...), nil
	}
	if len(sums) != len(more) {
		return sums, fmt.Errorf("the method gave %d figures, and %d before", len(more), len(sums))
	}
	for i := range sums {
		if sums[i].Name != more[i].Name {
			return sums, fmt.Errorf("the method gave figure %q where it gave %q before", more[i].Name, sums[i].Name)
		}
		sums[i].Sum += more[i].Sum
		sums[i].Weight += more[i].Weight
	}
	return sums, nil
}
