package generate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune"
	"github.com/ggtune/ggtune/finetune/template"
)

// An origin is what an adapter says of its making.
type origin struct {
	adapter string // path
	info    map[string]string
}

// readOrigin reads an adapter's ggtune.* keys.
func readOrigin(adapter string) (*origin, error) {
	f, err := gguf.Open(adapter)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.CheckAdapter(); err != nil {
		return nil, err
	}
	o := &origin{adapter: adapter, info: map[string]string{}}
	for _, kv := range f.KVs() {
		name, ok := strings.CutPrefix(kv.Key, "ggtune.")
		if !ok || kv.Value.Type() != gguf.String {
			continue
		}
		if o.info[name], err = f.String(kv.Key); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// origin is that of the adapter in use, or nil.
func (g *Generator) origin() *origin {
	if g.inUse == Base {
		return nil
	}
	return g.adapters[g.inUse].origin
}

// base is the hash of the model that the adapter was trained on, or "".
func (o *origin) base() string { return o.info[finetune.InfoBase] }

// template is the built-in template that the adapter was trained with, or "". Another template's name may be a file's, and
// a stranger's adapter does not say which file is opened.
func (o *origin) template() string {
	if o == nil || !slices.Contains(template.Names(), o.info[finetune.InfoTemplate]) {
		return ""
	}
	return o.info[finetune.InfoTemplate]
}

// templateNote warns of another template than the adapter was trained with.
func (o *origin) templateNote(t *template.Template) string {
	if o == nil || o.info[finetune.InfoTemplateHash] == "" || o.info[finetune.InfoTemplateHash] == t.SHA256() {
		return ""
	}
	return fmt.Sprintf("%s was trained with chat template %q; %q, in use here, is another one (--template names one)", o.adapter, o.info[finetune.InfoTemplate], t.Name())
}

// A sum is a model's hash, computed alongside: a large file takes seconds.
type sum struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when hex and err are there
	hex    string
	err    error
}

func startSum(model string) *sum {
	ctx, cancel := context.WithCancel(context.Background())
	s := &sum{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		f, err := gguf.Open(model)
		if err != nil {
			s.err = err
			return
		}
		defer f.Close()
		s.hex, s.err = f.SHA256(ctx)
	}()
	return s
}

// stop ends the hashing and waits for it; nil will do.
func (s *sum) stop() {
	if s != nil {
		s.cancel()
		<-s.done
	}
}

// ModelSHA256 waits until the model's hash is known. On cancel it returns context.Cause(ctx).
func (g *Generator) ModelSHA256(ctx context.Context) (string, error) {
	if g.sum == nil {
		g.sum = startSum(g.model.Path())
	}
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-g.sum.done:
		return g.sum.hex, g.sum.err
	}
}

// BaseNotes waits until the model's hash is known and warns of each adapter that was trained on another base; none if all is
// well, or if the adapters do not say. On cancel it returns context.Cause(ctx).
func (g *Generator) BaseNotes(ctx context.Context) ([]string, error) {
	var notes []string
	for _, a := range g.adapters {
		want := a.origin.base()
		if want == "" {
			continue
		}
		got, err := g.ModelSHA256(ctx)
		if err != nil {
			return nil, err
		}
		if got != want {
			notes = append(notes, fmt.Sprintf("%s was trained on another base (sha256 %.12s…) than %s (%.12s…): its effect here is not what was trained",
				a.Path(), want, g.model.Path(), got))
		}
	}
	return notes, nil
}
