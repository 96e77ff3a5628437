package llama_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ggtune/ggtune/bindings/llama"
)

// several is a context of the story model with n sequences of 128 tokens.
func several(t *testing.T, file string, n int, kv llama.KVType, flash llama.FlashAttn) *llama.Context {
	t.Helper()
	m := openTestModel(t, llama.VerifyModelOptions(), "models", "stories260K", file)
	return newContext(t, m, llama.ContextOptions{NCtx: 128, Sequences: n, NBatch: 64, Threads: 1, KV: kv,
		FlashAttn: flash})
}

// nextOf reads tokens into a sequence, the last of which is wanted.
func nextOf(seq int, tokens ...int32) (out []llama.Next) {
	for i, id := range tokens {
		out = append(out, llama.Next{Seq: seq, Token: id, Want: i == len(tokens)-1})
	}
	return out
}

// readRows is ReadEach with a copy of what was wanted.
func readRows(t *testing.T, c *llama.Context, next []llama.Next) (out [][]float32) {
	t.Helper()
	err := c.ReadEach(t.Context(), next, func(rows [][]float32) error {
		for _, r := range rows {
			out = append(out, slices.Clone(r))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Texts that are read side by side, in steps of different sizes, predict what each predicts alone.
func TestSequencesEqualAlone(t *testing.T) {
	const tolerance = 1e-4 // measured: 8e-6, the rounding of kernels that treat one row and many differently
	c := several(t, "stories260K-f32.gguf", 3, llama.KVF32, llama.FlashAttnOff)
	texts := [][]int32{
		encode(t, c.Model(), "Once upon a time, there was a little girl named Lily."),
		encode(t, c.Model(), "The dog and the cat went to the big park."),
		encode(t, c.Model(), "One day"),
	}
	alone := several(t, "stories260K-f32.gguf", 1, llama.KVF32, llama.FlashAttnOff)
	var got [3][][]float32
	at := [3]int{}
	for step := 0; ; step++ {
		var next []llama.Next
		var of []int
		for s, text := range texts {
			for k := 0; k <= s && at[s] < len(text); k++ { // one token of the first, two of the second, three
				next = append(next, llama.Next{Seq: s, Token: text[at[s]], Want: true})
				of, at[s] = append(of, s), at[s]+1
			}
		}
		if len(next) == 0 {
			break
		}
		if step%2 == 1 {
			slices.Reverse(of)
			slices.SortStableFunc(next, func(a, b llama.Next) int { return b.Seq - a.Seq })
		}
		for i, row := range readRows(t, c, next) {
			got[next[i].Seq] = append(got[next[i].Seq], row)
		}
	}
	for s, text := range texts {
		if n := c.LenOf(s); n != len(text) {
			t.Errorf("sequence %d holds %d tokens, want %d", s, n, len(text))
		}
		want, err := alone.Logits(t.Context(), text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := maxDiff(slices.Concat(got[s]...), want); !(d <= tolerance) {
			t.Errorf("sequence %d: logits differ by %g from those of the text alone", s, d)
		} else {
			t.Logf("sequence %d: %g", s, d)
		}
	}
}

// A copy goes on as its source would have, also where the source is cut short before anything is read, and holds
// nothing of what was there before.
func TestCopySequence(t *testing.T) {
	for _, flash := range []llama.FlashAttn{llama.FlashAttnOff, llama.FlashAttnOn} {
		c := several(t, "stories260K-f32.gguf", 3, llama.KVF16, flash)
		prompt := encode(t, c.Model(), "Once upon a time, there was")
		readRows(t, c, nextOf(2, encode(t, c.Model(), "The big red dog ran and ran until it was far away")...))
		readRows(t, c, nextOf(0, prompt...))
		if err := c.Copy(0, 1); err != nil {
			t.Fatal(err)
		}
		if err := c.Copy(1, 2); err != nil { // before the first copy has been made
			t.Fatal(err)
		}
		if err := c.TruncateOf(0, 3); err != nil {
			t.Fatal(err)
		}
		if a, b, d := c.LenOf(0), c.LenOf(1), c.LenOf(2); a != 3 || b != len(prompt) || d != len(prompt) {
			t.Fatalf("sequences hold %d, %d and %d tokens, want 3, %d and %[4]d", a, b, d, len(prompt))
		}
		both := readRows(t, c, slices.Concat(nextOf(1, 300), nextOf(2, 300)))
		if d := maxDiff(both[0], both[1]); d != 0 {
			t.Errorf("two copies differ by %g", d)
		}
		fresh := several(t, "stories260K-f32.gguf", 3, llama.KVF16, flash)
		readRows(t, fresh, nextOf(1, prompt...))
		if err := fresh.Copy(1, 0); err != nil {
			t.Fatal(err)
		}
		if d := maxDiff(readRows(t, fresh, slices.Concat(nextOf(0, 300), nextOf(1, 300)))[1], both[0]); d != 0 {
			t.Errorf("a copy differs from its source by %g", d)
		}
	}
}

func TestReadEachArguments(t *testing.T) {
	c := several(t, "stories260K-f32.gguf", 2, llama.KVF32, llama.FlashAttnOff)
	ctx := t.Context()
	readRows(t, c, nextOf(1, 1, 2, 3))
	for name, next := range map[string][]llama.Next{
		"none": nil, "too many": make([]llama.Next, 65), "sequence": {{Seq: 2}}, "negative sequence": {{Seq: -1}},
		"token": {{Token: 512}}, "negative token": {{Seq: 1, Token: 5}, {Seq: 1, Token: -1}},
	} {
		if err := c.ReadEach(ctx, next, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for range 2 {
		if err := c.ReadEach(ctx, nextOf(0, make([]int32, 64)...), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.ReadEach(ctx, []llama.Next{{Seq: 1}, {Seq: 0}}, nil); !errors.Is(err, llama.ErrContextFull) {
		t.Errorf("129 tokens in a sequence of 128: got %v, want ErrContextFull", err)
	}
	if a, b := c.LenOf(0), c.LenOf(1); a != 128 || b != 3 || c.LenOf(2) != 0 || c.Sequences() != 2 {
		t.Errorf("sequences hold %d and %d tokens, want 128 and 3", a, b)
	}
	stop := errors.New("stop")
	if err := c.ReadEach(ctx, nextOf(1, 4), func([][]float32) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of use: got %v", err)
	}
	for _, err := range []error{c.Copy(0, 2), c.Copy(-1, 0), c.TruncateOf(2, 0), c.TruncateOf(1, 5),
		c.TruncateOf(1, -1)} {
		if err == nil {
			t.Error("a sequence or length that there is not: no error")
		}
	}
	if err := c.Copy(1, 1); err != nil || c.LenOf(1) != 4 {
		t.Errorf("a copy into itself: %v, %d tokens", err, c.LenOf(1))
	}
	if err := c.SetAdapters(nil, nil); err != nil || c.LenOf(0)+c.LenOf(1) != 0 {
		t.Errorf("SetAdapters: %v, and tokens of other weights are held", err)
	}
	m := c.Model()
	for _, n := range []int{-1, llama.MaxSequences() + 1, 1 << 40} {
		o := llama.VerifyContextOptions(16, 1)
		o.Sequences = n
		if c, err := m.NewContext(o); err == nil || !strings.Contains(err.Error(), "sequences") {
			c.Close()
			t.Errorf("%d sequences: got %v", n, err)
		}
	}
}

// A computation that is stopped leaves all sequences as they were, and the next one computes what it should.
func TestReadEachStops(t *testing.T) {
	c := several(t, "stories260K-f32.gguf", 4, llama.KVF32, llama.FlashAttnOff)
	prompt := encode(t, c.Model(), "Once upon a time, there was")
	for s := range 4 {
		readRows(t, c, nextOf(s, prompt...))
	}
	var next []llama.Next
	for i := range 64 {
		next = append(next, llama.Next{Seq: i % 4, Token: int32(100 + i), Want: true})
	}
	cause := errors.New("enough")
	stopped := 0
	for try := 0; try < 1000 && stopped < 3; try++ {
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(time.Duration(try%20)*100*time.Microsecond, func() { cancel(cause) })
		err := c.ReadEach(ctx, next, nil)
		timer.Stop()
		cancel(nil)
		if err == nil {
			for s := range 4 {
				if err := c.TruncateOf(s, len(prompt)); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		if !errors.Is(err, cause) {
			t.Fatalf("got %v, want the cause", err)
		}
		stopped++
		for s := range 4 {
			if n := c.LenOf(s); n != len(prompt) {
				t.Fatalf("sequence %d holds %d tokens, want %d", s, n, len(prompt))
			}
		}
	}
	if stopped == 0 {
		t.Error("nothing was ever stopped: the test proves nothing")
	}
	got := readRows(t, c, next)
	fresh := several(t, "stories260K-f32.gguf", 4, llama.KVF32, llama.FlashAttnOff)
	for s := range 4 {
		readRows(t, fresh, nextOf(s, prompt...))
	}
	if d := maxDiff(slices.Concat(got...), slices.Concat(readRows(t, fresh, next)...)); d != 0 || math.IsNaN(d) {
		t.Errorf("after a stop logits differ by %g", d)
	}
}
