package cpu

import (
	"math/rand/v2"
	"testing"

	"github.com/ggtune/ggtune/engine/backend"
)

// randomSlots makes slots with random sizes and lives; every fifth is bound from outside and every seventh never used.
func randomSlots(r *rand.Rand, n int) []slot {
	slots := make([]slot, n)
	for i := range slots {
		first := r.IntN(40)
		slots[i] = slot{value: -1, bytes: 1 + r.Int64N(2000), first: first, last: first + r.IntN(12)}
		switch {
		case r.IntN(5) == 0:
			slots[i].value = 0
		case r.IntN(7) == 0:
			slots[i].first = -1
		}
	}
	return slots
}

func meet(a, b *slot) bool { return a.first <= b.last && b.first <= a.last }

// Slots alive at the same time share no byte, all lie in the work area, and the area is no larger than all of them one
// after the other and no smaller than what is alive at once.
func TestPlacedSlotsNeverOverlap(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 17))
		p := &program{slots: randomSlots(r, 1+r.IntN(60))}
		p.place()
		var placed []*slot
		total := int64(0)
		var alive [64]int64
		for i := range p.slots {
			s := &p.slots[i]
			if s.value >= 0 || s.first < 0 {
				continue
			}
			if s.offset < 0 || s.offset%backend.Alignment != 0 || s.offset+s.bytes > p.work {
				t.Fatalf("seed %d: slot %d at %d with %d bytes, in a work area of %d", seed, i, s.offset, s.bytes,
					p.work)
			}
			for _, o := range placed {
				if meet(s, o) && s.offset < o.offset+o.bytes && o.offset < s.offset+s.bytes {
					t.Fatalf("seed %d: %+v and %+v are alive at once and overlap", seed, *s, *o)
				}
			}
			placed = append(placed, s)
			total += backend.Aligned(s.bytes)
			for at := s.first; at <= s.last; at++ {
				alive[at] += backend.Aligned(s.bytes)
			}
		}
		least := int64(0)
		for _, n := range alive {
			least = max(least, n)
		}
		if p.work < least || p.work > total {
			t.Errorf("seed %d: a work area of %d bytes, expected %d to %d", seed, p.work, least, total)
		}
	}
}

// The same slots always get the same places.
func TestPlaceIsPure(t *testing.T) {
	first := program{slots: randomSlots(rand.New(rand.NewPCG(1, 2)), 50)}
	again := program{slots: append([]slot(nil), first.slots...)}
	first.place()
	again.place()
	for i := range first.slots {
		if first.slots[i] != again.slots[i] {
			t.Errorf("slot %d: %+v, then %+v", i, first.slots[i], again.slots[i])
		}
	}
}
