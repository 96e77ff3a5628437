package config

import (
	"fmt"
	"math"

	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/optim"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/setting"
)

// The peak learning rates of auto. Those of preferences are lower for models from largeModel parameters up, and for
// verdicts, which press on every answer alike where most of them are of one kind. Those of tensors of the model fall
// with its size. docs/defaults.md has what was measured and what others advise.
const (
	answersLR     = 2e-4
	pairsLR       = 5e-5
	scoresLR      = 5e-4
	scoresLargeLR = 1e-4 // TRL's for a reward model with LoRA
	verdictsLR    = 2e-5
	vectorsLR     = 2e-4 // that of answers, which adapters of embedders take too
	fullVectorsLR = 2e-5 // sentence-transformers' examples, and BERT's own papers for fine-tuning
	preferLargeLR = 1e-5
	fullSmallLR   = 3e-4
	fullLR        = 2e-5
	fullLargeLR   = 1e-5
	fullPreferLR  = 1e-6
	// vectorsRate is how many times as fast vectors learn as pairs: their papers take 4e-3 (Kopiczko et al. 2024, table
	// 8) and 3e-3 (Liu et al. 2022, section 3.3).
	vectorsRate = 15
	largeModel  = 1_000_000_000
	smallModel  = 500_000_000
	hugeModel   = 3_000_000_000
)

// The rule of packing, accum and epochs: an epoch should make epochUpdates and a run on pairs runUpdates. Where
// the usual numbers do not give as many, rows are packed less, then fewer of them make a step, then there are more
// epochs. A coupled method estimates over the examples of a step, and keeps it large.
const (
	usualAccum   = 4
	usualEpochs  = 3
	scoresEpochs = 1 // reward models overfit in the second (Ouyang et al. 2022, appendix C.2)
	mostEpochs   = 10
	epochUpdates = 30
	runUpdates   = 60
)

// A Fit is what the defaults are fitted to.
type Fit struct {
	Params   int64          // of the model
	Examples int            // for training
	Micros   int            // micro-batches of an epoch; 0: there is no data
	Packing  encode.Packing // that Pack chose
}

// Pack is how the training rows are packed, of which the best packing would make that many micro-batches an epoch.
func (c *Config) Pack(how *method.Method, micros int) (encode.Packing, error) {
	if c.Packing != autoWord {
		return encode.ParsePacking(c.Packing)
	}
	if how.Need == method.Rollouts {
		return encode.Unpacked, nil
	}
	if c.Steps == 0 && micros < epochUpdates && !how.Coupled && !how.Need.Pools() {
		return encode.Unpacked, nil
	}
	return encode.BestFit, nil
}

// choose puts values in the place of what was left to ggtune, and says what and why.
func (c *Config) choose(how *method.Method, o *optim.Optimizer, f Fit) (said []string) {
	say := func(field any, why string, args ...any) {
		option := c.optionOf(field)
		x, _ := option.Get()
		said = append(said, fmt.Sprintf("--%s %v: %s", option.Name, x, fmt.Sprintf(why, args...)))
	}
	if how.Need == method.Rollouts {
		c.chooseRollouts(how)
	}
	if c.LR.Auto {
		lr, why := c.fitLR(how, f.Params)
		if k := c.Kind(); !c.Whole() && !k.Paired() {
			lr *= vectorsRate
			why += fmt.Sprintf(", %d times the rate of pairs with %s", vectorsRate, k)
		}
		if o.Rate != 1 {
			why += fmt.Sprintf(", %g times the rate of %s with %s", o.Rate, optim.AdamW.Name, o.Name)
		}
		const digits = 1e12 // a product of such numbers in binary has digits that nobody meant
		c.LR = Fixed(math.Round(lr*o.Rate*digits) / digits)
		say(&c.LR, "%s", why)
	}
	if c.ModelDropout.Auto && how.Drops > 0 {
		c.ModelDropout = Fixed(how.Drops)
		say(&c.ModelDropout, "%s learns from what dropout leaves", how.Name)
	}
	if c.Packing == autoWord {
		c.Packing = f.Packing.String()
		if f.Packing == encode.Unpacked && how.Need != method.Rollouts {
			say(&c.Packing, "packed, an epoch would make fewer than %d updates", epochUpdates)
		}
	}
	if c.Accum.Auto && how.Need.Pools() {
		c.Accum = Fixed(1) // nothing asks for it
	}
	if c.Accum.Auto {
		c.Accum = Fixed(usualAccum)
		if f.Micros > 0 && c.Steps == 0 && !how.Coupled {
			c.Accum.N = min(max(f.Micros/epochUpdates, 1), usualAccum)
		}
		if c.Accum.N < usualAccum {
			say(&c.Accum, "with %d an epoch would make %s", usualAccum,
				count.Of(updates(f.Micros, usualAccum), "update"))
		}
	}
	if c.Epochs.Auto {
		c.Epochs = Fixed(usualEpochs)
		if how.Value == method.AtEnds {
			c.Epochs.N = scoresEpochs
		} else if n := updates(f.Micros, c.Accum.N); n > 0 && c.Steps == 0 && how.Need == method.Pairs {
			c.Epochs.N = min(max((runUpdates+n-1)/n, usualEpochs), mostEpochs)
		}
		if c.Epochs.N > usualEpochs {
			say(&c.Epochs, "pairs need some %d updates, and an epoch makes %d", runUpdates,
				updates(f.Micros, c.Accum.N))
		}
	}
	for _, u := range how.Reads {
		if _, given := c.Settings[u.Setting.Name]; !given && f.Micros > 0 && f.Examples < u.Many {
			c.Settings.Set(u.Setting.Name, u.Few)
			s := setting.Slot{Values: &c.Settings, Setting: u.Setting}
			x, _ := s.Get()
			said = append(said, fmt.Sprintf("--%s %g: %s, fewer than %d", u.Setting.Name, x,
				count.Of(f.Examples, "example"), u.Many))
		}
	}
	return said
}

// updates is how many updates an epoch of so many micro-batches makes.
func updates(micros, accum int) int { return (micros + accum - 1) / accum }

// fitLR chooses the peak learning rate, and says why.
func (c *Config) fitLR(how *method.Method, params int64) (lr float64, why string) {
	need := how.Need
	size := fmt.Sprintf("%.3g million parameters", float64(params)/1e6)
	switch {
	case need == method.Rollouts && params >= hugeModel:
		return how.Usual.LargeLR, fmt.Sprintf("%s, an adapter, %s", how.Name, size)
	case need == method.Rollouts:
		return how.Usual.LR, fmt.Sprintf("%s, an adapter, %s", how.Name, size)
	case need.Pools() && c.Whole():
		return fullVectorsLR, "vectors, tensors of the model"
	case need.Pools():
		return vectorsLR, "vectors, an adapter"
	case need != method.Answers && c.Whole():
		return fullPreferLR, "preferences, tensors of the model"
	case c.Whole() && params >= hugeModel:
		return fullLargeLR, "tensors of the model, " + size
	case c.Whole() && params >= smallModel:
		return fullLR, "tensors of the model, " + size
	case c.Whole():
		return fullSmallLR, "tensors of the model, " + size
	case how.Value == method.AtEnds && params >= largeModel:
		return scoresLargeLR, "scores, an adapter, " + size
	case how.Value == method.AtEnds:
		return scoresLR, "scores, an adapter, " + size
	case need == method.Answers:
		return answersLR, "an adapter"
	case params >= largeModel:
		return preferLargeLR, "preferences, an adapter, " + size
	case need == method.Verdicts:
		return verdictsLR, "verdicts, an adapter, " + size
	}
	return pairsLR, "pairs, an adapter, " + size
}

// FewUpdates says that a run of that many updates teaches little, and how it would make more; "" where it has enough,
// or where their number was asked for.
func (c *Config) FewUpdates(how *method.Method, steps int) string {
	if c.Steps > 0 || steps >= runUpdates {
		return ""
	}
	more := "--epochs"
	switch {
	case how.Need == method.Rollouts:
		more = "--num-mini-batches"
		if c.NumMiniBatches == c.RolloutPrompts {
			more = "a lower --rollout-prompts"
		}
	case how.Need.Pools():
		more += ", or a lower --step-examples"
	case how.Coupled: // smaller steps would not do
	case c.Accum.N > 1:
		more = "--accum 1"
	case c.Batch > 1:
		more = "--batch 1"
	case c.Packing != encode.Unpacked.String():
		more = "--packing none"
	}
	return fmt.Sprintf("a run of %s teaches a model little; more examples make more of them, and so does %s",
		count.Of(steps, "update"), more)
}
