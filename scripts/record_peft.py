#!/usr/bin/env python3
"""Records adapters that PEFT made, and what transformers computes with them and with ours.

    python3 -m venv venv && venv/bin/pip install torch transformers peft
    venv/bin/python scripts/record_peft.py theirs [CASE ...]
    go test ./engine -run TestPEFT -update
    venv/bin/python scripts/record_peft.py ours [CASE ...]

The first writes engine/testdata/peft/CASE/theirs, an adapter as PEFT saves it, and theirs.json, the log-probabilities with
it. The Go test loads that adapter, trains on and writes CASE/ours, again in PEFT's format. The second loads these with PEFT
and writes ours.json. The bases are those of record_torch.py, whose weights follow from their names, in float64.
"""
import json
import pathlib
import shutil
import sys
import warnings

import peft
import torch
import transformers

import record_torch

ROOT = pathlib.Path(__file__).resolve().parent.parent / "engine/testdata/peft"

# Each case has what the others lack: embeddings, patterns, rsLoRA, biases, heads with norms, Conv1D, some layers only.
CASES = {
    "llama": dict(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "down_proj", "embed_tokens", "lm_head"],
                  rank_pattern={"layers.1.self_attn.q_proj": 2, "k_proj": 3},
                  alpha_pattern={r".*\.0\.self_attn\.q_proj": 6, "down_proj": 16}),
    "llama_linear_bias": dict(r=3, lora_alpha=5, use_rslora=True, target_modules="all-linear",
                              rank_pattern={"o_proj": 2}),
    "qwen2": dict(r=2, lora_alpha=4, target_modules="all-linear"),
    "qwen3": dict(r=4, lora_alpha=2, target_modules=["q_proj", "o_proj", "gate_proj"], layers_to_transform=[1]),
    "gemma2": dict(r=2, lora_alpha=4, target_modules="all-linear"),
    "gemma3": dict(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "down_proj"]),
    "smollm3": dict(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj", "up_proj"]),
    "olmo2": dict(r=2, lora_alpha=4, target_modules=["k_proj", "down_proj"]),
    "granite": dict(r=2, lora_alpha=4, target_modules=["q_proj", "o_proj", "gate_proj"]),
    "ernie4_5": dict(r=2, lora_alpha=4, target_modules=["q_proj", "k_proj"]),
    "hunyuan_dense": dict(r=2, lora_alpha=4, target_modules=["q_proj", "k_proj"]),
    "exaone4": dict(r=2, lora_alpha=4, target_modules=["v_proj", "down_proj"]),
    "cohere2": dict(r=2, lora_alpha=4, target_modules=["q_proj", "k_proj", "up_proj"]),
    "starcoder2": dict(r=2, lora_alpha=4, target_modules=["q_proj", "c_fc", "c_proj"]),
    "stablelm": dict(r=2, lora_alpha=4, target_modules=["q_proj", "k_proj", "gate_proj"]),
    "phi3": dict(r=4, lora_alpha=8, target_modules=["qkv_proj", "o_proj", "gate_up_proj"]),
    "mistral3": dict(r=2, lora_alpha=6, target_modules="all-linear"),
    "gemma4": dict(r=2, lora_alpha=4, target_modules=["q_proj", "k_proj", "v_proj", "down_proj"]),
    "glm4": dict(r=2, lora_alpha=4, target_modules=["q_proj", "k_proj", "gate_up_proj"]),
    "lfm2": dict(r=2, lora_alpha=4, target_modules=["q_proj", "in_proj", "out_proj", "w2"]),
    "qwen3moe": dict(r=2, lora_alpha=4, target_modules=["q_proj", "k_proj", "o_proj"]),
    "gpt_oss": dict(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj", "o_proj"]),
    "olmoe": dict(r=2, lora_alpha=4, target_modules=["k_proj", "v_proj"]),
    "granitemoe": dict(r=2, lora_alpha=4, target_modules=["q_proj", "o_proj"]),
    "bert": dict(r=4, lora_alpha=6, target_modules=["query", "value", "attention.output.dense", "intermediate.dense", "word_embeddings"]),
    "nomic_bert": dict(r=3, lora_alpha=4, target_modules=["Wqkv", "out_proj", "fc12", "word_embeddings"]),
    "gemma_embedding": dict(r=2, lora_alpha=4, target_modules=["q_proj", "o_proj", "gate_proj", "embed_tokens"]),
    "xlmr": dict(r=2, lora_alpha=4, target_modules=["query", "key", "attention.output.dense", "output.dense"]),
    "gpt2": dict(r=4, lora_alpha=8, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True),
}


def logp(model, case):
    if case["arch"] in record_torch.ENCODERS:
        with torch.no_grad():
            return {"pooled": model.double().eval()(input_ids=torch.tensor([case["tokens"]])).last_hidden_state[0].mean(0).tolist()}
    with torch.no_grad():
        logits = model.double().eval()(input_ids=torch.tensor([case["tokens"]]), use_cache=False).logits[0]
    counted = case["counted"]
    values = torch.log_softmax(logits, -1)[[c - 1 for c in counted], [case["tokens"][c] for c in counted]]
    return {"logits_at": len(case["tokens"]) - 1, "logp": values.tolist(), "logits": logits[-1].tolist()}


def write(path, out):
    record_torch.write(path, {"made_with": f"torch {torch.__version__.split('+')[0]}, transformers "
                              f"{transformers.__version__}, peft {peft.__version__}", **out})


def theirs(name, case, model):
    adapted = peft.get_peft_model(model.float(), peft.LoraConfig(
        task_type="FEATURE_EXTRACTION" if case["arch"] in record_torch.ENCODERS else "CAUSAL_LM", **CASES[name]))
    with torch.no_grad():
        for param_name, param in adapted.named_parameters():
            if "lora_" in param_name:
                shift = 3 if "_B" in param_name else 2
                param.copy_(record_torch.tensor(param_name, param.shape, shift))
    folder = ROOT / name / "theirs"
    shutil.rmtree(folder, ignore_errors=True)
    adapted.save_pretrained(folder)
    (folder / "README.md").unlink()
    write(ROOT / name / "theirs.json", logp(adapted, case))


def ours(name, case, model):
    adapted = peft.PeftModel.from_pretrained(model, ROOT / name / "ours")
    write(ROOT / name / "ours.json", logp(adapted, case))


def main():
    warnings.filterwarnings("error", message=".*missing adapter keys.*")
    torch.set_num_threads(1)
    for case in record_torch.cases():
        if case["name"] in (sys.argv[2:] or CASES):
            model, _, _ = record_torch.build(case)
            {"theirs": theirs, "ours": ours}[sys.argv[1]](case["name"], case, model)


if __name__ == "__main__":
    main()
