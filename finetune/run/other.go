package run

import (
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/method"
)

// An other is an embedder beside the model, whose vectors of the same texts are the reference's. It has a tokenizer of
// its own.
type other struct {
	model   *engine.Model
	pooling arch.Pooling
}

// openOther opens the one that a method's settings name, and has text encoded for it; nil where they name none.
func openOther(cfg *config.Config, how *method.Method, text *corpus.Reader) (_ *other, err error) {
	path, option := cfg.OtherModel(how)
	if path == "" || !how.Need.Pools() {
		return nil, nil
	}
	o := &other{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("--%s: %w", option, err), o.close())
		}
	}()
	if o.model, err = engine.Open(path); err != nil {
		return nil, err
	}
	if o.pooling = o.model.Net().Pooling; !o.pooling.Pools() {
		return nil, fmt.Errorf("%s: the file does not say how one vector is made of a text (%s.pooling_type), so that "+
			"it is no embedder; give one", path, o.model.Net().Arch)
	}
	return o, text.Other(o.model)
}

// hash is its file's, "" of nil.
func (o *other) hash() (string, error) {
	if o == nil {
		return "", nil
	}
	return fileSHA256(o.model.Path())
}

// close may be called again, and on nil.
func (o *other) close() error {
	if o == nil || o.model == nil {
		return nil
	}
	err := o.model.Close()
	o.model = nil
	return err
}
