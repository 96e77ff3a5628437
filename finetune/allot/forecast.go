package allot

import (
	"context"
	"fmt"
	"time"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
)

// backwardPasses is what a forward pass with its backward pass takes, in forward passes: that of the inputs'
// derivatives is one more, layers that are not kept are computed again, and the probes take some.
const backwardPasses = 4

// forecast says what measuring will take, from one forward pass and the errors of one matrix.
func (m *measuring) forecast(ctx context.Context) error {
	first := &m.Items[0]
	began := time.Now()
	row := eval.RowOf(first)
	if _, err := m.reference.Forward(ctx, &engine.Batch{Rows: []engine.Row{row}}, engine.Options{}); err != nil {
		return err
	}
	pass := time.Since(began).Seconds() / float64(len(row.Tokens))
	began = time.Now()
	if err := m.roundOne(ctx, &m.matrices[0]); err != nil {
		return err
	}
	rounding, work := time.Since(began).Seconds(), 0.0
	for k := range m.matrices {
		work += m.roundingWork(&m.matrices[k])
	}
	seconds := rounding*work/m.roundingWork(&m.matrices[0]) + pass*(backwardPasses*float64(tokens(m.Items))+
		float64(1+len(m.groups()))*float64(tokens(m.compared())))
	m.rep.Report(report.Notice{Text: fmt.Sprintf("finding what each type costs each of %d matrices, on %d tokens, "+
		"takes about %s", len(m.matrices), tokens(m.Items),
		time.Duration(seconds*float64(time.Second)).Round(time.Second))})
	return nil
}

// roundingWork is how many numbers are rounded for a matrix.
func (m *measuring) roundingWork(x *matrix) float64 {
	return float64(quant.RoundingElements(&m.file.Tensors[x.index])) * float64(len(x.alternatives))
}

func tokens(items []encode.Item) (n int) {
	for i := range items {
		n += len(items[i].Tokens)
	}
	return n
}
