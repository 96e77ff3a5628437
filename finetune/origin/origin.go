// Package origin is what an adapter says of its making: one table of facts, which are written from a run, read back as
// defaults of what is done with the adapter, and compared with what is in use. It knows no training.
package origin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/template"
)

// A Run is an adapter's making.
type Run struct {
	Config     *config.Config // with the defaults of its method
	Method     *method.Method
	BaseSHA256 string
	Reference  string             // hash of the reference's adapter, "" for the base alone
	Teacher    string             // hash of the teacher or guide, "" without one
	Template   *template.Template // nil: no example needed one
	Version    string             // of ggtune
	Learned    map[string]float64 // by setting, what a method has learned in their place
	Unfinished string             // how far the run had come, such as "step 3 of 10"; "": to its end
	Pooling    arch.Pooling       // of a method that makes vectors
}

// Info is what an adapter that the run writes says: texts by key.
func (r *Run) Info() map[string]string {
	info := map[string]string{}
	for _, f := range facts {
		if text, ok := f.of(r); ok {
			info[f.key] = text
		}
	}
	return info
}

// An Origin is what one adapter says. That may be nothing: others' adapters do not.
type Origin struct {
	Adapter string            // its file
	Info    map[string]string // texts by key
}

// prefix begins the keys in the file.
const prefix = "ggtune."

// Read reads an adapter's origin.
func Read(adapter string) (*Origin, error) {
	f, err := gguf.Open(adapter)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.CheckAdapter(); err != nil {
		return nil, err
	}
	o := &Origin{Adapter: adapter, Info: map[string]string{}}
	for _, kv := range f.KVs() {
		name, ok := strings.CutPrefix(kv.Key, prefix)
		if !ok || kv.Value.Type() != gguf.String {
			continue
		}
		if o.Info[name], err = f.String(kv.Key); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// Base is the hash of the model that the adapter was trained on, or "".
func (o *Origin) Base() string { return o.Info[base] }

// Unfinished says of an adapter whose run had not come to its end that it is one, and how far it had come; "" of
// others.
func (o *Origin) Unfinished() string {
	if o.Info[unfinished] == "" {
		return ""
	}
	return fmt.Sprintf("%s is of an unfinished run (%s), and llama.cpp has not been compared with it", o.Adapter,
		o.Info[unfinished])
}

// Scores says of an adapter whose run trained it to give scores that it writes nothing; "" of others.
func (o *Origin) Scores() string {
	how, err := method.Get(o.Info[methodName])
	if err != nil || how.Value != method.AtEnds {
		return ""
	}
	return fmt.Sprintf("%s was trained to give scores (--method %s), and what it writes means nothing; ggtune score "+
		"reads them", o.Adapter, how.Name)
}

// Pools says whether the adapter was trained to make vectors of texts.
func (o *Origin) Pools() bool {
	how, err := method.Get(o.Info[methodName])
	return err == nil && how.Need.Pools()
}

// Pooling is how it makes them; 0: as the model's file says.
func (o *Origin) Pooling() arch.Pooling {
	p, err := arch.PoolingOf(o.Info[pooling])
	if err != nil {
		return arch.PoolNone
	}
	return p
}

// Prefixes are the texts that stood before queries and documents; "": nothing.
func (o *Origin) Prefixes() (query, document string) {
	return o.Info[queryPrefix], o.Info[documentPrefix]
}

// Method is the name of the method that made the adapter, or "".
func (o *Origin) Method() string { return o.Info[methodName] }

// Template is the built-in template that the adapter was trained with, or "". Another template's name may be a file's,
// and a stranger's adapter does not say which file is opened.
func (o *Origin) Template() string {
	if name := o.Info[templateName]; slices.Contains(template.Names(), name) {
		return name
	}
	return ""
}

// TakeDefaults sets the settings that the user did not choose to what they were in the adapter's making. given says
// whether an option was chosen. The notes say what the user should know of it.
func (o *Origin) TakeDefaults(cfg *config.Config, given func(option string) bool) (notes []string) {
	t := &taking{cfg: cfg, origin: o, given: given}
	for _, f := range facts {
		text, ok := o.Info[f.key]
		if !ok && o.Base() != "" && f.before != "" {
			text, ok = f.before, true
		}
		if ok && f.take != nil {
			f.take(t, text)
		}
	}
	return t.notes
}

// A Use is what an adapter is used with, as far as it is known yet.
type Use struct {
	Model, ModelSHA256 string             // file and hash; "" if not known
	Template           *template.Template // nil if none
	// Reference is the hash of the reference's adapter, "" for the base alone; nil if there is no reference.
	Reference *string
	// Teacher is, where Reference is known, the hash of the other embedder that is the reference, or "".
	Teacher string
}

// Differs warns of what is otherwise than in the adapter's making.
func (o *Origin) Differs(u Use) (notes []string) {
	for _, f := range facts {
		if text, ok := o.Info[f.key]; ok && f.differs != nil {
			if note := f.differs(o, text, u); note != "" {
				notes = append(notes, note)
			}
		}
	}
	return notes
}
