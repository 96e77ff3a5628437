package reward

import (
	"encoding/json"

	"github.com/ggtune/ggtune/finetune/data"
)

// UnknownTokens is the Sample.Tokens of an answer that nobody has counted. A reward that reads them refuses it.
const UnknownTokens = -1

// Given makes samples of the answers in an example: one for an answer, two for a pair, whose chosen one comes first.
// Plain text has none. A prompt stands there as it is in the data: literal text, or of a conversation the last turn.
func Given(x *data.Example, row map[string]json.RawMessage) []Sample {
	s := Sample{Source: x.Source.String(), Prompt: x.Prompt, Tokens: UnknownTokens, Ended: true, Row: row}
	var out []Sample
	add := func(answer string, cutOff bool) {
		one := s
		one.Answer, one.Ended = answer, !cutOff
		out = append(out, one)
	}
	ask := func(turns []data.Message) {
		if s.Messages = turns; len(turns) > 0 {
			s.Prompt = turns[len(turns)-1].Content
		}
	}
	switch x.Kind {
	case data.KindCompletion:
		add(x.Completion, false)
	case data.KindMessages:
		last := len(x.Messages) - 1
		for last >= 0 && x.Messages[last].Role != data.Assistant {
			last--
		}
		if last >= 0 {
			ask(x.Messages[:last])
			add(x.Messages[last].Content, false)
		}
	case data.KindPair, data.KindVerdict:
		ask(x.Messages)
		for _, a := range x.Answers {
			text := a.Text
			if n := len(a.Messages); n > 0 {
				text = a.Messages[n-1].Content
			}
			add(text, a.CutOff)
		}
	}
	return out
}
