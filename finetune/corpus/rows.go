package corpus

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/teacher"
	"github.com/ggtune/ggtune/internal/count"
)

// Rows are what a run trains and measures on.
type Rows struct {
	Train, Held *encode.Dataset // one of them is nil without such data
	TrainRows   *encode.Loader
	HeldRows    *encode.Loader
	Repeats     Repeats  // what the training data repeats
	Notes       []string // what became of the examples, for the user
	Mixed       []*Mixed // what of Train is mixed in
	Prompts     []Prompt // some of the held-out examples, where samples are wanted
	// Tasks and HeldTasks are the items of Train and Held, of methods that learn from the model's own answers.
	Tasks, HeldTasks []Task
	Invocation       []int32 // that which an adapter waits for; nil for none

	cfg     *config.Config
	how     *method.Method
	embd    int            // numbers of the reference's vectors
	packing encode.Packing // of the rows
	// Once evaluations are bound: steps between them, and rows of each, 0 for as many as --eval-rows says.
	every, measured int
}

// Read reads, encodes and packs the data of a training run.
func (r *Reader) Read(ctx context.Context) (*Rows, error) {
	out, err := r.read(ctx, r.cfg.MayHold())
	if err != nil {
		return nil, err
	}
	return out, errors.Join(r.needBoth(out.Train), r.needOthers(out.Train))
}

// ReadWhole is Read of data of which nothing is split off.
func (r *Reader) ReadWhole(ctx context.Context) (*Rows, error) { return r.read(ctx, false) }

func (r *Reader) read(ctx context.Context, split bool) (*Rows, error) {
	out := &Rows{cfg: r.cfg, how: r.how, embd: r.embd}
	held := nothing
	if split {
		held = part
	}
	err := r.readInto(ctx, r.cfg.Data, held, func(in *input) error {
		out.Notes = append(out.Notes, dropNotes(in.ds)...)
		if len(r.cfg.EvalData) > 0 {
			return r.readInto(ctx, r.cfg.EvalData, allOfIt, func(held *input) error {
				out.Notes = append(out.Notes, dropNotes(held.ds)...)
				return r.both(ctx, out, in, in.all, held, held.all, held.dropped)
			})
		}
		if !split {
			return r.both(ctx, out, in, in.all, nil, nil, 0)
		}
		train, held, note, err := in.split(r.cfg)
		if err != nil {
			return err
		}
		if note != "" {
			out.Notes = append(out.Notes, note)
		}
		return r.both(ctx, out, in, train, in, held, 0)
	})
	if err != nil {
		return nil, err
	}
	if err := r.mix(ctx, out); err != nil {
		return nil, err
	}
	return out, r.finish(out)
}

// both encodes what is trained on, and what is held out unless that is nothing. heldDropped is how many examples are
// told as left out of that in reading. The search for repeats is a pass of its own, though examples are read once more
// for it: what it leaves out must be neither encoded nor counted and noted by the encoder, and the held-out examples,
// which are encoded last, go through it first. Without --dedup the encoding could search as it goes, but that would be
// a second way to the same counts.
func (r *Reader) both(ctx context.Context, out *Rows, in *input, train []int, heldIn *input, held []int,
	heldDropped int) error {
	s, err := r.repeats(ctx, in, train, heldIn, held)
	if err != nil {
		return err
	}
	dropped := len(train) - len(s.kept)
	out.Notes = append(out.Notes, s.found.notes(dropped, r.measure())...)
	out.Repeats = s.found
	if out.Train, err = r.encode(ctx, in, s.kept, in.dropped); err != nil {
		return err
	}
	out.Tasks = r.tasks
	c := &out.Train.Counts
	c.Examples += dropped
	c.Exact, c.Near, c.DroppedAlike = s.found.Exact.Count, s.found.Near.Count, dropped
	if len(held) == 0 {
		return nil
	}
	if out.Held, err = r.encode(ctx, heldIn, held, heldDropped); err != nil {
		return err
	}
	out.HeldTasks = r.tasks
	c = &out.Held.Counts
	c.Exact, c.Near = s.found.HeldExact.Count, s.found.HeldNear.Count
	return r.ownPrompts(heldIn, out)
}

// measure is what held-out examples are measured by.
func (r *Reader) measure() string {
	if r.how.Rewarded() {
		return "reward"
	}
	return "loss"
}

// ReadHeld is Read of all the data as held-out rows.
func (r *Reader) ReadHeld(ctx context.Context) (*Rows, error) {
	out := &Rows{cfg: r.cfg, how: r.how}
	var err error
	if out.Held, err = r.whole(ctx, r.cfg.Data, &out.Notes, nil); err != nil {
		return nil, err
	}
	out.HeldTasks = r.tasks
	return out, r.finish(out)
}

// ownPrompts takes prompts from the held-out examples of in, where they are wanted.
func (r *Reader) ownPrompts(in *input, rows *Rows) (err error) {
	if r.cfg.Samples() && len(r.cfg.SamplePrompts) == 0 && r.how.Need != method.Rollouts {
		rows.Prompts, err = r.prompts(in, rows.Held, heldPrompts)
	}
	return err
}

// whole reads and encodes all of some data, and notes what was left out. then, unless it is nil, sees both.
func (r *Reader) whole(ctx context.Context, paths []string, notes *[]string,
	then func(in *input, d *encode.Dataset) error) (out *encode.Dataset, err error) {
	err = r.readInto(ctx, paths, nothing, func(in *input) error {
		*notes = append(*notes, dropNotes(in.ds)...)
		var err error
		if out, err = r.encode(ctx, in, in.all, in.dropped); err != nil || then == nil {
			return err
		}
		return then(in, out)
	})
	return out, err
}

// finish packs what was encoded, and notes what became of it.
func (r *Reader) finish(rows *Rows) error {
	rows.Invocation = r.invocation
	if r.text.note != "" {
		rows.Notes = append(rows.Notes, r.text.note)
	}
	rows.Notes = append(rows.Notes, r.text.said.notes()...)
	rows.Notes = append(rows.Notes, r.lengthNotes(rows)...)
	if r.other != nil {
		for _, n := range r.other.Notes() {
			rows.Notes = append(rows.Notes, "for the other embedder: "+n)
		}
	}
	rows.Notes = append(rows.Notes, r.text.invocationNotes(rows)...)
	own, err := r.ownNotes(rows)
	if err != nil {
		return err
	}
	rows.Notes = append(rows.Notes, own...)
	return rows.pack()
}

// pack packs the rows: as was asked for, or best, unless too few would be left to train on.
func (r *Rows) pack() error {
	var err error
	if r.packing, err = r.cfg.Pack(r.how, math.MaxInt); err != nil {
		return err
	}
	o := r.loading(r.packing, true, 0)
	if r.Train != nil {
		if r.TrainRows, err = encode.NewLoader(r.Train, o); err != nil {
			return err
		}
		if r.packing, err = r.cfg.Pack(r.how, r.TrainRows.Micros()); err != nil {
			return err
		}
		if r.packing != o.Packing {
			o.Packing = r.packing
			if r.TrainRows, err = encode.NewLoader(r.Train, o); err != nil {
				return err
			}
		}
	}
	if r.Held == nil {
		return nil
	}
	return r.Measure(0)
}

// Fit is what defaults are fitted to: these rows, for a model.
func (r *Rows) Fit(m *engine.Model) config.Fit {
	return config.Fit{Params: m.Params(), Examples: len(r.Train.Items), Micros: r.TrainRows.Micros(),
		Packing: r.packing}
}

// Steps is how many updates a whole run on the training rows makes.
func (r *Rows) Steps() int {
	if r.cfg.Steps > 0 {
		return r.cfg.Steps
	}
	return r.cfg.Epochs.N * r.StepsPerEpoch()
}

// StepsPerEpoch is how many updates go through the training rows once, at most: of prompts to whose answers nothing can
// be learned there are fewer.
func (r *Rows) StepsPerEpoch() int {
	if r.how.Need == method.Rollouts {
		return r.TrainRows.Micros() * r.cfg.NumIterations.N * r.cfg.NumMiniBatches
	}
	if r.how.Need.Pools() {
		return r.TrainRows.Steps()
	}
	return (r.TrainRows.Micros() + r.cfg.Accum.N - 1) / r.cfg.Accum.N
}

// Reached gives the micro-batches of training rows that a run goes through, over all epochs, and how many rows it
// meets in them: in a few steps not all.
func (r *Rows) Reached() (micros, trained int) {
	if r.how.Need.Pools() { // each epoch has steps of its own
		return r.TrainRows.Micros(), r.TrainRows.Rows()
	}
	micros = r.Steps() * r.cfg.Accum.N
	return micros, min(r.TrainRows.Rows(), micros*r.cfg.Batch)
}

// EvalEvery is the number of steps between evaluations, 0 where there are none.
func (r *Rows) EvalEvery() int {
	if r.Held == nil {
		return 0
	}
	return r.every
}

// Bound settles how often the run measures, and on how many of the held-out rows, now that its length is known.
func (r *Rows) Bound() error {
	if r.Held == nil {
		return nil
	}
	rows, sets := r.HeldRows.Rows(), r.heldSets()
	all := 0
	for _, s := range sets {
		all += s.rows.Rows()
	}
	run := float64(r.Train.Counts.Tokens) * float64(r.Steps()) / float64(r.StepsPerEpoch())
	if r.how.Need == method.Rollouts { // a prompt is measured by one answer
		run *= float64(r.cfg.NumGenerations.N)
	}
	every, measured := r.cfg.Within(r.Steps(), all, run/float64(r.HeldTokens())*float64(all))
	said := r.cfg.EvalSteps(r.Steps()) != every
	r.every = every
	if measured < all {
		measured = (measured + len(sets) - 1) / len(sets) // of each
		if err := r.Measure(measured); err != nil {
			return err
		}
		said = true
	}
	if measured = min(measured, rows); said {
		r.Notes = append(r.Notes, fmt.Sprintf("evaluations may take %g %% of the run's time: %s measured, every %s "+
			"(--eval-share, --eval-every, --eval-rows)", 100*r.cfg.EvalShare, ofRows(measured, rows),
			count.Of(every, "step")))
	}
	return nil
}

func ofRows(measured, rows int) string {
	if measured < rows {
		return fmt.Sprintf("%d of %s are", measured, count.Of(rows, "held-out row"))
	}
	return fmt.Sprintf("the %s are", count.Of(rows, "held-out row"))
}

// Measured is how many of the held-out rows are measured, 0 for as many as --eval-rows says.
func (r *Rows) Measured() int { return r.measured }

// Measure has so many of the held-out rows measured, drawn by the seed, of what is mixed in as many; 0: as many as
// --eval-rows says.
func (r *Rows) Measure(rows int) (err error) {
	limit := rows
	if rows == 0 {
		limit = r.cfg.EvalRows
	}
	r.measured = rows
	if r.HeldRows, err = encode.NewLoader(r.Held, r.loading(r.packing, false, limit)); err != nil {
		return err
	}
	for _, m := range r.Mixed {
		if m.Held == nil {
			continue
		}
		if m.HeldRows, err = encode.NewLoader(m.Held, r.loading(r.packing, false, limit)); err != nil {
			return err
		}
	}
	return nil
}

// A heldSet is held-out data with its rows.
type heldSet struct {
	data *encode.Dataset
	rows *encode.Loader
}

// heldSets lists what is held out: of the data itself, then of what is mixed in.
func (r *Rows) heldSets() (out []heldSet) {
	if r.Held != nil {
		out = append(out, heldSet{r.Held, r.HeldRows})
	}
	for _, m := range r.Mixed {
		if m.Held != nil {
			out = append(out, heldSet{m.Held, m.HeldRows})
		}
	}
	return out
}

// HeldPrompts is how many held-out rows an evaluation measures, each of them a prompt of a method of Rollouts.
func (r *Rows) HeldPrompts() int {
	if r.HeldRows == nil {
		return 0
	}
	return r.HeldRows.Rows()
}

// HeldTokens is how many tokens an evaluation reads.
func (r *Rows) HeldTokens() (n int) {
	for _, s := range r.heldSets() {
		n += s.data.Counts.Tokens
	}
	return n
}

// loading says how rows are made.
func (r *Rows) loading(p encode.Packing, shuffle bool, limit int) encode.LoadOptions {
	o := encode.LoadOptions{Window: r.cfg.SeqLen, Packing: p, Batch: r.cfg.Batch, Seed: r.cfg.Seed,
		Shuffle: shuffle, Limit: limit}
	if r.how.Need == method.Rollouts {
		o.Batch = r.cfg.RolloutPrompts
	}
	if r.how.Need.Pools() {
		o.Step, o.Window = r.cfg.StepExamples, max(o.Window, widest(r.Train, r.Held))
	}
	return o
}

// SampleEvery is the number of steps between answers to prompts, 0 where they are written at the end only.
func (r *Rows) SampleEvery() int {
	if r.cfg.SampleEvery.Auto && r.Held != nil {
		return r.EvalEvery() // beside each measurement
	}
	return r.cfg.SampleSteps(r.Steps())
}

// Samplings is how often a run asks for answers at most: after some steps, and after the last.
func (r *Rows) Samplings() int {
	steps, every := r.Steps(), r.SampleEvery()
	if every == 0 {
		return 1
	}
	return (steps + every - 1) / every
}

// Evaluations is how often a run measures the held-out rows: before its first step, after some, and after the last.
func (r *Rows) Evaluations() int {
	if r.Held == nil {
		return 0
	}
	return config.Evaluations(r.Steps(), r.EvalEvery())
}

// CachedBytes is the size of what is kept on disk of other models' passes over the rows: of a reference's
// log-probabilities, one for each counted token, or vectors of texts, and of a teacher's predictions, top for each.
func (r *Rows) CachedBytes(how *method.Method, top int) (bytes int64) {
	tokens, items := r.Train.Counts.Counted, r.Train.Counts.Items
	if r.Held != nil {
		tokens, items = tokens+r.Held.Counts.Counted, items+r.Held.Counts.Items
	}
	switch {
	case how.Reference && how.Need.Pools():
		for _, s := range append(r.heldSets(), heldSet{data: r.Train}) {
			for i := range s.data.Items {
				bytes += 4 * int64(r.embd) * int64(len(s.data.Items[i].Segments))
			}
		}
	case how.Reference:
		bytes += 4 * int64(tokens)
	}
	if how.Teacher && how.Need != method.Rollouts {
		bytes += teacher.Bytes(top, items, tokens)
	}
	return bytes
}

// Largest gives the tokens and counted tokens of the longest row, held-out ones included, and how many rows of a
// micro-batch of that size there are.
func (r *Rows) Largest() (tokens, counted, n int) {
	tokens, counted = r.TrainRows.Longest()
	if r.how.Need == method.Rollouts { // a prompt with its answers, or some of them
		counted = r.cfg.RowAnswers()
		n = r.TrainRows.Rows()
		if counted < r.cfg.NumGenerations.N*r.cfg.MaxCompletion {
			n = r.cfg.Batch // a prompt gives several
		}
		return tokens + counted, counted, min(r.cfg.Batch, n)
	}
	n = r.TrainRows.Rows()
	for _, s := range r.heldSets() {
		t, c := s.rows.Longest()
		tokens, counted, n = max(tokens, t), max(counted, c), max(n, s.rows.Rows())
	}
	return tokens, counted, min(r.cfg.Batch, n)
}

// MicrosAStep is how many micro-batches a step has, at most; of steps that the loader makes, about so many.
func (r *Rows) MicrosAStep() int {
	if r.how.Need.Pools() {
		return (r.TrainRows.Micros() + r.TrainRows.Steps() - 1) / r.TrainRows.Steps()
	}
	return r.cfg.Micros(r.how)
}

// MostTexts is the most texts of a row of which vectors are made, held-out rows included.
func (r *Rows) MostTexts() int {
	most := r.TrainRows.MostTexts()
	for _, s := range r.heldSets() {
		most = max(most, s.rows.MostTexts())
	}
	return most
}

// Probe gives tokens to compare logits on: the first example that has two, of a tree its prompt and first answer. since
// is the first of them on which an adapter acts that waits for an invocation; no more than beforehand come before it.
func (r *Rows) Probe(beforehand int) (tokens []int32, since int) {
	for i := range r.Train.Items {
		it := &r.Train.Items[i]
		n := it.Segments[0].Len
		if len(it.Segments) > 1 && it.Segments[1].Parent == 0 {
			n += it.Segments[1].Len
		}
		if n >= 2 {
			at := it.FirstActive()
			cut := max(at-beforehand, 0)
			return it.Tokens[cut:n], at - cut
		}
	}
	return nil, 0
}
