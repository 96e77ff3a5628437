package encode

import (
	"errors"
	"slices"
)

// Whole gives the tokens of a text of which one vector is made, as llama.cpp's server has them: with what the model
// expects at both ends (BOS, EOS, CLS, SEP), and the texts of control tokens read as those tokens. Of a text of more
// than most tokens the end is left out, but for what the model expects there; long is then how many it has, and else
// 0.
func Whole(tok Tokenizer, text string, most int) (tokens []int32, long int, err error) {
	if tokens, err = tok.Encode(text, true, true); err != nil {
		return nil, 0, err
	}
	if len(tokens) <= most {
		return tokens, 0, nil
	}
	bare, err := tok.Encode(text, false, true)
	if err != nil {
		return nil, 0, err
	}
	// What the vocabulary adds stands around the text's own tokens.
	ends := 0
	for lead := 0; lead+len(bare) <= len(tokens); lead++ {
		if slices.Equal(tokens[lead:lead+len(bare)], bare) {
			ends = len(tokens) - lead - len(bare)
			break
		}
	}
	if most <= ends {
		return nil, 0, errors.New("there is no room for a token of the text; give longer rows (--seq-len)")
	}
	return slices.Concat(tokens[:most-ends], tokens[len(tokens)-ends:]), len(tokens), nil
}
