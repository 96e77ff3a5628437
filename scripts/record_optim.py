#!/usr/bin/env python3
"""Records what other implementations of our optimizers do to given gradients.

    python3 -m venv venv && venv/bin/pip install torch transformers lion-pytorch bitsandbytes
    venv/bin/python scripts/record_optim.py

writes finetune/optim/testdata/recorded.json, which is committed and read by Go tests; AdamW's own is record_torch.py's.
Compared are torch.optim.Muon with both scales, its iteration in float64 and not in BF16, lion_pytorch.Lion,
transformers' Adafactor with a given learning rate, and AdamW whose moments pass through bitsandbytes' dynamic map block
by block after each step: its own kernels need a GPU. Numbers of tensors and gradients follow from their names, as in
record_torch.py; all is computed in float64.
"""
import json
import pathlib

import torch
from bitsandbytes.functional import create_dynamic_map
from lion_pytorch import Lion
from transformers.optimization import Adafactor

from record_torch import tensor, text

KEPT, ENTRIES, BLOCK, SMALLEST = (1, 2, 10, 40), 12, 256, 4096


class AdamW8bit(torch.optim.Optimizer):
    """AdamW of which each moment is kept as the nearest number of a table, times the largest of its block."""

    def __init__(self, params, lr, betas, eps):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})
        self.tables = [create_dynamic_map(signed=s).double().sort().values for s in (True, False)]

    def through(self, x, table):
        out = []
        for block in x.split(BLOCK):
            most = block.abs().max().float().double()
            code = (block[:, None] / most - table).abs().argmin(1)
            # A first moment below zero keeps its sign, as there; a second one above zero does not become zero (ours).
            zero = table[code] == 0
            code = torch.where(zero & (block < 0), code - 1, code)
            if table[0] == 0:
                code = torch.where(zero & (block > 0), code + 1, code)
            out.append(table[code] * most)
        return torch.cat(out)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (b1, b2), lr = group["betas"], group["lr"]
            for p in group["params"]:
                s = self.state[p]
                if not s:
                    s.update(t=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                s["t"] += 1
                m, v = b1 * s["m"] + (1 - b1) * p.grad, b2 * s["v"] + (1 - b2) * p.grad ** 2
                p.mul_(1 - lr * group["weight_decay"])
                p.sub_(lr / (1 - b1 ** s["t"]) * m / (v.sqrt() / (1 - b2 ** s["t"]) ** 0.5 + group["eps"]))
                if p.numel() >= SMALLEST:
                    m, v = (self.through(x.flatten(), t).view_as(x) for x, t in zip((m, v), self.tables))
                s["m"], s["v"] = m, v


def muon(scale):
    """Muon of the matrices, and AdamW of what is none, as the manual of torch.optim.Muon has it."""
    class Both:
        def __init__(self, groups):
            self.parts = [torch.optim.Muon([g for g in groups if g["params"][0].dim() == 2], lr=1e-2, momentum=0.95,
                                           adjust_lr_fn=scale),
                          torch.optim.AdamW([g for g in groups if g["params"][0].dim() != 2], lr=1e-2,
                                            betas=(0.9, 0.999), eps=1e-8)]

        def step(self):
            kept, torch.bfloat16 = torch.bfloat16, torch.float64
            try:
                for part in self.parts:
                    part.step()
            finally:
                torch.bfloat16 = kept
    return Both


# The last is not decayed, as norms and biases are not; a matrix of ours with K inputs and N outputs is (N, K) here.
MUON = {"weight-decay": 0.1, "momentum": 0.95, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
CASES = {
    "lion": ({"weight-decay": 0.1, "beta1": 0.9, "beta2": 0.99}, 1e-3, {"matrix": (3, 8), "norm": (5,)},
             lambda groups: Lion(groups, lr=1e-3, betas=(0.9, 0.99))),
    "adafactor": ({"weight-decay": 0.1, "eps": 1e-30}, 1e-2, {"matrix": (7, 12), "tall": (9, 2), "norm": (5,)},
                  lambda groups: Adafactor(groups, lr=1e-2, scale_parameter=False, relative_step=False)),
    "adamw8bit": ({"weight-decay": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}, 1e-2,
                  {"matrix": (65, 67), "norm": (5,)}, lambda groups: AdamW8bit(groups, 1e-2, (0.9, 0.999), 1e-8)),
    "muon match_rms_adamw": (MUON, 1e-2, {"wide": (7, 12), "tall": (19, 6), "norm": (5,)}, muon("match_rms_adamw")),
    "muon original": (MUON, 1e-2, {"wide": (7, 12), "tall": (19, 6), "norm": (5,)}, muon("original")),
}


def record(case, settings, lr, shapes, make):
    name, _, scale = case.partition(" ")
    params = {t: torch.nn.Parameter(tensor(f"{name}.{t}", s, 0)) for t, s in shapes.items()}
    decay = {t: settings["weight-decay"] if len(s) == 2 else 0.0 for t, s in shapes.items()}
    opt = make([{"params": [p], "weight_decay": decay[t]} for t, p in params.items()])
    after = {}
    for step in range(1, KEPT[-1] + 1):
        for t, p in params.items():
            # The size of the gradient changes from step to step, so that what is clipped or remembered shows.
            p.grad = tensor(f"{name}.{t}.{step}", p.shape, step % 4)
        opt.step()
        if step in KEPT:
            after[step] = {t: p.detach().flatten()[:: max(1, p.numel() // ENTRIES)].tolist() for t, p in params.items()}
    return {"optimizer": name, "scale": scale, "lr": lr, "settings": settings,
            "tensors": [{"name": t, "shape": list(s)[::-1]} for t, s in shapes.items()], "after": after}


def main():
    torch.set_num_threads(1)
    out = {"steps": KEPT[-1], "entries": ENTRIES,
           "tables": [create_dynamic_map(signed=s).sort().values.tolist() for s in (True, False)],
           "cases": [record(name, *case) for name, case in CASES.items()]}
    path = pathlib.Path(__file__).resolve().parent.parent / "finetune/optim/testdata/recorded.json"
    path.write_text(text(out) + "\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
