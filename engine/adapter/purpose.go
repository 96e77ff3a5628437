package adapter

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
)

// A Purpose is what an adapter says of its use, in llama.cpp's own words.
type Purpose struct {
	// TaskName says what the adapter is for, PromptPrefix what prompts to it begin with: for whoever serves adapters
	// and lists them (llama-server does). Nothing that is computed depends on them. "": not said.
	TaskName, PromptPrefix string
	// Invocation are the tokens from whose last occurrence in a prompt on the adapter acts: what comes before is read
	// by the base alone (aLoRA: Greenewald et al. 2025, arXiv 2504.12397). None: it acts on all.
	Invocation []int32
}

// Keys of llama.cpp's (src/llama-arch.cpp, LLM_KV_ADAPTER_*).
const (
	keysOfAdapter = "adapter."
	keyTask       = "adapter.lora.task_name"
	keyPrefix     = "adapter.lora.prompt_prefix"
	keyInvocation = "adapter.alora.invocation_tokens"
)

// ReadPurpose reads what an adapter's file says of its use. A key under "adapter." that is not known is refused: it
// might change what the adapter computes.
func ReadPurpose(f *gguf.File) (p Purpose, err error) {
	for _, kv := range f.KVs() {
		known := []string{keyAdapter, keyAlpha, keyTask, keyPrefix, keyInvocation}
		if strings.HasPrefix(kv.Key, keysOfAdapter) && !slices.Contains(known, kv.Key) {
			return p, fmt.Errorf("%s: metadata key %q is not known here, and may change what the adapter computes; "+
				"known: %s", f.Path(), kv.Key, strings.Join(known, ", "))
		}
	}
	if p.TaskName, err = f.StringOr(keyTask, ""); err != nil {
		return p, err
	}
	if p.PromptPrefix, err = f.StringOr(keyPrefix, ""); err != nil || !f.Has(keyInvocation) {
		return p, err
	}
	ids, err := f.Ints(keyInvocation)
	if err != nil {
		return p, err
	}
	if p.Invocation, err = invocation(ids); err != nil {
		return p, fmt.Errorf("%s: %s: %w", f.Path(), keyInvocation, err)
	}
	return p, nil
}

// invocation checks the tokens of one; none are none, as in llama.cpp.
func invocation(ids []int64) (out []int32, err error) {
	for _, id := range ids {
		if id < 0 || id > math.MaxInt32 {
			return nil, fmt.Errorf("%d is no token's number", id)
		}
		out = append(out, int32(id))
	}
	return out, nil
}

// within refuses an invocation that a model of so many tokens cannot read.
func (p *Purpose) within(path string, vocab int) error {
	for _, id := range p.Invocation {
		if int(id) >= vocab {
			return fmt.Errorf("%s: the adapter acts from token %d on, and the model has tokens 0 to %d; it belongs to "+
				"another model", path, id, vocab-1)
		}
	}
	return nil
}

func (p *Purpose) write(w *gguf.Writer) {
	if p.TaskName != "" {
		w.SetString(keyTask, p.TaskName)
	}
	if p.PromptPrefix != "" {
		w.SetString(keyPrefix, p.PromptPrefix)
	}
	if len(p.Invocation) > 0 { // llama.cpp takes them as uint32 only
		ids := make([]uint32, len(p.Invocation))
		for i, id := range p.Invocation {
			ids[i] = uint32(id)
		}
		w.Set(keyInvocation, gguf.NumbersValue(ids))
	}
}

// Common is what all of several adapters, at least one, say of their use; the notes name what they do not agree in.
// Those that do not act on the same tokens cannot become one.
func Common(list ...Purpose) (p Purpose, notes []string, err error) {
	p = list[0]
	for _, q := range list[1:] {
		if !slices.Equal(p.Invocation, q.Invocation) {
			return p, nil, fmt.Errorf("one adapter acts %s, another %s; they cannot become one", p.Acts(), q.Acts())
		}
	}
	for _, text := range []struct {
		name string
		of   func(*Purpose) *string
	}{
		{"task name", func(p *Purpose) *string { return &p.TaskName }},
		{"prompt prefix", func(p *Purpose) *string { return &p.PromptPrefix }},
	} {
		mine := text.of(&p)
		var said []string
		for i := range list {
			if s := fmt.Sprintf("%q", *text.of(&list[i])); !slices.Contains(said, s) {
				said = append(said, s)
			}
		}
		if len(said) > 1 {
			*mine = ""
			notes = append(notes, fmt.Sprintf("the adapters do not say the same %s (%s), and the result says none",
				text.name, strings.Join(said, ", ")))
		}
	}
	return p, notes, nil
}

// Acts says on what the adapter acts.
func (p *Purpose) Acts() string {
	if len(p.Invocation) == 0 {
		return "on every token"
	}
	return "from tokens " + strings.Trim(strings.ReplaceAll(fmt.Sprint(p.Invocation), " ", ", "), "[]") + " on"
}
