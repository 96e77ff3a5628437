package refmodel

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"math"
	"path"
	"slices"
)

//go:embed testdata/torch/*.json
var recordings embed.FS

// A Recorded is what PyTorch's transformers computed in float64 for one tiny model and row (scripts/record_torch.py).
type Recorded struct {
	Name  string
	Model *Model          // without LoRA; every number is exact in float32
	LoRA  map[string]Pair // beside every linear weight, every number exact in float32
	Row   Row
	Full  Run // without LoRA, gradients of every weight
	Adapt Run // with LoRA, gradients of every A and B
}

// Adapted gives the model with its LoRA pairs.
func (r *Recorded) Adapted() *Model {
	m := *r.Model
	m.LoRA = r.LoRA
	return &m
}

// A Run is what one forward and backward pass gave.
type Run struct {
	Loss     float64   // mean over the counted tokens of −LogP, nats, or over all numbers of −Pooled
	LogP     []float64 // of each counted token, nats
	LogitsAt int       // the token behind which Logits stand
	Logits   []float64
	Pooled   []float64         // of a model without an output head: the mean of each segment, one behind the other
	Grads    map[string]Digest // of Loss, by tensor name, with .lora_a or .lora_b for a pair's
}

// Says is what Loss is made of.
func (r Run) Says() []float64 {
	if r.Pooled != nil {
		return r.Pooled
	}
	return r.LogP
}

// Slopes gives those of Loss.
func (r Run) Slopes() Slopes {
	if r.Pooled != nil {
		return Slopes{Pooled: r.DSays()}
	}
	return Slopes{LogP: r.DSays()}
}

// DSays gives dLoss/dSays.
func (r Run) DSays() []float64 {
	d := make([]float64, len(r.Says()))
	for i := range d {
		d[i] = -1 / float64(len(d))
	}
	return d
}

// A Digest is what is kept of a gradient: its norm, its products with two vectors of signs, and some of its numbers.
type Digest struct {
	name    string
	N       int        `json:"n"`
	Norm    float64    `json:"norm"`
	Probes  [2]float64 `json:"probes"`
	Stride  int        `json:"stride"`
	Entries []float64  `json:"entries"` // every Stride-th number
}

// Difference says how far a gradient is from the recorded one, relative to its norm: the greatest of the differences of
// the norm, the two probes and the kept numbers. A gradient that is off by a vector of relative length d moves a probe
// by about d, wherever the fault is. It is +Inf for a gradient of another length.
func (d Digest) Difference(got []float64) float64 {
	if len(got) != d.N {
		return math.Inf(1)
	}
	worst := math.Abs(math.Sqrt(dot(got, got)) - d.Norm)
	for k, want := range d.Probes {
		sum := 0.0
		for i, v := range got {
			sum += v * sign(d.name, k, i)
		}
		worst = max(worst, math.Abs(sum-want))
	}
	for i, want := range d.Entries {
		worst = max(worst, math.Abs(got[i*d.Stride]-want))
	}
	if worst == 0 {
		return 0
	}
	return worst / d.Norm
}

// Nothing says that the gradient is zero but for rounding, beside the largest one's norm: that of a bias of keys, say,
// which adds the same to all scores of a token.
func (d Digest) Nothing(largest float64) bool { return d.Norm <= 1e-13*largest }

func sign(name string, probe, i int) float64 {
	if formulaBits(fmt.Sprintf("%s.probe%d", name, probe), i)>>63 == 1 {
		return 1
	}
	return -1
}

// formulaBits gives 64 bits for number i of a tensor: FNV-1a of the name, then SplitMix64's output i+1 from there. The
// same as bits in scripts/record_torch.py.
func formulaBits(name string, i int) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	z := h + uint64(i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Formula gives number i of a recording's tensor: offset plus a multiple of 2^(−15−shift) within ±2^−shift.
func Formula(name string, i, shift int, offset float64) float64 {
	return offset + math.Ldexp(float64(int(formulaBits(name, i)>>48)-32768), -15-shift)
}

// FormulaMatrix fills a matrix with Formula's numbers.
func FormulaMatrix(name string, rows, cols, shift int, offset float64) *Matrix {
	m := NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = Formula(name, i, shift, offset)
	}
	return m
}

// shiftA and shiftB bound the numbers of A and B (see Formula); scripts/record_torch.py has the same.
const shiftA, shiftB = 2, 3

// A recording is a file of testdata/torch.
type recording struct {
	Name     string `json:"name"`
	Arch     string `json:"arch"`
	MadeWith string `json:"made_with"`
	HParams  struct {
		NLayer      int     `json:"n_layer"`
		NEmbd       int     `json:"n_embd"`
		NFF         int     `json:"n_ff"`
		NHead       int     `json:"n_head"`
		NHeadKV     int     `json:"n_head_kv"`
		HeadDim     int     `json:"head_dim"`
		NVocab      int     `json:"n_vocab"`
		NCtxTrain   int     `json:"n_ctx_train"`
		NormEps     float64 `json:"norm_eps"`
		RopeBase    float64 `json:"rope_base"`
		RopeScaling string  `json:"rope_scaling"`
		RopeFactor  float64 `json:"rope_factor"`
		RopeCtxOrig int     `json:"rope_ctx_orig"`
		RopeDim     int     `json:"rope_dim"`         // 0: all of a head
		RopeAttn    float64 `json:"rope_attn_factor"` // 0: 1
		RopeTemp    float64 `json:"rope_temp"`
		RopeBeta    float64 `json:"rope_beta_fast"`
		RopeLogMul  float64 `json:"rope_log_mul"`
		NExpert     int     `json:"n_expert"`
		NExpertUsed int     `json:"n_expert_used"`
		NFFExp      int     `json:"n_ff_exp"`
		NFFShared   int     `json:"n_ff_shared"`
		Window      int     `json:"window"`
		AttnCap     float64 `json:"attn_cap"`
		LogitCap    float64 `json:"logit_cap"`
		EmbdScale   float64 `json:"embd_scale"`
		AttnScale   float64 `json:"attn_scale"`
		Residual    float64 `json:"residual"`
		LogitScale  float64 `json:"logit_scale"`
		Period      int     `json:"period"`
		NearKV      int     `json:"near_n_head_kv"`
		NearDim     int     `json:"near_head_dim"`
		NearBase    float64 `json:"near_rope_base"`
		LCache      int     `json:"l_cache"`
	} `json:"hparams"`
	Tokens   []int32  `json:"tokens"`
	Segments [][3]int `json:"segments"` // start, length, parent
	Counted  []int32  `json:"counted"`
	Tensors  []struct {
		Name   string  `json:"name"`
		Rows   int     `json:"rows"`
		Cols   int     `json:"cols"`
		Shift  int     `json:"shift"`
		Offset float64 `json:"offset"`
	} `json:"tensors"`
	Given map[string][]float64 `json:"given"`
	Pairs []struct {
		Name string `json:"name"`
		A    [2]int `json:"a"` // rows, columns
		B    [2]int `json:"b"`
	} `json:"pairs"`
	Scale float64     `json:"scale"`
	Full  recordedRun `json:"full"`
	LoRA  recordedRun `json:"lora"`
}

type recordedRun struct {
	Loss     float64           `json:"loss"`
	LogP     []float64         `json:"logp"`
	LogitsAt int               `json:"logits_at"`
	Logits   []float64         `json:"logits"`
	Pooled   []float64         `json:"pooled"`
	Grads    map[string]Digest `json:"grads"`
}

func (r recordedRun) run() Run {
	out := Run{Loss: r.Loss, LogP: r.LogP, LogitsAt: r.LogitsAt, Logits: r.Logits, Pooled: r.Pooled,
		Grads: map[string]Digest{}}
	for name, d := range r.Grads {
		d.name = name
		out.Grads[name] = d
	}
	return out
}

// Recordings reads all recorded cases, in the order of their names.
func Recordings() ([]*Recorded, error) {
	const dir = "testdata/torch"
	entries, err := recordings.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []*Recorded
	for _, e := range entries {
		data, err := recordings.ReadFile(path.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		var rec recording
		if err := dec.Decode(&rec); err != nil {
			return nil, fmt.Errorf("recording %s: %w", e.Name(), err)
		}
		r := rec.recorded()
		if err := r.Adapted().Validate(); err != nil {
			return nil, fmt.Errorf("recording %s: %w", e.Name(), err)
		}
		out = append(out, r)
	}
	return out, nil
}

// recorded makes the model and the row that the file describes.
func (rec *recording) recorded() *Recorded {
	hp := rec.HParams
	m := &Model{Arch: rec.Arch, Weights: map[string]*Matrix{}, HParams: HParams{
		NLayer: hp.NLayer, NEmbd: hp.NEmbd, NFF: hp.NFF, NHead: hp.NHead, NHeadKV: hp.NHeadKV, HeadDim: hp.HeadDim,
		NVocab: hp.NVocab, NCtxTrain: hp.NCtxTrain, NormEps: hp.NormEps,
		NExpert: hp.NExpert, NExpertUsed: hp.NExpertUsed, NFFExp: hp.NFFExp,
		NFFShared: hp.NFFShared,
		Window:    hp.Window, AttnCap: hp.AttnCap, LogitCap: hp.LogitCap,
		EmbdScale: hp.EmbdScale, AttnScale: hp.AttnScale, Residual: hp.Residual, LogitScale: hp.LogitScale,
		Period: hp.Period, LCache: hp.LCache, Near: Near{hp.NearKV, hp.NearDim, hp.NearBase},
	}}
	if a, err := archs.Get(rec.Arch); err == nil && !a.Positions { // an unknown one is refused with the model
		m.Rope = Rope{Dim: hp.HeadDim, Neox: a.Neox, Base: hp.RopeBase, Scale: 1 / hp.RopeFactor,
			Yarn: hp.RopeScaling == "yarn", CtxOrig: hp.RopeCtxOrig, AttnFactor: 1,
			Temp: hp.RopeTemp, BetaFast: hp.RopeBeta, LogMul: hp.RopeLogMul}
		if hp.RopeDim > 0 {
			m.Rope.Dim = hp.RopeDim
		}
		if hp.RopeAttn > 0 {
			m.Rope.AttnFactor = hp.RopeAttn
		}
	}
	for _, t := range rec.Tensors {
		switch t.Name {
		case "token_types.weight":
			m.NTypes = t.Rows
		case "dense_2.weight":
			m.NDense = t.Rows
		}
		m.Weights[t.Name] = FormulaMatrix(t.Name, t.Rows, t.Cols, t.Shift, t.Offset)
	}
	for name, data := range rec.Given {
		m.Weights[name] = &Matrix{Rows: 1, Cols: len(data), Data: slices.Clone(data)}
		for i, v := range data { // ten digits name a float32: take that
			m.Weights[name].Data[i] = float64(float32(v))
		}
	}
	lora := map[string]Pair{}
	for _, p := range rec.Pairs {
		lora[p.Name] = Pair{
			A:     FormulaMatrix(p.Name+".lora_a", p.A[0], p.A[1], shiftA, 0),
			B:     FormulaMatrix(p.Name+".lora_b", p.B[0], p.B[1], shiftB, 0),
			Scale: rec.Scale,
		}
	}
	row := Row{Tokens: rec.Tokens, Counted: rec.Counted}
	for _, s := range rec.Segments {
		row.Segments = append(row.Segments, Segment{Start: s[0], Len: s[1], Parent: s[2]})
	}
	if rec.Full.Pooled != nil {
		row.Pooling = "mean"
		for i := range row.Segments {
			row.Pooled = append(row.Pooled, int32(i))
		}
	}
	return &Recorded{Name: rec.Name, Model: m, LoRA: lora, Row: row, Full: rec.Full.run(), Adapt: rec.LoRA.run()}
}
