package llama_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/internal/testdata"
)

func loadVocab(t testing.TB, elem ...string) *llama.Vocab {
	t.Helper()
	v, err := llama.LoadVocab(testdata.Path(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// Every tokenizer's published test strings give the published ids.
func TestTokenizers(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testdata.Shared(t), "tokenizers", "*.gguf"))
	if err != nil || len(files) == 0 {
		t.Skipf("no tokenizers among the real data (%v)", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			inp, err := os.ReadFile(file + ".inp")
			if err != nil {
				t.Skip(err)
			}
			out, err := os.ReadFile(file + ".out")
			if err != nil {
				t.Fatal(err)
			}
			v, err := llama.LoadVocab(file)
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			texts := strings.Split(string(inp), "\n__ggml_vocab_test__\n")
			lines := strings.Split(string(out), "\n") // the last text is empty, and so is the last line
			if len(texts) != len(lines) {
				t.Fatalf("%d texts, %d lines of ids", len(texts), len(lines))
			}
			equal := 0
			for i, text := range texts {
				var want []int32
				for _, s := range strings.Fields(lines[i]) {
					id, err := strconv.Atoi(s)
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, int32(id))
				}
				got, err := v.Encode(text, false, false)
				if err != nil {
					t.Errorf("text %d %q: %v", i, text, err)
				} else if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("text %d %q: got %v, want %v", i, text, got, want)
				} else {
					equal++
				}
				// a tokenizer that loses nothing gives the text back
				if v.Type() == llama.VocabBPE {
					if back, err := v.Decode(got, true); err != nil || back != text {
						t.Errorf("text %d %q: decoded as %q (%v)", i, text, back, err)
					}
				}
			}
			t.Logf("%d of %d texts equal", equal, len(texts))
		})
	}
}

// The ids that another build of llama.cpp gives.
func TestReferenceIDs(t *testing.T) {
	for name, m := range references(t) {
		t.Run(name, func(t *testing.T) {
			v := loadVocab(t, "models", name)
			for text, want := range m.Tokens {
				got, err := v.Encode(text, true, true)
				if err != nil {
					t.Errorf("%q: %v", text, err)
				} else if diff := cmp.Diff(got, want); diff != "" {
					t.Errorf("%q: got -, want +:\n%s", text, diff)
				}
			}
		})
	}
}

type reference struct {
	Greedy map[string]string  `json:"greedy"`
	Tokens map[string][]int32 `json:"tokens_with_bos_if_the_model_adds_it"`
}

// references reads the real models' reference.json: by model file, what another build of llama.cpp gives.
func references(t *testing.T) map[string]reference {
	t.Helper()
	b, err := os.ReadFile(testdata.Path(t, "models", "reference.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Models map[string]reference `json:"models"`
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for name, m := range all.Models {
		if len(m.Tokens) == 0 || !strings.HasSuffix(name, ".gguf") {
			delete(all.Models, name)
		}
	}
	if len(all.Models) == 0 {
		t.Fatal("reference.json names no model with token ids")
	}
	return all.Models
}

func TestVocabFacts(t *testing.T) {
	v := loadVocab(t, "models", "stories260K", "stories260K-f32.gguf")
	type facts struct {
		Type           llama.VocabType
		N              int
		BOS, EOS, UNK  int32
		AddBOS, AddEOS bool
	}
	got := facts{v.Type(), v.N(), v.BOS(), v.EOS(), v.UNK(), v.AddBOS(), v.AddEOS()}
	if diff := cmp.Diff(got, facts{llama.VocabSPM, 512, 1, 2, 0, true, false}); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	for id, want := range map[int32]bool{1: false, 2: true, 100: false, -1: false, 512: false} {
		if got := v.IsEOG(id); got != want {
			t.Errorf("IsEOG(%d): got %v, want %v", id, got, want)
		}
	}
	if !v.IsControl(1) || v.IsControl(300) || !v.IsByte(3) || v.IsByte(300) {
		t.Error("control and byte tokens are not told from others")
	}
	if s, err := v.Piece(1, true); err != nil || s != "<s>" {
		t.Errorf("Piece(1, true): got %q, %v; want \"<s>\"", s, err)
	}
	if s, err := v.Piece(1, false); err != nil || s != "" {
		t.Errorf("Piece(1, false): got %q, %v; want nothing", s, err)
	}
	for _, id := range []int32{-1, 512, 1 << 30} {
		if _, err := v.Piece(id, true); err == nil {
			t.Errorf("Piece(%d) gave no error", id)
		}
		if _, err := v.Decode([]int32{5, id}, true); err == nil || !strings.Contains(err.Error(), "index 1") {
			t.Errorf("Decode with token %d: got error %v, want one that names index 1", id, err)
		}
	}
}

func TestEncodeOddTexts(t *testing.T) {
	vocabs := map[string][]string{
		"spm": {"models", "stories260K", "stories260K-f32.gguf"},
		"bpe": {"models", "cardputer-chat-3M", "cardputer-chat-3M-q8_0.gguf"},
		"wpm": {"tokenizers", "ggml-vocab-bert-bge.gguf"},
	}
	for name, path := range vocabs {
		t.Run(name, func(t *testing.T) {
			v := loadVocab(t, path...)
			if got, err := v.Encode("", false, true); err != nil || len(got) != 0 {
				t.Errorf("empty text: got %v, %v; want no token", got, err)
			}
			if _, err := v.Encode("", true, true); err != nil {
				t.Errorf("empty text with special tokens: %v", err)
			}
			for _, text := range []string{"a\x00b", "\x00", strings.Repeat(" ", 1000), "\u2028\ufffd\U0010ffff",
				"é\r\n\t世界🙂"} {
				ids, err := v.Encode(text, true, true)
				if err != nil {
					t.Errorf("%q: %v", text, err)
					continue
				}
				back, err := v.Decode(ids, false)
				if name == "spm" {
					back = strings.TrimPrefix(back, " ") // the space that SPM puts first
				}
				if err != nil || name != "wpm" && back != text {
					t.Errorf("%q: decoded as %q (%v)", text, back, err)
				}
			}
			for text, offset := range map[string]int{"\xff": 0, "ab\xc3": 2, "é\xed\xa0\x80": 2, "a\xc0\x80": 1} {
				var e *llama.UnencodableError
				if _, err := v.Encode(text, false, false); !errors.As(err, &e) || e.Offset != offset {
					t.Errorf("%q: got error %v, want an UnencodableError at %d", text, err, offset)
				}
			}
		})
	}
}

// A vocabulary without byte tokens: llama.cpp throws for what it lacks.
func TestEncodeUnencodable(t *testing.T) {
	v := loadVocab(t, "models", "TinyStories-656K", "TinyStories-656K-f32.gguf")
	for text, want := range map[string]llama.UnencodableError{
		"Once upon a time é": {17, "é"},
		"世":                  {0, "世"},
		"a {b}":              {2, "{"},
		"ok \U0001f642, {":   {3, "\U0001f642"},
	} {
		_, err := v.Encode(text, true, true)
		var e *llama.UnencodableError
		if !errors.As(err, &e) || *e != want {
			t.Errorf("%q: got error %v, want %v", text, err, &want)
		}
	}
	if _, err := v.Encode("Once upon a time", true, true); err != nil {
		t.Errorf("after an error: %v", err)
	}
}

func TestLoadVocabErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	header := "GGUF\x03\x00\x00\x00" // version 3
	for name, path := range map[string]string{
		"missing":     filepath.Join(dir, "none.gguf"),
		"directory":   dir,
		"empty name":  "",
		"zero byte":   "a\x00b",
		"empty file":  write("empty", nil),
		"not a GGUF":  write("text", []byte("hello, this is no model\n")),
		"magic only":  write("magic", []byte("GGUF")),
		"huge counts": write("huge", []byte(header+strings.Repeat("\xff", 16))),
		"no metadata": write("bare", []byte(header+strings.Repeat("\x00", 16))),
		"endless keys": write("keys",
			[]byte(header+strings.Repeat("\x00", 8)+"\x01\x00\x00\x00\x00\x00\x00\x00"+strings.Repeat("\xff", 8))),
	} {
		v, err := llama.LoadVocab(path)
		if err == nil {
			v.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		if s := err.Error(); strings.Contains(s, "no reason was given") || strings.Contains(s, "internal check") {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s: %v", name, err)
	}
}

func TestVocabClose(t *testing.T) {
	v, err := llama.LoadVocab(testdata.Path(t, "models", "stories260K", "stories260K-f32.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := v.Encode("a", false, false); !errors.Is(err, bindings.ErrClosed) {
		t.Errorf("Encode after Close: got %v, want ErrClosed", err)
	}
	if _, err := v.Decode([]int32{1}, false); !errors.Is(err, bindings.ErrClosed) {
		t.Errorf("Decode after Close: got %v, want ErrClosed", err)
	}
	if _, err := v.Piece(1, false); !errors.Is(err, bindings.ErrClosed) {
		t.Errorf("Piece after Close: got %v, want ErrClosed", err)
	}
	var none *llama.Vocab
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}
