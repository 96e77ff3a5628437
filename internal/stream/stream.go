// Package stream writes files of tensors, one behind the other, from whatever makes their bytes. It knows no format.
package stream

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
)

// A Source writes exactly a tensor's bytes to w, or fails.
type Source func(w io.Writer) error

// Floats is the source of float32 numbers, borrowed until they are written.
func Floats(data []float32) Source {
	return func(w io.Writer) error {
		var buf [4096]byte
		for rest := data; len(rest) > 0; {
			n := min(len(rest), len(buf)/4)
			used, err := binary.Encode(buf[:], binary.LittleEndian, rest[:n])
			if err != nil {
				return err
			}
			if _, err := w.Write(buf[:used]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	}
}

// A Writer counts what is written, and stops between writes when ctx is cancelled: it then gives context.Cause(ctx).
type Writer struct {
	N int64 // bytes

	ctx context.Context
	w   io.Writer
}

// NewWriter writes to w.
func NewWriter(ctx context.Context, w io.Writer) *Writer { return &Writer{ctx: ctx, w: w} }

func (w *Writer) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	n, err := w.w.Write(p)
	w.N += int64(n)
	return n, err
}

// Tensor writes a tensor of so many bytes, and fails if its source writes more or fewer. what says what they are, for
// messages.
func (w *Writer) Tensor(name string, size int64, what any, src Source) error {
	start := w.N
	if err := src(w); err != nil {
		return fmt.Errorf("tensor %q: %w", name, err)
	}
	if got := w.N - start; got != size {
		return fmt.Errorf("tensor %q: its source wrote %d bytes, expected %d (%v)", name, got, size, what)
	}
	return nil
}

// Buffered has write write to w in large pieces: sources may write row by row.
func Buffered(w io.Writer, write func(io.Writer) error) error {
	buf := bufio.NewWriterSize(w, 1<<20)
	if err := write(buf); err != nil {
		return err
	}
	return buf.Flush()
}
