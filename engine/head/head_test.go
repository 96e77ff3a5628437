package head

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/fuzzing"
)

func TestMain(m *testing.M) { fuzzing.Main(m) }

func sample() *File {
	return &File{Arch: "llama", Purpose: Reward, Weight: []float32{1, -2.5, 0.25, 3}, Mean: -0.75, Base: "ba5e",
		Adapter: "ada9", Unfinished: "step 3 of 10"}
}

// TestSaveLoad: what is written is read, and so is the file of every version there was.
func TestSaveLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	if err := sample().Save(t.Context(), nil, path); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, "testdata/version1.gguf"} {
		got, err := Load(p)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(sample(), got); d != "" {
			t.Errorf("%s: want − got +:\n%s", p, d)
		}
	}
}

// TestNew: the numbers follow from the seed, are not 0, and are as spread as TRL's.
func TestNew(t *testing.T) {
	a := New(10000, 1)
	if !slices.Equal(a, New(10000, 1)) || slices.Equal(a, New(10000, 2)) {
		t.Error("the numbers do not follow from the seed")
	}
	sum := 0.0
	for _, x := range a {
		sum += float64(x) * float64(x)
	}
	if v := sum / 10000; !(v > 0.9*spread*spread && v < 1.1*spread*spread) {
		t.Errorf("variance %g, want %g", v, spread*spread)
	}
}

// TestLoadRefuses: a damaged, foreign or newer file is named with what is wrong.
func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	save := func(change func(f *File)) string {
		f := sample()
		change(f)
		path := filepath.Join(dir, "x.gguf")
		if err := f.Save(t.Context(), nil, path); err != nil {
			return err.Error()
		}
		_, err := Load(path)
		return err.Error()
	}
	nan := float32(0)
	nan /= nan
	for want, change := range map[string]func(f *File){
		`purpose is "worth"; known: reward, value, rerank`: func(f *File) { f.Purpose = "worth" },
		"number 2 of the head is NaN":                      func(f *File) { f.Weight[2] = nan },
		"number 4 of the head is NaN":                      func(f *File) { f.Mean = nan },
		"holds no number":                                  func(f *File) { f.Weight = nil },
	} {
		if got := save(change); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	path := filepath.Join(dir, FileName)
	if err := sample().Save(t.Context(), nil, path); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"another type": {"\x04\x00\x00\x00\x00\x00\x00\x00head", "\x04\x00\x00\x00\x00\x00\x00\x00tail", "not a head"},
		"damaged":      {"\x00\x00\x20\xc0", "\x00\x00\x20\xc1", "damaged"},
		"newer":        {"head.version\x04\x00\x00\x00\x01", "head.version\x04\x00\x00\x00\x02", "use a newer one"},
		"renamed":      {"value.weight", "waste.weight", "value.weight"},
	} {
		bad := bytes.Replace(whole, []byte(c.from), []byte(c.to), 1)
		if bytes.Equal(bad, whole) {
			t.Fatalf("%s: nothing changed", name)
		}
		if err := os.WriteFile(path, bad, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	const padding = 16 // behind the 4 numbers, to the next 32 bytes
	for n := range len(whole) - padding {
		if err := os.WriteFile(path, whole[:n], 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil {
			t.Fatalf("the first %d bytes of %d are accepted", n, len(whole))
		}
	}
}

// TestFits: a head for another model, base or adapter is refused, and says what it is for.
func TestFits(t *testing.T) {
	m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", gguf.F32)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	good := File{Arch: "llama", Purpose: Reward, Weight: New(m.HParams().NEmbd, 1), Base: "ba5e", Adapter: "ada9"}
	if err := good.Fits("h", m, "ba5e", "ada9"); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		change        func(f *File)
		base, adapter string
		want          string
	}{
		"size":            {func(f *File) { f.Weight = f.Weight[1:] }, "ba5e", "ada9", "with n_embd"},
		"architecture":    {func(f *File) { f.Arch = "gpt2" }, "ba5e", "ada9", `architecture "gpt2"`},
		"base":            {func(*File) {}, "other", "ada9", "trained on another base"},
		"adapter":         {func(*File) {}, "ba5e", "other", "trained with another adapter"},
		"no adapter":      {func(*File) {}, "ba5e", "", "none is given"},
		"without adapter": {func(f *File) { f.Adapter = "" }, "ba5e", "ada9", "leave --adapter out"},
	} {
		f := good
		c.change(&f)
		if err := f.Fits("h", m, c.base, c.adapter); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// FuzzLoad: no file panics.
func FuzzLoad(f *testing.F) {
	b, err := os.ReadFile("testdata/version1.gguf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	path := filepath.Join(f.TempDir(), "a.gguf")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		if h, err := Load(path); err == nil && len(h.Weight) == 0 {
			t.Error("a head without a number is accepted")
		}
	})
}
