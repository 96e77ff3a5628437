package data

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// TextScores is two texts with a number that says how much they are alike.
var TextScores = register(&Format{
	Name: "text-scores",
	Fields: `"sentence1", "sentence2" (or "sentence_A"/"sentence_B", "text1"/"text2", "question1"/"question2", ` +
		`"anchor"/"positive", "query"/"document"), "score" (or "similarity", "similarity_score", ` +
		`"relatedness_score", "label"): a number`,
	Priority: 70,
	Texts:    WantLikenesses,
	Match: func(r *Record) bool {
		_, ok := likeTexts(r)
		// Beside a text that does not belong the number is about that too.
		return ok && r.Any(likenessFields...) && len(negativesOf(r)) == 0
	},
	Examples: func(r *Record, _ *Options, add func(Example)) error {
		names, _ := likeTexts(r)
		e := Example{Source: r.Source, Kind: KindLikeness}
		for _, name := range names {
			t, err := r.Text(name)
			if err != nil {
				return err
			}
			e.Texts = append(e.Texts, t)
		}
		field := firstOf(r, likenessFields)
		v, _ := r.Get(field)
		var ok bool
		if text, is := asText(v); is && strings.TrimSpace(text) == "" { // nanFilter makes NaN so
			return r.errorf("field %q holds no number: it is empty, null or NaN; expected one that says how much the "+
				"texts are alike; give it, or remove the record", field)
		}
		if e.Score, ok = scoreOf(v); !ok {
			return r.errorf("field %q is %s, %.40s; expected a number that says how much the texts are alike", field,
				describe(v), v)
		}
		add(e)
		return nil
	},
})

// likenessFields are the names of the field that says how much two texts are alike. The first is taken.
var likenessFields = []string{"score", "similarity", "similarity_score", "relatedness_score", "label"}

// likePairs are the names of the two texts.
var likePairs = [][]string{{"sentence1", "sentence2"}, {"sentence_A", "sentence_B"}, {"text1", "text2"},
	{"question1", "question2"}, {"anchor", "positive"}, {"query", "document"}}

func likeTexts(r *Record) ([]string, bool) {
	for _, names := range likePairs {
		if r.Has(names...) {
			return names, true
		}
	}
	return nil, false
}

// likeNames are those of the first, or of the second.
func likeNames(which int) (names []string) {
	for _, pair := range likePairs {
		names = append(names, pair[which])
	}
	return names
}

// scoreOf reads a number; true is 1 and false 0.
func scoreOf(v json.RawMessage) (float64, bool) {
	if good, ok := verdictOf(v); ok {
		if good {
			return 1, true
		}
		return 0, true
	}
	s, ok := asText(v)
	x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return x, ok && err == nil && !math.IsNaN(x) && !math.IsInf(x, 0)
}
