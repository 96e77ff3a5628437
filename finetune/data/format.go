package data

import (
	"fmt"
	"strings"

	"github.com/ggtune/ggtune/internal/registry"
)

// A Format reads records with certain fields as Examples. There is one file per format, which registers it.
type Format struct {
	Name string
	// Fields says which fields it reads, for messages.
	Fields string
	// Priority orders formats that match the same record; the highest is taken.
	Priority int
	// Preference says that the format reads choices between answers. Records that hold such a choice are left to these
	// formats: plain training on them would teach the rejected answer as well.
	Preference bool
	// Verdicts says that it reads verdicts on single answers and no pairs.
	Verdicts bool
	// Choices says that it reads multiple choice, which is answered and not learned from.
	Choices bool
	// Prompts says that it reads prompts without answers.
	Prompts bool
	// Texts is WantGroups or WantLikenesses of a format of texts, of each of which a vector is made; it is tried only
	// where such are wanted.
	Texts Want
	// Aside names fields that such data has and that say nothing to learn from, so that nobody need be told; a name
	// that ends with a full stop stands for all that lies in it.
	Aside []string
	// Match says whether the record is of this format, by its fields.
	Match func(r *Record) bool
	// Examples reads a record and adds what is in it. An example that nothing can be learned from is added too: it is
	// dropped and counted by the caller. The error carries the place.
	Examples func(r *Record, o *Options, add func(Example)) error
}

var formats = registry.New[*Format]("data format")

func register(f *Format) *Format { return formats.Register(f.Name, f) }

// Formats lists the names of the formats.
func Formats() []string { return formats.Names() }

// preference lists the fields that mark data of preferences.
var preference = []string{"chosen", "rejected", "chosen_messages", "rejected_messages"}

// isPreference says whether the record holds a choice between answers, or a verdict on one. Plain data may have a label
// that is no verdict; true or false is one. Where verdicts are wanted every label must be one, and its format says so.
func isPreference(r *Record, want Want) bool {
	if r.Any(preference...) {
		return true
	}
	verdict := want == WantVerdicts || verdictField(r) != ""
	for _, f := range formats.All() {
		if !f.Choices && !f.Texts.Texts() && f.Preference && (verdict || !f.Verdicts) && f.Match(r) {
			return true
		}
	}
	return false
}

// plainFormat finds the format of a record without choices or verdicts, or nil.
func plainFormat(r *Record) *Format {
	return matching(r, func(f *Format) bool { return f.gives() == WantAnswers })
}

// matching finds the format of highest priority that matches, of those that may be.
func matching(r *Record, may func(f *Format) bool) (found *Format) {
	for _, f := range formats.All() {
		if may(f) && (found == nil || f.Priority > found.Priority) && f.Match(r) {
			found = f
		}
	}
	return found
}

// detect finds the format of a record. Without one the error says what was found and what is known.
func detect(r *Record, want Want) (*Format, error) {
	may := func(f *Format) bool { return f.Choices }
	switch {
	case want.Texts():
		may = func(f *Format) bool { return f.Texts.Texts() }
	case want != WantChoices:
		preference := isPreference(r, want)
		may = func(f *Format) bool {
			return !f.Choices && !f.Prompts && !f.Texts.Texts() && f.Preference == preference
		}
	}
	if f := matching(r, may); f != nil {
		return f, nil
	}
	if want == WantPrompts {
		if f := matching(r, func(f *Format) bool { return f.Prompts }); f != nil {
			return f, nil
		}
	}
	return nil, unknownFormat(r, want)
}

// gives says what is made of the format's records if nobody wants something else.
func (f *Format) gives() Want {
	switch {
	case f.Texts.Texts():
		return f.Texts
	case f.Choices:
		return WantChoices
	case f.Prompts:
		return WantPrompts
	case f.Verdicts:
		return WantVerdicts
	case f.Preference:
		return WantPairs
	}
	return WantAnswers
}

// suits refuses a format that does not give what is wanted, and says what would. The error is an *UnsuitedError.
func (f *Format) suits(want Want) error {
	why := ""
	switch gives := f.gives(); {
	case gives == want, gives == WantPairs && want == WantVerdicts,
		gives != WantChoices && !gives.Texts() && want == WantPrompts:
		return nil
	case gives == WantGroups && want == WantLikenesses:
		why = fmt.Sprintf("found texts that belong together without a score (%q), and this method learns from scores; "+
			"mnrl learns from these. Formats with scores:%s", f.Name, knownFormats(want))
	case gives == WantLikenesses && want == WantGroups:
		why = fmt.Sprintf("found texts with a score (%q), and this method takes all that are together for alike; "+
			"cosent and cosine learn from scores; if the field is no score, leave it out (--columns =score)", f.Name)
	case gives.Texts(), want.Texts():
		why = fmt.Sprintf("%q is %v, and this needs %v. Formats of those:%s", f.Name, gives, want,
			knownFormats(want))
	case gives == WantPrompts:
		why = fmt.Sprintf("%q is prompts without answers, and this needs %v. Formats of those:%s", f.Name, want,
			knownFormats(want))
	case gives == WantChoices:
		why = fmt.Sprintf("%q is multiple choice, which `ggtune eval --choices` measures; no method trains on it",
			f.Name)
	case want == WantChoices:
		why = fmt.Sprintf("%q is %v, and --choices measures multiple choice: a question with choices, one of them "+
			"right. Formats of it:%s", f.Name, gives, knownFormats(want))
	case want == WantAnswers && gives == WantVerdicts:
		why = fmt.Sprintf("found preference data (%q: verdicts on answers), which this method does not train on: it "+
			"would learn the undesirable "+
			"ones as well; a method that learns from verdicts does: kto; if the column is no verdict, leave it "+
			"out (--columns =label)", f.Name)
	case want == WantAnswers:
		why = fmt.Sprintf("found preference data (%q: choices between answers), which this method does not train on: "+
			"it would learn the rejected "+
			"ones as well; a preference method does: dpo, ipo, simpo, orpo, cpo, kto, …", f.Name)
	case gives == WantVerdicts:
		why = fmt.Sprintf(
			"found verdicts on single answers (%q), and this method learns from pairs: a prompt with a chosen and a "+
				"rejected answer; kto trains on verdicts. Formats of pairs:%s", f.Name, knownFormats(want))
	case want == WantPairs:
		why = fmt.Sprintf(
			"found plain data (%q), and this method learns from pairs: a prompt with a chosen and a rejected answer; "+
				"sft trains on plain data. Formats of pairs:%s", f.Name, knownFormats(want))
	default:
		why = fmt.Sprintf("found plain data (%q), and this method learns from verdicts: a prompt with an answer and "+
			"a label, true or "+
			"false, or pairs; sft trains on plain data. Formats of both:%s", f.Name, knownFormats(want))
	}
	return &UnsuitedError{Gives: f.gives(), Reason: why}
}

// knownFormats describes the formats that suit, with their fields, one a line.
func knownFormats(want Want) string {
	var b strings.Builder
	for _, f := range formats.All() {
		gives := f.gives()
		if gives == want || want == WantVerdicts && gives == WantPairs ||
			want == WantPrompts && gives != WantChoices && !gives.Texts() {
			fmt.Fprintf(&b, "\n  %-22s %s", f.Name, f.Fields)
		}
	}
	return b.String()
}

func unknownFormat(r *Record, want Want) error {
	ofTexts := func(f *Format) bool { return f.Texts.Texts() }
	if f := matching(r, ofTexts); f != nil && want != WantChoices && !want.Texts() {
		method := "mnrl"
		if f.Texts == WantLikenesses {
			method = "cosent"
		}
		why := fmt.Sprintf("found %v (%q), of which vectors are learned: read them so with --method %s; to read one "+
			"of the fields as plain text, say which (--columns text=%s). This needs %v otherwise. Formats of those:%s",
			f.Texts, f.Name, method, r.Names()[0], want, knownFormats(want))
		return &Error{Source: r.Source, Reason: why, Err: &UnsuitedError{Gives: f.Texts, Reason: why}}
	}
	if want.Texts() {
		return unknownTexts(r, want)
	}
	if want != WantChoices && want != WantPrompts && isPreference(r, want) {
		return r.errorf(
			"found preference data of which a part is missing: the fields are %s; formats of preference data:%s",
			quoted(r.Names()), knownFormats(WantVerdicts))
	}
	return r.errorf(
		"the fields are %s, which is no known format; rename them in the data, say which column is meant (--columns), "+
			"or force a format by name (--format). Known formats and their fields:%s", quoted(r.Names()),
		knownFormats(want))
}

// mismatch is the error for a record that is not of the format of the records before it.
func (d *Dataset) mismatch(r *Record, forced bool) error {
	want := d.format
	if forced {
		return r.errorf("the format %q was asked for, but the fields are %s; it needs: %s", want.Name,
			quoted(r.Names()), want.Fields)
	}
	if other, err := detect(r, d.opts.Want); err == nil {
		return r.errorf(
			"mixed formats: this record is %q (fields %s), those before it are %q (%s); put each format into a "+
				"file of its own and train on one, or convert them", other.Name, quoted(r.Names()), want.Name,
			want.Fields)
	}
	return r.errorf("the fields are %s, but the records before it are %q, which needs: %s", quoted(r.Names()),
		want.Name, want.Fields)
}

// unlearnable says why nothing can be learned from an example, or "".
func unlearnable(e *Example) string {
	switch e.Kind {
	case KindChoice:
		return unanswerable(e)
	case KindPair, KindVerdict:
		return unlearnableChoice(e)
	case KindGroup, KindLikeness:
		return uncontrastable(e)
	case KindPrompt:
		return unanswerablePrompt(e)
	case KindText:
		if strings.TrimSpace(e.Text) == "" {
			return "empty text"
		}
	case KindCompletion:
		if strings.TrimSpace(e.Completion) == "" {
			return "empty completion"
		}
	case KindMessages:
		if len(e.Messages) == 0 {
			return "no messages"
		}
		turns, marked := 0, 0
		for _, m := range e.Messages {
			trains := m.Train == nil && m.Role == Assistant || m.Train != nil && *m.Train
			if m.Role == Assistant {
				turns++
			}
			if !trains {
				continue
			}
			marked++
			if says(&m) {
				return ""
			}
		}
		switch {
		case turns == 0 && marked == 0:
			return "no assistant turn"
		case marked == 0:
			return "every turn is marked as not trained"
		}
		return "empty assistant turn"
	}
	return ""
}
