package gguf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ggtune/ggtune/internal/atomicfile"
)

// maxParts is the most parts of a model: llama.cpp reads their number as a uint16, and names have five digits.
const maxParts = 1<<16 - 1

// Split divides what was gathered into parts of at most partBytes of tensors each, or of one tensor that is larger, as
// llama.cpp's gguf-split does: the first holds the metadata, the others say which part they are.
func (w *Writer) Split(partBytes int64) ([]*Writer, error) {
	var parts []*Writer
	var size int64
	for _, t := range w.tensors {
		n := w.pad(t.info.Size)
		if len(parts) == 0 || size > 0 && size+n > partBytes {
			parts, size = append(parts, &Writer{}), 0
		}
		size += n
		last := parts[len(parts)-1]
		last.tensors = append(last.tensors, t)
	}
	if len(parts) > maxParts {
		return nil, fmt.Errorf("%d parts of %d bytes; at most %d can be numbered, so let them be larger", len(parts),
			partBytes, maxParts)
	}
	for i, p := range parts {
		for _, kv := range w.kvs {
			if i == 0 || kv.Key == keyAlignment {
				p.Set(kv.Key, kv.Value)
			}
		}
		p.Set(keySplitNo, NumberValue(uint16(i)))
		p.Set(keySplitCount, NumberValue(uint16(len(parts))))
		p.Set(keySplitTensors, NumberValue(int32(len(w.tensors))))
	}
	return parts, nil
}

// WriteParts writes the parts of a model under the names of SplitPaths. They appear only once all are complete, the
// first at last; if one cannot be given its name, those that were new are removed again. A nil fsys means the real file
// system.
func WriteParts(ctx context.Context, fsys atomicfile.FS, parts []*Writer, path string) (err error) {
	if fsys == nil {
		fsys = atomicfile.OS
	}
	var files []*atomicfile.File
	defer func() {
		for _, f := range files {
			f.Abort()
		}
	}()
	paths := SplitPaths(path, len(parts))
	for i, w := range parts {
		f, err := atomicfile.Create(fsys, paths[i], 0o666)
		if err != nil {
			return err
		}
		files = append(files, f)
		if err := w.writeTo(ctx, f); err != nil {
			return fmt.Errorf("write %s: %w", paths[i], err)
		}
	}
	return appear(fsys, files)
}

// appear gives files their names, the first at last, or leaves none that was not there before.
func appear(fsys atomicfile.FS, files []*atomicfile.File) error {
	added := make([]bool, len(files))
	for i, f := range files {
		_, err := fsys.Lstat(f.Path())
		if added[i] = errors.Is(err, fs.ErrNotExist); err != nil && !added[i] {
			return fmt.Errorf("write %s: %w", f.Path(), err)
		}
	}
	for i := len(files) - 1; i >= 0; i-- {
		err := files[i].Commit()
		if err == nil {
			continue
		}
		for j, f := range files[i:] {
			// The one that failed may have its name, and only not be flushed.
			if !added[i+j] {
				continue
			}
			if gone := fsys.Remove(f.Path()); !errors.Is(gone, fs.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
		return err
	}
	return nil
}
