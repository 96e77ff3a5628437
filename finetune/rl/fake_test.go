package rl

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/finetune/rollout"
	"github.com/ggtune/ggtune/internal/setting"
)

// draw is a number in [0, 1) that follows from others.
func draw(x ...any) float64 {
	h := sha256.Sum256(fmt.Append(nil, x...))
	return float64(binary.LittleEndian.Uint64(h[:])>>11) / (1 << 53)
}

const endToken = 99

// A fakeWriter writes answers that follow from what it is asked.
type fakeWriter struct {
	held, wrote int
	gap         float64 // of its log-probabilities from the engine's
	spoil       func(answers []rollout.Answer) []rollout.Answer
	during      func() // while it writes
}

func (w *fakeWriter) Hold(context.Context, *adapter.Adapter) error { w.held++; return nil }

func (w *fakeWriter) Write(ctx context.Context, prompts []rollout.Prompt, g int, how rollout.Sampling) (
	out []rollout.Answer, err error) {
	w.wrote++
	if w.during != nil {
		w.during()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i, p := range prompts {
		for k := range g {
			most := how.MaxTokens
			if p.Most > 0 {
				most = p.Most
			}
			i, k := i, k
			if p.Place != nil {
				i, k = p.Place.Prompt, p.Place.Sample
			}
			n := 1 + int(draw("length", how, i, k)*float64(most))
			a := rollout.Answer{}
			prev := p.Tokens[len(p.Tokens)-1]
			for at := range n {
				tok := int32(10 + 80*draw("token", how, i, k, at))
				if at == n-1 && n < most {
					tok, a.Ended = endToken, true
				}
				a.Tokens, a.LogP = append(a.Tokens, tok), append(a.LogP, float32(logp(prev, tok)-w.gap))
				prev = tok
			}
			out = append(out, a)
		}
	}
	if w.spoil != nil {
		out = w.spoil(out)
	}
	return out, nil
}

func (w *fakeWriter) Text(a rollout.Answer) (string, error) {
	if a.Ended {
		a.Tokens = a.Tokens[:len(a.Tokens)-1]
	}
	return strings.Trim(fmt.Sprint(a.Tokens), "[]"), nil
}

// logp is what the fake engine says of a token behind another.
func logp(prev, tok int32) float64 { return -1 - draw("logp", prev, tok) }

// A fakeEngine gives log-probabilities; of the reference (no set applied) they are lower by 1.
type fakeEngine struct {
	forwards int
	nan      bool
	during   func()
}

func (e *fakeEngine) Forward(_ context.Context, b *engine.Batch, o engine.Options) (engine.Outputs, error) {
	e.forwards++
	if e.during != nil {
		e.during()
	}
	out := engine.Outputs{}
	for _, row := range b.Rows {
		before := map[int32]int32{}
		for _, s := range row.Segments {
			for i := s.Start; i < s.Start+s.Len; i++ {
				switch {
				case i > s.Start:
					before[int32(i)] = row.Tokens[i-1]
				case s.Parent >= 0:
					p := row.Segments[s.Parent]
					before[int32(i)] = row.Tokens[p.Start+p.Len-1]
				}
			}
		}
		for _, c := range row.Counted {
			x := logp(before[c], row.Tokens[c])
			if o.Apply.None() {
				x--
			}
			if e.nan {
				x = math.NaN()
			}
			out[engine.LogP] = append(out[engine.LogP], float32(x))
		}
	}
	return out, nil
}

// A fakeReward gives what fn says, and counts what it is asked.
type fakeReward struct {
	asked int
	fn    func(s *reward.Sample) float64
	err   error
}

func (r *fakeReward) Score(ctx context.Context, samples []reward.Sample) (out reward.Scores, err error) {
	r.asked += len(samples)
	if r.err != nil {
		return out, r.err
	}
	out.Parts = make([][]float64, 2)
	for i := range samples {
		x := r.fn(&samples[i])
		out.Total = append(out.Total, x)
		out.Parts[0], out.Parts[1] = append(out.Parts[0], x), append(out.Parts[1], float64(i))
	}
	return out, nil
}

func (r *fakeReward) Names() []string { return []string{"length=3", "length"} }

// fakeMethod has as its advantage a reward less the mean of its group; a group of one reward has no signal.
func fakeMethod() *method.Method {
	return &method.Method{Name: "fake", Need: method.Rollouts, Reference: true, Unit: "token",
		Advantages: func(all []method.Answer, carry []float64, _ setting.Values) (out method.Advantages, err error) {
			for at := 0; at < len(all); {
				end, mean := at, 0.0
				for end < len(all) && all[end].Group == all[at].Group {
					mean += all[end].Reward
					end++
				}
				mean /= float64(end - at)
				signal := false
				for _, a := range all[at:end] {
					signal = signal || a.Reward != all[at].Reward
					if len(a.Ref) != len(a.LogP) {
						return out, errors.New("no reference")
					}
					adv := make([]float64, len(a.LogP))
					for k := range adv {
						adv[k] = a.Reward - mean
					}
					out.Advantage = append(out.Advantage, adv)
				}
				for range all[at:end] {
					out.Trained = append(out.Trained, signal)
				}
				out.Signal = append(out.Signal, signal)
				at = end
			}
			out.Carry = []float64{float64(len(all))}
			if carry != nil {
				out.Carry[0] += carry[0]
			}
			out.Metrics = []method.Metric{{Name: Reward, Sum: out.Carry[0], Weight: 1}}
			return out, nil
		}}
}

// A fixture is a Source with its parts.
type fixture struct {
	Config
	writer *fakeWriter
	engine *fakeEngine
	reward *fakeReward
}

// newFixture has 7 prompts, of which 3 are rolled out together, with 4 answers each of at most 6 tokens.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{writer: &fakeWriter{}, engine: &fakeEngine{},
		reward: &fakeReward{fn: func(s *reward.Sample) float64 { return float64(s.Tokens) }}}
	f.Config = Config{Judge: Judge{Writer: f.writer, MaxTokens: 6, Temp: 1, Seed: 5,
		Policy:  func() (*adapter.Adapter, error) { return &adapter.Adapter{}, nil },
		Rewards: f.reward},
		Prompts: somePrompts(t, 7, 3), Engine: f.engine, Method: fakeMethod(), Reference: engine.Only(),
		Generations: 4, Iterations: 2, MiniBatches: 2, Batch: 1, Cap: 2, Dir: t.TempDir() + "/rollouts"}
	return f
}

// somePrompts are n of different lengths, so many answered together.
func somePrompts(t *testing.T, n, together int) (p Prompts) {
	t.Helper()
	d, err := encode.NewDataset(method.Rollouts, encode.Limits{SeqLen: 32})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		it := encode.Item{Source: data.Source{File: "prompts", Line: i + 1},
			Segments: []engine.Segment{{Len: i + 1, Parent: -1}}, Counted: make([]bool, i+1)}
		for k := range i + 1 {
			it.Tokens = append(it.Tokens, int32(i+k))
		}
		d.Add(it)
		p.Asked = append(p.Asked, reward.Sample{Prompt: fmt.Sprint("prompt ", i),
			Row: map[string]json.RawMessage{"n": json.RawMessage(fmt.Sprint(i))}})
	}
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	p.Rows, err = encode.NewLoader(d, encode.LoadOptions{Window: 32, Packing: encode.Unpacked, Batch: together,
		Seed: 5, Shuffle: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func opts() engine.Options { return engine.Options{} }
