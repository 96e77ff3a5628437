// Package config has every option of a run once: its names in flags and TOML, its default, what it may be, and whether
// a resumed run may change it; and what follows from them. It reads no data.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/ggtune/ggtune/finetune/alike"
	"github.com/ggtune/ggtune/finetune/optim"
	"github.com/ggtune/ggtune/finetune/program"
	"github.com/ggtune/ggtune/internal/registry"
	"github.com/ggtune/ggtune/internal/regular"
	"github.com/ggtune/ggtune/internal/setting"
)

// A Config is all that a run depends on, one field for each option. Default has the defaults named here; Options
// binds each field to its name.
type Config struct {
	// Model is the base: a GGUF file. Required.
	Model string `toml:"model"`
	// Data lists files and directories of training examples. Required.
	Data []string `toml:"data"`
	// Format forces the format of the data; "" finds it by content.
	Format string `toml:"format"`
	// Columns renames fields of the data, as "name=the data's name"; "=the data's name" is one that may be left out.
	// Default none.
	Columns []string `toml:"columns"`
	// TextSplit says how plain text is cut into documents: auto, file, paragraph, line, or the separator. Default auto.
	TextSplit string `toml:"text_split"`
	// TaskExamples is the number of a Natural Instructions task's examples shown in prompts, at least 0. Default 2.
	TaskExamples int `toml:"task_examples"`
	// TaskChat makes each instance of a Natural Instructions task a conversation. Default false: literal text.
	TaskChat bool `toml:"task_chat"`
	// ReplaceInvalid puts U+FFFD in the place of bytes that are not UTF-8 instead of refusing them. Default false.
	ReplaceInvalid bool `toml:"replace_invalid"`
	// Strict refuses data of which anything would be left out: an example, its end, a field. Default false: they are
	// counted.
	Strict bool `toml:"strict"`
	// Dedup says which training examples are left out that say what an earlier or a held-out one says: none, exact,
	// near (and exact). Default none: they are counted.
	Dedup string `toml:"dedup"`
	// EvalData lists files and directories of held-out examples. Default none.
	EvalData []string `toml:"eval_data"`
	// EvalSplit is the fraction of the training examples held out when there is no EvalData, 0 to below 1. Default
	// auto: 5 %, at least 8 and at most 200, and none of fewer than 100.
	EvalSplit Auto[float64] `toml:"eval_split"`
	// Mix lists files and directories of other examples, as "FILE:SHARE": so many of them are trained on beside those
	// of Data that they make that share of the counted tokens, above 0 and together below 1. Default none.
	Mix []string `toml:"mix"`
	// Output is the run's directory. Required for training.
	Output string `toml:"output"`
	// Method names the loss, or several with commas, weighed by LossWeights. Default sft.
	Method string `toml:"method"`
	// LossWeights weighs the losses of a Method that names several, in their order. Default: 1 each.
	LossWeights []float64 `toml:"loss_weights"`
	// Settings are those of the method, the schedule and the optimizer, by the names under which these declare them,
	// with their defaults. Default: none given.
	Settings setting.Values `toml:"-"`
	// RefAdapter is the adapter with which the base is the reference; none is the base alone. Default "": InitAdapter,
	// if there is one.
	RefAdapter string `toml:"ref_adapter"`
	// Guide is the embedder that says with method gist what is no negative: a GGUF file, which may have other tokens.
	// Default "": the model as training begins.
	Guide string `toml:"guide"`
	// Teacher is the model that methods distill and gkd learn from: a GGUF file with the same tokens; or the embedder
	// that margin-mse and distill-kl learn from, where the data does not have what it would say. Default "".
	Teacher string `toml:"teacher"`
	// TeacherTop is how many tokens the teacher names in the place of each counted one, at least 1. Default 64.
	TeacherTop int `toml:"teacher_top"`
	// RefCache is the file that keeps the reference's log-probabilities, or the teacher's. Default "": in Output.
	RefCache string `toml:"ref_cache"`
	// RankedPairs says which pairs a ranked list of answers gives: all, best-worst. Default all.
	RankedPairs string `toml:"ranked_pairs"`
	// RankedRows says what shares a row of a ranked list of answers: list, all of them, each computed once; pair, two.
	// Default list.
	RankedRows string `toml:"ranked_rows"`

	// Reward lists what the answers of reinforcement learning are rewarded for: NAME, or NAME=ARG. Default none.
	Reward []string `toml:"reward"`
	// RewardWeights weighs them in their order, RewardCmd behind them, EnvCmd last. Default: 1 each.
	RewardWeights []float64 `toml:"reward_weights"`
	// RewardColumn is the data's column with the right answer. Default "": the first of reward.Columns that a row has.
	RewardColumn string `toml:"reward_column"`
	// RewardCmd is a program that rewards: a line for the shell, which no file of settings holds: a run's directory may
	// be a stranger's. Default "".
	RewardCmd string `toml:"-"`
	// RewardTimeout is how many seconds RewardCmd may take over the answers of a rollout, above 0. Default 60.
	RewardTimeout float64 `toml:"reward_timeout"`
	// EnvCmd is a program that answers the model's turns and says what they earn: a line for the shell, as RewardCmd
	// is. Default "": an answer is one turn.
	EnvCmd string `toml:"-"`
	// EnvTimeout is how many seconds EnvCmd may take over a turn of all exchanges of a rollout, above 0. Default 60.
	EnvTimeout float64 `toml:"env_timeout"`
	// MaxTurns is how many turns the model has in an exchange at most, at least 1. Default 8.
	MaxTurns int `toml:"max_turns"`
	// NumGenerations is how many answers are written to a prompt. Default auto: the method's.
	NumGenerations Auto[int] `toml:"num_generations"`
	// RolloutPrompts is how many prompts are answered before something is learned, at least 1. Default 8.
	RolloutPrompts int `toml:"rollout_prompts"`
	// MaxCompletion is the most tokens of an answer, at least 1. Default 128.
	MaxCompletion int `toml:"max_completion_length"`
	// GroupTokens is how many tokens the answers that share a row with their prompt have, at most; others to the same
	// prompt are further rows. Two share one whatever they have. 0: all answers to a prompt share one. Default 8192.
	GroupTokens int `toml:"group_tokens"`
	// Temperature is that at which answers are drawn, and at which probabilities are taken in training; above 0.
	// Default 1.
	Temperature float64 `toml:"temperature"`
	// NumIterations is how often the answers of a rollout are gone through. Default auto: the method's.
	NumIterations Auto[int] `toml:"num_iterations"`
	// NumMiniBatches is how many updates each time makes, at least 1. Default 1.
	NumMiniBatches int `toml:"num_mini_batches"`
	// ValueAdapter says what the values of ppo are read from: shared, the adapter that is trained, or own, another that
	// is trained beside it. Default shared.
	ValueAdapter string `toml:"value_adapter"`
	// Lmbda is the share of prompts that the model answers itself with method gkd; to the others the data's answer is
	// learned from. Default 1.
	Lmbda float64 `toml:"lmbda"`
	// SamplerCap is the largest importance weight by which a token counts that the writer of the answers found less
	// likely than training does, at least 1; 0 corrects nothing. Default 2.
	SamplerCap float64 `toml:"sampler_cap"`
	// RolloutParallel is how many answers are written at a time, at most, 1 to MostParallel. Default 16. A new run
	// lowers it where there is no room for as many.
	RolloutParallel int `toml:"rollout_parallel"`
	// RolloutEngine says what writes answers: ggtune, the engine that trains, on whose kernels a token is as likely as
	// in training, to the bit; or llama.cpp. Default llama.cpp.
	RolloutEngine string `toml:"rollout_engine"`
	// RolloutLean has llama.cpp write answers with the weights as they lie in the file, without its copies of them, for
	// which alone it has kernels for several rows at a time of K types. Default false; a new run sets it where there is
	// no room for the copies.
	RolloutLean bool `toml:"rollout_lean"`

	// Template names a chat template, or a file that holds one; "" takes the model's own.
	Template string `toml:"template"`
	// Mask says which turns are trained on: assistant, last, all. Default assistant.
	Mask string `toml:"mask"`
	// DropReasoning leaves out reasoning that the data keeps apart from the answer. Default false.
	DropReasoning bool `toml:"drop_reasoning"`
	// ControlTokens says what the texts of control tokens in literal text are: tokens, or plain text. Default tokens.
	ControlTokens string `toml:"control_tokens"`
	// SeqLen is the row length in tokens, at least 2. Default 512.
	SeqLen int `toml:"seq_len"`
	// OnLong says what becomes of longer examples: truncate, drop, refuse. Default truncate.
	OnLong string `toml:"on_long"`
	// Packing says how examples share rows: best-fit, sequential, none. Default auto: best-fit, or none for training
	// where too few rows would be left (see fit.go).
	Packing string `toml:"packing"`

	// Pooling says what of a text's tokens makes its vector: mean, cls, last. Default auto: what the model's file says.
	Pooling string `toml:"pooling"`
	// StepExamples is how many examples of texts make a step, at least 1. Default 64.
	StepExamples int `toml:"step_examples"`
	// Matryoshka lists widths, falling, to which vectors can be cut after training. Default none.
	Matryoshka []float64 `toml:"matryoshka"`
	// QueryPrefix and DocumentPrefix stand before queries and documents of which vectors are made. Default "".
	QueryPrefix    string `toml:"query_prefix"`
	DocumentPrefix string `toml:"document_prefix"`

	// Head is the head.gguf that a method which gives scores starts from, and that evaluations read. Default "": a
	// fresh one; in evaluations, the one beside the adapter.
	Head string `toml:"head"`
	// InitAdapter is the adapter that training starts from, with its rank, alpha, targets and layers. Default "": a
	// fresh one.
	InitAdapter string `toml:"init_adapter"`
	// Tune says what is trained: an adapter of some kind (adapter.Kinds: lora, lora-fa, vera, dora, ia3), full (every
	// tensor but a router of experts), part (those that Train and Layers choose). Default lora.
	Tune string `toml:"tune"`
	// Full is an older name of Tune full. Default false.
	Full bool `toml:"full"`
	// Train lists kinds (norms, biases, all) and roles (attn_q, token_embd, …) of tensors that tune part trains.
	// Default: every tensor of the layers but a router of experts.
	Train []string `toml:"train"`
	// EmbedLR is the peak learning rate of tensors that embed tokens, and of the output head; 0 is LR. Default 0.
	EmbedLR float64 `toml:"embed_lr"`
	// OutType is the storage type of the result: of an adapter f32 or f16, of trained matrices in model.gguf f32, f16,
	// bf16, q8_0. Default auto: f32 of an adapter; of matrices the base's own, and f32 in place of a quantized one, or
	// with Master bf16, bf16.
	OutType string `toml:"outtype"`
	// Master is the type in which tune full and part keep the matrices that they train: f32, or bf16, which every
	// update rounds by chance, up or down, so that nothing is lost in the mean. Default f32.
	Master string `toml:"master"`
	// QAT is the storage type, or mix of them, that tune full and part round matrices to in every pass and write them
	// in, while gradients change the numbers before rounding (quantization-aware training). Default "": none.
	QAT string `toml:"qat"`
	// Rank is the rank of the LoRA pairs, 1 to 1024. Default 16.
	Rank int `toml:"rank"`
	// Alpha sets the adapter's scale, alpha/rank; above 0. Default 32.
	Alpha float64 `toml:"alpha"`
	// RSLoRA scales by alpha/√rank (Kalajdzievski 2023). Default false.
	RSLoRA bool `toml:"rslora"`
	// LoRAPlus multiplies the learning rate of B (Hayou et al. 2024), above 0. Default 1: plain LoRA.
	LoRAPlus float64 `toml:"lora_plus"`
	// Dropout is the probability that an element of a pair's input is zeroed, 0 to below 1. Default 0.
	Dropout float64 `toml:"dropout"`
	// ModelDropout is the probability that a number inside the model is zeroed in training, 0 to below 1, at the places
	// where transformers has dropout: the probabilities of attention, and of some architectures what the embedding and
	// the halves of layers give. Default auto: 0.1 of a method that learns from it (simcse), else 0.
	ModelDropout Auto[float64] `toml:"model_dropout"`
	// NEFTuneAlpha sets the noise added to embeddings in training, α/√(tokens·n_embd) (Jain et al. 2023), at least 0.
	// Default 0: none.
	NEFTuneAlpha float64 `toml:"neftune_alpha"`
	// Targets lists tensor roles to adapt (attn_q, ffn_down, …). Default: every linear role of the layers that all
	// tokens meet, which are not experts and not what chooses them.
	Targets []string `toml:"targets"`
	// Layers limits the adapter, or tune part, to layers, as "0-3,8,-1": -1 is the last. "" means all.
	Layers string `toml:"layers"`
	// Init is how pairs start: kaiming, gaussian; pissa, olora, loftq: from weights; eva: A from
	// inputs. Default kaiming.
	Init string `toml:"init"`
	// From is the full-precision file that the base was quantized from; Init loftq needs it. Default "".
	From string `toml:"from"`
	// Mergeable ties each row of A over blocks of 32 inputs, so that merging the adapter into a model of q4_1 or q5_1
	// changes only the minima of its blocks (QA-LoRA). Default false.
	Mergeable bool `toml:"mergeable"`
	// ALoRA is the text of the invocation from which on the adapter acts, and the base alone before it (aLoRA); auto:
	// how the chat template opens an answer. Default "": it acts on the whole text.
	ALoRA string `toml:"alora"`
	// TaskName says in the adapter's file what it is for. Default "": what InitAdapter says, or nothing.
	TaskName string `toml:"task_name"`
	// PromptPrefix says there what prompts to it begin with. Default "": what InitAdapter says, or nothing.
	PromptPrefix string `toml:"prompt_prefix"`

	// LR is the peak learning rate, above 0. Default auto: by the method and the size of the model (see fit.go).
	LR Auto[float64] `toml:"lr"`
	// Optim names the optimizer. Default adamw.
	Optim string `toml:"optimizer"`
	// MuonScale sizes Muon's steps by a matrix's shape: match_rms_adamw, original. Default match_rms_adamw.
	MuonScale string `toml:"muon_scale"`
	// EMA is the decay of a moving average of the parameters, which is what is evaluated and written, 0 to below 1; 0:
	// none. Default 0.
	EMA float64 `toml:"ema"`
	// Schedule names the learning rate's course. Default cosine.
	Schedule string `toml:"schedule"`
	// Epochs is how often the data is gone through, at least 1. Default auto: 3, up to 10 for few pairs.
	Epochs Auto[int] `toml:"epochs"`
	// Steps is the number of updates; 0 leaves it to Epochs. Default 0.
	Steps int `toml:"steps"`
	// Batch is the number of rows in a micro-batch, at least 1. Default 1.
	Batch int `toml:"batch"`
	// Accum is the number of micro-batches in a step, at least 1. Default auto: 4, fewer where an epoch has few.
	Accum Auto[int] `toml:"accum"`
	// Clip is the largest gradient norm, at least 0; 0 sets no limit. Default 1.
	Clip float64 `toml:"clip"`

	// EvalEvery is the number of steps between evaluations; 0 evaluates at the start and the end. Default auto: 10 to
	// 19 evaluations.
	EvalEvery Auto[int] `toml:"eval_every"`
	// EvalRows limits an evaluation to that many rows; 0 takes all. Default 0.
	EvalRows int `toml:"eval_rows"`
	// EvalShare is the most of a run's time that evaluations may take as far as they were not asked for, above 0; 1
	// sets no limit. Default 0.2.
	EvalShare float64 `toml:"eval_share"`
	// Patience ends the run after that many evaluations without a lower loss; 0 never does. Default 0.
	Patience int `toml:"patience"`
	// Best makes the result that of the best evaluation in place of the last step. Default false; Patience implies it.
	Best bool `toml:"best"`
	// SaveEvery is the number of steps between checkpoints; 0 saves at the best evaluations and the end. Default 50.
	SaveEvery int `toml:"save_every"`
	// Keep is the number of newest checkpoints kept beside the best, at least 1. Default 2.
	Keep int `toml:"keep"`
	// Resume goes on from the newest checkpoint in Output. Default false.
	Resume bool `toml:"-"`

	// SamplePrompts lists what the model is asked while it trains: a text, a file with one on each line, or one of
	// examples. Default: four of the held-out examples.
	SamplePrompts []string `toml:"sample_prompts"`
	// SampleEvery is the number of steps between answers to them; 0 writes none. Default auto: at each evaluation.
	SampleEvery Auto[int] `toml:"sample_every"`
	// SampleTokens is the most tokens of an answer, at least 1. Default 64.
	SampleTokens int `toml:"sample_tokens"`
	// SampleTemp is the temperature that answers are drawn with; 0 takes the likeliest token. Default 0.
	SampleTemp float64 `toml:"sample_temp"`
	// SampleShare is the most of a run's time that answers may take, above 0; 1 sets no limit. Default 0.05.
	SampleShare float64 `toml:"sample_share"`

	// Seed is the seed of every random choice. Default 1.
	Seed uint64 `toml:"seed"`
	// Threads is the number of threads; 0 means one for each physical core. Default 0.
	Threads int `toml:"threads"`
	// Device is what computes. Default cpu.
	Device string `toml:"device"`
	// Exact computes every product in F32 instead of the CPU's fastest formats. Default false.
	Exact bool `toml:"exact"`
	// Memory is what training may take beside the mapped model file, in megabytes (10⁶ bytes), never more than is free;
	// activations that fit are kept and not computed again. 0 takes what it needs and up to 1000 to keep activations
	// in, but no more than half of what is free for them. Default 0.
	Memory int `toml:"memory"`
}

// Default gives the defaults: those users of PEFT, TRL and unsloth know, where they agree. alpha = 2·rank and lr 2e-4
// are the usual LoRA settings there; 4 packed rows of 512 tokens a step are about as many tokens as their 8 to 16 short
// conversations.
func Default() Config {
	return Config{
		TextSplit: "auto", TaskExamples: 2, Dedup: dedups[alike.Unlike],
		RewardTimeout: program.DefaultTimeout.Seconds(), EnvTimeout: program.DefaultTimeout.Seconds(), MaxTurns: 8,
		NumGenerations: Auto[int]{Auto: true}, RolloutPrompts: 8,
		MaxCompletion: 128, GroupTokens: usualGroup,
		Temperature: 1, NumIterations: Auto[int]{Auto: true}, NumMiniBatches: 1, Lmbda: 1,
		SamplerCap: 2, RolloutParallel: usualParallel, ValueAdapter: valueAdapters[0], RolloutEngine: rolloutEngines[0],
		Method: "sft", TeacherTop: 64, RankedPairs: "all", RankedRows: rankedRows[0], Mask: "assistant",
		ControlTokens: "tokens", SeqLen: 512,
		OnLong: "truncate", Packing: autoWord, Pooling: autoWord, StepExamples: 64,
		Tune: tunes[0], OutType: autoWord, Master: masters[0], Rank: 16, Alpha: 32, LoRAPlus: 1, Init: "kaiming",
		LR: Auto[float64]{Auto: true}, Optim: optim.AdamW.Name, MuonScale: optim.MuonMatch,
		Schedule: "cosine", Epochs: Auto[int]{Auto: true}, Batch: 1, Accum: Auto[int]{Auto: true}, Clip: 1,
		EvalSplit: Auto[float64]{Auto: true}, EvalEvery: Auto[int]{Auto: true}, EvalShare: 0.2,
		SampleEvery: Auto[int]{Auto: true}, SampleTokens: 64, SampleShare: 0.05,
		SaveEvery: 50, Keep: 2, Seed: 1, Device: "cpu", ModelDropout: Auto[float64]{Auto: true},
	}
}

// Before is what a run's file is read onto: Default, and for options that are younger than the first runs, or whose
// default has changed since, what runs did then.
func Before() Config {
	c := Default()
	for _, o := range c.Options() {
		if o.before != nil {
			o.before()
		}
	}
	return c
}

// ParseRun gives the settings of a run from the text that TOML wrote for it, perhaps in an older version. A key that is
// not there was not known to that version, and takes the value that it then had. name is used in messages.
//
// Its errors are no *Error: what ggtune wrote, and is damaged, is no setting that somebody gave.
func ParseRun(text, name string) (*Config, error) {
	c := Before()
	_, err := c.ParseTOML(text, name)
	return &c, fault(err)
}

// LoadRun is ParseRun of a file.
func LoadRun(path string) (*Config, error) {
	c := Before()
	_, err := c.LoadTOML(path)
	return &c, fault(err)
}

// fault is what an *Error is about.
func fault(err error) error {
	var settings *Error
	if errors.As(err, &settings) {
		return settings.Err
	}
	return err
}

// An Error is a fault of the configuration itself: the user's to mend before anything is read.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// badTOMLType matches what the TOML library says, as text only, of a value of another type than its key's.
var badTOMLType = regexp.MustCompile(`^toml: line (\d+) \(last key "(.*)"\): incompatible types: TOML value has type ` +
	`(string|int64|float64|bool|\[\]any); destination has type (string|integer|float|boolean|slice)$`)

// tomlTypes are the library's names of types in the words of the language.
var tomlTypes = map[string]string{
	"string": "a text in quotes", "int64": "a whole number", "integer": "a whole number", "float64": "a fraction",
	"float": "a number",
	"bool":  "true or false", "boolean": "true or false", "[]any": "a list in brackets", "slice": "a list in brackets",
}

// Named are the options that a file of settings has.
type Named map[string]bool

// ParseTOML sets the fields of c that the text names, and says which they are; it leaves the others. name is used in
// messages. Errors are *Error; every unknown key is named with the nearest known one.
func (c *Config) ParseTOML(text, name string) (Named, error) {
	slots := c.slots()
	into := numbersAndWords(slots)
	fields, err := toml.Decode(text, c)
	if err != nil {
		return nil, &Error{explainTOML(err, name)}
	}
	settings, err := toml.Decode(text, into)
	if err != nil {
		return nil, &Error{explainTOML(err, name)}
	}
	var errs []error
	if c.Full {
		if fields.IsDefined("tune") && c.Tune != tuneFull {
			errs = append(errs, fmt.Errorf("%s: full is given with tune %q; expected one of them", name, c.Tune))
		}
		*c = *c.canonical()
	}
	errs = append(errs, fill(slots, into, name)...)
	other := settings.Undecoded()
	for _, k := range fields.Undecoded() {
		if slices.ContainsFunc(other, func(o toml.Key) bool { return slices.Equal(o, k) }) { // neither knows it
			errs = append(errs, fmt.Errorf("%s: %w", name, c.unknownKey(k.String())))
		}
	}
	if len(errs) > 0 {
		return nil, &Error{errors.Join(errs...)}
	}
	named := Named{}
	for _, o := range c.Options() {
		named[o.Name] = o.Key != "" && fields.IsDefined(o.Key)
	}
	return named, nil
}

// unknownKey is the error of a key that no option has, with our name for what other tools, or the command line, call
// otherwise.
func (c *Config) unknownKey(name string) error {
	others := OtherNames()
	var names, keys []string
	usage := map[string]string{}
	for _, o := range c.Options() {
		names = append(names, o.Name)
		usage[o.Name] = strings.ReplaceAll(o.Usage, "`", "")
		others[o.Name] = append(others[o.Name], o.Aliases...)
		if o.Key != "" {
			keys = append(keys, o.Key)
		}
	}
	hint, _ := others.Hint(name, names)
	switch {
	case hint.Ours != "" && !slices.Contains(keys, key(hint.Ours)):
		return fmt.Errorf("unknown key %q; --%s is an option of the command line alone (%s)", name, hint.Ours,
			usage[hint.Ours])
	case hint.Exact(name):
		return fmt.Errorf("unknown key %q; ggtune calls it %s (%s)", name, key(hint.Ours), usage[hint.Ours])
	case hint.Theirs != "":
		return fmt.Errorf("unknown key %q; did you mean %s (%s)?", name, key(hint.Ours), usage[hint.Ours])
	}
	return &registry.UnknownError{Kind: "key", Name: name, Known: keys}
}

// slots lists the places of all settings.
func (c *Config) slots() (slots []setting.Slot) {
	for _, r := range readers() {
		for _, s := range r.Settings() {
			slots = append(slots, setting.Slot{Values: &c.Settings, Setting: s})
		}
	}
	return slots
}

// numbersAndWords gives a pointer to a structure that has a number or a word, or nil, for each setting: the TOML
// library fills structures, with the line of a wrong type in its errors.
func numbersAndWords(slots []setting.Slot) any {
	var fields []reflect.StructField
	for i, s := range slots {
		f := reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: reflect.TypeFor[*float64](),
			Tag: reflect.StructTag(fmt.Sprintf("toml:%q", key(s.Setting.Name)))}
		if s.Setting.Words != nil {
			f.Type = reflect.TypeFor[*string]()
		}
		fields = append(fields, f)
	}
	return reflect.New(reflect.StructOf(fields)).Interface()
}

// fill sets the settings that a structure of numbersAndWords has. name is the file's.
func fill(slots []setting.Slot, from any, name string) (errs []error) {
	for i, s := range slots {
		switch x := reflect.ValueOf(from).Elem().Field(i).Interface().(type) {
		case *string:
			if x == nil {
				continue
			}
			if v, err := s.Setting.Parse(*x); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s is %q; expected %s", name, key(s.Setting.Name), *x,
					s.Setting.Range.Expected))
			} else {
				s.Set(v)
			}
		case *float64:
			switch {
			case x == nil:
			case math.IsNaN(*x):
				errs = append(errs, fmt.Errorf("%s: %s is NaN; expected a number", name, key(s.Setting.Name)))
			default:
				s.Set(*x)
			}
		}
	}
	return errs
}

// explainTOML puts the library's error into words of the file.
func explainTOML(err error, name string) error {
	var pe toml.ParseError
	if errors.As(err, &pe) && strings.HasPrefix(pe.Message, notAuto) {
		return fmt.Errorf("%s:%d: %s %s", name, pe.Position.Line, pe.LastKey, pe.Message)
	}
	if errors.As(err, &pe) {
		return fmt.Errorf("%s:%d: %s", name, pe.Position.Line, pe.Message)
	}
	if m := badTOMLType.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%s:%s: %s is %s, expected %s", name, m[1], m[2], tomlTypes[m[3]], tomlTypes[m[4]])
	}
	return fmt.Errorf("%s: %w", name, err)
}

// LoadTOML is ParseTOML of a file.
func (c *Config) LoadTOML(path string) (Named, error) {
	const most = 1 << 20 // bytes; ours have 4,000
	text, err := regular.Read(path, most)
	if err != nil {
		return nil, &Error{err}
	}
	return c.ParseTOML(string(text), path)
}

// TOML writes the configuration as ParseTOML reads it, each key under a comment that says what it is. What InitAdapter
// takes the place of is left out.
func (c *Config) TOML() ([]byte, error) {
	var b bytes.Buffer
	group := ""
	c = c.canonical()
	for _, o := range c.Options() {
		x, given := o.Get()
		if o.Key == "" || o.Value == &c.Full || !given || c.InitAdapter != "" && slices.Contains(c.freshAdapter(),
			o.Value) {
			continue
		}
		if o.Group != group {
			group = o.Group
			if b.Len() > 0 {
				b.WriteByte('\n')
			}
			fmt.Fprintf(&b, "### %s\n", group)
		}
		// A map of one key lets the library write the value as it must be.
		var v bytes.Buffer
		if err := toml.NewEncoder(&v).Encode(map[string]any{o.Key: x}); err != nil {
			return nil, fmt.Errorf("settings as TOML: %w", err)
		}
		line := v.String()
		if line == "" { // an empty list
			line = o.Key + " = []\n"
		}
		fmt.Fprintf(&b, "# %s\n%s", strings.ReplaceAll(o.Usage, "`", ""), line)
	}
	return b.Bytes(), nil
}
