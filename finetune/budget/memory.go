package budget

import (
	"fmt"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// A Shape is the size of a run's largest micro-batch.
type Shape struct {
	Row     int // tokens of its longest row
	Counted int // of them, those whose log-probability is asked for
	Rows    int // each taken to be as long
	Texts   int // of it, texts of which vectors are made
	// Pooling says how.
	Pooling arch.Pooling
	Named   int // tokens named for each that counts, where the method has a teacher
	// Teacher is a model that is asked about each micro-batch while it is trained on; nil: none is.
	Teacher *engine.Model
	// Want is what a pass is asked for, as encode.Wants has it.
	Want []*engine.Output
	// Critic says that values come of passes of their own, of the set config.ValueSet.
	Critic bool
	// Cache is the room for answers that the session itself writes; nil: it writes none.
	Cache *engine.CacheConfig
}

// footprint is what the larger of the passes takes, which use the same memory one after the other.
func (s Shape) footprint(m *engine.Model, sc engine.SessionConfig) (engine.Footprint, error) {
	// No more tokens are given a value than count.
	e := engine.Extent{Tokens: s.Row * s.Rows, Counted: s.Counted * s.Rows, Row: s.Row, Named: s.Named,
		Valued: s.Counted * s.Rows, Pooled: s.Texts * s.Rows, Pooling: s.Pooling, Want: s.Want, Cache: s.Cache}
	f, err := engine.Plan(m, sc, e)
	if err != nil || !s.Critic {
		return f, err
	}
	e.Want, e.Apply = []*engine.Output{engine.Value}, engine.Only(config.ValueSet)
	if values, err := engine.Plan(m, sc, e); err != nil || values.Total() > f.Total() {
		return values, err
	}
	return f, nil
}

// taught is what a teacher's pass over such a micro-batch takes beside its mapped weights.
func (s Shape) taught(threads int) (int64, error) {
	if s.Teacher == nil {
		return 0, nil
	}
	f, err := engine.Plan(s.Teacher, engine.SessionConfig{Threads: threads}, engine.Extent{Tokens: s.Row * s.Rows,
		Counted: s.Counted * s.Rows, Row: s.Row, Want: []*engine.Output{engine.LogP, engine.Top}, Top: s.Named,
		Forward: true})
	return f.Total(), err
}

// A Memory is what a run takes, decided before it begins.
type Memory struct {
	Keep    int64 // bytes for activations kept for the backward pass
	Total   int64 // bytes beside the mapped weights, optimizer included
	Trained int64 // parameters
	Params  int64 // of Total, theirs without their gradients
	State   int64 // of Total, what the optimizer keeps
	Fixed   int64 // numbers of an adapter that are not trained
	Samples int64 // of Total, what llama.cpp takes to answer prompts meanwhile
	// Rollouts is, of Total, what writing the answers takes that are learned from: llama.cpp, or the keys and values of
	// those that the session itself writes.
	Rollouts int64
	// Teacher is, of Total, what the teacher takes who is asked about them, beside its own mapped weights.
	Teacher int64
	Start   int64 // before all that: what working out how the adapter starts takes
}

// courtesy is the memory, in bytes, that a run takes to save time where the user has not said what it may take: a
// browser's worth. A 1.1B model recomputes most of its layers within it, and trains in its file's size and a gigabyte.
const courtesy = 1e9

// PlanMemory decides how much memory a session may keep activations in, and refuses a run that does not fit into free
// bytes (0: not known). samples gives the bytes that answers to prompts take meanwhile, for that many parameters.
// Answers are worth less than the training: where there is no room for both, none is planned for them. rollouts is what
// llama.cpp takes that writes what is learned from, nothing where nothing is; it has an adapter of its own.
func PlanMemory(m *engine.Model, sc engine.SessionConfig, cfg *config.Config, shape Shape,
	samples func(trained int64) int64, rollouts llama.Memory, free int64) (Memory, error) {
	sc.KeepBytes = 0
	f, err := shape.footprint(m, sc)
	if err != nil {
		return Memory{}, err
	}
	beside, apart := samples(max(f.Trained, config.Size(sc))), leaving(sc, &f)
	state, update := cfg.OptimizerBytes(f.List)
	writing := rollouts.Total()
	if writing > 0 {
		writing += 2 * 4 * max(f.Trained, config.Size(sc)) // and, while it is loaded, the file that it is loaded from
	}
	teaching, err := shape.taught(cfg.Threads)
	if err != nil {
		return Memory{}, fmt.Errorf("--teacher: %w", err)
	}
	least := f.Total() + state + update + apart + beside + writing + teaching
	allowed := int64(cfg.Memory) * 1e6
	said := "--memory"
	switch {
	case allowed > 0 && free > 0 && free < allowed:
		allowed, said = free, "free memory"
	case allowed == 0:
		// What a run needs it takes; activations are kept only as far as nobody is likely to mind.
		allowed, said = min(max(least, min(free/2, courtesy)), free), "free memory"
		if free == 0 {
			allowed = least
		}
	}
	if least > allowed && beside > 0 {
		return PlanMemory(m, sc, cfg, shape, withoutSamples, rollouts, free)
	}
	if least > allowed {
		return Memory{}, fmt.Errorf("training %s takes %s beside the model file (%d parameters with their gradients "+
			"and moments %s, a micro-batch of %d tokens %s), and %s is %s; %s",
			m.Path(), report.Bytes(least), f.Trained, report.Bytes(f.Params+state+update),
			shape.Row*shape.Rows, report.Bytes(f.Work+f.Inputs), said, report.Bytes(allowed),
			fitting(m, sc, cfg, shape, writing, allowed))
	}
	start, limit := cfg.StartBytes(sc), free
	if cfg.Explains() { // a pass beside it, which takes no more than one that is trained on
		start += f.Work + f.Inputs
	}
	if cfg.Memory > 0 {
		limit = allowed
	}
	if limit > 0 && start > limit {
		return Memory{}, fmt.Errorf("--init %s works out how the adapter of %s starts, which takes up to %s before "+
			"the first step, and %s is %s; another --init, or fewer --targets, is needed", cfg.Init, m.Path(),
			report.Bytes(start), said, report.Bytes(limit))
	}
	// The arena keeps what it needs whole layers at a time, so that less than this may be used.
	b := Memory{Keep: min(allowed-least, f.AllKept), Trained: f.Trained, Fixed: f.Fixed, State: state, Samples: beside,
		Rollouts: writing + f.Cache, Teacher: teaching, Start: start}
	for _, p := range f.List {
		b.Params += p.ValueBytes()
	}
	sc.KeepBytes = b.Keep
	if f, err = shape.footprint(m, sc); err != nil {
		return Memory{}, err
	}
	b.Total = f.Total() + state + update + apart + beside + writing + teaching
	return b, nil
}

// leaving is the bytes of an adapter as it leaves beside what is in memory in training: of VeRA, whose matrices are
// multiplied out, and of a start that is taken away again.
func leaving(sc engine.SessionConfig, f *engine.Footprint) int64 {
	return 4 * max(0, config.Size(sc)-f.Trained-f.Fixed)
}

func withoutSamples(int64) int64 { return 0 }

// Crowded says that a run will read its model from disk over and over, "" if the mapped weights fit beside what it
// takes (or nobody knows: free is 0). All figures are bytes.
func Crowded(model string, weights, total, free int64) string {
	if free == 0 || weights+total <= free {
		return ""
	}
	return fmt.Sprintf("%s (%s) and what training takes (%s) are more than the memory that is free (%s): the model "+
		"will be read from disk again in every step, which is slow; close other programs, or take a smaller model",
		model, report.Bytes(weights), report.Bytes(total), report.Bytes(free))
}

// fitting says what would fit into the bytes allowed, beside what writing answers takes.
func fitting(m *engine.Model, sc engine.SessionConfig, cfg *config.Config, shape Shape, writing, allowed int64) string {
	rowLen, least := shape.Row, 32
	rolls := writing > 0 || shape.Cache != nil
	if rolls {
		least = rowLen // a row is a prompt with its answers
	}
	for n := rowLen; n >= least && (!rolls || shape.Rows > 1); n /= 2 {
		less := shape
		less.Row, less.Counted, less.Rows = n, min(n, shape.Counted), 1
		f, err := less.footprint(m, sc)
		teaching, asked := less.taught(cfg.Threads)
		state, update := cfg.OptimizerBytes(f.List)
		if err == nil && asked == nil && f.Total()+state+update+writing+teaching <= allowed {
			if n == rowLen {
				if rolls { // an update has as many as it takes
					return "--batch 1 would fit (it learns the same)"
				}
				return fmt.Sprintf("--batch 1 would fit (with --accum %d it learns the same)", cfg.Accum.N*cfg.Batch)
			}
			return fmt.Sprintf("--batch 1 --seq-len %d would fit", n)
		}
	}
	if rolls {
		return "a lower --max-completion-length, fewer --num-generations or a smaller --rank is needed"
	}
	if cfg.Whole() {
		return "train an adapter (--tune lora), fewer tensors (--tune part), or a smaller model"
	}
	return "a smaller --rank, fewer --targets or a smaller model is needed"
}
