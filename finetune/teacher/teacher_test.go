package teacher

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	key     = map[string]string{"teacher": "a"}
	counted = []int{2, 1, 3}
	said    = Prediction{Tokens: []int32{7, 1 << 20, 3, 0, 5, 6}, LogP: []float32{-0.5, -1, -2, -0.25, 0, -9}}
)

func open(t *testing.T, name string, key any, top int) *File {
	t.Helper()
	f, _, err := Open(name, key, top, counted)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// known reads an item.
func known(t *testing.T, f *File, item int) (Prediction, bool) {
	t.Helper()
	p, ok, err := f.Read(item)
	if err != nil {
		t.Fatal(err)
	}
	return p, ok
}

// TestKept: what was written is there after the file was closed, and what was not is not.
func TestKept(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t.bin")
	f := open(t, name, key, 2)
	if err := f.Write(2, said); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, name, key, 2)
	got, ok := known(t, f, 2)
	if d := cmp.Diff(got, said); d != "" || !ok {
		t.Errorf("%v, got − want +:\n%s", ok, d)
	}
	for _, item := range []int{0, 1} {
		if _, ok := known(t, f, item); ok {
			t.Errorf("item %d is known, and was never written", item)
		}
	}
	st, err := os.Stat(name)
	front, _ := frontOf(key, 2, counted)
	if err != nil || st.Size() != int64(len(front))+Bytes(2, 3, 6) {
		t.Errorf("the file has %d bytes: %v", st.Size(), err)
	}
	if err := f.Write(0, said); err == nil {
		t.Error("more predictions than tokens: accepted")
	}
}

// TestDamaged: an item that is not whole is not known; the others are.
func TestDamaged(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t.bin")
	f := open(t, name, key, 2)
	one := Prediction{Tokens: said.Tokens[:2], LogP: said.LogP[:2]}
	if err := errors.Join(f.Write(1, one), f.Write(2, said), f.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-3] ^= 1
	if err := os.WriteFile(name, b, 0o666); err != nil {
		t.Fatal(err)
	}
	f = open(t, name, key, 2)
	if _, ok := known(t, f, 1); !ok {
		t.Error("a whole item is not known")
	}
	if _, ok := known(t, f, 2); ok {
		t.Error("a damaged item is known")
	}
	f.Close()
	// Cut short, what is there stays.
	if err := os.Truncate(name, int64(len(b)-8)); err != nil {
		t.Fatal(err)
	}
	if _, ok := known(t, open(t, name, key, 2), 1); !ok {
		t.Error("a whole item of a file that was cut is not known")
	}
}

// TestOther: a file for another key or of another shape is replaced and told of, one of another kind or of a newer
// version refused and left as it is.
func TestOther(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t.bin")
	f := open(t, name, key, 2)
	if err := errors.Join(f.Write(2, said), f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key any
		top int
	}{{map[string]string{"teacher": "b"}, 2}, {map[string]string{"teacher": "b"}, 1}} {
		f, other, err := Open(name, c.key, c.top, counted)
		if err != nil || other == nil {
			t.Fatalf("%v, %d: nothing is said of the file that was there: %v", c.key, c.top, err)
		}
		if _, ok := known(t, f, 2); ok {
			t.Errorf("%v, %d: another's predictions are known", c.key, c.top)
		}
		f.Close()
	}
	front, _ := frontOf(key, 2, counted)
	newer := append([]byte(nil), front...)
	newer[len(magic)]++
	for text, want := range map[string]string{"somebody's own": "another kind", "": "another kind",
		string(newer): "newer ggtune"} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, _, err := Open(name, key, 2, counted)
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: %v", text, err)
		}
		if b, _ := os.ReadFile(name); string(b) != text {
			t.Errorf("%.10q: replaced", text)
		}
	}
	front[len(front)-1] ^= 1
	if err := os.WriteFile(name, front, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, other, err := Open(name, key, 2, counted); err != nil || other != nil {
		t.Errorf("a damaged front: %s, %v", other, err)
	}
}

// TestVersions: a file of every version stays readable.
func TestVersions(t *testing.T) {
	b, err := os.ReadFile("testdata/teacher-v1.bin")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "t.bin")
	if err := os.WriteFile(name, b, 0o666); err != nil {
		t.Fatal(err)
	}
	got, ok := known(t, open(t, name, key, 2), 2)
	if d := cmp.Diff(got, said); d != "" || !ok {
		t.Errorf("%v, got − want +:\n%s", ok, d)
	}
}
