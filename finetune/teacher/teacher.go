// Package teacher keeps what a model says of the counted tokens of a dataset: for each, as many of its likeliest tokens
// with their log-probabilities. They lie in a file that is read and written one item at a time, because they may be
// larger than the model. It knows no engine and no text.
package teacher

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/regular"
)

// The file, all numbers little-endian:
//
//	8 bytes  magic "GGTUNETL"
//	uint32   version
//	uint32   length of the header in bytes
//	header   JSON: {"key": any, "top": int, "items": int, "tokens": int}
//	uint32   CRC-32 (IEEE) of everything before
//	items    of each in turn: uint32 CRC-32 of what follows, then for each counted token top pairs of uint32 token and
//	         float32 log-probability
//
// An item that was never written, or not whole, fails its checksum: what a process that was killed left is what is
// whole.
const (
	magic    = "GGTUNETL"
	version  = 1
	fixed    = len(magic) + 8
	pair     = 8       // bytes
	maxKey   = 1 << 16 // more than a key takes, and less than a hostile file may make us allocate
	perm     = 0o666
	checksum = 4
)

// ErrForeign is wrapped by errors about a file that does not begin as one of ours: it must not be replaced.
var ErrForeign = errors.New("a file of another kind")

// A Prediction is what the teacher says of an item's counted tokens, one after the other: for each its Top tokens, and
// their log-probabilities, nats.
type Prediction struct {
	Tokens []int32
	LogP   []float32
}

type header struct {
	Key    json.RawMessage `json:"key"`
	Top    int             `json:"top"`
	Items  int             `json:"items"`
	Tokens int             `json:"tokens"`
}

// A File is open for reading and writing. It is not safe for concurrent use.
type File struct {
	f       *os.File
	top     int
	counted []int
	start   []int64 // of each item, bytes
	buf     []byte
}

// Bytes is the size of a file for items of so many counted tokens, beside its header.
func Bytes(top, items, tokens int) int64 {
	return int64(items)*checksum + int64(tokens)*int64(top)*pair
}

// Open opens the file of that name, or makes it, for items of so many counted tokens each. key is all that the
// predictions depend on. other is the key of a file that was there for something else, and was replaced.
func Open(name string, key any, top int, counted []int) (_ *File, other json.RawMessage, err error) {
	front, err := frontOf(key, top, counted)
	if err != nil {
		return nil, nil, err
	}
	is, same, err := look(name, front)
	if err != nil {
		return nil, nil, err
	}
	if !same {
		if err := atomicfile.WriteFile(nil, name, front, perm); err != nil {
			return nil, nil, err
		}
		other = is
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("the teacher's predictions: %w", err)
	}
	t := &File{f: f, top: top, counted: counted, start: make([]int64, len(counted))}
	at := int64(len(front))
	for i, n := range counted {
		t.start[i] = at
		at += Bytes(top, 1, n)
	}
	if err := f.Truncate(at); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make room for the teacher's predictions: %w", err), f.Close())
	}
	return t, other, nil
}

// frontOf is a file up to its items.
func frontOf(key any, top int, counted []int) ([]byte, error) {
	k, err := json.Marshal(key)
	if err != nil {
		return nil, fmt.Errorf("the teacher's predictions: key as JSON: %w", err)
	}
	h := header{Key: k, Top: top, Items: len(counted)}
	for _, n := range counted {
		h.Tokens += n
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("the teacher's predictions: header as JSON: %w", err)
	}
	b := binary.LittleEndian.AppendUint32([]byte(magic), version)
	b = append(binary.LittleEndian.AppendUint32(b, uint32(len(text))), text...)
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b)), nil
}

// look says whether the file begins as front does, and otherwise gives its key, if it has one that is whole.
func look(name string, front []byte) (key json.RawMessage, same bool, err error) {
	f, err := regular.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	b := make([]byte, max(len(front), fixed+maxKey))
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, false, fmt.Errorf("read %s: %w", name, err)
	}
	b = b[:n]
	if bytes.HasPrefix(b, front) {
		return nil, true, nil
	}
	if n < fixed || string(b[:len(magic)]) != magic {
		return nil, false, fmt.Errorf("%s is %w", name, ErrForeign)
	}
	if v := binary.LittleEndian.Uint32(b[len(magic):]); v > version {
		return nil, false, fmt.Errorf("%s is of version %d, written by a newer ggtune; this one knows %d: %w", name, v,
			version, ErrForeign)
	}
	end := fixed + int(min(binary.LittleEndian.Uint32(b[len(magic)+4:]), maxKey))
	var h header
	if end+checksum > n || crc32.ChecksumIEEE(b[:end]) != binary.LittleEndian.Uint32(b[end:]) ||
		json.Unmarshal(b[fixed:end], &h) != nil {
		return nil, false, nil // damaged: made anew
	}
	return h.Key, false, nil
}

// Write puts in what the teacher says of an item.
func (t *File) Write(item int, p Prediction) error {
	if n := t.top * t.counted[item]; len(p.Tokens) != n || len(p.LogP) != n {
		return fmt.Errorf("the teacher's predictions: %d tokens and %d log-probabilities, expected %d of each",
			len(p.Tokens), len(p.LogP), n)
	}
	t.buf = append(t.buf[:0], make([]byte, checksum)...)
	for i, token := range p.Tokens {
		t.buf = binary.LittleEndian.AppendUint32(t.buf, uint32(token))
		t.buf = binary.LittleEndian.AppendUint32(t.buf, math.Float32bits(p.LogP[i]))
	}
	binary.LittleEndian.PutUint32(t.buf, crc32.ChecksumIEEE(t.buf[checksum:]))
	if _, err := t.f.WriteAt(t.buf, t.start[item]); err != nil {
		return fmt.Errorf("keep the teacher's predictions: %w", err)
	}
	return nil
}

// Read gives what the teacher said of an item; ok is false where it has not been asked yet, or what it said is not
// whole.
func (t *File) Read(item int) (p Prediction, ok bool, err error) {
	size := Bytes(t.top, 1, t.counted[item])
	if int64(cap(t.buf)) < size {
		t.buf = make([]byte, size)
	}
	t.buf = t.buf[:size]
	if _, err := t.f.ReadAt(t.buf, t.start[item]); err != nil {
		return p, false, fmt.Errorf("read the teacher's predictions: %w", err)
	}
	b := t.buf[checksum:]
	if crc32.ChecksumIEEE(b) != binary.LittleEndian.Uint32(t.buf) {
		return p, false, nil
	}
	for ; len(b) > 0; b = b[pair:] {
		p.Tokens = append(p.Tokens, int32(binary.LittleEndian.Uint32(b)))
		p.LogP = append(p.LogP, math.Float32frombits(binary.LittleEndian.Uint32(b[4:])))
	}
	return p, true, nil
}

// Close flushes what was written to disk. It may be called on nil.
func (t *File) Close() error {
	if t == nil {
		return nil
	}
	return errors.Join(t.f.Sync(), t.f.Close())
}
