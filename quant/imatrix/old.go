package imatrix

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// An oldReader reads the form that llama.cpp wrote until 2025: numbers of 32 bits, without a magic. No length in it is
// trusted beyond the bytes that are left.
type oldReader struct {
	r    *bufio.Reader
	left int64
}

// bytes reads n bytes of what.
func (o *oldReader) bytes(what string, n int64) ([]byte, error) {
	if n < 0 || n > o.left {
		return nil, fmt.Errorf("%w: %s takes %d bytes of the %d that are left; it is damaged, or another kind of file",
			ErrFormat, what, n, o.left)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(o.r, b); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, what, err)
	}
	o.left -= n
	return b, nil
}

func (o *oldReader) number(what string) (int64, error) {
	b, err := o.bytes(what, 4)
	if err != nil {
		return 0, err
	}
	return int64(int32(binary.LittleEndian.Uint32(b))), nil
}

// text reads a length and as many bytes.
func (o *oldReader) text(what string) (string, error) {
	n, err := o.number("the length of " + what)
	if err != nil {
		return "", err
	}
	b, err := o.bytes(what, n)
	return string(b), err
}

// entry reads one: its values are means, multiplied by the number of chunks (ncall).
func (o *oldReader) entry(i int64) (e Entry, err error) {
	what := fmt.Sprintf("entry %d", i+1)
	if e.Tensor, err = o.text("the name of " + what); err != nil {
		return e, err
	}
	calls, err := o.number("the count of " + what)
	if err != nil {
		return e, err
	}
	n, err := o.number("the length of " + what)
	if err != nil {
		return e, err
	}
	b, err := o.bytes(fmt.Sprintf("entry %d (%q)", i+1, e.Tensor), 4*n)
	if err != nil {
		return e, err
	}
	e.Sums, e.Counts = decode(b), []float32{float32(max(calls, 1))} // without calls they are as they are
	return e, nil
}

func readOld(r io.Reader, size int64) (*Matrix, error) {
	o := &oldReader{bufio.NewReader(r), size}
	n, err := o.number("the number of entries")
	if err != nil {
		return nil, err
	}
	const least = 13 // bytes of an entry with a name of one letter and no values
	if n < 1 || n > o.left/least {
		return nil, fmt.Errorf("%w: it says that it has %d entries, in %d bytes; it is damaged, or another "+
			"kind of file", ErrFormat, n, o.left)
	}
	m := &Matrix{}
	for i := range n {
		e, err := o.entry(i)
		if err != nil {
			return nil, err
		}
		m.Entries = append(m.Entries, e)
	}
	if o.left == 0 {
		return m, nil // the oldest files end here
	}
	chunks, err := o.number("the number of chunks")
	if err != nil {
		return nil, err
	}
	name, err := o.text("the name of the text")
	if err != nil {
		return nil, err
	}
	m.Chunks, m.Datasets = int(chunks), []string{name}
	return m, nil
}
