package alike

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// found gives for each text the one that it is like, and how.
func found(t *testing.T, texts []string) (of []int, how []How) {
	t.Helper()
	part := func(s string) []Part {
		asked, answered, _ := strings.Cut(s, "|")
		return []Part{{0, asked}, {1, answered}}
	}
	x, err := New(len(texts), func(i int) ([]Part, error) { return part(texts[i]), nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range texts {
		o, h, err := x.Add(sha256.Sum256([]byte(s)), part(s))
		if err != nil {
			t.Fatal(err)
		}
		of, how = append(of, o), append(how, h)
	}
	return of, how
}

// words makes a text of n words that are like no others.
func words(r *rand.Rand, n int) string {
	out := make([]string, n)
	for i := range out {
		b := make([]byte, 3+r.IntN(6))
		for k := range b {
			b[k] = byte('a' + r.IntN(26))
		}
		out[i] = string(b)
	}
	return strings.Join(out, " ")
}

func TestAlike(t *testing.T) {
	const (
		rain = "Why does it rain so much more often on the western side of a high mountain range than on the " +
			"eastern one?|Moist air cools as it climbs."
		other = "How do bees find their way back to the hive after a long flight?|They remember landmarks and the sun."
	)
	for _, tc := range []struct {
		name, text string
		want       How
	}{
		{"the same", rain, Exact},
		{"case and punctuation", "WHY does it rain so much more often -- on the western side of a high mountain " +
			"range, than on the eastern one|moist air  cools as it climbs", Near},
		{"one word of twenty", strings.Replace(rain, "western", "nearer", 1), Near},
		{"several words",
			strings.NewReplacer("often", "frequently", "mountain", "hilly", "Moist", "Humid").Replace(rain), Unlike},
		{"another text", other, Unlike},
		{"another short answer", strings.Replace(rain, "cools", "warms", 1), Unlike},
		{"the answer as question", "Moist air cools as it climbs.|Why does it rain so much more often on the western " +
			"side of a high mountain range than on the eastern one?", Unlike},
		{"shorter than a piece", "4|5", Unlike},
		{"nothing", "|", Unlike},
	} {
		if _, how := found(t, []string{rain, tc.text}); how[1] != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, how[1], tc.want)
		}
	}
}

// TestLanguages: texts without spaces between words are compared too.
func TestLanguages(t *testing.T) {
	a := "春天来了，小河里的冰慢慢地融化了，孩子们在岸边放风筝，老人们坐在树下聊天喝茶，大家都很高兴。"
	_, how := found(t, []string{a, strings.Replace(a, "，", "、", 2), "秋风吹过田野，农民们忙着收割金黄的稻子，汽车把粮食运到城里的市场上去卖。"})
	if want := []How{Unlike, Near, Unlike}; !slices.Equal(how, want) {
		t.Errorf("got %v, want %v", how, want)
	}
}

// TestCommon: what many texts share does not make them alike, and what tells them apart still does.
func TestCommon(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	shared := words(r, 300)
	var texts []string
	for range 40 {
		texts = append(texts, shared+" "+words(r, 25)+"|yes")
	}
	texts = append(texts, strings.ToUpper(texts[7]))
	of, how := found(t, texts)
	for i := range 40 {
		if how[i] != Unlike {
			t.Errorf("text %d: got %d, like %d; want unlike", i, how[i], of[i])
		}
	}
	if how[40] != Near || of[40] != 7 {
		t.Errorf("got %d like %d, want %d like 7", how[40], of[40], Near)
	}
}

// TestManyAlike: copies with one other word each are alike, however many there are.
func TestManyAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	first := words(r, 40)
	var texts []string
	for i := range 30 {
		texts = append(texts, strings.Replace(first, " ", fmt.Sprintf(" number%d ", i), 1))
	}
	of, how := found(t, texts)
	for i := 1; i < len(texts); i++ {
		if how[i] != Near || of[i] != 0 {
			t.Errorf("text %d: got %d like %d, want %d like 0", i, how[i], of[i], Near)
		}
	}
}

// TestRecall: texts from just above the threshold up are found, those below it never.
func TestRecall(t *testing.T) {
	const n = 400
	r := rand.New(rand.NewPCG(5, 6))
	var texts []string
	for range n {
		texts = append(texts, words(r, 60))
	}
	for i := range n {
		w := strings.Fields(texts[i])
		for range 1 + i%6 {
			w[r.IntN(len(w))] = words(r, 1)
		}
		texts = append(texts, strings.Join(w, " "))
	}
	of, how := found(t, texts)
	x := &Index{}
	alike, missed := 0, 0
	for i := range n {
		a, b := setOf(x.pieces([]Part{{0, texts[i]}})), setOf(x.pieces([]Part{{0, texts[n+i]}}))
		shared := 0
		for _, p := range a {
			if slices.Contains(b, p) {
				shared++
			}
		}
		j := similarity(shared, len(a), len(b))
		near := how[n+i] == Near && of[n+i] == i
		switch {
		case j >= Threshold:
			alike++
			if !near {
				missed++
			}
		case how[n+i] != Unlike:
			t.Errorf("text %d is called like %d at %.3f", n+i, of[n+i], j)
		}
	}
	if alike < n/4 || missed > alike/20 {
		t.Errorf("of %d texts alike %d are missed", alike, missed)
	}
}

// TestLong: long documents of one language are not alike for their common words.
func TestLong(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	lexicon := strings.Fields(words(r, 2000))
	document := func() string {
		w := make([]string, 50000)
		for i := range w {
			w[i] = lexicon[int(float64(len(lexicon))*r.Float64()*r.Float64())]
		}
		return strings.Join(w, " ")
	}
	if _, how := found(t, []string{document(), document()}); how[1] != Unlike {
		t.Error("two long documents with nothing in common but their words are called alike")
	}
}

// TestLinear: the time for 100,000 texts of 100 words, a hundredth of them alike, is a few seconds.
func TestLinear(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 texts")
	}
	const n, most = 100_000, 60 * time.Second // it takes 4 s; a quadratic way takes hours
	text := func(i int) string {
		r := rand.New(rand.NewPCG(uint64(i-i%100/99*99), 9)) // the last of each hundred is like the first
		return fmt.Sprint(i%100/99, words(r, 100))
	}
	x, err := New(n, func(i int) ([]Part, error) { return []Part{{0, text(i)}}, nil })
	if err != nil {
		t.Fatal(err)
	}
	began, near := time.Now(), 0
	for i := range n {
		s := text(i)
		_, how, err := x.Add(sha256.Sum256([]byte(s)), []Part{{0, s}})
		if err != nil {
			t.Fatal(err)
		}
		if how == Near {
			near++
		}
	}
	took := time.Since(began)
	t.Logf("%d texts in %v, %d alike", n, took, near)
	if took > most || near != n/100 {
		t.Errorf("got %d alike in %v, want %d in less than %v", near, took, n/100, most)
	}
	if kept := (2*cap(x.sigs) + 4*cap(x.next) + 4*cap(x.heads)) / n; kept > 400 {
		t.Errorf("%d bytes are kept of each text", kept)
	}
}
