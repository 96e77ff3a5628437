package head

import (
	"fmt"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
)

// RankTensor is what llama.cpp reads a model's classification head from.
const RankTensor = "cls.output.weight"

// Ranks refuses an architecture whose models llama.cpp reads no classification head of.
func Ranks(name string) error {
	a, err := arch.Get(name)
	if err != nil || a.Ranks {
		return err
	}
	return fmt.Errorf("llama.cpp reads a classification head of other architectures than %q, so that the head cannot "+
		"leave in a model; score with ggtune score", name)
}

// Rank writes the head into a model as llama.cpp's classification head, of two classes: the rows are the head's numbers
// and zeros, so that the first of its softmax is σ(score), the mean not taken off, for which there is no place. labels
// name the classes.
func (f *File) Rank(w *gguf.Writer, labels [2]string) error {
	arch.PoolRank.Write(w, f.Arch)
	w.SetStrings(f.Arch+".classifier.output_labels", labels[:])
	n := len(f.Weight)
	rows := make([]float32, 2*n)
	copy(rows, f.Weight)
	return w.AddFloats(RankTensor, []int64{int64(n), 2}, rows)
}
