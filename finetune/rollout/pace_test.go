package rollout

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ggtune/ggtune/bindings/llama"
)

// A slowReader takes a time that depends on its threads alone, or until it is told to stop, and notes its threads.
type slowReader struct {
	memory
	takes   map[int]time.Duration
	threads int
	read    []int // threads of each reading that came to its end
	stopped int
}

func (r *slowReader) SetThreads(n int) error {
	r.threads = n
	return nil
}

func (r *slowReader) ReadEach(ctx context.Context, _ []llama.Next, _ func([][]float32) error) error {
	select {
	case <-ctx.Done():
		r.stopped++
		return context.Cause(ctx)
	case <-time.After(r.takes[r.threads]):
		r.read = append(r.read, r.threads)
		return nil
	}
}

func TestPacer(t *testing.T) {
	const never = time.Hour
	step, prompt := []llama.Next{{Seq: 0}, {Seq: 1}}, []llama.Next{{Seq: 0}, {Seq: 0}}
	for _, c := range []struct {
		name    string
		takes   map[int]time.Duration
		threads int
		next    [][]llama.Next
		want    []int
		stopped int
	}{
		{"all are faster", map[int]time.Duration{1: 300 * time.Millisecond}, 4, [][]llama.Next{step, step, step},
			[]int{1, 4, 4}, 0},
		{"all are slower", map[int]time.Duration{1: time.Millisecond, 4: never}, 4, [][]llama.Next{step, step, step},
			[]int{1, 1, 1}, 1},
		{"prompts are known by themselves", map[int]time.Duration{1: 300 * time.Millisecond}, 4,
			[][]llama.Next{prompt, step, prompt, step}, []int{1, 1, 4, 4}, 0},
		{"one is all", map[int]time.Duration{1: time.Millisecond}, 1, [][]llama.Next{step, step}, []int{1, 1}, 0},
		{"all are tried again", map[int]time.Duration{1: time.Microsecond, 4: never}, 4,
			slices.Repeat([][]llama.Next{step}, 1+1+patience+1), slices.Repeat([]int{1}, 1+1+patience+1), 2},
	} {
		r := &slowReader{takes: c.takes}
		p := &pacer{reader: r, threads: c.threads}
		for _, next := range c.next {
			if err := p.ReadEach(t.Context(), next, nil); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if !slices.Equal(r.read, c.want) || r.stopped != c.stopped {
			t.Errorf("%s: read with %v threads, %d given up; want %v, %d", c.name, r.read, r.stopped, c.want, c.stopped)
		}
	}
	// Whoever asks for an end gets it, not another try.
	r := &slowReader{takes: map[int]time.Duration{4: never}}
	p := &pacer{reader: r, threads: 4, one: [2]took{{1, never / 4}}}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("told to stop")
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	if err := p.ReadEach(ctx, step, nil); !errors.Is(err, cause) || len(r.read) > 0 || r.stopped != 1 {
		t.Errorf("told to stop: got %v after %v", err, r.read)
	}
}
