package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
)

// pools says that what is trained makes vectors of texts.
func (s *setup) pools() bool { return s.how.Need.Pools() }

func (s *setup) pool() (err error) {
	s.pooling, err = s.cfg.VectorsOf(s.how, s.model)
	return err
}

// sayVectors says at a run's beginning how its result can be used.
func (s *setup) sayVectors() {
	if !s.pools() {
		return
	}
	prefixes := ""
	if s.cfg.QueryPrefix+s.cfg.DocumentPrefix != "" {
		prefixes = fmt.Sprintf("; queries begin with %q and documents with %q there too", s.cfg.QueryPrefix,
			s.cfg.DocumentPrefix)
	}
	with := "--lora " + fileAdapter
	if s.cfg.LeavesModel() {
		with = "with " + fileModel
	}
	s.note("%s learns vectors of texts, %d numbers of pooling %s: llama-server --embedding --pooling %s -m %s %s%s",
		s.how.Name, s.model.HParams().NEmbd, s.pooling, s.pooling, s.cfg.Model, with, prefixes)
	if said := s.model.Net().Pooling; said.Pools() && said != s.pooling {
		s.note("--pooling is %s, where %s says %s, as its vectors were learned so far", s.pooling, s.cfg.Model, said)
	}
	if len(s.cfg.Matryoshka) > 0 && s.cfg.Matryoshka[0] < float64(s.model.HParams().NEmbd) {
		s.note("--matryoshka begins at %g and leaves out the whole vector of %d numbers, of which nothing is learned "+
			"then", s.cfg.Matryoshka[0], s.model.HParams().NEmbd)
	}
}

// sayIdle says at a run's end how much of it had nothing to learn from.
func (r *run) sayIdle() {
	var idle, steps float64
	for _, l := range r.log.Lines() {
		if x, ok := l.Figures[method.Idle]; ok {
			idle, steps = idle+x, steps+1
		}
	}
	if idle > 0 {
		r.note("nothing was learned of %.3g %% of what the steps compare (idle): equal texts are no negatives of each "+
			"other, and equal scores in no order; give more examples to a step (--step-examples), or data that "+
			"differs more", 100*idle/steps)
	}
}

// probedTexts is how many vectors are held against llama.cpp's: enough to tell an adapter that is not applied.
const probedTexts = 8

// probeVectors computes the vectors that llama.cpp is to make, of the first training texts.
func (r *run) probeVectors(ctx context.Context) (*verify.Probe, error) {
	texts := encode.Texts(r.rows.Train.Items, probedTexts)
	if len(texts) == 0 {
		return nil, errors.New("no text to compare vectors with llama.cpp's on")
	}
	return verify.NewVectorProbe(ctx, r.sess, texts, r.pooling)
}
