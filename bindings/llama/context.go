package llama

/*
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/ggtune/ggtune/bindings"
)

// FlashAttn says when a context uses flash attention, with llama.cpp's numbers.
type FlashAttn int

// The choices.
const (
	FlashAttnAuto FlashAttn = -1 // where the backend has it
	FlashAttnOff  FlashAttn = 0
	FlashAttnOn   FlashAttn = 1
)

// KVType is the storage type of a context's keys and values, with ggml's numbers.
type KVType int

// The types.
const (
	KVF32 KVType = 0
	KVF16 KVType = 1
)

// maxCtx is the most tokens a context may hold: beyond what any model is trained for, and small enough that sizes fit.
const maxCtx = 1 << 22

// ContextOptions say how a context computes.
type ContextOptions struct {
	// NCtx is the most tokens that each sequence of the context holds, 1 to 2²²; 0 means as many as the model was
	// trained for.
	NCtx int
	// Sequences is how many texts the context holds apart, 1 to MaxSequences(); 0 means 1. Memory for keys and values
	// is taken for all of them, of NCtx tokens each.
	Sequences int
	// NBatch is the most tokens llama.cpp takes at once, 1 or more. It bounds the memory for logits: NBatch ×
	// vocabulary × 4 bytes.
	NBatch int
	// NUBatch is how many of them are computed together; 0 means NBatch.
	NUBatch int
	// Threads is the number of threads, 1 to 512.
	Threads int
	// FlashAttn says when to use flash attention.
	FlashAttn FlashAttn
	// KV is the storage type of keys and values.
	KV KVType
	// Gives says what is computed of the tokens that are read.
	Gives Gives
	// Pooling says, where Gives is GivesPooled, what of the states a vector is made of, with llama.cpp's numbers: 1 the
	// mean, 2 the first, 3 the last; 0 means what the model's file says.
	Pooling int
}

// Gives is what a context computes of tokens.
type Gives int

// The choices.
const (
	GivesLogits Gives = C.GT_GIVES_LOGITS // the vocabulary's logits, for all but the two methods below
	// GivesStates is for EachState: the states after the output norm. A context of one sequence.
	GivesStates Gives = C.GT_GIVES_STATES
	// GivesRanks is for Ranks: the numbers of the model's classification head. A context of one sequence.
	GivesRanks Gives = C.GT_GIVES_RANKS
	// GivesPooled is for Pooled: one vector of a text. A context of one sequence, which reads a text at once: the sizes
	// of batches are not looked at. Models that keep no memory of tokens have no other.
	GivesPooled Gives = C.GT_GIVES_POOLED
)

// VerifyContextOptions returns the options for comparing our logits with llama.cpp's: nothing rounded that need not be,
// and little memory. 64 tokens a batch keep the logits of a vocabulary of 150,000 at 39 MB.
func VerifyContextOptions(nCtx, threads int) ContextOptions {
	return ContextOptions{NCtx: nCtx, NBatch: 64, Threads: threads, FlashAttn: FlashAttnOff, KV: KVF32}
}

// UserContextOptions returns llama.cpp's own defaults, which generation and the prompt speed of `bench` use.
func UserContextOptions(nCtx, threads int) ContextOptions {
	return ContextOptions{NCtx: nCtx, NBatch: 2048, NUBatch: 512, Threads: threads, FlashAttn: FlashAttnAuto, KV: KVF16}
}

// Validate reports every fault.
func (o ContextOptions) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.NCtx >= 0 && o.NCtx <= maxCtx, "context of %d tokens: want 0 to %d", o.NCtx, maxCtx)
	check(o.Sequences >= 0 && o.Sequences <= MaxSequences(), "%d sequences: want 0 to %d", o.Sequences,
		MaxSequences())
	check(o.NBatch >= 1 && o.NBatch <= maxCtx, "batch of %d tokens: want 1 to %d", o.NBatch, maxCtx)
	check(o.NUBatch >= 0 && o.NUBatch <= o.NBatch, "micro-batch of %d tokens: want 0 to the batch's %d", o.NUBatch,
		o.NBatch)
	check(o.Threads >= 1 && o.Threads <= 512, "%d threads: want 1 to 512", o.Threads)
	check(o.FlashAttn >= FlashAttnAuto && o.FlashAttn <= FlashAttnOn, "flash attention %d: want -1, 0 or 1",
		o.FlashAttn)
	check(o.Gives >= GivesLogits && o.Gives <= GivesPooled, "what a context gives is %d: want 0 to 3", o.Gives)
	check(o.Pooling >= 0 && o.Pooling <= 3, "pooling %d: want 0 to 3", o.Pooling)
	check(o.Gives == GivesLogits || o.Sequences <= 1, "%d sequences of a context that gives no logits: want 1",
		o.Sequences)
	check(o.KV == KVF32 || o.KV == KVF16, "key and value type %d: want 0 (f32) or 1 (f16)", o.KV)
	return errors.Join(errs...)
}

// ErrContextFull is the error of adding more tokens than a context holds.
var ErrContextFull = errors.New("the context is full")

// A Context is a model with the memory of the tokens it has read. Methods that name no sequence read into, and speak
// of, the first one.
type Context struct {
	model  *Model
	nCtx   int
	nBatch int
	// threads is the most that compute.
	threads int
	gives   Gives

	mu      sync.Mutex
	ptr     *C.gt_context
	stop    *int32 // in C: ends the computation under way
	status  C.gt_status
	lens    []int // tokens that each sequence holds
	logits  bool  // the last computation left logits of its last token
	broken  error // an internal check of llama.cpp failed: the context cannot be trusted any more
	want    []int8
	each    each
	applied int              // adapters in use
	off     bool             // they are not applied to what is read now
	found   map[string]found // of the one adapter in use, by name; nil until Overwrite has looked
	cleanup runtime.Cleanup
}

// NewContext makes a context. Close it, before the model.
func (m *Model) NewContext(o ContextOptions) (*Context, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if !m.generates {
		return nil, fmt.Errorf("%s: the model does not predict text, so it has no context to generate in", m.path)
	}
	if o.Gives == GivesRanks && m.ranks == 0 {
		return nil, fmt.Errorf("%s: the model has no classification head that llama.cpp knows", m.path)
	}
	if o.NUBatch == 0 {
		o.NUBatch = o.NBatch
	}
	if o.NCtx == 0 {
		o.NCtx = m.info.NCtxTrain
	}
	if o.Gives == GivesPooled {
		// Positions that a model has not learned end in an assertion of llama.cpp's.
		if n := m.info.NCtxTrain; o.NCtx > n {
			return nil, fmt.Errorf("%s: texts of %d tokens are asked to be pooled, and the model takes %d", m.path,
				o.NCtx, n)
		}
		o.NBatch, o.NUBatch = o.NCtx, o.NCtx
	}
	if o.Pooling == 0 {
		o.Pooling = -1 // LLAMA_POOLING_TYPE_UNSPECIFIED
	}
	o.Sequences = max(o.Sequences, 1)
	c := &Context{model: m, nBatch: o.NBatch, threads: o.Threads, gives: o.Gives, lens: make([]int, o.Sequences)}
	err := m.adopt("make a context", func(p *C.gt_model) error {
		var n C.int32_t
		if C.gt_context_open(p, &C.gt_context_options{
			n_ctx: C.uint32_t(o.NCtx), n_batch: C.uint32_t(o.NBatch), n_ubatch: C.uint32_t(o.NUBatch),
			n_seq: C.uint32_t(o.Sequences), threads: C.int32_t(o.Threads),
			flash_attn: C.int32_t(o.FlashAttn), type_k: C.int32_t(o.KV), type_v: C.int32_t(o.KV),
			gives: C.int32_t(o.Gives), pooling: C.int32_t(o.Pooling),
		}, &c.ptr, &n, &c.status) != C.GT_OK {
			return statusError(fmt.Sprintf("%s: make a context of %d tokens with llama.cpp", m.path, o.NCtx), &c.status)
		}
		// llama.cpp rounds up; what was asked for is what is given
		c.nCtx = min(int(n), o.NCtx)
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.nBatch = min(c.nBatch, c.nCtx*o.Sequences)
	c.stop = (*int32)(unsafe.Pointer(C.gt_context_stop_flag(c.ptr)))
	c.cleanup = runtime.AddCleanup(c, func(p *C.gt_context) { C.gt_context_release(p) }, c.ptr)
	return c, nil
}

// Model returns the model.
func (c *Context) Model() *Model { return c.model }

// NCtx returns the most tokens that each sequence holds.
func (c *Context) NCtx() int { return c.nCtx }

// NBatch returns the most tokens that are read at once.
func (c *Context) NBatch() int { return c.nBatch }

// SetThreads has n of the threads in the context's options compute, 1 or more. What is computed stays the same.
func (c *Context) SetThreads(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable("set threads"); err != nil {
		return err
	}
	if n < 1 || n > c.threads {
		return fmt.Errorf("set threads: %d: want 1 to the context's %d", n, c.threads)
	}
	return c.result(c.model.path+": set threads", C.gt_context_set_threads(c.ptr, C.int32_t(n), &c.status))
}

// Len returns the number of tokens it has read.
func (c *Context) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lens[0]
}

// Close frees the context. It may be called again and on nil.
func (c *Context) Close() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ptr == nil {
		return nil
	}
	c.cleanup.Stop()
	C.gt_context_release(c.ptr)
	c.ptr = nil
	c.model.disown()
	return nil
}

// SetAdapters replaces the adapters in use by these, each scaled by its number beside the scale in its file (alpha /
// rank); none switches them off. What has been read is forgotten: it was computed with other weights.
func (c *Context) SetAdapters(adapters []*Adapter, scales []float32) error {
	if len(adapters) != len(scales) {
		return fmt.Errorf("set adapters: %d adapters and %d scales", len(adapters), len(scales))
	}
	ptrs := make([]*C.gt_adapter, len(adapters)+1) // one more: an empty slice has no first element
	cs := make([]C.float, len(adapters)+1)
	seen := map[*Adapter]bool{}
	for i, a := range adapters {
		if a == nil || a.model != c.model {
			return fmt.Errorf("set adapters: adapter %d was not loaded for this model", i)
		}
		if s := float64(scales[i]); math.IsNaN(s) || math.IsInf(s, 0) {
			return fmt.Errorf("set adapters: scale %v of adapter %d is not finite", scales[i], i)
		}
		if seen[a] {
			return fmt.Errorf("set adapters: adapter %d is named twice", i)
		}
		seen[a] = true
		ptr := a.retain() // its lock is not kept: two contexts may take the same adapters in different orders
		if ptr == nil {
			return fmt.Errorf("set adapters: adapter %d %w", i, bindings.ErrClosed)
		}
		defer C.gt_adapter_release(ptr)
		ptrs[i], cs[i] = ptr, C.float(scales[i])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable("set adapters"); err != nil {
		return err
	}
	code := C.gt_context_set_adapters(c.ptr, &ptrs[0], &cs[0], C.int32_t(len(adapters)), &c.status)
	clear(c.lens)
	c.logits = false
	c.applied, c.off, c.found = len(adapters), false, nil
	err := c.result(c.model.path+": set adapters", code)
	if err != nil {
		c.broken = err
	}
	return err
}

// ApplyAdapters says whether the adapters in use apply to what is read from now on; what has been read stays as it was
// computed. They do after SetAdapters. A change costs a copy of the memory of what has been read.
func (c *Context) ApplyAdapters(on bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable("switch adapters"); err != nil || on != c.off || c.applied == 0 {
		return err
	}
	if len(c.lens) > 1 {
		return fmt.Errorf("switch adapters: the context has %d sequences; want one", len(c.lens))
	}
	code := C.gt_context_apply(c.ptr, C.bool(on), C.int32_t(c.lens[0]), &c.status)
	c.logits = false
	err := c.result(c.model.path+": switch adapters", code)
	if err != nil {
		c.broken = err
		return err
	}
	c.off = !on
	return nil
}

// Truncate forgets all tokens but the first n, or, where the model has layers that keep no more of a text than how it
// ends, all of them: Len says which.
func (c *Context) Truncate(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable("truncate the context"); err != nil {
		return err
	}
	return c.truncate(0, n)
}

// Decode reads tokens, after those read before, and leaves the logits of the last for a Sampler. When ctx is done it
// stops between two operations, forgets what it began, and returns ctx's cause.
func (c *Context) Decode(ctx context.Context, tokens []int32) error {
	return c.read(ctx, GivesLogits, tokens, []int{len(tokens) - 1}, nil)
}

// Logits forgets everything, reads tokens, and returns the logits at the given positions, ascending, as rows of NVocab:
// row i belongs to the prediction of the token after positions[i]. nil means every position.
func (c *Context) Logits(ctx context.Context, tokens []int32, positions []int) ([]float32, error) {
	n := len(positions)
	if positions == nil {
		n = len(tokens)
	}
	if n > math.MaxInt/4/max(c.model.info.NVocab, 1) {
		return nil, fmt.Errorf("logits at %d positions of a vocabulary of %d: too many for memory", n,
			c.model.info.NVocab)
	}
	out := make([]float32, 0, n*c.model.info.NVocab)
	err := c.EachLogits(ctx, tokens, positions, func(_ int, row []float32) error {
		out = append(out, row...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// EachLogits is Logits one row at a time, in memory that does not grow with their number: yield is called for each
// position in turn, with a row that is valid during the call. An error of yield's ends it and is returned. yield must
// not use the context.
func (c *Context) EachLogits(ctx context.Context, tokens []int32, positions []int,
	yield func(position int, row []float32) error) error {
	if positions == nil {
		positions = make([]int, len(tokens))
		for i := range positions {
			positions[i] = i
		}
	}
	if err := c.Truncate(0); err != nil {
		return err
	}
	return c.read(ctx, GivesLogits, tokens, positions, yield)
}

// MoreLogits is EachLogits of tokens behind those that have been read; positions count from the first of them.
func (c *Context) MoreLogits(ctx context.Context, tokens []int32, positions []int,
	yield func(position int, row []float32) error) error {
	return c.read(ctx, GivesLogits, tokens, positions, yield)
}

// read appends tokens in batches. positions, ascending, count from the first of them; rows go to yield, if it is not
// nil.
func (c *Context) read(ctx context.Context, what Gives, tokens []int32, positions []int,
	yield func(int, []float32) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.readable(what, tokens, positions); err != nil {
		return err
	}
	defer c.interruptible(ctx)()
	before := c.lens[0]
	var rows []float32
	for len(tokens) > 0 {
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), c.keep(0, before))
		}
		k, first := min(len(tokens), c.nBatch), c.lens[0]-before
		wanted := c.mark(positions, first, k)
		var out *C.float
		if yield != nil && wanted > 0 {
			rows = grown(rows, wanted*c.width())
			out = (*C.float)(&rows[0])
		}
		code := C.gt_context_eval(c.ptr, (*C.int32_t)(&tokens[0]), C.int32_t(k), C.int32_t(c.lens[0]),
			(*C.int8_t)(&c.want[0]), out, &c.status)
		if err := c.result(fmt.Sprintf("%s: read %d tokens", c.model.path, k), code); err != nil {
			if errors.Is(err, bindings.ErrAborted) {
				err = context.Cause(ctx)
			}
			return errors.Join(err, c.keep(0, before))
		}
		c.lens[0] += k
		c.logits = c.gives == GivesLogits && c.want[k-1] != 0
		tokens = tokens[k:]
		for i := range wanted {
			if yield != nil {
				n := c.width()
				if err := yield(positions[i], rows[i*n:(i+1)*n]); err != nil {
					return err
				}
			}
		}
		positions = positions[wanted:]
	}
	return nil
}

// width is how many numbers the context gives of a token.
func (c *Context) width() int {
	switch c.gives {
	case GivesStates, GivesPooled:
		return c.model.info.NEmbd
	case GivesRanks:
		return c.model.ranks
	}
	return c.model.info.NVocab
}

// mark marks in want which of the k tokens from first on are among positions, and returns how many.
func (c *Context) mark(positions []int, first, k int) int {
	c.want = grown(c.want, k)
	clear(c.want)
	wanted := 0
	for wanted < len(positions) && positions[wanted] < first+k {
		c.want[positions[wanted]-first] = 1
		wanted++
	}
	return wanted
}

// readable checks the arguments of read.
func (c *Context) readable(what Gives, tokens []int32, positions []int) error {
	if err := c.usable("read tokens"); err != nil {
		return err
	}
	if what != c.gives {
		return fmt.Errorf("read tokens: the context was opened for %s, not for %s", c.gives, what)
	}
	if len(tokens) == 0 {
		return errors.New("read tokens: there are none")
	}
	if n := c.lens[0]; len(tokens) > c.nCtx-n {
		return fmt.Errorf("read %d tokens after %d: the context holds %d: %w", len(tokens), n, c.nCtx, ErrContextFull)
	}
	for i, id := range tokens {
		if id < 0 || int(id) >= c.model.info.NVocab {
			return fmt.Errorf("read tokens: token %d at index %d: the vocabulary has tokens 0 to %d", id, i,
				c.model.info.NVocab-1)
		}
	}
	for i, p := range positions {
		if p < 0 || p >= len(tokens) || i > 0 && p <= positions[i-1] {
			return fmt.Errorf("read %d tokens: position %d at index %d: positions must ascend from 0 to %d",
				len(tokens), p, i, len(tokens)-1)
		}
	}
	return nil
}

// PromptTime forgets everything, reads n arbitrary tokens with logits of the last only, or, in a context that gives
// pooled vectors, with one vector of all, and returns how long that took:
// n divided by it is the prompt speed that llama-bench calls pp. Nothing stays in the context. The first call in a
// process is slower, as pages are read and threads start; time a second one.
func (c *Context) PromptTime(ctx context.Context, n int) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable("time a prompt"); err != nil {
		return 0, err
	}
	if c.gives != GivesLogits && c.gives != GivesPooled {
		return 0, fmt.Errorf("time a prompt: the context was opened for %s", c.gives)
	}
	if n < 1 || n > c.nCtx {
		return 0, fmt.Errorf("time a prompt of %d tokens: want 1 to the context's %d", n, c.nCtx)
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	defer c.interruptible(ctx)()
	var ns C.int64_t
	code := C.gt_context_prompt_time(c.ptr, C.int32_t(n), &ns, &c.status)
	err := c.result(fmt.Sprintf("%s: time a prompt of %d tokens", c.model.path, n), code)
	if errors.Is(err, bindings.ErrAborted) {
		err = context.Cause(ctx)
	}
	return time.Duration(ns), errors.Join(err, c.forget())
}

// interruptible makes ctx end computations of llama.cpp until the function it returns is called. The caller holds mu.
func (c *Context) interruptible(ctx context.Context) (done func()) {
	atomic.StoreInt32(c.stop, 0)
	set := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		atomic.StoreInt32(c.stop, 1)
		close(set)
	})
	return func() {
		if !cancel() {
			<-set // or it would stop the next computation
		}
		atomic.StoreInt32(c.stop, 0)
	}
}

// usable reports whether the context can compute. The caller holds mu.
func (c *Context) usable(doing string) error {
	if c.ptr == nil {
		return fmt.Errorf("%s: context %w", doing, bindings.ErrClosed)
	}
	if c.broken != nil {
		return fmt.Errorf("%s: the context is unusable since an earlier error: %w", doing, c.broken)
	}
	return nil
}

// result turns the code of a call that filled c.status into an error. The caller holds mu.
func (c *Context) result(doing string, code C.int) error {
	runtime.KeepAlive(c)
	if code == C.GT_OK {
		return nil
	}
	err := statusError(doing, &c.status)
	if code != C.GT_INVALID && code != C.GT_ABORTED && code != C.GT_FAILED {
		c.broken = err
	}
	return err
}
