#!/usr/bin/env python3
"""Records the losses of --method reward and rerank, and their gradients by the scores.

    python3 -m venv venv && venv/bin/pip install torch transformers trl
    venv/bin/python scripts/record_reward.py

writes finetune/method/testdata/reward.json, which is committed and read by a Go test. What runs is TRL's own RewardTrainer.compute_loss,
on an object that was given the settings that it reads and nothing else, over a model whose scores are given; and for rerank PyTorch's
binary cross-entropy with logits, which sentence-transformers' BinaryCrossEntropyLoss is. All is computed in float64. TRL
has no lists of answers: each weight is 1.
"""
import collections
import json
import pathlib
import types

import torch
import trl
from trl import RewardTrainer

CHOSEN, REJECTED = [2.5, -1.25, 0.5, 30.0, -3.0], [1.0, 0.75, 0.5, -40.0, 9.0]
MARGINS = [0.5, 1.0, 2.0, 0.0, 3.0]


def trained(center, margin):
    """The loss of TRL's trainer, and its gradient by the scores, the chosen answers' first."""
    scores = torch.tensor(CHOSEN + REJECTED, dtype=torch.float64, requires_grad=True)
    t = RewardTrainer.__new__(RewardTrainer)
    same = lambda x: x
    t.accelerator = types.SimpleNamespace(gather=same, gather_for_metrics=same)
    t.args = types.SimpleNamespace(center_rewards_coefficient=center)
    t._metrics = {"train": collections.defaultdict(list)}
    t._total_train_tokens, t._tp_size = 0, 1
    model = lambda **_: types.SimpleNamespace(logits=scores[:, None])
    t.model = types.SimpleNamespace(training=True)
    inputs = {"attention_mask": torch.ones(len(scores), 1)}
    if margin is not None:
        inputs["margin"] = margin * torch.tensor(MARGINS, dtype=torch.float64)
    loss = t.compute_loss(lambda **x: model(), inputs)
    loss.backward()
    shown = {k: t._metrics["train"][k][-1] for k in ("accuracy", "margin")}
    return loss.item(), scores.grad.tolist(), shown


cases = []
for center, margin in ((None, None), (0.01, None), (0.01, 1.0), (0.3, 0.25)):
    loss, grad, shown = trained(center, margin)
    cases.append({"method": "reward", "settings": {"center": center or 0, "margin": margin or 0}, "loss": loss,
                  "grad": [float(f"{x:.10g}") for x in grad], **shown})
scores = torch.tensor(CHOSEN + REJECTED, dtype=torch.float64, requires_grad=True)
labels = torch.tensor([1.0] * len(CHOSEN) + [0.0] * len(REJECTED), dtype=torch.float64)
loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels)
loss.backward()
cases.append({"method": "rerank", "settings": {}, "loss": loss.item(), "grad": [float(f"{x:.10g}") for x in scores.grad.tolist()],
              "accuracy": ((scores > 0) == (labels > 0)).double().mean().item(), "margin": None})
out = pathlib.Path(__file__).parent.parent / "finetune/method/testdata/reward.json"
out.write_text(json.dumps({"made_with": f"trl {trl.__version__}, torch {torch.__version__.split('+')[0]}", "chosen": CHOSEN,
                           "rejected": REJECTED, "margins": MARGINS, "cases": cases}, indent=1) + "\n")
