package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/embed"
	"github.com/ggtune/ggtune/finetune/report"
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
	if len(s.cfg.Matryoshka) > 0 && s.cfg.Matryoshka[0] < float64(s.model.HParams().NEmbd) {
		s.note("--matryoshka %g leaves out the whole vector of %d numbers, of which nothing is learned then",
			s.cfg.Matryoshka, s.model.HParams().NEmbd)
	}
}

// probedTexts is how many vectors are held against llama.cpp's: enough to tell an adapter that is not applied.
const probedTexts = 8

// probeVectors computes the vectors that llama.cpp is to make, of the first training texts.
func (r *run) probeVectors(ctx context.Context) error {
	var texts [][]int32
	for i := range r.rows.Train.Items {
		it := &r.rows.Train.Items[i]
		for _, s := range it.Segments {
			if len(texts) < probedTexts {
				texts = append(texts, it.Tokens[s.Start:s.Start+s.Len])
			}
		}
	}
	if len(texts) == 0 {
		return errors.New("no text to compare vectors with llama.cpp's on")
	}
	ours, err := embed.All(ctx, r.sess, texts, embed.Options{Pooling: r.pooling})
	if err != nil {
		return err
	}
	r.vectors = &verify.Vectors{Pooling: r.pooling, Texts: texts}
	for i := range texts {
		r.vectors.Ours = append(r.vectors.Ours, ours.Row(i))
	}
	return nil
}

// verifyVectors has llama.cpp load the result and compares its vectors with ours.
func (r *run) verifyVectors(ctx context.Context, _ *verify.Probe, base string, s *report.Summary) error {
	r.rep.Report(report.Progress{What: "verify"})
	defer r.rep.Report(report.Progress{What: "verify", Done: 1, Total: 1})
	model, adapter := base, r.dir.file(fileUnverified)
	if r.cfg.Whole() {
		model, adapter = adapter, ""
	}
	v, err := verify.VerifyVectors(ctx, model, adapter, *r.vectors, r.cfg.Threads)
	if err != nil {
		return err
	}
	s.VectorRMSDiff, s.VectorMaxDiff = &v.RMS, &v.Far
	return nil
}
