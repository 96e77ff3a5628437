package reward

import "regexp"

// Regex looks for a pattern, in Go's syntax (RE2), whose time is linear in the answer.
var Regex = register(&Kind{
	Name:  "regex",
	Arg:   "PATTERN",
	Needs: true,
	Usage: "1 where PATTERN (RE2) is found in the answer, else 0; (?s) lets . match line ends, ^ and $ are the " +
		"answer's",
	Check: true,
	Open: func(arg string, _ *Options) (Reward, error) {
		re, err := regexp.Compile(arg)
		if err != nil {
			return nil, err
		}
		return each(func(s *Sample) (float64, error) { return truth(re.MatchString(s.Answer)), nil }), nil
	},
})

// truth is 1 for what holds.
func truth(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}
