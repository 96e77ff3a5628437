package cpu

import (
	"sort"

	"github.com/ggtune/ggtune/engine/backend"
)

// place gives every slot that is not bound from outside its offset in the work area. Largest first, each at the lowest
// place free during its life: within a few percent of the least possible, and a pure function of the program.
func (p *program) place() {
	var order []int
	for i := range p.slots {
		if s := &p.slots[i]; s.value < 0 && s.first >= 0 {
			order = append(order, i)
		}
	}
	sort.SliceStable(order, func(a, b int) bool { return p.slots[order[a]].bytes > p.slots[order[b]].bytes })
	var placed []int // by offset
	for _, i := range order {
		s := &p.slots[i]
		s.offset = 0
		for _, j := range placed {
			o := &p.slots[j]
			if o.last < s.first || s.last < o.first {
				continue
			}
			if s.offset+s.bytes <= o.offset {
				break
			}
			s.offset = max(s.offset, backend.Aligned(o.offset+o.bytes))
		}
		at := sort.Search(len(placed), func(k int) bool { return p.slots[placed[k]].offset >= s.offset })
		placed = append(placed, 0)
		copy(placed[at+1:], placed[at:])
		placed[at] = i
		p.work = max(p.work, s.offset+backend.Aligned(s.bytes))
	}
}
