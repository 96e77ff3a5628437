package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/environment"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/finetune/template"
)

// RewardModel is the name of the reward by a trained model, which who has its engine makes.
const RewardModel = "model"

// MostParallel is the largest RolloutParallel: llama.cpp's contexts have no more sequences. usualParallel is the
// default: more answers at a time are hardly faster on a processor, which 8 keep busy, and each takes memory for keys
// and values.
const (
	MostParallel  = 256
	usualParallel = 16
)

// rolloutOptions are those of methods that learn from answers which the model writes meanwhile.
func (c *Config) rolloutOptions() []Option {
	kinds := []string{RewardModel + "=DIR (a run with --method reward)"}
	for _, k := range reward.Kinds() {
		kinds = append(kinds, k.Spec())
	}
	return []Option{
		{Name: "reward", Value: &c.Reward, Eval: true, Usage: "what answers are rewarded for, as `NAME[=ARG]`: " +
			strings.Join(kinds, ", ") + "; may be given again"},
		{Name: "reward-weights", Value: &c.RewardWeights, Eval: true, Example: "1,0.5",
			Usage: "`WEIGHT` of each reward, in their order, behind them those of --reward-cmd and --env-cmd, " +
				"with commas; 0 measures and rewards nothing"},
		{Name: "reward-column", Value: &c.RewardColumn, Eval: true,
			Usage: "`COLUMN` of the data with the right answer; without it, the first there is of " +
				strings.Join(reward.Columns(), ", ")},
		{Name: "reward-cmd", Value: &c.RewardCmd, Eval: true,
			Usage: "`COMMAND` that rewards: it reads an answer on each line, as JSON, and prints a number for each"},
		{Name: "reward-timeout", Value: &c.RewardTimeout, Eval: true, Resume: Free,
			Usage: "`SECONDS` that --reward-cmd may take over the answers of a rollout"},
		{Name: "env-cmd", Value: &c.EnvCmd, Eval: true,
			Usage: "`COMMAND` that the model talks with, in several turns, and that rewards it (a game, tools): " +
				"it reads a turn on each line, as JSON, and prints an answer to each"},
		{Name: "env-timeout", Value: &c.EnvTimeout, Eval: true, Resume: Free,
			Usage: "`SECONDS` that --env-cmd may take over a turn of a rollout's exchanges"},
		{Name: "max-turns", Value: &c.MaxTurns, Eval: true, Usage: "with --env-cmd: `N` turns of the model at most"},
		{Name: "num-generations", Value: &c.NumGenerations, Eval: true, Usage: "write `N` answers to each prompt; " +
			"auto: in training " + c.usual(func(u method.Usual) int { return u.Generations }) + ", to measure 1"},
		{Name: "rollout-prompts", Value: &c.RolloutPrompts, Eval: true,
			Usage: "answer `N` prompts before something is learned from the answers"},
		{Name: "max-completion-length", Value: &c.MaxCompletion, Eval: true, Usage: "answers of at most `N` tokens; " +
			"of several turns, with what --env-cmd says between them"},
		{Name: "group-tokens", Value: &c.GroupTokens, before: func() { c.GroupTokens = 0 }, Usage: "learn from " +
			"answers of at most `N` tokens together in a row, from others to the same prompt in further rows; " +
			"0: from all in one"},
		{Name: "temperature", Value: &c.Temperature, Eval: true, Usage: "draw answers at this `TEMPERATURE`, from " +
			"all tokens, and take probabilities at it in training"},
		{Name: "num-iterations", Value: &c.NumIterations, Usage: "go through a rollout's answers `N` times; auto: " +
			c.usual(func(u method.Usual) int { return u.Iterations })},
		{Name: "num-mini-batches", Value: &c.NumMiniBatches, Usage: "make `N` updates each time"},
		{Name: "value-adapter", Value: &c.ValueAdapter, Usage: "of ppo: `WHOSE` adapter values are read from: shared " +
			"(the one that is trained), or own (another beside it, in twice the time)"},
		{Name: "lmbda", Value: &c.Lmbda, Eval: true, Usage: "of gkd: `SHARE` of the prompts that the model answers " +
			"itself; of the others the data's answer is learned from"},
		{Name: "sampler-cap", Value: &c.SamplerCap, Usage: "weigh tokens by how much likelier training finds them " +
			"than the writer of the answers did, at most by `WEIGHT`; 0: weigh them alike"},
		{Name: "rollout-parallel", Value: &c.RolloutParallel, Eval: true, Usage: "write at most `N` answers at a " +
			"time; fewer where there is no room for as many"},
		{Name: "rollout-engine", Value: &c.RolloutEngine, Eval: true, Usage: "`WHAT` writes answers: " +
			"llama.cpp, or ggtune, by whose kernels a token is as likely as in training, to the bit"},
		{Name: "rollout-lean", Value: &c.RolloutLean, Eval: true, Usage: "write answers without llama.cpp's own " +
			"copies of the weights: in less memory, and more slowly where weights are of K types; so too where " +
			"there is no room for them"},
	}
}

// usual lists the methods' defaults of something.
func (c *Config) usual(of func(method.Usual) int) string {
	var out []string
	for _, name := range method.Names() {
		if how, err := method.Get(name); err == nil && how.Need == method.Rollouts {
			out = append(out, fmt.Sprintf("%s %d", name, of(how.Usual)))
		}
	}
	return strings.Join(out, ", ")
}

// UnreadRollouts names the options given, as a function says, that have no effect with a method other than of Rollouts.
func (c *Config) UnreadRollouts(given func(option string) bool) (notes []string) {
	for _, o := range c.rolloutOptions() {
		if o.Eval && given(o.Name) {
			notes = append(notes, fmt.Sprintf("--%s has no effect with --method %s; give it with %s", o.Name, c.Method,
				c.rolloutMethods()))
		}
	}
	return notes
}

// Rewards say what the answers are worth, with further kinds of reward. The caller closes them.
func (c *Config) Rewards(note func(string), kinds ...*reward.Kind) (*reward.Rewards, error) {
	r, err := reward.Open(c.Reward, c.RewardWeights, reward.Options{Column: c.RewardColumn, Command: c.RewardCmd,
		Timeout: seconds(c.RewardTimeout), Environment: c.EnvCmd != "", Note: note, Kinds: kinds})
	if err != nil {
		return nil, &Error{err}
	}
	return r, nil
}

// Environment is what answers the model's turns; nil: an answer is one. The caller closes it.
func (c *Config) Environment(note func(string)) (*environment.Environment, error) {
	if c.EnvCmd == "" {
		return nil, nil
	}
	e, err := environment.Open(environment.Config{Command: c.EnvCmd, Timeout: seconds(c.EnvTimeout), Note: note})
	if err != nil {
		return nil, &Error{err}
	}
	return e, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Wants lists what a pass of what is trained is asked for: values are another's where they have an adapter of their
// own.
func (c *Config) Wants(how *method.Method) []*engine.Output {
	want := encode.Wants(how)
	if c.OwnValues() {
		want = slices.DeleteFunc(want, func(o *engine.Output) bool { return o == engine.Value })
	}
	return want
}

// chooseRollouts puts the method's own values in the place of what was left to ggtune. They are in the help, and no
// news. Of a micro-batch, which is a prompt with its answers unless Batch says otherwise, an update has as many as it
// takes.
func (c *Config) chooseRollouts(how *method.Method) {
	if c.NumGenerations.Auto {
		c.NumGenerations = Fixed(how.Usual.Generations)
	}
	if c.NumIterations.Auto {
		c.NumIterations = Fixed(how.Usual.Iterations)
	}
	if c.Accum.Auto {
		c.Accum = Fixed(c.ofRollout())
	}
	if c.Epochs.Auto {
		c.Epochs = Fixed(1)
	}
}

// MeasuredGenerations is how many answers to each prompt an evaluation has written.
func (c *Config) MeasuredGenerations() int {
	if c.NumGenerations.Auto {
		return 1
	}
	return c.NumGenerations.N
}

// ofRollout is how many micro-batches a rollout is at most where no prompt gives several rows; batches of none are
// refused elsewhere.
func (c *Config) ofRollout() int { return (c.RolloutPrompts + c.Batch - 1) / max(c.Batch, 1) }

// usualGroup is the default of GroupTokens. From some thousand tokens on a row is no faster for being longer, and its
// memory still grows: 64 answers of 512 tokens in one row take 3.5 GB of SmolLM2-135M, in rows of 8192 0.9 GB.
const usualGroup = 8192

// RowAnswers is how many tokens the answers in a row have, at most.
func (c *Config) RowAnswers() int {
	all := c.NumGenerations.N * c.MaxCompletion
	if c.GroupTokens == 0 {
		return all
	}
	return min(all, max(c.GroupTokens, 2*c.MaxCompletion))
}

// Micros is how many micro-batches an update is made of, at most. Of a rollout, and of steps of
// examples, the source says where it ends.
func (c *Config) Micros(how *method.Method) int {
	if how.Need.Pools() {
		return math.MaxInt
	}
	if how.Need != method.Rollouts {
		return c.Accum.N
	}
	rows := 1 // of a prompt
	if all := c.NumGenerations.N * c.MaxCompletion; c.RowAnswers() < all {
		rows = (c.NumGenerations.N-1)/(c.RowAnswers()/c.MaxCompletion) + 1
	}
	return (c.RolloutPrompts*rows + c.Batch - 1) / c.Batch
}

// mostUpdates bounds what is made of a rollout: what it was written by is then long another model.
const mostUpdates = 1000

// rollouts checks the options of methods of Rollouts, and refuses them with others.
func (v *validator) rollouts() {
	c := v.c
	how, err := c.Loss()
	if err != nil {
		return
	}
	v.need(slices.Contains(valueAdapters, c.ValueAdapter), &c.ValueAdapter, v.is(c.ValueAdapter),
		strings.Join(valueAdapters, " or "))
	v.need(slices.Contains(rolloutEngines, c.RolloutEngine), &c.RolloutEngine, v.is(c.RolloutEngine),
		strings.Join(rolloutEngines, " or "))
	if how.Need != method.Rollouts {
		std, older := Default(), Before() // of a run that is older than an option
		now, then := std.rolloutOptions(), older.rolloutOptions()
		at := func(o Option) any { return reflect.ValueOf(o.Value).Elem().Interface() }
		for i, o := range c.rolloutOptions() {
			v.need(equalOptions(at(o), at(now[i])) || equalOptions(at(o), at(then[i])), o.Value,
				"is given with --method "+c.Method+", which learns from given answers", "it with "+c.rolloutMethods())
		}
		return
	}
	v.answers(how)
	v.need(c.NumGenerations.Auto || c.NumGenerations.N >= how.Usual.Least, &c.NumGenerations, v.is(c.NumGenerations),
		fmt.Sprintf("auto, or at least %d with --method %s", how.Usual.Least, how.Name))
	v.need(c.NumIterations.Auto || c.NumIterations.N >= 1 && c.NumIterations.N <= mostUpdates, &c.NumIterations,
		v.is(c.NumIterations), fmt.Sprintf("auto, or 1 to %d", mostUpdates))
	v.need(c.GroupTokens >= 0, &c.GroupTokens, v.is(c.GroupTokens), "0 or more")
	v.need(c.NumMiniBatches >= 1 && c.NumMiniBatches <= c.RolloutPrompts, &c.NumMiniBatches, v.is(c.NumMiniBatches),
		"1 to --rollout-prompts, of which each has at least one")
	v.need(c.NumGenerations.Auto || c.NumGenerations.N == 1 || c.Lmbda == 1, &c.NumGenerations, v.is(c.NumGenerations)+
		fmt.Sprintf(" with --lmbda %g", c.Lmbda), "1: the data has one answer to a prompt")
	v.need(c.SamplerCap == 0 || c.SamplerCap >= 1 && !math.IsInf(c.SamplerCap, 0), &c.SamplerCap, v.is(c.SamplerCap),
		"at least 1, or 0 to correct nothing")
	v.need(c.RolloutParallel >= 1 && c.RolloutParallel <= MostParallel, &c.RolloutParallel, v.is(c.RolloutParallel),
		fmt.Sprintf("1 to %d", MostParallel))
	v.need(!c.RolloutLean || !c.OwnRollouts(), &c.RolloutLean, "is given with --rollout-engine ggtune",
		"it with llama.cpp alone, which makes copies of weights")
	v.need(how.Value != method.NoValues || c.ValueAdapter == valueAdapters[0], &c.ValueAdapter,
		"is given with --method "+c.Method+", which has no values", "it with --method ppo")
	v.learned(how)
}

// valueAdapters are the values of ValueAdapter, the default first.
var valueAdapters = []string{"shared", "own"}

// rolloutEngines are the values of RolloutEngine, the default first.
var rolloutEngines = []string{"llama.cpp", "ggtune"}

// OwnRollouts says that the engine that trains writes the answers.
func (c *Config) OwnRollouts() bool { return c.RolloutEngine == rolloutEngines[1] }

// ValueSet is the name of the set that values are read from where they have an adapter of their own.
const ValueSet = "value"

// OwnValues says that values have an adapter of their own.
func (c *Config) OwnValues() bool { return c.headed() && c.ValueAdapter == valueAdapters[1] }

// answers checks what answers are and what they are rewarded for.
func (v *validator) answers(how *method.Method) {
	c := v.c
	std := Default()
	if how.Rewarded() {
		v.need(len(c.Reward) > 0 || c.RewardCmd != "" || c.EnvCmd != "", &c.Reward,
			"is missing with --method "+c.Method,
			"what answers are rewarded for, or a program that says it (--reward-cmd, --env-cmd)")
		v.need(c.EnvTimeout > 0 && c.EnvTimeout < 1e9, &c.EnvTimeout, v.is(c.EnvTimeout), "seconds, above 0")
		v.need(c.MaxTurns >= 1, &c.MaxTurns, v.is(c.MaxTurns), "at least 1")
		v.need(c.EnvCmd != "" || c.MaxTurns == std.MaxTurns, &c.MaxTurns, v.is(c.MaxTurns)+" without --env-cmd",
			"the program that answers the turns too, which no file holds")
		v.need(c.Lmbda == 1, &c.Lmbda, "is given with --method "+c.Method+", which rewards answers",
			"it with --method gkd")
	} else {
		found := "is given with --method " + c.Method + ", which rewards no answers"
		const expected = "it left out"
		v.need(len(c.Reward) == 0, &c.Reward, found, expected)
		v.need(len(c.RewardWeights) == 0, &c.RewardWeights, found, expected)
		v.need(c.RewardColumn == "", &c.RewardColumn, found, expected)
		v.need(c.RewardCmd == "", &c.RewardCmd, found, expected)
		v.need(c.EnvCmd == "", &c.EnvCmd, found, expected)
		v.need(c.EnvTimeout == std.EnvTimeout, &c.EnvTimeout, found, expected)
		v.need(c.MaxTurns == std.MaxTurns, &c.MaxTurns, found, expected)
		v.need(c.SamplerCap == std.SamplerCap, &c.SamplerCap, "is given with --method "+c.Method+
			", which takes answers as they are, whoever wrote them", expected)
		v.need(c.Lmbda >= 0 && c.Lmbda <= 1, &c.Lmbda, v.is(c.Lmbda), "0 to 1")
	}
	v.need(c.RewardTimeout > 0 && c.RewardTimeout < 1e9, &c.RewardTimeout, v.is(c.RewardTimeout), "seconds, above 0")
	v.need(c.RolloutPrompts >= 1, &c.RolloutPrompts, v.is(c.RolloutPrompts), "at least 1")
	v.need(c.MaxCompletion >= 1 && c.MaxCompletion < c.SeqLen, &c.MaxCompletion, v.is(c.MaxCompletion),
		"1 to below --seq-len, in which the prompt must have room too")
	v.need(c.Temperature > 0 && !math.IsInf(c.Temperature, 0), &c.Temperature, v.is(c.Temperature),
		"above 0: of the likeliest answer alone nothing can be learned")
}

// learned refuses what does not go with answers that the model itself writes: they are those of what is trained as it
// is, and must have the probabilities that training sees.
func (v *validator) learned(how *method.Method) {
	c, found := v.c, "is given with --method "+v.c.Method
	const own = "it left out: the model would be trained as another one than wrote the answers"
	v.need(c.Dropout == 0, &c.Dropout, found, own)
	v.need(c.ModelDropout.N == 0, &c.ModelDropout, found, own)
	v.need(c.NEFTuneAlpha == 0, &c.NEFTuneAlpha, found, own)
	v.need(c.EMA == 0, &c.EMA, found, "it left out: answers are written by what is trained, and no average of it")
	v.need(c.ALoRA == "", &c.ALoRA, found, "it left out: an adapter that waits is not yet trained so")
	v.need(!c.LeavesModel(), &c.Tune, "is "+c.tunes()+" with --method "+c.Method, "lora or lora-fa: llama.cpp writes "+
		"the answers with the weights of the model file, and an adapter that it loads")
	v.need(c.Packing == autoWord || c.Packing == encode.Unpacked.String(), &c.Packing, v.is(c.Packing)+
		" with --method "+c.Method, "auto: a prompt with its answers is a row")
	// A run that goes on has the number that was chosen.
	v.need(c.Accum.Auto || c.Accum.N == c.ofRollout(), &c.Accum, found, "auto, and --num-mini-batches: an update is "+
		"made of a rollout, or a part of it")
	v.need(c.Mask == template.MaskAssistant.String(), &c.Mask, v.is(c.Mask)+" with --method "+c.Method,
		"it left out: what counts are the model's own answers")
	v.need(len(c.SamplePrompts) == 0, &c.SamplePrompts, found, "it left out: answers of the rollouts are shown")
	v.need(c.RefCache == "", &c.RefCache, found, "it left out: the reference is asked about each new answer")
}

// rolloutMethods lists the methods of Rollouts.
func (c *Config) rolloutMethods() string {
	var out []string
	for _, name := range method.Names() {
		if how, err := method.Get(name); err == nil && how.Need == method.Rollouts {
			out = append(out, name)
		}
	}
	return "--method " + strings.Join(out, " or ")
}
