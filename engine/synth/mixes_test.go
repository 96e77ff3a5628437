package synth_test

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/quant/mix"
)

// The bits a weight that mixes tell of themselves are those of Llama 3 8B.
func TestBitsOfMixes(t *testing.T) {
	number := regexp.MustCompile(`([0-9.]+) bits a weight`)
	for _, m := range mix.All() {
		s, err := synth.ShapeByName("llama3-8b")
		if err != nil {
			t.Fatal(err)
		}
		s.Mix = m
		ts, err := s.Tensors()
		if err != nil {
			t.Fatal(err)
		}
		var bytes, weights int64
		for _, x := range ts {
			bytes += x.Size
			weights += x.Elements()
		}
		bits := 8 * float64(bytes) / float64(weights)
		said := number.FindStringSubmatch(m.About)
		if said == nil || m.Name == "mxfp4_moe" { // of the experts alone
			continue
		}
		if x, err := strconv.ParseFloat(said[1], 64); err != nil || x-bits > 0.05 || bits-x > 0.05 {
			t.Errorf("%s: said to take %q, has %.2f bits a weight", m.Name, said[0], bits)
		}
	}
}
