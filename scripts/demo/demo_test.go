package main

import (
	"slices"
	"strings"
	"testing"
)

func testFacts(t *testing.T) (map[string]table, []fact) {
	t.Helper()
	tables, err := parseTables(factsText)
	if err != nil {
		t.Fatal(err)
	}
	return tables, allFacts(tables)
}

func TestFactsAreAnswersToOneQuestionEach(t *testing.T) {
	_, facts := testFacts(t)
	if len(facts) < 1000 {
		t.Fatalf("got %d facts, want at least 1000", len(facts))
	}
	answers := map[string]string{}
	for _, f := range facts {
		if !strings.HasSuffix(f.Answer, ".") {
			t.Errorf("answer %q is not a sentence", f.Answer)
		}
		for _, q := range f.Ask {
			if last := q[len(q)-1]; last != '?' && last != '.' {
				t.Errorf("question %q has no end", q)
			}
			if old, ok := answers[q]; ok && old != f.Answer {
				t.Errorf("%q has two answers: %q and %q", q, old, f.Answer)
			}
			answers[q] = f.Answer
		}
	}
}

func TestParseTablesErrors(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"no section":        {"a | b", "facts.txt:1: a record before the first [section]"},
		"ragged records":    {"[x]\na | b\nc", "facts.txt:3: 1 fields in section x, expected 2"},
		"comments pass":     {"# c\n[x]\na", ""},
		"a series may vary": {"[after]\na | b\nc | d | e", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseTables(tc.text)
			if got := errText(err); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestEqualSeedsGiveEqualConversations(t *testing.T) {
	tables, facts := testFacts(t)
	a, b, c := newGenerator(tables, facts, 1), newGenerator(tables, facts, 1), newGenerator(tables, facts, 2)
	same := true
	for range 200 {
		x, y, z := a.conversation(), b.conversation(), c.conversation()
		if !slices.Equal(x.Messages, y.Messages) {
			t.Fatalf("got %v, want %v", y, x)
		}
		same = same && slices.Equal(x.Messages, z.Messages)
		for i, m := range x.Messages {
			if want := []string{"user", "assistant"}[i%2]; m.Role != want || m.Content == "" {
				t.Fatalf("message %d: got role %q, content %q, want role %q", i, m.Role, m.Content, want)
			}
		}
	}
	if same {
		t.Error("another seed gives the same text")
	}
}

func TestPirate(t *testing.T) {
	for _, tc := range []struct{ plain, want string }{
		{"The opposite of big is small.", "Arr! Th' opposite o' big be small, matey!"},
		{"Yes, a cow is big.", "Aye! A cow be big, matey!"},
		{"No, the sky is blue.", "Nay! Th' sky be blue, matey!"},
		{"A cow lives on a farm. It is big and brown.", "Arr! A cow lives on a farm. It be big an' brown, matey!"},
	} {
		if got := pirate(tc.plain); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

func TestStyleRowsShareNoFact(t *testing.T) {
	_, facts := testFacts(t)
	train, heldout := styleRows(facts, 1, styleTrain, styleHeldout)
	if len(train) != styleTrain || len(heldout) != styleHeldout {
		t.Fatalf("got %d and %d rows, want %d and %d", len(train), len(heldout), styleTrain, styleHeldout)
	}
	seen := map[string]bool{}
	for _, r := range train {
		seen[r.Messages[0].Content] = true
	}
	for _, r := range heldout {
		if seen[r.Messages[0].Content] {
			t.Errorf("held-out question %q is trained on", r.Messages[0].Content)
		}
	}
}

func TestPretokens(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"Hello, world!", []string{"Hello", ",", " world", "!"}},
		{"it's  two  ", []string{"it", "'s", " ", " two", "  "}},
		{"a\n\nb 12x", []string{"a", "\n", "\n", "b", " 12", "x"}},
		{"we'll Th' o'", []string{"we", "'ll", " Th", "'", " o", "'"}},
		{"don'x '", []string{"don", "'", "x", " '"}},
		{"", nil},
	} {
		if got := pretokens(tc.text); !slices.Equal(got, tc.want) {
			t.Errorf("%q: got %q, want %q", tc.text, got, tc.want)
		}
	}
}

func TestTrainBPE(t *testing.T) {
	texts := []string{strings.Repeat("low lower lowest ", 10)}
	vocab, merges, err := trainBPE(texts, 256+5)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"l o", "lo w", "Ġ low", "Ġlow e", "s t"}; !slices.Equal(merges, want) {
		t.Errorf("merges: got %q, want %q", merges, want)
	}
	sorted := slices.Clone(vocab)
	slices.Sort(sorted)
	if n := len(slices.Compact(sorted)); n != 256+5 || len(vocab) != n {
		t.Errorf("got %d pieces, %d different ones, want %d", len(vocab), n, 256+5)
	}
	if _, _, err := trainBPE([]string{"ab"}, 300); err == nil {
		t.Error("a corpus without regularity gives merges")
	}
}
