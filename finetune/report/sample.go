package report

import "strings"

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
	// Of an answer that the model learns from, which the base was not asked for: why it is shown (best, worst or
	// random of those that were written for the step), what it is worth, and what each reward says of it.
	Why     string             `json:"why,omitempty"`
	Reward  *float64           `json:"reward,omitempty"`
	Rewards map[string]float64 `json:"rewards,omitempty"`
	// Exchange is all that was said behind the prompt where an environment answered; Tuned is then the last turn.
	Exchange []Spoken `json:"exchange,omitempty"`
}

// Spoken is one turn of an exchange.
type Spoken struct {
	Role    string   `json:"role"`
	Content string   `json:"content"`
	Reward  *float64 `json:"reward,omitempty"` // that which the environment gave for a turn of the model
	// Over says why the exchange ended with this turn, if the environment did not end it: turns, length, room.
	Over string `json:"over,omitempty"`
}

// answer is what was answered, on a line: of an exchange all turns, the environment's in angle quotes.
func (s *Sample) answer() string {
	if s.Exchange == nil {
		return s.Tuned
	}
	var turns []string
	for _, x := range s.Exchange {
		if x.Role != "assistant" {
			x.Content = "«" + x.Content + "»"
		}
		turns = append(turns, x.Content)
	}
	return strings.Join(turns, " ")
}

// A Samples is a run's samples.jsonl: a line for each prompt and step, in order, each once, also over resumes. The file
// is made with its first line. It is not safe for concurrent use.
type Samples struct{ *lines[Sample] }

// OpenSamples opens the samples of a run that stands at step: later lines, and a last one cut short, are removed,
// because the run is about to write them again.
func OpenSamples(path string, step int) (*Samples, error) {
	l, err := openLines(path, "samples", func(_ []Sample, s Sample) bool { return s.Step <= step })
	if err != nil {
		return nil, err
	}
	return &Samples{l}, nil
}

// Last is the step of the newest answers to what the model read, 0 without any.
func (l *Samples) Last(input string) int {
	for i := len(l.all) - 1; i >= 0; i-- {
		if l.all[i].Input == input {
			return l.all[i].Step
		}
	}
	return 0
}

// Close closes the file; it may be called again and on nil.
func (l *Samples) Close() error {
	if l == nil {
		return nil
	}
	return l.lines.Close()
}
