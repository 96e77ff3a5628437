package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/optim"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/setting"
)

// An Option binds a field of Config to its names: the command makes its flags from these, and ParseTOML its keys.
type Option struct {
	Name    string   // of the flag, without dashes
	Aliases []string // further flags
	Key     string   // of the TOML file; "" where the option belongs to the command line only
	Usage   string   // one line; `WORD` names the value, as urfave/cli has it
	Group   string
	// Value points to the field: *string, *[]string, *int, *uint64, *float64, *[]float64, *bool, an *Auto, or a
	// setting.Slot.
	Value any
	// Values are the names that it takes, where there are a few; shells complete them.
	Values []string
	// Example is a value of a list of numbers, for messages.
	Example string
	// Unset is what help shows in place of a default where there is none: whose it is.
	Unset string
	Eval  bool // `ggtune eval` and `ggtune inspect` have it too
	// Resume says what a resumed run may change.
	Resume ResumeRule
	// before gives the field the value that runs had before its default was changed, or before there was the option;
	// nil where the default always was what it is.
	before func()
}

// Get gives the value of the option; ok is false where none is given and there is no default.
func (o *Option) Get() (x any, ok bool) {
	if s, is := o.Value.(setting.Slot); is {
		x, ok := s.Get()
		if s.Setting.Words != nil && ok {
			return s.Setting.Text(x), true
		}
		return x, ok
	}
	return reflect.ValueOf(o.Value).Elem().Interface(), true
}

// key is the name of an option in TOML.
func key(name string) string { return strings.ReplaceAll(name, "-", "_") }

// readers are the kinds of part that declare settings.
func readers() []setting.Readers {
	return []setting.Readers{method.Readers(), optim.ScheduleReaders(), optim.Readers()}
}

// settings are the options of what parts of a kind declare.
func (c *Config) settings(r setting.Readers) (out []Option) {
	for _, s := range r.Settings() {
		out = append(out,
			Option{Name: s.Name, Value: setting.Slot{Values: &c.Settings, Setting: s}, Usage: r.Help(s),
				Unset: "the " + r.Kind + "'s"})
	}
	return out
}

// Options lists every field of c.
func (c *Config) Options() []Option {
	groups := []struct {
		name string
		opts []Option
	}{
		{"Files", c.fileOptions()},
		{"Method", c.methodOptions()},
		{"Rewarded answers", c.rolloutOptions()},
		{"Text and rows", c.rowOptions()},
		{"Vectors of texts", c.vectorOptions()},
		{"What is trained", c.adapterOptions()},
		{"How it is trained", c.stepOptions()},
		{"Evaluation and checkpoints", c.evalOptions()},
		{"Samples while training", c.sampleOptions()},
		{"Machine", c.machineOptions()},
	}
	var out []Option
	values := c.values()
	for _, g := range groups {
		for _, o := range g.opts {
			o.Group = g.name
			switch v := o.Value.(type) {
			case *string, *[]string:
				o.Values = values[o.Value]
			case setting.Slot:
				o.Values = v.Setting.Words
			case *Auto[int], *Auto[float64]:
				o.Values = []string{autoWord}
			}
			if o.Key == "" && o.Value != &c.Resume && o.Value != &c.RewardCmd && o.Value != &c.EnvCmd {
				o.Key = key(o.Name)
			}
			out = append(out, o)
		}
	}
	return out
}

func (c *Config) fileOptions() []Option {
	return []Option{
		{Name: "model", Aliases: []string{"m"}, Value: &c.Model, Eval: true, Resume: Names, Usage: "GGUF model `FILE`"},
		{Name: "data", Aliases: []string{"d"}, Value: &c.Data, Eval: true, Resume: Names,
			Usage: "`FILE` or directory of examples; may be given again"},
		{Name: "format", Value: &c.Format, Eval: true, Resume: Names,
			Usage: "`NAME` of the data's format; without it, found by content"},
		{Name: "columns", Value: &c.Columns, Eval: true, Usage: "read a field of the data under another name, as " +
			"`NAME=COLUMN`, or leave it out, as =COLUMN; may be given again"},
		{Name: "text-split", Value: &c.TextSplit, Eval: true,
			Usage: "cut plain text into documents: auto, file, paragraph, line, or at a `SEPARATOR`"},
		{Name: "task-examples", Value: &c.TaskExamples, Eval: true,
			Usage: "show `N` examples in the prompts of Natural Instructions tasks"},
		{Name: "task-chat", Value: &c.TaskChat, Eval: true,
			Usage: "make instances of Natural Instructions tasks conversations"},
		{Name: "replace-invalid", Value: &c.ReplaceInvalid, Eval: true,
			Usage: "replace bytes that are not UTF-8 instead of refusing them"},
		{Name: "strict", Value: &c.Strict, Eval: true, Resume: Free, Usage: "refuse data of which anything " +
			"would be left out"},
		{Name: "dedup", Value: &c.Dedup, Resume: Same,
			Usage: "leave out training examples that repeat an earlier or a held-out one: " +
				strings.Join(dedups, ", ")},
		{Name: "eval-data", Value: &c.EvalData, Resume: Names,
			Usage: "`FILE` or directory of held-out examples; may be given again"},
		{Name: "eval-split", Value: &c.EvalSplit, Resume: Same, before: func() { c.EvalSplit = Fixed(0.0) },
			Usage: "without --eval-data: hold out this `FRACTION` of the examples; 0: none; auto: 5 %, 8 to 200, and " +
				"none of fewer than 100"},
		{Name: "mix", Value: &c.Mix, Resume: Names, Usage: "mix in examples of other data, so that they make a share " +
			"of the counted tokens, as `FILE:SHARE`; may be given again"},
		{Name: "output", Aliases: []string{"o"}, Value: &c.Output, Resume: Names, Usage: "`DIRECTORY` of the run"},
		{Name: "resume", Value: &c.Resume, Usage: "go on from the newest checkpoint in the run's directory"},
	}
}

func (c *Config) methodOptions() []Option {
	out := []Option{
		{Name: "method", Value: &c.Method, Eval: true,
			Usage: "training `METHOD`: " + strings.Join(method.Names(), ", ") + "; several with commas are added up"},
		{Name: "loss-weights", Value: &c.LossWeights, Eval: true, Example: "1,0.5",
			Usage: "`WEIGHT` of each of several methods, in their order, with commas"},
	}
	for _, o := range c.settings(method.Readers()) {
		o.Eval = true
		out = append(out, o)
	}
	return append(out,
		Option{Name: "ref-adapter", Value: &c.RefAdapter, Eval: true, Resume: Names,
			Usage: "the reference is the base with this adapter `FILE`, or with none; without this option, with " +
				"--init-adapter if there is one"},
		Option{Name: "ref-cache", Value: &c.RefCache, Resume: Names,
			Usage: "`FILE` that keeps the reference's log-probabilities, or the teacher's; without it, in the run's " +
				"directory"},
		Option{Name: "guide", Value: &c.Guide, Eval: true, Resume: Names,
			Usage: "with --method gist: GGUF embedder `FILE` that says what is no negative, of any tokens; without " +
				"it, the model as training begins"},
		Option{Name: "teacher", Value: &c.Teacher, Eval: true, Resume: Names,
			Usage: "with --method distill or gkd: GGUF model `FILE` to learn from, with the same tokens; with " +
				"margin-mse or distill-kl, an embedder of any tokens"},
		Option{Name: "teacher-top", Value: &c.TeacherTop, Eval: true,
			Usage: "the teacher names its `N` likeliest tokens in each place; all others count as one"},
		Option{Name: "ranked-pairs", Value: &c.RankedPairs, Eval: true,
			Usage: "pairs of a ranked list of answers: all or best-worst"},
		Option{Name: "ranked-rows", Value: &c.RankedRows, Eval: true, before: func() { c.RankedRows = rankedRows[1] },
			Usage: "what shares a row of a ranked list: the list, where each answer is computed once, or a pair"},
	)
}

func (c *Config) rowOptions() []Option {
	return []Option{
		{Name: "template", Value: &c.Template, Eval: true, Resume: Names,
			Usage: "chat template: a `FILE`, or one of " + strings.Join(template.Names(), ", ") +
				"; without it, the model's own"},
		{Name: "mask", Value: &c.Mask, Eval: true,
			Usage: "train on `TURNS`: assistant (every answer), last (the last answer), all (every token)"},
		{Name: "drop-reasoning", Value: &c.DropReasoning, Eval: true,
			Usage: "leave out reasoning that the data keeps apart from answers"},
		{Name: "control-tokens", Value: &c.ControlTokens, Eval: true,
			before: func() { c.ControlTokens = controlTokens[1] },
			Usage:  "texts of control tokens in literal text: tokens, or plain (text like any other)"},
		{Name: "seq-len", Value: &c.SeqLen, Eval: true, Usage: "row length of `N` tokens"},
		{Name: "on-long", Value: &c.OnLong, Eval: true, Usage: "longer examples: truncate, drop or refuse"},
		{Name: "packing", Value: &c.Packing, Eval: true, before: func() { c.Packing = "best-fit" },
			Usage: "how examples share rows: best-fit, sequential or none; auto: best-fit, none for few examples"},
	}
}

func (c *Config) adapterOptions() []Option {
	return []Option{
		{Name: "head", Value: &c.Head, Eval: true, Resume: Names, Usage: "of a method that gives scores: " +
			"`FILE` of the head that training starts from, or that is measured; without it, a fresh one, or the one " +
			"beside the adapter"},
		{Name: "init-adapter", Value: &c.InitAdapter, Resume: Names,
			Usage: "start from the adapter in `FILE`, or in a directory of PEFT's, with its rank, alpha, targets " +
				"and layers"},
		{Name: "tune", Value: &c.Tune, Usage: "train `WHAT`: an adapter: lora (pairs), lora-fa (A stays as it " +
			"begins), vera (vectors around random matrices that all share), dora (pairs and magnitudes), ia3 " +
			"(vectors); or the model: full (every tensor but a router), part (those that --train and --layers choose)"},
		{Name: "full", Value: &c.Full, Usage: "the same as --tune full"},
		{Name: "train", Value: &c.Train, Usage: "with --tune part: `TENSORS` to train: norms, biases, all (with " +
			"the router of experts), or roles (attn_q, token_embd, ...), several with commas; without it, all those " +
			"of the layers but a router"},
		{Name: "outtype", Value: &c.OutType, Resume: Free, Usage: "`TYPE` of the result: of an adapter f32 or f16 " +
			"(half of the bytes), auto: f32; with --tune full or part, of trained matrices in model.gguf, auto: the " +
			"model's own, and f32 in place of a quantized one; with --master bf16, bf16"},
		{Name: "master", Value: &c.Master, Usage: "with --tune full or part: `TYPE` in which trained matrices are " +
			"kept: f32, or bf16, rounded by chance (half of their memory)"},
		{Name: "qat", Value: &c.QAT, Usage: "with --tune full or part: train through the rounding to `TYPE` (q4_0, " +
			"q4_k_m, ...), in which model.gguf is then written"},
		{Name: "rank", Aliases: []string{"r"}, Value: &c.Rank, Usage: "`RANK` of the pairs; usual for vera: 256 " +
			"and more"},
		{Name: "alpha", Value: &c.Alpha, Usage: "LoRA `ALPHA`: the adapter's scale is alpha/rank"},
		{Name: "rslora", Value: &c.RSLoRA, Usage: "scale by alpha/√rank"},
		{Name: "lora-plus", Value: &c.LoRAPlus, Usage: "LoRA+: learning rate of B relative to A (`RATIO`)"},
		{Name: "dropout", Value: &c.Dropout, Usage: "`PROBABILITY` that an element of a pair's input is zeroed"},
		{Name: "model-dropout", Value: &c.ModelDropout, Usage: "`PROBABILITY` that a number inside the model is " +
			"zeroed in training, where transformers does: in attention, and of bert, gpt2 and some others behind the " +
			"embedding and the halves of layers; auto: 0.1 with simcse, else 0"},
		{Name: "neftune-alpha", Value: &c.NEFTuneAlpha, Usage: "`ALPHA` of NEFTune's noise on the embeddings in " +
			"training, uniform in ±α/√(tokens · n_embd); common are 5 to 15; 0: none"},
		{Name: "targets", Value: &c.Targets, Usage: "tensor `ROLE` to adapt (attn_q, ffn_down, ...), several with " +
			"commas; without it, every linear role of the layers that all tokens meet (not experts), for ia3 attn_k, " +
			"attn_v and ffn_up"},
		{Name: "layers", Value: &c.Layers, Usage: "layers to adapt, or to train in part, as `0-3,8,-1`; without it, " +
			"all"},
		{Name: "init", Value: &c.Init, Usage: "how pairs start: A by chance and B zero (" +
			strings.Join(adapter.Inits(), ", ") + "), or from the base's weights (" +
			strings.Join(adapter.Derived(), ", ") + "), or A from what the weights are multiplied with (eva)"},
		{Name: "from", Value: &c.From, Resume: Names, Usage: "with --init loftq: `FILE`, the f16 or f32 one that the " +
			"base was quantized from; the adapter starts as what rounding took away"},
		{Name: "mergeable", Value: &c.Mergeable, Usage: "train an adapter that ggtune merge takes into a q4_1 or " +
			"q5_1 model without loss: A is the same over each 32 inputs (QA-LoRA)"},
		{Name: "alora", Value: &c.ALoRA, Usage: "train an adapter that acts only from the last occurrence of `TEXT` " +
			"on, and leaves what comes before to the base (activated LoRA); auto: from the opening of the answer on"},
		{Name: "task-name", Value: &c.TaskName, Resume: Free, Usage: "`TEXT` in the adapter's file on what it is " +
			"for, for whoever lists adapters (llama-server does)"},
		{Name: "prompt-prefix", Value: &c.PromptPrefix, Resume: Free, Usage: "`TEXT` there on what prompts to the " +
			"adapter begin with; the data is not changed by it"},
	}
}

func (c *Config) stepOptions() []Option {
	return slices.Concat([]Option{
		{Name: "lr", Value: &c.LR,
			Usage: fmt.Sprintf("peak learning `RATE`; auto: %g, for pairs %g, for verdicts %g, both from "+
				"a billion parameters %g, for vera and ia3 %d times as much; with --tune full or part %g, from 500 "+
				"million parameters %g, from 3 billion %g, for preferences %g", answersLR, pairsLR, verdictsLR,
				preferLargeLR, vectorsRate, fullSmallLR, fullLR, fullLargeLR, fullPreferLR)},
		{Name: "embed-lr", Value: &c.EmbedLR, Usage: "with --tune full or part: peak learning `RATE` of the token " +
			"embedding and the output head; 0: --lr"},
		{Name: "optimizer", Value: &c.Optim, Usage: "rule of the updates: " + optimizers()},
		{Name: "muon-scale", Value: &c.MuonScale, Usage: "with --optimizer muon: `SCALE` of steps by a matrix's " +
			"shape, as PyTorch names it: " + strings.Join(optim.MuonScales(), " (at AdamW's --lr), ") +
			" (at a --lr of its own)"},
		{Name: "ema", Value: &c.EMA, Usage: "evaluate and write a moving average of what is trained, of this " +
			"`DECAY`, such as 0.999; 0: what the last step made"},
		{Name: "schedule", Value: &c.Schedule,
			Usage: "course of the learning rate: " + strings.Join(optim.ScheduleNames(), ", ")},
	}, c.settings(optim.ScheduleReaders()), []Option{
		{Name: "epochs", Value: &c.Epochs, Resume: End, before: func() { c.Epochs = Fixed(3) },
			Usage: fmt.Sprintf(
				"go through the data `N` times, unless --steps is given; auto: %d, for few pairs up to %d",
				usualEpochs, mostEpochs)},
		{Name: "steps", Value: &c.Steps, Resume: End, Usage: "make `N` updates; 0: as many as --epochs gives"},
		{Name: "batch", Aliases: []string{"b"}, Value: &c.Batch, Eval: true, Usage: "`N` rows a micro-batch"},
		{Name: "accum", Value: &c.Accum, before: func() { c.Accum = Fixed(4) },
			Usage: fmt.Sprintf("`N` micro-batches a step; auto: %d, fewer where an epoch has few", usualAccum)},
	}, c.settings(optim.Readers()), []Option{
		{Name: "clip", Aliases: []string{"max-grad-norm"}, Value: &c.Clip,
			Usage: "largest gradient `NORM`; 0: no limit"},
	})
}

// optimizers lists them with a word on each.
func optimizers() string {
	var out []string
	for _, o := range optim.All() {
		out = append(out, fmt.Sprintf("%s (%s)", o.Name, o.Doc))
	}
	return strings.Join(out, ", ")
}

func (c *Config) evalOptions() []Option {
	return []Option{
		{Name: "eval-every", Value: &c.EvalEvery, Resume: Free, before: func() { c.EvalEvery = Fixed(0) },
			Usage: "evaluate every `N` steps; 0: at the start and the end; auto: 10 to 19 times, less often " +
				"in a short run (--eval-share)"},
		{Name: "eval-rows", Value: &c.EvalRows, Eval: true, Resume: Same,
			Usage: "evaluate on at most `N` rows, with --choices and --match of questions; 0: all"},
		{Name: "eval-share", Value: &c.EvalShare, Resume: Free, before: func() { c.EvalShare = 1 },
			Usage: "where that is left to auto, spend about this `FRACTION` of the run's time on evaluations " +
				"at most; 1: no limit"},
		{Name: "patience", Value: &c.Patience, Resume: Free,
			Usage: "stop after `N` evaluations without a lower loss; 0: never"},
		{Name: "best", Value: &c.Best, Resume: Free,
			Usage: "the result is the step with the lowest held-out loss, not the last; --patience implies it"},
		{Name: "save-every", Value: &c.SaveEvery, Resume: Free, Usage: "checkpoint every `N` steps; 0: at the end"},
		{Name: "keep", Value: &c.Keep, Resume: Free, Usage: "keep the `N` newest checkpoints beside the best"},
	}
}

func (c *Config) sampleOptions() []Option {
	return []Option{
		{Name: "sample-prompts", Value: &c.SamplePrompts, Resume: Free,
			Usage: "`FILE` with a prompt on each line, or of " +
				"examples, or \"a text\"; may be given again; without it, four of the held-out examples"},
		{Name: "sample-every", Value: &c.SampleEvery, Resume: Free, before: func() { c.SampleEvery = Fixed(0) },
			Usage: "write answers to the prompts every `N` steps and at the end; 0: never; auto: at each evaluation"},
		{Name: "sample-tokens", Value: &c.SampleTokens, Resume: Free, Usage: "answers of at most `N` tokens"},
		{Name: "sample-temp", Value: &c.SampleTemp, Resume: Free,
			Usage: "`TEMPERATURE` of the answers; 0: always the likeliest token"},
		{Name: "sample-share", Value: &c.SampleShare, Resume: Free,
			Usage: "spend at most this `FRACTION` of the run's time on them; 1: no limit"},
	}
}

func (c *Config) machineOptions() []Option {
	return []Option{
		{Name: "seed", Aliases: []string{"s"}, Value: &c.Seed, Eval: true, Usage: "seed of every random choice"},
		{Name: "threads", Aliases: []string{"t"}, Value: &c.Threads, Eval: true, Resume: Bits,
			Usage: "`N` threads; 0: one for each physical core"},
		{Name: "device", Value: &c.Device, Eval: true, Usage: "what computes: cpu"},
		{Name: "exact", Value: &c.Exact, Eval: true,
			Usage: "compute every product in F32 instead of the fastest format"},
		{Name: "memory", Value: &c.Memory, Resume: Free,
			Usage: "memory for training beside the model file, in `MB`; more is faster; 0: what it needs, and up to " +
				"1000"},
	}
}

// optionOf finds the option of a field by its address.
func (c *Config) optionOf(field any) Option {
	for _, o := range c.Options() {
		if o.Value == field {
			return o
		}
	}
	panic("config: a field of Config has no option")
}
