package encode

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/testdata"
)

// sameAsAlone wants every path of a tree to be the item it was made of, token for token and mark for mark, and the root
// to be all that can be shared: it ends where the items part, or before the first counted token.
func sameAsAlone(t *testing.T, tree Item, items ...Item) {
	t.Helper()
	if len(tree.Segments) != len(items)+1 {
		t.Fatalf("%d segments for %d items", len(tree.Segments), len(items))
	}
	root := tree.Segments[0].Len
	parts := false
	for i, it := range items {
		s := tree.Segments[i+1]
		if got := slices.Concat(tree.Tokens[:root], tree.Tokens[s.Start:s.Start+s.Len]); !slices.Equal(got,
			it.Tokens) || s.Parent != 0 {
			t.Errorf("along answer %d the tree reads %v, alone %v", i+1, got, it.Tokens)
		}
		if got := slices.Concat(tree.Counted[:root], tree.Counted[s.Start:s.Start+s.Len]); !slices.Equal(got,
			it.Counted) {
			t.Errorf("along answer %d the tree counts %v, alone %v", i+1, got, it.Counted)
		}
		first := tree.Segments[1].Start
		parts = parts || tree.Tokens[s.Start] != tree.Tokens[first] || tree.Counted[s.Start]
	}
	if slices.Contains(tree.Counted[:root], true) {
		t.Error("a token of the root counts")
	}
	if !parts {
		t.Errorf("the root of %d tokens leaves out a token that all share", root)
	}
}

// alone encodes a literal prompt with each answer.
func alone(t *testing.T, e *Encoder, prompt string, answers ...string) []Item {
	t.Helper()
	items := make([]Item, len(answers))
	for i, a := range answers {
		var err error
		if items[i], err = e.Completion(src, prompt, a); err != nil {
			t.Fatalf("%q %q: %v", prompt, a, err)
		}
	}
	return items
}

func TestSiblings(t *testing.T) {
	for _, tc := range []struct {
		name           string
		vocab          func(v *fakeVocab)
		prompt, a, b   string
		want           string // the segments
		chat, noTokens bool
	}{
		{"literal", nil, "hi", " w", " hello", "hi / [ w]¦[</s>] / [ hello]¦[</s>]", false, false},
		{"BOS", func(v *fakeVocab) { v.addBOS = true }, "hi", " w", " hello", "<s>¦hi / [ w]¦[</s>] / [ hello]¦[</s>]",
			false, false},
		{"the answers begin alike", nil, "hi", " w", " world", "hi / [ w]¦[</s>] / [ world]¦[</s>]", false, false},
		{"one is the beginning of the other", nil, "hi", " world", " world hello",
			"hi / [ world]¦[</s>] / [ world]¦[ hello]¦[</s>]", false, false},
		{"a token across the border of one", nil, "x.", "\nhi", "hi", "x / [.⏎]¦[hi]¦[</s>] / .¦[hi]¦[</s>]", false,
			false},
		{"a token across the border of both", nil, "x:", " hi", " hi hello",
			"x / [: hi]¦[</s>] / [: hi]¦[ hello]¦[</s>]", false, false},
		{"SPM's space", func(v *fakeVocab) { v.spacePrefix, v.addBOS = true, true }, "hi", " w", " world",
			"<s>¦ ¦hi / [ w]¦[</s>] / [ world]¦[</s>]", false, false},
		{"empty prompt behind BOS", func(v *fakeVocab) { v.addBOS = true }, "", "hi", "hello",
			"<s> / [hi]¦[</s>] / [hello]¦[</s>]", false, false},
		{"empty prompt", nil, "", "hi", "hello", "", false, true},
		{"empty prompt, the same first token", nil, "", "hi w", "hi hello", "hi / [ w]¦[</s>] / [ hello]¦[</s>]", false,
			false},
		{"one-token prompt", nil, "x", "y", "z", "x / [y]¦[</s>] / [z]¦[</s>]", false, false},
		{"conversation", nil, "hi", "w", "hello", "<|im_start|>¦user¦⏎¦hi¦<|im_end|>¦⏎¦<|im_start|>¦assistant / " +
			"⏎¦[w]¦[<|im_end|>]¦⏎ / [⏎he]¦[l]¦[l]¦[o]¦[<|im_end|>]¦⏎", true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := newFakeVocab()
			if tc.vocab != nil {
				tc.vocab(v)
			}
			e := newEncoder(t, v)
			items := make([]Item, 2)
			for i, a := range []string{tc.a, tc.b} {
				var err error
				if items[i], err = e.Completion(src, tc.prompt, a); tc.chat {
					items[i], err = e.Conversation(src, chatML("", tc.prompt, a))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			tree, err := Siblings(src, items...)
			if tc.noTokens {
				if err == nil || !strings.Contains(err.Error(), "d.jsonl:3: its answers have no token before them") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var parts []string
			for _, s := range tree.Segments {
				parts = append(parts,
					shown(e, Item{Tokens: tree.Tokens[s.Start : s.Start+s.Len],
						Counted: tree.Counted[s.Start : s.Start+s.Len]}))
			}
			if got := strings.Join(parts, " / "); got != tc.want {
				t.Errorf("got\n%s, want\n%s", got, tc.want)
			}
			sameAsAlone(t, tree, items...)
		})
	}
	v := newFakeVocab()
	v.eos = -1
	e := newEncoder(t, v)
	if _, err := Siblings(src, alone(t, e, "", "x", "xy")...); err == nil ||
		!strings.Contains(err.Error(), "no token of answer 1 counts") {
		t.Errorf("an answer that nothing predicts: got %v", err)
	}
}

// TestRealSiblings: with published tokenizers, awkward texts read in a tree as they do alone.
func TestRealSiblings(t *testing.T) {
	dir := testdata.Shared(t)
	for _, c := range realChats {
		t.Run(c.file, func(t *testing.T) {
			_, e, texts := realVocab(t, dir+"/tokenizers/"+c.file)
			said := func(i int) string { return "." + texts[i%len(texts)] }
			for i := range texts {
				items := alone(t, e, "Go on"+said(i), said(i+7), said(i+13), texts[(i+7)%len(texts)]+"x")
				checkSiblings(t, items)
				items = nil
				for _, a := range []string{said(i + 7), said(i + 13)} {
					it, err := e.Conversation(src, chatOf(c.bos+c.user, said(i), c.endUser+c.assistant, a, c.end))
					if err != nil {
						t.Fatal(err)
					}
					items = append(items, it)
				}
				checkSiblings(t, items)
			}
		})
	}
}

func checkSiblings(t *testing.T, items []Item) {
	t.Helper()
	tree, err := Siblings(src, items...)
	if err != nil {
		t.Fatal(err)
	}
	sameAsAlone(t, tree, items...)
}

// chatOf is a conversation of two turns, the second trained.
func chatOf(open, question, between, answer, end string) *template.Rendering {
	from := len(open + question + between)
	return &template.Rendering{EndsTurn: true,
		Data: [][2]int{{len(open), len(open + question)}, {from, from + len(answer)}}, Spans: []template.Span{
			{Text: open + question + between, Kind: template.Header},
			{Text: answer, Kind: template.Content, Train: true}, {Text: end, Kind: template.End, Train: true}}}
}

func TestVerdict(t *testing.T) {
	v := newFakeVocab()
	v.addBOS = true
	e := newEncoder(t, v)
	items := alone(t, e, "hi", "xy", "abc")
	whole, _, err := Verdict(items[0], items[1], true, Limits{SeqLen: 9})
	if err != nil || whole.Label != 1 || len(whole.Tokens) != 9 || whole.Depth() != 6 {
		t.Fatalf("got %+v, %v", whole, err)
	}
	sameAsAlone(t, whole, items...)
	for _, tc := range []struct {
		name  string
		lim   Limits
		after int // tokens
		cut   bool
	}{
		{"room for all", Limits{SeqLen: 9}, 9, false},
		{"room for a part", Limits{SeqLen: 7}, 7, true},
		{"room for one token", Limits{SeqLen: 6}, 6, true},
		{"no room", Limits{SeqLen: 5}, 9, false},
		{"too long itself", Limits{SeqLen: 4}, 9, false},
		{"positions", Limits{SeqLen: 20, Positions: 5}, 8, true},
		{"too few positions", Limits{SeqLen: 20, Positions: 2}, 9, false},
	} {
		it, cut, err := Verdict(items[0], items[1], false, tc.lim)
		if err != nil || cut != tc.cut || len(it.Tokens) != tc.after || len(it.Counted) != tc.after || it.Label != 0 {
			t.Errorf("%s: got %d tokens, cut %v, label %g, %v; want %d, %v", tc.name, len(it.Tokens), cut, it.Label,
				err, tc.after, tc.cut)
		}
		if s := it.Segments[2]; s.Start+s.Len != len(it.Tokens) {
			t.Errorf("%s: segments %+v of %d tokens", tc.name, it.Segments, len(it.Tokens))
		}
	}
}

// TestOthers: beside each verdict stands another answer, to another prompt where there is one, the next in the circle.
func TestOthers(t *testing.T) {
	of := func(s string) (x []Judged) {
		for _, f := range strings.Fields(s) {
			x = append(x, Judged{sha256.Sum256([]byte(f[:1])), sha256.Sum256([]byte(f[1:]))})
		}
		return x
	}
	for _, tc := range []struct{ in, want string }{
		{"pa qb rc", "[1 2 0]"},
		{"pa pb qc", "[2 2 0]"},
		{"pa qa rb", "[2 2 0]"},
		{"pa pb pc", "[1 2 0]"},
		{"pa qa pb", "[2 2 1]"}, // pa has another answer on its own prompt only
		{"pa pa qb qb pa", "[2 2 4 4 2]"},
		{"pa qa ra", "none"},
		{"pa", "none"},
		{"", "[]"},
	} {
		x := of(tc.in)
		others, ok := Others(x)
		got := fmt.Sprint(others)
		if !ok {
			got = "none"
		}
		if got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.in, got, tc.want)
		}
	}
	sorted := make([]Judged, 200_000) // by answer, one prompt: quadratic work would not end
	for i := range sorted {
		sorted[i].Answer[0] = byte(i / 100_000)
	}
	others, ok := Others(sorted)
	if !ok || others[0] != 100_000 || others[150_000] != 0 {
		t.Errorf("sorted by answer: got %v, %v", others[:1], ok)
	}
}

// TestLongTrees: trees are left out whole, and it is known what would take them in.
func TestLongTrees(t *testing.T) {
	pair := func(prompt, a, b int) Item {
		child := func(n int) Child {
			c := Child{make([]int32, n), make([]bool, n)}
			c.Counted[n-1] = true
			return c
		}
		it, err := Tree(src, make([]int32, prompt), child(a), child(b))
		if err != nil {
			t.Fatal(err)
		}
		return it
	}
	for _, tc := range []struct {
		name string
		lim  Limits
		want LongTrees
		left int
		err  string
	}{
		{"fit", Limits{SeqLen: 30}, LongTrees{}, 2, ""},
		{"one too long", Limits{SeqLen: 20}, LongTrees{Count: 1, First: src, Longest: 24}, 1, ""},
		{"dropped on request", Limits{SeqLen: 20, OnLong: Drop}, LongTrees{Count: 1, First: src, Longest: 24}, 1, ""},
		{"refused", Limits{SeqLen: 20, OnLong: Refuse}, LongTrees{}, 1,
			"d.jsonl:3: 24 tokens: longer than a row of 20"},
		{"none left", Limits{SeqLen: 8}, LongTrees{Count: 2, First: src, Longest: 24}, 0, "--seq-len 24 takes them in"},
		{"as deep as the positions", Limits{SeqLen: 30, Positions: 16}, LongTrees{}, 2, ""},
		{"deeper than the positions", Limits{SeqLen: 30, Positions: 15}, LongTrees{Deep: 1, FirstDeep: src}, 1, ""},
		{"all deeper", Limits{SeqLen: 30, Positions: 3}, LongTrees{Deep: 2, FirstDeep: src}, 0,
			"longer than the 3 tokens that the model can read"},
	} {
		d := dataset(t, tc.lim, pair(8, 8, 8), pair(3, 3, 3))
		err := d.Check()
		if got := d.LongTrees(); got != tc.want || len(d.Items) != tc.left || (tc.err == "") != (err == nil) ||
			err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: got %+v, %d left, %v; want %+v, %d, %q", tc.name, got, len(d.Items), err, tc.want, tc.left,
				tc.err)
		}
	}
}
