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
	against rowMaker // of the row that a step is held against, in the same round; nil: of none
	than    string   // what against is, for people
	// reference also measures the reference model of preference methods: the forward pass without the adapter.
	reference bool
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
	{name: "kept", about: "full rows, every token counted, activations kept as memory allows", row: fullRow},
	{name: "packed", about: "rows packed from short examples, 60 tokens on average", row: packedRow},
	{name: "masked", about: "full rows, the second half counted", row: maskedRow},
	{name: "dpo", about: "a prompt with two answers, as preference methods train them", row: pairRow,
		against: answerRow, than: "one sequence with as many tokens", reference: true},
	{name: "group", about: "a prompt with 8 answers, as methods that learn from rollouts train them", row: groupRow,
		against: apartRow, than: "the same answers, each behind a prompt of its own"},
	{name: "long", about: "rows 8 times as long", row: longRow},
	{name: "recompute", about: "full rows, every layer computed again: the smallest memory",
		session: sessionKind{recompute: true}, row: fullRow},
	{name: "rank64", about: "full rows, an adapter of rank 64", session: sessionKind{rank: 64}, row: fullRow},
	{name: "full", about: "every parameter trained, as f32", session: sessionKind{full: true}, row: fullRow},
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

// answers is how many a prompt of case "group" has.
const answers = 8

// groupLengths are those of such a row: with 512 tokens a prompt of 200 and answers of 100.
func groupLengths(n int) (prompt, answer int) { return n * 200 / 512, n * 100 / 512 }

// groupRow is a prompt with its answers as branches, all of their tokens counted.
func groupRow(r *rand.Rand, n, vocab int) engine.Row {
	prompt, answer := groupLengths(n)
	row := engine.Row{Tokens: randomTokens(r, prompt+answers*answer, vocab),
		Segments: []engine.Segment{{Len: prompt, Parent: -1}}}
	for at := prompt; at < len(row.Tokens); at += answer {
		row.Segments = append(row.Segments, engine.Segment{Start: at, Len: answer, Parent: 0})
		for i := at; i < at+answer; i++ {
			row.Counted = append(row.Counted, int32(i))
		}
	}
	return row
}

// apartRow holds what groupRow does as sequences of their own, packed: the prompt is computed for each answer.
func apartRow(r *rand.Rand, n, vocab int) engine.Row {
	prompt, answer := groupLengths(n)
	tree := groupRow(r, n, vocab)
	var row engine.Row
	for _, g := range tree.Segments[1:] {
		at := len(row.Tokens)
		row.Tokens = append(append(row.Tokens, tree.Tokens[:prompt]...), tree.Tokens[g.Start:g.Start+g.Len]...)
		row.Segments = append(row.Segments, engine.Segment{Start: at, Len: prompt + answer, Parent: -1})
		for i := at + prompt; i < len(row.Tokens); i++ {
			row.Counted = append(row.Counted, int32(i))
		}
	}
	return row
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
