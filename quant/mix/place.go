package mix

import (
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
)

// A Place is where a tensor stands in its model.
type Place struct {
	Role   string // of the tensor, by its name: "attn_v", "ffn_down", "token_embd"
	Layer  int    // -1 outside the layers
	NLayer int    // layers of the model
	Shape  []int64
	GQA    int64 // heads per key head, 1 where queries, keys and values are one matrix
	Tied   bool  // the model has no output matrix: token_embd serves as it
}

// Row is the number of elements in a row.
func (p Place) Row() int64 { return p.Shape[0] }

// isOutput says whether the tensor makes the logits.
func (p Place) isOutput() bool { return p.Role == "output" || p.Tied && p.Role == "token_embd" }

// Places finds the place of every tensor of a model, from their names and shapes alone.
func Places(tensors []gguf.TensorInfo) []Place {
	out := make([]Place, len(tensors))
	nLayer, tied := 0, true
	queries, keys := map[int]int64{}, map[int]int64{} // rows of each layer's matrices
	for i, t := range tensors {
		role, layer := split(t.Name)
		out[i] = Place{Role: role, Layer: layer, Shape: t.Shape, GQA: 1}
		nLayer = max(nLayer, layer+1)
		tied = tied && role != "output"
		if len(t.Shape) > 1 {
			switch role {
			case "attn_q":
				queries[layer] = t.Shape[1]
			case "attn_k":
				keys[layer] = t.Shape[1]
			}
		}
	}
	for i := range out {
		p := &out[i]
		p.NLayer, p.Tied = nLayer, tied
		if k := keys[p.Layer]; k > 0 {
			p.GQA = queries[p.Layer] / k
		}
	}
	return out
}

// split reads a tensor's name: "blk.3.attn_v.weight" is attn_v of layer 3.
func split(name string) (role string, layer int) {
	layer = -1
	if rest, ok := strings.CutPrefix(name, "blk."); ok {
		number, tail, _ := strings.Cut(rest, ".")
		if n, err := strconv.Atoi(number); err == nil && n >= 0 {
			layer, name = n, tail
		}
	}
	role, _, _ = strings.Cut(name, ".")
	return role, layer
}
