package corpus

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/reward"
)

// Given reads the answers that cfg.Data holds as samples for rewards, those of one example at a time: plain answers,
// pairs, or answers with a verdict. Their tokens are counted where cfg names a model. An example without an answer
// gives none, and is counted.
func Given(ctx context.Context, cfg *config.Config, yield func([]reward.Sample) error) (without int, err error) {
	ds, err := openGiven(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ds.Close()) }()
	var vocab *llama.Vocab
	if cfg.Model != "" {
		if vocab, err = vocabulary(cfg.Model); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, vocab.Close()) }()
	}
	for i := range ds.Len() {
		if ctx.Err() != nil {
			return without, context.Cause(ctx)
		}
		x, err := ds.At(i)
		if err != nil {
			return without, err
		}
		row, err := ds.Row(i)
		if err != nil {
			return without, err
		}
		samples := reward.Given(&x, row)
		if len(samples) == 0 {
			without++
			continue
		}
		for k := range samples {
			if vocab == nil {
				break
			}
			tokens, err := vocab.Encode(samples[k].Answer, false, false)
			if err != nil {
				return without, fmt.Errorf("%s: %w", samples[k].Source, err)
			}
			if samples[k].Tokens = len(tokens); samples[k].Ended {
				samples[k].Tokens++
			}
		}
		if err := yield(samples); err != nil {
			return without, err
		}
	}
	return without, nil
}

// openGiven opens data of answers, whatever else it says of them.
func openGiven(ctx context.Context, cfg *config.Config) (*data.Dataset, error) {
	ds, err := openData(ctx, cfg, cfg.Data, data.Options{})
	var unsuited *data.UnsuitedError
	if errors.As(err, &unsuited) && (unsuited.Gives == data.WantPairs || unsuited.Gives == data.WantVerdicts) {
		return openData(ctx, cfg, cfg.Data, data.Options{Want: unsuited.Gives})
	}
	return ds, err
}

func vocabulary(path string) (_ *llama.Vocab, err error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return loadVocab(f)
}
