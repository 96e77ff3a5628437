package config

import (
	"fmt"
	"strings"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune/method"
)

// poolings are the values of Pooling, the default first.
func poolings() []string { return append([]string{autoWord}, arch.Poolings()...) }

func (c *Config) vectorOptions() []Option {
	const widths = "768,512,256"
	return []Option{
		{Name: "pooling", Value: &c.Pooling, Eval: true,
			Usage: "what of a text's tokens makes its vector: " + strings.Join(arch.Poolings(), ", ") +
				"; auto: what the model's file says"},
		{Name: "step-examples", Value: &c.StepExamples, Eval: true,
			Usage: "a step is `N` examples of texts, each of which mnrl, simcse, gist and cosent set beside the " +
				"others"},
		{Name: "matryoshka", Value: &c.Matryoshka, Eval: true, Example: widths, Usage: "learn vectors that can be " +
			"cut: the loss over the first numbers as well, as `WIDTHS` with commas, falling, such as " + widths},
		{Name: "query-prefix", Value: &c.QueryPrefix, Eval: true,
			Usage: "`TEXT` before each query, as the model's card has it, such as \"query: \""},
		{Name: "document-prefix", Value: &c.DocumentPrefix, Eval: true,
			Usage: "`TEXT` before each document, such as \"passage: \" or \"search_document: \""},
	}
}

// vectors says that what is trained makes vectors of texts, and writes nothing.
func (c *Config) vectors() bool {
	how, err := c.Loss()
	return err == nil && how.Need.Pools()
}

// widths are Matryoshka's, whole numbers.
func (c *Config) widths() ([]int, error) {
	out := make([]int, len(c.Matryoshka))
	for i, w := range c.Matryoshka {
		if out[i] = int(w); float64(out[i]) != w {
			return nil, fmt.Errorf("--matryoshka %g: expected whole numbers", w)
		}
	}
	return out, nil
}

// asPooling is Pooling as the engine has it: 0 leaves it to the model's file.
func (c *Config) asPooling() (arch.Pooling, error) {
	if c.Pooling == autoWord {
		return arch.PoolNone, nil
	}
	return arch.PoolingOf(c.Pooling)
}

// PoolingOf is how a model makes vectors of texts: as was chosen, or as its file says.
func (c *Config) PoolingOf(m *engine.Model) (arch.Pooling, error) {
	p, err := c.asPooling()
	if err != nil {
		return 0, err
	}
	if p, err = m.Pooling(p); err != nil {
		return 0, fmt.Errorf("%w, with --pooling", err)
	}
	return p, nil
}

// VectorsOf is how vectors of texts are made for a method that learns from them, 0 for others. It refuses a model that
// does not say how where nobody else does, and widths that its vectors do not have.
func (c *Config) VectorsOf(how *method.Method, m *engine.Model) (arch.Pooling, error) {
	if !how.Need.Pools() {
		return arch.PoolNone, c.predicts(how, m)
	}
	if n := m.HParams().NEmbd; len(c.Matryoshka) > 0 && c.Matryoshka[0] > float64(n) {
		return 0, &Error{fmt.Errorf("--matryoshka %g: the vectors of %s have %d numbers; give that and less",
			c.Matryoshka[0], m.Path(), n)}
	}
	p, err := c.PoolingOf(m)
	if err != nil {
		return 0, fmt.Errorf("--method %s: %w", how.Name, err)
	}
	return p, nil
}

// predicts refuses a model that predicts no tokens, for a method that learns from what is predicted.
func (c *Config) predicts(how *method.Method, m *engine.Model) error {
	if !m.Net().Headless {
		return nil
	}
	return &Error{fmt.Errorf("%s makes vectors of texts (%s) and predicts no tokens, and --method %s is about these; "+
		"give a method of vectors: %s", m.Path(), m.Net().Arch, how.Name, strings.Join(method.OfVectors(), ", "))}
}

// vectors refuses what is no way to make them, and what is said of them to a method that makes none.
func (v *validator) vectors() {
	c := v.c
	_, err := c.asPooling()
	v.known(&c.Pooling, err)
	v.need(c.StepExamples >= 1, &c.StepExamples, v.is(c.StepExamples), "at least 1 example")
	how, err := c.Loss()
	if err != nil {
		return
	}
	if how.Need.Pools() {
		v.need(how.Drops == 0 || c.modelDropout() > 0, &c.ModelDropout, v.is(c.ModelDropout)+" with --method "+c.Method,
			"above 0, such as 0.1: without dropout a text's two views are equal, and nothing is to be learned of them")
		return
	}
	given := "is given with --method " + c.Method + ", which makes no vectors of texts"
	const expected = "it with a method that does, such as mnrl"
	v.need(c.Pooling == autoWord, &c.Pooling, given, expected)
	v.need(len(c.Matryoshka) == 0, &c.Matryoshka, given, expected)
	v.need(c.QueryPrefix == "", &c.QueryPrefix, given, expected)
	v.need(c.DocumentPrefix == "", &c.DocumentPrefix, given, expected)
}

// vectorSteps refuses what training of vectors has no use for.
func (v *validator) vectorSteps() {
	c := v.c
	if !c.vectors() {
		return
	}
	with := "is given with --method " + c.Method
	v.need(c.Accum.Auto || c.Accum.N == 1, &c.Accum, v.is(c.Accum)+" with --method "+c.Method,
		"auto: a step is as many micro-batches as its --step-examples make")
	v.need(c.ALoRA == "", &c.ALoRA, with, "it without: a vector is made of all of a text")
	v.need(c.SampleEvery.Auto || c.SampleEvery.N == 0, &c.SampleEvery, with+", which writes no text", "0")
}

// OtherModel is the file of a model that a method learns from beside the one in training, a teacher or a guide, and the
// option that names it; "" where there is none.
func (c *Config) OtherModel(how *method.Method) (path, option string) {
	switch {
	case how.Teacher, how.Other == method.Taught:
		return c.Teacher, c.optionOf(&c.Teacher).Name
	case how.Other == method.Guided:
		return c.Guide, c.optionOf(&c.Guide).Name
	}
	return "", ""
}
