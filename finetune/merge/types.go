package merge

import (
	"context"

	"github.com/ggtune/ggtune/finetune/allot"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

// choice says what types are wanted. What merging changes is quantized anew in any case; what that cost is measured.
func (m *merging) choice(ctx context.Context) (quant.Choice, error) {
	c := quant.Choice{Types: m.Types, Importance: m.Importance, Requantize: true}
	switch {
	case m.Budget != nil:
		return m.allot(ctx, c)
	case m.Type != "":
		to, err := mix.ToWrite(m.Type)
		if err != nil {
			return c, err
		}
		c.Mix, m.result.Type = to, &to.Name
	}
	return c, nil
}

// allot chooses types for a budget, by what they cost the merged weights beside the adapters applied, on a text that
// the result is not measured on unless nothing else is given.
func (m *merging) allot(ctx context.Context, c quant.Choice) (quant.Choice, error) {
	text, err := m.general()
	if err != nil {
		return c, err
	}
	found, err := allot.Measure(ctx, allot.Config{Model: m.model, Sets: m.sets(), Rows: m.rows(), Choice: c,
		Items: text.items, Budgets: []allot.Budget{*m.Budget}, Threads: m.Threads}, m.rep)
	if err != nil {
		return c, err
	}
	c, kl, err := found.Choose(*m.Budget)
	m.result.Type, m.result.ExpectedKL = &m.Budget.Name, &kl
	return c, err
}
