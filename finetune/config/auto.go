package config

import (
	"fmt"
	"math"
	"strconv"
)

// An Auto is a number, or left to what is decided once the data is known.
type Auto[T int | float64] struct {
	Auto bool
	N    T // 0 with Auto
}

// autoWord is how Auto is spelled on the command line and in TOML.
const autoWord = "auto"

// Fixed is the number n.
func Fixed[T int | float64](n T) Auto[T] { return Auto[T]{N: n} }

// String spells it.
func (a Auto[T]) String() string {
	if a.Auto {
		return autoWord
	}
	return fmt.Sprint(a.N)
}

// Set reads what String spells; what is no such number is an error, and changes nothing.
func (a *Auto[T]) Set(text string) error {
	if text == autoWord {
		*a = Auto[T]{Auto: true}
		return nil
	}
	var n T
	var err error
	switch p := any(&n).(type) {
	case *int:
		*p, err = strconv.Atoi(text)
	case *float64:
		*p, err = strconv.ParseFloat(text, 64)
	}
	if err != nil || n != n {
		return fmt.Errorf("%q is neither %s nor %s", text, autoWord, kind(n))
	}
	*a = Fixed(n)
	return nil
}

// kind names what a number may be.
func kind(n any) string {
	if _, whole := n.(int); whole {
		return "a whole number"
	}
	return "a number"
}

// MarshalTOML implements toml.Marshaler: the number as one, the word in quotes.
func (a Auto[T]) MarshalTOML() ([]byte, error) {
	if a.Auto {
		return strconv.AppendQuote(nil, autoWord), nil
	}
	return fmt.Append(nil, a.N), nil
}

// notAuto begins the error of UnmarshalTOML, which the library gives back as text only, without the key.
const notAuto = "is neither "

// UnmarshalTOML implements toml.Unmarshaler.
func (a *Auto[T]) UnmarshalTOML(v any) error {
	text, quoted := v.(string)
	if wrong := quoted && text != autoWord; wrong || a.Set(fmt.Sprint(v)) != nil {
		return fmt.Errorf("%s%s nor %q", notAuto, kind(a.N), autoWord)
	}
	return nil
}

// The rule of EvalSplit's auto. Of fewer than AutoHoldFrom examples training needs all. The mean loss over 8 answers
// tells at least whether it falls; over 200 its standard error is 7 % of the spread of the answers' losses, and more
// would take time from training.
const (
	AutoHoldFrom = 100
	autoShare    = 0.05
	autoLeast    = 8
	autoMost     = 200
)

// autoEvaluations is how often a run is measured at least, and less than twice as often at most, if it has as many
// steps.
const autoEvaluations = 10

// Held is how many of n examples are held out.
func (c *Config) Held(n int) int {
	switch {
	case !c.MayHold():
		return 0
	case !c.EvalSplit.Auto: // at least one of each part
		return max(min(max(int(float64(n)*c.EvalSplit.N+0.5), 1), n-1), 0)
	case n < AutoHoldFrom:
		return 0
	}
	return min(max(int(autoShare*float64(n)+0.5), autoLeast), autoMost)
}

// MayHold says that examples are held out if there are enough.
func (c *Config) MayHold() bool {
	return len(c.EvalData) == 0 && (c.EvalSplit.Auto || c.EvalSplit.N > 0)
}

// EvalSteps is the number of steps between evaluations of a run of that many; 0: only at the start and the end.
func (c *Config) EvalSteps(steps int) int {
	if c.EvalEvery.Auto {
		return max(steps/autoEvaluations, 1)
	}
	return c.EvalEvery.N
}

// Reading a row is the first third of training on it: a product forward, and two of the same size backward.
const readsOfTraining = 3

// Within lowers how often a run of that many steps is measured, and on how many of the held-out rows, so that it stays
// within EvalShare, as far as the user left it open: first how often, but not below autoFew times, then how many rows,
// but not below autoLeast, then how often. trained is how many rows of the held-out ones' length the run trains on.
// What it gives follows from numbers of the data alone, so that a run measures the same on every machine.
func (c *Config) Within(steps, rows int, trained float64) (every, measured int) {
	const autoFew = 5 // the start, the end, and three between them: a curve
	every, measured = c.EvalSteps(steps), rows
	times := Evaluations(steps, every)
	may := math.Inf(1)
	if c.EvalShare < 1 {
		may = c.EvalShare / (1 - c.EvalShare) * readsOfTraining * trained
	}
	if float64(times)*float64(rows) <= may {
		return every, measured
	}
	few := times
	if c.EvalEvery.Auto {
		few = min(times, autoFew)
	}
	if c.EvalSplit.Auto && len(c.EvalData) == 0 && c.EvalRows == 0 {
		measured = min(max(int(may/float64(few)), autoLeast), rows)
	}
	if c.EvalEvery.Auto {
		times = min(max(int(may/float64(measured)), 2), times)
		every = (steps + times - 2) / (times - 1)
	}
	return every, measured
}

// Evaluations is how often a run of that many steps is measured: before its first step, after every so many (0: none),
// and after the last.
func Evaluations(steps, every int) int {
	if every == 0 {
		return 2
	}
	return 1 + (steps+every-1)/every
}

// Samples says that answers are to be written while training.
func (c *Config) Samples() bool {
	return (c.SampleEvery.Auto || c.SampleEvery.N > 0) && !c.scores() && !c.vectors()
}

// SampleSteps is the number of steps between answers of a run of that many; 0: only at the end.
func (c *Config) SampleSteps(steps int) int {
	if c.SampleEvery.Auto {
		return c.EvalSteps(steps)
	}
	return c.SampleEvery.N
}

// NeedHeld refuses options that measure on held-out examples where it turned out that there are none.
func (c *Config) NeedHeld(held bool) error {
	v := &validator{c: c}
	v.measured(held)
	return v.result()
}
