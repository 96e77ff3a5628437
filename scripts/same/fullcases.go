package main

// fullCases are those that take longer, or differ from the quick ones in little.
func fullCases() (out []testCase) {
	add := func(name string, cmds ...command) { out = append(out, testCase{name: name, then: cmds}) }
	for _, m := range methods {
		add("method-"+m.name+"-lora",
			train("llama-q8_0", m.data, "--method "+m.name+" --batch 2 --dropout 0.1 "+m.options))
		add("method-"+m.name+"-full",
			train("qwen3-f32", m.data, "--method "+m.name+" --full --packing none --threads 2 "+m.options))
	}
	for _, arch := range []string{"gpt2", "llama", "qwen2", "qwen3"} {
		for _, typ := range []string{"q8_0", "q4_K", "f16", "bf16", "f32"} {
			add("arch-"+arch+"-"+typ, train(arch+"-"+typ, "sft.jsonl", "--batch 2 --targets all-linear"),
				filesOnly(ggtune("eval --json -m F/"+arch+"-"+typ+
					".gguf -a run/adapter.gguf -d F/heldpairs.jsonl --method dpo --threads 1")))
			if typ[1:] != "8_0" && typ[1:] != "4_K" {
				add("full-"+arch+"-"+typ,
					train(arch+"-"+typ, "pairs.jsonl",
						"--method dpo,sft --full --eval-split 0.3 --eval-every 2 --patience 1 --weight-decay 0.1"))
			}
		}
	}
	for _, t := range storageTypes {
		add("type-"+t.String(), train("llama-"+t.String(), "sft.jsonl", "--steps 2"),
			train("llama-"+t.String(), "sft.jsonl", "--steps 1 --exact -o exact"))
	}
	for _, name := range []string{"llama-tied", "llama-bias", "llama-factors", "llama-deep", "llama-wide"} {
		add("model-"+name, train(name, "pairs.jsonl", "--method dpo --beta 0.1 --steps 3 --batch 2"),
			train(name, "sft.jsonl", "--steps 3 --batch 2 --dropout 0.2 --threads 2 -o sft"))
	}
	for _, o := range trainOptions {
		add("option-"+o.name, train("llama-q8_0", "sft.jsonl", o.options))
	}
	out = append(out, memoryCases()...)
	out = append(out, dataCases()...)
	out = append(out, resumeCases()...)
	add("commands-qwen3", commands("qwen3-q8_0", "--threads 2")...)
	return out
}

var methods = []struct{ name, data, options string }{
	{"sft", "chat.jsonl", "--template chatml"},
	{"cpt", "text.txt", "--text-split line"},
	{"dpo", "pairs.jsonl", "--beta 0.3 --label-smoothing 0.1 --ld-alpha 0.5 --rpo-alpha 0.2"},
	{"ipo", "pairs.jsonl", ""},
	{"simpo", "pairs.jsonl", "--gamma 0.5"},
	{"orpo", "pairs.jsonl", ""},
	{"cpo", "pairs.jsonl", "--label-smoothing 0.2"},
	{"robust", "pairs.jsonl", ""},
	{"sppo", "pairs.jsonl", ""},
	{"apo-zero", "pairs.jsonl", ""},
	{"apo-down", "pairs.jsonl", "--beta 0.2"},
	{"kto", "verdicts.jsonl", "--undesirable-weight 0.7"},
	{"dpo,sft", "pairs.jsonl", "--loss-weights 0.7,0.2"},
	{"orpo,ipo,sft", "pairs.jsonl", ""},
}

// trainOptions are options of which each has a case, because it takes a way of its own.
var trainOptions = []struct{ name, options string }{
	{"threads", "--threads 3 --batch 4"},
	{"exact", "--exact --dropout 0.3"},
	{"model-dropout", "--model-dropout 0.1 --dropout 0.1"},
	{"constant", "--schedule constant --warmup 2"},
	{"linear", "--schedule linear --min-lr 0.2 --warmup 0.5"},
	{"wsd", "--schedule wsd --decay 2 --warmup 1"},
	{"adamw", "--beta1 0.8 --beta2 0.95 --eps 1e-6 --weight-decay 0.3 --clip 0"},
	{"rslora", "--rslora --rank 8 --init gaussian"},
	{"lora-plus", "--lora-plus 16 --clip 0.01"},
	{"rank-1", "--rank 1 --alpha 1"},
	{"rank-odd", "--rank 7 --alpha 11"},
	{"heads", "--targets output,token_embd,attn_q"},
	{"embedding", "--targets token_embd"},
	{"layer", "--layers 0 --targets ffn_up"},
	{"last-layer", "--layers=-1"},
	{"epochs", "--steps 0 --epochs 2 --accum 1"},
	{"sequential", "--packing sequential --batch 2"},
	{"unpacked", "--packing none --batch 4"},
	{"truncate", "--seq-len 20"},
	{"drop", "--seq-len 30 --on-long drop"},
	{"mask-all", "--mask all"},
	{"best", "--eval-split 0.3 --eval-every 1 --best --lr 0.05 --keep 1 --save-every 1"},
	{"patience", "--eval-split 0.3 --eval-every 1 --patience 1 --lr 0.5 --steps 12"},
	{"eval-rows", "--eval-data F/held.jsonl --eval-rows 2 --eval-every 3"},
	{"config", "-c F/settings.toml"},
	{"json", "--json"},
}

// memoryCases have rows and models so large that attention works in blocks, and memory so small that layers are
// computed again.
func memoryCases() (out []testCase) {
	long := func(options string) command {
		return train("llama-long", "text.txt", "--method cpt --text-split file --seq-len 700 --steps 2 --accum 1 "+
			options)
	}
	for _, c := range []struct {
		name string
		cmd  command
	}{
		{"rows", long("--batch 2 --threads 2")},
		{"rows-exact", long("--exact")},
		{"recomputed", train("llama-deep", "sft.jsonl", "--memory 2 --dropout 0.1")},
		{"some-kept", train("llama-deep", "pairs.jsonl", "--memory 3 --method dpo --beta 0.1 --threads 2")},
		{"packed", train("llama-long", "chat.jsonl", "--template llama2 --seq-len 600 --batch 2 --dropout 0.1")},
		{"kto-full", train("llama-bf16", "verdicts.jsonl", "--method kto --full --memory 30")},
	} {
		out = append(out, testCase{name: "memory-" + c.name, then: []command{c.cmd}})
	}
	return out
}

// dataCases read every kind of file and text.
func dataCases() (out []testCase) {
	for _, d := range []struct{ name, model, data, options string }{
		{"alpaca", "llama-q8_0", "alpaca.jsonl", "--template alpaca --seq-len 250"},
		{"csv", "llama-q8_0", "sft.csv", ""},
		{"columns", "llama-q8_0", "renamed.jsonl", "--columns prompt=frage --columns completion=antwort"},
		{"several", "llama-q8_0", "sft.jsonl", "-d F/held.jsonl -d F/sft.csv"},
		{"llama3", "llama-factors", "chat.jsonl", "--template llama3"},
		{"plain", "gpt2-q8_0", "chat.jsonl", "--template plain"},
		{"reasoning", "qwen3-q8_0", "reasoning.jsonl", "--drop-reasoning"},
		{"tasks", "qwen3-q8_0", "task.json", "--task-chat --task-examples 1 --seq-len 250"},
		{"text", "llama-q8_0", "text.txt", "--text-split paragraph --method cpt"},
		{"ranked", "llama-q8_0", "scored.jsonl", "--method dpo --beta 0.1 --ranked-pairs best-worst --template plain"},
		{"ranked-kto", "llama-q8_0", "pairs.jsonl", "--method kto"},
		{"ref-adapter", "llama-q8_0", "pairs.jsonl",
			"--method dpo --beta 0.1 --ref-adapter F/llama-q8_0-adapter.gguf --ref-cache cache.bin"},
		{"ref-none", "llama-q8_0", "pairs.jsonl",
			"--method ipo --init-adapter F/llama-q8_0-adapter.gguf --ref-adapter none"},
		{"init-sft", "llama-q8_0", "sft.jsonl", "--init-adapter F/llama-q8_0-adapter.gguf"},
	} {
		out = append(out, testCase{name: "data-" + d.name, then: []command{train(d.model, d.data, d.options),
			ggtune("inspect --json --rows 5 -c run/run.toml F/" + d.data)}})
	}
	return out
}

// resumeCases stop runs and go on with them: with either build from what the old one left, and each from its own.
func resumeCases() (out []testCase) {
	for _, r := range []struct{ name, model, data, options string }{
		{"sft", "llama-q4_K", "sft.jsonl", "--accum 60 --eval-split 0.2 --eval-every 2 --best --threads 2"},
		{"dpo", "qwen3-q8_0", "pairs.jsonl", "--accum 60 --method dpo --beta 0.1 --rpo-alpha 0.1 --dropout 0.1"},
		{"mix", "qwen2-q8_0", "pairs.jsonl", "--accum 60 --method dpo,sft"},
		{"cpt-full", "gpt2-f16", "text.txt", "--accum 60 --method cpt --full --text-split line"},
		{"full-f32", "llama-f32", "chat.jsonl", "--accum 60 --full --template plain --weight-decay 0.1 --lr 1e-4"},
		{"lora-plus", "llama-bf16", "sft.jsonl",
			"--accum 60 --lora-plus 4 --rslora --schedule wsd --packing none --batch 2"},
	} {
		begin := stopped(train(r.model, r.data, r.options))
		out = append(out,
			testCase{name: "handed-over-" + r.name, begun: []command{begin},
				then: []command{ggtune("train -o run --resume")}},
			// keep 1, so that no checkpoint stays that lies where the signal came.
			testCase{name: "resumed-" + r.name,
				then: []command{filesOnly(stopped(train(r.model, r.data, "--keep 1 "+r.options))),
					filesOnly(ggtune("train -o run --resume"))}})
	}
	// Methods that couple rows keep no half of a step: the run stops between two.
	kto := train("llama-q8_0", "verdicts.jsonl", "--method kto --steps 40 --batch 2 --save-every 1 --keep 1")
	kto.code, kto.until = exitInterrupted, "\nstep 1/"
	out = append(out,
		testCase{name: "handed-over-kto", begun: []command{kto}, then: []command{ggtune("train -o run --resume")}},
		testCase{name: "resumed-kto", then: []command{filesOnly(kto), filesOnly(ggtune("train -o run --resume"))}})
	// Before the first step, while the reference is asked.
	early := train("llama-q8_0", "many-pairs.jsonl", "--method dpo --beta 0.1 --steps 3000 --accum 1")
	early.code, early.until, early.left = exitInterrupted, "\ncounted tokens", runName+"/reference.bin"
	out = append(out,
		testCase{name: "handed-over-reference", begun: []command{early},
			then: []command{ggtune("train -o run --resume --steps 3")}})
	// A finished run is begun again where it ended, and may go further where the schedule allows it.
	out = append(out,
		testCase{name: "handed-over-finished",
			begun: []command{train("llama-q8_0", "sft.jsonl", "--schedule constant")},
			then: []command{fails(1, "train -o run --resume --rank 3"),
				fails(1, "train -o run --resume -d F/held.jsonl"), ggtune("train -o run --resume --steps 7"),
				ggtune("inspect --json run")}})
	return out
}
