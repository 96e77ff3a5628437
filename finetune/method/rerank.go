package method

import "github.com/ggtune/ggtune/internal/setting"

// Rerank is a reranker, or a reward model on single verdicts: the score s of an answer, or of a document under its
// query, is the log-odds that it is good (Nogueira & Cho 2019, "Passage Re-ranking with BERT", equation 1; the binary
// cross-entropy of sentence-transformers' cross-encoders),
//
//	L = −y·log σ(s) − (1−y)·log σ(−s)
//
// with y the example's verdict, 1 or 0. accuracy is how often s is on the verdict's side of 0, margin how far it is on
// that side, and desirable the share of good ones: who says the commoner of both every time is right that often.
var Rerank = register(&Method{
	Name:  "rerank",
	Doc:   "reranker, or reward model, on single verdicts: binary cross-entropy of a score (Nogueira & Cho 2019)",
	Unit:  "answer",
	Need:  Labels,
	Value: AtEnds,
	Loss:  rerank,
})

// Scores is a method without a loss, of which a pass gives the scores of answers: those of plain examples, of pairs or
// of verdicts.
func Scores(need Need) *Method {
	return &Method{Name: "score", Doc: "scores of answers", Unit: "answer", Need: need, Single: true,
		Value: AtEnds}
}

func rerank(in *Inputs, _ setting.Values) (Result, error) {
	res := Result{Units: float64(len(in.Sequences)), GradValue: make([]float64, len(in.Value))}
	var worth, n [2]float64 // of the undesirable, of the desirable
	var accuracy, margin float64
	for i, q := range in.Sequences {
		loss, slope := logistic(in.Value[i], q.Label, 1-q.Label)
		res.Sum += loss
		res.GradValue[i] = slope
		side := (2*q.Label - 1) * in.Value[i]
		accuracy, margin = accuracy+greater(side, 0), margin+side
		worth[int(q.Label)] += in.Value[i]
		n[int(q.Label)]++
	}
	res.Metrics = []Metric{{"desirable_reward", worth[1], n[1]}, {"undesirable_reward", worth[0], n[0]},
		{"margin", margin, res.Units}, {"accuracy", accuracy, res.Units}, {"desirable", n[1], res.Units}}
	return res, nil
}
