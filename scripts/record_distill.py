#!/usr/bin/env python3
"""Records the loss of --method distill, and its gradient by the student's logits, as PyTorch computes it.

    python3 -m venv venv && venv/bin/pip install torch
    venv/bin/python scripts/record_distill.py

writes finetune/method/testdata/distill.json, which is committed and read by a Go test. Logits follow from formulas, so
that only results are recorded; all is computed in float64. One case names the whole vocabulary, and is
torch.nn.functional.kl_div of whole predictions; in the others the teacher names few tokens, the text's own among them,
and all others are one outcome.
"""
import json
import math
import pathlib

import torch
import torch.nn.functional as F

TOKENS, VOCAB = 5, 40


def logits(phase):
    return torch.tensor([[4 * math.sin(phase + 0.7 * v * v + 1.3 * t) + v % 3 for v in range(VOCAB)]
                         for t in range(TOKENS)], dtype=torch.float64)


def loss_of(teacher, student, top):
    p, q = teacher.softmax(-1), student.softmax(-1)
    if top == VOCAB:
        return F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="sum", log_target=True)
    total = 0
    for t in range(TOKENS):
        own, named = 3 * t, teacher[t].topk(top).indices.tolist()
        if own not in named:
            named[-1] = own
        mask = torch.zeros(VOCAB, dtype=torch.bool)
        mask[named] = True
        a = torch.cat([p[t][mask], p[t][~mask].sum()[None]])
        b = torch.cat([q[t][mask], q[t][~mask].sum()[None]])
        total = total + F.kl_div(b.log(), a, reduction="sum")
    return total


cases = []
for top in (1, 6, VOCAB):
    teacher, student = logits(0.4), logits(1.1).requires_grad_()
    loss = loss_of(teacher, student, top)
    loss.backward()
    cases.append({"top": top, "loss": loss.item(), "grad": [float(f"{x:.10g}") for x in student.grad.flatten()]})
out = pathlib.Path(__file__).parent.parent / "finetune/method/testdata/distill.json"
out.write_text(json.dumps({"tokens": TOKENS, "vocab": VOCAB, "cases": cases}) + "\n")
