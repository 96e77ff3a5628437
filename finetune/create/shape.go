package create

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant/mix"
)

// A Shape is a model's sizes, under llama.cpp's names.
type Shape struct {
	Layers  int `json:"n_layer"`
	Width   int `json:"n_embd"`
	Heads   int `json:"n_head"`
	KVHeads int `json:"n_head_kv"` // of the first layer that has some, where they differ
	Head    int `json:"n_embd_head"`
	FFN     int `json:"n_ff"`
	Context int `json:"n_ctx_train"` // tokens
}

// A shaped file answers for some keys with other values, and has as many layers more or less as they say.
type shaped struct {
	*gguf.File
	keys   map[string]any // int64; or of each layer: []int64, []bool
	layers int            // of the file
}

// given is a key's other value, if it is of the type asked for; else the file's.
func given[T any](s shaped, key string, file func(key string) (T, error)) (T, error) {
	if v, ok := s.keys[key].(T); ok {
		return v, nil
	}
	return file(key)
}

func (s shaped) Bools(key string) ([]bool, error) { return given(s, key, s.File.Bools) }

// HasTensor says of each layer what the file says of the one that it takes after.
func (s shaped) HasTensor(name string) bool {
	if il := mix.Layer(name); il >= s.layers {
		name = arch.InLayer(il%s.layers, strings.TrimPrefix(name, "blk."+strconv.Itoa(il)+"."))
	}
	return s.File.HasTensor(name)
}

func (s shaped) Int(key string) (int64, error) { return given(s, key, s.File.Int) }

func (s shaped) Ints(key string) ([]int64, error) { return given(s, key, s.File.Ints) }

// ffnMultiple is what the inner width is rounded up to where it follows from the width: blocks of 32 fill its rows, so
// that the model can be quantized.
const ffnMultiple = 32

// shapeOf decides the sizes of a job, and gives them as metadata of the architecture. What is not asked for is Like's;
// with another width heads and the inner width keep their proportion to it, and with another number of heads theirs
// to key heads. Where layers differ, those of Like are repeated as often as there are layers.
func shapeOf(like *gguf.File, name string, job *Job) (s Shape, file shaped, err error) {
	was, each, err := readShape(like, name)
	if err != nil {
		return s, file, err
	}
	pick := func(asked, otherwise int) int {
		if asked > 0 {
			return asked
		}
		return otherwise
	}
	s = Shape{Layers: pick(job.Layers, was.Layers), Width: pick(job.Width, was.Width),
		Context: pick(job.Context, was.Context)}
	if s.Layers > gguf.MaxLayers {
		return s, file, fmt.Errorf("%d layers are asked for, and llama.cpp reads models of at most %d", s.Layers,
			gguf.MaxLayers)
	}
	scaled := was.FFN * s.Width / was.Width
	if s.Width != was.Width {
		scaled = (scaled + ffnMultiple - 1) / ffnMultiple * ffnMultiple
	}
	s.FFN = pick(job.FFN, scaled)
	if s.Heads = job.Heads; s.Heads == 0 {
		if was.Heads*s.Width%was.Width != 0 {
			return s, file, fmt.Errorf("%d heads of %s over a width of %d would be no whole number over one of %d; "+
				"say how many with --heads", was.Heads, like.Path(), was.Width, s.Width)
		}
		s.Heads = was.Heads * s.Width / was.Width
	}
	s.KVHeads = pick(job.KVHeads, s.Heads)
	if group := was.Heads / was.KVHeads; job.KVHeads == 0 && s.Heads%group == 0 {
		s.KVHeads = s.Heads / group
	}
	if each != nil {
		if job.KVHeads > 0 {
			return s, file, fmt.Errorf("%s: its layers have numbers of key heads of their own, %v; --kv-heads is one "+
				"for all: leave it out", like.Path(), each)
		}
		if each, err = s.keyHeads(each, was); err != nil {
			return s, file, err
		}
		if s.KVHeads = firstHeads(each); s.KVHeads == 0 {
			return s, file, fmt.Errorf("%s: of its first %d layers none attends; ask for more (--layers)", like.Path(),
				s.Layers)
		}
	}
	// Heads that divide the width go on doing so; wider ones stay as wide.
	if s.Head = was.Head; was.Heads*was.Head == was.Width {
		if s.Width%s.Heads != 0 {
			return s, file, fmt.Errorf("a width of %d is no multiple of %d heads; change --width or --heads", s.Width,
				s.Heads)
		}
		s.Head = s.Width / s.Heads
	}
	if s.Heads%s.KVHeads != 0 {
		return s, file, fmt.Errorf("%d heads are no multiple of %d key heads; change --heads or --kv-heads", s.Heads,
			s.KVHeads)
	}
	file = shaped{like, s.keys(like, name, was), was.Layers}
	if each != nil {
		file.keys[name+keyHeads] = each
	}
	if windows, err := like.Bools(name + windowed); err == nil && len(windows) == was.Layers {
		file.keys[name+windowed] = repeated(windows, s.Layers)
	}
	return s, file, nil
}

// Keys of a value for each layer, behind the architecture's name.
const (
	keyHeads = ".attention.head_count_kv" // or one for all of them
	windowed = ".attention.sliding_window_pattern"
)

// repeated begins again where values end, until there are n.
func repeated[T any](values []T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = values[i%len(values)]
	}
	return out
}

// keyHeads are the numbers of key heads of the layers, which keep the proportion to all heads that was; those that have
// none do not attend.
func (s Shape) keyHeads(was []int64, of Shape) ([]int64, error) {
	out := repeated(was, s.Layers)
	for i, n := range out {
		if n == 0 {
			continue
		}
		group := int64(of.Heads) / n
		if int64(s.Heads)%group != 0 {
			return nil, fmt.Errorf("in some layers %d heads share a key head, and %d heads cannot; give a multiple "+
				"with --heads", group, s.Heads)
		}
		out[i] = int64(s.Heads) / group
	}
	return out, nil
}

// firstHeads are the key heads of the first layer that has some; 0: none has.
func firstHeads(each []int64) int {
	for _, n := range each {
		if n > 0 {
			return int(n)
		}
	}
	return 0
}

// expertFFN is the key of one expert's inner width, behind the architecture's name, where files have it beside another.
const expertFFN = ".expert_feed_forward_length"

func has(f *gguf.File, key string) bool {
	_, err := f.Int(key)
	return err == nil
}

// keys are the sizes as metadata.
func (s Shape) keys(like *gguf.File, name string, was Shape) map[string]any {
	keys := map[string]any{}
	for key, n := range map[string]int{"block_count": s.Layers, "embedding_length": s.Width,
		"attention.head_count": s.Heads, keyHeads[1:]: s.KVHeads, "attention.key_length": s.Head,
		"attention.value_length": s.Head, "feed_forward_length": s.FFN, "context_length": s.Context,
		"dense_2_feat_in": s.Width, "dense_3_feat_out": s.Width} {
		keys[name+"."+key] = int64(n)
	}
	if key := name + expertFFN; has(like, key) { // that of all experts stays
		keys[key] = int64(s.FFN)
		delete(keys, name+".feed_forward_length")
	}
	const rope = ".rope.dimension_count"
	if n, err := like.Int(name + rope); err == nil {
		keys[name+rope] = n * int64(s.Head) / int64(was.Head)
	}
	return keys
}

// readShape reads the sizes of the model at hand, which its architecture has found to be sound; each are the numbers of
// key heads of layers that have their own, else nil.
func readShape(f *gguf.File, name string) (s Shape, each []int64, err error) {
	read := func(key string, missing int) int {
		n, e := f.Int(name + "." + key)
		switch {
		case errors.Is(e, gguf.ErrNoKey) && missing > 0:
			return missing
		case e != nil:
			err = errors.Join(err, e)
			return 1
		}
		return int(n)
	}
	s = Shape{Layers: read("block_count", 0), Width: read("embedding_length", 0),
		Heads: read("attention.head_count", 0), Context: read("context_length", 0)}
	if has(f, name+expertFFN) {
		s.FFN = read(expertFFN[1:], 0)
	} else {
		s.FFN = read("feed_forward_length", 0)
	}
	if list, e := f.Ints(name + keyHeads); e == nil && len(list) > 0 {
		each, s.KVHeads = list, firstHeads(list)
	} else {
		s.KVHeads = read(keyHeads[1:], s.Heads)
	}
	s.Head = read("attention.key_length", s.Width/max(s.Heads, 1))
	return s, each, err
}
