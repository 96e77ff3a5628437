package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/ggtune/ggtune/engine/gguf"
)

// maskedKeys are the keys of JSON objects, and of adapters' metadata, whose values may differ: times, speeds, memory in
// use, the version, and the hash of a file that names the version (its content is compared).
var maskedKeys = []string{"seconds", "reference_seconds", "sample_seconds", "tok_per_s", "peak_bytes", "free_bytes",
	"time", "version", "ggtune.version", "adapter_sha256"}

// dropped are keys of a checkpoint that were written once and are no longer: they follow from the settings in .config.
var dropped = []string{".course.MinRatio", ".course.Decay"}

// maskedText are the parts of lines that may differ.
var maskedText = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`\b\d+ tok/s`), "N tok/s"},
	{regexp.MustCompile(`\b(\d+ h \d+ min|\d+ min \d+ s|\d+ s) left`), "TIME left"},
	{regexp.MustCompile(`\bin (\d+ h \d+ min|\d+ min \d+ s|\d+ s),`), "in TIME,"},
	{regexp.MustCompile(`\b[0-9.]+ ([GMk]B|bytes?)\b`), "SIZE"},
	// It follows from who reads the setting now, and names the schedules that do.
	{regexp.MustCompile(`(--min-lr is \S+ with --schedule constant), which .*`), "$1, refused"},
}

// results compares what a command printed and how it ended.
func (p *pair) results(m command, was, is result) (diffs []string) {
	if was.code != is.code {
		diffs = append(diffs, fmt.Sprintf("exit code %d, now %d", was.code, is.code))
	}
	if m.filesOnly {
		return diffs
	}
	for _, s := range []struct {
		name    string
		was, is []byte
	}{{"standard output", was.stdout, is.stdout}, {"standard error", was.stderr, is.stderr}} {
		if d := p.text(s.was, s.is); d != "" {
			diffs = append(diffs, s.name+": "+d)
		}
	}
	return diffs
}

// text compares printed text line by line; lines of JSON by their values.
func (p *pair) text(was, is []byte) string {
	a, b := strings.SplitAfter(string(was), "\n"), strings.SplitAfter(string(is), "\n")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		d := ""
		if strings.HasPrefix(x, "{") && strings.HasPrefix(y, "{") {
			d = compareJSON([]byte(x), []byte(y))
		} else if x, y := mask(x, p.old.version), mask(y, p.new.version); x != y {
			d = fmt.Sprintf("%q, now %q", x, y)
		}
		if d != "" {
			return fmt.Sprintf("line %d: %s", i+1, d)
		}
	}
	return ""
}

func mask(line, version string) string {
	line = strings.ReplaceAll(line, version, "VERSION")
	for _, m := range maskedText {
		line = m.pattern.ReplaceAllString(line, m.by)
	}
	return line
}

// trees compares all files below two folders.
func (p *pair) trees(oldDir, newDir string) (diffs []string, err error) {
	was, err := list(oldDir)
	if err != nil {
		return nil, err
	}
	is, err := list(newDir)
	if err != nil {
		return nil, err
	}
	for _, name := range is {
		if !slices.Contains(was, name) {
			diffs = append(diffs, name+" was not there")
		}
	}
	for _, name := range was {
		if !slices.Contains(is, name) {
			diffs = append(diffs, name+" is missing now")
			continue
		}
		d, err := compareFiles(filepath.Join(oldDir, name), filepath.Join(newDir, name))
		if err != nil {
			return nil, err
		}
		if d != "" {
			diffs = append(diffs, name+": "+d)
		}
	}
	return diffs, nil
}

func list(dir string) (names []string, err error) {
	err = fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	return names, err
}

// compareFiles compares two files by what they are, and returns the first difference.
func compareFiles(old, new string) (string, error) {
	switch name := filepath.Base(old); {
	case strings.HasSuffix(name, ".gguf"):
		return compareGGUF(old, new)
	default:
		was, err := os.ReadFile(old)
		if err != nil {
			return "", err
		}
		is, err := os.ReadFile(new)
		if err != nil {
			return "", err
		}
		switch filepath.Ext(name) {
		case ".json", ".jsonl":
			return compareJSONLines(was, is), nil
		case ".toml":
			return compareTOML(string(was), string(is)), nil
		case ".bin":
			return compareState(was, is), nil
		}
		return compareBytes(was, is), nil
	}
}

func compareBytes(was, is []byte) string {
	for i := range min(len(was), len(is)) {
		if was[i] != is[i] {
			return fmt.Sprintf("byte %d of %d is %#x, now %#x", i, len(was), was[i], is[i])
		}
	}
	if len(was) != len(is) {
		return fmt.Sprintf("%d bytes, now %d", len(was), len(is))
	}
	return ""
}

// compareGGUF compares metadata, and the tensors with their bytes, both in the order of the file.
func compareGGUF(old, new string) (string, error) {
	was, err := gguf.Open(old)
	if err != nil {
		return "", err
	}
	defer was.Close()
	is, err := gguf.Open(new)
	if err != nil {
		return "", err
	}
	defer is.Close()
	a, b := was.KVs(), is.KVs()
	for i := range min(len(a), len(b)) {
		switch x, y := a[i], b[i]; {
		case x.Key != y.Key:
			return fmt.Sprintf("metadata key %d is %s, now %s", i, x.Key, y.Key), nil
		case slices.Contains(maskedKeys, x.Key):
		case x.Value.TypeName() != y.Value.TypeName() || !reflect.DeepEqual(x.Value.Any(), y.Value.Any()):
			return fmt.Sprintf("metadata %s is %v, now %v", x.Key, x.Value.Any(), y.Value.Any()), nil
		}
	}
	if len(a) != len(b) {
		return fmt.Sprintf("%d metadata keys, now %d", len(a), len(b)), nil
	}
	if len(was.Tensors) != len(is.Tensors) {
		return fmt.Sprintf("%d tensors, now %d", len(was.Tensors), len(is.Tensors)), nil
	}
	for i := range was.Tensors {
		x, y := &was.Tensors[i], &is.Tensors[i]
		if x.Name != y.Name || x.Type != y.Type || !slices.Equal(x.Shape, y.Shape) {
			return fmt.Sprintf("tensor %d is %s %s %v, now %s %s %v", i, x.Name, x.Type, x.Shape, y.Name, y.Type,
				y.Shape), nil
		}
		p, err := was.Data(x)
		if err != nil {
			return "", err
		}
		q, err := is.Data(y)
		if err != nil {
			return "", err
		}
		if d := compareBytes(p, q); d != "" {
			return fmt.Sprintf("tensor %s: %s", x.Name, d), nil
		}
	}
	return "", nil
}

// compareJSONLines compares files of one object, or of one object a line.
func compareJSONLines(was, is []byte) string {
	a, b := json.NewDecoder(bytes.NewReader(was)), json.NewDecoder(bytes.NewReader(is))
	for n := 1; ; n++ {
		var x, y json.RawMessage
		errX, errY := a.Decode(&x), b.Decode(&y)
		if errX == io.EOF && errY == io.EOF {
			return ""
		}
		if errX != nil || errY != nil {
			return fmt.Sprintf("object %d: %v, now %v", n, cmp.Or(errX, error(errNone)), cmp.Or(errY, error(errNone)))
		}
		if d := compareJSON(x, y); d != "" {
			return fmt.Sprintf("object %d: %s", n, d)
		}
	}
}

var errNone = fmt.Errorf("there")

// compareJSON compares two JSON values, and says where they differ.
func compareJSON(was, is []byte) string {
	var x, y any
	for _, d := range []struct {
		raw  []byte
		into *any
	}{{was, &x}, {is, &y}} {
		dec := json.NewDecoder(bytes.NewReader(d.raw))
		dec.UseNumber() // all digits count
		if err := dec.Decode(d.into); err != nil {
			return fmt.Sprintf("JSON of which one is broken: %.200s, now %.200s", was, is)
		}
	}
	return compareValues("", x, y)
}

// compareValues compares decoded JSON or TOML below the key path.
func compareValues(path string, was, is any) string {
	switch x := was.(type) {
	case map[string]any:
		y, ok := is.(map[string]any)
		if !ok {
			break
		}
		for _, k := range slices.Sorted(maps.Keys(y)) {
			if _, ok := x[k]; !ok {
				return fmt.Sprintf("%s.%s was not there", path, k)
			}
		}
		for _, k := range slices.Sorted(maps.Keys(x)) {
			v, ok := y[k]
			if !ok && slices.Contains(dropped, path+"."+k) {
				continue
			}
			if !ok {
				return fmt.Sprintf("%s.%s is missing now", path, k)
			}
			if slices.Contains(maskedKeys, k) && (x[k] == nil) == (v == nil) {
				continue
			}
			if d := compareValues(path+"."+k, x[k], v); d != "" {
				return d
			}
		}
		return ""
	case []any:
		y, ok := is.([]any)
		if !ok || len(x) != len(y) {
			break
		}
		for i := range x {
			if d := compareValues(fmt.Sprintf("%s[%d]", path, i), x[i], y[i]); d != "" {
				return d
			}
		}
		return ""
	case string:
		// A checkpoint holds the run's settings as a file.
		if y, ok := is.(string); ok && path == ".config" {
			if d := compareTOML(x, y); d != "" {
				return path + ": " + d
			}
			return ""
		}
	}
	if reflect.DeepEqual(was, is) {
		return ""
	}
	return fmt.Sprintf("%s is %v, now %v", path, was, is)
}

// compareTOML compares settings; their order and comments may differ.
func compareTOML(was, is string) string {
	x, y := map[string]any{}, map[string]any{}
	if _, err := toml.Decode(was, &x); err != nil {
		return fmt.Sprintf("was no TOML: %v", err)
	}
	if _, err := toml.Decode(is, &y); err != nil {
		return fmt.Sprintf("is no TOML: %v", err)
	}
	return compareValues("", x, y)
}

// compareState compares state files (finetune/checkpoint): magic and version, the state as JSON, the tensors' names and
// numbers. It parses them by itself, so that a change of the format is found. The checksum follows from the rest, which
// holds times.
func compareState(was, is []byte) string {
	x, errX := parseState(was)
	y, errY := parseState(is)
	switch {
	case errX != nil || errY != nil:
		return fmt.Sprintf("state file: %v, now %v", cmp.Or(errX, error(errNone)), cmp.Or(errY, error(errNone)))
	case x.front != y.front:
		return fmt.Sprintf("begins with %q, now %q", x.front, y.front)
	}
	if d := compareJSON(x.Meta, y.Meta); d != "" {
		return d
	}
	if len(x.Tensors) != len(y.Tensors) {
		return fmt.Sprintf("%d tensors, now %d", len(x.Tensors), len(y.Tensors))
	}
	at := 0
	for i, t := range x.Tensors {
		if !reflect.DeepEqual(t, y.Tensors[i]) {
			return fmt.Sprintf("tensor %d is %v, now %v", i, t, y.Tensors[i])
		}
		n := 4 * t.N
		if at+n > min(len(x.data), len(y.data)) {
			return fmt.Sprintf("tensor %s is cut short", t.Name)
		}
		if d := compareBytes(x.data[at:at+n], y.data[at:at+n]); d != "" {
			return fmt.Sprintf("tensor %s: %s", t.Name, d)
		}
		at += n
	}
	return compareBytes(x.data[at:], y.data[at:])
}

type state struct {
	front   string // magic and version
	Meta    json.RawMessage
	Tensors []struct {
		Name string
		N    int // of float32s
	}
	data []byte
}

func parseState(b []byte) (s state, err error) {
	const fixed, sum = 8 + 4 + 8, 32
	if len(b) < fixed+sum {
		return s, fmt.Errorf("%d bytes", len(b))
	}
	n := binary.LittleEndian.Uint64(b[12:])
	if n > uint64(len(b)-fixed-sum) {
		return s, fmt.Errorf("a header of %d bytes in a file of %d", n, len(b))
	}
	dec := json.NewDecoder(bytes.NewReader(b[fixed : fixed+n]))
	dec.DisallowUnknownFields() // what is not compared must not be there
	s.front, s.data = string(b[:12]), b[fixed+n:len(b)-sum]
	return s, dec.Decode(&s)
}
