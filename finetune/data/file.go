package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/ggtune/ggtune/internal/fileerr"
	"github.com/ggtune/ggtune/internal/regular"
)

// A file is one opened data file: its bytes, expanded where it is compressed, and how to find records in them.
type file struct {
	path string
	in   io.ReaderAt
	// stop says why no more is to be read; nil: nothing stops it. While a dataset is opened, files are read from end to
	// end.
	stop func() error
	size int64
	bom  int64 // bytes of a byte order mark to skip
	box  container
	// close frees what in holds: the file, or the temporary copy.
	close func() error
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if f.stop != nil {
		if err := f.stop(); err != nil {
			return 0, err
		}
	}
	return f.in.ReadAt(p, off)
}

// A container knows how records lie in a file.
type container interface {
	// scan calls yield with every record, in order. The bytes are valid during the call only.
	scan(yield func(place, []byte) error) error
	// record decodes the bytes of one record.
	record(p place, raw []byte) (*Record, error)
}

// holdsJSON says whether records are JSON, in which a backslash means something.
func (f *file) holdsJSON() bool {
	switch f.box.(type) {
	case *linesBox, *jsonBox, *singleBox:
		return true
	}
	return false
}

// A place is where a record lies.
type place struct {
	off                  int64 // in the expanded file, bytes
	size                 int   // bytes
	line                 int   // 1-based
	continues, continued bool  // of a document cut into pieces
}

// dataSuffixes are what a directory is searched for; compressed ones may have .gz or .zst after them.
var dataSuffixes = []string{".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".md", ".text"}

func isDataFile(name string) bool {
	name = plainName(name)
	for _, s := range dataSuffixes {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return false
}

// plainName gives the name in lower case without the suffix of a compression.
func plainName(name string) string {
	name = strings.ToLower(name)
	for _, s := range []string{".gz", ".gzip", ".zst", ".zstd"} {
		name = strings.TrimSuffix(name, s)
	}
	return name
}

// expand lists the files that the paths name: a directory gives the data files in it, sorted by name, hidden ones and
// those in subdirectories left out. What has the name of a data file there and is a pipe or another thing that cannot
// be read twice is skipped. A folder of BEIR's is listed as it is with beir, and else refused: its texts are no
// examples without its judgements.
func expand(paths []string, beir bool) (out, skipped []string, err error) {
	seen := map[string]string{}
	add := func(path string) error {
		key := path
		if real, err := filepath.EvalSymlinks(path); err == nil {
			key, _ = filepath.Abs(real)
		}
		if first, ok := seen[key]; ok {
			return fmt.Errorf("the data file %s is named twice (also as %s); name it once", path, first)
		}
		seen[key] = path
		out = append(out, path)
		return nil
	}
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			return nil, nil, fileerr.Open(path, err)
		}
		retrieval := st.IsDir() && IsBEIR(path)
		if retrieval && !beir {
			return nil, nil, fmt.Errorf("%s is a folder of BEIR's, which says what documents answer a query: methods "+
				"of vectors learn from it that set texts beside each other (--method mnrl and others); to read its "+
				"documents as plain text, name their file: %s", path, filepath.Join(path, beirDocuments))
		}
		if !st.IsDir() || retrieval {
			if err := add(path); err != nil {
				return nil, nil, err
			}
			continue
		}
		files, others, err := inDirectory(path)
		if err != nil {
			return nil, nil, err
		}
		skipped = append(skipped, others...)
		for _, name := range files {
			if err := add(name); err != nil {
				return nil, nil, err
			}
		}
	}
	return out, skipped, nil
}

// inDirectory lists the data files of a directory, and what else has such a name.
func inDirectory(dir string) (files, others []string, err error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, nil, fileerr.Open(dir, err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !isDataFile(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		st, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, nil, fileerr.Open(path, err)
		case st.IsDir():
		case !st.Mode().IsRegular():
			others = append(others, fmt.Sprintf("%s is %s", path, regular.Kind(st.Mode())))
		default:
			files = append(files, path)
		}
	}
	if len(files) > 0 {
		return files, others, nil
	}
	but := ""
	if len(others) > 0 {
		but = "; " + strings.Join(others, ", ")
	}
	return nil, nil,
		fmt.Errorf("%s: the directory holds no data files; expected files named *%s, optionally with .gz or .zst%s",
			dir, strings.Join(dataSuffixes, ", *"), but)
}

// sniffSize is how much of a file is looked at to recognise it, bytes.
const sniffSize = 64 << 10

// openFile opens a data file. Of what is compressed the expanded bytes take up room.
func openFile(path string, o *Options, rm *room, stop func() error) (_ *file, err error) {
	src, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	f := &file{path: path, in: src, stop: stop, close: src.Close}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	st, err := src.Stat()
	if err != nil {
		return nil, fileerr.Open(path, err)
	}
	f.size = st.Size()
	for depth := 0; ; depth++ {
		head, err := f.head()
		if err != nil {
			return nil, err
		}
		kind := compression(head)
		if kind == "" {
			if bytes.HasPrefix(head, []byte("GGUF")) {
				return nil, fmt.Errorf("%s: this is a GGUF file, a model or an adapter; expected examples: JSONL, "+
					"JSON, CSV, Parquet or text", path)
			}
			break
		}
		if depth > 0 {
			return nil, fmt.Errorf("%s: it is compressed more than once; expand it", path)
		}
		if err := f.inflate(kind, rm); err != nil {
			return nil, err
		}
	}
	if err := f.recognise(o, rm); err != nil {
		return nil, err
	}
	return f, nil
}

// head reads the beginning of the file.
func (f *file) head() ([]byte, error) {
	buf := make([]byte, min(sniffSize, f.size))
	n, err := f.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading %s: %w", f.path, err)
	}
	return buf[:n], nil
}

func compression(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return "gzip"
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "zstd"
	}
	return ""
}

// inflate replaces the file's bytes by the expanded ones.
func (f *file) inflate(kind string, rm *room) error {
	in := bufio.NewReader(io.NewSectionReader(f, 0, f.size))
	var r io.Reader
	switch kind {
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("%s: malformed gzip: %v", f.path, err)
		}
		r = z
	case "zstd":
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30),
			zstd.WithDecoderMaxWindow(1<<28))
		if err != nil {
			return fmt.Errorf("%s: malformed zstd: %v", f.path, err)
		}
		defer z.Close()
		r = z
	}
	w := &spool{room: rm}
	if _, err := io.Copy(w, r); err != nil {
		w.discard()
		if w.err != nil {
			return fmt.Errorf("%s: expanding it: %w", f.path, w.err)
		}
		return fmt.Errorf("%s: malformed %s: %v; the file may be cut off: fetch or compress it again", f.path, kind,
			err)
	}
	return f.replace(w)
}

// replace makes a spool's content the file's.
func (f *file) replace(w *spool) error {
	old := f.close
	f.in, f.size, f.close = w.readerAt(), w.size, w.discard
	return old()
}

// recognise finds the container by the file's content, and by its name where the content leaves it open.
func (f *file) recognise(o *Options, rm *room) error {
	head, err := f.head()
	if err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		f.bom = 3
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")), looksUTF16(head):
		return fmt.Errorf(
			"%s: the text is UTF-16; expected UTF-8: convert it, for example with iconv -f UTF-16 -t UTF-8", f.path)
	}
	if bytes.HasPrefix(head, []byte("PAR1")) {
		if f.size < 12 {
			return fmt.Errorf("%s: the Parquet file is cut off at %d bytes", f.path, f.size)
		}
		return f.spoolParquet(o, rm)
	}
	name := plainName(f.path)
	has := func(suffixes ...string) bool {
		for _, s := range suffixes {
			if strings.HasSuffix(name, s) {
				return true
			}
		}
		return false
	}
	text := head[f.bom:]
	whole := int64(len(head)) == f.size
	trimmed := bytes.TrimLeft(text, " \t\r\n")
	switch {
	case has(".parquet"):
		return fmt.Errorf("%s: the name says Parquet, but the file does not begin as one; expected the bytes PAR1",
			f.path)
	case len(trimmed) == 0 && whole:
		return fmt.Errorf("%s: the file is empty", f.path)
	case has(".csv"):
		f.box = &csvBox{f: f, o: o, comma: ','}
	case has(".tsv", ".tab"):
		f.box = &csvBox{f: f, o: o, comma: '\t'}
	case has(".jsonl", ".ndjson") && !looksJSON(trimmed, whole):
		f.box = &linesBox{f: f, o: o} // which will say what is wrong with its first line
	case has(".txt", ".md", ".text") && !looksJSON(trimmed, whole):
		f.box = f.tableOrText(text, o)
	case len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '['):
		return f.recogniseJSON(trimmed, whole, o)
	case has(".json"):
		return fmt.Errorf("%s: the name says JSON, but the file begins with %q; expected an object or a list", f.path,
			trimmed[:min(12, len(trimmed))])
	default:
		f.box = f.tableOrText(text, o)
	}
	return nil
}

// looksUTF16 recognises UTF-16 without a byte order mark by its zero bytes: half of the text, all at odd or all at even
// places.
func looksUTF16(head []byte) bool {
	var zeros [2]int
	for i, c := range head {
		if c == 0 {
			zeros[i%2]++
		}
	}
	n := len(head) / 2
	return n >= 2 && (zeros[0] > n/2 && zeros[1] == 0 || zeros[1] > n/2 && zeros[0] == 0)
}

// looksJSON says whether a file is JSON whatever its name: its first line is an object or list, or begins one that
// goes on. whole says that text is all of the file.
func looksJSON(text []byte, whole bool) bool {
	line, _, more := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSpace(withoutNaN(line))
	return len(line) > 0 && (line[0] == '{' || line[0] == '[') && (json.Valid(line) || (more || !whole) && goesOn(line))
}

// goesOn says whether nothing is wrong with a beginning of JSON but that it ends.
func goesOn(line []byte) bool {
	var v json.RawMessage
	err := json.NewDecoder(bytes.NewReader(line)).Decode(&v)
	return errors.Is(err, io.ErrUnexpectedEOF)
}
