#!/usr/bin/env python3
"""Records figures of rankings, correlations and BM25's scores by the tools that others measure with.

    python3 -m venv venv && venv/bin/pip install numpy scipy pytrec_eval-terrier bm25s
    venv/bin/python scripts/record_ranking.py

writes finetune/eval/testdata/ranking.json and finetune/bm25/testdata/scores.json, which are committed and read by Go tests. It is run
again only when a case is added; nobody needs Python to build or test.
"""
import json
import pathlib
import random
import re

import bm25s
import pytrec_eval
import scipy.stats

ROOT = pathlib.Path(__file__).parent.parent / "finetune"
MEASURES = {"ndcg@10": "ndcg_cut_10", "mrr": "recip_rank", "map": "map", "recall@1": "recall_1", "recall@10": "recall_10",
            "recall@100": "recall_100"}


def rankings(rng):
    """Queries over a corpus whose scores are all different; grades of 0 to 3."""
    cases = []
    for documents, relevant in [(5, 1), (30, 3), (200, 1), (200, 12), (150, 40), (12, 12)]:
        scores = [round(x / documents, 6) for x in rng.sample(range(documents * 7), documents)]
        grades = [0] * documents
        for d in rng.sample(range(documents), relevant):
            grades[d] = rng.randint(1, 3)
        qrels = {"q": {f"d{d}": g for d, g in enumerate(grades) if g}}
        got = pytrec_eval.RelevanceEvaluator(qrels, set(MEASURES.values())).evaluate(
            {"q": {f"d{d}": s for d, s in enumerate(scores)}})["q"]
        cases.append({"scores": scores, "grades": grades, "want": {name: got[theirs] for name, theirs in MEASURES.items()}})
    return cases


def correlations(rng):
    """Lists with and without equal numbers."""
    cases = []
    for n, levels in [(3, 1000), (10, 4), (57, 6), (57, 1000)]:
        x = [rng.randrange(levels) / 8 for _ in range(n)]
        y = [round(0.5 * a + rng.gauss(0, 1), 1) for a in x]
        cases.append({"x": x, "y": y, "spearman": scipy.stats.spearmanr(x, y).statistic,
                      "pearson": scipy.stats.pearsonr(x, y).statistic, "ranks": scipy.stats.rankdata(x).tolist()})
    return cases


def scores():
    """Lucene's BM25, of words as our index parts them."""
    documents = [
        "The cow lives on a farm. The farm has a barn, and the barn has hay.",
        "A fish lives in the sea; the sea is deep.",
        "Hay is what a cow eats on the farm, 24 hours a day.",
        "Über das Meer fährt ein Schiff.",
        "",
        "cow cow cow cow cow cow cow cow",
    ]
    queries = ["Where does a cow live?", "deep sea fish", "the the farm", "über MEER", "nothing of these", "24 hours", ""]
    words = lambda text: re.findall(r"[^\W_]+", text.lower())
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index([words(d) for d in documents], show_progress=False)
    known = set(index.vocab_dict)
    got = [[float(x) for x in index.get_scores([w for w in words(q) if w in known])] if known & set(words(q))
           else [0.0] * len(documents) for q in queries]
    return {"documents": documents, "queries": queries, "scores": got}


def write(path, x):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(x, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    rng = random.Random(1)
    write(ROOT / "eval/testdata/ranking.json", {"rankings": rankings(rng), "correlations": correlations(rng)})
    write(ROOT / "bm25/testdata/scores.json", scores())
