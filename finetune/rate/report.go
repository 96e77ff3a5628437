package rate

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/visible"
)

//go:embed report.html
var reportHTML string

var reportTemplate = template.Must(
	template.New("report").Funcs(template.FuncMap{"count": count.Of[int]}).Parse(reportHTML))

// A Report is pairs of answers to look at side by side.
type Report struct {
	Model   string    // the base's file name
	Names   [2]string // of the two sides
	Sampled string    // how the answers were drawn
	Records []Record
	Failed  []string // prompts that could not be answered, and why
}

// Equal is the number of pairs with two equal answers.
func (r *Report) Equal() int {
	n := 0
	for i := range r.Records {
		if r.Records[i].Answers[0].Text == r.Records[i].Answers[1].Text {
			n++
		}
	}
	return n
}

// WriteHTML writes the report as one page that needs no other file.
func (r *Report) WriteHTML(w io.Writer) error {
	var b strings.Builder
	err := reportTemplate.Execute(&b, r)
	if err == nil {
		_, err = io.WriteString(w, visible.Escape(b.String()))
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// JSONL is the records as lines, which ReadPrompts reads as pairs ready to be rated.
func (r *Report) JSONL() ([]byte, error) {
	var b bytes.Buffer
	for i := range r.Records {
		line, err := marshal(r.Records[i])
		if err != nil {
			return nil, fmt.Errorf("write the report: %w", err)
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}
