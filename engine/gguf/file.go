// Package gguf knows the bytes of a GGUF file: metadata and tensor table, read from a mapping and written atomically.
// It does not know what the keys and tensors mean, nor how blocks are dequantized.
//
// Files come from strangers: no length, count, offset or dimension in them is trusted, and what is accepted here
// llama.cpp opens without an assertion about the container.
package gguf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/edsrzf/mmap-go"

	"github.com/ggtune/ggtune/internal/registry"
	"github.com/ggtune/ggtune/internal/regular"
)

// TensorInfo describes one tensor of a file.
type TensorInfo struct {
	Name string
	Type Type
	// Shape is in ggml's order: Shape[0] elements a row, contiguous. At most 4 dimensions, each positive.
	Shape  []int64
	Offset int64 // bytes from the start of the file part that holds it
	Size   int64 // bytes, without padding
	Part   int   // index of the file part, 0 unless the model is split
}

// Elements is the number of elements.
func (t *TensorInfo) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// A File is an open GGUF file, or all parts of a split one. Metadata and tensor table are copies on the heap; tensor
// data is mapped. It is safe for concurrent use, except that views returned by Data must not be used after Close.
//
// There is no finalizer: a view may outlive the last reference to the File, and unmapping under it would end the
// process.
type File struct {
	// Version is that of the format, 2 or 3.
	Version uint32
	// Tensors in file order, parts one after the other. Not to be changed.
	Tensors []TensorInfo

	kvs    []KV
	byKey  map[string]int
	byName map[string]int
	parts  []*part
	mu     sync.RWMutex
	closed bool
}

type part struct {
	path string
	f    *os.File    // kept for hashing: the path may come to mean another file
	st   os.FileInfo // when it was opened
	m    mmap.MMap
}

func (p *part) close() error {
	return errors.Join(p.m.Unmap(), p.f.Close())
}

// Open maps a GGUF file and reads its metadata and tensor table. If it is a part of a split model, all parts are
// opened, whichever was named. Errors match ErrNotGGUF, ErrTruncated, ErrMalformed or those of the file system. The
// file should not be changed while it is open: see CheckUnchanged. What reads the mapping of a file that lost its end
// meets a fault.
func Open(path string) (*File, error) {
	p, h, err := openPart(path)
	if err != nil {
		return nil, err
	}
	f := newFile(p, h)
	count, no, err := f.splitOf()
	if err == nil && count > 1 {
		// The parts are opened anew: which of them this was does not matter then.
		f.Close()
		return openSplit(path, count, no)
	}
	if err == nil {
		err = f.index()
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func newFile(p *part, h *header) *File {
	f := &File{Version: h.version, Tensors: h.tensors, kvs: h.kvs, parts: []*part{p},
		byKey: make(map[string]int, len(h.kvs))}
	for i, kv := range f.kvs {
		f.byKey[kv.Key] = i
	}
	return f
}

// index fills byName and refuses a tensor that stands in two parts.
func (f *File) index() error {
	f.byName = make(map[string]int, len(f.Tensors))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		if j, ok := f.byName[t.Name]; ok {
			return fmt.Errorf("%w: tensor %q is in both %s and %s", ErrMalformed, t.Name,
				f.parts[f.Tensors[j].Part].path, f.parts[t.Part].path)
		}
		f.byName[t.Name] = i
	}
	return nil
}

func openPart(path string) (*part, *header, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return nil, nil, fmt.Errorf("open %s: it is a directory; name a file in it%s", path, exampleIn(path))
	}
	file, err := regular.Open(path)
	if err != nil {
		return nil, nil, err
	}
	p, h, err := mapPart(path, file)
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return p, h, nil
}

func mapPart(path string, file *os.File) (*part, *header, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", path, err)
	}
	switch {
	case st.Size() == 0: // an empty mapping is an error of its own
		return nil, nil, fmt.Errorf("%s: %w: it is empty; download it again", path, ErrNotGGUF)
	case int64(int(st.Size())) != st.Size():
		return nil, nil,
			fmt.Errorf("open %s: %d bytes do not fit the address space of this 32-bit program; use a 64-bit one", path,
				st.Size())
	}
	m, err := mmap.Map(file, mmap.RDONLY, 0)
	if err != nil {
		return nil, nil,
			fmt.Errorf("map %s (%d bytes) into memory: %w; see the limit on virtual memory (ulimit -v)", path,
				st.Size(), err)
	}
	var h *header
	err = reading(path, m, func() error {
		if h, err = parse(m); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		m.Unmap()
		return nil, nil, err
	}
	return &part{path: path, f: file, st: st, m: m}, h, nil
}

// exampleIn names a GGUF file in a directory: of a run's, its adapter or model; or says how it becomes one.
func exampleIn(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
		return fmt.Sprintf("; a folder of Hugging Face's becomes one by ggtune convert %s -o model.gguf", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".gguf" {
			return ", such as " + filepath.Join(dir, e.Name())
		}
	}
	return ""
}

// Close unmaps the file. It is idempotent and accepts nil. Views returned by Data must not be used afterwards.
func (f *File) Close() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	var errs []error
	for _, p := range f.parts {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// Path is the file's name; of a split model, its first part's, which is the one llama.cpp wants.
func (f *File) Path() string { return f.parts[0].path }

// Parts lists the names of all parts, in order: one unless the model is split.
func (f *File) Parts() []string {
	var out []string
	for _, p := range f.parts {
		out = append(out, p.path)
	}
	return out
}

// Bytes is the size of all parts together, bytes; 0 once closed.
func (f *File) Bytes() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var n int64
	for _, p := range f.parts {
		n += int64(len(p.m))
	}
	return n
}

// Tensor finds a tensor by its exact name. The error matches ErrNoTensor and offers the nearest name.
func (f *File) Tensor(name string) (*TensorInfo, error) {
	if i, ok := f.byName[name]; ok {
		return &f.Tensors[i], nil
	}
	hint := ""
	names := make([]string, len(f.Tensors))
	for i := range f.Tensors {
		names[i] = f.Tensors[i].Name
	}
	if near, ok := registry.Nearest(name, names); ok {
		hint = fmt.Sprintf("; nearest: %q", near)
	}
	return nil, fmt.Errorf("%s: tensor %q: %w%s", f.Path(), name, ErrNoTensor, hint)
}

// HasTensor says whether a tensor of that exact name exists.
func (f *File) HasTensor(name string) bool { _, ok := f.byName[name]; return ok }

// Data is a read-only view of a tensor's bytes in the mapping, valid until Close. Writing to it ends the process. t
// must be one of f.Tensors, or a copy.
func (f *File) Data(t *TensorInfo) ([]byte, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return nil, fmt.Errorf("%s: tensor %q: %w", f.Path(), t.Name, ErrClosed)
	}
	if t.Part < 0 || t.Part >= len(f.parts) {
		return nil, fmt.Errorf("%s: tensor %q is in part %d of %d", f.Path(), t.Name, t.Part, len(f.parts))
	}
	m := f.parts[t.Part].m
	if t.Offset < 0 || t.Size < 0 || t.Offset > int64(len(m)) || t.Size > int64(len(m))-t.Offset {
		return nil, fmt.Errorf("%s: tensor %q: bytes %d to %d+%d are outside the file; it is not of this file",
			f.Path(), t.Name, t.Offset, t.Offset, t.Size)
	}
	return m[t.Offset : t.Offset+t.Size : t.Offset+t.Size], nil
}
