// Package imatrix knows importance matrices: how much each element of a matrix's rows is worth, measured as the mean
// square of what the matrix is multiplied with. It reads and writes llama.cpp's files. It does not know how the squares
// are gathered, nor what becomes of them.
package imatrix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/regular"
)

// ErrFormat is matched by errors of files that are no importance matrices, or damaged ones.
var ErrFormat = errors.New("not an importance matrix")

// A Matrix is what was gathered over a text.
type Matrix struct {
	Entries  []Entry
	Datasets []string // names of the texts
	// Chunks of ChunkSize tokens each were read, as far as is known.
	Chunks, ChunkSize int
}

// An Entry is what was gathered of one tensor.
type Entry struct {
	Tensor string
	// Sums has, for each of the tensor's matrices (one, or as many as there are experts), a sum of squares for each
	// element of a row.
	Sums []float32
	// Counts says how many vectors each of the matrices was multiplied with.
	Counts []float32
}

// Weights gives the mean squares by tensor. A matrix that was multiplied with nothing has ones: nothing is known of it.
func (m *Matrix) Weights() map[string][]float32 {
	out := map[string][]float32{}
	for _, e := range m.Entries {
		w := make([]float32, len(e.Sums))
		row := len(e.Sums) / len(e.Counts)
		for i := range w {
			if n := e.Counts[i/row]; n > 0 {
				w[i] = e.Sums[i] / n
			} else {
				w[i] = 1
			}
		}
		out[e.Tensor] = w
	}
	return out
}

// Keys and names of llama.cpp's GGUF form (tools/imatrix/imatrix.cpp).
const (
	fileKind     = "imatrix"
	keyType      = "general.type"
	keyDatasets  = "imatrix.datasets"
	keyChunks    = "imatrix.chunk_count"
	keyChunkSize = "imatrix.chunk_size"
	sumSuffix    = ".in_sum2"
	meanSuffix   = ".in_sum" // of newer files; nothing here is made of it
	countSuffix  = ".counts"
)

// WriteFile writes the matrix under path in llama.cpp's GGUF form, atomically. A nil fsys means the real file system.
func (m *Matrix) WriteFile(ctx context.Context, fsys atomicfile.FS, path string) error {
	var w gguf.Writer
	w.SetString(keyType, fileKind)
	w.SetStrings(keyDatasets, m.Datasets)
	w.SetUint32(keyChunks, uint32(m.Chunks))
	w.SetUint32(keyChunkSize, uint32(m.ChunkSize))
	for _, e := range m.Entries {
		n := int64(len(e.Counts))
		sums, counts := []int64{int64(len(e.Sums)) / n, n}, []int64{1, n}
		if n == 1 { // as ggml writes a matrix of one row
			sums, counts = sums[:1], counts[:1]
		}
		err := errors.Join(w.AddFloats(e.Tensor+sumSuffix, sums, e.Sums), w.AddFloats(e.Tensor+countSuffix, counts,
			e.Counts))
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return w.WriteFile(ctx, fsys, path)
}

// Read reads an importance matrix in llama.cpp's GGUF form, or in the older one (imatrix.dat).
func Read(path string) (*Matrix, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var magic [4]byte
	if _, err := io.ReadFull(file, magic[:]); err != nil {
		return nil, fmt.Errorf("%s: %w: it has %d bytes", path, ErrFormat, st.Size())
	}
	var m *Matrix
	if string(magic[:]) == "GGUF" {
		m, err = readGGUF(path)
	} else if _, err = file.Seek(0, io.SeekStart); err == nil {
		m, err = readOld(file, st.Size())
	}
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// check refuses what no weights can be made of.
func (m *Matrix) check() error {
	if len(m.Entries) == 0 {
		return fmt.Errorf("%w: it has no entries; make it anew", ErrFormat)
	}
	seen := map[string]bool{}
	for _, e := range m.Entries {
		switch {
		case seen[e.Tensor]:
			return fmt.Errorf("%w: two entries for %q", ErrFormat, e.Tensor)
		case len(e.Counts) == 0 || len(e.Sums) == 0 || len(e.Sums)%len(e.Counts) != 0:
			return fmt.Errorf("%w: %d sums of %d matrices for %q", ErrFormat, len(e.Sums), len(e.Counts), e.Tensor)
		}
		seen[e.Tensor] = true
		for _, list := range [][]float32{e.Sums, e.Counts} {
			for _, x := range list {
				if !(x >= 0) || x-x != 0 {
					return fmt.Errorf("%w: %v among the sums and counts for %q; squares are 0 or more, and finite",
						ErrFormat, x, e.Tensor)
				}
			}
		}
	}
	return nil
}

func readGGUF(path string) (*Matrix, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if kind, err := f.StringOr(keyType, "model"); err != nil || kind != fileKind {
		return nil, fmt.Errorf("%w: it is a GGUF file of the kind %q; ggtune imatrix makes one", ErrFormat, kind)
	}
	var m Matrix
	if f.Has(keyDatasets) {
		if m.Datasets, err = f.Strings(keyDatasets); err != nil {
			return nil, err
		}
	}
	for _, k := range []struct {
		key string
		n   *int
	}{{keyChunks, &m.Chunks}, {keyChunkSize, &m.ChunkSize}} {
		n, err := f.Uint32Or(k.key, 0)
		if err != nil {
			return nil, err
		}
		*k.n = int(n)
	}
	for i := range f.Tensors {
		t := &f.Tensors[i]
		name, ok := strings.CutSuffix(t.Name, sumSuffix)
		if !ok {
			base, counts := strings.CutSuffix(t.Name, countSuffix)
			if !counts {
				base, counts = strings.CutSuffix(t.Name, meanSuffix)
			}
			if !counts || !f.HasTensor(base+sumSuffix) {
				return nil, fmt.Errorf("%w: a tensor %q, to which %q would belong", ErrFormat, t.Name, base+sumSuffix)
			}
			continue
		}
		e := Entry{Tensor: name}
		if e.Sums, err = floats(f, t); err != nil {
			return nil, err
		}
		counts, err := f.Tensor(name + countSuffix)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if e.Counts, err = floats(f, counts); err != nil {
			return nil, err
		}
		m.Entries = append(m.Entries, e)
	}
	return &m, nil
}
