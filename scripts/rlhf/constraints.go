package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// The task is to follow what can be checked, as IFEval has it (Zhou et al. 2023): so many sentences, these words, JSON
// with these keys. One constraint a prompt is trained on; measured are other values of the same, and two at a time,
// which no prompt that is trained on has, both about other things. The start is the base.
const (
	constraintRows = 360 // that are trained on
	constraintHeld = 200 // of either kind that are measured on
	constraintMost = 48  // tokens of an answer
	// At 1 a model of 135 million parameters wanders off.
	constraintTemp = "0.7"
)

// The files that prepareConstraints writes.
const (
	singleFile   = "single.jsonl"
	valuesFile   = "values.jsonl"
	combinedFile = "combined.jsonl"
)

var constraints = plan{name: "constraints", noData: true, figures: []string{"values", "combinations", "perplexity",
	"distinct-2", "words"}, prepare: (*options).prepareConstraints, measure: (*options).measureConstraints,
	arms: []arm{
		{name: "base"},
		{name: "grpo", data: singleFile, repeated: true, args: []string{"--method", "grpo", "--reward", "constraints",
			"--temperature", constraintTemp, "--max-completion-length", strconv.Itoa(constraintMost),
			"--rollout-prompts", "8", "--steps", "24", "--lr", "1e-4", "--schedule", "constant", "--warmup", "0",
			"--batch", "2"}},
	}}

// values are what a constraint may ask for: of those trained on, or of those held out.
type values struct {
	about, words, keys []string
	sentences          []int
}

var (
	trainedValues = values{
		about: strings.Split("a river,the moon,bread,a bicycle,winter,a library,honey,a lighthouse,tea,a violin,"+
			"a forest,a kitchen,chess,a market,rain,a castle,football,an island,paper,a train,coffee,a garden,"+
			"a bridge,sleep", ","),
		words: strings.Split("old,water,people,morning,small,story,green,hand,light,city,friend,stone,early,music,"+
			"home,year", ","),
		keys:      strings.Split("name,colour,place,age,use,price,size,kind", ","),
		sentences: []int{1, 2, 4},
	}
	heldValues = values{
		about: strings.Split("the sea,a school,a horse,summer,a museum,cheese,a ship,a piano,a mountain,a clock,"+
			"salt,a village,a hat,an orchard,snow,a train station", ","),
		words:     strings.Split("blue,child,night,long,road,quiet,door,gold", ","),
		keys:      strings.Split("title,weight,shape,origin,owner,taste", ","),
		sentences: []int{3},
	}
)

// asks are what is asked about a thing.
var asks = []string{"Tell me about %s.", "Describe %s.", "Write something about %s.", "What do people do with %s?",
	"What is there to know about %s?"}

// A constrained prompt is a row that the reward constraints reads.
type constrained struct {
	Prompt       []turn           `json:"prompt"`
	Instructions []string         `json:"instruction_id_list"`
	Kwargs       []map[string]any `json:"kwargs"`
}

// add asks for one constraint more: so many sentences, two words, or JSON with two keys.
func (c *constrained) add(kind string, v *values, r *rand.Rand) {
	two := func(of []string) (string, string) {
		p := r.Perm(len(of))
		return of[p[0]], of[p[1]]
	}
	ask := &c.Prompt[0].Content
	switch kind {
	case "sentences":
		n := v.sentences[r.IntN(len(v.sentences))]
		*ask += fmt.Sprintf(" Your answer must have exactly %d sentences.", n)
		if n == 1 {
			*ask = strings.TrimSuffix(*ask, "s.") + "."
		}
		c.Instructions = append(c.Instructions, "length_constraints:number_sentences")
		c.Kwargs = append(c.Kwargs, map[string]any{"relation": "exactly", "num_sentences": n})
	case "words":
		a, b := two(v.words)
		*ask += fmt.Sprintf(" Use the words %q and %q.", a, b)
		c.Instructions = append(c.Instructions, "keywords:existence")
		c.Kwargs = append(c.Kwargs, map[string]any{"keywords": []string{a, b}})
	case "json":
		a, b := two(v.keys)
		*ask += fmt.Sprintf(" Answer with nothing but a JSON object that has the keys %q and %q, each with a short "+
			"text.", a, b)
		text := map[string]string{"type": "string"}
		c.Instructions = append(c.Instructions, "detectable_format:json_format")
		c.Kwargs = append(c.Kwargs, map[string]any{"schema": map[string]any{"type": "object",
			"required": []string{a, b}, "properties": map[string]any{a: text, b: text}}})
	}
}

// prepareConstraints writes the prompts.
func (o *options) prepareConstraints() error {
	for stream, f := range []struct {
		file  string
		rows  int
		of    *values
		kinds [][]string
	}{
		{singleFile, constraintRows, &trainedValues, [][]string{{"sentences"}, {"words"}, {"json"}}},
		{valuesFile, constraintHeld, &heldValues, [][]string{{"sentences"}, {"words"}, {"json"}}},
		{combinedFile, constraintHeld, &heldValues, [][]string{{"words", "sentences"}, {"json", "words"}}},
	} {
		r := rand.New(rand.NewPCG(1, uint64(stream)))
		var rows []constrained
		seen := map[string]bool{}
		for len(rows) < f.rows {
			c := constrained{Prompt: []turn{{"user", fmt.Sprintf(asks[r.IntN(len(asks))],
				f.of.about[r.IntN(len(f.of.about))])}}}
			for _, kind := range f.kinds[len(rows)%len(f.kinds)] {
				c.add(kind, f.of, r)
			}
			if ask := c.Prompt[0].Content; !seen[ask] {
				seen[ask] = true
				rows = append(rows, c)
			}
		}
		if err := write(o.file(f.file), rows); err != nil {
			return err
		}
	}
	return nil
}

// measureConstraints has a run answer both files of held-out prompts. That answers stay what the base finds likely, and
// that they do not become one answer, guards against what fulfils a constraint and is no answer.
func (o *options) measureConstraints(ctx context.Context, a arm, run string, r *result) error {
	for file, name := range map[string]string{valuesFile: "values", combinedFile: "combinations"} {
		to := o.file(fmt.Sprintf("%s-%d-%s", a.name, r.Seed, file))
		args := append(recorder(to), "--reward", "constraints=all", "--reward-weights", "1,0", "--temperature",
			constraintTemp)
		e, err := o.answers(ctx, run, file, 1, constraintMost, args...)
		if err != nil {
			return err
		}
		if err := r.take(e, "pass@1"); err != nil {
			return err
		}
		r.Figures[name] = r.Figures["pass@1"]
		delete(r.Figures, "pass@1")
		if file != valuesFile {
			continue
		}
		of, err := recorded(to)
		if err != nil {
			return err
		}
		if r.Figures["perplexity"], err = o.perplexityOf(ctx, of); err != nil {
			return err
		}
		r.describe(of)
	}
	return nil
}
