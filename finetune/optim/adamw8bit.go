package optim

import (
	"math"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/internal/setting"
)

// smallest8 is the least numbers of a parameter whose moments are kept in 8 bits, as in bitsandbytes: of smaller ones
// there is nothing to save.
const smallest8 = 4096

// AdamW8 is AdamW with moments of one byte each, in blocks of 256 (Dettmers et al. 2022, "8-bit optimizers via
// block-wise quantization"), with bitsandbytes' tables. Unlike there, a second moment above zero does not become zero,
// so that no update is divided by ε alone, and decay comes before the update, as in AdamW.
var AdamW8 = registerOptimizer(&Optimizer{
	Name:  "adamw8bit",
	Doc:   "AdamW with moments of 8 bits (Dettmers et al. 2022); a quarter of its memory",
	Reads: AdamW.Reads,
	StateBytes: each(func(n int64) int64 {
		if n < smallest8 {
			return 2 * 4 * n
		}
		words, blocks := codesOf(n)
		return 2 * 4 * (words + blocks)
	}),
	Rate:  1,
	start: startAdamW8,
})

// codesOf is how many words the codes of n numbers take, and in how many blocks they are.
func codesOf(n int64) (words, blocks int64) {
	eachPart(n, graph.AdamW8Block, func(_ int64, shape graph.Shape) {
		words += (shape[0] + 3) / 4 * shape[1]
		blocks += shape[1]
	})
	return words, blocks
}

// adamW8 is a moment by block.
type adamW8 struct {
	updater[graph.AdamWConstants]
	tables backend.Floats
	codes  [][4]backend.Floats // of m and v, largest of m and v
}

func startAdamW8(params []*engine.Param, s setting.Values, o Options) (rule, error) {
	return split(params, s, o, func(p *engine.Param) bool { return p.Len() < smallest8 }, startAdamW, startBlocks)
}

func startBlocks(params []*engine.Param, s setting.Values, o Options) (rule, error) {
	a := &adamW8{}
	return a, a.start(params, s, o, a.add)
}

// add makes a node for the whole blocks of a parameter, and one for what is left.
func (a *adamW8) add(i int, p *engine.Param, k graph.ID) (err error) {
	if a.tables.N == 0 {
		if a.tables, err = a.floats(2 * graph.AdamW8Codes); err != nil {
			return err
		}
		if err := a.tables.Upload(slices.Concat(codeTable(true), codeTable(false)), 0); err != nil {
			return err
		}
	}
	words, blocks := codesOf(p.Len())
	var f [4]backend.Floats
	for k, n := range []int64{words, words, blocks, blocks} {
		if f[k], err = a.floats(n); err != nil {
			return err
		}
	}
	a.codes = append(a.codes, f)
	var word, block int64
	eachPart(p.Len(), graph.AdamW8Block, func(from int64, shape graph.Shape) {
		codes, most := graph.Matrix((shape[0]+3)/4, shape[1]), graph.Matrix(1, shape[1])
		of := func(k int) graph.ID {
			return a.bind(graph.State, graph.I32, codes, f[k].Part(word, codes.Elements()).At)
		}
		a.give(p, a.graph.AdamW8(graph.AdamW8Inputs{X: a.master(p, from, shape), M: of(0), V: of(1),
			MostM: a.part(graph.State, f[2], block, most), MostV: a.part(graph.State, f[3], block, most),
			Gradient: a.part(graph.Input, p.Grad, from, shape), Constants: k,
			Tables: a.part(graph.Input, a.tables, 0, graph.Matrix(graph.AdamW8Codes, 2))}))
		word, block = word+codes.Elements(), block+most.Elements()
	})
	return nil
}

// codeTable is bitsandbytes' dynamic map, rising: seven powers of ten, each with twice the numbers of the one below,
// evenly spread in the middles between a tenth of the power and itself; zero and one. A signed one has them with both
// signs, and half as many of each.
func codeTable(signed bool) []float32 {
	const powers = 7
	table := []float32{0, 1}
	for i := range powers {
		n := 1 << i
		if !signed {
			n *= 2
		}
		power := math.Pow(10, float64(i-powers+1))
		for k := range n {
			x := float32(power * (0.1 + 0.9*(float64(k)+0.5)/float64(n)))
			table = append(table, x)
			if signed {
				table = append(table, -x)
			}
		}
	}
	slices.Sort(table)
	return table
}

func (a *adamW8) Update(lr, scale float64) error { return updateAdamW(&a.updater, lr, scale) }

func (a *adamW8) State() (out []checkpoint.Tensor) {
	for i, p := range a.params {
		for k, name := range []string{".adam_m8", ".adam_v8"} {
			f := a.codes[i][k]
			out = append(out, checkpoint.Tensor{Name: p.Name + name, Type: gguf.I8, N: 4 * f.N, Memory: f},
				checkpoint.DeviceFloats(p.Name+name+"_most", a.codes[i][2+k]))
		}
	}
	return out
}
