#!/usr/bin/env python3
"""Records what PEFT computes with the kinds of adapter beside LoRA: LoRA-FA, DoRA, (IA)³ and VeRA.

    python3 -m venv venv && venv/bin/pip install torch peft
    venv/bin/python scripts/record_peft_kinds.py

It writes engine/testdata/peft_kinds.json: a linear layer with a bias, its input x and the derivatives dy of a loss by
its output; and of each kind the numbers beside the weight as PEFT begins with them and as they were set, the output,
the gradients of x and of what is trained, and weight and bias when merged. All in float64.
"""
import json
import pathlib
import re

import peft
import torch
from torch import nn

OUT = pathlib.Path(__file__).resolve().parent.parent / "engine/testdata/peft_kinds.json"
IN, TOP, TOKENS, RANK, ALPHA = 9, 7, 5, 3, 6


def numbers(t):
    return [round(x, 12) for x in t.detach().double().flatten().tolist()]


def kinds():
    """Each kind's configuration, and which attribute of the layer holds what."""
    lora = {"lora_a": lambda l: l.lora_A["default"].weight, "lora_b": lambda l: l.lora_B["default"].weight}
    pair = dict(r=RANK, lora_alpha=ALPHA, target_modules=["attn_q"])
    return {
        "lora-fa": (peft.LoraConfig(**pair), lora),
        "dora": (peft.LoraConfig(use_dora=True, **pair),
                 lora | {"lora_magnitude": lambda l: l.lora_magnitude_vector["default"].weight}),
        "ia3": (peft.IA3Config(target_modules=["attn_q"], feedforward_modules=[]),
                {"ia3": lambda l: l.ia3_l["default"]}),
        "vera": (peft.VeraConfig(r=RANK, target_modules=["attn_q"]),
                 {"vera_a": lambda l: l.vera_A["default"], "vera_b": lambda l: l.vera_B["default"],
                  "vera_lambda_d": lambda l: l.vera_lambda_d["default"],
                  "vera_lambda_b": lambda l: l.vera_lambda_b["default"]}),
    }


def main():
    torch.manual_seed(11)
    torch.set_default_dtype(torch.float64)
    weight, bias = torch.randn(TOP, IN), torch.randn(TOP)
    x, dy = torch.randn(TOKENS, IN), torch.randn(TOKENS, TOP)
    out = {"made_with": f"torch {torch.__version__.split('+')[0]}, peft {peft.__version__}", "in": IN, "out": TOP,
           "tokens": TOKENS, "rank": RANK, "alpha": ALPHA, "weight": numbers(weight), "bias": numbers(bias),
           "x": numbers(x), "dy": numbers(dy), "kinds": {}}
    for kind, (config, parts) in kinds().items():
        model = nn.Sequential()
        model.add_module("attn_q", nn.Linear(IN, TOP))
        with torch.no_grad():
            model.attn_q.weight.copy_(weight)
            model.attn_q.bias.copy_(bias)
        model = peft.get_peft_model(model, config).double()
        layer = model.base_model.model.attn_q
        if kind == "lora-fa":  # what create_lorafa_optimizer does with A
            parts["lora_a"](layer).requires_grad_(False)
        begin = {name: numbers(of(layer)) for name, of in parts.items()}
        with torch.no_grad():
            for name, of in parts.items():
                if name not in ("vera_a", "vera_b"):
                    p = of(layer)
                    p.copy_(p + torch.randn_like(p) / 3)
        given = x.clone().requires_grad_(True)
        y = model(given)
        (y * dy).sum().backward()
        grads = {name: numbers(of(layer).grad) for name, of in parts.items()
                 if getattr(of(layer), "grad", None) is not None}
        values = {name: numbers(of(layer)) for name, of in parts.items()}
        merged = model.merge_and_unload().attn_q
        assert torch.allclose(merged(x), y, atol=1e-6)
        out["kinds"][kind] = {"begin": begin, "values": values, "y": numbers(y), "dx": numbers(given.grad),
                              "grads": grads, "merged": numbers(merged.weight), "merged_bias": numbers(merged.bias)}
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]",
                  json.dumps(out, indent=1))
    OUT.write_text(text + "\n")


main()
