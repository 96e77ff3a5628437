package data

import (
	"fmt"
	"math"
)

// The names of the fields that say by how much the chosen answer is better: TRL's, and those of
// HuggingFaceH4/ultrafeedback_binarized.
const marginField, scoreChosen, scoreRejected = "margin", "score_chosen", "score_rejected"

// readMargin reads by how much the record's chosen answer is better, where that is asked for.
func (c *choices) readMargin(r *Record, o *Options) error {
	if !o.Margins {
		return nil
	}
	var bad error
	number := func(field string) float64 {
		v, _ := r.Get(field)
		x, err := parseWorth(v, field)
		if err == nil && math.IsNaN(x) {
			err = fmt.Errorf("%q is empty; expected a number", field)
		}
		if err != nil && bad == nil {
			bad = r.errorf("field %v", err)
		}
		return x
	}
	switch {
	case r.Has(marginField):
		c.margin = number(marginField)
	case r.Has(scoreChosen, scoreRejected):
		c.margin = number(scoreChosen) - number(scoreRejected)
	default:
		return r.errorf("a margin is asked for (--margin), and the fields are %s; expected %q, or %q and %q, or a "+
			"list of answers with scores; leave --margin out", quoted(r.Names()), marginField, scoreChosen,
			scoreRejected)
	}
	return bad
}
