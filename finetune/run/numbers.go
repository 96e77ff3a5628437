package run

import (
	"errors"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/optim"
)

// Numbers are what training changes, and what a checkpoint holds of them.
type numbers struct {
	sess *engine.Session
	opt  *optim.Running
	own  owned
	// settled says that the parameters are those of the result: nothing is trained any more.
	settled bool
}

// newNumbers gives those that training starts with. It is to be closed, after an error too.
func newNumbers(s *setup) (n numbers, err error) {
	if n.sess, err = engine.NewSession(s.model, s.start); err != nil {
		return n, err
	}
	how, err := s.cfg.Optimizer()
	if err != nil {
		return n, err
	}
	n.own = ownedOf(s.how, n.sess)
	n.opt, err = how.Start(n.sess.Params(), s.cfg.Settings, s.cfg.Rule())
	if err == nil && s.cfg.EmbedLR > 0 && !slices.ContainsFunc(n.sess.Params(),
		func(p *engine.Param) bool { return p.Group == "embed" }) {
		err = &config.Error{Err: errors.New("--embed-lr is given, and no embedding is trained; leave it out, or " +
			"train " +
			"token_embd (--train)")}
	}
	return n, err
}

// close frees them; it may be called again.
func (n *numbers) close() error {
	if n.sess == nil {
		return nil
	}
	if n.opt != nil {
		n.opt.Close()
	}
	err := n.sess.Close()
	n.sess, n.opt = nil, nil
	return err
}

// GradNorm implements finetune.Optimizer.
func (n *numbers) GradNorm() (float64, error) { return n.opt.GradNorm() }

// Update implements finetune.Optimizer.
func (n *numbers) Update(lr, scale float64) error {
	if err := n.opt.Update(lr, scale); err != nil {
		return err
	}
	if err := n.own.bound(); err != nil {
		return err
	}
	return n.sess.Updated()
}

// read takes numbers from a checkpoint.
func (n *numbers) read(f *checkpoint.File, list []checkpoint.Tensor) error {
	if err := f.Read(list); err != nil {
		return err
	}
	return n.sess.Updated()
}

// swap puts averages in the place of the parameters, or back.
func (n *numbers) swap() error {
	if err := n.opt.Swap(); err != nil {
		return err
	}
	return n.sess.Updated()
}

// learned does something with the parameters as they would be written: their averages, where these are kept.
func (n *numbers) learned(do func() error) error {
	if n.settled || !n.opt.Averages() {
		return do()
	}
	if err := n.swap(); err != nil {
		return err
	}
	return errors.Join(do(), n.swap())
}

// settle makes the parameters those of the result: as they are, or as a checkpoint's reader fills them.
func (n *numbers) settle(read func([]checkpoint.Tensor) error) error {
	n.settled = true
	if read == nil {
		return n.swap()
	}
	var list []checkpoint.Tensor
	for _, p := range n.sess.Params() {
		name := p.Name
		if n.opt.Averages() {
			name = optim.AverageName(name)
		}
		list = append(list, checkpoint.DeviceFloats(name, p.Value))
	}
	if err := read(list); err != nil {
		return err
	}
	return n.sess.Updated()
}

// count is how many parameters there are.
func (n *numbers) count() (total int64) {
	for _, p := range n.sess.Params() {
		total += p.Len()
	}
	return total
}

// gradName is the name under which a checkpoint keeps the gradient sum of a parameter.
func gradName(param string) string { return param + ".grad" }

// tensors lists all numbers: parameters, what stays as it began, moments and, within a step, gradient sums.
func (n *numbers) tensors(withGrad bool) []checkpoint.Tensor {
	var out []checkpoint.Tensor
	for _, p := range n.sess.Params() {
		out = append(out, checkpoint.DeviceFloats(p.Name, p.Value))
		if withGrad {
			out = append(out, checkpoint.DeviceFloats(gradName(p.Name), p.Grad))
		}
	}
	for _, p := range n.sess.Fixed() {
		out = append(out, checkpoint.DeviceFloats(p.Name, p.Value))
	}
	return append(out, n.opt.State()...)
}
