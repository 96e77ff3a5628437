package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/rate"
	"github.com/ggtune/ggtune/finetune/rate/answer"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
)

// openScorer opens the reward model that says of what it is least sure; nil without one.
func openScorer(c *cli.Context, cfg answer.Config) (*run.Scorer, error) {
	dir := c.String("head")
	switch {
	case dir == "":
		return nil, nil
	case cfg.Model == "":
		return nil, usagef("rate: --head is a reward model's run, whose base reads the answers; name that with --model")
	}
	loaded := busy(c, "load "+dir)
	defer loaded()
	rep := report.NewTerminal(c.App.ErrWriter, report.Screen{})
	defer rep.Close()
	return run.OpenScorer(c.Context, cfg.Model, dir, cfg.Threads, rep)
}

// A rewardScorer is a reward model as a rate.Scorer.
type rewardScorer struct{ *run.Scorer }

// Score implements rate.Scorer.
func (r rewardScorer) Score(ctx context.Context, p rate.Prompt, answers []rate.Answer) ([]float64, error) {
	x := &data.Example{Source: data.Source{File: "pair", Line: 1}, Kind: data.KindPrompt, Prompt: p.Text}
	for _, m := range p.Messages {
		x.Messages = append(x.Messages, data.Message{Role: data.Role(m.Role), Content: m.Content})
	}
	list := make([]data.Answer, len(answers))
	for i, a := range answers {
		list[i] = data.Answer{Text: a.Text, CutOff: a.Cut()}
		if p.Messages != nil {
			list[i].Messages = []data.Message{{Role: data.Assistant, Content: a.Text}}
		}
	}
	scores, err := r.Scorer.Score(ctx, x, list)
	if e := (*run.EncodingError)(nil); errors.As(err, &e) {
		return nil, &rate.PromptError{Err: err}
	}
	return scores, err
}
