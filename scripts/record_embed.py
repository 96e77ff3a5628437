#!/usr/bin/env python3
"""Records sentence-transformers' losses over given vectors, and their gradients by these, for the methods of vectors.

    python3 -m venv venv && venv/bin/pip install torch sentence-transformers
    venv/bin/python scripts/record_embed.py

writes finetune/method/testdata/embed.json, which is committed and read by a Go test. What runs is sentence-transformers' own losses,
in float64, on a model that gives the vectors of a table; grad_own is the gradient by what is learned beside these. Of AnglE the width is even and odd; of GIST the guide is another table.
"""
import json
import pathlib

import sentence_transformers
import torch
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.util import pairwise_cos_sim

WIDTH, GUIDE, EXAMPLES = 5, 3, 6
SCORES = [0.25, 1.0, 0.0, 0.5, 0.25, 0.75]
ALIKE = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0]

torch.manual_seed(1)
# Texts of an example are near each other, so that no loss is all but 0 or has margins that all are kept.
center = torch.randn(EXAMPLES, 1, WIDTH, dtype=torch.float64)
TABLE = center + 0.8 * torch.randn(EXAMPLES, 4, WIDTH, dtype=torch.float64)  # anchor, positive, two negatives
guide = torch.randn(EXAMPLES, 1, GUIDE, dtype=torch.float64)
GUIDES = guide + 0.8 * torch.randn(EXAMPLES, 4, GUIDE, dtype=torch.float64)


class Table(torch.nn.Module):
    """A model whose vectors are given: a text is the number of its column."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def forward(self, features):
        return {**features, "sentence_embedding": self.table[:, features["column"]]}

    def get_embedding_dimension(self):
        return self.table.shape[-1]


def bare(cls, **attributes):
    """A loss without what its constructor asks of a whole model."""
    loss = cls.__new__(cls)
    torch.nn.Module.__init__(loss)
    for name, value in attributes.items():
        setattr(loss, name, value)
    return loss


def record(method, settings, texts, make, labels=None, widths=None, width=WIDTH, own=(), **known):
    table = TABLE[:, :texts, :width].clone().requires_grad_()
    model = Table(table)
    loss = make(model)
    if widths:
        loss = losses.MatryoshkaLoss(model, loss, widths)
    features = [{"column": k} for k in range(texts)]
    value = loss(features, None if labels is None else torch.tensor(labels, dtype=torch.float64))
    value.backward()
    return {"method": method, "settings": settings, "texts": texts, "width": width, "widths": widths or [], "labels": labels or [],
            "loss": value.item(), "grad": [float(f"{x:.10g}") for x in table.grad.flatten().tolist()],
            "grad_own": [float(f"{x.grad.item():.10g}") for x in own], **known}


def learned(scale, settings, **how):
    """CLIP's scale, e to a number that is learned, where sentence-transformers takes one that is given."""
    log = torch.tensor(scale, dtype=torch.float64).log().requires_grad_()
    return record("mnrl", settings, 3, lambda m: mnrl(m, scale=log.exp(), **how), own=[log])




def gist(margin, scale):
    return lambda m: bare(losses.GISTEmbedLoss, model=m, guide=Table(GUIDES), temperature=1 / scale, margin_strategy="absolute",
                          margin=margin, contrast_anchors=True, contrast_positives=True, gather_across_devices=False,
                          must_retokenize=False, similarity_fct=torch.nn.CosineSimilarity(dim=-1),
                          cross_entropy_loss=torch.nn.CrossEntropyLoss())


def cosines(scale):
    return lambda a, b: scale * pairwise_cos_sim(a, b)


def taught(method, scale, texts, make, scores):
    """What a teacher says: scores of the positive and the negatives. Without scores it is the guide's cosines."""
    if scores is None:
        labels = [[scale * c for c in pairwise_cos_sim(g[:1].expand(texts - 1, -1), g[1:texts]).tolist()] for g in GUIDES]
        known = {"teacher": True}
    else:
        labels, known = scores, {"margins": [[s[0] - x for x in s[1:]] for s in scores]}
    return {**record(method, {"scale": scale}, texts, make, labels, **known), "labels": []}


MARKS = [[2.5, -0.5, 1.0], [0.25, 0.5, -1.0], [3.0, 0.0, 0.5], [-1.0, -2.0, 0.5], [1.5, 1.0, 1.25], [0.0, -0.25, -2.0]]
both = dict(directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction")
mnrl = losses.MultipleNegativesRankingLoss
cosine = losses.TripletDistanceMetric.COSINE
cases = [
    record("mnrl", {}, 2, mnrl),
    record("mnrl", {"scale": 7}, 4, lambda m: mnrl(m, scale=7)),
    record("mnrl", {"directions": 1}, 3, lambda m: mnrl(m, **both)),
    record("mnrl", {}, 3, mnrl, widths=[5, 3, 2]),
    learned(20.0, {"learn-scale": 1}),
    learned(7.0, {"learn-scale": 1, "scale": 7, "directions": 1}, **both),
    record("simcse", {}, 2, mnrl),
    record("simcse", {"scale": 40}, 2, lambda m: mnrl(m, scale=40), widths=[5, 2]),
    record("gist", {}, 2, gist(0.01, 100)),
    record("gist", {"cosine-margin": 0.2, "scale": 20}, 3, gist(0.2, 20)),
    record("triplet", {}, 3, lambda m: losses.TripletLoss(m, cosine, 0.2)),
    record("triplet", {"cosine-margin": 0.7}, 3, lambda m: losses.TripletLoss(m, cosine, 0.7), widths=[4, 2]),
    record("cosent", {}, 2, losses.CoSENTLoss, SCORES),
    record("cosent", {"scale": 5}, 2, lambda m: losses.CoSENTLoss(m, scale=5), SCORES, widths=[5, 2]),
    record("angle", {}, 2, losses.AnglELoss, SCORES),
    record("angle", {"scale": 5}, 2, lambda m: losses.AnglELoss(m, scale=5), SCORES, width=4),
    record("cosine", {}, 2, losses.CosineSimilarityLoss, SCORES),
    *(taught("margin-mse", scale, texts, lambda m: losses.MarginMSELoss(m, cosines(scale)), scores)
      for scale, texts, scores in ((1, 3, None), (4, 4, None), (3, 4, MARKS), (1, 3, [m[:2] for m in MARKS]))),
    *(taught("distill-kl", scale, texts, lambda m: losses.DistillKLDivLoss(
        m, pairwise_cos_sim, student_temperature=1 / scale, teacher_temperature=1.0), scores)
      for scale, texts, scores in ((20, 3, None), (5, 4, None), (5, 4, MARKS))),
    record("contrastive", {}, 2, losses.ContrastiveLoss, ALIKE),
    record("contrastive", {"cosine-margin": 1.2}, 2, lambda m: losses.ContrastiveLoss(m, margin=1.2), ALIKE),
]
out = pathlib.Path(__file__).parent.parent / "finetune/method/testdata/embed.json"
out.write_text(json.dumps({"made_with": f"sentence-transformers {sentence_transformers.__version__}, "
                                        f"torch {torch.__version__.split('+')[0]}",
                           "vectors": TABLE.tolist(), "guide": GUIDES.tolist(), "cases": cases}, indent=1) + "\n")
