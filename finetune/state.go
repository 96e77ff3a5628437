package finetune

import (
	"encoding/json"

	"github.com/ggtune/ggtune/finetune/method"
)

// State is where a run stands between two micro-batches. With the parameters, the optimizer's moments and, in an
// unfinished step, the gradient sums, it is all that the next step depends on.
type State struct {
	Step    int             `json:"step"`    // updates done
	Micros  uint64          `json:"micros"`  // micro-batches done; the next one's number keys its dropout
	Place   json.RawMessage `json:"cursor"`  // the source's, at the next micro-batch
	Tokens  int64           `json:"tokens"`  // trained on in finished steps
	Counted int64           `json:"counted"` // of them, those whose loss counted
	Pending Pending         `json:"pending"`
}

// Pending is what the micro-batches of the unfinished step have added up to. Its gradients lie in the parameters.
type Pending struct {
	Micros  int             `json:"micros"` // 0: no step has begun
	Sum     float64         `json:"sum"`    // of the loss, over Units
	Units   float64         `json:"units"`
	Tokens  int             `json:"tokens"`
	Counted int             `json:"counted"`
	Metrics []method.Metric `json:"metrics,omitempty"`
}

// add takes in a method's verdict on tokens.
func (p *Pending) add(r method.Result, micros, tokens int) error {
	p.Micros += micros
	p.Sum += r.Sum
	p.Units += r.Units
	p.Tokens += tokens
	p.Counted += r.Counted
	var err error
	p.Metrics, err = method.AddMetrics(p.Metrics, r.Metrics)
	return err
}

// StepStats is what one step was like.
type StepStats struct {
	Step     int     // updates done, this one included
	Loss     float64 // sum over units, before the update
	LR       float64 // learning rate of the update
	GradNorm float64 // before clipping, of the gradient of Loss
	Tokens   int
	Counted  int
	Metrics  []method.Metric
}
