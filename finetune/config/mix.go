package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Mix is data that is mixed in.
type Mix struct {
	Path  string  `json:"file"`
	Share float64 `json:"share"` // of the counted tokens
}

// Mixes reads Mix.
func (c *Config) Mixes() ([]Mix, error) {
	var out []Mix
	var errs []error
	sum := 0.0
	for _, s := range c.Mix {
		m, err := parseMix(s)
		errs = append(errs, err)
		out, sum = append(out, m), sum+m.Share
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if sum >= 1 {
		return nil, fmt.Errorf("the shares add up to %g; expected less than 1, which leaves some to --data", sum)
	}
	return out, nil
}

// parseMix reads "FILE:SHARE". A file's name may hold colons.
func parseMix(s string) (Mix, error) {
	at := strings.LastIndexByte(s, ':')
	if at < 1 {
		return Mix{}, fmt.Errorf("%q names no file with a share; expected FILE:SHARE, such as old.jsonl:0.1", s)
	}
	m := Mix{Path: s[:at]}
	var err error
	if m.Share, err = strconv.ParseFloat(s[at+1:], 64); err != nil || !(m.Share > 0 && m.Share < 1) {
		return Mix{}, fmt.Errorf("%q: the share is %q; expected above 0 and below 1, such as 0.1", s, s[at+1:])
	}
	return m, nil
}

// HeldOfMix is how many of n examples that are mixed in are held out, where some of Data are: as EvalSplit says, but no
// more than auto would hold out of many, because they may be very many.
func (c *Config) HeldOfMix(n int) int {
	rule := *c
	rule.EvalData = nil // which names none of these
	return min(rule.Held(n), autoMost)
}
