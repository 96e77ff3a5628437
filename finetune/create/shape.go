package create

import (
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine/gguf"
)

// A Shape is a model's sizes, under llama.cpp's names.
type Shape struct {
	Layers  int `json:"n_layer"`
	Width   int `json:"n_embd"`
	Heads   int `json:"n_head"`
	KVHeads int `json:"n_head_kv"`
	Head    int `json:"n_embd_head"`
	FFN     int `json:"n_ff"`
	Context int `json:"n_ctx_train"` // tokens
}

// A shaped file answers for some keys with other numbers.
type shaped struct {
	*gguf.File
	ints map[string]int64
}

// Int is the number of a key.
func (s shaped) Int(key string) (int64, error) {
	if n, ok := s.ints[key]; ok {
		return n, nil
	}
	return s.File.Int(key)
}

// ffnMultiple is what the inner width is rounded up to where it follows from the width: blocks of 32 fill its rows, so
// that the model can be quantized.
const ffnMultiple = 32

// shapeOf decides the sizes of a job, and gives them as metadata of the architecture. What is not asked for is Like's;
// with another width heads and the inner width keep their proportion to it, and with another number of heads theirs
// to key heads.
func shapeOf(like *gguf.File, name string, job *Job) (s Shape, keys map[string]int64, err error) {
	was, err := readShape(like, name)
	if err != nil {
		return s, nil, err
	}
	pick := func(asked, otherwise int) int {
		if asked > 0 {
			return asked
		}
		return otherwise
	}
	s = Shape{Layers: pick(job.Layers, was.Layers), Width: pick(job.Width, was.Width),
		Context: pick(job.Context, was.Context)}
	scaled := was.FFN * s.Width / was.Width
	if s.Width != was.Width {
		scaled = (scaled + ffnMultiple - 1) / ffnMultiple * ffnMultiple
	}
	s.FFN = pick(job.FFN, scaled)
	if s.Heads = job.Heads; s.Heads == 0 {
		if was.Heads*s.Width%was.Width != 0 {
			return s, nil, fmt.Errorf("%d heads of %s over a width of %d would be no whole number over one of %d; "+
				"say how many with --heads", was.Heads, like.Path(), was.Width, s.Width)
		}
		s.Heads = was.Heads * s.Width / was.Width
	}
	s.KVHeads = pick(job.KVHeads, s.Heads)
	if group := was.Heads / was.KVHeads; job.KVHeads == 0 && s.Heads%group == 0 {
		s.KVHeads = s.Heads / group
	}
	// Heads that divide the width go on doing so; wider ones stay as wide.
	if s.Head = was.Head; was.Heads*was.Head == was.Width {
		if s.Width%s.Heads != 0 {
			return s, nil, fmt.Errorf("a width of %d is no multiple of %d heads; change --width or --heads", s.Width,
				s.Heads)
		}
		s.Head = s.Width / s.Heads
	}
	if s.Heads%s.KVHeads != 0 {
		return s, nil, fmt.Errorf("%d heads are no multiple of %d key heads; change --heads or --kv-heads", s.Heads,
			s.KVHeads)
	}
	return s, s.keys(like, name, was), nil
}

// expertFFN is the key of one expert's inner width, behind the architecture's name, where files have it beside another.
const expertFFN = ".expert_feed_forward_length"

func has(f *gguf.File, key string) bool {
	_, err := f.Int(key)
	return err == nil
}

// keys are the sizes as metadata.
func (s Shape) keys(like *gguf.File, name string, was Shape) map[string]int64 {
	keys := map[string]int64{}
	for key, n := range map[string]int{"block_count": s.Layers, "embedding_length": s.Width,
		"attention.head_count": s.Heads, "attention.head_count_kv": s.KVHeads, "attention.key_length": s.Head,
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

// readShape reads the sizes of the model at hand, which its architecture has found to be sound.
func readShape(f *gguf.File, name string) (s Shape, err error) {
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
	s.KVHeads = read("attention.head_count_kv", s.Heads)
	s.Head = read("attention.key_length", s.Width/max(s.Heads, 1))
	return s, err
}
