// Package backend says what a device must be able to do for the engine: hold weights, give memory, turn a compute
// graph into a program and run it. It knows no model, no session and no device; engine/cpu is one.
//
// Memory is addressed by handle and offset, never by pointer: a device's memory need not be the process's.
package backend

import (
	"context"
	"time"

	"github.com/ggtune/ggtune/engine/graph"
)

// Mem is the handle of one block of a backend's memory. The zero Mem is none.
type Mem uint64

// A Place is a byte of a block.
type Place struct {
	Mem Mem
	At  int64 // bytes from the block's beginning
}

// Add is the place n bytes behind p.
func (p Place) Add(n int64) Place { return Place{p.Mem, p.At + n} }

// Alignment is that of every block, and what offsets of values within one are multiples of, in bytes: a cache line,
// and the widest vector register.
const Alignment = 64

// Aligned rounds a number of bytes up to Alignment.
func Aligned(n int64) int64 { return (n + Alignment - 1) &^ (Alignment - 1) }

// A Weight is a frozen tensor as it lies in its file.
type Weight struct {
	Name  string
	Type  int32       // ggml's number
	Shape graph.Shape // elements
	Row   int64       // bytes of a row
	Data  []byte      // borrowed until the block is freed; read only
}

// A Backend computes graphs on one device. It belongs to one goroutine at a time.
type Backend interface {
	// Name is the device's name, as --device takes it.
	Name() string
	// Check says which operation of g, or which attribute or type of one, the backend lacks.
	Check(g *graph.Graph) error
	// Hold makes a weight readable by programs.
	Hold(w Weight) (Mem, error)
	// Alloc gives a zeroed block of bytes.
	Alloc(bytes int64) (Mem, error)
	// Free frees a block of Hold or Alloc, once; the zero Mem is none, and of a closed backend nothing is left to free.
	Free(m Mem)
	// Upload copies into a block of Alloc, Download out of one.
	Upload(dst Place, src []byte) error
	Download(dst []byte, src Place) error
	// Zero clears bytes.
	Zero(at Place, bytes int64) error
	// Compile turns g into a program. Values of keep are bound from outside beside g's outputs. exact asks for F32
	// throughout; otherwise the arithmetic of products is the device's fastest that trains as well.
	Compile(g *graph.Graph, keep []graph.ID, exact bool) (Program, error)
	// Kept says how programs that are compiled so keep keys and values of an attention (graph.AttentionNext).
	Kept(a graph.AttentionAttr, exact bool) Kept
	// Bytes is the memory that Alloc has given and Free not taken back.
	Bytes() int64
	// Close waits for what runs, and frees everything. It may be called again.
	Close() error
}

// Kept says how keys and values are kept of tokens that later ones attend to, in pages.
type Kept struct {
	Type   int32 // of the numbers
	Page   int64 // numbers of a page
	Tokens int64 // for which a page has room
}

// A Host is a Backend whose memory the process itself can address: what works on numbers where they lie asks for it.
type Host interface {
	// HostBytes is the memory of n bytes at a place, valid until its block is freed.
	HostBytes(at Place, n int64) ([]byte, error)
}

// A Program is a graph ready to run on the backend that compiled it: everything but addresses. It holds no memory.
type Program interface {
	// Graph is what the program computes.
	Graph() *graph.Graph
	// Work is the size of the work area it needs, in bytes.
	Work() int64
	// Run computes the graph. On return its outputs can be downloaded.
	Run(ctx context.Context, b *Binding) error
}

// A Binding gives a program the memory it works on.
type Binding struct {
	Work Place // of at least Program.Work bytes; its contents are lost
	// Of gives the place of a bound value, an output or a kept value.
	Of func(id graph.ID, v *graph.Value) Place
	// Profile, unless nil, has the time spent in each Phase added to it.
	Profile *Profile
}

// A Phase is a part of the work that a profile tells apart.
type Phase uint8

// The phases.
const (
	PhaseRest           Phase = iota // norms, activations, positions, sums
	PhaseLinearForward               // products with the model's weights
	PhaseLinearBackward              // products with their transposes, and their gradients in full training
	PhaseAttention
	PhaseHead    // the output head and the softmax, both ways
	PhaseAdapter // products with what is trained beside weights, both ways
	phaseEnd
)

func (p Phase) String() string {
	return [phaseEnd]string{"rest", "linear forward", "linear backward", "attention", "output head", "adapter"}[p]
}

// Phases lists all of them, the rest last.
func Phases() []Phase {
	return []Phase{PhaseLinearForward, PhaseLinearBackward, PhaseAttention, PhaseHead, PhaseAdapter, PhaseRest}
}

// A Profile is the time spent in each Phase.
type Profile [phaseEnd]time.Duration
