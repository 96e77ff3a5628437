package llama_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// Any text is either encoded without loss or refused with the place that cannot be: nothing asserts, nothing is
// dropped.
func FuzzEncode(f *testing.F) {
	vocabs := map[string]*llama.Vocab{}
	for _, arch := range []string{"gpt2", "llama"} {
		v, err := llama.LoadVocab(synth.Temp(f, synth.Tiny(arch, gguf.F32)))
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { v.Close() })
		vocabs[arch] = v
	}
	for _, s := range []string{"", "a", " a  b\n", "é世界🙂", "\x00", "\xff", "a\xc3", "<s></s><unk>", "<0x41>", "▁",
		"\u2028\ufeff", strings.Repeat("ab ", 900)} {
		f.Add(s, true, true)
		f.Add(s, false, false)
	}
	f.Fuzz(func(t *testing.T, text string, addSpecial, parseSpecial bool) {
		for arch, v := range vocabs {
			ids, err := v.Encode(text, addSpecial, parseSpecial)
			var u *llama.UnencodableError
			if err != nil {
				if addSpecial && !errors.As(err, &u) {
					continue // a model that asks for a token it does not name
				}
				if !errors.As(err, &u) || u.Offset < 0 || u.Offset >= len(text) ||
					!strings.HasPrefix(text[u.Offset:], u.Char) {
					t.Fatalf("%s: %q: got error %v, want one that says where", arch, text, err)
				}
				continue
			}
			if !utf8.ValidString(text) {
				t.Fatalf("%s: %q is not UTF-8, and was encoded", arch, text)
			}
			if addSpecial || parseSpecial {
				continue // control tokens have no text of their own
			}
			back, err := v.Decode(ids, true)
			if err != nil {
				t.Fatal(err)
			}
			if v.Type() == llama.VocabSPM {
				// SPM puts a space first, and does not tell spaces from the character it writes for them
				back, text = strings.TrimPrefix(back, " "), strings.ReplaceAll(text, "▁", " ")
			}
			if back != text {
				t.Errorf("%s: %q came back as %q", arch, text, back)
			}
		}
	})
}
