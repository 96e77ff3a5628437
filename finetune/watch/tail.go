package watch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sort"

	"github.com/ggtune/ggtune/internal/regular"
)

// mostTail bounds the files that are followed, bytes: a million steps have 300 MB.
const mostTail = 1 << 30

// A tail follows a file of JSON objects, one a line, as lines are added, and as it is replaced by another whose end
// differs. It is not safe for concurrent use.
type tail struct {
	path  string
	stat  fs.FileInfo // when it was last read, nil before
	lines []line
	size  int64  // bytes of lines
	reads uint64 // counts those that found something
}

// A line is one object, and which read found it. Reads ascend from line to line.
type line struct {
	text []byte // without the line's end
	read uint64
}

// refresh reads what is new. Of a file with a bad line the lines before it are kept; a file that is absent has none.
func (t *tail) refresh() error {
	st, err := os.Stat(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		t.lines, t.size, t.stat = nil, 0, nil
		return nil
	}
	if err != nil {
		return err
	}
	if t.stat != nil && os.SameFile(st, t.stat) && st.Size() == t.stat.Size() && st.ModTime().Equal(t.stat.ModTime()) {
		return nil
	}
	f, err := regular.Open(t.path)
	if err != nil {
		return err
	}
	defer f.Close()
	from := t.unchanged(f)
	text, err := regular.ReadFrom(io.NewSectionReader(f, from, mostTail+1), t.path, mostTail)
	if err != nil {
		return err
	}
	t.stat = st
	if from == 0 {
		return t.replace(text)
	}
	return t.add(text)
}

// unchanged gives the number of bytes of f that need not be read again. Lines are added, or one of the last ones is
// changed and the file replaced: the last line that is known stands where it stood if and only if none was.
func (t *tail) unchanged(f io.ReaderAt) int64 {
	if len(t.lines) == 0 {
		return 0
	}
	last := t.lines[len(t.lines)-1].text
	now := make([]byte, len(last)+1)
	_, err := f.ReadAt(now, t.size-int64(len(now)))
	if err != nil || !bytes.Equal(now[:len(last)], last) || now[len(last)] != '\n' {
		return 0
	}
	return t.size
}

// replace takes text as the whole file. Lines before the first that differs stay as they are.
func (t *tail) replace(text []byte) error {
	same, size := 0, 0
	for same < len(t.lines) {
		old := t.lines[same].text
		if rest := text[size:]; len(rest) <= len(old) || !bytes.HasPrefix(rest, old) || rest[len(old)] != '\n' {
			break
		}
		size += len(old) + 1
		same++
	}
	t.lines, t.size = t.lines[:same:same], int64(size)
	return t.add(text[size:])
}

// add takes text as what follows the known lines. A last line without an end is still being written.
func (t *tail) add(text []byte) error {
	t.reads++
	for {
		n := bytes.IndexByte(text, '\n')
		if n < 0 {
			return nil
		}
		one := text[:n]
		if len(one) == 0 || one[0] != '{' || !json.Valid(one) {
			return fmt.Errorf("%s:%d: this line is no JSON object; the lines before it are shown", t.path,
				len(t.lines)+1)
		}
		t.lines = append(t.lines, line{slices.Clone(one), t.reads})
		t.size += int64(n) + 1
		text = text[n+1:]
	}
}

// A place is how much of a tail somebody has seen.
type place struct {
	lines int
	reads uint64
}

// since gives what who has seen up to a place must be told: from that line on it stands as given.
func (t *tail) since(p place) (from int, lines []line, now place) {
	from = sort.Search(len(t.lines), func(i int) bool { return t.lines[i].read > p.reads })
	from = min(from, p.lines)
	return from, t.lines[from:], place{len(t.lines), t.reads}
}
