package deptest

import (
	"bytes"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxColumns is how wide a line of Go, C or C++ may be: two files then stand side by side on a screen. Characters
// count, not bytes, and a tab is 4 of them.
const maxColumns = 120

// columns is how wide a line is.
func columns(line []byte) int { return utf8.RuneCount(line) + 3*bytes.Count(line, []byte("\t")) }

// TestLines wants every line within maxColumns, but for the text of a string of several lines, which is as wide as what
// it stands for, and for directives, which cannot be broken.
func TestLines(t *testing.T) {
	dir := root(t)
	skip := ignored(t, dir)
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() && (slices.Contains(skip, filepath.ToSlash(rel)) || d.Name() == "testdata" && !hasGo(path)) {
			return filepath.SkipDir
		}
		if !slices.Contains([]string{".go", ".c", ".h", ".cpp"}, filepath.Ext(path)) {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, at := range wide(src, filepath.Ext(path) == ".go") {
			t.Errorf("%s:%d: the line has more than %d columns", rel, at, maxColumns)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("only %d files found under %s", files, dir)
	}
}

func hasGo(dir string) bool {
	found, err := filepath.Glob(filepath.Join(dir, "*.go"))
	return err == nil && len(found) > 0
}

// wide gives the numbers of the lines that are too wide.
func wide(src []byte, isGo bool) (out []int) {
	var text map[int]bool
	if isGo {
		text = rawText(src)
	}
	n := 0
	for line := range bytes.Lines(src) {
		n++
		line = bytes.TrimRight(line, "\r\n")
		directive := bytes.HasPrefix(line, []byte("//go:")) || bytes.HasPrefix(line, []byte("#pragma"))
		if columns(line) > maxColumns && !text[n] && !directive {
			out = append(out, n)
		}
	}
	return out
}

// rawText gives the numbers of the lines that a raw string of several lines touches.
func rawText(src []byte) map[int]bool {
	out := map[int]bool{}
	set := token.NewFileSet()
	f := set.AddFile("", set.Base(), len(src))
	var s scanner.Scanner
	s.Init(f, src, func(token.Position, string) {}, 0)
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return out
		}
		if more := strings.Count(lit, "\n"); tok == token.STRING && more > 0 {
			for i := range more + 1 {
				out[f.Line(pos)+i] = true
			}
		}
	}
}

// TestWide: what is counted and what is not.
func TestWide(t *testing.T) {
	long := strings.Repeat("é", maxColumns)
	for _, tc := range []struct {
		name, src string
		isGo      bool
		want      []int
	}{
		{"characters, not bytes", long + "\n" + long + "x\n", false, []int{2}},
		{"a tab is four", "\t" + long[:2*maxColumns-8] + "\n\t" + long[:2*maxColumns-6] + "\n", false, []int{2}},
		{"no newline at the end", long + "x", false, []int{1}},
		{"carriage return", long + "\r\n", false, nil},
		{"text of several lines", "package x\nvar a = `\n" + long + "x\n`\n// " + long + "\n", true, []int{5}},
		{"text of one line", "package x\nvar a = `" + long + "`\n", true, []int{2}},
		{"directives", "#pragma " + long + "\n//go:embed " + long + "\n", false, nil},
	} {
		if got := wide([]byte(tc.src), tc.isGo); !slices.Equal(got, tc.want) {
			t.Errorf("%s: lines %v, want %v", tc.name, got, tc.want)
		}
	}
}
