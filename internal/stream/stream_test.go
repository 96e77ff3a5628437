package stream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// TestFloats: a source gives the same bytes each time it is asked.
func TestFloats(t *testing.T) {
	data := make([]float32, 3000)
	for i := range data {
		data[i] = float32(i) / 7
	}
	src := Floats(data)
	for range 2 {
		var b bytes.Buffer
		if err := src(&b); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, len(data))
		if _, err := binary.Decode(b.Bytes(), binary.LittleEndian, got); err != nil || !slices.Equal(got, data) {
			t.Errorf("%d bytes are other numbers (%v)", b.Len(), err)
		}
	}
}

// TestTensor: a source that writes too little or too much, or fails, is named.
func TestTensor(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		write int
		err   error
		want  string // "": it is written
	}{
		"right":    {write: 4},
		"too few":  {write: 3, want: `tensor "x": its source wrote 3 bytes, expected 4 (four)`},
		"too many": {write: 5, want: "wrote 5 bytes"},
		"failing":  {err: broken, want: `tensor "x": broken`},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := NewWriter(context.Background(), &b)
			err := w.Tensor("x", 4, "four", func(w io.Writer) error {
				_, err := w.Write(make([]byte, tt.write))
				return errors.Join(err, tt.err)
			})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestBuffered: small writes reach the file as one, and its failure is the error; cancelled, nothing more is written.
func TestBuffered(t *testing.T) {
	calls := 0
	to := func(err error) io.Writer {
		return writerFunc(func(p []byte) (int, error) { calls++; return len(p), err })
	}
	small := func(w io.Writer) error {
		for range 100 {
			if _, err := w.Write([]byte("a row")); err != nil {
				return err
			}
		}
		return nil
	}
	if err := Buffered(to(nil), small); err != nil || calls != 1 {
		t.Errorf("%d writes (%v), want one", calls, err)
	}
	full := errors.New("full")
	if err := Buffered(to(full), small); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	cancel(stop)
	if err := small(NewWriter(ctx, to(nil))); !errors.Is(err, stop) || calls != 2 {
		t.Errorf("got %v after %d writes, want %v after 2", err, calls, stop)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
