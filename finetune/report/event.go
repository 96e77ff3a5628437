// Package report tells what a run does: to a terminal, as JSON lines, as files in the run's directory. It knows no
// engine and decides nothing.
package report

import (
	"encoding/json"
	"math"

	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
)

// A Reporter is told what happens. Report is called from one goroutine at a time. Who wants to be told nothing gives
// Silent.
type Reporter interface {
	Report(e Event)
}

// An Event is one of the types below.
type Event interface{ event() }

// A Started run has read its data and is about to train.
type Started struct {
	Model    string         `json:"model"` // path
	Arch     string         `json:"arch"`
	Types    string         `json:"types"` // storage types of its matrices
	Method   string         `json:"method"`
	Unit     string         `json:"unit"`          // what the loss is per: token, pair, …
	Template string         `json:"template"`      // where the chat template came from; "" where none was needed
	Train    encode.Counts  `json:"data"`          // of the training data
	Held     *encode.Counts `json:"eval_data"`     // of the held-out data, or nil
	Trained  int64          `json:"parameters"`    // trained ones
	Memory   int64          `json:"planned_bytes"` // beside the mapped model file
	Steps    int            `json:"steps"`         // of the whole run
	Step     int            `json:"step"`          // done already: above 0 when resumed
	Threads  int            `json:"threads"`
	Chosen   []string       `json:"chosen"` // settings that were left to ggtune, and why they are as they are
}

// Progress is how far a part of the run is. It comes often. A Total of 0 says that the part has begun and nobody knows
// how long it will take; the next event ends it.
type Progress struct {
	What        string // "read" (examples), "reference" (rows), "train" (micro-batches of a step), "evaluate" (rows), …
	Done, Total int
}

// A Step is one update.
type Step struct {
	Line
	Steps int
}

// Evaluated is one measurement on held-out rows.
type Evaluated struct {
	Step       int
	Loss       float64
	Perplexity float64 // NaN where the method compares answers
	Best       bool    // the lowest yet
	Metrics    []method.Metric
}

// Sampled is what the base and the model in training answer to one prompt after a step.
type Sampled struct{ Sample }

// Saved is a checkpoint or a result on disk.
type Saved struct {
	What string // "checkpoint", "adapter", "model"
	Path string
	Step int
}

// A Notice is something the user should know though the run goes on.
type Notice struct{ Text string }

// Done is the end of a run that reached it.
type Done struct{ Summary Summary }

func (Started) event()   {}
func (Progress) event()  {}
func (Step) event()      {}
func (Evaluated) event() {}
func (Sampled) event()   {}
func (Saved) event()     {}
func (Notice) event()    {}
func (Done) event()      {}

// LossUnit says what a method's loss is measured in, by its unit.
func LossUnit(unit string) string {
	if unit == "token" {
		return "nats per counted token"
	}
	return "per " + unit
}

// Silent tells nobody.
type Silent struct{}

// Report does nothing.
func (Silent) Report(Event) {}

// A Line is one object of metrics.jsonl: one step.
type Line struct {
	Step     int
	Epoch    float64 // passes over the data done
	Loss     float64 // before the update; for SFT nats per counted token
	LR       float64
	GradNorm float64 // before clipping
	Tokens   int     // of this step, padding excluded, a shared prompt once
	Counted  int
	TokPerS  float64  // tokens a second, of this step
	Peak     int64    // bytes resident at most, so far; 0 where the system does not say
	EvalLoss *float64 // where an evaluation followed this step
	// Figures are the method's own, and those of an evaluation under names with eval_ before them.
	Figures map[string]float64
}

// MarshalJSON writes the stable keys of metrics.jsonl. A figure that is no number is null: JSON has none such.
func (l Line) MarshalJSON() ([]byte, error) {
	m := map[string]any{
		"step": l.Step, "epoch": number(l.Epoch), "loss": number(l.Loss), "lr": number(l.LR),
		"grad_norm": number(l.GradNorm),
		"tokens":    l.Tokens, "counted_tokens": l.Counted, "tok_per_s": number(l.TokPerS), "peak_bytes": nil,
	}
	if l.Peak > 0 {
		m["peak_bytes"] = l.Peak
	}
	for k, v := range l.Figures {
		m[k] = number(v)
	}
	if l.EvalLoss != nil {
		m["eval_loss"] = number(*l.EvalLoss)
	}
	return json.Marshal(m)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (l *Line) UnmarshalJSON(b []byte) error {
	var fixed struct {
		Step     int      `json:"step"`
		Epoch    *float64 `json:"epoch"`
		Loss     *float64 `json:"loss"`
		LR       *float64 `json:"lr"`
		GradNorm *float64 `json:"grad_norm"`
		Tokens   int      `json:"tokens"`
		Counted  int      `json:"counted_tokens"`
		TokPerS  *float64 `json:"tok_per_s"`
		Peak     int64    `json:"peak_bytes"`
		EvalLoss *float64 `json:"eval_loss"`
	}
	if err := json.Unmarshal(b, &fixed); err != nil {
		return err
	}
	var all map[string]any
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for _, k := range []string{"step", "epoch", "loss", "lr", "grad_norm", "tokens", "counted_tokens", "tok_per_s",
		"peak_bytes", "eval_loss"} {
		delete(all, k)
	}
	*l = Line{Step: fixed.Step, Epoch: orNaN(fixed.Epoch), Loss: orNaN(fixed.Loss), LR: orNaN(fixed.LR),
		GradNorm: orNaN(fixed.GradNorm),
		Tokens:   fixed.Tokens, Counted: fixed.Counted, TokPerS: orNaN(fixed.TokPerS), Peak: fixed.Peak,
		EvalLoss: fixed.EvalLoss}
	for k, v := range all {
		if x, ok := v.(float64); ok {
			if l.Figures == nil {
				l.Figures = map[string]float64{}
			}
			l.Figures[k] = x
		}
	}
	return nil
}

func number(x float64) any {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return x
}

func orNaN(x *float64) float64 {
	if x == nil {
		return math.NaN()
	}
	return *x
}

// Tenths gives the mean losses over the first and the last tenth of lines, at least one each, and how many that is; 0
// without lines.
func Tenths(lines []Line) (first, last float64, n int) {
	if len(lines) == 0 {
		return 0, 0, 0
	}
	n = max(len(lines)/10, 1)
	for i := range n {
		first += lines[i].Loss / float64(n)
		last += lines[len(lines)-1-i].Loss / float64(n)
	}
	return first, last, n
}

// A General is what a run did to a fixed text that it had nothing to do with: eval.General.
type General struct {
	Before   float64 `json:"loss_before"` // nats per token, of the untouched base
	After    float64 `json:"loss_after"`  // of what was written
	Tokens   int     `json:"tokens"`
	KL       float64 `json:"kl"` // nats per prediction, KL(base‖tuned)
	KLTokens int     `json:"kl_tokens"`
}

// Mixed is data that was mixed in: what was taken of it, and what training did to what was held out of it.
type Mixed struct {
	encode.Mixed
	LossBefore        *float64 `json:"eval_loss_before"` // of the untouched base; null where none is held out
	LossAfter         *float64 `json:"eval_loss_after"`  // of what was written
	BitsPerByteBefore *float64 `json:"eval_bits_per_byte_before"`
	BitsPerByteAfter  *float64 `json:"eval_bits_per_byte_after"`
}

// A Summary is report.json. A figure that does not apply is null.
type Summary struct {
	BaseSHA256    string  `json:"base_sha256"`
	AdapterSHA256 *string `json:"adapter_sha256"` // of adapter.gguf; null for full training
	ModelSHA256   *string `json:"model_sha256"`   // of model.gguf; null for an adapter that llama.cpp loads
	// Of a method that gives scores: the hash of head.gguf, and the mean that it takes off them.
	HeadSHA256 *string  `json:"head_sha256,omitempty"`
	ScoreMean  *float64 `json:"score_mean,omitempty"`
	// How far llama.cpp's scores are from ours, as a root mean square, and the size of such scores.
	ScoreRMSDiff *float64 `json:"llama_cpp_score_rms_diff,omitempty"`
	ScoreSize    *float64 `json:"score_size,omitempty"`
	// Of a method that makes vectors: how far llama.cpp's are from ours, at length 1, as a root mean square and at
	// most.
	VectorRMSDiff *float64 `json:"llama_cpp_vector_rms_diff,omitempty"`
	VectorMaxDiff *float64 `json:"llama_cpp_vector_max_diff,omitempty"`

	Steps     int      `json:"steps"`
	Tokens    int64    `json:"tokens"`
	Counted   int64    `json:"counted_tokens"`
	FirstLoss *float64 `json:"first_loss"`
	LastLoss  *float64 `json:"last_loss"`
	// The mean losses over the first and the last tenth of the steps, at least one each, and how many steps that is:
	// one step's loss says more of its rows than of the training.
	FirstTenth *float64 `json:"first_tenth_loss"`
	LastTenth  *float64 `json:"last_tenth_loss"`
	TenthSteps int      `json:"tenth_steps"`

	EvalLossBefore *float64 `json:"eval_loss_before"` // of the untouched base
	EvalLossAfter  *float64 `json:"eval_loss_after"`  // of what was written
	// Of methods whose answers are rewarded, the mean rewards over the same steps, and of held-out prompts; what is
	// called their loss is minus that.
	FirstReward      *float64 `json:"first_tenth_reward,omitempty"`
	LastReward       *float64 `json:"last_tenth_reward,omitempty"`
	EvalRewardBefore *float64 `json:"eval_reward_before,omitempty"`
	EvalRewardAfter  *float64 `json:"eval_reward_after,omitempty"`
	// The same as perplexity; null for methods that compare answers.
	PerplexityBefore *float64 `json:"eval_perplexity_before"`
	PerplexityAfter  *float64 `json:"eval_perplexity_after"`
	// And as bits per byte of text; null where what is held out is not of whole texts.
	BitsPerByteBefore *float64 `json:"eval_bits_per_byte_before"`
	BitsPerByteAfter  *float64 `json:"eval_bits_per_byte_after"`
	// Mixed says what became of data that was mixed in.
	Mixed     []Mixed  `json:"mixed"`
	General   *General `json:"general"`
	Seconds   float64  `json:"seconds"`   // of training, all parts of a resumed run together
	TokPerS   *float64 `json:"tok_per_s"` // trained tokens over seconds
	PeakBytes *int64   `json:"peak_bytes"`
	// LlamaMaxDiff is the largest difference between our logits and llama.cpp's with the written file; LlamaBaseDiff is
	// that of the base alone, which bounds what may be asked.
	LlamaMaxDiff  *float64 `json:"llama_cpp_max_diff"`
	LlamaBaseDiff *float64 `json:"llama_cpp_base_diff"`
	// The same as root mean squares, by which the result was judged.
	LlamaRMSDiff     *float64 `json:"llama_cpp_rms_diff"`
	LlamaBaseRMSDiff *float64 `json:"llama_cpp_base_rms_diff"`
	// Of an adapter that leaves in a merged model: how far that model's predictions are from the base's with the
	// adapter, in nats, and how far the base's alone are.
	MergedKL *float64 `json:"merged_kl_mean"`
	BaseKL   *float64 `json:"base_kl_mean"`
	// The same of vectors, as 1 − cosine.
	MergedTurn *float64 `json:"merged_distance_mean,omitempty"`
	BaseTurn   *float64 `json:"base_distance_mean,omitempty"`

	Method     string   `json:"method"`
	ResultStep int      `json:"result_step"` // the step whose parameters were written
	BestStep   *int     `json:"best_step"`
	BestLoss   *float64 `json:"best_eval_loss"`
	Stopped    string   `json:"stopped"` // "steps", "patience", or "no signal": see rl.ErrBarren
	Result     string   `json:"result"`  // path of adapter.gguf or model.gguf

	Train encode.Counts  `json:"data"`
	Held  *encode.Counts `json:"eval_data"`
}
