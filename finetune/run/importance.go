package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/embed"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant/imatrix"
)

// Importance gathers the importance matrix of a model over cfg.Data, all of it: how large what each matrix of the
// layers is multiplied with is, element by element, at every token. The evaluation is that of the same passes; of a
// model that makes vectors of texts, whose rows are texts, it has no loss (NaN). Of cfg only what Options marks as Eval
// is used.
func Importance(ctx context.Context, cfg config.Config, rep report.Reporter) (_ *imatrix.Matrix, _ Evaluation,
	err error) {
	m, err := openMeasured(ctx, &cfg, "", nil, rep)
	if err != nil {
		return nil, Evaluation{}, err
	}
	defer func() { err = errors.Join(err, m.model.Close()) }()
	if m.model.Net().Headless {
		return m.importanceOfTexts(ctx, &cfg, rep)
	}
	how, err := cfg.Loss()
	if err != nil {
		return nil, Evaluation{}, err
	}
	text, err := corpus.Open(&cfg, m.model, how)
	if err != nil {
		return nil, Evaluation{}, err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	text.AnyKind = true
	held, err := text.ReadHeld(ctx)
	if err != nil {
		return nil, Evaluation{}, err
	}
	m.notes(held.Notes)
	sess, err := engine.NewSession(m.model, m.session)
	if err != nil {
		return nil, Evaluation{}, err
	}
	defer func() { err = errors.Join(err, sess.Close()) }()
	sums, total := squares{}, held.HeldRows.Rows()
	res, err := eval.Run(ctx, listening{sess, sums}, held.HeldRows, how, eval.Options{Progress: func(n int) {
		rep.Report(report.Progress{What: "gather", Done: n, Total: total})
	}})
	if err != nil {
		return nil, Evaluation{}, err
	}
	out, err := sums.matrix(&cfg, res.Tokens)
	return out, Evaluation{Loss: res.Loss, Perplexity: res.Perplexity(), Tokens: res.Tokens, Counted: res.Counted,
		Rows: total, Method: how.Name, Unit: how.Unit, Model: cfg.Model, Data: held.Held.Counts}, err
}

// importanceOfTexts is Importance of a model that makes vectors: of each text it reads what it would for one.
func (m *measured) importanceOfTexts(ctx context.Context, cfg *config.Config, rep report.Reporter) (
	_ *imatrix.Matrix, _ Evaluation, err error) {
	texts, notes, err := corpus.ReadTexts(ctx, cfg, cfg.Data)
	if err != nil {
		return nil, Evaluation{}, err
	}
	reader, err := corpus.OpenTexts(cfg, m.model)
	if err != nil {
		return nil, Evaluation{}, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	tokens, n := make([][]int32, len(texts)), 0
	for i, t := range texts {
		if tokens[i], err = reader.Tokens(t.Source, "", t.Text); err != nil {
			return nil, Evaluation{}, err
		}
		n += len(tokens[i])
	}
	m.notes(append(notes, reader.Notes()...))
	sess, err := engine.NewSession(m.model, m.session)
	if err != nil {
		return nil, Evaluation{}, err
	}
	defer func() { err = errors.Join(err, sess.Close()) }()
	sums := squares{}
	_, err = embed.All(ctx, listening{sess, sums}, tokens, embed.Options{
		Pooling: m.model.Net().Pooling.OrMean(), // which no layer knows of
		Progress: func(done int) {
			rep.Report(report.Progress{What: "gather", Done: done, Total: len(texts)})
		}})
	if err != nil {
		return nil, Evaluation{}, err
	}
	out, err := sums.matrix(cfg, n)
	return out, Evaluation{Loss: math.NaN(), Perplexity: math.NaN(), Tokens: n, Rows: len(texts), Model: cfg.Model}, err
}

// A listening engine adds what its passes tell to sums.
type listening struct {
	eval.Engine
	sums squares
}

func (l listening) Forward(ctx context.Context, b *engine.Batch, o engine.Options) (engine.Outputs, error) {
	tokens := 0
	for _, r := range b.Rows {
		tokens += len(r.Tokens)
	}
	o.Inputs = func(in engine.Input) error {
		starts := in.Starts
		if starts == nil { // one matrix, which all tokens meet
			starts = []int32{0, int32(tokens)}
		}
		l.sums.add(arch.TensorName(in.Role, ".weight", in.Layer), in.X, starts)
		return nil
	}
	return l.Engine.Forward(ctx, b, o)
}

// squares are sums of squares by tensor and element of its rows, in float64: over millions of tokens f32 would stop
// growing.
type squares map[string]*square

type square struct {
	sums   []float64 // of one matrix after the other
	counts []int
}

// add takes in vectors that a tensor's matrices are multiplied with: those of each from where starts says.
func (s squares) add(tensor string, x []float32, starts []int32) {
	n := len(starts) - 1
	row := len(x) / int(starts[n])
	sq := s[tensor]
	if sq == nil {
		sq = &square{sums: make([]float64, n*row), counts: make([]int, n)}
		s[tensor] = sq
	}
	for e := range n {
		from, to := int(starts[e]), int(starts[e+1])
		sq.counts[e] += to - from
		for i, v := range x[from*row : to*row] {
			sq.sums[e*row+i%row] += float64(v) * float64(v)
		}
	}
}

// matrix is the importance matrix of so many tokens. Sums that are no finite numbers are those of a broken model.
func (s squares) matrix(cfg *config.Config, tokens int) (*imatrix.Matrix, error) {
	m := &imatrix.Matrix{}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		e := imatrix.Entry{Tensor: name, Sums: make([]float32, len(s[name].sums))}
		for _, n := range s[name].counts {
			e.Counts = append(e.Counts, float32(n))
		}
		for i, x := range s[name].sums {
			if e.Sums[i] = float32(x); e.Sums[i]-e.Sums[i] != 0 {
				return nil, fmt.Errorf("%s: what tensor %q is multiplied with is no finite number; look at the model "+
					"with ggtune check", cfg.Model, name)
			}
		}
		m.Entries = append(m.Entries, e)
	}
	for _, path := range cfg.Data {
		m.Datasets = append(m.Datasets, filepath.Base(path))
	}
	m.Chunks, m.ChunkSize = (tokens+cfg.SeqLen-1)/cfg.SeqLen, cfg.SeqLen
	return m, nil
}
