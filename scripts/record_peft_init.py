#!/usr/bin/env python3
"""Records how PEFT starts LoRA pairs from a weight: PiSSA, OLoRA, and LoftQ's low-rank step.

    python3 -m venv venv && venv/bin/pip install torch peft
    venv/bin/python scripts/record_peft_init.py

It writes engine/adapter/testdata/peft_init.json: a weight W [out, in], the numbers it was rounded to, and of each start
scale·B·A, and for OLoRA, whose factors are unique, A and B too.
"""
import json
import pathlib
import re

import peft
import torch
from peft.utils.loftq_utils import _low_rank_decomposition
from torch import nn

OUT = pathlib.Path(__file__).resolve().parent.parent / "engine/adapter/testdata/peft_init.json"
IN, TOP, RANK, ALPHA = 9, 7, 3, 6


def numbers(t):
    return [round(x, 9) for x in t.detach().flatten().tolist()]


def main():
    torch.manual_seed(7)  # singular values well apart: in float32 close ones are noisy
    weight = torch.round(torch.randn(TOP, IN) * 64) / 64
    rounded = torch.round(weight * 4) / 4
    out = {"made_with": f"torch {torch.__version__.split('+')[0]}, peft {peft.__version__}", "in": IN, "out": TOP,
           "rank": RANK, "alpha": ALPHA, "weight": numbers(weight), "rounded": numbers(rounded), "starts": {}}
    for init in ("pissa", "olora"):
        model = nn.Sequential()
        model.add_module("attn_q", nn.Linear(IN, TOP, bias=False))
        with torch.no_grad():
            model.attn_q.weight.copy_(weight)
        model = peft.get_peft_model(model, peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["attn_q"],
                                                           init_lora_weights=init))
        layer = model.base_model.model.attn_q
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        start = layer.scaling["default"] * b @ a
        assert torch.allclose(layer.base_layer.weight + start, weight, atol=1e-5)  # what the start subtracts
        out["starts"][init] = {"product": numbers(start)}
        if init == "olora":
            out["starts"][init].update(a=numbers(a), b=numbers(b))
    factors = _low_rank_decomposition(weight - rounded, reduced_rank=RANK)
    out["starts"]["loftq"] = {"product": numbers(factors["L"] @ factors["R"])}
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]",
                  json.dumps(out, indent=1))
    OUT.write_text(text + "\n")


main()
