package encode

import (
	"encoding/json"
	"reflect"
	"testing"
)

// shards gives loaders of the same data for each of world machines.
func shards(t *testing.T, world, batch int) (out []*Loader) {
	t.Helper()
	var items []Item
	for line := 1; line <= 23; line++ {
		items = append(items, itemOf(line, 4+line%5, 1, 2))
	}
	for rank := range world {
		l, err := NewLoader(dataset(t, Limits{SeqLen: 10}, items...),
			LoadOptions{Window: 10, Batch: batch, Seed: 3, Shuffle: true, Rank: rank, World: world})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// TestShards: what several machines get is, in the order of their ranks, what one gets, and their cursors agree.
func TestShards(t *testing.T) {
	for _, batch := range []int{1, 2} {
		whole := shards(t, 1, batch)[0]
		var want []*Micro
		for c := (Cursor{}); c.Epoch < 2; {
			m, next, err := whole.Next(c)
			if err != nil {
				t.Fatal(err)
			}
			want, c = append(want, m), next
		}
		for world := 2; world <= 4; world++ {
			ranks := shards(t, world, batch)
			var got []*Micro
			short := 0 // micro-batches of no rows
			for c := (Cursor{}); c.Epoch < 2; {
				var after Cursor
				for rank, l := range ranks {
					m, next, err := l.Next(c)
					if err != nil {
						t.Fatal(err)
					}
					if rank > 0 && next != after {
						t.Fatalf("rank %d of %d stands at %+v, the first at %+v", rank, world, next, after)
					}
					if after = next; m.EndsStep != (next.Row == 0) {
						t.Fatalf("rank %d of %d at %+v: ends the epoch: %v", rank, world, next, m.EndsStep)
					}
					if len(m.Batch.Rows) == 0 {
						short++
						continue
					}
					m.EndsStep = false
					got = append(got, m)
				}
				c = after
			}
			for i := range want {
				want[i].EndsStep = false
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("batch %d, %d machines: their %d micro-batches are not the %d of one", batch, world, len(got),
					len(want))
			}
			if perEpoch := len(want) / 2; short != 2*((world-perEpoch%world)%world) {
				t.Errorf("batch %d, %d machines: %d micro-batches of no rows, %d an epoch in all", batch, world, short,
					perEpoch)
			}
		}
	}
	if _, err := NewLoader(dataset(t, Limits{SeqLen: 10}, itemOf(1, 5, 1)),
		LoadOptions{Window: 10, Batch: 1, Rank: 2, World: 2}); err == nil {
		t.Error("rank 2 of 2 is accepted")
	}
}

// TestStream: a stream gives what the loader gives, and again from every place it was at, in another stream too.
func TestStream(t *testing.T) {
	l := shards(t, 1, 2)[0]
	s := NewStream(l)
	var places []json.RawMessage
	var want []*Micro
	var epochs []float64
	for c := (Cursor{}); c.Epoch < 2; {
		m, next, err := l.Next(c)
		if err != nil {
			t.Fatal(err)
		}
		places, epochs = append(places, s.Place()), append(epochs, s.Epoch())
		got, err := s.Next(t.Context())
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("at %+v: another micro-batch, %v", c, err)
		}
		want, c = append(want, m), next
	}
	for i := len(places) - 1; i >= 0; i-- {
		other := NewStream(l)
		if err := other.Return(places[i]); err != nil || other.Epoch() != epochs[i] {
			t.Fatalf("place %s: epoch %g, %v, want %g", places[i], other.Epoch(), err, epochs[i])
		}
		if got, err := other.Next(t.Context()); err != nil || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("place %s: another micro-batch, %v", places[i], err)
		}
	}
	// Checkpoints of every version hold it so.
	if got, want := string(places[1]), `{"epoch":0,"row":2}`; got != want {
		t.Errorf("got place %s, want %s", got, want)
	}
	if err := s.Return(json.RawMessage(`"here"`)); err == nil {
		t.Error("what is no place is accepted")
	}
	if err := s.Return(json.RawMessage(`{"epoch":0,"row":999}`)); err != nil {
		t.Error(err)
	} else if _, err := s.Next(t.Context()); err == nil {
		t.Error("a place behind the data is accepted")
	}
}
