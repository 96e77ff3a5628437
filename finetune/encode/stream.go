package encode

import (
	"context"
	"encoding/json"
	"fmt"
)

// A Stream gives out a loader's micro-batches one after the other, for ever, and knows its place among them. It is not
// safe for concurrent use.
type Stream struct {
	rows *Loader
	at   Cursor
}

// NewStream stands at the beginning of the first epoch.
func NewStream(rows *Loader) *Stream { return &Stream{rows: rows} }

// Next gives the micro-batch at the stream's place and goes on behind it.
func (s *Stream) Next(context.Context) (*Micro, error) {
	m, next, err := s.rows.Next(s.at)
	if err != nil {
		return nil, err
	}
	s.at = next
	return m, nil
}

// Place is a Cursor as JSON.
func (s *Stream) Place() json.RawMessage {
	text, err := json.Marshal(s.at)
	if err != nil {
		panic(fmt.Sprintf("encode: a cursor as JSON: %v", err)) // two numbers
	}
	return text
}

// Return goes back to what Place gave, now or in an earlier process; nil is the beginning.
func (s *Stream) Return(place json.RawMessage) error {
	at := Cursor{}
	if place != nil {
		if err := json.Unmarshal(place, &at); err != nil {
			return fmt.Errorf("%s is no place in the data: %w", place, err)
		}
	}
	s.at = at
	return nil
}

// Epoch is how often the data has been gone through, with the fraction of the epoch under way.
func (s *Stream) Epoch() float64 {
	return float64(s.at.Epoch) + float64(s.at.Row)/float64(s.rows.Rows())
}
