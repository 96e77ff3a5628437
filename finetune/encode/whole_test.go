package encode

import (
	"slices"
	"testing"
)

// ended is a vocabulary of bytes that adds tokens at both ends.
type ended struct {
	Tokenizer
	lead, end []int32
}

func (e ended) Encode(text string, addSpecial, _ bool) ([]int32, error) {
	var out []int32
	for _, b := range []byte(text) {
		out = append(out, int32(b))
	}
	if addSpecial {
		out = slices.Concat(e.lead, out, e.end)
	}
	return out, nil
}

// TestWhole: what is cut is the text, and not what the model expects at its end.
func TestWhole(t *testing.T) {
	bert, last, none := ended{lead: []int32{101}, end: []int32{102}}, ended{end: []int32{2}}, ended{}
	for _, tc := range []struct {
		name string
		of   ended
		most int
		want []int32
		long int
	}{
		{"it fits", bert, 5, []int32{101, 'a', 'b', 'c', 102}, 0},
		{"CLS and SEP", bert, 4, []int32{101, 'a', 'b', 102}, 5},
		{"EOS", last, 2, []int32{'a', 2}, 4},
		{"nothing is added", none, 2, []int32{'a', 'b'}, 3},
	} {
		got, long, err := Whole(tc.of, "abc", tc.most)
		if err != nil || long != tc.long || !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, %d, %v, want %v, %d", tc.name, got, long, err, tc.want, tc.long)
		}
	}
	if _, _, err := Whole(bert, "abc", 1); err == nil {
		t.Error("no room for a token: accepted")
	}
}
