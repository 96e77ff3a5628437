package engine

import (
	"fmt"
	"io"
	"sync"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/stream"
)

// A rounded matrix is what passes read in the place of a parameter: its numbers in the storage type that they are
// written in. Gradients go to the parameter as if there were no rounding (straight-through: Bengio et al. 2013,
// "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation"; of networks' weights,
// Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference").
type rounded struct {
	rounding
	param *Param
	at    backend.Place
	bytes int64
}

// A rounding is how a matrix lies after it.
type rounding struct {
	as  gguf.Type
	row int64 // bytes
}

// rounding gives how a set's tensor of the model is rounded before passes read it; false where they read its numbers.
func (s *Session) rounding(t *set, name string) (r rounding, ok bool) {
	x, of := s.model.tensors[name]
	if _, own := t.own[name]; !own || !of || !t.Rounded {
		return r, false
	}
	if r.as = t.Written(x.info); r.as == gguf.F32 {
		return r, false
	}
	var err error
	r.row, err = ggml.Type(r.as).RowSize(x.shape[0])
	return r, err == nil // checkWritten has found that it fits
}

// roundedBytes is what the rounded matrices of a set take.
func (s *Session) roundedBytes(t *set) (n int64) {
	for name := range t.own {
		if r, ok := s.rounding(t, name); ok {
			x := s.model.tensors[name]
			n += r.row * x.rows()
		}
	}
	return n
}

// addRounded gives a parameter's rounded form its memory.
func (s *Session) addRounded(t *set, p *Param, name string) error {
	r, ok := s.rounding(t, name)
	if !ok {
		return nil
	}
	x := s.model.tensors[name]
	n := r.row * x.rows()
	m, err := s.backend.Alloc(n)
	if err != nil {
		return err
	}
	s.extra = append(s.extra, m)
	s.rounded[p.Name] = &rounded{rounding: r, param: p, at: backend.Place{Mem: m}, bytes: n}
	return nil
}

// Updated says that parameters were written: what passes read in their place is made anew. Who updates or restores
// parameters calls it.
func (s *Session) Updated() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("engine: round parameters: session %w", ErrClosed)
	}
	return s.roundAll()
}

func (s *Session) roundAll() error {
	for _, r := range s.rounded {
		if err := s.round(r); err != nil {
			return fmt.Errorf("engine: round tensor %q to %v: %w", r.param.Name, r.as, err)
		}
	}
	return nil
}

// round brings a matrix up to date, a few rows at a time, with all threads.
func (s *Session) round(r *rounded) error {
	width := r.param.Shape[0]
	return eachRows(r.param.Value, width, func(part []float32, at int64) error {
		out := make([]byte, int64(len(part))/width*r.row)
		if err := quantizeRows(ggml.Type(r.as), out, part, width, max(s.cfg.Threads, 1)); err != nil {
			return err
		}
		return s.backend.Upload(r.at.Add(at/width*r.row), out)
	})
}

// quantizeRows is ggml.QuantizeTo on several threads: rows do not depend on each other.
func quantizeRows(as ggml.Type, dst []byte, src []float32, width int64, threads int) error {
	rows := int64(len(src)) / width
	step := (rows + int64(threads) - 1) / int64(threads)
	row := int64(len(dst)) / max(rows, 1)
	errs := make([]error, threads)
	var wait sync.WaitGroup
	for i := range threads {
		from, to := int64(i)*step, min(int64(i+1)*step, rows)
		if from >= to {
			break
		}
		wait.Go(func() {
			errs[i] = ggml.QuantizeTo(as, dst[from*row:to*row], src[from*width:to*width], width, nil)
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// stored writes a rounded matrix as it is read by passes.
func (s *Session) stored(r *rounded) stream.Source {
	return func(dst io.Writer) error {
		buffer := make([]byte, min(r.bytes, piece))
		for at := int64(0); at < r.bytes; at += piece {
			part := buffer[:min(piece, r.bytes-at)]
			if err := s.backend.Download(part, r.at.Add(at)); err != nil {
				return err
			}
			if _, err := dst.Write(part); err != nil {
				return err
			}
		}
		return nil
	}
}
