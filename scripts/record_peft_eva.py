#!/usr/bin/env python3
"""Records how PEFT's EVA starts A from a layer's inputs.

    python3 -m venv venv && venv/bin/pip install torch peft
    venv/bin/python scripts/record_peft_eva.py

It writes engine/lowrank/testdata/peft_eva.json: batches of inputs of a linear layer, which PEFT goes through in turns,
and the A that it starts with, of the rank that was asked for (rho 1).
"""
import json
import pathlib
import re

import peft
import torch
from peft.tuners.lora.config import EvaConfig
from peft.tuners.lora.eva import get_eva_state_dict
from torch import nn

OUT = pathlib.Path(__file__).resolve().parent.parent / "engine/lowrank/testdata/peft_eva.json"
IN, RANK, ROWS, BATCHES = 12, 3, 24, 5


def main():
    torch.manual_seed(5)
    spread = torch.diag(torch.tensor([6.0, 4.0, 2.6] + [0.3] * (IN - 3)))
    turn = torch.linalg.qr(torch.randn(IN, IN))[0]
    batches = [torch.round((torch.randn(ROWS, IN) @ spread @ turn + torch.randn(IN)) * 256) / 256
               for _ in range(BATCHES)]
    model = nn.Sequential()
    model.add_module("attn_q", nn.Linear(IN, 4, bias=False))
    config = peft.LoraConfig(r=RANK, target_modules=["attn_q"], init_lora_weights="eva",
                             eva_config=EvaConfig(rho=1.0, use_label_mask=False))
    a = get_eva_state_dict(model, batches, config, forward_fn=lambda m, x: m(x), prepare_model_inputs_fn=None,
                           prepare_layer_inputs_fn=None, show_progress_bar=False)
    out = {"made_with": f"torch {torch.__version__.split('+')[0]}, peft {peft.__version__}", "in": IN, "rank": RANK,
           "batches": [b.flatten().tolist() for b in batches],
           "a": [round(x, 9) for x in a["attn_q"].flatten().tolist()]}
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]",
                  json.dumps(out, indent=1))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(text + "\n")


main()
