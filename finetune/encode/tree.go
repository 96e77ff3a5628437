package encode

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
)

// A Child is one continuation in a tree of token runs.
type Child struct {
	Tokens  []int32
	Counted []bool
}

// Tree makes an Item of a shared prompt, which does not count, and its continuations: a preference pair is one prompt
// and two children. Each child's first token is predicted from the prompt's last; the prompt must not be empty.
func Tree(src data.Source, prompt []int32, children ...Child) (Item, error) {
	if len(prompt) == 0 {
		return Item{}, fmt.Errorf("%s: the prompt has no token; a tree needs one, its root", src)
	}
	it := Item{Source: src, Segments: []engine.Segment{{Start: 0, Len: len(prompt), Parent: -1}}}
	it.Tokens = append(it.Tokens, prompt...)
	it.Counted = make([]bool, len(prompt))
	for i, c := range children {
		if len(c.Tokens) == 0 || len(c.Tokens) != len(c.Counted) {
			return Item{},
				fmt.Errorf("%s: answer %d has %d tokens and %d marks; need as many of each, at least one", src, i+1,
					len(c.Tokens), len(c.Counted))
		}
		it.Segments = append(it.Segments, engine.Segment{Start: len(it.Tokens), Len: len(c.Tokens), Parent: 0})
		it.Tokens = append(it.Tokens, c.Tokens...)
		it.Counted = append(it.Counted, c.Counted...)
	}
	return it, nil
}

// ErrBare is wrapped by the error of an example whose answers begin with the row's first token.
var ErrBare = errors.New("its answers have no token before them to be predicted from")

// Siblings makes one tree of plain items that begin with the same prompt, one child for each. What they share is found
// by their tokens, not by the prompt's text: a token may straddle the border. The root ends before the first token that
// counts in any of them, so that each child holds its whole answer; along the tree every item reads as it did alone.
func Siblings(src data.Source, items ...Item) (Item, error) {
	first := &items[0]
	shared := len(first.Tokens)
	for i := range items {
		it := &items[i]
		answer := slices.Index(it.Counted, true)
		if answer < 0 {
			return Item{}, fmt.Errorf("%s: no token of answer %d counts: nothing could be learned from it; give it a "+
				"text, or remove the example", src, i+1)
		}
		shared = min(shared, answer)
		for k := range shared {
			if it.Tokens[k] != first.Tokens[k] {
				shared = k
				break
			}
		}
	}
	if shared == 0 {
		return Item{},
			fmt.Errorf("%s: %w: the prompt is empty, or a part of their first token, and the model expects no "+
				"beginning-of-text token; give the example a longer prompt, or remove it", src, ErrBare)
	}
	children := make([]Child, len(items))
	for i, it := range items {
		children[i] = Child{it.Tokens[shared:], it.Counted[shared:]}
	}
	return Tree(src, first.Tokens[:shared], children...)
}
