package run

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
)

// sayExperts says which parts of a mixture of experts stay as they are without having been named, and why.
func (s *setup) sayExperts() {
	var usual, routed []string
	experts := int64(0)
	net := s.model.Net()
	for _, r := range net.UsualRoles() {
		usual = append(usual, string(r))
	}
	net.Linear(func(p arch.Part, il int) {
		if il == 0 && p.Routed {
			routed = append(routed, string(p.Role))
			experts = p.Shape[len(p.Shape)-1]
		}
	})
	switch {
	case len(routed) == 0:
	case !s.cfg.Whole() && s.cfg.InitAdapter == "" && len(s.cfg.Targets) == 0 && s.start.Sets[0].Adapter != nil:
		s.note("adapted is what all tokens meet (%s); --targets names others (%s): of each matrix of experts there "+
			"are %d, with a pair each, which only the tokens that have the expert train", strings.Join(usual, ", "),
			strings.Join(routed, ", "), experts)
	case s.cfg.Whole() && !s.start.Sets[0].Whole(arch.Part{Role: arch.FFNGateInp, Suffix: ".weight",
		Shape: []int64{1, 1}}, 0):
		s.note("what chooses among experts (%s) stays as it is: trained with the rest it sends tokens elsewhere "+
			"before the experts there have learned them; --tune part --train all trains it too", arch.FFNGateInp)
	}
}

// experts adds how evenly tokens choose: the share of a step's choices that fell on the busiest expert, and the
// idlest, of each layer and of all. Layers that the way back does not reach are not counted.
func experts(to map[string]float64, loads map[int][]int64) map[string]float64 {
	if len(loads) == 0 {
		return to
	}
	if to == nil {
		to = map[string]float64{}
	}
	to[expertBusiest], to[expertIdlest] = 0, 1
	for il, n := range loads {
		choices := int64(0)
		for _, x := range n {
			choices += x
		}
		most, least := float64(slices.Max(n))/float64(choices), float64(slices.Min(n))/float64(choices)
		to[fmt.Sprint(expertBusiest, "_", il)], to[fmt.Sprint(expertIdlest, "_", il)] = most, least
		to[expertBusiest], to[expertIdlest] = max(to[expertBusiest], most), min(to[expertIdlest], least)
	}
	return to
}

// The keys of metrics.jsonl, behind which a layer's number may stand.
const (
	expertBusiest = "expert_busiest"
	expertIdlest  = "expert_idlest"
)
