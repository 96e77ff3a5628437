package engine

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"testing"
)

// logSoftmax are the log-probabilities of one token's logits.
func logSoftmax(logits []float32) []float64 {
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l))
	}
	out := make([]float64, len(logits))
	for v, l := range logits {
		out[v] = float64(l) - math.Log(sum)
	}
	return out
}

// TestNamedAndTop holds both to the logits of the whole vocabulary, in a tree and with its branches as rows.
func TestNamedAndTop(t *testing.T) {
	const tol = 2e-5 // measured 3e-6
	s, b := outputSession(t)
	ctx := context.Background()
	forward := func(b *Batch, o Options) Outputs {
		t.Helper()
		out, err := s.Forward(ctx, b, o)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	logits := forward(b, Options{Want: []*Output{Logits}})[Logits]
	top := forward(b, Options{Want: []*Output{Top}, Top: 5})[Top]
	out := forward(b, Options{Want: []*Output{LogP, Named}})
	tree, row, vocab := out[Named], &b.Rows[0], s.model.HParams().NVocab
	var branch Row // the second segment with its parent, counted tokens 7 and 11
	branch.Tokens, branch.Segments = row.Tokens, []Segment{{Len: len(row.Tokens), Parent: -1}}
	branch.Counted, branch.Named = row.Counted[2:], row.Named[6:]
	alone := forward(&Batch{Rows: []Row{branch}}, Options{Want: []*Output{Named}})[Named]
	for i, at := range row.Counted {
		lp := logSoftmax(logits[i*vocab : (i+1)*vocab])
		near := func(what string, got float32, want float64) {
			t.Helper()
			if !(math.Abs(float64(got)-want) <= tol) {
				t.Errorf("counted token %d: %s: got %v, want %v", i, what, got, want)
			}
		}
		near("itself, asked for beside", out[LogP][i], lp[row.Tokens[at]])
		named, rest := row.Named[3*i:3*i+3], 0.0
		for v, x := range lp {
			if !slices.Contains(named, int32(v)) {
				rest += math.Exp(x)
			}
		}
		for j, v := range named {
			near("named", tree[4*i+j], lp[v])
		}
		near("the rest", tree[4*i+3], math.Log(rest))
		for j := range 4 {
			if i >= 2 {
				near("as a row of its own", alone[4*(i-2)+j], float64(tree[4*i+j]))
			}
		}
		order := make([]int, vocab)
		for v := range order {
			order[v] = v
		}
		slices.SortFunc(order, func(x, y int) int { return cmp.Compare(lp[y], lp[x]) })
		for j := range 5 {
			if id := int(top[10*i+j]); id != order[j] {
				t.Errorf("counted token %d: place %d is token %d, want %d", i, j, id, order[j])
			}
			near("top", top[10*i+5+j], lp[order[j]])
		}
	}
}

func TestNamedRefuses(t *testing.T) {
	s, b := outputSession(t)
	good := b.Rows[0]
	for name, c := range map[string]struct {
		named []int32
		rows  []Row // before
		want  string
	}{
		"none":            {nil, nil, "0 named tokens for 4 counted ones"},
		"no whole number": {[]int32{1, 2, 3}, nil, "3 named tokens for 4"},
		"twice":           {[]int32{1, 2, 1, 2, 3, 3, 1, 2}, nil, "named twice for counted token 2"},
		"outside":         {[]int32{1, 1, -1, 1}, nil, "named token -1 at index 2 is outside"},
		"other rows":      {[]int32{1, 1, 1, 1}, []Row{good}, "1 named tokens for each counted one, and 3 in the"},
	} {
		last := good
		last.Named = c.named
		_, err := s.Forward(context.Background(), &Batch{Rows: append(c.rows, last)}, Options{Want: []*Output{Named}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := s.Forward(context.Background(), b, Options{Want: []*Output{Top}}); err == nil {
		t.Error("no number of likeliest tokens: accepted")
	}
}
