package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"slices"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/visible"
)

//go:embed samples.html
var samplesHTML string

var samplesTemplate = template.Must(template.New("samples").Funcs(template.FuncMap{"count": count.Of[int]}).
	Parse(samplesHTML))

// mostShown is how many steps the page of samples shows: with three answers of 128 tokens each it has about 300 kB.
const mostShown = 200

// A sampleSheet is what the page is made of.
type sampleSheet struct {
	Title string
	Steps []stepSamples // the newest first
	All   int           // steps with samples
}

type stepSamples struct {
	Step    int
	Samples []Sample
}

// A worth is what one reward says of an answer.
type worth struct {
	Name  string
	Value float64
}

// Worths lists what each reward says, by its name.
func (s Sample) Worths() (out []worth) {
	for _, name := range slices.Sorted(maps.Keys(s.Rewards)) {
		out = append(out, worth{name, s.Rewards[name]})
	}
	return out
}

// Total is what an answer that the model learns from is worth.
func (s Sample) Total() float64 { return *s.Reward }

// Earned is what an environment gave for a turn of the model.
func (s Spoken) Earned() float64 { return *s.Reward }

// WriteSamples writes samples as a page to look at: one file, which needs no other. Of many steps some are shown,
// evenly chosen, the first and the newest among them. Without samples there is no file.
func WriteSamples(path, title string, all []Sample) error {
	if len(all) == 0 {
		return nil
	}
	var steps []stepSamples
	for _, s := range all {
		if n := len(steps); n == 0 || steps[n-1].Step != s.Step {
			steps = append(steps, stepSamples{Step: s.Step})
		}
		last := &steps[len(steps)-1]
		last.Samples = append(last.Samples, s)
	}
	sheet := sampleSheet{Title: title, All: len(steps)}
	n := min(len(steps), mostShown)
	for i := range n {
		at := len(steps) - 1
		if n > 1 {
			at = at * (n - 1 - i) / (n - 1)
		}
		sheet.Steps = append(sheet.Steps, steps[at])
	}
	var b bytes.Buffer
	if err := samplesTemplate.Execute(&b, sheet); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return atomicfile.WriteFile(nil, path, []byte(visible.Escape(b.String())), 0o666)
}
