package gguf

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckTokenizer(t *testing.T) {
	for _, tt := range []struct {
		name  string
		set   func(w *Writer)
		is    error
		words string
	}{
		{"good", func(w *Writer) {}, nil, ""},
		{"no scores", func(w *Writer) { w.Delete(keyTokScores) }, nil, ""},
		{"no model", func(w *Writer) { w.Delete(keyTokModel) }, ErrNoTokenizer, keyTokModel},
		{"no tokens", func(w *Writer) { w.Delete(keyTokTokens) }, ErrNoTokenizer, keyTokTokens},
		{"model of another type", func(w *Writer) { w.SetUint32(keyTokModel, 1) }, ErrMalformed,
			"is uint32, expected string"},
		{"tokens of another type", func(w *Writer) { w.Set(keyTokTokens, NumbersValue([]int32{1})) }, ErrMalformed,
			"array of 1 int32"},
		{"tokens no array", func(w *Writer) { w.SetString(keyTokTokens, "a") }, ErrMalformed, "is string"},
		{"tokens empty", func(w *Writer) { w.SetStrings(keyTokTokens, nil) }, ErrMalformed, "array of 0 string"},
		{"doubled", func(w *Writer) { w.SetStrings(keyTokTokens, []string{"a", "b", "a"}) }, ErrMalformed,
			`tokens 0 and 2 are both "a"`},
		{"empty tokens differ", func(w *Writer) { w.SetStrings(keyTokTokens, []string{"", "", "a"}) }, nil, ""},
		{"stand-in taken", func(w *Writer) { w.SetStrings(keyTokTokens, []string{"[EMPTY_1]", "", "a"}) }, ErrMalformed,
			"EMPTY_1"},
		{"short scores", func(w *Writer) { w.Set(keyTokScores, NumbersValue([]float32{1, 2})) }, ErrMalformed,
			"at least 3 float32"},
		{"scores of another type", func(w *Writer) { w.Set(keyTokScores, NumbersValue([]float64{1, 2, 3})) },
			ErrMalformed, "at least 3 float32"},
		{"short types", func(w *Writer) { w.Set(keyTokTypes, NumbersValue([]int32{1})) }, ErrMalformed,
			"at least 3 int32"},
		{"types of bytes", func(w *Writer) { w.Set(keyTokTypes, NumbersValue([]int8{1, 1, 1})) }, ErrMalformed,
			"at least 3 int32"},
		{"a short charsmap", func(w *Writer) { w.Set(keyTokChars, NumbersValue([]uint8{4, 0, 0})) }, ErrMalformed,
			"3 bytes"},
		{"a charsmap without texts", func(w *Writer) {
			w.Set(keyTokChars, NumbersValue([]uint8{4, 0, 0, 0, 1, 1, 1, 1}))
		}, ErrMalformed, "no text ends with a 0"},
		{"a charsmap of half a unit", func(w *Writer) {
			w.Set(keyTokChars, NumbersValue([]uint8{2, 0, 0, 0, 1, 1, 1, 0}))
		}, ErrMalformed, "no text ends with a 0"},
		{"a charsmap whose last text goes on", func(w *Writer) {
			w.Set(keyTokChars, NumbersValue([]int8{0, 0, 0, 0, 1, 0, 1}))
		}, ErrMalformed, "no text ends with a 0"},
		{"charsmaps", func(w *Writer) {
			w.Set(keyTokChars, NumbersValue([]uint8{4, 0, 0, 0, 1, 1, 1, 1, 0}))
		}, nil, ""},
		{"no charsmap", func(w *Writer) { w.Set(keyTokChars, NumbersValue([]uint8{})) }, nil, ""},
		{"merges no strings", func(w *Writer) { w.Set(keyTokMerges, NumbersValue([]int8{1})) }, ErrMalformed,
			keyTokMerges},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &Writer{}
			w.SetString(keyTokModel, "llama")
			w.SetStrings(keyTokTokens, []string{"a", "b", "c"})
			w.Set(keyTokScores, NumbersValue([]float32{0, 0, 0}))
			w.Set(keyTokTypes, NumbersValue([]int32{1, 1, 1}))
			tt.set(w)
			err := open(t, encode(t, w)).CheckTokenizer()
			if !errors.Is(err, tt.is) || tt.is != nil && !strings.Contains(err.Error(), tt.words) {
				t.Errorf("got %v, want %v with %q", err, tt.is, tt.words)
			}
		})
	}
}
