package graph

import "fmt"

// A Master is the numbers that an optimizer's operation trains: X, a State of F32, or of BF16 that is rounded by chance
// as Key has it: i64 [2,1], what the draws depend on and the number of X's first element. With F32 Key is None.
type Master struct{ X, Key ID }

// MasterKeyNumbers is how many numbers a key has.
const MasterKeyNumbers = 2

// shapeMaster checks a master and gives its shape.
func shapeMaster(g *Graph, x, key ID) (Shape, error) {
	v := g.Value(x)
	switch {
	case v.Type == F32 && key == None:
		return v.Shape, nil
	case v.Type != BF16 || key == None:
		return v.Shape, fmt.Errorf("parameters of type %d, with a key: %v; want f32 without one, or bf16 with one",
			v.Type, key != None)
	}
	k := g.Value(key)
	return v.Shape, want(k.Type == I64 && k.Shape == Matrix(MasterKeyNumbers, 1), "key %v of type %d, want %d of i64",
		k.Shape, k.Type, MasterKeyNumbers)
}

// shapeUpdate checks an update of a master by what lies beside it in its shape, and so many constants. It gives one
// verdict a row.
func shapeUpdate(g *Graph, x, key ID, beside []ID, constants ID, numbers int) ([]Shape, error) {
	s, err := shapeMaster(g, x, key)
	if err != nil {
		return nil, err
	}
	for _, id := range beside {
		if g.shape(id) != s {
			return nil, fmt.Errorf("parameters %v beside %v", s, g.shape(id))
		}
	}
	return []Shape{Matrix(1, s[1])}, wantConstants(g, constants, numbers)
}

// wantConstants demands so many numbers in f64.
func wantConstants(g *Graph, id ID, numbers int) error {
	k := g.Value(id)
	return want(k.Type == F64 && k.Shape == Matrix(int64(numbers), 1), "constants %v of type %d, want %d of f64",
		k.Shape, k.Type, numbers)
}
