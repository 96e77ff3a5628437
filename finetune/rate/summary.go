package rate

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/ggtune/ggtune/internal/count"
)

// A Summary counts choices.
type Summary struct {
	Rated int `json:"rated"` // all choices, skips too
	A     int `json:"a"`
	B     int `json:"b"`
	Tie   int `json:"tie"`
	Bad   int `json:"bad"`
	Edit  int `json:"edit"`
	Skip  int `json:"skip"`
	Rank  int `json:"rank"`  // lists
	Stars int `json:"stars"` // lists
	Pairs int `json:"pairs"` // of a better and a worse answer: what preference training reads

	Left    int `json:"left"`    // pairs not rated yet, which come again at the next start
	Dropped int `json:"dropped"` // not rated, and in no file that was given: typed prompts
	Equal   int `json:"equal"`   // pairs left out because both answers were the same
	Failed  int `json:"failed"`  // prompts that could not be answered

	WinRates []WinRate `json:"win_rates"` // where the two answers have different origins
}

// A WinRate is how often the answers of one origin were chosen over those of another. Ties count half; pairs that were
// skipped, edited or both bad do not count.
type WinRate struct {
	Of      string  `json:"of"`
	Against string  `json:"against"`
	Wins    int     `json:"wins"`
	Losses  int     `json:"losses"`
	Ties    int     `json:"ties"`
	Rate    float64 `json:"win_rate"`
	Low     float64 `json:"low"` // 95% interval
	High    float64 `json:"high"`
}

// N is the number of pairs that count.
func (w WinRate) N() int { return w.Wins + w.Losses + w.Ties }

// An origin is what decides what a model says, apart from chance.
type origin struct {
	model, adapter string
	scale          float32
}

func originOf(a *Answer) origin {
	o := origin{model: a.ModelSHA256, scale: 1}
	if a.AdapterSHA256 != nil {
		o.adapter = *a.AdapterSHA256
		if a.AdapterScale != nil {
			o.scale = *a.AdapterScale
		}
	}
	return o
}

// before says which of two origins a win rate is of: what was trained is measured against what was not, so the model as
// it is comes second; otherwise the order does not matter, but is always the same.
func (o origin) before(p origin) bool {
	switch {
	case (o.adapter == "") != (p.adapter == ""):
		return o.adapter != ""
	case o.model != p.model:
		return o.model < p.model
	case o.adapter != p.adapter:
		return o.adapter < p.adapter
	}
	return o.scale < p.scale
}

// origin says for people where an answer is from.
func (a *Answer) origin() string {
	name := a.Name
	switch {
	case name != "":
	case a.AdapterSHA256 != nil:
		name = fmt.Sprintf("adapter %.12s", *a.AdapterSHA256)
	default:
		name = fmt.Sprintf("model %.12s", a.ModelSHA256)
	}
	if a.AdapterScale != nil && *a.AdapterScale != 1 {
		name += fmt.Sprintf(" × %g", *a.AdapterScale)
	}
	return name
}

// Summarize counts records.
func Summarize(records []Record) Summary {
	s := Summary{Rated: len(records), WinRates: []WinRate{}}
	byPair := map[[2]origin]*WinRate{}
	var order [][2]origin
	for i := range records {
		r := &records[i]
		count := map[Choice]*int{A: &s.A, B: &s.B, Tie: &s.Tie, Bad: &s.Bad, Edit: &s.Edit, Skip: &s.Skip,
			Rank: &s.Rank, Stars: &s.Stars}[r.Choice]
		if count == nil {
			continue
		}
		*count++
		s.Pairs += r.pairs()
		if r.Choice != A && r.Choice != B && r.Choice != Tie {
			continue
		}
		x, y := &r.Answers[0], &r.Answers[1]
		key, first := [2]origin{originOf(x), originOf(y)}, r.Choice == A
		if key[1].before(key[0]) {
			x, y, key, first = y, x, [2]origin{key[1], key[0]}, r.Choice == B
		}
		if key[0] == key[1] {
			continue
		}
		w := byPair[key]
		if w == nil {
			w = &WinRate{Of: x.origin(), Against: y.origin()}
			byPair[key] = w
			order = append(order, key)
		}
		switch {
		case r.Choice == Tie:
			w.Ties++
		case first:
			w.Wins++
		default:
			w.Losses++
		}
	}
	sort.SliceStable(order, func(i, j int) bool { return byPair[order[i]].N() > byPair[order[j]].N() })
	for _, key := range order {
		w := byPair[key]
		w.Rate = (float64(w.Wins) + float64(w.Ties)/2) / float64(w.N())
		w.Low, w.High = wilson(w.Rate, float64(w.N()))
		s.WinRates = append(s.WinRates, *w)
	}
	return s
}

// z95 is the 97.5% quantile of the normal distribution.
const z95 = 1.959963984540054

// wilson is the score interval of a proportion p of n trials at 95% (Wilson 1927, "Probable Inference, the Law of
// Succession, and Statistical Inference", equation 4). With halves for ties it is wider than need be: their variance is
// smaller than a coin's.
func wilson(p, n float64) (low, high float64) {
	z2 := z95 * z95
	middle := (p + z2/(2*n)) / (1 + z2/n)
	half := z95 / (1 + z2/n) * math.Sqrt(p*(1-p)/n+z2/(4*n*n))
	return max(0, middle-half), min(1, middle+half)
}

// String is the summary for people, in lines.
func (s Summary) String() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "rated\t%d\n", s.Rated)
	for _, line := range []struct {
		name string
		n    int
	}{
		{"  A better", s.A}, {"  B better", s.B}, {"  tie", s.Tie}, {"  ranked", s.Rank}, {"  given stars", s.Stars},
		{"  all bad", s.Bad}, {"  edited", s.Edit},
		{"  skipped", s.Skip},
		{"pairs to train on", s.Pairs}, {"not rated yet", s.Left}, {"not rated, not kept", s.Dropped},
		{"left out, equal answers", s.Equal}, {"could not be answered", s.Failed},
	} {
		if line.n > 0 {
			fmt.Fprintf(t, "%s\t%d\n", line.name, line.n)
		}
	}
	t.Flush() // a strings.Builder takes all
	for _, r := range s.WinRates {
		fmt.Fprintln(&b, r)
	}
	return b.String()
}

// String says the rate with its interval.
func (w WinRate) String() string {
	return fmt.Sprintf(
		"%s beats %s in %.1f%% of %s (95%% interval %.1f%% to %.1f%%; %d won, %d lost, %d tied, which counts half)",
		w.Of, w.Against, 100*w.Rate, count.Of(w.N(), "pair"), 100*w.Low, 100*w.High, w.Wins, w.Losses, w.Ties)
}

// ReadChoices reads a file of choices without locking it; a last line that is still being written is left out.
func ReadChoices(path string) ([]Record, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var out []Record
	err = eachLine(data, func(n int, line []byte, whole bool) error {
		r, err := parseChoice(line)
		if err != nil && !whole {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
		out = append(out, r)
		return nil
	})
	return out, err
}
