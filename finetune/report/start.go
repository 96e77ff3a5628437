package report

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/regular"
)

// A Start is start.json: what a run said when it last began or went on, for those who look at it from outside.
type Start struct {
	Started
	Time  time.Time `json:"time"`
	Notes []string  `json:"notes"`
	// Before is the measurement of the untouched base on held-out rows, under the names that lines of metrics.jsonl
	// have for those after a step; empty without held-out rows.
	Before map[string]float64 `json:"before"`
}

// Measured keeps the measurement of the untouched base. What is no number is left out: JSON has none such.
func (s *Start) Measured(e Evaluated) {
	s.Before = map[string]float64{}
	add := func(name string, x float64) {
		if number(x) != nil {
			s.Before["eval_"+name] = x
		}
	}
	add("loss", e.Loss)
	for _, m := range e.Metrics {
		x := math.NaN()
		if m.Weight != 0 {
			x = m.Sum / m.Weight
		}
		add(m.Name, x)
	}
}

// maxStart bounds start.json, bytes: a thousand long notes.
const maxStart = 1 << 20

// ReadStart reads start.json. The error matches fs.ErrNotExist for a run from before there was one.
func ReadStart(path string) (Start, error) {
	var s Start
	b, err := regular.Read(path, maxStart)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%s: %w; it says only how the run began, and can be removed", path, err)
	}
	return s, nil
}

// Write writes start.json.
func (s *Start) Write(path string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return atomicfile.WriteFile(nil, path, append(b, '\n'), 0o666)
}
