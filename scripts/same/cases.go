package main

import (
	"slices"
	"strings"
)

// alsoQuick names those of the full form that reach what the other quick ones do not.
var alsoQuick = []string{
	"method-orpo,ipo,sft-lora", "full-qwen3-bf16", "full-gpt2-f32", "type-iq4_xs", "model-llama-wide",
	"model-llama-bias", "option-heads", "memory-rows", "memory-some-kept", "data-tasks", "data-ref-adapter",
	"handed-over-full-f32", "handed-over-kto", "handed-over-finished", "resumed-sft"}

// ggtune is a command line, cut at spaces; F/ is the folder of fixtures.
func ggtune(line string) command { return command{args: strings.Fields(line)} }

// fails is a command line that must end with that exit code.
func fails(code int, line string) command {
	c := ggtune(line)
	c.code = code
	return c
}

// train trains a fixture for a few short steps into the case's run directory; options come last and go before. Settings
// whose defaults follow from the data are spelled out: their rule may change between two builds, what they mean may
// not.
func train(model, data, options string) command {
	return ggtune("train -m F/" + model + ".gguf -d F/" + data + " -o " + runName +
		" --seq-len 96 --packing best-fit --lr 0.005 --threads 1 --steps 4 --accum 2 " + options)
}

// stopped interrupts a command within a step: it leaves a checkpoint with gradients half summed.
func stopped(c command) command {
	c.code, c.until, c.left = exitInterrupted, "\nstep 1/", runName+"/checkpoints/step-*+*"
	return c
}

const exitInterrupted = 130

// filesOnly leaves a command's output out of the comparison.
func filesOnly(c command) command {
	c.filesOnly = true
	return c
}

func cases() []testCase {
	var out []testCase
	add := func(quick bool, name string, cmds ...command) {
		out = append(out, testCase{name: name, quick: quick, then: cmds})
	}
	add(true, "sft", train("llama-q8_0", "sft.jsonl", "--steps 6 --batch 2 --accum 3 --dropout 0.1 --eval-split 0.2 "+
		"--eval-every 2 --best --save-every 2 --threads 2"))
	add(true, "sft-packed", train("llama-q4_K", "sft.jsonl", "--rank 4 --alpha 3 --clip 0.1 --weight-decay 0.1 "+
		"--lora-plus 4 --rslora --schedule wsd --decay 0.5 --min-lr 0.1"))
	add(true, "sft-chat",
		train("qwen3-q8_0", "chat.jsonl", "--packing none --batch 3 --mask last --schedule linear --json"))
	add(true, "dpo",
		train("qwen2-q8_0", "pairs.jsonl",
			"--method dpo --beta 0.1 --rpo-alpha 0.5 --dropout 0.1 --batch 2 --eval-data F/heldpairs.jsonl "+
				"--eval-every 2"))
	add(true, "kto", train("gpt2-q8_0", "verdicts.jsonl", "--method kto --batch 2 --accum 2 --desirable-weight 1.5"))
	add(true, "mix", train("llama-q8_0", "pairs.jsonl", "--method dpo,sft --loss-weights 1,0.3"))
	add(true, "cpt-full", train("llama-f16", "text.txt", "--method cpt --full --eval-split 0.2 --text-split line"))
	add(true, "exact-output",
		train("llama-q4_K", "sft.jsonl", "--exact --targets output,attn_v,ffn_gate --layers 1 --schedule constant"))
	out = append(out, testCase{name: "handed-over", quick: true,
		begun: []command{
			stopped(train("llama-q8_0", "sft.jsonl", "--accum 60 --dropout 0.1 --eval-split 0.2 --eval-every 2"))},
		then: []command{ggtune("train -o run --resume")}})
	add(true, "init-adapter",
		train("qwen3-q8_0", "pairs.jsonl", "--method dpo --beta 0.1 --init-adapter F/qwen3-q8_0-adapter.gguf"))
	add(true, "commands", commands("llama-q8_0", "--threads 1")...)
	add(true, "wrong", wrong()...)
	add(true, "help", help()...)
	for _, c := range fullCases() {
		c.quick = slices.Contains(alsoQuick, c.name)
		out = append(out, c)
	}
	return out
}

// commands is what is done with a model and an adapter but for training.
func commands(model, options string) []command {
	m, a := " -m F/"+model+".gguf ", " -a F/"+model+"-adapter.gguf "
	return []command{
		train(model, "sft.jsonl", options),
		ggtune("eval --json" + m + "-d F/held.jsonl " + options),
		ggtune("eval --json" + m + a + "-d F/held.jsonl " + options),
		ggtune("eval" + m + a + "-d F/heldpairs.jsonl --method dpo " + options),
		ggtune("eval --json" + m + "-a run/adapter.gguf -d F/held.jsonl --mask all --exact " + options),
		ggtune("generate --json" + m + a + "-f F/prompt.txt -n 12 --compare " + options),
		ggtune("generate" + m + "-f F/prompt.txt -n 8 --temp 0 --scale 0.5" + a + options),
		ggtune("generate" + m + "-f F/prompt.txt -n 8 --chat --template chatml " + options),
		ggtune("inspect --json --tensors --metadata --hash F/" + model + ".gguf"),
		ggtune("inspect F/" + model + ".gguf"),
		ggtune("inspect --json --tensors --metadata run/adapter.gguf"),
		ggtune("inspect F/" + model + "-adapter.gguf --hash"),
		ggtune("inspect --json F/sft.jsonl --rows 3 --seq-len 96" + m),
		ggtune("inspect F/pairs.jsonl --method dpo --seq-len 96" + m),
		ggtune("inspect F/alpaca.jsonl"),
		ggtune("inspect --json run"),
		ggtune("inspect run"),
		ggtune("plan --json" + m + "-d F/sft.jsonl --seq-len 96 --memory 100 " + options),
		ggtune("plan --no-time" + m + "--seq-len 64 --memory 100 --rank 8 " + options),
		ggtune("compare base F/" + model + "-adapter.gguf" + m + "-d F/prompt.txt -o report --raw -n 6 " + options),
		ggtune("quantize --json --type q8_0 F/llama-f16.gguf q8_0.gguf"),
		ggtune("quantize --type bf16 F/llama-f32.gguf bf16.gguf"),
	}
}

// wrong is what must be refused, in the same words.
func wrong() []command {
	const m = "train -m F/llama-q8_0.gguf -o run "
	return []command{
		fails(1, m+"-d absent.jsonl"),
		fails(1, m+"-d F/empty.jsonl"),
		fails(1, m+"-d F/malformed.jsonl"),
		fails(1, m+"-d F/fields.jsonl"),
		fails(1, m+"-d F/mute.jsonl --template chatml"),
		fails(1, m+"-d F/llama-q8_0.gguf"),
		fails(1, m+"-d F/long.jsonl --seq-len 16 --on-long refuse"),
		fails(1, m+"-d F/chat.jsonl --template F/broken.jinja"),
		fails(1, m+"-d F/chat.jsonl --method dpo"),
		fails(1, m+"-d F/sft.jsonl --tune part --train biases"),
		fails(1, m+"-d F/sft.jsonl --targets attn_q_norm"),
		fails(2, m+"-d F/sft.jsonl --layers 0-9"),
		fails(1, m+"-d F/sft.jsonl --seq-len 4096 --batch 4096 --memory 1"),
		fails(1, m+"-d F/sft.jsonl --init-adapter F/qwen3-q8_0-adapter.gguf"),
		fails(1, "train -m F/llama-tied.gguf -o run -d F/sft.jsonl --targets output"),
		fails(1, "train -m F/sft.jsonl -o run -d F/sft.jsonl"),
		fails(2, m+"-d F/sft.jsonl --rank 0 --alpha 0 --lr=-1 --batch 0 --accum 0 --steps=-1"),
		fails(2, m+"-d F/sft.jsonl --dropout 1 --warmup=-1 --clip=-1 --beta1 2 --eps 0 --schedule cosinus"),
		fails(2, m+"-d F/sft.jsonl --method sfd"),
		fails(2, m+"-d F/sft.jsonl --method sft --beta 0.2"),
		fails(2, m+"-d F/pairs.jsonl --method dpo --label-smoothing 0.7 --gamma 1"),
		fails(2, m+"-d F/pairs.jsonl --method kto,dpo"),
		fails(2, m+"-d F/sft.jsonl --schedule cosine --decay 3"),
		fails(2, m+"-d F/sft.jsonl --schedule constant --min-lr 0.1"),
		fails(2, m+"-d F/sft.jsonl --patience 2"),
		fails(2, m+"-d F/sft.jsonl --epoch 3"),
		fails(2, m+"-d F/sft.jsonl -c F/typo.toml"),
		fails(2, m+"-d F/sft.jsonl -c F/broken.toml"),
		fails(2, "train -m F/llama-q8_0.gguf"),
		fails(2, "train -o run --resume"),
		fails(2, "train -m F/llama-q8_0.gguf -o run -d F/sft.jsonl --device cuda"),
		fails(1, "eval -m F/llama-q8_0.gguf -a F/qwen3-q8_0-adapter.gguf -d F/held.jsonl"),
		fails(1, "quantize F/llama-q8_0.gguf out.gguf"),
		fails(1, "inspect absent"),
	}
}

// help is what every command says of its options.
func help() (out []command) {
	for _, name := range strings.Fields(
		"demo train eval generate chat rate compare inspect plan check bench quantize version") {
		out = append(out, ggtune(name+" --help"))
	}
	return append(out, ggtune("help"))
}
