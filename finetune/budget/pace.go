package budget

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/optim"
)

// A pace is how fast the machine trains, measured on the run's own rows: a short row alone would say several times too
// little, because a matrix is unpacked once for all of a micro-batch's tokens.
type pace struct {
	train   float64 // tok/s of the forward and backward pass
	forward float64 // tok/s of a forward pass alone
	write   float64 // tok/s of the answers that are learned from
	// answerLen is how many tokens these have on average as training starts.
	answerLen float64
	update    float64 // seconds of what is done once a step: gradient norm, optimizer, gradients set to zero
}

const (
	// warmTokens is the length of the row that reads the model from disk, wakes the threads, and tells roughly what a
	// measurement will take.
	warmTokens = 128
	// fullSpeed is the number of tokens of a micro-batch from which products are at full speed: more rows are left out
	// where time is short.
	fullSpeed = 512
	// patience is how long each speed is measured, in seconds: some micro-batches of a small model, one row of a large
	// one.
	patience = 4
)

// A pass is what is measured over a batch.
type pass func(*engine.Batch) error

// measurePace measures in a session as training would have it.
func (p *planner) measurePace(ctx context.Context, sess *engine.Session) (out pace, err error) {
	forward := func(b *engine.Batch) error {
		p.nameAny(b)
		_, err := sess.Forward(ctx, b, engine.Options{Want: p.shape.Want, Pooling: p.shape.Pooling})
		return err
	}
	train := func(b *engine.Batch) error {
		if p.how.Coupled {
			if err := forward(b); err != nil { // as the loop does
				return err
			}
		}
		p.nameAny(b)
		out, err := sess.Forward(ctx, b, engine.Options{Want: p.shape.Want, Pooling: p.shape.Pooling, Backward: true,
			Dropout: true})
		if err != nil {
			return err
		}
		grad := engine.Outputs{}
		for want, numbers := range out {
			grad[want] = make([]float32, len(numbers))
			for i := range numbers {
				grad[want][i] = -1 / float32(len(numbers))
			}
		}
		return sess.Backward(ctx, grad, nil)
	}
	if out.train, err = p.speed(ctx, train); err != nil {
		return out, err
	}
	if p.rows != nil {
		if out.forward, err = p.speed(ctx, forward); err != nil {
			return out, err
		}
	}
	if p.rolls() && p.rows != nil {
		if out.write, out.answerLen, err = p.measureWriting(ctx, sess); err != nil {
			return out, err
		}
	}
	out.update, err = p.updateTime(sess)
	return out, err
}

// speed measures a pass on as many of the run's micro-batches as patience allows, at least on one row, in tok/s.
func (p *planner) speed(ctx context.Context, do pass) (tokPerS float64, err error) {
	took := func(b *engine.Batch) (seconds float64, err error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		began := time.Now()
		err = do(b)
		return time.Since(began).Seconds(), err
	}
	warm := p.madeUp(min(warmTokens, p.cfg.SeqLen))
	var rough float64 // seconds per token; too many, but for rows that are as short
	for range 2 {     // the first reads the model from disk
		s, err := took(warm)
		if err != nil {
			return 0, err
		}
		rough = s / float64(tokensOf(warm))
	}
	var tokens int
	var spent float64
	for at := (encode.Cursor{}); ; {
		b := p.madeUp(p.cfg.SeqLen)
		if p.rolls() {
			b = p.madeUpTree()
		} else if p.rows != nil {
			m, next, err := p.rows.TrainRows.Next(at)
			if err != nil {
				return 0, err
			}
			b, at = &m.Batch, next
		}
		if spent+rough*float64(tokensOf(b)) > patience {
			if spent > 0 {
				break
			}
			b.Rows = enough(b.Rows)
		}
		s, err := took(b)
		if err != nil {
			return 0, err
		}
		tokens, spent = tokens+tokensOf(b), spent+s
		rough = spent / float64(tokens)
		if at.Epoch > 0 || p.rows == nil || p.rolls() {
			break
		}
	}
	return float64(tokens) / spent, nil
}

// nameAny names as many tokens as a teacher would, whichever, gives those values that count, and each text a vector.
func (p *planner) nameAny(b *engine.Batch) {
	for i := range b.Rows {
		row := &b.Rows[i]
		row.Named, row.Valued, row.Pooled = row.Named[:0], row.Counted, row.Pooled[:0]
		for s := range row.Segments {
			row.Pooled = append(row.Pooled, int32(s))
		}
		for range row.Counted {
			for token := range p.shape.Named {
				row.Named = append(row.Named, int32(token))
			}
		}
	}
}

func tokensOf(b *engine.Batch) (n int) {
	for _, r := range b.Rows {
		n += len(r.Tokens)
	}
	return n
}

// enough cuts a micro-batch to the rows that products are at full speed with.
func enough(rows []engine.Row) []engine.Row {
	n := 0
	for i, r := range rows {
		if n += len(r.Tokens); n >= fullSpeed {
			return rows[:i+1]
		}
	}
	return rows
}

// madeUp is a row of n random tokens at most, of which as many count as do in the data: the output head works for those
// only.
func (p *planner) madeUp(n int) *engine.Batch {
	hp := p.model.HParams()
	n = min(n, hp.NCtxTrain)
	row := engine.Row{Segments: []engine.Segment{{Len: n, Parent: -1}}}
	rng := rand.New(rand.NewPCG(p.cfg.Seed, 0))
	share := float64(p.Counted) / float64(p.Tokens)
	for i := range n {
		row.Tokens = append(row.Tokens, int32(rng.IntN(hp.NVocab)))
		if i > 0 && (i == 1 || float64(len(row.Counted)) < share*float64(i)) {
			row.Counted = append(row.Counted, int32(i))
		}
	}
	return &engine.Batch{Rows: []engine.Row{row}}
}

// updateTime measures what a step does beside its passes. The parameters stay as they are: nothing is learned at a rate
// of 0.
func (p *planner) updateTime(sess *engine.Session) (seconds float64, err error) {
	how, err := p.cfg.Optimizer()
	if err != nil {
		return 0, err
	}
	opt, err := how.Start(sess.Params(), p.cfg.Settings, p.cfg.Rule())
	if err != nil {
		return 0, err
	}
	defer opt.Close()
	for range 2 { // the first touches the moments' memory
		began := time.Now()
		norm, err := opt.GradNorm()
		if err != nil {
			return 0, fmt.Errorf("plan: gradient norm of a pass: %w", err)
		}
		if err := opt.Update(0, optim.ClipScale(norm, p.cfg.Clip)); err != nil {
			return 0, err
		}
		if err := sess.Updated(); err != nil {
			return 0, err
		}
		if err := sess.ZeroGrad(); err != nil {
			return 0, err
		}
		seconds = time.Since(began).Seconds()
	}
	return seconds, nil
}
