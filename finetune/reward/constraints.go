package reward

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/internal/registry"
)

// Constraints checks what an answer was asked to be like: the verifiable instructions of IFEval (Zhou et al. 2023,
// "Instruction-Following Evaluation for Large Language Models"), in the columns that its data has:
// "instruction_id_list" names them, "kwargs" says with what. Departures from its published checks: keywords and
// forbidden words are texts and no patterns; every full stop, question or exclamation mark before white space ends a
// sentence, where there a trained model of English knows abbreviations; english_capital and english_lowercase do not
// ask whether the text is English; a relation may be "at most" and "exactly" too; json_format may have a "schema".
// response_language is not known: it needs a model of languages.
var Constraints = register(&Kind{
	Name: "constraints",
	Arg:  "all",
	Usage: `share of the row's IFEval instructions ("instruction_id_list", "kwargs") that the answer follows; with ` +
		`=all 1 where it follows all, else 0`,
	Check: true,
	Open: func(arg string, _ *Options) (Reward, error) {
		if arg != "" && arg != "all" {
			return nil, fmt.Errorf("%q is not known; write constraints, or constraints=all", arg)
		}
		return constraints{all: arg == "all"}, nil
	},
})

type constraints struct{ all bool }

// Check implements checker.
func (c constraints) Check(s *Sample) error {
	_, err := demands(s)
	return err
}

// Score implements Reward.
func (c constraints) Score(ctx context.Context, samples []Sample) ([]float64, error) {
	return each(c.score).Score(ctx, samples)
}

func (c constraints) score(s *Sample) (float64, error) {
	list, err := demands(s)
	if err != nil {
		return 0, err
	}
	followed := 0
	for _, d := range list {
		if d(s.Answer) {
			followed++
		}
	}
	if c.all {
		return truth(followed == len(list)), nil
	}
	return float64(followed) / float64(len(list)), nil
}

// A demand says whether an answer is as it was asked to be.
type demand func(answer string) bool

// demands reads a row's constraints.
func demands(s *Sample) ([]demand, error) {
	var ids []string
	var with []json.RawMessage
	if err := column(s, "instruction_id_list", &ids); err != nil {
		return nil, err
	}
	if err := column(s, "kwargs", &with); err != nil {
		return nil, err
	}
	if len(ids) == 0 || len(with) != len(ids) {
		return nil, fmt.Errorf(`the row has %d names in "instruction_id_list" and %d entries in "kwargs"; expected `+
			`one for each, and at least one`, len(ids), len(with))
	}
	out := make([]demand, len(ids))
	for i, id := range ids {
		read, ok := instructions[id]
		if !ok {
			return nil, &registry.UnknownError{Kind: "instruction", Name: id,
				Known: slices.Sorted(maps.Keys(instructions))}
		}
		var k kwargs
		if err := json.Unmarshal(with[i], &k); err != nil {
			return nil, fmt.Errorf(`the "kwargs" of %s: %v`, id, err)
		}
		var err error
		if out[i], err = read(&k); err != nil {
			return nil, fmt.Errorf(`the "kwargs" of %s: %w`, id, err)
		}
	}
	return out, nil
}

// column reads a list in a column, which may be JSON within a text, as tables have it.
func column[T any](s *Sample, name string, list *[]T) error {
	v, ok := s.Row[name]
	if !ok {
		return fmt.Errorf("the row has no column %q, as IFEval's data has", name)
	}
	var text string
	if json.Unmarshal(v, &text) == nil {
		v = json.RawMessage(strings.TrimSpace(text))
	}
	if err := json.Unmarshal(v, list); err != nil {
		return fmt.Errorf("the column %q is no list of IFEval's: %v", name, err)
	}
	return nil
}

// kwargs are what instructions are given; a published row has them all, most of them null.
type kwargs struct {
	Keywords        []string        `json:"keywords"`
	Keyword         string          `json:"keyword"`
	ForbiddenWords  []string        `json:"forbidden_words"`
	Relation        string          `json:"relation"`
	Frequency       *int            `json:"frequency"`
	Letter          string          `json:"letter"`
	LetRelation     string          `json:"let_relation"`
	LetFrequency    *int            `json:"let_frequency"`
	NumSentences    *int            `json:"num_sentences"`
	NumParagraphs   *int            `json:"num_paragraphs"`
	NumWords        *int            `json:"num_words"`
	NthParagraph    *int            `json:"nth_paragraph"`
	FirstWord       string          `json:"first_word"`
	NumPlaceholders *int            `json:"num_placeholders"`
	Postscript      string          `json:"postscript_marker"`
	NumBullets      *int            `json:"num_bullets"`
	NumHighlights   *int            `json:"num_highlights"`
	SectionSplitter string          `json:"section_spliter"` // as it is published
	NumSections     *int            `json:"num_sections"`
	PromptToRepeat  string          `json:"prompt_to_repeat"`
	EndPhrase       string          `json:"end_phrase"`
	CapitalRelation string          `json:"capital_relation"`
	CapitalCount    *int            `json:"capital_frequency"`
	Schema          json.RawMessage `json:"schema"`
}
