package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/regular"
)

// A Sample is one object of samples.jsonl: what the base and the model in training answer to one prompt after a step.
type Sample struct {
	Step     int     `json:"step"`
	Index    int     `json:"index"`    // of the prompt among those of the run, from 0
	Prompt   string  `json:"prompt"`   // what is asked: of a conversation the last turn before the answer
	Input    string  `json:"input"`    // all that the model reads, with control tokens
	Expected *string `json:"expected"` // the answer of the data, or null
	Source   *string `json:"source"`   // file:line of the prompt, or null
	Base     string  `json:"base"`     // the answer of the model file alone
	Tuned    string  `json:"tuned"`    // the answer with the adapter as it was then
	// What ended each: "end" (the model), "length" (as many tokens as were asked for), "context" (no room for more).
	BaseEnd     string  `json:"base_end"`
	TunedEnd    string  `json:"tuned_end"`
	BaseTokens  int     `json:"base_tokens"`
	TunedTokens int     `json:"tuned_tokens"`
	MaxTokens   int     `json:"max_tokens"`
	Temp        float64 `json:"temp"`    // 0: always the likeliest token
	Seconds     float64 `json:"seconds"` // that the answers took; a base's answer is written once
}

// A Samples is a run's samples.jsonl: a line for each prompt and step, in order, each once, also over resumes. The file
// is made with its first line. It is not safe for concurrent use.
type Samples struct {
	path  string
	f     *os.File
	lines []Sample
}

// OpenSamples opens the samples of a run that stands at step: later lines, and a last one cut short, are removed,
// because the run is about to write them again.
func OpenSamples(path string, step int) (*Samples, error) {
	raw, err := regular.Read(path, maxLog)
	if errors.Is(err, fs.ErrNotExist) {
		return &Samples{path: path}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read samples: %w", err)
	}
	l := &Samples{path: path}
	kept := 0
	for kept < len(raw) {
		n := bytes.IndexByte(raw[kept:], '\n')
		var s Sample
		if n < 0 || json.Unmarshal(raw[kept:kept+n], &s) != nil || s.Step > step {
			break
		}
		l.lines = append(l.lines, s)
		kept += n + 1
	}
	if kept < len(raw) {
		if err := atomicfile.WriteFile(nil, path, raw[:kept], 0o666); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Append writes one line.
func (l *Samples) Append(s Sample) error {
	if l.f == nil {
		var err error
		if l.f, err = os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666); err != nil {
			return fmt.Errorf("open samples: %w", err)
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return fmt.Errorf("sample of step %d: %w", s.Step, err)
	}
	if _, err := l.f.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write samples: %w; free some space on that disk, then go on with --resume", err)
	}
	l.lines = append(l.lines, s)
	return nil
}

// Sync flushes what was appended: a checkpoint must not be newer than the samples.
func (l *Samples) Sync() error {
	if l.f == nil {
		return nil
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("write samples: %w", err)
	}
	return nil
}

// Lines gives all samples of the run.
func (l *Samples) Lines() []Sample { return l.lines }

// Has says whether the answers to a prompt after a step are there.
func (l *Samples) Has(step int, input string) bool {
	for i := len(l.lines) - 1; i >= 0 && l.lines[i].Step >= step; i-- {
		if l.lines[i].Step == step && l.lines[i].Input == input {
			return true
		}
	}
	return false
}

// Close closes the file; it may be called again and on nil.
func (l *Samples) Close() error {
	if l == nil || l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}
