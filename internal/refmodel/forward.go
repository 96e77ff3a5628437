package refmodel

import (
	"fmt"
	"math"
	"slices"
)

// A Pass is one row that went forward through a model.
type Pass struct {
	// LogP is the log-probability of each counted token, in nats, in the order of Row.Counted.
	LogP []float64
	// Entropy is that of the whole vocabulary's distribution which predicts each counted token, in nats.
	Entropy []float64
	// Value is the number of each valued token, in the order of Row.Valued.
	Value []float64
	// Pooled holds the vector [n_embd] of each pooled segment, one behind the other, in the order of Row.Pooled.
	Pooled []float64

	row     Row
	tree    *tree
	tape    tape
	params  map[string]*node
	logits  *node // divided by the temperature
	values  *node // of every token, or nil
	vectors *node // of every pooled segment
	model   *Model
}

// Forward runs one row.
func (m *Model) Forward(row Row) (*Pass, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	a := m.of()
	tr, err := newTree(row, m.NVocab, a.Both)
	if err != nil {
		return nil, err
	}
	if a.Positions && len(row.Tokens) > 0 && slices.Max(tr.pos) >= m.NCtxTrain {
		return nil, fmt.Errorf("the row reaches position %d of %d learned ones", slices.Max(tr.pos), m.NCtxTrain)
	}
	p := &Pass{row: row, tree: tr, params: map[string]*node{}, model: m}
	x := p.embed()
	for il := range m.NLayer {
		x = a.Layer(p, il, x)
	}
	h := x
	if !a.EmbedNorm {
		h = p.norm(x, a.lastNorm())
	}
	p.vectors = p.pool(h)
	p.Pooled = p.vectors.val.Data
	if a.Headless {
		if len(row.Counted) > 0 {
			return nil, fmt.Errorf("%s model: log-probabilities are asked for, and there is no output head", m.Arch)
		}
		return p, p.value(h)
	}
	p.head(h)
	for _, c := range row.Counted {
		scores := p.logits.val.Row(tr.prev[c])
		p.LogP = append(p.LogP, scores[row.Tokens[c]]-logSumExp(scores))
		p.Entropy = append(p.Entropy, entropy(scores))
	}
	return p, p.value(h)
}

// pool gives the vector of each pooled segment, of the states of every token.
func (p *Pass) pool(states *node) *node {
	var texts [][]int
	for _, is := range p.row.Pooled {
		s := p.row.Segments[is]
		text := p.tree.sees[s.Start+s.Len-1]
		switch p.row.Pooling {
		case "cls":
			text = text[:1]
		case "last":
			text = text[len(text)-1:]
		}
		texts = append(texts, text)
	}
	v := p.tape.means(states, texts)
	if p.model.NDense > 0 {
		v = p.tape.linear(p.weight("dense_3.weight"), p.tape.linear(p.weight("dense_2.weight"), v, 1), 1)
	}
	return v
}

// value multiplies the head of values with the state at every token.
func (p *Pass) value(h *node) error {
	if len(p.row.Valued) == 0 {
		return nil
	}
	w := p.param("value.weight", p.model.Value)
	if w == nil {
		return fmt.Errorf("%s model: values are asked for, and there is no head of them", p.model.Arch)
	}
	p.values = p.tape.linear(w, h, 1)
	for _, t := range p.row.Valued {
		p.Value = append(p.Value, p.values.val.Row(int(t))[0])
	}
	return nil
}

// entropy is that of the softmax of scores, in nats.
func entropy(scores []float64) float64 {
	z, sum := logSumExp(scores), 0.0
	for _, s := range scores {
		sum -= math.Exp(s-z) * (s - z)
	}
	return sum
}

// Logits gives the scores of every vocabulary entry for the token that follows token i, divided by the temperature.
func (p *Pass) Logits(i int) []float64 { return p.logits.val.Row(i) }

// Gradients are those of the loss with respect to every weight, by tensor name, and to every LoRA matrix, by the
// weight's name with .lora_a or .lora_b.
type Gradients map[string]*Matrix

// Add adds the gradients of another row.
func (g Gradients) Add(other Gradients) {
	for name, m := range other {
		if g[name] == nil {
			g[name] = NewMatrix(m.Rows, m.Cols)
		}
		axpy(g[name].Data, 1, m.Data)
	}
}

// Slopes are the gradients of a loss with respect to what a pass gives; nil stands for zeros.
type Slopes struct{ LogP, Entropy, Value, Pooled []float64 }

// Backward gives all gradients from those of the loss with respect to LogP. It may be called once for a pass.
func (p *Pass) Backward(dLogP []float64) (Gradients, error) {
	if len(dLogP) != len(p.LogP) {
		return nil, fmt.Errorf("%d gradients of log-probabilities, expected %d", len(dLogP), len(p.LogP))
	}
	return p.BackwardFrom(Slopes{LogP: dLogP})
}

// BackwardFrom is Backward from all that a pass gives. With p = softmax(l) and the entropy H = -Σ p log p,
// dH/dl_v = -p_v (log p_v + H).
func (p *Pass) BackwardFrom(d Slopes) (Gradients, error) {
	if p.tape.steps == nil {
		return nil, fmt.Errorf("the pass has already gone backward")
	}
	p.tape.prepare()
	for i, c := range p.row.Counted {
		prob := slices.Clone(p.logits.val.Row(p.tree.prev[c]))
		softmax(prob)
		to := p.logits.grad.Row(p.tree.prev[c])
		if d.LogP != nil {
			axpy(to, -d.LogP[i], prob)
			to[p.row.Tokens[c]] += d.LogP[i]
		}
		for v := range to {
			if d.Entropy != nil && prob[v] > 0 {
				to[v] -= d.Entropy[i] * prob[v] * (math.Log(prob[v]) + p.Entropy[i])
			}
		}
	}
	for i, t := range p.row.Valued {
		if d.Value != nil {
			p.values.grad.Row(int(t))[0] += d.Value[i]
		}
	}
	if d.Pooled != nil {
		copy(p.vectors.grad.Data, d.Pooled)
	}
	p.tape.backward()
	p.tape = tape{}
	g := Gradients{}
	for name, n := range p.params {
		g[name] = n.grad
	}
	return g, nil
}

// param gives the node of a weight, or of a LoRA matrix under its weight's name and a suffix; nil where there is none.
func (p *Pass) param(name string, m *Matrix) *node {
	if m == nil {
		return nil
	}
	if p.params[name] == nil {
		p.params[name] = p.tape.holding(m)
	}
	return p.params[name]
}

func (p *Pass) weight(name string) *node { return p.param(name, p.model.Weights[name]) }

// pair gives the nodes of a LoRA pair; nil where there is none.
func (p *Pass) pair(name string) (a, b *node, scale float64) {
	l := p.model.LoRA[name]
	return p.param(name+".lora_a", l.A), p.param(name+".lora_b", l.B), l.Scale
}

// embed gives the first layer's input.
func (p *Pass) embed() *node {
	const name = "token_embd.weight"
	ids := make([]int, len(p.row.Tokens))
	for i, id := range p.row.Tokens {
		ids[i] = int(id)
	}
	x := p.tape.rows(p.weight(name), ids)
	if a, b, scale := p.pair(name); a != nil {
		x = p.tape.add(x, p.tape.linear(b, p.tape.rows(a, ids), scale))
	}
	if p.model.of().Scaled {
		x = p.tape.divide(x, 1/math.Sqrt(float64(p.model.NEmbd)))
	}
	if s := p.model.EmbdScale; s != 0 {
		x = p.tape.divide(x, 1/s)
	}
	a := p.model.of()
	if a.Types {
		x = p.tape.add(x, p.tape.rows(p.weight("token_types.weight"), make([]int, len(ids))))
	}
	if a.Positions {
		x = p.tape.add(x, p.tape.rows(p.weight("position_embd.weight"), p.tree.pos))
	}
	if a.EmbedNorm {
		x = p.norm(x, "token_embd_norm")
	}
	return x
}

// linear multiplies by role.weight, adds its LoRA pair and its bias where they exist.
func (p *Pass) linear(x *node, role string) *node {
	name := role + ".weight"
	y := p.tape.linear(p.weight(name), x, 1)
	if a, b, scale := p.pair(name); a != nil {
		y = p.tape.add(y, p.tape.linear(b, p.tape.linear(a, x, 1), scale))
	}
	if bias := p.weight(role + ".bias"); bias != nil {
		y = p.tape.add(y, bias)
	}
	return y
}

// norm is the architecture's.
func (p *Pass) norm(x *node, role string) *node {
	if p.model.of().LayerNorm {
		return p.tape.layerNorm(x, p.weight(role+".weight"), p.weight(role+".bias"), p.model.NormEps)
	}
	return p.tape.rmsNorm(x, p.weight(role+".weight"), p.model.NormEps)
}

// head scores the vocabulary after every token.
func (p *Pass) head(h *node) {
	role := "output"
	if p.weight("output.weight") == nil {
		role = "token_embd"
	}
	p.logits = p.linear(h, role)
	if p.model.LogitCap > 0 {
		p.logits = p.tape.softcap(p.logits, p.model.LogitCap)
	}
	if s := p.model.LogitScale; s != 0 && p.model.of().LogitsDivided {
		p.logits = p.tape.divide(p.logits, s)
	} else if s != 0 {
		p.logits = p.tape.divide(p.logits, 1/s)
	}
	if p.row.Temp != 0 {
		p.logits = p.tape.divide(p.logits, p.row.Temp)
	}
}
