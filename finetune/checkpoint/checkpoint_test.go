package checkpoint

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile/faultfs"
)

var update = flag.Bool("update", false, "write the sample file of the current version again")

type testMeta struct {
	Step int
	Note string
}

func sample(step int) (testMeta, []Tensor) {
	return testMeta{step, "ä"}, []Tensor{
		Floats("blk.0.attn_q.weight.lora_a",
			[]float32{float32(step), -1.5, float32(math.Inf(1)), math.SmallestNonzeroFloat32}),
		Floats("empty", nil),
		Floats("blk.0.attn_q.weight.lora_b", []float32{0.1}),
	}
}

// block is memory of any type's elements, far away: it knows pieces only.
type block struct {
	bytes  []byte
	pieces int
	fail   error
}

func (b *block) Read(piece []byte, at int64) error {
	b.pieces++
	copy(piece, b.bytes[at:at+int64(len(piece))])
	return b.fail
}

func (b *block) Write(piece []byte, at int64) error {
	b.pieces++
	copy(b.bytes[at:at+int64(len(piece))], piece)
	return b.fail
}

// sample2 is what version 1 could not hold: moments in blocks of eight bits, numbers of integers.
func sample2(step int) (testMeta, []Tensor) {
	meta, tensors := sample(step)
	blocks := bytes.Repeat([]byte{byte(step), 1, 2}, 2*34/3+1)[:2*34]
	return meta, append(tensors,
		Tensor{Name: "moment", Type: gguf.Q8_0, N: 64, Memory: &block{bytes: blocks}},
		Tensor{Name: "counts", Type: gguf.I32, N: 2, Memory: &block{bytes: []byte{1, 0, 0, 0, 255, 255, 255, 255}}})
}

// content is a copy of a tensor's bytes.
func content(t *testing.T, x Tensor) []byte {
	t.Helper()
	var out []byte
	err := x.pieces(func(piece []byte, at int64) error {
		if err := x.Memory.Read(piece, at); err != nil {
			return err
		}
		out = append(out, piece...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// same fails unless f holds sample(step).
func same(t *testing.T, f *File, step int) {
	t.Helper()
	meta, tensors := sample(step)
	mustHold(t, f, meta, tensors)
}

func mustHold(t *testing.T, f *File, wantMeta testMeta, want []Tensor) {
	t.Helper()
	var meta testMeta
	if err := f.Meta(&meta); err != nil {
		t.Fatal(err)
	}
	if meta != wantMeta {
		t.Errorf("meta: got %+v, want %+v", meta, wantMeta)
	}
	got := make([]Tensor, len(want))
	for i, w := range want {
		got[i] = w
		got[i].Memory = &block{bytes: make([]byte, len(content(t, w)))}
	}
	if err := f.Read(got); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if a, b := content(t, got[i]), content(t, want[i]); !bytes.Equal(a, b) {
			t.Errorf("%s: got %v, want %v", want[i].Name, a, b)
		}
	}
}

func save(t *testing.T, s *Store, id ID, protect ...ID) {
	t.Helper()
	meta, tensors := sample(id.Step)
	if err := s.Save(id, meta, []byte("rank = 16\n"), tensors, protect...); err != nil {
		t.Fatal(err)
	}
}

func TestRoundTripAndRotation(t *testing.T) {
	s := &Store{Dir: filepath.Join(t.TempDir(), "checkpoints"), Keep: 2}
	if _, _, _, err := s.Latest(); !errors.Is(err, ErrNone) {
		t.Fatalf("empty: got %v, want ErrNone", err)
	}
	best := ID{Step: 10}
	for _, id := range []ID{best, {Step: 20}, {Step: 20, Micros: 3}, {Step: 20, Micros: 12}, {Step: 30}} {
		save(t, s, id, best)
	}
	ids, err := s.List()
	if want := []ID{best, {20, 12}, {30, 0}}; err != nil || !slices.Equal(ids, want) {
		t.Fatalf("kept: got %v, %v; want %v", ids, err, want)
	}
	f, id, skipped, err := s.Latest()
	if err != nil || id != (ID{30, 0}) || len(skipped) > 0 {
		t.Fatalf("latest: got %v, %v, %v", id, skipped, err)
	}
	defer f.Close()
	same(t, f, 30)
	for name, x := range map[string]Tensor{
		"missing": Floats("missing", nil),
		"length":  Floats("empty", make([]float32, 2)),
		"type":    {Name: "empty", Type: gguf.I32, Memory: &block{}},
	} {
		first := Floats("blk.0.attn_q.weight.lora_b", []float32{7})
		if err := f.Read([]Tensor{first, x}); err == nil {
			t.Errorf("%s: a tensor that is not there is read without error", name)
		}
		if first.Memory.(floats)[0] != 7 {
			t.Errorf("%s: a refused read has written", name)
		}
	}
}

// TestEveryFailure makes each file operation of a save fail in turn, in each way, and wants the state before or after
// it whole on disk, and a later save to work.
func TestEveryFailure(t *testing.T) {
	for _, mode := range []faultfs.Mode{faultfs.Fail, faultfs.Kill, faultfs.PowerCut} {
		for at := 1; ; at++ {
			dir := t.TempDir()
			s := &Store{Dir: filepath.Join(dir, "checkpoints"), Keep: 1}
			save(t, s, ID{Step: 10})
			ffs := faultfs.New(nil, at, mode, nil)
			meta, tensors := sample(20)
			err := (&Store{FS: ffs, Dir: s.Dir, Keep: 1}).Save(ID{Step: 20}, meta, nil, tensors)
			if !ffs.Hit() {
				if err != nil {
					t.Fatalf("no operation failed, and yet: %v", err)
				}
				break
			}
			if err := ffs.Crash(); err != nil {
				t.Fatal(err)
			}
			f, id, _, lerr := s.Latest()
			if lerr != nil {
				t.Fatalf("mode %d, operation %d (%v): nothing left: %v", mode, at, ffs.Log(), lerr)
			}
			same(t, f, id.Step)
			f.Close()
			if err == nil && id.Step != 20 {
				t.Errorf("mode %d, operation %d (%v): save said it worked, and step %d is the latest", mode, at,
					ffs.Log(), id.Step)
			}
			save(t, s, ID{Step: 30})
			if f, id, _, err = s.Latest(); err != nil || id.Step != 30 {
				t.Fatalf("mode %d, operation %d: the next save: %v, %v", mode, at, id, err)
			}
			f.Close()
		}
	}
}

// TestDamage: a newest checkpoint that is not whole is passed over and named, and written anew by the next save.
func TestDamage(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"flipped":   func(p string) error { return change(p, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }) },
		"truncated": func(p string) error { return change(p, func(b []byte) []byte { return b[:len(b)-7] }) },
		"empty":     func(p string) error { return os.Truncate(p, 0) },
		"gone":      os.Remove,
		"magic":     func(p string) error { return change(p, func(b []byte) []byte { b[0] = 'x'; return b }) },
	} {
		t.Run(name, func(t *testing.T) {
			s := &Store{Dir: filepath.Join(t.TempDir(), "checkpoints"), Keep: 3}
			save(t, s, ID{Step: 1})
			save(t, s, ID{Step: 2})
			if err := harm(filepath.Join(s.Path(ID{Step: 2}), stateFile)); err != nil {
				t.Fatal(err)
			}
			f, id, skipped, err := s.Latest()
			if err != nil || id.Step != 1 || len(skipped) != 1 {
				t.Fatalf("got %v, %v, %v; want step 1 and one skipped", id, skipped, err)
			}
			f.Close()
			save(t, s, ID{Step: 2})
			if f, id, _, err = s.Latest(); err != nil || id.Step != 2 {
				t.Fatalf("written anew: got %v, %v", id, err)
			}
			same(t, f, 2)
			f.Close()
		})
	}
}

func change(path string, f func([]byte) []byte) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, f(b), 0o666)
}

// samples are what the files of past versions and this one hold.
var samples = map[int]func(int) (testMeta, []Tensor){1: sample, 2: sample2}

// TestVersions: the sample of every version loads and is written as it was, and a newer one is refused as such.
func TestVersions(t *testing.T) {
	for v := 1; v <= version; v++ {
		name := fmt.Sprintf("testdata/state-v%d.bin", v)
		meta, tensors := samples[v](7)
		var b bytes.Buffer
		if err := encode(&b, meta, tensors); err != nil {
			t.Fatal(err)
		}
		if *update && v == version {
			if err := os.WriteFile(name, b.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if old, err := os.ReadFile(name); err != nil || !bytes.Equal(old, b.Bytes()) {
			t.Errorf("version %d: what was written then (%d bytes, %v) is not what is written now (%d bytes)", v,
				len(old), err, b.Len())
		}
		f, err := OpenFile(name)
		if err != nil {
			t.Fatal(err)
		}
		mustHold(t, f, meta, tensors)
		f.Close()
	}
	b, err := os.ReadFile("testdata/state-v1.bin")
	if err != nil {
		t.Fatal(err)
	}
	b[len(magic)] = version + 1
	_, err = parse("x", bytes.NewReader(b), int64(len(b)))
	if err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "newer ggtune") {
		t.Errorf("newer version: got %v", err)
	}
}

// TestPieces: a tensor that is far away is moved in pieces of whole blocks, and an error of its memory is told with its
// name.
func TestPieces(t *testing.T) {
	const blocks = 5000
	far := &block{bytes: make([]byte, blocks*34)}
	for i := range far.bytes {
		far.bytes[i] = byte(i * 7)
	}
	x := Tensor{Name: "moment", Type: gguf.Q8_0, N: blocks * 32, Memory: far}
	path := filepath.Join(t.TempDir(), "x")
	if err := WriteFile(nil, path, testMeta{}, []Tensor{x}); err != nil {
		t.Fatal(err)
	}
	if want := (blocks*34 + 1<<16 - 1) / (1 << 16 / 34 * 34); far.pieces < want || far.pieces > want+1 {
		t.Errorf("written in %d pieces, want about %d", far.pieces, want)
	}
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mustHold(t, f, testMeta{}, []Tensor{x})
	far.fail = errors.New("device lost")
	for what, err := range map[string]error{"write": WriteFile(nil, path+"2", testMeta{}, []Tensor{x}),
		"read": f.Read([]Tensor{x})} {
		if !errors.Is(err, far.fail) || !strings.Contains(err.Error(), `"moment"`) {
			t.Errorf("%s: got %v, want the memory's error with the tensor's name", what, err)
		}
	}
	x.N--
	if err := WriteFile(nil, path+"3", testMeta{}, []Tensor{x}); err == nil ||
		!strings.Contains(err.Error(), "whole number of blocks") {
		t.Errorf("half a block: got %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"step-1", "step-00000001+0", "step-00000001+x", ".step-00000001.ggtmp-1",
		"step-000000001", "latest"} {
		if id, ok := parseID(name); ok {
			t.Errorf("%q is taken for %v", name, id)
		}
	}
	for _, id := range []ID{{0, 0}, {1, 2}, {123456789, 0}} {
		if got, ok := parseID(id.String()); !ok || got != id {
			t.Errorf("%v: got %v, %v", id, got, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, err := os.ReadFile("testdata/state-v1.bin")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:fixed+sha256Size])
	if b, err = os.ReadFile("testdata/state-v2.bin"); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parse("fuzz", bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		var tensors []Tensor
		for _, e := range file.head.Tensors {
			typ, err := e.storage()
			if err != nil {
				t.Fatal(err)
			}
			n, ok := bytesOf(typ, e.N, int64(len(b)))
			if !ok {
				t.Fatalf("%+v is more than the file", e)
			}
			tensors = append(tensors, Tensor{e.Name, typ, e.N, &block{bytes: make([]byte, n)}})
		}
		// Two tensors of one name and different lengths are the one thing left to refuse.
		_ = file.Read(tensors)
	})
}

const sha256Size = 32
