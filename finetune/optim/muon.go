package optim

import (
	"math"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/internal/setting"
)

var momentum = &setting.Setting{
	Name:    "momentum",
	Usage:   "what Muon's moment keeps",
	Range:   setting.Below(0, 1, "0 to below 1"),
	Default: new(0.95),
}

// The values of Options.MuonScale, the default first, named as torch.optim.Muon names them.
const (
	MuonMatch    = "match_rms_adamw" // 0.2·√max(K, N): steps of AdamW's size, at its learning rate (Liu et al. 2025)
	MuonOriginal = "original"        // √max(1, N/K), of a matrix of K inputs and N outputs
)

// MuonScales lists them.
func MuonScales() []string { return []string{MuonMatch, MuonOriginal} }

// Muon takes of a matrix's moment the nearest matrix with orthogonal rows or columns (Jordan et al. 2024, "Muon: an
// optimizer for hidden layers in neural networks"), as torch.optim.Muon computes it with Nesterov's momentum:
//
//	m ← μ·m + (1−μ)·g        u = NewtonSchulz(μ·m + (1−μ)·g)        θ ← θ − η·λ·θ − η·s·u
//
// s is of the matrix's shape (MuonScales), λ applies to parameters with Decay. The iteration computes in F32, PyTorch's
// in BF16. What is no matrix between hidden layers is AdamW's: embeddings, the output head, norms, biases. A matrix of
// which neighbours are one number is too: Muon would tell them apart.
var Muon = registerOptimizer(&Optimizer{
	Name: "muon",
	Doc:  "orthogonal steps of matrices (Jordan et al. 2024), AdamW for the rest; half of its memory",
	Reads: []setting.Use{weightDecay.Use(), momentum.Use(), beta1.Use(), beta2.At(0.999),
		eps.At(1e-8)},
	StateBytes: func(params []*engine.Param) (sum int64) {
		for _, p := range params {
			if isHidden(p) {
				sum += 4 * p.Len()
			} else {
				sum += 2 * 4 * p.Len()
			}
		}
		return sum
	},
	WorkBytes: muonWork,
	Rate:      1,
	start: func(params []*engine.Param, s setting.Values, o Options) (rule, error) {
		return split(params, s, o, isHidden, startMuon, startAdamW)
	},
})

// isHidden says whether Muon itself updates a parameter.
func isHidden(p *engine.Param) bool {
	return len(p.Shape) == 2 && min(p.Shape[0], p.Shape[1]) > 1 && p.Group != "embed" && p.Tied <= 1
}

// muonWork is what an update takes meanwhile: of the largest matrix two directions and two squares of its smaller side,
// of which one may lie where a direction does.
func muonWork(params []*engine.Param) (most int64) {
	for _, p := range params {
		if isHidden(p) {
			side := min(p.Shape[0], p.Shape[1])
			most = max(most, 4*2*(p.Len()+side*side))
		}
	}
	return most
}

type muon struct {
	updater[graph.MuonConstants]
	m []backend.Floats
}

func startMuon(params []*engine.Param, s setting.Values, o Options) (rule, error) {
	u := &muon{}
	return u, u.start(params, s, o, u.add)
}

func (u *muon) add(i int, p *engine.Param, k graph.ID) error {
	if err := u.moments(p, &u.m); err != nil {
		return err
	}
	shape := matrixOf(p)
	u.give(p, u.graph.Muon(u.master(p, 0, shape), u.part(graph.State, u.m[i], 0, shape),
		u.part(graph.Input, p.Grad, 0, shape), k))
	return nil
}

func (u *muon) Update(lr, scale float64) error {
	return u.update(lr, func(p *engine.Param, rate, keep float64) graph.MuonConstants {
		return graph.MuonConstants{Scale: scale, Momentum: u.set.Of(momentum), Keep: keep,
			Rate: rate * muonScale(u.opts.MuonScale, p.Shape) * graph.MuonGain()}
	})
}

func muonScale(name string, shape []int64) float64 {
	in, out := float64(shape[0]), float64(shape[1])
	if name == MuonOriginal {
		return math.Sqrt(max(1, out/in))
	}
	return 0.2 * math.Sqrt(max(in, out))
}

func (u *muon) State() []checkpoint.Tensor { return u.listed("muon_m", u.m) }
