package reward

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Length keeps answers within bounds. It only takes away, in proportion to the excess, so that an answer just too long
// is told apart from one that is far too long, and it outweighs nothing else that is worth 1. Of an answer that was cut
// off no more is known than how long it was by then: methods take off for that by missing-eos-penalty.
var Length = register(&Kind{
	Name:  "length",
	Arg:   "MAX|MIN-MAX|MIN-",
	Needs: true,
	Usage: "0 where the answer has so many tokens, else minus the share of the bound by which it misses it, at most " +
		"1: with length=100, 150 tokens are worth -0.5; what an answer that was cut off would have had is not counted",
	Open: func(arg string, _ *Options) (Reward, error) {
		low, high, err := bounds(arg)
		if err != nil {
			return nil, err
		}
		return each(func(s *Sample) (float64, error) {
			n := float64(s.Tokens)
			switch {
			case s.Tokens == UnknownTokens:
				return 0, errors.New("the answer's tokens are not counted; name the model (--model)")
			case n < low:
				return (n - low) / low, nil
			case high > 0 && n > high:
				return max(-1, (high-n)/high), nil
			}
			return 0, nil
		}), nil
	},
})

// bounds reads MAX, MIN-MAX or MIN-; high is 0 where there is none.
func bounds(arg string) (low, high float64, err error) {
	a, b, both := strings.Cut(arg, "-")
	if !both {
		a, b = "0", arg
	} else if b == "" {
		b = "0"
	}
	lo, err1 := strconv.ParseUint(a, 10, 32)
	hi, err2 := strconv.ParseUint(b, 10, 32)
	if err1 != nil || err2 != nil || lo == 0 && hi == 0 || hi > 0 && lo > hi {
		return 0, 0, fmt.Errorf("%q is no length; expected tokens: 100 (at most), 50-100, or 50- (at least)", arg)
	}
	return float64(lo), float64(hi), nil
}
