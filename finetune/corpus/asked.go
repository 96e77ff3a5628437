package corpus

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/template"
)

// An Asked is an example as a question that a model is to answer, and the data's own answer.
type Asked struct {
	Source   data.Source
	Messages []template.Message // a conversation up to the answer; nil: literal text
	Tools    json.RawMessage
	Prompt   string // literal text
	Answer   string
}

// ReadAsked reads the examples of cfg.Data as questions: of a conversation what comes before its last answer, of a
// completion the prompt; at most cfg.EvalRows of them. The notes say what became of the data.
func ReadAsked(ctx context.Context, cfg *config.Config) (asked []Asked, notes []string, err error) {
	ds, err := openData(ctx, cfg, cfg.Data, data.Options{})
	if err != nil {
		return nil, nil, err
	}
	defer ds.Close()
	for _, i := range sample(ds.Len(), cfg) {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		x, err := ds.At(i)
		if err != nil {
			return nil, nil, err
		}
		a := Asked{Source: x.Source, Prompt: x.Prompt, Answer: x.Completion}
		switch x.Kind {
		case data.KindCompletion:
		case data.KindMessages:
			last := len(x.Messages) - 1
			for last >= 0 && x.Messages[last].Role != data.Assistant {
				last--
			}
			if last < 1 {
				return nil, nil, fmt.Errorf("%s: no question comes before the answer", x.Source)
			}
			a.Messages, a.Answer, a.Tools = turns(x.Messages[:last]), x.Messages[last].Content, x.Tools
		default:
			return nil, nil, fmt.Errorf("%s: an example of %v asks nothing; --match needs questions with answers",
				x.Source, x.Kind)
		}
		asked = append(asked, a)
	}
	return asked, dropNotes(ds), nil
}

// turns gives messages as templates read them.
func turns(messages []data.Message) []template.Message {
	out := make([]template.Message, len(messages))
	for i, m := range messages {
		out[i] = template.Message{Role: string(m.Role), Content: m.Content, Reasoning: m.Reasoning,
			ToolCallID: m.ToolCallID, Name: m.Name, Train: m.Train}
		for _, c := range m.ToolCalls {
			out[i].ToolCalls = append(out[i].ToolCalls, template.ToolCall{ID: c.ID, Type: c.Type, Name: c.Name,
				Arguments: c.Arguments})
		}
	}
	return out
}
