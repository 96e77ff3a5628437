#!/usr/bin/env python3
"""Records what PEFT's add_weighted_adapter makes of two LoRA adapters.

    python3 -m venv venv && venv/bin/pip install torch peft
    venv/bin/python scripts/record_peft_combine.py

It writes engine/adapter/testdata/peft_combine.json: the halves of two adapters beside two matrices, of which the second
adapter has one only, and of each way of combining them the change to the weights, B·A times its scale. For DARE, whose
masks are drawn at random, the masks are recorded too, in the order in which they are drawn.
"""
import json
import pathlib
import re

import peft
import torch
from torch import nn

OUT = pathlib.Path(__file__).resolve().parent.parent / "engine/adapter/testdata/peft_combine.json"
IN, HIDDEN, TOP = 6, 5, 4


def numbers(t):
    return [round(float(x), 9) for x in t.flatten()]


def build():
    torch.manual_seed(11)
    model = nn.Sequential()
    model.add_module("attn_q", nn.Linear(IN, HIDDEN, bias=False))
    model.add_module("attn_k", nn.Linear(HIDDEN, TOP, bias=False))
    model = peft.get_peft_model(model, peft.LoraConfig(r=3, lora_alpha=6, target_modules=["attn_q", "attn_k"]),
                                adapter_name="one")
    model.add_adapter("two", peft.LoraConfig(r=2, lora_alpha=1, target_modules=["attn_q"]))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(torch.round(torch.randn(p.shape) * 64) / 64)  # short in decimal, exact in float32
    return model


def layers(model):
    return {n: getattr(model.base_model.model, n) for n in ("attn_q", "attn_k")}


def halves(model, name):
    return {t: {"a": numbers(m.lora_A[name].weight), "b": numbers(m.lora_B[name].weight),
                "rank": m.lora_A[name].weight.shape[0]} for t, m in layers(model).items() if name in m.lora_A}


def main():
    model = build()
    out = {"made_with": f"torch {torch.__version__.split('+')[0]}, peft {peft.__version__}",
           "shapes": {"attn_q": [IN, HIDDEN], "attn_k": [HIDDEN, TOP]},
           "adapters": {"one": {"alpha": 6, "pairs": halves(model, "one")},
                        "two": {"alpha": 1, "pairs": halves(model, "two")}}, "cases": []}
    bernoulli, masks = torch.bernoulli, []

    def recorded(*args, **kwargs):
        mask = bernoulli(*args, **kwargs)
        masks.append([int(x) for x in mask.flatten()])
        return mask

    torch.bernoulli = recorded
    for kind, weights, density, rank in [
            ("cat", [1, 0.5], None, None), ("cat", [0.75, -1.25], None, None), ("svd", [1, 0.5], None, 2),
            ("ties_svd", [1, 0.5], 0.6, 2), ("ties_svd", [1, 1], 0.3, 3), ("dare_linear_svd", [1, 0.5], 0.6, 2),
            ("dare_ties_svd", [0.5, 2], 0.7, 3)]:
        masks.clear()
        more = {"density": density} if density else {}
        if rank:
            more["svd_rank"] = rank
        with torch.no_grad():
            model.add_weighted_adapter(["one", "two"], weights, "both", combination_type=kind, **more)
            delta = {t: numbers(m.get_delta_weight("both")) for t, m in layers(model).items()}
        model.delete_adapter("both")
        out["cases"].append({"kind": kind, "weights": weights, "density": density, "rank": rank, "delta": delta,
                             "masks": list(masks)})
    text = json.dumps(out, indent=1)
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(text + "\n")


main()
