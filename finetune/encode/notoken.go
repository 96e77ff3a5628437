package encode

import (
	"regexp"

	"github.com/ggtune/ggtune/finetune/template"
)

// A NoToken is a mark of a chat template that the vocabulary has no token for.
type NoToken struct {
	Text   string
	Tokens int // that it takes as text; 0 where it cannot be written
}

// mark matches what published templates use control tokens for: <|im_start|>, DeepSeek's <｜User｜>, Gemma's turns, the
// beginning and end of a text. Marks in brackets are ordinary text to many models.
var mark = regexp.MustCompile(`<\|[^<>|\s]{1,64}\|>|<｜[^<>｜\s]{1,64}｜>|<(?:start|end)_of_turn>|</?s>`)

// NoTokens lists the marks that the template itself wrote and that are no tokens of the vocabulary. Each is given
// once in the life of the Encoder.
func (e *Encoder) NoTokens(r *template.Rendering) []NoToken {
	text := r.Text()
	var out []NoToken
	for _, at := range mark.FindAllStringIndex(text, -1) {
		m := text[at[0]:at[1]]
		if e.marks[m] || !r.Own(at[0], at[1]) {
			continue
		}
		if e.marks == nil {
			e.marks = map[string]bool{}
		}
		e.marks[m] = true
		if ids, err := e.tok.Encode(m, false, true); err != nil || len(ids) != 1 {
			out = append(out, NoToken{m, len(ids)})
		}
	}
	return out
}
