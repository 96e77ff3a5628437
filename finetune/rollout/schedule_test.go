package rollout

import (
	"context"
	"fmt"
	"hash/fnv"
	"reflect"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
)

// A fake predicts from a hash of all that a sequence holds, so that a token that is in the wrong place changes what
// follows. It counts what it reads.
type fake struct {
	t      *testing.T
	seqs   [][]int32
	room   int
	read   int // tokens
	reads  int // computations
	copies int
	gaps   int
	whole  bool // it forgets all where it is to forget a part
}

const fakeVocab, fakeEnd, fakeRoom = 12, 0, 20

func (f *fake) ReadEach(_ context.Context, next []llama.Next, use func([][]float32) error) error {
	f.reads++
	f.read += len(next)
	var rows [][]float32
	for i, n := range next {
		if i > 0 && n.Seq != next[i-1].Seq && n.Seq != next[i-1].Seq+1 {
			f.gaps++
		}
		f.seqs[n.Seq] = append(f.seqs[n.Seq], n.Token)
		if len(f.seqs[n.Seq]) > f.room {
			f.t.Errorf("sequence %d holds %d tokens of %d", n.Seq, len(f.seqs[n.Seq]), f.room)
		}
		if n.Want {
			rows = append(rows, fakeRow(f.seqs[n.Seq]))
		}
	}
	return use(rows)
}

func fakeRow(tokens []int32) []float32 {
	h := fnv.New64a()
	fmt.Fprint(h, tokens)
	row, x := make([]float32, fakeVocab), h.Sum64()
	for i := range row {
		x = x*6364136223846793005 + 1442695040888963407
		row[i] = float32(x>>40) / (1 << 23)
	}
	return row
}

func (f *fake) Copy(from, to int) error {
	f.copies++
	f.seqs[to] = slices.Clone(f.seqs[from])
	return nil
}

func (f *fake) LenOf(seq int) int { return len(f.seqs[seq]) }

func (f *fake) TruncateOf(seq, n int) error {
	if n > len(f.seqs[seq]) {
		f.t.Errorf("sequence %d of %d tokens is cut to %d", seq, len(f.seqs[seq]), n)
	}
	if f.whole && n < len(f.seqs[seq]) {
		n = 0
	}
	f.seqs[seq] = f.seqs[seq][:n:n]
	return nil
}

// alone writes one answer as it is defined: token by token.
func alone(p Prompt, prompt, sample int, s Sampling) (a Answer) {
	tokens := slices.Clone(p.Tokens)
	var d drawer
	most := s.MaxTokens
	if p.Most > 0 {
		most = min(most, p.Most)
	}
	if p.Place != nil {
		prompt, sample = p.Place.Prompt, p.Place.Sample
	}
	for len(a.Tokens) < most && len(tokens) < fakeRoom && !a.Ended {
		got, err := d.draw(fakeRow(tokens), s.Temp, uniform(s.Seed, uint32(s.Step), uint32(prompt), uint32(sample),
			uint32(len(a.Tokens))))
		if err != nil {
			panic(err)
		}
		tokens = append(tokens, got.token)
		a.Tokens, a.LogP = append(a.Tokens, got.token), append(a.LogP, float32(got.logp))
		a.Ended = got.token == fakeEnd
	}
	return a
}

// However many answers are written at a time, each is what it is alone; each prompt is read once, and nothing twice,
// but where what a sequence holds cannot be cut; and what is read together lies together.
func TestRollEqualsAlone(t *testing.T) {
	long := slices.Repeat([]int32{5}, fakeRoom-1)
	prompts := []Prompt{{Tokens: []int32{3, 4, 5}}, {Tokens: []int32{7}}, {Tokens: []int32{3, 4, 5}},
		{Tokens: []int32{1, 2, 3, 4, 5, 6, 7, 8, 9}}, {Tokens: long},
		{Tokens: []int32{2, 1}, Most: 3, Place: &Place{7, 1}}}
	for _, samples := range []int{1, 2, 5} {
		for _, most := range []int{1, 2, 8, 100} {
			s := Sampling{Temp: 1, MaxTokens: most, Seed: 3, Step: 2}
			var want []Answer
			read, ended, full := 0, 0, 0
			for p, prompt := range prompts {
				read += len(prompt.Tokens)
				for k := range samples {
					a := alone(prompt, p, k, s)
					want = append(want, a)
					read += len(a.Tokens) - 1 // the last is not read
					if a.Ended {
						ended++
					} else if len(prompt.Tokens)+len(a.Tokens) == fakeRoom {
						full++
					}
				}
			}
			for parallel := 1; parallel <= 7; parallel++ {
				t.Run(fmt.Sprintf("%d of %d, %d at a time", samples, most, parallel), func(t *testing.T) {
					rollEquals(t, prompts, samples, parallel, s, want, read, false)
				})
				t.Run(fmt.Sprintf("%d of %d, %d at a time, none cut", samples, most, parallel), func(t *testing.T) {
					rollEquals(t, prompts, samples, parallel, s, want, read, true)
				})
			}
			if most == 100 && samples == 5 && (ended == 0 || full == 0) {
				t.Errorf("%d answers ended, %d filled their room: the test proves too little", ended, full)
			}
		}
	}
}

// rollEquals wants these answers, for which so many tokens are read, or more where sequences cannot be cut (whole).
func rollEquals(t *testing.T, prompts []Prompt, samples, parallel int, s Sampling, want []Answer, read int,
	whole bool) {
	f := &fake{t: t, seqs: make([][]int32, parallel), room: fakeRoom, whole: whole}
	f.seqs[0] = []int32{1, 1} // what an earlier call left
	told := 0
	r := &roll{memory: f, sequences: parallel, batch: 4, room: fakeRoom, threads: 2,
		eog: func(id int32) bool { return id == fakeEnd }, prompts: prompts, samples: samples, how: s,
		progress: func(answers, _ int) { told = answers }}
	got, err := r.write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if f.read < read || f.read > read && !whole || f.gaps > 0 || told != len(want) {
		t.Errorf("%d tokens were read, want %d; %d gaps; told of %d answers", f.read, read, f.gaps, told)
	}
	if parallel == 1 && f.copies > 0 {
		t.Errorf("a single sequence was copied %d times", f.copies)
	}
}

// More at a time takes fewer computations: a free sequence goes to the next answer at once.
func TestRollRefills(t *testing.T) {
	prompts := []Prompt{{Tokens: []int32{3, 4, 5}}, {Tokens: []int32{7, 1, 2}}}
	reads := func(parallel int) int {
		f := &fake{t: t, seqs: make([][]int32, parallel), room: 1000}
		r := &roll{memory: f, sequences: parallel, batch: 64, room: 1000,
			eog: func(id int32) bool { return id == fakeEnd }, threads: 1, prompts: prompts, samples: 40,
			how: Sampling{Temp: 1, MaxTokens: 500}}
		got, err := r.write(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tokens, longest := 0, 0
		for _, a := range got {
			tokens, longest = tokens+len(a.Tokens), max(longest, len(a.Tokens))
		}
		// Whoever is free waits for nobody: no more than what there is, shared evenly, and the longest at the end.
		if most := tokens/parallel + longest + len(prompts); f.reads > most {
			t.Errorf("%d at a time: %d computations for %d tokens, want at most %d", parallel, f.reads, tokens, most)
		}
		return f.reads
	}
	if one, eight := reads(1), reads(8); eight*4 > one {
		t.Errorf("8 at a time take %d computations, one %d", eight, one)
	}
}
