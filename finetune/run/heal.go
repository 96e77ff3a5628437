package run

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/quant"
)

// A Healing says how a quantized model wins back what quantization lost: by an adapter with which it predicts as a
// better file of the same model does.
type Healing struct {
	// Run is the training run: its model, the better file (Teacher), its directory, and the text to learn from.
	Run config.Config
	// OwnTokens is how many tokens the better file writes to learn from where Run has no data. Default 32768.
	OwnTokens int
}

// DefaultHealing has the defaults of a run that heals. Pairs start as what rounding took away, and leave in f16: bytes
// are what the model was quantized for. Every tenth text is held out, because what healing gained is measured on them.
func DefaultHealing() Healing {
	c := Healing{Run: config.Default(), OwnTokens: 32768}
	c.Run.Method, c.Run.Init, c.Run.EvalSplit = method.Distill.Name, adapter.LoftQ, config.Fixed(0.1)
	c.Run.OutType = gguf.F16.String()
	return c
}

// A Healed is what healing gained.
type Healed struct {
	Summary report.Summary
	Model   string
	From    string // the better file
	// OwnTokens is how many tokens the better file wrote to learn from; 0: the text was given.
	OwnTokens int
	// Bytes of the files: the model's, the adapter's beside it, and the better one's.
	ModelBytes, AdapterBytes, FromBytes int64
	// Text says what the predictions were compared on.
	Text string
	// Differences are those of the model from the better file, as it is and with the adapter.
	eval.Differences
}

// Before and After are the model's differences from the better file.
func (r *Healed) Before() eval.Difference { return r.Models[0] }

// After is Before, with the adapter.
func (r *Healed) After() eval.Difference { return r.Models[1] }

// Heal trains the adapter and measures what it gained. It tells rep what happens; on cancel it is as Train.
func Heal(ctx context.Context, cfg Healing, rep report.Reporter) (r Healed, err error) {
	c := &cfg.Run
	c.From = ""
	if c.Init == adapter.LoftQ {
		c.From = c.Teacher
	}
	if len(c.Data) == 0 {
		if err := checkOwn(&cfg); err != nil {
			return r, err
		}
		if r.OwnTokens, err = writeOwn(ctx, &cfg, rep); err != nil {
			return r, err
		}
	}
	if r.Summary, err = Train(ctx, *c, rep); err != nil {
		return r, err
	}
	r.Model, r.From = c.Model, c.Teacher
	if err := r.weigh(); err != nil {
		return r, err
	}
	return r, r.measure(ctx, c, rep)
}

// weigh takes the sizes of the files.
func (r *Healed) weigh() error {
	for _, f := range []struct {
		name  string
		bytes *int64
	}{{r.Model, &r.ModelBytes}, {r.Summary.Result, &r.AdapterBytes}, {r.From, &r.FromBytes}} {
		g, err := gguf.Open(f.name)
		if err != nil {
			return err
		}
		*f.bytes = g.Bytes()
		if err := g.Close(); err != nil {
			return err
		}
	}
	return nil
}

// checkOwn refuses, before text is written for it, what Train would refuse after.
func checkOwn(cfg *Healing) error {
	c := cfg.Run
	c.Data = []string{"its own text"}
	if err := c.Validate(); err != nil {
		return err
	}
	if cfg.OwnTokens < leastOwn {
		return &config.Error{Err: fmt.Errorf("%d tokens of its own text are too few to learn from and to measure on; "+
			"expected at least %d", cfg.OwnTokens, leastOwn)}
	}
	if err := CheckOutput(&c); err != nil {
		return err
	}
	return checkBetter(&c)
}

// checkBetter refuses a better file that is none of the model.
func checkBetter(c *config.Config) (err error) {
	m, err := engine.Open(c.Model)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := atomicfile.Distinct(c.Teacher, m.File().Parts()...); err != nil {
		return &config.Error{Err: fmt.Errorf("--from %s is the model itself; give a file of it that lost less",
			c.Teacher)}
	}
	t, err := openTeacher(m, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.model.Close()) }()
	if c.Init == adapter.LoftQ {
		_, err = quant.Original(m.File(), t.model.File())
	}
	return err
}

// saveOwn writes the text that was made into the run's directory.
func saveOwn(dir, name string, text []byte) error {
	if err := os.MkdirAll(dir, dirPermissions); err != nil {
		return fmt.Errorf("output directory: %w; choose a directory you may write in with --output", err)
	}
	return atomicfile.WriteFile(nil, name, text, filePermissions)
}
