package hub

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxPiece is the most bytes of a piece that SentencePiece's trainer makes: each of its splits is looked up.
const maxPiece = 512

// A split is a token as two others.
type split struct {
	left, right string
	token       int
}

// mergesOfScores lists the merges by which tokenizers joins what llama.cpp joins by scores: each token of each two
// others, by falling score. llama.cpp joins those of one score from the left, which a list of merges can say of runs of
// one character alone (Llama 2's blanks are such): the longer the left part, the earlier, so that the first run grows.
func (v *vocabulary) mergesOfScores() ([]string, error) {
	ids := map[string]bool{}
	var order []int
	for id, token := range v.tokens {
		if v.added(id) || v.kinds[id] == tokenByte {
			continue
		}
		if len(token) > maxPiece || v.scores[id] != v.scores[id] {
			return nil, fmt.Errorf("token %d has %d bytes and the score %v; SentencePiece's have at most %d, and a "+
				"number", id, len(token), v.scores[id], maxPiece)
		}
		ids[token] = true
		order = append(order, id)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(v.scores[b], v.scores[a]) })
	var all, group []split // group: of one score
	for i, id := range order {
		token := v.tokens[id]
		for at := len(token) - 1; at > 0; at-- {
			if ids[token[:at]] && ids[token[at:]] {
				group = append(group, split{token[:at], token[at:], id})
			}
		}
		if i < len(order)-1 && v.scores[order[i+1]] == v.scores[id] {
			continue
		}
		if err := v.arrange(group); err != nil {
			return nil, err
		}
		all, group = append(all, group...), nil
	}
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = s.left + " " + s.right
	}
	return out, nil
}

// arrange orders the splits of tokens with one score, or refuses them.
func (v *vocabulary) arrange(group []split) error {
	for _, s := range group {
		first, token := v.tokens[group[0].token], v.tokens[s.token]
		if s.token != group[0].token && !(run(first) == run(token) && run(token) != utf8.RuneError) {
			return fmt.Errorf("the tokenizer cannot be carried over exactly: the tokens %q and %q have one score, %v, "+
				"and tokenizer.json has an order for all", first, token, v.scores[s.token])
		}
	}
	slices.SortStableFunc(group, func(a, b split) int {
		return cmp.Or(cmp.Compare(len(b.left), len(a.left)), cmp.Compare(len(b.right), len(a.right)))
	})
	return nil
}

// run is the character of a token that holds only it, or utf8.RuneError.
func run(token string) rune {
	r, _ := utf8.DecodeRuneInString(token)
	if strings.Trim(token, string(r)) != "" {
		return utf8.RuneError
	}
	return r
}
