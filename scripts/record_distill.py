#!/usr/bin/env python3
"""Records the losses of --method distill and --method gkd, and their gradients by the student's logits.

    python3 -m venv venv && venv/bin/pip install torch transformers trl==1.16.0
    venv/bin/python scripts/record_distill.py

writes finetune/method/testdata/distill.json, as PyTorch computes it, and gkd.json, as TRL's GKDTrainer does. Both are
committed and read by Go tests. Logits follow from formulas, so that only results are recorded; all is computed in
float64. Some cases name the whole vocabulary, and are torch.nn.functional.kl_div and TRL's generalized_jsd_loss of whole
predictions; in the others the teacher names few tokens, the text's own among them, and all others are one outcome.
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


def outcomes(teacher, student, t, top):
    """The probabilities that both give the tokens which the teacher names, and all others together."""
    own, named = 3 * t, teacher[t].topk(top).indices.tolist()
    if own not in named:
        named[-1] = own
    mask = torch.zeros(VOCAB, dtype=torch.bool)
    mask[named] = True
    return [torch.cat([x[mask], x[~mask].sum()[None]]) for x in (teacher[t].softmax(-1), student[t].softmax(-1))]


def distill(teacher, student, top):
    if top == VOCAB:
        return F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="sum", log_target=True)
    total = 0
    for t in range(TOKENS):
        p, q = outcomes(teacher, student, t, top)
        total = total + F.kl_div(q.log(), p, reduction="sum")
    return total


def gkd(teacher, student, top, beta, temperature):
    from trl.experimental.gkd import GKDTrainer

    loss = GKDTrainer.generalized_jsd_loss
    if top == VOCAB:
        return loss(student, teacher, beta=beta, temperature=temperature, reduction="sum")
    total = 0
    for t in range(TOKENS):
        p, q = outcomes(teacher / temperature, student / temperature, t, top)
        total = total + loss(q.log()[None], p.log()[None], beta=beta, reduction="sum")
    return total


def case(of, top, **how):
    teacher, student = logits(0.4), logits(1.1).requires_grad_()
    loss = of(teacher, student, top, **how)
    loss.backward()
    return {"top": top, **how, "loss": loss.item(), "grad": [float(f"{x:.10g}") for x in student.grad.flatten()]}


def write(name, cases):
    out = pathlib.Path(__file__).parent.parent / "finetune/method/testdata" / name
    out.write_text(json.dumps({"tokens": TOKENS, "vocab": VOCAB, "cases": cases}) + "\n")


write("distill.json", [case(distill, top) for top in (1, 6, VOCAB)])
write("gkd.json", [case(gkd, top, beta=beta, temperature=temperature)
                   for top, beta, temperature in ((VOCAB, 0, 1), (VOCAB, 0.5, 0.9), (VOCAB, 0.1, 1), (VOCAB, 1, 1),
                                                  (VOCAB, 1, 1.7), (6, 0.5, 0.9), (6, 1, 1), (1, 0.25, 1))])
