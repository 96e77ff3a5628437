package report

import (
	"encoding/json"
	"io"
)

// A JSON writes for programs: one line for each step, the line of metrics.jsonl; one for each evaluation; and the
// summary at the end; nothing else. A failure to write is kept: Err gives it.
type JSON struct {
	enc *json.Encoder
	err error
}

// NewJSON writes to w.
func NewJSON(w io.Writer) *JSON {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &JSON{enc: enc}
}

// Report implements Reporter.
func (j *JSON) Report(e Event) {
	var v any
	switch e := e.(type) {
	case Step:
		v = e.Line
	case Evaluated:
		m := map[string]any{"step": e.Step, "eval_loss": number(e.Loss), "eval_perplexity": number(e.Perplexity)}
		for _, f := range e.Metrics {
			m["eval_"+f.Name] = number(f.Sum / f.Weight)
		}
		v = m
	case Done:
		v = e.Summary
	default:
		return
	}
	if j.err == nil {
		j.err = j.enc.Encode(v)
	}
}

// Err is the first failure to write, or nil.
func (j *JSON) Err() error { return j.err }

// Several tells each of a list.
type Several []Reporter

// Report implements Reporter.
func (s Several) Report(e Event) {
	for _, r := range s {
		r.Report(e)
	}
}
