package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/alike"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/optim"
)

// Loss is what the configuration trains by: Method, weighed and with its settings.
func (c *Config) Loss() (*method.Method, error) {
	how, err := method.New(c.Method, c.LossWeights, c.Settings)
	if err == nil && how.Other == method.Taught && c.Teacher != "" {
		how = how.FromTeacher()
	}
	if err != nil || len(c.Matryoshka) == 0 || !how.Need.Pools() {
		return how, err
	}
	widths, err := c.widths()
	if err != nil {
		return nil, err
	}
	return how.Nested(widths)
}

// headed says that a head is trained beside the adapter.
func (c *Config) headed() bool {
	how, err := c.Loss()
	return err == nil && how.Value != method.NoValues
}

// scores says that what is trained gives scores, and writes nothing.
func (c *Config) scores() bool {
	how, err := c.Loss()
	return err == nil && how.Value == method.AtEnds
}

// The values of Tune.
const (
	tuneFull = "full"
	tunePart = "part"
)

// tunes are the kinds of adapter, and what is no adapter.
var tunes = func() (out []string) {
	for _, k := range adapter.Kinds() {
		out = append(out, k.String())
	}
	return append(out, tuneFull, tunePart)
}()

// outTypes are the values of OutType: more compact types are quantize's.
var outTypes = []string{autoWord, "f32", "f16", "bf16", "q8_0"}

// masters are the values of Master, the default first.
var masters = []string{"f32", "bf16"}

// tunes is Tune, under whichever of its names it was given.
func (c *Config) tunes() string {
	if c.Full {
		return tuneFull
	}
	return c.Tune
}

// Whole says that tensors of the model itself are trained, and no adapter.
func (c *Config) Whole() bool { return c.tunes() == tuneFull || c.tunes() == tunePart }

// Kind is that of the adapter, where one is trained.
func (c *Config) Kind() adapter.Kind {
	k, err := adapter.ParseKind(c.tunes())
	if err != nil {
		return adapter.LoRA
	}
	return k
}

// smallKinds are the kinds of adapters whose numbers, as they are trained, may leave in f16.
var smallKinds = []adapter.Kind{adapter.LoRA, adapter.LoRAFA}

// LeavesAsTrained says that the adapter's numbers are those that are trained: an OutType of f16 is for such.
func (c *Config) LeavesAsTrained() bool {
	return !c.Whole() && slices.Contains(smallKinds, c.Kind()) && (c.InitAdapter != "" || !adapter.Subtracts(c.Init))
}

// LeavesModel says that llama.cpp takes what comes out as a model only: tensors of the model, or an adapter merged into
// it.
func (c *Config) LeavesModel() bool { return c.Whole() || c.Kind().Merged() }

// canonical is c under the newer of two names.
func (c *Config) canonical() *Config {
	out := *c
	out.Tune, out.Full = c.tunes(), false
	return &out
}

// Optimizer is the rule of the updates. The error is an *Error.
func (c *Config) Optimizer() (*optim.Optimizer, error) {
	o, err := optim.Get(c.Optim)
	if err != nil {
		return nil, &Error{fmt.Errorf("--%s: %w", c.optionOf(&c.Optim).Name, err)}
	}
	return o, nil
}

// Rule is what the optimizer must know beside its settings. EmbedLR tells once LR is a number.
func (c *Config) Rule() optim.Options {
	o := optim.Options{LoRAPlus: c.LoRAPlus, EMA: c.EMA, Seed: c.Seed, MuonScale: c.MuonScale}
	if c.LR.N > 0 {
		o.Embed = c.EmbedLR / c.LR.N
	}
	return o
}

// OptimizerBytes is what the optimizer takes beside parameters of these shapes and their gradients: memory it keeps,
// averages of the parameters included, and what an update takes beside. Validate has found that it is known.
func (c *Config) OptimizerBytes(params []*engine.Param) (kept, work int64) {
	o, err := c.Optimizer()
	if err != nil {
		return 0, 0
	}
	if o.WorkBytes != nil {
		work = o.WorkBytes(params)
	}
	kept = o.StateBytes(params)
	if c.EMA > 0 {
		for _, p := range params {
			kept += 4 * p.Len()
		}
	}
	return kept, work
}

// Course plans the learning rates of a run of that many steps. The error is an *Error.
func (c *Config) Course(steps int) (optim.Course, error) {
	s, err := optim.GetSchedule(c.Schedule)
	if err != nil {
		return optim.Course{}, &Error{err}
	}
	course, err := s.Course(c.Settings, steps)
	if err != nil {
		return optim.Course{}, &Error{err}
	}
	return course, nil
}

// Resolve puts values in the place of what is left to ggtune, and what the method, the schedule and the optimizer take
// for what is not given into Settings. It says what was chosen for this model and data, and why.
func (c *Config) Resolve(how *method.Method, f Fit) (chosen []string, err error) {
	s, err := optim.GetSchedule(c.Schedule)
	if err != nil {
		return nil, &Error{err}
	}
	o, err := c.Optimizer()
	if err != nil {
		return nil, err
	}
	chosen = c.choose(how, o, f)
	if how, err = c.Loss(); err != nil {
		return nil, err
	}
	set := maps.Clone(how.Settings())
	for _, u := range slices.Concat(s.Reads, o.Reads) {
		x, given := c.Settings[u.Setting.Name]
		if !given {
			x = u.Default
		}
		set[u.Setting.Name] = x
	}
	c.Settings = set
	return chosen, nil
}

// noAdapter is the RefAdapter of a run that starts from an adapter and is still held to the base alone.
const noAdapter = "none"

// FindAdapters puts the files of the adapters that InitAdapter and RefAdapter name in their place: they may name a
// run's directory, a checkpoint's, or that of an adapter of PEFT's. Who opens adapters calls it first.
func (c *Config) FindAdapters() error {
	for _, field := range []*string{&c.InitAdapter, &c.RefAdapter} {
		if *field == "" || *field == noAdapter || adapter.IsPEFT(*field) { // which training reads as it is
			continue
		}
		file, err := checkpoint.FindAdapter(*field)
		if err != nil {
			return fmt.Errorf("--%s: %w", c.optionOf(field).Name, err)
		}
		*field = file
	}
	return nil
}

// ReferenceAdapter is the file of the adapter with which the base is the reference; "" for the base alone.
func (c *Config) ReferenceAdapter() string {
	path := c.RefAdapter
	if path == "" {
		path = c.InitAdapter
	}
	if path == noAdapter {
		return ""
	}
	return path
}

// Named is how many tokens a teacher names in the place of each that counts: no more than there are.
func (c *Config) Named(vocab int) int { return min(c.TeacherTop, vocab) }

// ColumnNames reads Columns: the data's name of each field that is renamed, and the fields that may be left out.
func (c *Config) ColumnNames() (names map[string]string, unwanted []string, err error) {
	names = map[string]string{}
	for _, s := range c.Columns {
		name, column, ok := strings.Cut(s, "=")
		switch {
		case !ok || column == "":
			return nil, nil, fmt.Errorf("%q renames nothing; expected NAME=COLUMN, such as completion=answer, "+
				"or =COLUMN for one that may be left out", s)
		case name == "":
			unwanted = append(unwanted, column)
		default:
			names[name] = column
		}
	}
	return names, unwanted, nil
}

// Dedups says which duplicates are left out: Near ones means exact ones too.
func (c *Config) Dedups() alike.How { return alike.How(slices.Index(dedups, c.Dedup)) }

// PlainControl says that the texts of control tokens in literal text are text like any other.
func (c *Config) PlainControl() bool { return c.ControlTokens == controlTokens[1] }

// maxLayers is more than any model has.
const maxLayers = 1 << 16

// LayerNumbers gives the numbers of the Layers of a model that has n, ascending; nil means all. The error is an *Error.
func (c *Config) LayerNumbers(n int) ([]int, error) {
	layers, err := parseLayers(c.Layers, n)
	if err != nil {
		return nil, &Error{fmt.Errorf("--%s: %w", c.optionOf(&c.Layers).Name, err)}
	}
	return layers, nil
}

// parseLayers reads "0-3,8,-1" for a model of n layers into ascending numbers; -1 is the last layer. "" gives nil: all.
func parseLayers(s string, n int) ([]int, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	wrong := func(part string) error {
		return fmt.Errorf("%q is no layer or range of layers; expected numbers as in 0-3,8,-1 (-1 is the last)", part)
	}
	number := func(part, text string) (int, error) {
		i, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return 0, wrong(part)
		}
		if i < 0 {
			i += n
		}
		if i < 0 || i >= n {
			return 0, fmt.Errorf("layer %s is outside the model's layers 0 to %d", strings.TrimSpace(text), n-1)
		}
		return i, nil
	}
	var out []int
	for _, part := range strings.Split(s, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if from == "" && ranged { // a negative number, or a range that begins with one
			from, to, ranged = strings.Cut(to, "-")
			from = "-" + from
		}
		first, err := number(part, from)
		if err != nil {
			return nil, err
		}
		last := first
		if ranged {
			if last, err = number(part, to); err != nil {
				return nil, err
			}
		}
		if last < first || last-first > maxLayers {
			return nil, wrong(part)
		}
		for i := first; i <= last; i++ {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
