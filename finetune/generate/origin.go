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

// An origin is what an adapter says of its making, and the hash of the model it is used on, computed alongside.
type origin struct {
	adapter, model string // paths
	info           map[string]string

	cancel context.CancelFunc
	done   chan struct{} // closed when sum and err are there
	sum    string
	err    error
}

// readOrigin reads an adapter's ggtune.* keys; if they name the base, the model's hash is begun. Stop it.
func readOrigin(adapter, model string) (*origin, error) {
	f, err := gguf.Open(adapter)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	o := &origin{adapter: adapter, model: model, info: map[string]string{}, cancel: func() {}, done: make(chan struct{})}
	for _, kv := range f.KVs() {
		name, ok := strings.CutPrefix(kv.Key, "ggtune.")
		if !ok || kv.Value.Type() != gguf.String {
			continue
		}
		if o.info[name], err = f.String(kv.Key); err != nil {
			return nil, err
		}
	}
	if o.info[finetune.InfoBase] == "" {
		close(o.done)
		return o, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	o.cancel = cancel
	go func() {
		defer close(o.done)
		m, err := gguf.Open(model)
		if err != nil {
			o.err = err
			return
		}
		defer m.Close()
		o.sum, o.err = m.SHA256(ctx)
	}()
	return o, nil
}

// stop ends the hashing and waits for it; nil will do.
func (o *origin) stop() {
	if o != nil {
		o.cancel()
		<-o.done
	}
}

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

// BaseNote waits until the model's hash is known and warns if the adapter was trained on another base; "" if all is well, or
// if the adapter does not say. On cancel it returns context.Cause(ctx).
func (g *Generator) BaseNote(ctx context.Context) (string, error) {
	o := g.origin
	if o == nil {
		return "", nil
	}
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-o.done:
	}
	want := o.info[finetune.InfoBase]
	if o.err != nil || want == "" || want == o.sum {
		return "", o.err
	}
	return fmt.Sprintf("%s was trained on another base (sha256 %.12s…) than %s (%.12s…): its effect here is not what was trained", o.adapter, want, o.model, o.sum), nil
}
