package gguf

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Keys and name pattern of split models are those of llama.cpp's gguf-split (llama_split_path).
const (
	keySplitCount   = "split.count"
	keySplitNo      = "split.no"
	keySplitTensors = "split.tensors.count"
)

var splitName = regexp.MustCompile(`^(.*)-([0-9]{5})-of-([0-9]{5})\.gguf$`)

// splitOf reads how many parts the model has and which this one is, from 0.
func (f *File) splitOf() (count, no int, err error) {
	c, err := f.Uint32Or(keySplitCount, 1)
	if err != nil {
		return 0, 0, err
	}
	n, err := f.Uint32Or(keySplitNo, 0)
	if err != nil {
		return 0, 0, err
	}
	// llama.cpp reads both as uint16.
	if c > 1<<16-1 || c > 0 && n >= c {
		return 0, 0, fmt.Errorf("%w: it says it is part %d (%s) of %d (%s)", ErrMalformed, n, keySplitNo, c,
			keySplitCount)
	}
	return int(c), int(n), nil
}

// SplitPaths names the parts of a model that is written in count parts under path, as llama.cpp's gguf-split does:
// model.gguf becomes model-00001-of-00003.gguf and so on.
func SplitPaths(path string, count int) []string {
	prefix := strings.TrimSuffix(path, ".gguf")
	out := make([]string, count)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%05d-of-%05d.gguf", prefix, i+1, count)
	}
	return out
}

// splitPaths names all parts, given the name of one.
func splitPaths(path string, count, no int) ([]string, error) {
	dir, base := filepath.Split(path)
	m := splitName.FindStringSubmatch(base)
	want := func(prefix string, i int) string { return SplitPaths(prefix, count)[i] }
	if m == nil {
		prefix := strings.TrimSuffix(base, ".gguf")
		return nil, fmt.Errorf("%s: it is part %d of a model split in %d, but not named so, and the others are found "+
			"by name; rename it to %s", path, no+1, count, want(prefix, no))
	}
	if n, _ := strconv.Atoi(m[2]); n != no+1 || m[3] != fmt.Sprintf("%05d", count) {
		return nil, fmt.Errorf("%s: its name says part %s of %s, but it holds part %d of %d; rename it to %s", path,
			m[2], m[3], no+1, count, want(m[1], no))
	}
	return SplitPaths(filepath.Join(dir, m[1]), count), nil
}

// openSplit opens all parts of a split model, of which path is part no of count.
func openSplit(path string, count, no int) (*File, error) {
	paths, err := splitPaths(path, count, no)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, p := range paths {
		if _, err := os.Stat(p); os.IsNotExist(err) {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf(
			"%s: the model is split in %d parts, %d missing: %s; download them into the same folder: %w", path, count,
			len(missing), someOf(missing), fs.ErrNotExist)
	}
	var all *File
	for i, p := range paths {
		if all, err = all.addPart(p, count, i); err != nil {
			return nil, err
		}
	}
	if err := all.checkSplit(); err != nil {
		all.Close()
		return nil, fmt.Errorf("%s: %w", all.Path(), err)
	}
	return all, nil
}

// addPart opens one part and appends it to f (nil: it is the first). On an error f is closed.
func (f *File) addPart(path string, count, no int) (*File, error) {
	p, h, err := openPart(path)
	if err != nil {
		f.Close()
		return nil, err
	}
	one := newFile(p, h)
	c, n, err := one.splitOf()
	if err == nil && (c != count || n != no) {
		err = fmt.Errorf("%w: expected part %d of %d, but it holds part %d of %d; the file is in the wrong place, "+
			"download the parts again", ErrMalformed, no+1, count, n+1, c)
	}
	if err != nil {
		one.Close()
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if f == nil {
		return one, nil
	}
	for i := range one.Tensors {
		one.Tensors[i].Part = no
	}
	f.Tensors = append(f.Tensors, one.Tensors...)
	f.parts = append(f.parts, p)
	return f, nil
}

func (f *File) checkSplit() error {
	if err := f.index(); err != nil {
		return err
	}
	total, err := f.IntOr(keySplitTensors, int64(len(f.Tensors)))
	if err != nil {
		return err
	}
	if total != int64(len(f.Tensors)) {
		return fmt.Errorf("%w: its parts hold %d tensors, but %s says %d; parts of different models lie together, "+
			"download them again", ErrMalformed, len(f.Tensors), keySplitTensors, total)
	}
	return nil
}

func someOf(names []string) string {
	const show = 5
	if len(names) <= show {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:show], ", ") + ", …"
}
