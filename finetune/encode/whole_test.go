package encode

import (
	"slices"
	"strings"
	"testing"
)

// ended is a vocabulary of bytes, but for those of the space without a width, that adds tokens at both ends.
type ended struct {
	Tokenizer
	lead, end []int32
}

func (e ended) Encode(text string, addSpecial, _ bool) ([]int32, error) {
	var out []int32
	for _, b := range []byte(strings.ReplaceAll(text, "\u200b", "")) {
		out = append(out, int32(b))
	}
	if addSpecial {
		out = slices.Concat(e.lead, out, e.end)
	}
	return out, nil
}

// A counting tokenizer counts what it is asked to encode.
type counting struct {
	ended
	n *int
}

func (c counting) Encode(text string, addSpecial, special bool) ([]int32, error) {
	*c.n++
	return c.ended.Encode(text, addSpecial, special)
}

// TestWholesOnce: what a prefix is alone is encoded once, whatever the number of texts behind it.
func TestWholesOnce(t *testing.T) {
	n := 0
	w := NewWholes(counting{ended{lead: []int32{101}, end: []int32{102}}, &n})
	for _, prefix := range []string{"q", "", "q", "q", ""} {
		if _, _, err := w.Encode(prefix, "abc", 9); err != nil {
			t.Fatal(err)
		}
	}
	if n != 5+2 {
		t.Errorf("5 texts behind 2 prefixes were encoded in %d calls, want 7", n)
	}
}

// TestWhole: what is cut is the text, and not what the model expects at its ends, and something of the text is left.
func TestWhole(t *testing.T) {
	bert, last, none := ended{lead: []int32{101}, end: []int32{102}}, ended{end: []int32{2}}, ended{}
	for _, tc := range []struct {
		name         string
		of           ended
		prefix, text string
		most         int
		want         []int32
		long         int
		err          string
	}{
		{"it fits", bert, "", "abc", 5, []int32{101, 'a', 'b', 'c', 102}, 0, ""},
		{"CLS and SEP", bert, "", "abc", 4, []int32{101, 'a', 'b', 102}, 5, ""},
		{"CLS and SEP alone", bert, "", "abc", 2, nil, 0, "of the text's 5 tokens 2 are read, and there is no room"},
		{"less than these", bert, "", "abc", 1, nil, 0, "there is no room"},
		{"a prefix", bert, "q", "abc", 4, []int32{101, 'q', 'a', 102}, 6, ""},
		{"a prefix alone", bert, "q", "abc", 3, nil, 0, "beside the 3 of what stands before and behind every text"},
		{"EOS", last, "", "abc", 2, []int32{'a', 2}, 4, ""},
		{"EOS alone", last, "", "abc", 1, nil, 0, "there is no room"},
		{"nothing is added", none, "", "abc", 2, []int32{'a', 'b'}, 3, ""},
		{"no letter", bert, "q", " \n", 9, nil, 0, "the text is empty"},
		{"no token", bert, "q", "\u200b", 9, nil, 0, `makes no token of the text "\u200b"`},
	} {
		got, long, err := NewWholes(tc.of).Encode(tc.prefix, tc.text, tc.most)
		if long != tc.long || !slices.Equal(got, tc.want) || (err == nil) != (tc.err == "") ||
			err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: got %v, %d, %v, want %v, %d, %s", tc.name, got, long, err, tc.want, tc.long, tc.err)
		}
	}
}
