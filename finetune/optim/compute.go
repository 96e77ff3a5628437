package optim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// The lengths of rows that a parameter's numbers are seen as.
const (
	// chunk is that of sums, whose order it fixes: those of rows are added in order, so that neither the number of
	// threads nor the backend's way of sharing rows out changes a result.
	chunk = 1 << 15
	// updated is that of updates, number by number: short, so that there are rows for every thread in half a LoRA pair.
	updated = 1 << 12
)

// eachPart calls do for the whole rows of n numbers, as one matrix, and for what is left behind them.
func eachPart(n, row int64, do func(from int64, shape graph.Shape)) {
	rest := n % row
	if n > rest {
		do(0, graph.Matrix(row, n/row))
	}
	if rest > 0 {
		do(n-rest, graph.Matrix(rest, 1))
	}
}

// A computation is one graph over all parameters, on the backend where they lie, which gives a few numbers for each.
type computation struct {
	backend backend.Backend
	graph   graph.Graph
	program backend.Program
	places  map[graph.ID]backend.Place
	results []result
	work    backend.Mem
	out     backend.Mem
	bytes   int64 // of out
	blocks  []backend.Mem
	closed  bool
}

// A result is the numbers that one node gives, one for each row of a parameter's part.
type result struct {
	param *engine.Param
	rows  int64
	each  int64 // bytes of a number
	at    int64 // in the results' memory, bytes
}

// newComputation begins one over parameters, which lie on one backend.
func newComputation(params []*engine.Param) *computation {
	c := &computation{places: map[graph.ID]backend.Place{}}
	if len(params) > 0 {
		c.backend = params[0].Value.Backend
	}
	return c
}

// floats allocates numbers that are freed with the computation.
func (c *computation) floats(n int64) (backend.Floats, error) {
	f, err := backend.NewFloats(c.backend, n)
	if err == nil {
		c.blocks = append(c.blocks, f.At.Mem)
	}
	return f, err
}

// bind names a value of the graph by its place.
func (c *computation) bind(kind graph.Kind, typ int32, shape graph.Shape, at backend.Place) graph.ID {
	name := fmt.Sprint("value ", len(c.graph.Values))
	id := c.graph.Bound(graph.Value{Name: name, Kind: kind, Type: typ, Shape: shape, Ref: graph.None})
	c.places[id] = at
	return id
}

// part binds a part of numbers.
func (c *computation) part(kind graph.Kind, f backend.Floats, from int64, shape graph.Shape) graph.ID {
	return c.bind(kind, f.Type, shape, f.Part(from, shape.Elements()).At)
}

// give makes id, [1, rows], a result.
func (c *computation) give(p *engine.Param, id graph.ID) {
	if c.graph.Err() != nil {
		return
	}
	v := c.graph.Value(id)
	c.graph.Output(id)
	c.results = append(c.results, result{param: p, rows: v.Shape[1], each: graph.TypeBytes(v.Type), at: c.bytes})
	c.bytes += backend.Aligned(v.Bytes())
}

// compile makes the graph ready to run.
func (c *computation) compile() error {
	if c.graph.Err() != nil || len(c.graph.Nodes) == 0 {
		return c.graph.Err()
	}
	if err := c.backend.Check(&c.graph); err != nil {
		return fmt.Errorf("device %s: %w", c.backend.Name(), err)
	}
	var err error
	if c.program, err = c.backend.Compile(&c.graph, nil, true); err != nil {
		return err
	}
	if c.work, err = c.backend.Alloc(c.program.Work()); err != nil {
		return err
	}
	if c.out, err = c.backend.Alloc(c.bytes); err != nil {
		return err
	}
	for i, id := range c.graph.Outputs {
		c.places[id] = backend.Place{Mem: c.out, At: c.results[i].at}
	}
	return nil
}

// run computes the graph, all of it or nothing, and calls do for each number of the results in order.
func (c *computation) run(do func(p *engine.Param, x float64)) error {
	if err := c.open(); err != nil || c.program == nil { // there are no parameters
		return err
	}
	b := backend.Binding{Work: backend.Place{Mem: c.work},
		Of: func(id graph.ID, _ *graph.Value) backend.Place { return c.places[id] }}
	if err := c.program.Run(context.Background(), &b); err != nil {
		return err
	}
	all := make([]byte, c.bytes)
	if err := c.backend.Download(all, backend.Place{Mem: c.out}); err != nil {
		return err
	}
	for _, r := range c.results {
		for k := range r.rows {
			if b := all[r.at+k*r.each:]; r.each == 8 {
				do(r.param, math.Float64frombits(binary.NativeEndian.Uint64(b)))
			} else {
				do(r.param, float64(math.Float32frombits(binary.NativeEndian.Uint32(b))))
			}
		}
	}
	return nil
}

// finite is run of an optimizer's t-th update, whose results are 0, or no number where a row of the parameter is not
// finite after: then the error says so.
func (c *computation) finite(t int, lr float64) error {
	var spoiled *engine.Param
	if err := c.run(func(p *engine.Param, x float64) {
		if spoiled == nil && x != 0 {
			spoiled = p
		}
	}); err != nil {
		return err
	}
	if spoiled != nil {
		return fmt.Errorf("%w: update %d at learning rate %g spoiled %q", ErrParams, t, lr, spoiled.Name)
	}
	return nil
}

// open is an error once the memory is given back.
func (c *computation) open() error {
	if c.closed {
		return fmt.Errorf("optimizer %w", engine.ErrClosed)
	}
	return nil
}

// close frees what was allocated; it may be called again.
func (c *computation) close() {
	c.closed = true
	if c.backend == nil {
		return
	}
	for _, m := range append(c.blocks, c.work, c.out) {
		c.backend.Free(m)
	}
	c.program, c.blocks, c.work, c.out = nil, nil, 0, 0
}

// constants are what an operation reads beside each parameter and what changes from run to run: a K, which is a
// structure of float64 or of int64.
type constants[K any] struct {
	c    *computation
	typ  int32
	each []byte // as the backend reads them, each at a value's alignment
	at   backend.Place
}

func newConstants[K any](c *computation, typ int32, params int) (constants[K], error) {
	if params == 0 {
		return constants[K]{}, nil
	}
	k := constants[K]{c: c, typ: typ, each: make([]byte, int64(params)*constantsBytes[K]())}
	all, err := c.floats(int64(len(k.each)) / 4)
	k.at = all.At
	return k, err
}

// constantsBytes is the distance from one parameter's to the next one's.
func constantsBytes[K any]() int64 {
	var one K
	return backend.Aligned(int64(unsafe.Sizeof(one)))
}

// bind names those of a parameter in the graph: [numbers of K, 1].
func (k *constants[K]) bind(i int) graph.ID {
	var one K
	at := k.at.Add(int64(i) * constantsBytes[K]())
	return k.c.bind(graph.Input, k.typ, graph.Matrix(int64(unsafe.Sizeof(one)/8), 1), at)
}

// set gives a parameter new ones, which upload brings to the backend.
func (k *constants[K]) set(i int, x K) {
	copy(k.each[int64(i)*constantsBytes[K]():], unsafe.Slice((*byte)(unsafe.Pointer(&x)), unsafe.Sizeof(x)))
}

func (k *constants[K]) upload() error {
	if len(k.each) == 0 {
		return nil
	}
	if err := k.c.open(); err != nil {
		return err
	}
	return k.c.backend.Upload(k.at, k.each)
}

// A norm is that of all gradients together.
type norm struct{ *computation }

func newNorm(params []*engine.Param) (norm, error) {
	n := norm{newComputation(params)}
	for _, p := range params {
		eachPart(p.Len(), chunk, func(from int64, shape graph.Shape) {
			n.give(p, n.graph.Squares(n.part(graph.Input, p.Grad, from, shape)))
		})
	}
	return n, n.compile()
}

// of is the Euclidean norm, in F64. If a gradient is not finite, the error names the first tensor that has one, and
// the norm is not finite; with any other error it is 0.
func (n *norm) of() (float64, error) {
	var total float64
	var bad *engine.Param
	if err := n.run(func(p *engine.Param, x float64) {
		total += x
		if bad == nil && x-x != 0 {
			bad = p
		}
	}); err != nil {
		return 0, err
	}
	root := math.Sqrt(total)
	if bad != nil {
		return root, fmt.Errorf("gradient of %q is not finite", bad.Name)
	}
	if root-root != 0 {
		// Squares of finite float32 numbers do not overflow float64, nor does any sum of them that fits in memory.
		return root, errors.New("gradient norm is not finite")
	}
	return root, nil
}

// ClipScale is the factor that brings a gradient of the given norm to at most limit (Pascanu et al. 2013); limit 0
// leaves it alone.
func ClipScale(norm, limit float64) float64 {
	if limit <= 0 || norm <= limit {
		return 1
	}
	return limit / norm
}
