package engine

import "github.com/ggtune/ggtune/engine/backend"

// An area is a block of memory that grows to the largest batch.
type area struct {
	mem   backend.Mem
	bytes int64
}

func (a *area) at(offset int64) backend.Place { return backend.Place{Mem: a.mem, At: offset} }

// grow makes the area at least n bytes; its contents are lost.
func (a *area) grow(b backend.Backend, n int64) error {
	if a.mem != 0 && a.bytes >= n {
		return nil
	}
	b.Free(a.mem)
	*a = area{}
	m, err := b.Alloc(n)
	if err == nil {
		*a = area{m, n}
	}
	return err
}

// memory is what a batch needs beside the parameters.
type memory struct {
	work   area // one stage's temporaries
	inputs area // indices of the batch
	acts   area // the input of every layer (or of two, without a backward pass), and the last one's output
	grads  area // the gradient of a stage's output and input
	kept   area // kept activations
	outs   area // logp and its gradient
}

func (m *memory) all() []backend.Mem {
	return []backend.Mem{m.work.mem, m.inputs.mem, m.acts.mem, m.grads.mem, m.kept.mem, m.outs.mem}
}
