#!/usr/bin/env python3
"""Records the losses and gradients of TRL's trainers for the methods of finetune/method.

    python3 -m venv venv && venv/bin/pip install torch transformers trl
    venv/bin/python scripts/record_trl.py

writes finetune/method/testdata/trl_tokens.json (with the mean rewards that TRL shows), trl_model.json and trl_answers.json (losses
of plain answers), which are committed and read by a Go test. It is run again only when a case is added (--only FILE writes one of
them); nobody needs Python to build or test.

What runs is TRL's own code: the loss method of each trainer class, on an object that was given the settings that the loss
reads and nothing else. Two kinds of model stand under it, both in float64:
  * a table of log-probabilities, spread wide (trl_tokens.json: loss, and its gradient by every log-probability);
  * the model "llama" of record_torch.py with its LoRA pairs, the reference being the same without them (trl_model.json:
    loss, and its gradient by one LoRA matrix). TRL's fused head is not used: it reads lm_head.weight, past the pair there.

Where TRL has no trainer for what a method here does, the case says how TRL's terms make it up:
  * cDPO is "aot" of one pair: TRL 1 dropped label_smoothing from "sigmoid", and AOT sorts pairs of which there is one;
  * rpo-alpha is the mixture of "sigmoid" and "sft" with that weight (TRL 1 dropped rpo_alpha for it).
A term over all tokens of a batch (NLL) is our mean over pairs where a batch is one pair; cases that have one, and cDPO, are
run pair by pair and averaged, as gradient accumulation does. ORPO's prompts are one token, because TRL's NLL counts theirs.
"""
import argparse
import collections
import pathlib
import types

import torch
import transformers
import trl
from trl import DPOTrainer, KTOTrainer, SFTTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

import record_torch

KEPT = "blk.0.attn_k.weight.lora_b"  # the matrix whose gradient is kept: one behind everything else


class Table:
    """A model that is a table: a row's first token is its number, and the log-probabilities of all after it are given."""
    training, is_gradient_checkpointing = True, False

    def __init__(self, rows):
        self.rows = [torch.tensor(r, dtype=torch.float64, requires_grad=True) for r in rows]

    def __call__(self, input_ids, labels=None, fused_lm_head=False, **_):
        width = input_ids.shape[1] - 1
        pad = lambda r, x: torch.cat([r, r.new_full((width - len(r),), x)])
        rows = [self.rows[k] for k in input_ids[:, 0]]
        if fused_lm_head:
            return scored(torch.stack([pad(r, 0.0) for r in rows]))
        # Every answer's token is number 0 of a vocabulary of two, whose probabilities add up to 1 whatever the table says.
        logp = torch.stack([pad(r, -1.0) for r in rows])
        logp = torch.cat([logp, logp.new_full((len(rows), 1), -1.0)], 1)
        return types.SimpleNamespace(logits=torch.stack([logp, torch.log(-torch.expm1(logp))], -1))


class Scored:
    """A transformers model behind the interface of TRL's fused head."""
    training, is_gradient_checkpointing = True, False

    def __init__(self, model):
        self.model = model

    def __call__(self, input_ids, attention_mask=None, labels=None, fused_lm_head=False, **_):
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        if not fused_lm_head:
            return out
        labels = labels[:, 1:]
        logp = torch.log_softmax(out.logits[:, :-1], -1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
        return scored(torch.where(labels == -100, 0.0, logp))


def scored(log_probs):
    """The fields of TRL's FusedCausalLMOutput; those that no loss reads are zeros."""
    none = torch.zeros_like(log_probs)
    return types.SimpleNamespace(log_probs=log_probs, entropy=none, mean_logits=none, is_top1=none.bool())


def trainer(kind, model, **settings):
    """A trainer without its __init__: settings are all it knows."""
    t = kind.__new__(kind)
    t.accelerator = types.SimpleNamespace(device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x)
    t.args = types.SimpleNamespace(gradient_checkpointing_kwargs=None)
    t.model, t.aux_loss_enabled, t.is_encoder_decoder = model, False, False
    t._metrics, t._total_train_tokens, t._tp_size = {"train": collections.defaultdict(list)}, 0, 1
    for k, v in settings.items():
        setattr(t, k, v)
    return t


def collate(rows):
    """(prompt, answer) pairs to padded input_ids, attention_mask and completion_mask."""
    width = max(len(p) + len(a) for p, a in rows)
    pad = lambda v: v + [0] * (width - len(v))
    return {"input_ids": torch.tensor([pad(p + a) for p, a in rows]),
            "attention_mask": torch.tensor([pad([1] * len(p + a)) for p, a in rows]),
            "completion_mask": torch.tensor([pad([0] * len(p) + [1] * len(a)) for p, a in rows])}


def dpo(types_, weights=None, ld_alpha=None, **settings):
    """A case of DPOTrainer: its loss over pairs, each (prompt, chosen, prompt, rejected, no label)."""
    def loss(policy, reference, pairs):
        t = trainer(DPOTrainer, policy, ref_model=reference, precompute_ref_logps=False, use_weighting=False,
                    f_divergence_type="reverse_kl", loss_types=types_, loss_weights=weights or [1.0] * len(types_),
                    ld_alpha=ld_alpha, **settings)
        return t._compute_loss(policy, collate([pair[:2] for pair in pairs] + [pair[2:4] for pair in pairs]), False), shown(t)
    return loss


def shown(t):
    """The mean rewards that a trainer noted: of chosen and of rejected answers, None for a class that is not there."""
    return [t._metrics["train"].get(f"rewards/{side}", [None])[-1] for side in ("chosen", "rejected")]


def without_reference(kind, **settings):
    """A case of CPOTrainer or ORPOTrainer, over pairs as above."""
    def loss(policy, reference, pairs):
        batch = {}
        for k, side in enumerate(("chosen", "rejected")):
            rows = collate([pair[2 * k:2 * k + 2] for pair in pairs])
            batch |= {f"{side}_input_ids": rows["input_ids"], f"{side}_attention_mask": rows["attention_mask"],
                      f"{side}_labels": rows["input_ids"].masked_fill(rows["completion_mask"] == 0, -100)}
        t = trainer(kind, policy, pad_token_id=0, padding_value=0, **settings)
        value, metrics = t.get_batch_loss_metrics(policy, batch)
        return value, [metrics["rewards/chosen"], metrics["rewards/rejected"]]
    return loss


def kto(**settings):
    """A case of KTOTrainer: its loss over verdicts, each (prompt, answer, prompt, mismatched answer, label)."""
    def loss(policy, reference, verdicts):
        t = trainer(KTOTrainer, policy, ref_model=reference, precompute_ref_logps=False, calculate_KL=True, loss_type="kto", **settings)
        inputs = collate([v[:2] for v in verdicts])
        inputs |= {"KL_" + k: v for k, v in collate([v[2:4] for v in verdicts]).items()}
        return t._compute_loss(policy, inputs | {"label": torch.tensor([bool(v[-1]) for v in verdicts])}, False), shown(t)
    return loss


def case(name, method, settings, loss, alone=False, bare=False, weights=None, rows=None):
    """settings, weights: ours. alone: run pair by pair. bare: prompts of one token. rows: those of the verdicts."""
    out = {"name": name, "method": method, "settings": settings}
    out |= {"weights": weights} if weights else {}
    out |= {"bare": True} if bare else {}
    out |= {"rows": rows} if rows else {}
    return out, loss, alone


PAIR_CASES = [
    case("dpo", "dpo", {"beta": 0.1}, dpo(["sigmoid"], beta=0.1)),
    case("cdpo", "dpo", {"beta": 0.5, "label-smoothing": 0.2}, dpo(["aot"], beta=0.5, label_smoothing=0.2), alone=True),
    case("rpo", "dpo", {"beta": 0.2, "rpo-alpha": 0.7}, dpo(["sigmoid", "sft"], [1.0, 0.7], beta=0.2), alone=True),
    case("ld_dpo", "dpo", {"beta": 0.1, "ld-alpha": 0.3}, dpo(["sigmoid"], beta=0.1, ld_alpha=0.3)),
    case("robust", "robust", {"beta": 0.1, "label-smoothing": 0.1}, dpo(["robust"], beta=0.1, label_smoothing=0.1)),
    case("robust_ld", "robust", {"beta": 0.3, "label-smoothing": 0.3, "ld-alpha": 0},
         dpo(["robust"], beta=0.3, label_smoothing=0.3, ld_alpha=0.0)),
    case("ipo", "ipo", {"beta": 0.1}, dpo(["ipo"], beta=0.1)),
    case("ipo_strong", "ipo", {"beta": 2.0}, dpo(["ipo"], beta=2.0)),
    case("sppo", "sppo", {"beta": 0.1}, dpo(["sppo_hard"], beta=0.1)),
    case("apo_zero", "apo-zero", {"beta": 0.1}, dpo(["apo_zero"], beta=0.1)),
    case("apo_down", "apo-down", {"beta": 0.1}, dpo(["apo_down"], beta=0.1)),
    case("simpo", "simpo", {"beta": 2.0, "gamma": 1.0},
         without_reference(CPOTrainer, loss_type="simpo", beta=2.0, simpo_gamma=1.0, cpo_alpha=0, alpha=0.0, label_smoothing=0.0)),
    case("simpo_smooth", "simpo", {"beta": 2.5, "gamma": 0.5, "label-smoothing": 0.1},
         without_reference(CPOTrainer, loss_type="simpo", beta=2.5, simpo_gamma=0.5, cpo_alpha=0, alpha=0.0, label_smoothing=0.1)),
    case("simpo_sft", "simpo,sft", {"beta": 2.0, "gamma": 1.0}, weights=[1.0, 0.4], alone=True,
         loss=without_reference(CPOTrainer, loss_type="simpo", beta=2.0, simpo_gamma=1.0, cpo_alpha=0.4, alpha=0.0, label_smoothing=0.0)),
    case("cpo", "cpo", {"beta": 0.1}, alone=True,
         loss=without_reference(CPOTrainer, loss_type="sigmoid", beta=0.1, cpo_alpha=1.0, alpha=0.0, label_smoothing=0.0)),
    case("cpo_smooth", "cpo", {"beta": 0.4, "label-smoothing": 0.1, "rpo-alpha": 0.5}, alone=True,
         loss=without_reference(CPOTrainer, loss_type="sigmoid", beta=0.4, cpo_alpha=0.5, alpha=0.0, label_smoothing=0.1)),
    case("orpo", "orpo", {"beta": 0.1}, without_reference(ORPOTrainer, beta=0.1), alone=True, bare=True),
    case("orpo_strong", "orpo", {"beta": 1.0}, without_reference(ORPOTrainer, beta=1.0), alone=True, bare=True),
    case("mpo", "dpo,apo-zero,sft", {"beta": 0.2}, dpo(["sigmoid", "apo_zero", "sft"], [0.8, 0.2, 1.0], beta=0.2), alone=True,
         weights=[0.8, 0.2, 1.0]),
]

VERDICT_CASES = [
    case("kto", "kto", {"beta": 0.1}, kto(beta=0.1, desirable_weight=1.0, undesirable_weight=1.0), rows=[0, 1, 2, 3]),
    case("kto_weights", "kto", {"beta": 0.3, "desirable-weight": 1.5, "undesirable-weight": 0.5},
         kto(beta=0.3, desirable_weight=1.5, undesirable_weight=0.5), rows=[0, 1, 2, 3]),
    case("kto_desirable", "kto", {"beta": 0.1}, kto(beta=0.1, desirable_weight=1.0, undesirable_weight=1.0), rows=[0, 2]),
    case("kto_undesirable", "kto", {"beta": 0.1}, kto(beta=0.1, desirable_weight=1.0, undesirable_weight=1.0), rows=[1, 3]),
]


def evaluate(loss, alone, policy, reference, examples, params):
    """Loss, mean rewards, gradients of the loss by params; run example by example where TRL would mix them (alone)."""
    done = [loss(policy, reference, b) for b in ([[e] for e in examples] if alone else [examples])]
    value = sum(v for v, _ in done) / len(done)
    rewards = [side[0] if None in side else sum(side) / len(side) for side in zip(*(r for _, r in done))]
    grads = torch.autograd.grad(value, params, allow_unused=True, materialize_grads=True)
    return value.item(), rewards, grads


def spread(name, n, low):
    """n log-probabilities between low and 0, multiples of 1/64, which ten digits write exactly."""
    return [-(1 + record_torch.bits(name, i) % int(-low * 64 - 1)) / 64 for i in range(n)]


def record_tokens():
    # Lengths, and the lowest log-probabilities. The last two are hundreds of nats from the reference, in either direction.
    shapes = [(4, 4, -4, -4, -4, -4), (7, 3, -3, -3, -3, -3), (2, 6, -2, -5, -3, -3), (1, 1, -4, -4, -4, -4), (1, 3, -0.1, -0.1, -6, -1),
              (20, 20, -1, -24, -20, -2), (20, 20, -24, -1, -2, -20)]
    pairs = [{"chosen": spread(f"{i}.chosen", c, a), "rejected": spread(f"{i}.rejected", r, b),
              "ref_chosen": spread(f"{i}.ref_chosen", c, ra), "ref_rejected": spread(f"{i}.ref_rejected", r, rb)}
             for i, (c, r, a, b, ra, rb) in enumerate(shapes)]
    pairs.append({"chosen": [-1.5, -0.25], "rejected": [-1.5, -0.25], "ref_chosen": [-1, -0.5], "ref_rejected": [-1, -0.5]})  # equal answers
    # The mismatched answers of rows 0 and 2 gain on the reference, those of 1 and 3 lose less: z is above 0 with all four,
    # and of the latter alone it is cut off.
    verdicts = [{"label": 1 - i % 2, "answer": spread(f"{i}.answer", n, -3), "ref_answer": spread(f"{i}.ref_answer", n, -3),
                 "mismatched": spread(f"{i}.mismatched", m, -2 - i % 2), "ref_mismatched": spread(f"{i}.ref_mismatched", m, -4 + 2 * (i % 2))}
                for i, (n, m) in enumerate([(4, 5), (3, 4), (1, 6), (6, 3)])]
    out = {"made_with": made_with(), "pairs": pairs, "verdicts": verdicts, "cases": []}
    for cases, given, sides in ((PAIR_CASES, pairs, ("chosen", "rejected")), (VERDICT_CASES, verdicts, ("answer", "mismatched"))):
        for about, loss, alone in cases:
            policy = Table([e[s] for e in given for s in sides])
            reference = Table([e["ref_" + s] for e in given for s in sides])
            examples = [([2 * i], [0] * len(e[sides[0]]), [2 * i + 1], [0] * len(e[sides[1]]), e.get("label")) for i, e in enumerate(given)]
            examples = [examples[i] for i in about.get("rows", range(len(examples)))]
            value, rewards, grads = evaluate(loss, alone, policy, reference, examples, policy.rows)
            kept = [k for i in about.get("rows", range(len(given))) for k in (2 * i, 2 * i + 1)]
            out["cases"].append(about | {"loss": value, "rewards": rewards, "grad": [x for k in kept for x in grads[k].tolist()]})
    return out


def record_answers():
    answers = [spread(f"{i}.plain", n, low) for i, (n, low) in enumerate([(4, -4), (7, -3), (1, -1), (20, -24), (3, -0.1)])]
    answers.append([-0.0078125, -9.5])  # nearly certain, and nearly impossible
    policy = Table(answers)
    out = {"made_with": made_with(), "answers": answers, "cases": []}
    rows = collate([([k], [0] * len(a)) for k, a in enumerate(answers)])
    labels = rows["input_ids"].masked_fill(rows.pop("completion_mask") == 0, -100)
    for name in ("nll", "dft"):
        t = trainer(SFTTrainer, policy, compute_loss_func=None, label_smoother=None)
        t.args.loss_type, t.args.average_tokens_across_devices = name, False
        t.accelerator.parallelism_config = None
        value = t.compute_loss(lambda **batch: sft_outputs(policy(**batch), labels), rows | {"labels": labels})
        grads = torch.autograd.grad(value, policy.rows)
        out["cases"].append({"name": name, "method": {"nll": "sft"}.get(name, name), "loss": value.item(),
                             "grad": [x for g in grads for x in g.tolist()]})
    return out


def sft_outputs(out, labels):
    """What SFTTrainer reads beside: which tokens count, whose log-probabilities are zero elsewhere."""
    out.label_mask = labels[:, 1:] != -100
    out.log_probs = torch.where(out.label_mask, out.log_probs, 0.0)
    return out


def record_model():
    about_model = next(c for c in record_torch.cases() if c["name"] == "llama")
    reference, _, _ = record_torch.build(about_model)
    policy, where, _ = record_torch.build(about_model)
    params, _ = record_torch.attach(about_model, policy, where)
    ids = lambda name, n: [record_torch.bits("trl." + name, i) % record_torch.VOCAB for i in range(n)]
    pairs = [{"prompt": ids(f"{i}.prompt", p), "chosen": ids(f"{i}.chosen", c), "rejected": ids(f"{i}.rejected", r)}
             for i, (p, c, r) in enumerate([(5, 4, 7), (1, 6, 3), (9, 1, 1)])]
    answers = [ids(f"{i}.answer", n) for i, n in enumerate((5, 3, 1, 8))]
    verdicts = [{"label": 1 - i % 2, "prompt": ids(f"{i}.question", n), "answer": answers[i], "mismatched": answers[(i + 1) % 4]}
                for i, n in enumerate((4, 7, 2, 3))]
    out = {"made_with": made_with(), "model": about_model["name"], "matrix": KEPT, "pairs": pairs, "verdicts": verdicts, "cases": []}
    for cases, given, sides in ((PAIR_CASES, pairs, ("chosen", "rejected")), (VERDICT_CASES, verdicts, ("answer", "mismatched"))):
        for about, loss, alone in cases:
            prompts = [e["prompt"][-1:] if about.get("bare") else e["prompt"] for e in given]
            examples = [(p, e[sides[0]], p, e[sides[1]], e.get("label")) for p, e in zip(prompts, given)]
            examples = [examples[i] for i in about.get("rows", range(len(examples)))]
            value, _, grads = evaluate(loss, alone, Scored(policy), Scored(reference), examples, [params[KEPT][0]])
            out["cases"].append(about | {"loss": value, "grad": params[KEPT][1](grads[0], about_model["hparams"]).flatten().tolist()})
    return out


def made_with():
    return f"trl {trl.__version__}, torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=root / "finetune/method/testdata", help="folder of the recordings")
    parser.add_argument("--only", help="write this one of them")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, record in (("trl_tokens.json", record_tokens), ("trl_model.json", record_model), ("trl_answers.json", record_answers)):
        if args.only in (None, name):
            record_torch.write(args.out / name, record())


if __name__ == "__main__":
    main()
