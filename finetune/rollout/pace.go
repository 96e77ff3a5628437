package rollout

import (
	"context"
	"errors"
	"time"

	"github.com/ggtune/ggtune/bindings/llama"
)

// A reader is a memory that reads with as many threads as it is told; what it computes is the same with any.
type reader interface {
	memory
	SetThreads(n int) error
}

const (
	// slow is how many times as long as one thread's all threads' reading may take. llama.cpp's threads wait for each
	// other by spinning: where other programs have the cores, two can be fifty times slower than one.
	slow = 1.5
	// patience is how many times one thread reads before all are tried again: a try may take as long as slow of these.
	patience = 32
)

// A pacer reads with all threads, or with one where that is faster.
type pacer struct {
	reader
	threads int // all
	set     int // in force; 0: not known
	one     [2]took
	rest    int // so many times more one thread reads
}

// took is how long one thread took to read so many tokens.
type took struct {
	tokens int
	time   time.Duration
}

// ReadEach implements memory.
func (p *pacer) ReadEach(ctx context.Context, next []llama.Next, use func(rows [][]float32) error) error {
	// Tokens of one text, and one token of each of several, take different times.
	one := &p.one[0]
	if len(next) > 1 && next[0].Seq == next[1].Seq {
		one = &p.one[1]
	}
	if p.threads == 1 || p.rest > 0 || one.tokens == 0 {
		p.rest = max(p.rest-1, 0)
		return p.alone(ctx, one, next, use)
	}
	limit := time.Duration(slow * float64(one.time) * max(1, float64(len(next))/float64(one.tokens)))
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := p.with(within, p.threads, next, use)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		p.rest = patience
		return p.alone(ctx, one, next, use)
	}
	return err
}

// alone reads with one thread, and notes how long that takes.
func (p *pacer) alone(ctx context.Context, one *took, next []llama.Next, use func(rows [][]float32) error) error {
	began := time.Now()
	err := p.with(ctx, 1, next, use)
	*one = took{len(next), time.Since(began)}
	return err
}

func (p *pacer) with(ctx context.Context, threads int, next []llama.Next, use func(rows [][]float32) error) error {
	if p.set != threads {
		if err := p.SetThreads(threads); err != nil {
			return err
		}
		p.set = threads
	}
	return p.reader.ReadEach(ctx, next, use)
}
