package refmodel

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
)

//go:embed testdata/outputs.json
var outputsRecording []byte

// Outputs are what PyTorch computed in float64 of a Recorded model with its LoRA pairs, at a temperature, and of a head
// of values: log-probabilities, entropies, values, and the gradients of a loss with Slopes by them.
type Outputs struct {
	Name                 string
	Model                *Model // with LoRA and the head
	Row                  Row
	LogP, Entropy, Value []float64
	Grads                map[string]Digest
}

// Slopes are those of the recorded loss.
func (o *Outputs) Slopes() Slopes {
	of := func(what string, n int) (d []float64) {
		for i := range n {
			d = append(d, Formula("outputs."+what, i, 0, 0))
		}
		return d
	}
	return Slopes{LogP: of("logp", len(o.LogP)), Entropy: of("entropy", len(o.Entropy)),
		Value: of("value", len(o.Value))}
}

// RecordedOutputs reads them (scripts/record_torch.py).
func RecordedOutputs() ([]*Outputs, error) {
	var file struct {
		Temp   float64 `json:"temp"`
		Valued []int32 `json:"valued"`
		Cases  []struct {
			Name    string            `json:"name"`
			LogP    []float64         `json:"logp"`
			Entropy []float64         `json:"entropy"`
			Value   []float64         `json:"value"`
			Grads   map[string]Digest `json:"grads"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(outputsRecording, &file); err != nil {
		return nil, fmt.Errorf("recorded outputs: %w", err)
	}
	models, err := Recordings()
	if err != nil {
		return nil, err
	}
	var out []*Outputs
	for _, c := range file.Cases {
		i := slices.IndexFunc(models, func(r *Recorded) bool { return r.Name == c.Name })
		if i < 0 {
			return nil, fmt.Errorf("recorded outputs: no model %q is recorded", c.Name)
		}
		o := &Outputs{Name: c.Name, Model: models[i].Adapted(), Row: models[i].Row, LogP: c.LogP, Entropy: c.Entropy,
			Value: c.Value, Grads: map[string]Digest{}}
		o.Model.Value = FormulaMatrix("value.weight", 1, o.Model.NEmbd, 0, 0)
		o.Row.Temp, o.Row.Valued = file.Temp, file.Valued
		for name, d := range c.Grads {
			d.name = name
			o.Grads[name] = d
		}
		out = append(out, o)
	}
	return out, nil
}
