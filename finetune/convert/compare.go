package convert

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/hub"
)

// compared is the text that both encode: what tokenizers disagree on, and some ordinary sentences.
const compared = "Hello, world!  It's 3 o'clock; we'll see what they've DONE, I'D say: 33 333 3333 33333.3\n" +
	"\tdef f(x):\n\t\treturn [x + 1, \"two\"]  # one more\n\n\n   three blanks,\r\n and \n \n\n more\t \t\n" +
	"Straße, déjà vu, 我想在这里吃饭, नमस्ते, Привет, こんにちは, ½ of 10²; 🙂🚀👩‍💻 (fine) ... !!! ???\n" +
	"https://example.org/a_b?c=d&e=100%25 <b>bold</b> {\"key\": [1, 2, null]} snake_case camelCase ABC'S 'twas\n" +
	"Once upon a time there was a little cow. She lived on a farm, and every day she ate 12345 straws. "

// compareTokenizer has llama.cpp encode a text with the vocabulary of a file, and the definition in tokenizer.json;
// then each added token between words. n is how many tokens both made. What differs is refused, but for llama.cpp's own
// rule for blanks of vocabularies with scores, and for what it does with accents, which no file can change: that is
// noted. input is what is converted.
func compareTokenizer(input string, t *hub.Tokenizer, v *llama.Vocab) (n int, notes []string, err error) {
	refuse := func(difference string) error {
		return fmt.Errorf("%s: llama.cpp reads a text otherwise than tokenizer.json: %s; the model would be fed "+
			"what it never saw, and is not converted", input, difference)
	}
	for _, text := range append([]string{compared}, strings.SplitAfter(compared, "\n")...) {
		k, difference, err := compareText(t, v, text)
		if err == nil && difference != "" && t.ByWords() {
			notes = []string{"this llama.cpp reads accents that stand apart from their letters, where tokenizer.json " +
				"leaves them out; newer ones leave them out too: " + difference}
			k, difference, err = compareText(t, v, hub.WithoutMarks(text))
		}
		if err != nil {
			return n, nil, err
		}
		if difference != "" {
			return n, nil, refuse(difference)
		}
		n += k
	}
	if n == 0 {
		return n, nil, fmt.Errorf("%s: the vocabulary has no tokens for any line of the text by which llama.cpp's "+
			"reading is compared with tokenizer.json; it is not converted", input)
	}
	for _, token := range t.Control() {
		for _, text := range []string{token, token + token, "a " + token + " b", "a" + token + "b\n" + token} {
			k, difference, err := compareText(t, v, text)
			switch {
			case err != nil:
				return n, notes, err
			case difference != "" && !t.ByScores():
				return n, notes, refuse(difference)
			case difference != "":
				note := "beside added tokens llama.cpp has other blanks than tokenizer.json: " + difference
				return n, append(notes, note), nil // it is the same for all
			}
			n += k
		}
	}
	return n, notes, nil
}

// compareText encodes a text both ways; difference is "" where they agree.
func compareText(t *hub.Tokenizer, v *llama.Vocab, text string) (n int, difference string, err error) {
	want, err := t.Encode(text)
	if err != nil {
		return 0, "", err
	}
	got, err := v.Encode(text, false, true)
	var cannot *llama.UnencodableError
	if errors.As(err, &cannot) && slices.Contains(want, -1) {
		return 0, "", nil // neither has a token for it
	}
	if err == nil && !slices.Equal(got, want) {
		difference = firstDifference(v, got, want)
	}
	return len(got), difference, err
}

// firstDifference shows where two encodings part.
func firstDifference(v *llama.Vocab, got, want []int32) string {
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	show := func(ids []int32) string {
		var out []string
		for _, id := range ids[at:min(len(ids), at+4)] {
			piece, err := v.Piece(id, true)
			if err != nil {
				piece = "?"
			}
			out = append(out, fmt.Sprintf("%d %q", id, piece))
		}
		return strings.Join(out, ", ")
	}
	before, err := v.Decode(got[:at], true)
	if err != nil {
		before = "?"
	}
	return fmt.Sprintf("behind %q llama.cpp has %s, and the definition %s", before[max(0, len(before)-20):], show(got),
		show(want))
}
