package checkpoint

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"

	"github.com/ggtune/ggtune/internal/atomicfile"
)

// The state file, all numbers little-endian:
//
//	8 bytes   magic "GGTUNECK"
//	uint32    version
//	uint64    length of the header in bytes
//	header    JSON: {"meta": any, "tensors": [{"name": string, "n": int}, …]}
//	float32s  the tensors' numbers, in that order, n each
//	32 bytes  SHA-256 of everything before
const (
	magic   = "GGTUNECK"
	version = 1
	fixed   = len(magic) + 4 + 8
	// maxHeader is more than the names of a model's tensors can take, and less than a hostile file may make us allocate.
	maxHeader = 64 << 20
)

// ErrDamaged is wrapped by errors about a state file that is not what was written.
var ErrDamaged = errors.New("damaged")

// A Tensor is one named run of numbers.
type Tensor struct {
	Name string
	Data []float32
}

type header struct {
	Meta    json.RawMessage `json:"meta"`
	Tensors []entry         `json:"tensors"`
}

type entry struct {
	Name string `json:"name"`
	N    int64  `json:"n"`
}

// encode writes a state file.
func encode(dst io.Writer, meta any, tensors []Tensor) error {
	rawMeta, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("checkpoint: state as JSON: %w", err)
	}
	h := header{Meta: rawMeta}
	for _, t := range tensors {
		h.Tensors = append(h.Tensors, entry{t.Name, int64(len(t.Data))})
	}
	raw, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("checkpoint: header as JSON: %w", err)
	}
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(dst, sum), 1<<20)
	buf := binary.LittleEndian.AppendUint32([]byte(magic), version)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(len(raw)))
	w.Write(append(buf, raw...)) // an error stays in w until Flush
	for _, t := range tensors {
		for data := t.Data; len(data) > 0; {
			n := min(len(data), 1<<14)
			buf = buf[:0]
			for _, x := range data[:n] {
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x))
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
			data = data[n:]
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = dst.Write(sum.Sum(nil))
	return err
}

// WriteFile writes a state file by itself, atomically: numbers that are costly to compute again. fsys nil is the real file
// system.
func WriteFile(fsys atomicfile.FS, name string, meta any, tensors []Tensor) error {
	f, err := atomicfile.Create(fsys, name, 0o666)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := encode(f, meta, tensors); err != nil {
		return err
	}
	return f.Commit()
}

// A File is an open state file whose checksum was found right. It is not safe for concurrent use.
type File struct {
	name   string
	r      io.ReadSeeker
	c      io.Closer
	head   header
	starts []int64 // byte offset of each tensor
}

// OpenFile opens and verifies a state file: it is read whole once.
func OpenFile(name string) (*File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	out, err := parse(name, f, st.Size())
	if err != nil {
		f.Close()
		return nil, err
	}
	out.c = f
	return out, nil
}

// parse reads the header of a state file of size bytes and verifies the whole.
func parse(name string, r io.ReadSeeker, size int64) (*File, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("checkpoint file %s is %w: %s", name, ErrDamaged, fmt.Sprintf(format, args...))
	}
	if size < int64(fixed+sha256.Size) {
		return nil, bad("%d bytes, expected at least %d", size, fixed+sha256.Size)
	}
	sum := sha256.New()
	in := io.TeeReader(r, sum)
	var front [fixed]byte
	if _, err := io.ReadFull(in, front[:]); err != nil {
		return nil, fmt.Errorf("read checkpoint file %s: %w", name, err)
	}
	if !bytes.Equal(front[:len(magic)], []byte(magic)) {
		return nil, bad("it begins with %q, expected %q", front[:len(magic)], magic)
	}
	if v := binary.LittleEndian.Uint32(front[len(magic):]); v > version {
		return nil, fmt.Errorf("checkpoint file %s has version %d, and this ggtune knows versions up to %d; use the newer ggtune that wrote it", name, v, version)
	} else if v == 0 {
		return nil, bad("version 0")
	}
	n := binary.LittleEndian.Uint64(front[len(magic)+4:])
	rest := size - int64(fixed+sha256.Size)
	if n > uint64(rest) || n > maxHeader {
		return nil, bad("a header of %d bytes in a file of %d", n, size)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(in, raw); err != nil {
		return nil, fmt.Errorf("read checkpoint file %s: %w", name, err)
	}
	f := &File{name: name, r: r}
	if err := json.Unmarshal(raw, &f.head); err != nil {
		return nil, bad("header: %v", err)
	}
	at, end := int64(fixed)+int64(n), size-sha256.Size
	for _, e := range f.head.Tensors {
		if e.N < 0 || e.N > (end-at)/4 {
			return nil, bad("tensor %q has %d numbers, and %d bytes are left", e.Name, e.N, end-at)
		}
		f.starts = append(f.starts, at)
		at += 4 * e.N
	}
	if at != end {
		return nil, bad("%d bytes behind the last tensor", end-at)
	}
	return f, f.verify(in, sum, end-int64(fixed)-int64(n))
}

// verify reads the n bytes of tensors that are left, and the checksum behind them.
func (f *File) verify(in io.Reader, sum hash.Hash, n int64) error {
	if _, err := io.CopyN(io.Discard, in, n); err != nil {
		return fmt.Errorf("read checkpoint file %s: %w", f.name, err)
	}
	got := sum.Sum(nil)
	var want [sha256.Size]byte
	if _, err := io.ReadFull(f.r, want[:]); err != nil {
		return fmt.Errorf("read checkpoint file %s: %w", f.name, err)
	}
	if !bytes.Equal(got, want[:]) {
		return fmt.Errorf("checkpoint file %s is %w: its checksum is %x, expected %x", f.name, ErrDamaged, got[:8], want[:8])
	}
	return nil
}

// Close closes the file; a second Close does nothing.
func (f *File) Close() error {
	if f == nil || f.c == nil {
		return nil
	}
	c := f.c
	f.c = nil
	return c.Close()
}

// Meta decodes what Save was given as meta.
func (f *File) Meta(into any) error {
	if err := json.Unmarshal(f.head.Meta, into); err != nil {
		return fmt.Errorf("checkpoint file %s: state: %w", f.name, err)
	}
	return nil
}

// Names lists the tensors.
func (f *File) Names() []string {
	out := make([]string, len(f.head.Tensors))
	for i, e := range f.head.Tensors {
		out[i] = e.Name
	}
	return out
}

// Read fills tensors with the numbers saved under their names. Nothing is written unless all are there with the same
// length.
func (f *File) Read(tensors []Tensor) error {
	index := map[string]int{}
	for i, e := range f.head.Tensors {
		index[e.Name] = i
	}
	for _, t := range tensors {
		i, ok := index[t.Name]
		if !ok {
			return fmt.Errorf("checkpoint file %s has no tensor %q; it belongs to a run with other options", f.name, t.Name)
		}
		if n := f.head.Tensors[i].N; n != int64(len(t.Data)) {
			return fmt.Errorf("checkpoint file %s: tensor %q has %d numbers, expected %d; it belongs to a run with other options", f.name, t.Name, n, len(t.Data))
		}
	}
	for _, t := range tensors {
		if _, err := f.r.Seek(f.starts[index[t.Name]], io.SeekStart); err != nil {
			return fmt.Errorf("read checkpoint file %s: %w", f.name, err)
		}
		if err := readFloats(bufio.NewReaderSize(f.r, 1<<18), t.Data); err != nil {
			return fmt.Errorf("read checkpoint file %s: tensor %q: %w", f.name, t.Name, err)
		}
	}
	return nil
}

func readFloats(r io.Reader, dst []float32) error {
	var buf [1 << 14]byte
	for len(dst) > 0 {
		n := min(len(dst), len(buf)/4)
		if _, err := io.ReadFull(r, buf[:4*n]); err != nil {
			return err
		}
		for i := range dst[:n] {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(buf[4*i:]))
		}
		dst = dst[n:]
	}
	return nil
}
