package finetune

import (
	"fmt"

	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
)

// State is where a run stands between two micro-batches. With the parameters, the optimizer's moments and, in an unfinished
// step, the gradient sums, it is all that the next step depends on.
type State struct {
	Step    int           `json:"step"`    // updates done
	Micros  uint64        `json:"micros"`  // micro-batches done; the next one's number keys its dropout
	Cursor  encode.Cursor `json:"cursor"`  // the next micro-batch
	Tokens  int64         `json:"tokens"`  // trained on in finished steps
	Counted int64         `json:"counted"` // of them, those whose loss counted
	Pending Pending       `json:"pending"`
}

// Pending is what the micro-batches of the unfinished step have added up to. Its gradients lie in Param.Grad.
type Pending struct {
	Micros  int             `json:"micros"` // 0: no step has begun
	Sum     float64         `json:"sum"`    // of the loss, over Units
	Units   float64         `json:"units"`
	Tokens  int             `json:"tokens"`
	Counted int             `json:"counted"`
	Metrics []method.Metric `json:"metrics,omitempty"`
}

// add takes in a method's verdict on tokens, counted of which count.
func (p *Pending) add(r method.Result, micros, tokens, counted int) error {
	p.Micros += micros
	p.Sum += r.Sum
	p.Units += r.Units
	p.Tokens += tokens
	p.Counted += counted
	var err error
	p.Metrics, err = addMetrics(p.Metrics, r.Metrics)
	return err
}

// addMetrics adds figures of the same names in the same order.
func addMetrics(sums, more []method.Metric) ([]method.Metric, error) {
	if sums == nil {
		return append(sums, more...), nil
	}
	if len(sums) != len(more) {
		return sums, fmt.Errorf("the method gave %d figures, and %d before", len(more), len(sums))
	}
	for i := range sums {
		if sums[i].Name != more[i].Name {
			return sums, fmt.Errorf("the method gave figure %q where it gave %q before", more[i].Name, sums[i].Name)
		}
		sums[i].Sum += more[i].Sum
		sums[i].Weight += more[i].Weight
	}
	return sums, nil
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
