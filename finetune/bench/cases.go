package bench

import (
	"math/rand/v2"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/internal/registry"
)

// A workload is one way of training.
type workload struct {
	name    string
	about   string
	session sessionKind
	row     rowMaker
	// against, where set, makes the row that a step is held against, in the same round; such a case also measures the
	// reference model of preference methods: the forward pass over its own row without the adapter.
	against rowMaker
}

// A rowMaker makes a row of random tokens; full rows have the number of tokens asked for.
type rowMaker func(r *rand.Rand, tokens, vocab int) engine.Row

// A sessionKind is what a session depends on; cases of one kind are measured in the same rounds.
type sessionKind struct {
	rank      int // 0: the config's
	recompute bool
	full      bool
}

var workloads = []workload{
	{"kept", "full rows, every token counted, activations kept as memory allows", sessionKind{}, fullRow, nil},
	{"packed", "rows packed from short examples, 60 tokens on average", sessionKind{}, packedRow, nil},
	{"masked", "full rows, the second half counted", sessionKind{}, maskedRow, nil},
	{"dpo", "a prompt with two answers, as preference methods train them", sessionKind{}, pairRow, answerRow},
	{"long", "rows 8 times as long", sessionKind{}, longRow, nil},
	{"recompute", "full rows, every layer computed again: the smallest memory", sessionKind{recompute: true}, fullRow,
		nil},
	{"rank64", "full rows, an adapter of rank 64", sessionKind{rank: 64}, fullRow, nil},
	{"full", "every parameter trained, as f32", sessionKind{full: true}, fullRow, nil},
}

// CaseNames lists the cases, with what each is.
func CaseNames() (names, about []string) {
	for _, p := range workloads {
		names, about = append(names, p.name), append(about, p.about)
	}
	return names, about
}

// DefaultCases are measured where none are named.
func DefaultCases() []string { return []string{"kept", "packed", "masked", "recompute"} }

// workloadsOf finds the named cases, in the order of workloads, so that those of one session stand together.
func workloadsOf(names []string) ([]workload, error) {
	if len(names) == 0 {
		names = DefaultCases()
	}
	asked := map[string]bool{}
	for _, n := range names {
		asked[n] = true
	}
	var out []workload
	for _, p := range workloads {
		if asked[p.name] {
			out = append(out, p)
			delete(asked, p.name)
		}
	}
	for _, n := range names {
		if asked[n] {
			known, _ := CaseNames()
			return nil, &registry.UnknownError{Kind: "case", Name: n, Known: known}
		}
	}
	return out, nil
}

func randomTokens(r *rand.Rand, n, vocab int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(r.IntN(vocab))
	}
	return out
}

// countedRow makes a row of segments of the given lengths, each a root; its tokens from index first on are counted,
// save the first of each segment, which nothing predicts.
func countedRow(tokens []int32, first int, lengths ...int) engine.Row {
	row := engine.Row{Tokens: tokens}
	at := 0
	for _, n := range lengths {
		row.Segments = append(row.Segments, engine.Segment{Start: at, Len: n, Parent: -1})
		for i := max(at+1, first); i < at+n; i++ {
			row.Counted = append(row.Counted, int32(i))
		}
		at += n
	}
	return row
}

func fullRow(r *rand.Rand, n, vocab int) engine.Row {
	return countedRow(randomTokens(r, n, vocab), 0, n)
}

func maskedRow(r *rand.Rand, n, vocab int) engine.Row {
	return countedRow(randomTokens(r, n, vocab), n/2, n)
}

// longFactor is how much longer the rows of case "long" are: 4096 tokens where others have 512.
const longFactor = 8

func longRow(r *rand.Rand, n, vocab int) engine.Row { return fullRow(r, longFactor*n, vocab) }

// pairLengths splits a row as a preference pair does: with 512 tokens a prompt of 300 and two answers of 100.
func pairLengths(n int) (prompt, answer int) { return n * 300 / 512, n * 100 / 512 }

// pairRow is a prompt with two answers as its branches. The answers' tokens are all counted: the prompt's last predicts
// the first of each.
func pairRow(r *rand.Rand, n, vocab int) engine.Row {
	prompt, answer := pairLengths(n)
	row := engine.Row{Tokens: randomTokens(r, prompt+2*answer, vocab), Segments: []engine.Segment{
		{Start: 0, Len: prompt, Parent: -1}, {Start: prompt, Len: answer, Parent: 0},
		{Start: prompt + answer, Len: answer, Parent: 0}}}
	for i := prompt; i < len(row.Tokens); i++ {
		row.Counted = append(row.Counted, int32(i))
	}
	return row
}

// answerRow is one sequence with as many tokens and counted tokens as pairRow: what supervised fine-tuning would train.
func answerRow(r *rand.Rand, n, vocab int) engine.Row {
	prompt, answer := pairLengths(n)
	return countedRow(randomTokens(r, prompt+2*answer, vocab), prompt, prompt+2*answer)
}

// Short chat examples: 60 tokens on average, from 20 to 100.
const shortest, longest = 20, 100

// packedRow fills a row with examples; the last takes what is left, so that the row is as long as the others.
func packedRow(r *rand.Rand, n, vocab int) engine.Row {
	var lengths []int
	for left := n; left > 0; {
		k := shortest + r.IntN(longest-shortest+1)
		if left-k < 2 { // one token alone cannot be counted
			k = left
		}
		lengths = append(lengths, k)
		left -= k
	}
	return countedRow(randomTokens(r, n, vocab), 0, lengths...)
}
