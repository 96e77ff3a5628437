package encode

import (
	"reflect"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/method"
)

// apart are examples of two texts, each named by a token and as long as the other says.
func apart(t *testing.T, need method.Need, texts ...[2]int32) *Dataset {
	t.Helper()
	d, err := NewDataset(need, Limits{SeqLen: 8})
	if err != nil {
		t.Fatal(err)
	}
	text := func(x int32) []int32 { return slices.Repeat([]int32{x}, 1+int(x)%4) }
	for i, x := range texts {
		it := Apart(data.Source{File: "d", Line: i + 1}, text(x[0]), text(x[1]))
		it.Label = float64(i)
		d.Add(it)
	}
	return d
}

// stepped gives the micro-batches of two epochs, each with the place before it.
func steppedMicros(t *testing.T, l *Loader) (micros []*Micro, at []Cursor) {
	t.Helper()
	for c := (Cursor{}); c.Epoch < 2; {
		m, next, err := l.Next(c)
		if err != nil {
			t.Fatal(err)
		}
		micros, at = append(micros, m), append(at, c)
		c = next
	}
	return micros, at
}

// TestSteps: an epoch has every example once, in steps of a number, whatever shares a row or a micro-batch; no text is
// in a step twice while others are left; and from any place on all is the same again.
func TestSteps(t *testing.T) {
	d := apart(t, method.Groups, [2]int32{1, 2}, [2]int32{1, 3}, [2]int32{4, 12}, [2]int32{5, 6}, [2]int32{7, 8},
		[2]int32{9, 13}, [2]int32{10, 11})
	for _, o := range []LoadOptions{{Batch: 1}, {Batch: 2, Shuffle: true}, {Batch: 9, Shuffle: true}} {
		o.Window, o.Seed, o.Step = 12, 3, 3
		l, err := NewLoader(d, o)
		if err != nil {
			t.Fatal(err)
		}
		if l.Steps() != 3 || l.MostTexts() < 2 {
			t.Errorf("%d steps of 7 examples by 3; %d texts in a row", l.Steps(), l.MostTexts())
		}
		micros, at := steppedMicros(t, l)
		var step, sizes []int
		twice := 0
		seen := map[uint64]bool{}
		for i, m := range micros {
			again, _, err := l.Next(at[i])
			if err != nil || !reflect.DeepEqual(again, m) {
				t.Fatalf("from %+v on it is another: %v", at[i], err)
			}
			pooled := 0
			for _, r := range m.Batch.Rows {
				pooled += len(r.Pooled)
				if len(r.Counted) > 0 || len(r.Tokens) > o.Window || len(r.Pooled) != len(r.Segments) {
					t.Errorf("row %+v", r)
				}
			}
			if pooled != len(m.Sequences) || pooled != 2*len(m.Examples) {
				t.Errorf("%d vectors of %d texts of %d examples", pooled, len(m.Sequences), len(m.Examples))
			}
			for k, q := range m.Sequences {
				if q.Child != 1+k%2 || q.Label != float64(q.Example) {
					t.Errorf("text %d is %+v", k, q)
				}
				if seen[q.Text] {
					twice++
				}
				seen[q.Text] = true
			}
			if step = append(step, m.Examples...); !m.EndsStep {
				continue
			}
			sizes, step, seen = append(sizes, len(step)), nil, map[uint64]bool{}
		}
		if want := []int{3, 3, 1, 3, 3, 1}; !slices.Equal(sizes, want) {
			t.Errorf("%+v: steps of %d examples, want %d", o, sizes, want)
		}
		if twice > 0 {
			t.Errorf("%+v: %d texts are in a step twice", o, twice)
		}
	}
}

// TestStepsOfEqualTexts: where there are no others, equal texts make a step, and nothing is lost.
func TestStepsOfEqualTexts(t *testing.T) {
	d := apart(t, method.Groups, [2]int32{1, 2}, [2]int32{1, 3}, [2]int32{1, 4}, [2]int32{1, 5})
	l, err := NewLoader(d, LoadOptions{Window: 12, Batch: 9, Step: 2})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	micros, _ := steppedMicros(t, l)
	for _, m := range micros {
		n += len(m.Examples)
		if len(m.Examples) != 2 || !m.EndsStep {
			t.Errorf("a step of %d", len(m.Examples))
		}
	}
	if n != 8 {
		t.Errorf("%d examples in two epochs, want 8", n)
	}
}

// TestStepsRefused: steps have a size; a limit leaves whole ones.
func TestStepsRefused(t *testing.T) {
	d := apart(t, method.Likenesses, [2]int32{1, 2}, [2]int32{1, 3}, [2]int32{1, 4}, [2]int32{1, 5})
	if _, err := NewLoader(d, LoadOptions{Window: 12, Batch: 1}); err == nil {
		t.Error("steps of nothing are accepted")
	}
	l, err := NewLoader(d, LoadOptions{Window: 12, Batch: 1, Step: 2, Packing: Unpacked, Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	if l.Rows() != 2 {
		t.Errorf("%d rows of at most 3, in steps of 2; want 2", l.Rows())
	}
}
