package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// models lists the generated models by file name.
func models() map[string]synth.Spec {
	tiny := func(arch string, t gguf.Type, change func(*synth.Spec)) synth.Spec {
		s := synth.Tiny(arch, t)
		if change != nil {
			change(&s)
		}
		return s
	}
	chat := func(s *synth.Spec) { s.ChatTemplate = synth.ChatML }
	out := map[string]synth.Spec{
		"llama-tied": tiny("llama", gguf.Q8_0, func(s *synth.Spec) { s.Tied = true }),
		"llama-bias": tiny("llama", gguf.Q5_1, func(s *synth.Spec) { s.Bias = true }),
		"llama-factors": tiny("llama", gguf.Q4_0,
			func(s *synth.Spec) { s.RopeFactors, s.Tokenizer = true, synth.Llama3 }),
		"llama-long": tiny("llama", gguf.Q8_0, func(s *synth.Spec) { s.Ctx, s.Heads, s.KVHeads = 2048, 2, 1 }),
		"llama-wide": tiny("llama", gguf.Q4_K,
			func(s *synth.Spec) { s.Embd, s.HeadDim, s.Heads, s.KVHeads = 512, 128, 3, 1 }),
		"llama-deep": tiny("llama", gguf.Q8_0, func(s *synth.Spec) { s.Layers, s.Seed = 5, 2 }),
	}
	for _, name := range arch.Predicting() {
		if a, err := arch.Get(name); err == nil && a.Newer { // not every build runs it
			continue
		}
		change := chat
		if name == "llama" || name == "gpt2" { // their tokenizers lack the template's tokens
			change = nil
		}
		for _, t := range []gguf.Type{gguf.F32, gguf.F16, gguf.BF16, gguf.Q8_0, gguf.Q4_K} {
			out[name+"-"+t.String()] = tiny(name, t, change)
		}
	}
	for _, t := range storageTypes {
		out["llama-"+t.String()] = tiny("llama", t, nil)
	}
	return out
}

// storageTypes are those that nothing but a case for each is for.
var storageTypes = []gguf.Type{gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q2_K, gguf.Q3_K, gguf.Q5_K, gguf.Q6_K,
	gguf.IQ4_NL, gguf.IQ4_XS,
	gguf.IQ3_S, gguf.IQ2_XS, gguf.IQ1_S, gguf.TQ2_0, gguf.MXFP4}

// fixtures writes models, data and adapters that both builds are given. The adapters are made by the old build.
func fixtures(ctx context.Context, dir string, old build) error {
	for name, s := range models() {
		if err := s.WriteFile(ctx, filepath.Join(dir, name+".gguf")); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, text := range datasets() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			return err
		}
	}
	for _, m := range []string{"llama-q8_0", "qwen3-q8_0"} {
		work := filepath.Join(old.dir, "adapter-"+m)
		if err := os.MkdirAll(work, 0o777); err != nil {
			return err
		}
		cmd := train(m, "sft.jsonl", "--steps 2 --rank 3 --alpha 5 --lr 0.05 --targets attn_q,ffn_down --layers 1")
		if _, err := old.runAll(ctx, work, []command{cmd}, nil); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(work, runName, "adapter.gguf"),
			filepath.Join(dir, m+"-adapter.gguf")); err != nil {
			return err
		}
	}
	return nil
}

// datasets writes small texts of every kind of example. They differ in length, so that rows are packed, padded and cut.
func datasets() map[string]string {
	rng := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields(
		"the a number word cat dog one two three seven is was not over under red blue 7 42 ünder 水 and so it goes")
	say := func(least, most int) string {
		var out []string
		for range least + rng.IntN(most-least+1) {
			out = append(out, words[rng.IntN(len(words))])
		}
		return strings.Join(out, " ")
	}
	lines := func(n int, one func(i int) any) string {
		var b strings.Builder
		for i := range n {
			raw, err := json.Marshal(one(i))
			if err != nil {
				panic(err) // maps of strings
			}
			b.Write(append(raw, '\n'))
		}
		return b.String()
	}
	type object = map[string]any
	turn := func(role string, n int) object { return object{"role": role, "content": say(1, n)} }
	return map[string]string{
		"sft.jsonl": lines(40, func(int) any { return object{"prompt": say(1, 6), "completion": " " + say(1, 6)} }),
		"chat.jsonl": lines(24, func(i int) any {
			m := []object{turn("user", 4), turn("assistant", 4)}
			if i%3 == 0 {
				m = append([]object{turn("system", 3)}, append(m, turn("user", 3), turn("assistant", 5))...)
			}
			return object{"messages": m}
		}),
		"pairs.jsonl": lines(24, func(int) any {
			return object{"prompt": say(2, 6), "chosen": " " + say(1, 5), "rejected": " " + say(1, 5)}
		}),
		"many-pairs.jsonl": lines(2000, func(int) any {
			return object{"prompt": say(2, 6), "chosen": " " + say(1, 5), "rejected": " " + say(1, 5)}
		}),
		"verdicts.jsonl": lines(30, func(i int) any {
			return object{"prompt": say(2, 6), "completion": " " + say(1, 5), "label": i%3 != 0}
		}),
		"alpaca.jsonl": lines(20, func(i int) any {
			return object{"instruction": say(2, 6), "input": []string{"", say(1, 3)}[i%2], "output": say(1, 5)}
		}),
		"held.jsonl": lines(9, func(int) any { return object{"prompt": say(1, 6), "completion": " " + say(1, 6)} }),
		"heldpairs.jsonl": lines(7, func(int) any {
			return object{"prompt": say(1, 6), "chosen": " " + say(1, 6), "rejected": " " + say(1, 3)}
		}),
		"renamed.jsonl": lines(12, func(int) any { return object{"frage": say(1, 6), "antwort": " " + say(1, 6)} }),
		"text.txt":      say(300, 300) + "\n" + say(200, 200) + "\n" + say(40, 40) + "\n" + say(250, 250) + "\n",
		"sft.csv": "prompt,completion\n" + strings.Repeat(say(2, 5)+","+say(1, 3)+"\n", 5) + say(3, 3) + ",\"" +
			say(2, 2) + ", and\"\n",
		"reasoning.jsonl": lines(10, func(int) any {
			return object{"messages": []object{turn("user", 3),
				{"role": "assistant", "content": say(1, 4), "reasoning_content": say(2, 5)}}}
		}),
		"scored.jsonl": lines(8, func(int) any {
			return object{"prompt": say(1, 4), "responses": []string{say(1, 3), say(2, 4), say(3, 5)},
				"scores": []int{rng.IntN(3), 4, rng.IntN(5)}}
		}),
		"task.json": `{"Definition": ["Say what it is."], "Positive Examples": [
{"input": "a cat", "output": "cat", "explanation": "it is"}, {"input": "a dog", "output": "dog", "explanation": ""}],
"Negative Examples": [], "Instances": [
{"id": "1", "input": "one cow", "output": ["cow"]}, {"id": "2", "input": "two cows", "output": ["cow"]},
{"id": "3", "input": "a red cat", "output": ["cat"]}, {"id": "4", "input": "seven dogs", "output": ["dog"]}]}`,
		"prompt.txt":      "the number one is",
		"empty.jsonl":     "",
		"malformed.jsonl": `{"prompt": "a", "completion": "b"}` + "\n" + `{"prompt": "a", "completion":` + "\n",
		"fields.jsonl":    `{"frage": "a", "antwort": "b"}` + "\n",
		"mute.jsonl": `{"messages": [{"role": "user", "content": "a"}, ` +
			`{"role": "assistant", "content": "b", "weight": 0}]}` + "\n",
		"long.jsonl":    `{"prompt": "` + strings.Repeat("one ", 60) + `", "completion": "two"}` + "\n",
		"broken.jinja":  "{% for m in messages %}{{ m.content",
		"settings.toml": "rank = 3\nsteps = 2\nseq_len = 96\nthreads = 1\n",
		"typo.toml":     "rnak = 3\n",
		"broken.toml":   "rank = \n= 3\n",
	}
}
