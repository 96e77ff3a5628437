package hub

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
)

// fairseqFolder is a copy of the recorded folder that has SentencePiece's model, as fairseq has it, beside or in place
// of tokenizer.json.
func fairseqFolder(t testing.TB, alone bool, change func([]byte) []byte) string {
	t.Helper()
	dir := copied(t, "xlmr")
	b, err := os.ReadFile(recorded + "xlmr.bpe.model")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		b = change(b)
	}
	if err := os.WriteFile(filepath.Join(dir, fairseqFile), b, 0o666); err != nil {
		t.Fatal(err)
	}
	if alone {
		if err := os.Remove(filepath.Join(dir, tokenizerFile)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestFairseq: SentencePiece's model alone, and with tokenizer.json, give the same file as tokenizer.json; and so do
// the forms that tokenizer.json has had, and names of a model with a head.
func TestFairseq(t *testing.T) {
	want, err := convert(recorded+"xlmr", gguf.F32)
	if err != nil {
		t.Fatal(err)
	}
	blanks := func(normal ...any) func(dir string) {
		return func(dir string) {
			edit(t, filepath.Join(dir, tokenizerFile), func(m map[string]any) {
				m["normalizer"] = map[string]any{"type": "Sequence",
					"normalizers": append([]any{m["normalizer"]}, normal...)}
				m["pre_tokenizer"] = map[string]any{"type": "Metaspace", "replacement": "▁", "add_prefix_space": true}
			})
		}
	}
	runs := map[string]any{"type": "Replace", "pattern": map[string]any{"Regex": " {2,}"}, "content": "▁"}
	strip := map[string]any{"type": "Strip", "strip_left": false, "strip_right": true}
	for name, tt := range map[string]struct {
		dir    string
		change func(dir string)
		note   string
	}{
		"alone": {fairseqFolder(t, true, nil), func(dir string) {
			edit(t, filepath.Join(dir, tokenizerConfigFile), func(m map[string]any) {
				delete(m, "bos_token")
				delete(m, "mask_token")
			})
		}, ""},
		"both":    {fairseqFolder(t, false, nil), func(string) {}, ""},
		"newer":   {copied(t, "xlmr"), blanks(strip, runs), ""},
		"between": {copied(t, "xlmr"), blanks(runs), "blanks at the end of a text are a token"},
		"older": {copied(t, "xlmr"), func(dir string) {
			edit(t, filepath.Join(dir, tokenizerFile), func(m map[string]any) {
				delete(m["model"].(map[string]any), "type")
			})
		}, ""},
		"a head": {copied(t, "xlmr"), func(dir string) {
			rename(t, dir, func(n string) string { return "roberta." + n })
		}, ""},
	} {
		tt.change(tt.dir)
		if got, err := convert(tt.dir, gguf.F32); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes (%v), want the same %d", name, len(got), err, len(want))
		}
		f, err := Open(tt.dir)
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(f.Notes(), "\n")
		if !strings.Contains(notes, `before texts of the kind "query" stands "query: "`) ||
			strings.Contains(notes, "blanks at the end") != (tt.note != "") || !strings.Contains(notes, tt.note) {
			t.Errorf("%s: notes %q", name, notes)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRefusesUnigrams: what llama.cpp would read otherwise, and what does not fit together.
func TestRefusesUnigrams(t *testing.T) {
	set := func(file, key string, v any) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, file), func(m map[string]any) { m[key] = v })
		}
	}
	inModel := func(key string, v any) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, tokenizerFile), func(m map[string]any) { m["model"].(map[string]any)[key] = v })
		}
	}
	more := func(token ...any) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, tokenizerFile), func(m map[string]any) {
				model := m["model"].(map[string]any)
				model["vocab"] = append(model["vocab"].([]any), token)
			})
		}
	}
	metaspace := func(scheme string) map[string]any {
		return map[string]any{"type": "Sequence", "pretokenizers": []any{map[string]any{"type": "WhitespaceSplit"},
			map[string]any{"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme}}}
	}
	charsmap := func(b ...byte) map[string]any {
		return map[string]any{"type": "Precompiled", "precompiled_charsmap": base64.StdEncoding.EncodeToString(b)}
	}
	for name, tt := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string
	}{
		"a decoder":       {set(configFile, "architectures", []string{"XLMRobertaForCausalLM"}), "XLMRobertaModel"},
		"no rows":         {set(configFile, "pad_token_id", 65), "behind which positions begin"},
		"half a token":    {set(configFile, "pad_token_id", 0.5), "pad_token_id is 0.5"},
		"lower case":      {set(tokenizerFile, "normalizer", map[string]any{"type": "Lowercase"}), `"Lowercase"`},
		"the first alone": {set(tokenizerFile, "pre_tokenizer", metaspace("first")), "words begin without one"},
		"kept blanks": {set(tokenizerFile, "pre_tokenizer", metaspace("")["pretokenizers"].([]any)[1]),
			"blanks are kept"},
		"a short charsmap": {set(tokenizerFile, "normalizer", charsmap(1)), "it has 1 bytes"},
		"an endless map":   {set(tokenizerFile, "normalizer", charsmap(4, 0, 0, 0, 1, 1, 1, 1, 1)), "no text ends"},
		"no base64": {set(tokenizerFile, "normalizer", map[string]any{"type": "Precompiled",
			"precompiled_charsmap": "!"}), "illegal base64"},
		"bytes":             {inModel("byte_fallback", true), "byte_fallback"},
		"nothing unknown":   {inModel("unk_id", nil), "unk_id names none"},
		"another unknown":   {inModel("unk_id", 4000), "unk_id names none"},
		"an object":         {inModel("vocab", map[string]any{"a": 1}), "tokenizer.json"},
		"words of a phrase": {more("▁the▁cow", -3), "goes on behind a word"},
		"a token twice":     {more("<s>", -3), `are both "<s>"`},
		"no score":          {more("x"), "has 1 parts"},
		"no number":         {more("x", "y"), "expected a text and its score"},
		"beyond f32":        {more("x", 1e300), "expected a text and its score"},
		"a long token":      {more(strings.Repeat("x", 600), -3), "600 bytes"},
		"a token too many":  {set(configFile, "vocab_size", 20), "the model has 20 tokens"},
		"odd prompts":       {set(sentenceFile, "prompts", []any{1}), sentenceFile},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, "xlmr")
			tt.change(t, dir)
			_, err := convert(dir, gguf.F32)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	for name, tt := range map[string]struct {
		alone  bool
		change func(b []byte) []byte
		want   string
	}{
		"a BPE": {true, func(b []byte) []byte {
			return append(b, message(nil, modelTrainer, message(nil, trainerType, 2))...)
		}, "it is no Unigram"},
		"kept blanks": {true, func(b []byte) []byte {
			return append(b, message(nil, modelNormalizer, message(nil, normalizerRW, 0))...)
		}, "blanks are kept"},
		"suffixes": {true, func(b []byte) []byte {
			return append(b, message(nil, modelTrainer, message(nil, trainerSuffix, 1))...)
		}, "to the word before"},
		"a byte": {true, func(b []byte) []byte {
			piece := message(message(nil, pieceText, []byte("<0x00>")), pieceKind, 6)
			return append(b, message(nil, modelPieces, piece)...)
		}, "an unknown one, two of control, and ordinary ones"},
		"a piece twice": {true, func(b []byte) []byte {
			return append(b, message(nil, modelPieces, message(nil, pieceText, []byte("<pad>")))...)
		}, `"<pad>", as token 1`},
		"another's": {false, func(b []byte) []byte {
			return append(b, message(nil, modelPieces, message(nil, pieceText, []byte("other")))...)
		}, "remove the file that is not the model's"},
		"half a file": {true, func([]byte) []byte { return []byte{10, 200} }, "no model of SentencePiece's"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := convert(fairseqFolder(t, tt.alone, tt.change), gguf.F32)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// A pieceRecording is what others made of texts with the recorded Unigram (scripts/record_hub.py).
type pieceRecording struct {
	Texts         []string
	IDs           [][]int32 // Hugging Face's tokenizers
	SentencePiece [][]int32
}

// TestUnigram: the reading of Unigrams gives what SentencePiece gave, in many languages, and what Hugging Face's
// tokenizers gave, but for letters whose marks stand apart: of two marks one gets lost there, and kana stay apart.
func TestUnigram(t *testing.T) {
	var theirs pieceRecording
	if err := readJSON(recorded+"xlmr.words.json", maxConfig, &theirs); err != nil {
		t.Fatal(err)
	}
	f, err := Open(recorded + "xlmr")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var apart []string
	for i, text := range theirs.Texts {
		want := theirs.IDs[i]
		if !slices.Equal(want, theirs.SentencePiece[i]) && !strings.Contains(text, "<s>") {
			apart, want = append(apart, text), theirs.SentencePiece[i]
		}
		if got, err := f.Tokenizer.Encode(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	want := []string{"  ｶﾞＡＢ１ ½ ﬁn…\u3000a\u00a0b\u200bc\ufeffd\x07e", "a\u0323\u0302m a\u0323 ậm", "か\u3099き",
		"e\u0301\u0323 x"}
	if !slices.Equal(apart, want) {
		t.Errorf("tokenizers and SentencePiece disagree on %q, want on %q", apart, want)
	}
}

// FuzzCharsmap: no map panics.
func FuzzCharsmap(f *testing.F) {
	b := binary.LittleEndian.AppendUint32(nil, 12)
	f.Add(append(b, 0, 4, 0, 0, 'a', 5, 0, 0, 0, 0, 0, 0x80, 'b', 0), "aab")
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		if c, err := parseCharsmap(b); err == nil {
			c.replace(text)
		}
	})
}
