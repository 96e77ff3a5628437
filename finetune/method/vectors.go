package method

import (
	"fmt"
	"math"
	"slices"

	"github.com/ggtune/ggtune/finetune/vectors"
	"github.com/ggtune/ggtune/internal/setting"
)

// The settings that several methods of vectors read.
var (
	scale = &setting.Setting{
		Name:  "scale",
		Usage: "what cosines are multiplied with before they are compared: one over the temperature",
		Range: setting.Above(0, "above 0, such as 20"),
	}
	cosineMargin = &setting.Setting{
		Name: "cosine-margin",
		Usage: "triplet: by how much the cosine with the positive must be above that with a negative; contrastive: " +
			"how far, in 1 − cosine, unlike texts must be apart; gist: how close to the positive's a cosine of the " +
			"reference's makes a text no negative",
		Range: setting.Within(0, 2, "0 to 2"),
	}
)

// Idle is the figure of methods that compare a step's texts with each other: the share of what they compare that has
// nothing to be compared with, so that nothing is learned of it.
const Idle = "idle"

// checkPooled refuses inputs that lack what a method of vectors needs.
func (m *Method) checkPooled(in *Inputs) error {
	n := len(in.Sequences)
	if n == 0 || in.Width < 1 || len(in.Pooled) != n*in.Width {
		return fmt.Errorf("method %s: %d numbers of %d vectors of width %d", m.Name, len(in.Pooled), n, in.Width)
	}
	if m.Reference && (len(in.Ref) == 0 || len(in.Ref)%n != 0) {
		return fmt.Errorf("method %s needs the reference's vectors: have %d numbers of %d", m.Name, len(in.Ref), n)
	}
	return nil
}

// OfVectors lists the names of the methods that learn from vectors of texts.
func OfVectors() (names []string) {
	for _, m := range methods.All() {
		if m.Need.Pools() {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names
}

// shortest is the length below which a vector counts as one without a direction, as torch's cosine_similarity has it
// (eps 1e-8): its cosines are 0, and no gradient reaches it.
const shortest = 1e-8

// A sphere is vectors at length 1. What is learned of them are directions: losses collect derivatives by the vectors of
// length 1 in it, and back gives those by the vectors as they came.
type sphere struct {
	width  int
	at     []float64 // n · width
	length []float64 // as they came
	by     []float64 // dSum/dat
	// byScale is the derivative of the choices' losses by the scale.
	byScale float64
}

func sphereOf(v []float64, n int) *sphere {
	s := &sphere{width: len(v) / n, at: make([]float64, len(v)), length: make([]float64, n),
		by: make([]float64, len(v))}
	for i := range n {
		x := v[i*s.width : (i+1)*s.width]
		if s.length[i] = vectors.Norm(x); s.length[i] < shortest {
			continue
		}
		for k, y := range x {
			s.at[i*s.width+k] = y / s.length[i]
		}
	}
	return s
}

func (s *sphere) of(i int) []float64 { return s.at[i*s.width : (i+1)*s.width] }

// cos is the cosine of vectors i and k.
func (s *sphere) cos(i, k int) float64 { return vectors.Dot(s.of(i), s.of(k)) }

// push adds slope, the derivative of the sum by the cosine of i and k.
func (s *sphere) push(i, k int, slope float64) {
	if slope == 0 {
		return
	}
	a, b := s.of(i), s.of(k)
	byA, byB := s.by[i*s.width:(i+1)*s.width], s.by[k*s.width:(k+1)*s.width]
	for d := range a {
		byA[d] += slope * b[d]
		byB[d] += slope * a[d]
	}
}

// back gives the derivatives by the vectors as they came: of u = v/|v| it is (g − (g·u)·u)/|v|.
func (s *sphere) back() []float64 {
	out := make([]float64, len(s.by))
	for i, length := range s.length {
		if length < shortest {
			continue
		}
		u, g := s.of(i), s.by[i*s.width:(i+1)*s.width]
		along := vectors.Dot(g, u)
		for d := range u {
			out[i*s.width+d] = (g[d] - along*u[d]) / length
		}
	}
	return out
}

// two are vectors whose cosine takes part in a choice.
type two struct{ i, k int }

// choose adds to s the derivatives of weight times the cross-entropy of a choice between pairs, of which the first is
// the right one, by their cosines times scale, and gives that loss, in nats, and the cosines:
//
//	L = −scale·cos₀ + log Σ exp(scale·cos)
func (s *sphere) choose(of []two, scale, weight float64) (loss float64, cos []float64) {
	cos, most := make([]float64, len(of)), math.Inf(-1)
	for j, p := range of {
		cos[j] = s.cos(p.i, p.k)
		most = max(most, scale*cos[j])
	}
	sum, e := 0.0, make([]float64, len(of))
	for j := range cos {
		e[j] = math.Exp(scale*cos[j] - most)
		sum += e[j]
	}
	for j, p := range of {
		share := e[j] / sum
		if j == 0 {
			share--
		}
		s.byScale += weight * share * cos[j]
		s.push(p.i, p.k, weight*scale*share)
	}
	return weight * (most + math.Log(sum) - scale*cos[0]), cos
}

// A group is the places of an example's texts among the sequences.
type group struct {
	anchor, positive int
	negatives        []int
}

// groups gives the examples of Groups, or of Views.
func (in *Inputs) groups() (out []group, err error) {
	for k, q := range in.Sequences {
		last := len(out) - 1
		switch {
		case q.Child == 1:
			out = append(out, group{anchor: k, positive: -1})
			continue
		case last < 0 || in.Sequences[out[last].anchor].Example != q.Example:
			return nil, fmt.Errorf("example %d has text %d and no anchor before it", q.Example, q.Child)
		case q.Child == 2:
			out[last].positive = k
		default:
			out[last].negatives = append(out[last].negatives, k)
		}
	}
	for _, g := range out {
		if g.positive < 0 {
			return nil, fmt.Errorf("example %d has no text that belongs to its anchor",
				in.Sequences[g.anchor].Example)
		}
	}
	return out, nil
}

// positives says of each text (by its number) to which others it belongs: as an anchor or as a positive of one.
func (in *Inputs) positives(all []group) map[[2]uint64]bool {
	out := map[[2]uint64]bool{}
	for _, g := range all {
		a, p := in.Sequences[g.anchor].Text, in.Sequences[g.positive].Text
		out[[2]uint64{a, p}] = true
	}
	return out
}

// likeness calls f with the two texts of each example of Likenesses and their label.
func (in *Inputs) likeness(f func(i, k int, label float64)) error {
	k := 0
	return eachTwo(in, func(first, _ Sequence) {
		f(k, k+1, first.Label)
		k += 2
	})
}
