package encode

import (
	"fmt"
	"sort"
	"strings"
)

// A fakeVocab tokenizes as llama.cpp does in outline: it cuts the text at control tokens, puts a space before each
// piece (if it is of the SPM kind), and takes the longest token at each place. A byte without a token is an error.
type fakeVocab struct {
	texts          []string
	control        map[int32]bool
	spacePrefix    bool
	addBOS         bool
	bos, eos, eot  int32
	rstrip, lstrip map[int32]bool
	encoded        []string // what Encode was asked for
}

// newFakeVocab has the bytes of ASCII, words with merges over spaces and line ends, and chat marks.
func newFakeVocab() *fakeVocab {
	v := &fakeVocab{control: map[int32]bool{}, rstrip: map[int32]bool{}, lstrip: map[int32]bool{}}
	add := func(s string, control bool) int32 {
		v.texts = append(v.texts, s)
		id := int32(len(v.texts) - 1)
		if control {
			v.control[id] = true
		}
		return id
	}
	v.bos = add("<s>", true)
	v.eos = add("</s>", true)
	add("<|im_start|>", true)
	v.eot = add("<|im_end|>", true)
	add("<|im", true) // a shorter one inside a longer one
	for b := byte(0); b < 128; b++ {
		add(string(b), false)
	}
	add("é", false)
	for _, w := range []string{" hello", "hello", "user", "assistant", "\nhe", "hi", ".\n", " w", " world", "  ",
		": hi", "<|", "|>", "im_end", "world"} {
		add(w, false)
	}
	return v
}

func (v *fakeVocab) BOS() int32 { return v.bos }
func (v *fakeVocab) EOS() int32 { return v.eos }
func (v *fakeVocab) EOT() int32 { return v.eot }
func (v *fakeVocab) IsEOG(id int32) bool {
	return id >= 0 && (id == v.eos || id == v.eot)
}
func (v *fakeVocab) AddBOS() bool { return v.addBOS }
func (v *fakeVocab) AddEOS() bool { return false }
func (v *fakeVocab) N() int       { return len(v.texts) }

func (v *fakeVocab) Piece(id int32, special bool) (string, error) {
	if v.control[id] && !special {
		return "", nil
	}
	return v.texts[id], nil
}

func (v *fakeVocab) Encode(text string, addSpecial, parseSpecial bool) ([]int32, error) {
	v.encoded = append(v.encoded, text)
	var out []int32
	if addSpecial && v.addBOS {
		out = append(out, v.bos)
	}
	type part struct {
		text string
		id   int32
	}
	parts := []part{{text, -1}}
	if parseSpecial {
		var ids []int32
		for id := range v.control {
			ids = append(ids, id)
		}
		sort.Slice(ids, func(i, j int) bool { return len(v.texts[ids[i]]) > len(v.texts[ids[j]]) })
		for _, id := range ids {
			var next []part
			for _, p := range parts {
				for p.id < 0 {
					i := strings.Index(p.text, v.texts[id])
					if i < 0 {
						break
					}
					left := p.text[:i]
					if v.lstrip[id] {
						left = strings.TrimRight(left, " \n\t")
					}
					next = append(next, part{left, -1}, part{"", id})
					p.text = p.text[i+len(v.texts[id]):]
					if v.rstrip[id] {
						p.text = strings.TrimLeft(p.text, " \n\t")
					}
				}
				next = append(next, p)
			}
			parts = next
		}
	}
	for _, p := range parts {
		if p.id >= 0 {
			out = append(out, p.id)
			continue
		}
		if p.text == "" {
			continue
		}
		if v.spacePrefix {
			p.text = " " + p.text
		}
		for len(p.text) > 0 {
			best := int32(-1)
			for i, t := range v.texts {
				if !v.control[int32(i)] && strings.HasPrefix(p.text, t) && (best < 0 || len(t) > len(v.texts[best])) {
					best = int32(i)
				}
			}
			if best < 0 {
				return nil, fmt.Errorf("character %q is not in the vocabulary", p.text[:1])
			}
			out = append(out, best)
			p.text = p.text[len(v.texts[best]):]
		}
	}
	return out, nil
}
