// Package method holds the training methods: each turns what a forward pass gives, mostly the log-probabilities of
// counted tokens, into a loss and its gradient. It knows no engine, no token and no text.
//
// A method is one file with a package-level variable that registers it; the conformance test checks its gradient
// against finite differences.
package method

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/internal/registry"
	"github.com/ggtune/ggtune/internal/setting"
)

// A Sequence is a run of counted tokens that belong together: an answer, a text.
type Sequence struct {
	Start, Len int // place among the counted tokens, as in Inputs.LogP
	// Example is the number of the example in the dataset. The sequences of one example are neighbours.
	Example int
	// Child tells the sequences of one example apart: 0 is the example's root, or the only sequence; 1, 2, … are the
	// continuations of a tree in order. Need says what they are.
	Child int
	Label float64 // the example's own verdict or score, where the data has one
	// By how much the data scores the example's first answer above its second, and what the example weighs; 0 unless
	// Method.Weighs. Of a text that does not belong to its anchor, by how much the data's teacher scores the one that
	// does above it; see Taught.
	Margin, Weight float64
	// Again says that its tokens are there for an earlier sequence too: an answer that is in several pairs.
	Again bool
	// Text tells the texts of methods of vectors apart: equal ones have one number.
	Text uint64
}

// Inputs is what a method sees of one micro-batch, or, for a coupled method, of all micro-batches of a step.
type Inputs struct {
	LogP      []float64  // of the model in training, for each counted token, nats; nil of a method of AtEnds
	Ref       []float64  // of the reference model, for the same tokens; nil unless the method needs it
	Sequences []Sequence // in order, covering the counted tokens without gap or overlap
	// Value is what the value head says, where Method.Value has it; Entropy is that of the whole vocabulary's
	// distribution that predicts each counted token, nats. Each is nil unless the method needs it.
	Value, Entropy []float64
	// Constant is what Method.Constant gave; nil: Evaluate asks it.
	Constant []float64
	// Own are the method's Learned numbers as they are; nil: as they begin.
	Own []float64
	// Pooled is the vector that the model in training makes of each of Sequences, Width numbers, of whatever length it
	// has; nil unless Method.Need.Pools. Ref is then the reference's, as many numbers of each as it has.
	Pooled []float64

	// Of methods with a teacher: for each counted token Width log-probabilities of the model in training, nats: of
	// tokens that may stand in its place, itself among them, and behind them of all others together; and the teacher's
	// of the same tokens.
	Named, Teacher []float64
	Width          int // of Named and Teacher, or of Pooled

	Rolled
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
	// dSum/dValue and dSum/dEntropy, of methods that need these.
	GradValue, GradEntropy []float64
	GradPooled             []float64 // dSum/dPooled, of methods of vectors
	GradOwn                []float64 // dSum/dOwn

	Metrics []Metric // in a fixed order, the same names at every call
	Counted int      // tokens of the sequences that Need.Trains; Evaluate fills it in
}

// A Need says what a method's examples are.
type Need uint8

// The kinds of example that methods learn from.
const (
	// Answers are plain examples, one Sequence each.
	Answers Need = iota
	// Pairs are a prompt with two answers: Child 1 is chosen, Child 2 rejected. A list of answers is several, one after
	// the other.
	Pairs
	// Verdicts are a prompt with an answer (Child 1) under a Label, 1 desirable and 0 not, and the answer to another
	// example's prompt (Child 2), which is not trained: what it gains is an estimate of the distance from the
	// reference.
	Verdicts
	// Rollouts are a prompt with the answers that the model itself wrote to it: Child k is one of them, and all its
	// counted tokens are the answer, the token that ends it among them. Inputs.Rolled tells of them, of methods that
	// are rewarded.
	Rollouts
	// Labels are a prompt with an answer (Child 1) under a Label, 1 desirable and 0 not.
	Labels
	// Groups are an anchor, such as a query (Child 1), with a text that belongs to it (Child 2), and perhaps some that
	// do not (Child 3, 4, …).
	Groups
	// Likenesses are two texts (Child 1, Child 2) with how much they are alike as the Label.
	Likenesses
	// Views are a text twice (Child 1, Child 2), of which dropout makes two vectors.
	Views
)

// Pools says that examples are texts, of each of which the method sees one vector: a Sequence is a whole text.
func (n Need) Pools() bool { return n == Groups || n == Likenesses || n == Views }

// Other says whether a reference that makes vectors is the model as training began or another, which may read texts as
// other tokens.
type Other uint8

// The references that make vectors.
const (
	NoOther Other = iota
	// Guided is another model where one is named, a guide.
	Guided
	// Taught is another model, a teacher, where FromTeacher says so; else the data has what a teacher says, and there
	// is no reference.
	Taught
)

// Values says where a method asks for the number of the value head.
type Values uint8

// The places of values.
const (
	NoValues Values = iota
	// AtEnds is at the last counted token of each sequence: what the whole answer is worth. Inputs.Value has one for
	// each of Inputs.Sequences, and the method sees no log-probabilities: the pass computes none.
	AtEnds
	// AtTokens is at the token before each counted one: what is expected from there on. Inputs.Value has one for each
	// counted token; answers that share a prompt share that of its last token.
	AtTokens
)

// Of is how many values there are for that many sequences and counted tokens.
func (v Values) Of(sequences, counted int) int {
	switch v {
	case AtEnds:
		return sequences
	case AtTokens:
		return counted
	}
	return 0
}

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
	// Other says whose vectors Inputs.Ref are, of methods of vectors with a reference.
	Other Other
	// Value says where Loss needs Inputs.Value, Entropy that it needs Inputs.Entropy.
	Value   Values
	Entropy bool
	// Weighs says that Loss reads the sequences' Margin and Weight.
	Weighs bool
	// Negatives says that each of Groups must have a text that does not belong to its anchor.
	Negatives bool
	// Scores says which Labels of Likenesses the method learns from; without Holds, any.
	Scores setting.Range
	// Single says that of pairs and lists each answer is looked at by itself, once.
	Single bool
	// Coupled says that the loss of one row depends on others of the step: Loss must see the whole step at once.
	Coupled bool
	// Drops is the usual rate of dropout in the model, of a method that learns from what dropout leaves; 0: it needs
	// none.
	Drops float64
	// AllTokens says that every token of an example counts, prompts included.
	AllTokens bool
	// Advantages says what each token of a rollout's answers was worth, of methods of Rollouts: a pure function, asked
	// once a rollout; nil: no rewards say what answers are worth, and all are learned from. carry is what it gave to
	// carry on at the last rollout, nil at the first. See Credit.
	Advantages func(all []Answer, carry []float64, s setting.Values) (Advantages, error)
	// Enough says, from the figures of an update, that the policy has moved so far from the one that wrote the answers
	// that what updates their rollout has left are left out; nil: never. See Stop.
	Enough func(figures []Metric, s setting.Values) bool
	// Usual are the defaults of a run by this method that are no settings of its own, of methods of Rollouts.
	Usual Usual
	// Reads lists the settings that the method reads, with its defaults; in a mixture they are the parts'.
	Reads []setting.Use

	Loss func(in *Inputs, s setting.Values) (Result, error)

	// Constant gives, for each token, a number that follows from the inputs and that the loss takes as given: no
	// gradient goes through it. nil: there is none.
	Constant func(in *Inputs, s setting.Values) []float64
	// Measure is what held-out rows are measured by where a lower loss is not a better one; nil: the method itself.
	Measure *Method

	// Learned are numbers of the method's own that are learned beside the model's; they may follow from the settings.
	Learned []Learned

	// OverPairs is the form that a method of plain answers takes in a mixture with methods over pairs (see New), under
	// the same name; nil: none.
	OverPairs *Method

	set setting.Values // see Configure
	// follow sets what follows from the settings: whether there is a reference, whether entropies are needed, what Unit
	// is, defaults that depend on other settings. given are those that were given. nil: nothing follows.
	follow func(m *Method, given setting.Values) error
}

// A Learned is a number of a method's own that is learned.
type Learned struct {
	Name  string // snake_case; a checkpoint keeps it under it
	Start float64
	Most  float64 // what it is cut to after each update
	// Setting is the one whose place it takes, and Means its value at x.
	Setting *setting.Setting
	Means   func(x float64) float64
}

// Usual is how rollouts are usually made and learned from by a method.
type Usual struct {
	Generations int     // answers to a prompt
	Least       int     // the fewest of them that the method makes sense with
	Iterations  int     // times that a rollout's answers are gone through
	LR, LargeLR float64 // peak learning rates of an adapter: for models below, and from 3 billion parameters
}

// FromTeacher is a Taught method that learns from another model's vectors.
func (m *Method) FromTeacher() *Method {
	c := *m
	c.Reference = true
	return &c
}

var methods = registry.New[*Method]("method")

func register(m *Method) *Method {
	m.set = m.defaults()
	if m.follow != nil {
		if err := m.follow(m, nil); err != nil {
			panic(fmt.Sprintf("method %s: its defaults: %v", m.Name, err))
		}
	}
	return methods.Register(m.Name, m)
}

// Get gives the method of that name with its default settings; the error lists the names.
func Get(name string) (*Method, error) {
	m, err := methods.Get(name)
	if here, ok := elsewhere[name]; ok && err != nil {
		return nil, fmt.Errorf("method %q is %s here", name, here)
	}
	return m, err
}

// elsewhere are names under which sentence-transformers' users know methods.
var elsewhere = map[string]string{
	"MultipleNegativesRankingLoss": "mnrl", "GISTEmbedLoss": "gist", "TripletLoss": "triplet",
	"CoSENTLoss": "cosent", "AnglELoss": "angle", "CosineSimilarityLoss": "cosine", "ContrastiveLoss": "contrastive",
	"MarginMSELoss": "margin-mse", "DistillKLDivLoss": "distill-kl", "SimCSE": "simcse",
	"cached-mnrl":                        "mnrl, whose steps of any size take the memory of one micro-batch,",
	"CachedMultipleNegativesRankingLoss": "mnrl, whose steps of any size take the memory of one micro-batch,",
	"CachedGISTEmbedLoss":                "gist, whose steps of any size take the memory of one micro-batch,",
}

// Names lists the methods, sorted.
func Names() []string { return methods.Names() }

// Rewarded says that the method learns from answers by what rewards say of them.
func (m *Method) Rewarded() bool { return m.Advantages != nil }

// LogP says whether the method sees log-probabilities.
func (m *Method) LogP() bool { return m.Value != AtEnds && !m.Need.Pools() }

// Evaluate checks the inputs, calls the method's loss and checks what it returns.
func (m *Method) Evaluate(in *Inputs) (Result, error) {
	at, counted := 0, 0
	for i, s := range in.Sequences {
		if s.Start != at || s.Len < 1 {
			return Result{},
				fmt.Errorf("method %s: sequence %d is tokens %d to %d, expected it to begin at %d", m.Name, i, s.Start,
					s.Start+s.Len, at)
		}
		at += s.Len
		if m.Need.Trains(s.Child) && !s.Again {
			counted += s.Len
		}
	}
	if err := m.check(in, at); err != nil {
		return Result{}, err
	}
	if in = m.begun(in); len(in.Own) != len(m.Learned) {
		return Result{}, fmt.Errorf("method %s: %d numbers of its own, expected %d", m.Name, len(in.Own),
			len(m.Learned))
	}
	r, err := m.loss(in, m.set)
	if err != nil {
		return Result{}, fmt.Errorf("method %s: %w", m.Name, err)
	}
	slopes := len(in.LogP)
	if m.Teacher {
		slopes = len(in.Named)
	}
	for _, g := range []struct {
		have, want int
		by         string
	}{{len(r.Grad), slopes, "log-probabilities"}, {len(r.GradValue), len(in.Value), "values"},
		{len(r.GradEntropy), len(in.Entropy), "entropies"}, {len(r.GradPooled), len(in.Pooled), "vectors' numbers"},
		{len(r.GradOwn), len(m.Learned), "numbers of its own"}} {
		if g.have != g.want {
			return Result{}, fmt.Errorf("method %s: %d gradients for %d %s", m.Name, g.have, g.want, g.by)
		}
	}
	r.Counted = counted
	return r, nil
}

// check refuses inputs that lack what the method needs of that many counted tokens.
func (m *Method) check(in *Inputs, counted int) error {
	of := func(needed bool, n int) int {
		if needed {
			return n
		}
		return 0
	}
	if n := of(m.LogP(), counted); len(in.LogP) != n {
		return fmt.Errorf("method %s: %d log-probabilities for sequences of %d tokens", m.Name, len(in.LogP), n)
	}
	if m.Need.Pools() {
		return m.checkPooled(in)
	}
	if m.Reference && len(in.Ref) != len(in.LogP) {
		return fmt.Errorf("method %s needs the reference's log-probability of every counted token: have %d of %d",
			m.Name, len(in.Ref), len(in.LogP))
	}
	if n := m.Value.Of(len(in.Sequences), counted); len(in.Value) != n {
		return fmt.Errorf("method %s: %d values for %d sequences of %d tokens, expected %d", m.Name, len(in.Value),
			len(in.Sequences), counted, n)
	}
	if n := of(m.Entropy, counted); len(in.Entropy) != n {
		return fmt.Errorf("method %s: %d entropies for sequences of %d tokens, expected %d", m.Name, len(in.Entropy),
			counted, n)
	}
	if m.Rewarded() {
		return m.checkRolled(in)
	}
	if m.Teacher {
		return m.checkTaught(in)
	}
	return nil
}

// begun gives inputs the method's own numbers where they have none.
func (m *Method) begun(in *Inputs) *Inputs {
	if in.Own != nil || m.Learned == nil {
		return in
	}
	whole := *in
	for _, l := range m.Learned {
		whole.Own = append(whole.Own, l.Start)
	}
	return &whole
}

// loss is Loss of inputs with what is constant in them.
func (m *Method) loss(in *Inputs, s setting.Values) (Result, error) {
	if m.Constant != nil && in.Constant == nil {
		whole := *in
		whole.Constant = m.Constant(in, s)
		in = &whole
	}
	return m.Loss(in, s)
}

// Append puts the inputs of one micro-batch behind those of others.
func (in *Inputs) Append(more *Inputs) {
	base := 0
	if n := len(in.Sequences); n > 0 {
		base = in.Sequences[n-1].Start + in.Sequences[n-1].Len
	}
	in.LogP = append(in.LogP, more.LogP...)
	in.Ref = append(in.Ref, more.Ref...)
	in.Named, in.Teacher = append(in.Named, more.Named...), append(in.Teacher, more.Teacher...)
	in.Width = more.Width
	in.Value, in.Entropy = append(in.Value, more.Value...), append(in.Entropy, more.Entropy...)
	in.Pooled = append(in.Pooled, more.Pooled...)
	in.Rolled.append(&more.Rolled)
	for _, s := range more.Sequences {
		s.Start += base
		in.Sequences = append(in.Sequences, s)
	}
}

// Cut gives the derivatives by the first of the inputs that were appended for r, and those by the others.
func (r Result) Cut(first *Inputs) (mine, rest Result) {
	n := len(first.LogP)
	if first.Named != nil {
		n = len(first.Named)
	}
	mine.Grad, rest.Grad = r.Grad[:n], r.Grad[n:]
	mine.GradValue, rest.GradValue = r.GradValue[:len(first.Value)], r.GradValue[len(first.Value):]
	mine.GradEntropy, rest.GradEntropy = r.GradEntropy[:len(first.Entropy)], r.GradEntropy[len(first.Entropy):]
	mine.GradPooled, rest.GradPooled = r.GradPooled[:len(first.Pooled)], r.GradPooled[len(first.Pooled):]
	return mine, rest
}

// Slopes lists all derivatives.
func (r *Result) Slopes() []float64 {
	return slices.Concat(r.Grad, r.GradValue, r.GradEntropy, r.GradPooled, r.GradOwn)
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
