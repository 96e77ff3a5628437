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
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/regular"
)

// The state file, all numbers little-endian:
//
//	8 bytes   magic "GGTUNECK"
//	uint32    version
//	uint64    length of the header in bytes
//	header    JSON: {"meta": any, "tensors": [{"name": string, "n": int, "type": string}, …]}
//	bytes     the tensors' elements, in that order, n each; without a type they are f32
//	32 bytes  SHA-256 of everything before
//
// Version 1 knew f32 alone. A file of nothing else still says 1.
const (
	magic   = "GGTUNECK"
	version = 2
	fixed   = len(magic) + 4 + 8
	// maxHeader is more than the names of a model's tensors can take, and less than a hostile file may make us
	// allocate.
	maxHeader = 64 << 20
)

// ErrDamaged is wrapped by errors about a state file that is not what was written.
var ErrDamaged = errors.New("damaged")

// ErrForeign is wrapped beside ErrDamaged by errors about a file that does not even begin as a state file: it is
// somebody's own, and must not be replaced.
var ErrForeign = fmt.Errorf("%w or a file of another kind", ErrDamaged)

type header struct {
	Meta    json.RawMessage `json:"meta"`
	Tensors []entry         `json:"tensors"`
}

type entry struct {
	Name string `json:"name"`
	N    int64  `json:"n"`
	Type string `json:"type,omitempty"` // "" is f32
}

// storage is the type that an entry names.
func (e *entry) storage() (gguf.Type, error) {
	if e.Type == "" {
		return gguf.F32, nil
	}
	return gguf.ParseType(e.Type)
}

// encode writes a state file.
func encode(dst io.Writer, meta any, tensors []Tensor) error {
	rawMeta, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("checkpoint: state as JSON: %w", err)
	}
	h, needs := header{Meta: rawMeta}, uint32(1)
	for _, t := range tensors {
		e := entry{Name: t.Name, N: t.N}
		if t.Type != gguf.F32 {
			e.Type, needs = t.Type.String(), version
		}
		h.Tensors = append(h.Tensors, e)
	}
	raw, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("checkpoint: header as JSON: %w", err)
	}
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(dst, sum), 1<<20)
	front := binary.LittleEndian.AppendUint32([]byte(magic), needs)
	front = binary.LittleEndian.AppendUint64(front, uint64(len(raw)))
	w.Write(append(front, raw...)) // an error stays in w until Flush
	for i := range tensors {
		t := &tensors[i]
		err := t.pieces(func(piece []byte, at int64) error {
			if err := t.Memory.Read(piece, at); err != nil {
				return err
			}
			_, err := w.Write(piece)
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = dst.Write(sum.Sum(nil))
	return err
}

// WriteFile writes a state file by itself, atomically: numbers that are costly to compute again. fsys nil is the real
// file system.
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
	f, err := regular.Open(name)
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
	begin := make([]byte, min(size, int64(len(magic))))
	if _, err := io.ReadFull(r, begin); err != nil {
		return nil, fmt.Errorf("read checkpoint file %s: %w", name, err)
	}
	if !strings.HasPrefix(magic, string(begin)) {
		return nil, fmt.Errorf("checkpoint file %s is %w: it begins with %q, expected %q", name, ErrForeign, begin,
			magic)
	}
	if size < int64(fixed+sha256.Size) {
		return nil, bad("%d bytes, expected at least %d", size, fixed+sha256.Size)
	}
	sum := sha256.New()
	in := io.TeeReader(r, sum)
	sum.Write(begin)
	var front [fixed]byte
	if _, err := io.ReadFull(in, front[len(magic):]); err != nil {
		return nil, fmt.Errorf("read checkpoint file %s: %w", name, err)
	}
	if v := binary.LittleEndian.Uint32(front[len(magic):]); v > version {
		return nil, fmt.Errorf("checkpoint file %s has version %d, and this ggtune knows versions up to %d; use the "+
			"newer ggtune that wrote it", name, v, version)
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
		typ, err := e.storage()
		if err != nil {
			return nil, bad("tensor %q: %v", e.Name, err)
		}
		n, ok := bytesOf(typ, e.N, end-at)
		if !ok {
			return nil, bad("tensor %q has %d elements of type %s, and %d bytes are left", e.Name, e.N, typ, end-at)
		}
		f.starts = append(f.starts, at)
		at += n
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
		return fmt.Errorf("checkpoint file %s is %w: its checksum is %x, expected %x", f.name, ErrDamaged, got[:8],
			want[:8])
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

// Read fills tensors with what was saved under their names. Nothing is written unless all are there with the same type
// and length.
func (f *File) Read(tensors []Tensor) error {
	index := map[string]int{}
	for i, e := range f.head.Tensors {
		index[e.Name] = i
	}
	for _, t := range tensors {
		i, ok := index[t.Name]
		if !ok {
			return fmt.Errorf("checkpoint file %s has no tensor %q; it belongs to a run with other options", f.name,
				t.Name)
		}
		e := &f.head.Tensors[i]
		typ, err := e.storage()
		if err != nil {
			return fmt.Errorf("checkpoint file %s: tensor %q: %w", f.name, t.Name, err)
		}
		if typ != t.Type {
			return fmt.Errorf(
				"checkpoint file %s: tensor %q is of type %s, expected %s; it belongs to a run with other options",
				f.name, t.Name, typ, t.Type)
		}
		if e.N != t.N {
			return fmt.Errorf(
				"checkpoint file %s: tensor %q has %d numbers, expected %d; it belongs to a run with other options",
				f.name, t.Name, e.N, t.N)
		}
	}
	for i := range tensors {
		t := &tensors[i]
		if _, err := f.r.Seek(f.starts[index[t.Name]], io.SeekStart); err != nil {
			return fmt.Errorf("read checkpoint file %s: %w", f.name, err)
		}
		in := bufio.NewReaderSize(f.r, 1<<18)
		err := t.pieces(func(piece []byte, at int64) error {
			if _, err := io.ReadFull(in, piece); err != nil {
				return err
			}
			return t.Memory.Write(piece, at)
		})
		if err != nil {
			return fmt.Errorf("read checkpoint file %s: %w", f.name, err)
		}
	}
	return nil
}
