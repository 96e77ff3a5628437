package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/finetune/alike"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/optim"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/registry"
	"github.com/ggtune/ggtune/internal/setting"
)

// Devices lists what this build can compute on.
func Devices() []string { return []string{"cpu"} }

// maxSeqLen is longer than any row that a CPU trains on in reasonable time; tables of that size are made.
const maxSeqLen = 1 << 20

// maxTop is more than any teacher need name: what it says is then larger than most models.
const maxTop = 4096

// MaxThreads is more than any machine has, and what the thread pools accept.
const MaxThreads = 512

// Validate reports every fault of a training configuration at once, as a *Error.
func (c *Config) Validate() error {
	v := &validator{c: c}
	v.common()
	v.method()
	v.vectorSteps()
	v.need(c.Output != "", &c.Output, "is missing", "a directory for the run")
	if how, err := c.Loss(); err == nil && how.AllTokens {
		v.need(c.Mask != template.MaskLast.String(), &c.Mask,
			"is last with --method "+c.Method+", which trains on every token", "one of them only")
	}
	v.adapter()
	v.steps()
	v.names()
	v.evaluation()
	v.samples()
	v.rollouts()
	return v.result()
}

// ValidateEval is Validate for what an evaluation uses. withAdapter leaves the method out: the adapter will name it.
func (c *Config) ValidateEval(withAdapter bool) error {
	v := &validator{c: c}
	v.common()
	if !withAdapter {
		v.method()
		if how, err := c.Loss(); err == nil && how.Need == method.Rollouts {
			v.answers(how)
			v.need(c.MeasuredGenerations() >= 1, &c.NumGenerations, v.is(c.NumGenerations), "auto, or at least 1")
		}
	}
	v.need(c.EvalRows >= 0, &c.EvalRows, v.is(c.EvalRows), "0 (all) or more")
	return v.result()
}

// ValidateInspect is Validate for what a look at data uses: the model may be missing.
func (c *Config) ValidateInspect() error {
	asked := *c
	if asked.Model == "" {
		asked.Model = "none"
	}
	v := &validator{c: &asked}
	v.common()
	v.method()
	return v.result()
}

// ValidatePlan is Validate for a plan, which writes nothing and does without data.
func (c *Config) ValidatePlan() error {
	asked := *c
	if asked.Output == "" {
		asked.Output = "run"
	}
	if len(asked.Data) == 0 {
		asked.Data = []string{"none"}
	}
	return asked.Validate()
}

// A validator collects faults.
type validator struct {
	c    *Config
	errs []error
}

func (v *validator) result() error {
	if len(v.errs) == 0 {
		return nil
	}
	return &Error{errors.Join(v.errs...)}
}

// need records a fault of a field unless ok.
func (v *validator) need(ok bool, field any, found, expected string) {
	if !ok {
		v.errs = append(v.errs, fmt.Errorf("--%s %s; expected %s", v.c.optionOf(field).Name, found, expected))
	}
}

// add records an error, if there is one.
func (v *validator) add(err error) {
	if err != nil {
		v.errs = append(v.errs, err)
	}
}

// known records the error of a look-up by name.
func (v *validator) known(field any, err error) {
	if err != nil {
		v.errs = append(v.errs, fmt.Errorf("--%s: %w", v.c.optionOf(field).Name, err))
	}
}

func (v *validator) is(x any) string { return fmt.Sprintf("is %v", x) }

// within records a number that is not in [lo, hi), or is none.
func (v *validator) within(field *float64, lo, hi float64, expected string) {
	x := *field
	v.need(x >= lo && x < hi && !math.IsInf(x, 0), field, v.is(x), expected)
}

func (v *validator) common() {
	c := v.c
	v.need(c.Model != "", &c.Model, "is missing", "a GGUF file")
	v.need(len(c.Data) > 0, &c.Data, "is missing", "a file or directory of examples")
	_, _, err := c.ColumnNames()
	v.known(&c.Columns, err)
	if c.Format != "" && !slices.Contains(data.Formats(), c.Format) {
		v.known(&c.Format, &registry.UnknownError{Kind: "data format", Name: c.Format, Known: data.Formats()})
	}
	v.need(slices.Contains(dedups, c.Dedup), &c.Dedup, v.is(c.Dedup), strings.Join(dedups, ", "))
	v.need(c.TextSplit != "", &c.TextSplit, "is empty", "auto, file, paragraph, line, or a separator")
	v.need(c.TaskExamples >= 0, &c.TaskExamples, v.is(c.TaskExamples), "0 or more")
	v.known(&c.Mask, errOf(template.ParseMask(c.Mask)))
	v.need(slices.Contains(controlTokens, c.ControlTokens), &c.ControlTokens, v.is(c.ControlTokens),
		strings.Join(controlTokens, " or "))
	v.known(&c.OnLong, errOf(encode.ParseOnLong(c.OnLong)))
	if c.Packing != autoWord {
		v.known(&c.Packing, errOf(encode.ParsePacking(c.Packing)))
	}
	v.need(c.SeqLen >= 2 && c.SeqLen <= maxSeqLen, &c.SeqLen, v.is(c.SeqLen),
		fmt.Sprintf("2 tokens (one to predict the other from) to %d", maxSeqLen))
	// run.toml must hold it, for --resume: TOML's numbers end there.
	v.need(c.Seed <= math.MaxInt64, &c.Seed, v.is(c.Seed), fmt.Sprintf("0 to %d", int64(math.MaxInt64)))
	v.need(c.Batch >= 1, &c.Batch, v.is(c.Batch), "at least 1 row")
	v.need(c.Threads >= 0 && c.Threads <= MaxThreads, &c.Threads, v.is(c.Threads),
		fmt.Sprintf("0 (one for each physical core) to %d", MaxThreads))
	v.need(c.Memory >= 0, &c.Memory, v.is(c.Memory), "megabytes, or 0 to leave it to ggtune")
	if !slices.Contains(Devices(), c.Device) {
		v.known(&c.Device, &registry.UnknownError{Kind: "device", Name: c.Device, Known: Devices()})
	}
}

// method refuses an unknown method, and settings that it does not read.
func (v *validator) method() {
	c := v.c
	how, err := c.Loss()
	if err != nil {
		v.errs = append(v.errs, err)
		return
	}
	v.need(how.Reference && how.Other != method.Taught || c.RefAdapter == "", &c.RefAdapter,
		"is given with --method "+c.Method+", which has no reference", "it with a method that has one")
	v.need(how.Reference || how.Teacher || c.RefCache == "", &c.RefCache,
		"is given with --method "+c.Method+", which has no reference", "it with a method that has one")
	v.need(how.Other == method.Guided || c.Guide == "", &c.Guide, "is given with --method "+c.Method+
		", which has no guide", "it with --method gist")
	v.need(c.Guide == "" || c.RefAdapter == "", &c.RefAdapter, "is given with --guide",
		"one of them: the guide is the reference")
	v.need(how.Teacher || how.Other == method.Taught || c.Teacher == "", &c.Teacher,
		"is given with --method "+c.Method+", which learns from none",
		"it with --method distill or gkd, or of embedders margin-mse or distill-kl")
	v.need(!how.Teacher || c.Teacher != "", &c.Teacher, "is missing with --method "+c.Method,
		"a GGUF model to learn from")
	v.need(c.TeacherTop >= 1 && c.TeacherTop <= maxTop, &c.TeacherTop, v.is(c.TeacherTop),
		fmt.Sprintf("1 to %d; the error of a few dozen is small", maxTop))
	v.need(slices.Contains(rankedPairs, c.RankedPairs), &c.RankedPairs, v.is(c.RankedPairs),
		strings.Join(rankedPairs, " or "))
	v.need(how.Value != method.NoValues || c.Head == "", &c.Head, "is given with --method "+c.Method+
		", which has no head", "it with --method reward or rerank")
	if how.Value == method.AtEnds {
		with := "is given with --method " + c.Method
		v.need(!c.LeavesModel(), &c.Tune, "is "+c.tunes()+" with --method "+c.Method,
			"an adapter that stays beside the base with its head: lora or lora-fa")
		v.need(c.ALoRA == "", &c.ALoRA, with, "it without: an answer's score is read at its end alone")
		v.need(c.SampleEvery.Auto || c.SampleEvery.N == 0, &c.SampleEvery, with+", which writes no text", "0")
	}
	v.need(how.Need != method.Answers || c.RankedPairs == rankedPairs[0], &c.RankedPairs,
		"is given with --method "+c.Method+", which does not learn from preferences", "it with a method that does")
	v.need(slices.Contains(rankedRows, c.RankedRows), &c.RankedRows, v.is(c.RankedRows),
		strings.Join(rankedRows, " or "))
	v.vectors()
	_, err = c.Mixes()
	v.known(&c.Mix, err)
	v.need(how.Need == method.Answers || len(c.Mix) == 0, &c.Mix, "is given with --method "+c.Method+
		", which compares answers", "all of its data with --data: no share of tokens is one of what it learns from")
	v.need(!how.Teacher || len(c.Mix) == 0, &c.Mix, "is given with --method "+c.Method+
		", whose teacher is asked about --data", "all of its data with --data")
	v.need(how.Need == method.Answers || c.Mask == template.MaskAssistant.String(), &c.Mask,
		v.is(c.Mask)+" with --method "+c.Method+", which compares answers", "it left out: what counts is the answer")
}

// rankedPairs are the values of RankedPairs, the default first.
var rankedPairs = []string{"all", "best-worst"}

// rankedRows are the values of RankedRows, the default first.
var rankedRows = []string{"list", "pair"}

// JoinsLists says that the answers of a ranked list share a row.
func (c *Config) JoinsLists() bool { return c.RankedRows == rankedRows[0] }

// controlTokens are the values of ControlTokens, the default first.
var controlTokens = []string{"tokens", "plain"}

// dedups are the values of Dedup by what it leaves out: what is nearly alike, and so what is exactly.
var dedups = []string{alike.Unlike: "none", alike.Exact: "exact", alike.Near: "near"}

func errOf[T any](_ T, err error) error { return err }

func (v *validator) steps() {
	c := v.c
	v.need(c.LR.Auto || c.LR.N > 0 && !math.IsInf(c.LR.N, 0), &c.LR, v.is(c.LR),
		fmt.Sprintf("auto, or above 0, such as %g", answersLR))
	v.schedule()
	v.need(c.Epochs.Auto || c.Epochs.N >= 1, &c.Epochs, v.is(c.Epochs), "auto, or at least 1")
	v.need(c.Steps >= 0, &c.Steps, v.is(c.Steps), "at least 1, or 0 to leave it to --epochs")
	v.need(c.Accum.Auto || c.Accum.N >= 1, &c.Accum, v.is(c.Accum), "auto, or at least 1 micro-batch")
	if o, err := optim.Get(c.Optim); err != nil {
		v.known(&c.Optim, err)
	} else {
		v.read(optim.Readers(), o.Name, o.Reads)
	}
	v.muon()
	v.within(&c.EMA, 0, 1, "0 to below 1; 0 keeps no average")
	v.need(c.EMA == 0 || c.Master == masters[0], &c.EMA, "is given with --master "+c.Master,
		"one of them: averages are of f32 numbers, whose memory the other saves")
	v.within(&c.Clip, 0, math.Inf(1), "at least 0; 0 sets no limit")
}

// muon checks the size of its steps.
func (v *validator) muon() {
	c := v.c
	if !slices.Contains(optim.MuonScales(), c.MuonScale) {
		v.known(&c.MuonScale, &registry.UnknownError{Kind: "scale of Muon's steps", Name: c.MuonScale,
			Known: optim.MuonScales()})
		return
	}
	given := c.MuonScale != optim.MuonMatch
	v.need(!given || c.Optim == optim.Muon.Name, &c.MuonScale, "is given with --optimizer "+c.Optim,
		"it with --optimizer muon")
	v.need(!given || !c.LR.Auto, &c.LR, "is auto with --muon-scale "+c.MuonScale,
		"a number: auto is AdamW's rate, at which such steps are far too short")
}

// schedule refuses one that is not known, what it does not read, and a course that is none.
func (v *validator) schedule() {
	c := v.c
	s, err := optim.GetSchedule(c.Schedule)
	v.known(&c.Schedule, err)
	if err != nil {
		// Whatever schedule was meant, no setting may be out of its range.
		for _, s := range optim.ScheduleReaders().Settings() {
			if x, given := c.Settings[s.Name]; given {
				v.add(s.Check(x))
			}
		}
		return
	}
	if v.read(optim.ScheduleReaders(), s.Name, s.Reads) && c.Steps > 0 {
		_, err := s.Course(c.Settings, c.Steps)
		v.add(err)
	}
}

// names refuses settings that nobody declares.
func (v *validator) names() {
	var known []string
	for _, r := range readers() {
		for _, s := range r.Settings() {
			known = append(known, s.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.c.Settings)) {
		if !slices.Contains(known, name) {
			v.add(&registry.UnknownError{Kind: "setting", Name: name, Known: known})
		}
	}
}

// read refuses settings of a kind of part that the one chosen does not read, and values out of range: ok is false.
func (v *validator) read(r setting.Readers, chosen string, uses []setting.Use) (ok bool) {
	_, unread, errs := setting.Resolve(v.c.Settings, uses, r.Settings())
	for _, s := range unread {
		v.errs = append(v.errs,
			fmt.Errorf("--%s is %g with --%s %s, which has no such part; expected --%[3]s %[5]s with it",
				s.Name, v.c.Settings.Of(s), r.Kind, chosen, strings.Join(r.Of(s), " or ")))
	}
	v.errs = append(v.errs, errs...)
	return len(unread)+len(errs) == 0
}

func (v *validator) evaluation() {
	c := v.c
	v.need(c.EvalSplit.N >= 0 && c.EvalSplit.N < 1, &c.EvalSplit, v.is(c.EvalSplit), "auto, or 0 to below 1")
	v.need(c.EvalEvery.N >= 0, &c.EvalEvery, v.is(c.EvalEvery), "auto, or 0 or more")
	for _, field := range []*int{&c.EvalRows, &c.Patience, &c.SaveEvery} {
		v.need(*field >= 0, field, v.is(*field), "0 or more")
	}
	v.need(c.EvalShare > 0 && c.EvalShare <= 1, &c.EvalShare, v.is(c.EvalShare), "above 0, at most 1")
	v.need(c.Keep >= 1, &c.Keep, v.is(c.Keep), "at least 1, to resume from")
	v.need(c.EvalSplit.N == 0 || len(c.EvalData) == 0, &c.EvalSplit, "is given with --eval-data", "one of them")
	v.measured(len(c.EvalData) > 0 || c.MayHold())
	v.need(c.Patience == 0 || c.EvalEvery.Auto || c.EvalEvery.N > 0, &c.Patience, v.is(c.Patience),
		"--eval-every with it, to evaluate before the end")
}

func (v *validator) samples() {
	c := v.c
	v.need(c.SampleEvery.N >= 0, &c.SampleEvery, v.is(c.SampleEvery), "auto, or 0 or more")
	v.need(c.SampleTokens >= 1 && c.SampleTokens <= maxSeqLen, &c.SampleTokens, v.is(c.SampleTokens),
		fmt.Sprintf("1 to %d", maxSeqLen))
	v.within(&c.SampleTemp, 0, math.Inf(1), "0 or more; common are 0.5 to 1")
	v.need(c.SampleShare > 0 && c.SampleShare <= 1, &c.SampleShare, v.is(c.SampleShare), "above 0, at most 1")
	asked := len(c.SamplePrompts) > 0
	v.need(!asked || c.Samples(), &c.SamplePrompts, "is given with --sample-every 0", "one of them")
	const expected = "it for an adapter that llama.cpp loads only: it writes the answers, with the weights of the " +
		"model file, which stay as they are until the end"
	v.need(!c.LeavesModel() || !asked, &c.SamplePrompts, v.tuned(), expected)
	v.need(!c.LeavesModel() || c.SampleEvery.N == 0, &c.SampleEvery, v.tuned(), expected)
}

// measured refuses what needs held-out examples where there are none.
func (v *validator) measured(held bool) {
	c := v.c
	const need = "held-out examples to measure on: --eval-data or --eval-split"
	v.need(held || c.Patience == 0, &c.Patience, v.is(c.Patience), need)
	v.need(held || !c.Best, &c.Best, "is given", need)
	v.need(held || c.EvalEvery.N == 0, &c.EvalEvery, v.is(c.EvalEvery), need)
	how, err := c.Loss()
	rolls := err == nil && how.Need == method.Rollouts // whose samples are of what it learns from
	v.need(held || rolls || c.SampleEvery.N == 0 || len(c.SamplePrompts) > 0, &c.SampleEvery, v.is(c.SampleEvery),
		"something to ask: --sample-prompts, or held-out examples")
}
