#!/usr/bin/env python3
"""Records whole updates of TRL's trainers for the methods of finetune/method that learn from rollouts.

    python3 -m venv venv && venv/bin/pip install torch transformers trl==1.16.0 && venv/bin/python scripts/record_rl.py groups
    python3 -m venv old && old/bin/pip install torch transformers trl==1.9.2 && old/bin/python scripts/record_rl.py ppo

write finetune/method/testdata/trl_groups.json (GRPO and its variants, RLOO) and trl_ppo.json (PPO, which TRL 1.9 was the last to have).
Both are committed and read by a Go test; nobody needs Python to build or test.

What runs is TRL's own code from the answers on: rewards to advantages, importance weights, KL, clipping, values, the loss and its
gradient. Given are the answers' tokens, their rewards, and their log-probabilities under the policy that wrote them, the sampler, the
reference and the policy in training, all in float64. That is: GRPOTrainer and RLOOTrainer._generate_and_score_completions and
_compute_loss, with _generate, _calculate_rewards and _get_per_token_logps_and_entropies replaced; and PPOTrainer.train for one batch and
several epochs, with models that are tables and an optimizer that descends along the gradient.
"""
import argparse
import collections
import contextlib
import pathlib
import sys
import types

import torch

import record_torch

END, PAD, TOKEN = 1, 0, 2
LONGEST = 6  # tokens of an answer at most


def numbers(name, n, low, high):
    """n numbers between low and high, multiples of 1/64."""
    span = int((high - low) * 64)
    return [low + (record_torch.bits("rl." + name, i) % (span + 1)) / 64 for i in range(n)]


def answers(lengths=(3, 6, 1, 4, 2, 5, 6, 3)):
    """Groups of four answers: rewards, and each token's numbers. Those that are as long as may be have not ended, but for the first of many."""
    out = []
    for i, n in enumerate(lengths):
        old = numbers(f"{i}.old", n, -3, -0.25)
        add = lambda what, by: [a + b for a, b in zip(old, numbers(f"{i}.{what}", n, -by, by))]
        out.append({"group": i // 4, "ended": n < LONGEST or i == 0, "reward": numbers(f"{i}.reward", 1, -1, 2)[0], "old": old,
                    "ref": add("ref", 0.75), "new": add("new", 0.5), "sampler": add("sampler", 1), "entropy": numbers(f"{i}.entropy", n, 0, 3), "value": numbers(f"{i}.value", n, -1, 1.5)})
    return out


def tokens(a):
    return [TOKEN] * (len(a["old"]) - 1) + [END if a["ended"] else TOKEN]


def padded(rows):
    return torch.tensor([r + [0.0] * (LONGEST - len(r)) for r in rows])


class Accelerator:
    device, num_processes, process_index, sync_gradients, is_main_process = torch.device("cpu"), 1, 0, True, True
    gather = gather_for_metrics = staticmethod(lambda x: x)
    reduce = staticmethod(lambda x, reduction: x)
    unwrap_model = staticmethod(lambda x: x)


def groups_trainer(kind, all_answers, settings):
    """A trainer without its __init__: settings are all it knows, and its model is the answers' numbers."""
    t = kind.__new__(kind)
    t.accelerator, t.model = Accelerator(), types.SimpleNamespace(training=True, is_gradient_checkpointing=False)
    t.ref_model = object()
    t._metrics = {"train": collections.defaultdict(list)}
    t._logs = {"prompt": [], "completion": [], "images": [], "advantages": [], "rewards": collections.defaultdict(list), "extra": {}}
    t._pending_extra_logs, t._pending_metrics = {}, {}
    t.args = types.SimpleNamespace(steps_per_generation=1, gradient_accumulation_steps=1, per_device_train_batch_size=8, delta=None,
                                   use_bias_correction_kl=False, gradient_checkpointing_kwargs=None)
    t.state = types.SimpleNamespace(num_input_tokens_seen=0)
    t._tokenizer = types.SimpleNamespace(pad_token_id=PAD)
    t.processing_class, t.eos_token_ids = t._tokenizer, [END]
    t.environment_factories = t.environments = t.tools = t.rollout_func = t.pad_to_multiple_of = t.reward_clip_range = None
    t.off_policy_mask_threshold = t.chat_template = None
    t.num_generations, t.reward_funcs, t.reward_func_names, t.reward_weights = 4, [None], ["given"], torch.ones(1)
    t.multi_objective_aggregation, t.top_entropy_quantile, t.aux_loss_enabled = "sum_then_normalize", 1.0, False
    t.use_vllm = t.vllm_importance_sampling_correction = t.mask_truncated_completions = t._entropy_bonus_enabled = t.use_adaptive_entropy = False
    t._is_vlm = t.log_multimodal = t.log_completions = False
    t.num_iterations = 2  # more than one: TRL keeps the old log-probabilities
    t.current_gradient_accumulation_steps, t.max_completion_length = 1, LONGEST
    t.beta, t.epsilon_low, t.epsilon_high, t.loss_type = 0.0, 0.2, 0.28, "dapo"
    t.scale_rewards, t.importance_sampling_level, t.normalize_advantages = "group", "token", False
    t.vllm_importance_sampling_mode, t.vllm_importance_sampling_clip_min, t.vllm_importance_sampling_clip_max = "token_truncate", None, 2.0
    for k, v in settings.items():
        setattr(t.args if hasattr(t.args, k) else t, k, v)
    ids, new = [tokens(a) for a in all_answers], padded([a["new"] for a in all_answers]).requires_grad_()
    entropy = padded([a["entropy"] for a in all_answers]).requires_grad_()
    kept = {"old": padded([a["old"] for a in all_answers]), "ref": padded([a["ref"] for a in all_answers])}
    t._generate = lambda prompts: ([[TOKEN]] * len(ids), ids, None, ids, [a["sampler"] for a in all_answers], {}, None, None)[:t.outputs]
    t._calculate_rewards = lambda *_: torch.tensor([[a["reward"]] for a in all_answers])
    t._get_per_token_logps_and_entropies = lambda model, *_, **__: (kept["ref"] if model is t.ref_model else kept["old"], None, None)
    return t, new, entropy


def groups_case(name, method, ours, **settings):
    from trl import GRPOTrainer, RLOOTrainer
    all_answers = answers()
    kind = {"grpo": GRPOTrainer, "rloo": RLOOTrainer}[method]
    t, new, entropy = groups_trainer(kind, all_answers, settings)
    t.outputs = 8 if kind is GRPOTrainer else None
    if kind is RLOOTrainer:
        # its _generate gives less
        ids = [tokens(a) for a in all_answers]
        t._generate = lambda prompts: ([[TOKEN]] * len(ids), ids, ids)
        t.processing_class = types.SimpleNamespace(pad_token_id=PAD, batch_decode=lambda *_, **__: ids)
    batch = t._generate_and_score_completions([{"prompt": "p"}] * len(all_answers))
    t._get_per_token_logps_and_entropies = lambda *_, **__: (new, entropy, None)
    loss = t._compute_loss(t.model, batch)
    grad, by_entropy = torch.autograd.grad(loss, [new, entropy], allow_unused=True, materialize_grads=True)
    pick = lambda m: [x for a, row in zip(all_answers, m.tolist()) for x in row[:len(a["old"])]]
    return {"name": name, "method": method, "settings": ours, "loss": loss.item(), "advantages": batch["advantages"].tolist(), "grad": pick(grad),
            "grad_entropy": pick(by_entropy), "metrics": {k: v[-1] for k, v in t._metrics["train"].items() if k in ("kl", "clip_ratio/region_mean", "entropy")}}


def record_groups():
    grpo = lambda name, ours, **s: groups_case(name, "grpo", ours, **s)
    rloo = lambda name, ours, **s: groups_case(name, "rloo", ours, **s)
    cases = [
        grpo("dapo", {}),
        grpo("grpo", {"loss-type": "grpo", "epsilon-high": 0.2, "beta": 0.04, "kl": "k3"}, loss_type="grpo", epsilon_high=0.2, beta=0.04),
        grpo("corrected", {"beta": 0.5}, beta=0.5, use_bias_correction_kl=True),
        grpo("dr_grpo", {"loss-type": "dr-grpo", "scale-rewards": "none"}, loss_type="dr_grpo", scale_rewards="none"),
        grpo("batch", {"scale-rewards": "batch"}, scale_rewards="batch"),
        grpo("gspo", {"loss-type": "grpo", "importance-sampling-level": "sequence"}, loss_type="grpo", importance_sampling_level="sequence",
             epsilon_low=3e-4, epsilon_high=4e-4),
        grpo("gspo_wide", {"importance-sampling-level": "sequence", "epsilon": 0.02, "epsilon-high": 0.03, "beta": 0.1}, beta=0.1,
             use_bias_correction_kl=True, importance_sampling_level="sequence", epsilon_low=0.02, epsilon_high=0.03),
        grpo("cispo", {"loss-type": "cispo", "epsilon-high": 1.25, "beta": 0.1, "kl": "k3"}, loss_type="cispo", epsilon_high=1.25, beta=0.1),
        grpo("sampler", {"beta": 0.1, "weights": True}, beta=0.1, use_bias_correction_kl=True, use_vllm=True,
             vllm_importance_sampling_correction=True),
        grpo("masked", {"mask-truncated-completions": "yes"}, mask_truncated_completions=True),
        grpo("entropy", {"entropy-coef": 0.1}, _entropy_bonus_enabled=True, entropy_coef=0.1),
        rloo("rloo", {}, beta=0.05, epsilon_high=0.2),
        rloo("rloo_normalized", {"beta": 0.3, "normalize-advantages": "yes", "epsilon": 0.5}, beta=0.3, normalize_advantages=True, epsilon_low=0.5,
             epsilon_high=0.5),
    ]
    return {"made_with": made_with(), "longest": LONGEST, "answers": answers(), "cases": cases}


@contextlib.contextmanager
def nothing(*_, **__):
    yield types.SimpleNamespace(policy=None)


class Tables:
    """Policy, value function and reference of PPOTrainer: a row's query token says which answer it is."""

    def __init__(self, all_answers):
        row = lambda numbers, last=0.0: numbers + [last] + [0.0] * (LONGEST - len(numbers))
        self.logp = torch.tensor([row(a["old"]) for a in all_answers], requires_grad=True)
        # TRL has a value behind the end of an answer that is shorter than may be; there it is what is rewarded, so that nothing is left to learn.
        self.value = torch.tensor([row(a["value"], a["reward"]) for a in all_answers], requires_grad=True)
        self.ref = torch.tensor([row(a["ref"]) for a in all_answers])
        self.reward = torch.tensor([a["reward"] for a in all_answers])
        self.policy, self.value_model = "policy", "value"

    def train(self):
        pass

    def forward(self, model, rows, _):
        rows = rows[:, 0] - TOKEN
        if model is not self:
            return types.SimpleNamespace(logits=self.ref[rows] * 1)
        return types.SimpleNamespace(logits=self.logp[rows] * 1), self.value[rows][..., None] * 1

    def get_reward(self, model, rows, *_):
        rows = rows[:, 0] - TOKEN
        return (self.value[rows][..., None] * 1, None, None) if model == "value" else (None, self.reward[rows].clone(), None)


def ppo_case(name, ours, lengths, rate, **settings):
    """One batch, four epochs: what TRL makes of the answers, and its losses and gradients before each descent along them by rate."""
    from trl.experimental.ppo import ppo_trainer
    all_answers = answers(lengths)
    tables, epochs, rollout = Tables(all_answers), [], {}
    pick = lambda m: [x for a, row in zip(all_answers, m.tolist()) for x in row[:len(a["old"])]]
    ids = torch.tensor([[TOKEN + i] + tokens(a) + [PAD] * (LONGEST - len(a["old"])) for i, a in enumerate(all_answers)])

    def backward(loss):
        at = sys._getframe(1).f_locals
        if not rollout:
            rollout.update(advantages=pick(at["advantages"]), returns=pick(at["returns"]), scores=at["scores"].tolist())
        grads = torch.autograd.grad(loss, [tables.logp, tables.value])
        epochs.append({"policy_loss": at["pg_loss"].item(), "value_loss": at["vf_loss"].item(), "values": int((~at["padding_mask_p1"]).sum()),
                       "grad": pick(grads[0]), "grad_value": pick(grads[1]), "value_clip_frac": at["vf_clipfrac"].item()})
        with torch.no_grad():
            for table, g in zip((tables.logp, tables.value), grads):
                table -= rate * g

    t = ppo_trainer.PPOTrainer.__new__(ppo_trainer.PPOTrainer)
    size = len(all_answers)
    t.args = types.SimpleNamespace(
        num_total_batches=1, batch_size=size, local_batch_size=size, local_mini_batch_size=size, per_device_train_batch_size=size, num_ppo_epochs=4,
        num_mini_batches=1, gradient_accumulation_steps=1, local_rollout_forward_batch_size=size, response_length=LONGEST, temperature=1 - 1e-7,
        total_episodes=size, logging_steps=None, eval_steps=None, save_steps=None, num_sample_generations=0, ds3_gather_for_generation=False,
        missing_eos_penalty=1.0, kl_coef=0.05, kl_estimator="k1", whiten_rewards=False, gamma=1.0, lam=0.95, cliprange=0.2, cliprange_value=0.2, vf_coef=0.1)
    for k, v in settings.items():
        setattr(t.args, k, v)
    t.accelerator = Accelerator()
    t.accelerator.print, t.accelerator.accumulate, t.accelerator.backward = lambda *_: None, nothing, backward
    t.optimizer = types.SimpleNamespace(step=lambda: None, zero_grad=lambda: None)
    t.model, t.ref_model, t.reward_model = tables, "reference", "reward"
    t.processing_class = types.SimpleNamespace(pad_token_id=PAD, eos_token_id=END)
    t.dataloader, t.train_dataset_len, t.stop_token_id, t.is_deepspeed_enabled = [{"input_ids": ids[:, :1]}], size, END, False
    t.state, t.control = types.SimpleNamespace(), types.SimpleNamespace(should_save=False)
    kept = lambda *_: t.control
    t.callback_handler = types.SimpleNamespace(on_train_begin=kept, on_step_end=kept, on_save=kept, on_train_end=kept)
    t.lr_scheduler = types.SimpleNamespace(get_last_lr=lambda: [rate], step=lambda: None)
    metrics = {}
    t.log = metrics.update
    replaced = {"unwrap_model_for_generation": nothing, "batch_generation": lambda *_: (ids, tables.logp.detach()[:, :-1].clone()),
                "forward": tables.forward, "get_reward": tables.get_reward, "selective_log_softmax": lambda logits, _: logits, "empty_cache": lambda: None}
    before = {k: getattr(ppo_trainer, k) for k in replaced}
    vars(ppo_trainer).update(replaced)
    try:
        t.train()
    finally:
        vars(ppo_trainer).update(before)
    return {"name": name, "settings": ours, "rate": rate, "answers": all_answers, **rollout, "epochs": epochs, "kl": metrics["objective/kl"]}


def record_ppo():
    return {"made_with": made_with(), "longest": LONGEST, "cases": [
        ppo_case("lengths", {}, (3, 6, 1, 4, 2, 5, 6, 3), 10.0),
        ppo_case("whole", {"kl-coef": 0.2, "kl-estimator": "k3", "discount": 0.9, "lam": 0.8, "whiten-rewards": "yes", "missing-eos-penalty": 0.5,
                           "epsilon": 0.1, "cliprange-value": 0.05, "vf-coef": 0.7}, (LONGEST,) * 4, 2.0, kl_coef=0.2, kl_estimator="k3", gamma=0.9,
                 lam=0.8, whiten_rewards=True, missing_eos_penalty=0.5, cliprange=0.1, cliprange_value=0.05, vf_coef=0.7)]}


def made_with():
    import transformers
    import trl
    return f"trl {trl.__version__}, torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=root / "finetune/method/testdata", help="folder of the recordings")
    parser.add_argument("what", choices=["groups", "ppo"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    record_torch.write(args.out / f"trl_{args.what}.json", {"groups": record_groups, "ppo": record_ppo}[args.what]())


if __name__ == "__main__":
    main()
