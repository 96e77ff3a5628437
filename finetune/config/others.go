package config

import (
	"maps"
	"slices"

	"github.com/ggtune/ggtune/internal/registry"
)

// Others are names that other tools have for options of ours, by our name, in lower case with dashes.
type Others map[string][]string

// OtherNames are those for settings of a run: of TRL and transformers, PEFT, Axolotl, unsloth, LLaMA-Factory, MLX and
// llama.cpp. Their users are shown ours. What is behind a name may be in another unit or in other words there:
// whoever shows a name says what it takes.
func OtherNames() Others {
	return Others{
		"accum": {"gradient-accumulation-steps", "gradient-accumulation", "grad-accum", "grad-accum-steps",
			"grad-accumulation-steps"},
		"alora": {"alora-invocation-string", "alora-invocation-tokens"},
		"alpha": {"lora-alpha"},
		"batch": {"batch-size", "micro-batch-size", "per-device-train-batch-size", "train-batch-size"},
		"best":  {"load-best-model-at-end"},
		"beta":  {"dpo-beta", "pref-beta", "rl-beta", "orpo-alpha"},
		"beta1": {"adam-beta1"},
		"beta2": {"adam-beta2"},
		"clip":  {"gradient-clipping"},
		"data":  {"dataset", "datasets", "dataset-path", "train-data", "train-file"},
		"device": {"cuda", "device-map", "gpu", "gpu-layers", "gpus", "main-gpu", "n-gpu-layers", "ngl", "no-cuda",
			"num-gpus", "use-cpu"},
		"desirable-weight": {"kto-desirable-weight", "kto-chosen-weight"},
		"dropout":          {"lora-dropout"},
		"ema":              {"ema-decay"},
		"embed-lr":         {"embedding-learning-rate"},
		"epochs":           {"num-epochs", "num-train-epochs"},
		"eps":              {"adam-epsilon"},
		"epsilon":          {"cliprange", "clip-range", "eps-clip"},
		"epsilon-high":     {"clip-ratio-high"},
		"eval-data": {"eval-dataset", "eval-file", "test-datasets", "validation-file", "val-data",
			"valid-data"},
		"eval-every": {"eval-steps", "steps-per-eval", "eval-interval"},
		"eval-rows":  {"max-eval-samples", "val-batches"},
		"eval-split": {"test-size", "val-set-size", "val-size", "val-split",
			"validation-split", "validation-split-percentage"},
		"full":            {"full-finetuning"},
		"gamma":           {"simpo-gamma"},
		"init":            {"init-lora-weights"},
		"init-adapter":    {"a", "adapter", "adapter-name-or-path", "lora", "lora-model-dir", "resume-adapter-file"},
		"keep":            {"save-total-limit"},
		"kl-coef":         {"init-kl-coef"},
		"lam":             {"gae-lambda"},
		"memory":          {"gradient-checkpointing", "use-gradient-checkpointing", "max-memory"},
		"label-smoothing": {"label-smoothing-factor"},
		"layers":          {"layers-to-transform", "lora-layers-to-transform", "num-layers"},
		"lora-plus":       {"loraplus-lr-ratio"},
		"lr":              {"learning-rate"},
		"mask": {"assistant-only-loss", "completion-only-loss", "mask-prompt", "train-on-inputs",
			"train-on-responses-only"},
		"master": {"pure-bf16"},
		"method": {"rl", "stage"},
		"model-dropout": {"attention-dropout", "attention-probs-dropout-prob", "hidden-dropout", "hidden-dropout-prob",
			"attn-pdrop", "resid-pdrop", "embd-pdrop"},
		"max-completion-length": {"max-new-tokens", "max-response-length", "response-length"},
		"min-lr":                {"cosine-min-lr-ratio", "min-learning-rate"},
		"model":                 {"base-model", "model-name", "model-name-or-path", "model-path"},
		"muon-scale":            {"adjust-lr-fn"},
		"on-long":               {"excess-length-strategy", "truncation-mode"},
		"optimizer":             {"optim", "optimizer-type"},
		"output":                {"adapter-path", "lora-out", "output-dir"},
		"packing":               {"sample-packing"},
		"patience":              {"early-stopping-patience"},
		"rank":                  {"lora-r", "lora-rank"},
		"ref-adapter":           {"ref-model", "ref-model-adapters"},
		"reward":                {"reward-funcs", "reward-model", "reward-model-path"},
		"rollout-prompts":       {"generation-batch-size", "rollout-batch-size"},
		"resume":                {"auto-resume-from-checkpoints", "resume-from-checkpoint"},
		"rslora":                {"peft-use-rslora", "use-rslora"},
		"sampler-cap":           {"vllm-importance-sampling-cap"},
		"save-every":            {"save-interval", "save-freq", "save-steps"},
		"schedule":              {"lr-schedule", "lr-scheduler", "lr-scheduler-type"},
		"seed":                  {"random-state"},
		"seq-len": {"cutoff-len", "block-size", "max-length", "max-prompt-length", "max-seq-len",
			"max-seq-length", "sequence-len"},
		"neftune-alpha":      {"neftune-noise-alpha"},
		"num-generations":    {"rloo-k", "num-return-sequences"},
		"num-iterations":     {"num-ppo-epochs", "ppo-epochs"},
		"num-mini-batches":   {"steps-per-generation"},
		"steps":              {"iters", "max-steps", "total-episodes"},
		"targets":            {"lora-target", "lora-target-modules", "target-modules"},
		"teacher":            {"teacher-model", "teacher-model-name-or-path"},
		"template":           {"chat-template", "chat-template-file", "chat-template-jinja", "chat-template-path"},
		"threads":            {"n-threads", "num-threads"},
		"train":              {"unfrozen-parameters"},
		"tune":               {"fine-tune-type", "finetuning-type", "peft-type", "use-dora"},
		"undesirable-weight": {"kto-rejected-weight", "kto-undesirable-weight"},
		"warmup":             {"warmup-ratio", "warmup-steps"},
	}
}

// A Hint says what an unknown name may mean.
type Hint struct {
	Ours   string // our name
	Theirs string // whose other name was meant; "" where the unknown one is a slip in ours
}

// Exact says whether the unknown name is the other tool's own, and no slip in it.
func (h Hint) Exact(name string) bool { return h.Theirs != "" && registry.Same(name, h.Theirs) }

// Hint finds what name may mean, of our names that are known where it stands; ok is false if there is nothing like
// it. Of two as near our own name wins.
func (o Others) Hint(name string, known []string) (h Hint, ok bool) {
	ours := map[string]string{}
	for _, k := range known {
		for _, other := range o[k] {
			ours[other] = k
		}
	}
	near, ok := registry.Nearest(name, append(slices.Sorted(slices.Values(known)), slices.Sorted(maps.Keys(ours))...))
	if our := ours[near]; our != "" {
		return Hint{Ours: our, Theirs: near}, ok
	}
	return Hint{Ours: near}, ok
}
