#!/usr/bin/env python3
"""Records an activated LoRA (aLoRA) that PEFT made, what transformers computes with it, and its gradients.

    python3 -m venv venv && venv/bin/pip install torch transformers peft
    venv/bin/python scripts/record_alora.py

It writes engine/testdata/alora: the adapter as PEFT saves it, and recorded.json. The base is the llama of
record_torch.py, whose weights follow from their names; the invocation is in the row twice, and the adapter acts from
the second on. Beside the row's log-probabilities and the gradients of their mean's negative it holds those of the base.
"""
import json
import pathlib
import shutil

import peft
import torch
import transformers

import record_torch

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "engine/testdata/alora"


def main():
    torch.set_num_threads(1)
    case = next(c for c in record_torch.cases() if c["name"] == "llama")
    model, _, _ = record_torch.build(case)
    tokens = list(case["tokens"])
    invocation = [tokens[2], tokens[3]]
    at = len(tokens) * 2 // 3
    tokens[at:at + 2] = invocation
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"],
                             alora_invocation_tokens=invocation)
    adapted = peft.get_peft_model(model.float(), config)
    with torch.no_grad():
        for name, param in adapted.named_parameters():
            if "lora_" in name:
                param.copy_(record_torch.tensor(name, param.shape, 3 if "_B" in name else 2))
    shutil.rmtree(FOLDER, ignore_errors=True)
    adapted.save_pretrained(FOLDER)
    (FOLDER / "README.md").unlink()
    adapted = adapted.double().train()
    ids = torch.tensor([tokens])

    def logits():
        return adapted(input_ids=ids, use_cache=False).logits[0]

    def logp(of):
        return torch.log_softmax(of[:-1], -1)[range(len(tokens) - 1), tokens[1:]]

    given = logits()
    (-logp(given).mean()).backward()
    gradients = {name: param.grad.flatten().tolist() for name, param in adapted.named_parameters()
                 if param.grad is not None}
    with adapted.disable_adapter(), torch.no_grad():
        base = logp(logits())
    record_torch.write(FOLDER / "recorded.json", {
        "made_with": f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}, "
                     f"peft {peft.__version__}",
        "tokens": tokens, "since": at, "logp": logp(given).tolist(), "base": base.tolist(),
        "logits": given[-1].tolist(), "gradients": gradients})


main()
