package reward

import (
	"fmt"
	"strconv"
	"strings"
)

// Repetition is the penalty of Yeo et al. 2025, "Demystifying Long Chain-of-Thought Reasoning in LLMs", in the form of
// open-r1's get_repetition_penalty_reward: the share of an answer's runs of N words that are no first ones.
var Repetition = register(&Kind{
	Name: "repetition",
	Arg:  "N",
	Usage: "minus the share of the answer's runs of N words (3) that came before in it: 0 where none does, near -1 " +
		"where it says one thing for ever",
	Open: func(arg string, _ *Options) (Reward, error) {
		n := 3
		if arg != "" {
			var err error
			if n, err = strconv.Atoi(arg); err != nil || n < 1 || n > 100 {
				return nil, fmt.Errorf("%q is no number of words; expected 1 to 100, such as 3", arg)
			}
		}
		return each(func(s *Sample) (float64, error) {
			words := strings.Fields(strings.ToLower(s.Answer))
			runs := len(words) - n + 1
			if runs < 1 {
				return 0, nil
			}
			seen := map[string]bool{}
			for i := range runs {
				seen[strings.Join(words[i:i+n], " ")] = true
			}
			return float64(len(seen))/float64(runs) - 1, nil
		}), nil
	},
})
