// Package bench measures how fast and in how much memory a model is trained, beside llama.cpp's prompt speed in the
// same process and the machine's own multiply rate. It knows no terminal and starts no process.
package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/load"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/verify"
)

// A Config says what is measured.
type Config struct {
	Targets []Target // at least one
	// Cases names what is trained, from Cases(); empty means DefaultCases.
	Cases   []string
	Threads int // of llama.cpp and of ours, 1 to 512
	// Rounds is how often everything is measured, after one round that warms up; 1 to 1000, default 5.
	Rounds int
	// Tokens is the length of a row, 8 to 65536; default 512. Case "long" takes 8 times as many.
	Tokens int
	Rank   int // of the adapter, 1 to 1024, default 16; case "rank64" takes 64
	// KeepBytes is the memory that activations kept for the backward pass may take; 0 means half of what is free now.
	KeepBytes int64
	// Level is the instruction-set level of our kernels (kernels.Levels); "" is the present one, the best at start.
	// llama.cpp's is fixed when it is compiled.
	Level string
	// PeakTime is how long each number format's multiply rate is measured, default 0.2 s.
	PeakTime time.Duration
	// Train runs TrainPeak in a process of its own and returns its result; nil leaves Case.PeakBytes unknown.
	Train func(ctx context.Context, t Train) (int64, error)
	// Rollout measures how fast answers are written, in place of training: Cases, Tokens and KeepBytes do not matter.
	Rollout bool
	// Progress is told what is being done; nil: nobody asks.
	Progress func(what string)
}

// DefaultConfig is what `ggtune bench` measures.
func DefaultConfig() Config {
	return Config{Rounds: 5, Tokens: 512, Rank: 16, PeakTime: 200 * time.Millisecond}
}

// Validate reports every fault of c.
func (c *Config) Validate() error {
	var faults []error
	between := func(what string, n, least, most int) {
		if n < least || n > most {
			faults = append(faults, fmt.Errorf("%s is %d, expected %d to %d", what, n, least, most))
		}
	}
	between("threads", c.Threads, 1, 512)
	between("rounds", c.Rounds, 1, 1000)
	between("tokens", c.Tokens, 8, 1<<16)
	between("rank", c.Rank, 1, 1024)
	if c.KeepBytes < 0 {
		faults = append(faults, fmt.Errorf("memory for activations is %d bytes, expected 0 or more", c.KeepBytes))
	}
	if c.PeakTime <= 0 {
		faults = append(faults, fmt.Errorf("time for the multiply rate is %v, expected above 0", c.PeakTime))
	}
	if c.Level != "" {
		if _, err := kernels.LevelNamed(c.Level); err != nil {
			faults = append(faults, err)
		}
	}
	if len(c.Targets) == 0 {
		faults = append(faults, errors.New("no model or shape is given"))
	}
	for _, t := range c.Targets {
		if err := t.validate(); err != nil {
			faults = append(faults, err)
		}
	}
	if _, err := workloadsOf(c.Cases); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// A Report is what Run measured.
type Report struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"` // that the process may use
	Level   string `json:"level"` // instruction set of our kernels
	Threads int    `json:"threads"`
	Rounds  int    `json:"rounds"`
	// processes that wanted to run in the last minute, when measuring began; 0 where the system does not say
	Load  float64 `json:"load_average"`
	Peaks []Peak  `json:"peaks"` // null of rollouts
	// number format of the training products: the one that OfPeak is relative to
	Product string `json:"product_format"`
	Cases   []Case `json:"cases"` // null of rollouts
	// Rollouts are measured in place of cases.
	Rollouts []Rollout `json:"rollouts,omitempty"`

	LlamaCpp []string `json:"llama_cpp"` // what the llama.cpp inside was compiled for, in its names
	// Warning says why R flatters us: llama.cpp was compiled for less than our kernels use. Empty where it was not.
	Warning string `json:"warning,omitempty"`

	bestLevel bool // Level is the best this CPU has
}

// A Peak is the machine's multiply rate in one number format, all threads together.
type Peak struct {
	Format string  `json:"format"`
	GFLOPS float64 `json:"gflop_per_s"` // 10⁹ operations a second; a multiplication and an addition are two
}

// A Case is one way of training one model. Speeds are medians over rounds, with the least and greatest in Spread.
type Case struct {
	Case    string `json:"case"`
	Model   string `json:"model"`
	Type    string `json:"type"`
	Tokens  int    `json:"tokens"`         // of the row
	Counted int    `json:"counted_tokens"` // of the row
	Rank    *int   `json:"rank"`           // null: full training

	PP      float64    `json:"pp512_tok_per_s"` // llama.cpp's prompt speed
	PPLen   int        `json:"pp_tokens"`       // 512, or the model's whole context where that is shorter and learned
	PPRange [2]float64 `json:"pp512_spread"`
	// Forward is our forward pass over a full row, every token counted, with the adapter.
	Forward      float64    `json:"forward_tok_per_s"`
	ForwardRange [2]float64 `json:"forward_spread"`
	// Training is a step of one row: forward, backward, gradient norm, AdamW.
	Training      float64    `json:"train_tok_per_s"`
	TrainingRange [2]float64 `json:"train_spread"`
	CountedRate   float64    `json:"counted_tok_per_s"`
	// Ratio is Training ÷ PP, the median of the rounds' own ratios.
	Ratio      float64    `json:"ratio"`
	RatioRange [2]float64 `json:"ratio_spread"`

	// Against is the time of a step ÷ that of a step over other rows, which Than names: the median of the rounds' own
	// ratios. Null but for cases "dpo" and "group".
	Against *float64 `json:"step_ratio"`
	Than    string   `json:"step_than,omitempty"`
	// Reference is the speed of a forward pass over the row without the adapter. Null but for case "dpo".
	Reference *float64 `json:"reference_tok_per_s"`

	PeakBytes    *int64  `json:"peak_bytes"`    // resident at most, in a process that only trains; null: not measured
	FileBytes    int64   `json:"model_bytes"`   // of the model file
	SessionBytes int64   `json:"session_bytes"` // planned beside the mapped file
	KeptLayers   int     `json:"kept_layers"`   // whose activations are kept
	Layers       int     `json:"layers"`
	Phases       []Phase `json:"phases"`
}

// A Phase is a part of a training step.
type Phase struct {
	Phase   string  `json:"phase"`
	Seconds float64 `json:"seconds"` // median of rounds
	Share   float64 `json:"share"`   // of the step
	// GFLOPS is the rate of its multiplications and additions, and OfPeak that rate relative to the machine's in the
	// report's Product format; null where they are not counted, and OfPeak below the CPU's best level.
	GFLOPS *float64 `json:"gflop_per_s"`
	OfPeak *float64 `json:"of_peak"`
}

// Run measures what c says. It writes generated models into the folder for temporary files and removes them.
func Run(ctx context.Context, c Config) (_ *Report, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	restore, err := setLevel(c.Level)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, restore()) }()
	c.Targets = append([]Target(nil), c.Targets...)
	r := newReport(&c)
	if err := r.askLlama(); err != nil {
		return nil, err
	}
	if !c.Rollout {
		if err := r.measurePeaks(&c); err != nil {
			return nil, err
		}
	}
	for _, t := range c.Targets {
		if c.Rollout {
			got, err := c.rollouts(ctx, t)
			if err != nil {
				return nil, fmt.Errorf("bench %s: %w", t, err)
			}
			r.Rollouts = append(r.Rollouts, got...)
			continue
		}
		cases, err := c.target(ctx, t, r)
		if err != nil {
			return nil, fmt.Errorf("bench %s: %w", t, err)
		}
		r.Cases = append(r.Cases, cases...)
	}
	return r, nil
}

// setLevel makes kernels run at the level with that name, "" being the present one, until restore.
func setLevel(name string) (restore func() error, err error) {
	was := kernels.CurrentLevel()
	restore = func() error { return kernels.SetLevel(was) }
	if name == "" {
		return restore, nil
	}
	l, err := kernels.LevelNamed(name)
	if err != nil {
		return nil, err
	}
	return restore, kernels.SetLevel(l)
}

func newReport(c *Config) *Report {
	r := &Report{Cores: runtime.GOMAXPROCS(0), Level: kernels.CurrentLevel().String(), Threads: c.Threads,
		Rounds: c.Rounds}
	levels := kernels.Levels()
	r.bestLevel = kernels.CurrentLevel() == levels[len(levels)-1]
	if info, err := cpu.Info(); err == nil && len(info) > 0 {
		r.CPU = strings.Join(strings.Fields(info[0].ModelName), " ")
	}
	if l, err := load.Avg(); err == nil {
		r.Load = l.Load1
	}
	return r
}

// measurePeaks measures the machine itself, in every format it has.
func (r *Report) measurePeaks(c *Config) error {
	c.say("multiply rate of the machine")
	r.Product = kernels.PackedFormat().String()
	for _, f := range kernels.Formats() {
		rate, err := kernels.Peak(f, c.Threads, c.PeakTime)
		if errors.Is(err, kernels.ErrFormat) {
			continue
		}
		if err != nil {
			return err
		}
		r.Peaks = append(r.Peaks, Peak{Format: f.String(), GFLOPS: rate / 1e9})
	}
	return nil
}

// productPeak is the rate that OfPeak is relative to, or 0 below the CPU's best level: the machine's peak is none of
// that level's.
func (r *Report) productPeak() float64 {
	if !r.bestLevel {
		return 0
	}
	for _, p := range r.Peaks {
		if p.Format == r.Product {
			return p.GFLOPS
		}
	}
	return 0
}

func (c *Config) say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}

// target measures every case of one model.
func (c *Config) target(ctx context.Context, t Target, r *Report) ([]Case, error) {
	if t.Path == "" {
		c.say("%s: writing generated weights", t)
	}
	path, remove, err := t.file(ctx)
	if err != nil {
		return nil, err
	}
	defer remove()
	workloads, err := workloadsOf(c.Cases)
	if err != nil {
		return nil, err
	}
	cases, err := c.speeds(ctx, path, t, workloads, r)
	if err != nil || c.Train == nil {
		return cases, err
	}
	for i := range cases { // after llama.cpp's memory and ours is free again
		c.say("%s, %s: peak memory", t, cases[i].Case)
		peak, err := c.Train(ctx, c.train(path, workloads[i]))
		if err != nil {
			return nil, fmt.Errorf("case %s, in a process of its own: %w", cases[i].Case, err)
		}
		cases[i].PeakBytes = &peak
	}
	return cases, nil
}

// speeds measures all cases of one model: those that share a session in the same rounds, so that whatever slows the
// machine down for a while slows both sides of a ratio.
func (c *Config) speeds(ctx context.Context, path string, t Target, workloads []workload,
	r *Report) (cases []Case, err error) {
	m, err := engine.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if n := m.HParams().Positions; n > 0 && c.Tokens > n {
		return nil, fmt.Errorf("rows of %d tokens, and the model has %d learned positions; give --tokens %d", c.Tokens,
			n, n)
	}
	ppLen := promptLen(m)
	lm, err := verify.OpenModel(path, llama.UserModelOptions())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lm.Close()) }()
	o := llama.UserContextOptions(ppLen, c.Threads)
	if m.Net().Headless { // its prompt processing is that of a vector
		o.Gives, o.Pooling = llama.GivesPooled, int(m.Net().Pooling.OrMean())
	}
	lc, err := lm.NewContext(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lc.Close()) }()
	for len(workloads) > 0 {
		n := 1
		for n < len(workloads) && workloads[n].session == workloads[0].session {
			n++
		}
		g := &group{cfg: c, target: t, model: m, llama: lc, ppLen: ppLen, peak: r.productPeak()}
		got, err := g.measure(ctx, c.train(path, workloads[0]), workloads[:n])
		if err != nil {
			return nil, err
		}
		cases, workloads = append(cases, got...), workloads[n:]
	}
	return cases, nil
}

// ppTokens is the prompt length of llama-bench's usual figure, pp512.
const ppTokens = 512
