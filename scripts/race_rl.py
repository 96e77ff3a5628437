#!/usr/bin/env python3
"""Races GRPO of ggtune against TRL's on this machine: the same model, prompts, reward and number of updates.

    python3 -m venv venv && venv/bin/pip install torch trl==1.16.0 peft datasets
    make build
    venv/bin/python scripts/race_rl.py MODEL.gguf PROMPTS.jsonl -o race/ --steps 50 --threads 2

PROMPTS.jsonl has a prompt on each line, as text or as messages, which both read. TRL trains the same weights, dequantized into
a folder by `ggtune convert`, in f32; ggtune the file as it is. Both have an adapter of rank 16 and alpha 32 on every linear
role of the layers, no dropout, AdamW without decay, a constant learning rate, gradients clipped to norm 1, loss `dapo`, no
pull to the reference, one update for each rollout. The reward is how near an answer's length is to so many characters
(reward, below): for ggtune this file is the program of --reward-cmd. It stands for any reward that can be checked: it is
learned in a few dozen updates, and says nothing of what is worth learning.

Written to the folder: ggtune's run and TRL's log, race.json, and race.svg with both curves of the reward. Sampling differs
(ggtune's answers come of llama.cpp), so that curves agree in the mean, not step by step: take several --seeds. Each runs in
a process of its own, whose peak memory is its own; time is from its start to its end, with all reading and checking, and a
step's is the mean over the training alone, answers and rewards included. Not part of the tests: nobody needs Python to build or use ggtune.
"""
import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import time

TARGETS = {"llama": "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj", "gpt2": "c_attn,c_proj,c_fc"}
RANK = 16


def reward(answer, target):
    """From 1 for an answer of so many characters down to 0 for none, or for one of twice as many and more."""
    return max(0.0, 1 - abs(len(answer) - target) / target)


def serve(target):
    """The program of --reward-cmd: a line of JSON in for each answer, a number out."""
    for line in sys.stdin:
        print(reward(json.loads(line)["answer"], target), flush=True)


def timed(command, log):
    """Runs a command and gives its seconds and the most memory it had resident, in bytes."""
    began = time.perf_counter()
    with open(log, "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{shlex.join(map(str, command))} ended with {process.returncode}:\n" + pathlib.Path(log).read_text()[-2000:])
    return time.perf_counter() - began, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def ggtune(args, seed, folder):
    run = folder / f"ggtune-{seed}"
    own = shlex.join([sys.executable, os.path.abspath(__file__), "--serve", str(args.target)])
    seconds, peak = timed(
        [args.ggtune, "train", "-m", args.model, "-d", args.prompts, "-o", run, "--method", "grpo", "--steps", str(args.steps),
         "--num-generations", str(args.generations), "--rollout-prompts", str(args.per_step), "--max-completion-length",
         str(args.tokens), "--reward-cmd", own, "--lr", str(args.lr), "--schedule", "constant", "--warmup", "0", "--rank",
         str(RANK), "--alpha", str(2 * RANK), "--dropout", "0", "--seed", str(seed), "--threads", str(args.threads)],
        folder / f"ggtune-{seed}.log")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [r for r in rows if "reward" in r]
    report = json.loads((run / "report.json").read_text())
    return {"who": "ggtune", "seed": seed, "seconds": seconds, "peak_bytes": peak, "reward": [r["reward"] for r in rows],
            "step_seconds": report["seconds"] / max(1, report["steps"])}


def trl_elsewhere(args, seed, folder):
    out = folder / f"trl-{seed}.json"
    seconds, peak = timed([sys.executable, __file__, *sys.argv[1:], "--only", str(seed)], folder / f"trl-{seed}.log")
    return {"who": "TRL", "seed": seed, "seconds": seconds, "peak_bytes": peak, **json.loads(out.read_text())}


def trl(args, seed, folder):
    """Trains in this process."""
    import datasets
    import peft
    import torch
    import trl
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(args.threads)
    prompts = [{"prompt": json.loads(line)["prompt"]} for line in open(args.prompts, encoding="utf-8") if line.strip()]
    hub = folder / "hub"
    kind = AutoConfig.from_pretrained(hub).model_type

    def lengths(completions, **_):
        text = lambda c: c if isinstance(c, str) else c[-1]["content"]
        return [reward(text(c), args.target) for c in completions]
    # A batch of one prompt's answers, as many batches an update as there are prompts: the memory of one group at a time.
    config = trl.GRPOConfig(
        output_dir=str(folder / f"trl-{seed}"), use_cpu=True, bf16=False, seed=seed, max_steps=args.steps, learning_rate=args.lr,
        lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=1.0, per_device_train_batch_size=args.generations,
        gradient_accumulation_steps=args.per_step, num_generations=args.generations, max_completion_length=args.tokens,
        temperature=1.0, top_p=1.0, top_k=0, beta=0.0, epsilon=0.2, epsilon_high=0.28, loss_type="dapo", scale_rewards="group",
        num_iterations=1, gradient_checkpointing=args.checkpoint, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True)
    trainer = trl.GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(hub, dtype=torch.float32), reward_funcs=lengths, args=config,
        train_dataset=datasets.Dataset.from_list(prompts), processing_class=AutoTokenizer.from_pretrained(hub),
        peft_config=peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=TARGETS.get(kind, TARGETS["llama"]).split(",")))
    trainer.train()
    log = [r for r in trainer.state.log_history if "reward" in r]
    (folder / f"trl-{seed}.json").write_text(json.dumps({
        "version": trl.__version__, "reward": [r["reward"] for r in log],
        "step_seconds": trainer.state.log_history[-1]["train_runtime"] / args.steps}))


def draw(runs, steps):
    """The rewards of every run over its updates, as SVG."""
    wide, high, left, low = 640, 360, 50, 30
    x = lambda i: left + i / max(1, steps - 1) * (wide - left - 10)
    y = lambda v: (high - low) - v * (high - low - 10)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12">',
           f'<rect width="{wide}" height="{high}" fill="white"/>']
    for tick in (0, 0.25, 0.5, 0.75, 1):
        out.append(f'<path d="M{left} {y(tick):.1f}H{wide - 10}" stroke="#ddd"/><text x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    colours = {"ggtune": "#0b6e4f", "TRL": "#b0413e"}
    for r in runs:
        path = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(r["reward"]))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colours[r["who"]]}" stroke-width="1.5"/>')
    for i, (who, colour) in enumerate(colours.items()):
        out.append(f'<text x="{left + 10 + 80 * i}" y="{high - low - 10}" fill="{colour}">{who}</text>')
    out.append(f'<text x="{wide / 2}" y="{high - 8}" text-anchor="middle">update (1 to {steps}); mean reward of its answers</text></svg>')
    return "\n".join(out) + "\n"


def main():
    if sys.argv[1:2] == ["--serve"]:
        return serve(float(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="GGUF file")
    parser.add_argument("prompts", help="JSONL with a prompt on each line")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True, help="folder, which must not exist")
    parser.add_argument("--ggtune", default="./ggtune", help="the ggtune binary")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seeds", default="1", help="with commas")
    parser.add_argument("--per-step", type=int, default=8, help="prompts of an update")
    parser.add_argument("--generations", type=int, default=8, help="answers to each")
    parser.add_argument("--tokens", type=int, default=128, help="the most of an answer")
    parser.add_argument("--target", type=float, default=200, help="characters that an answer is best with")
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", action="store_true", help="TRL computes activations again in the backward pass")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)  # the process that trains with TRL
    args = parser.parse_args()
    folder = args.output
    if args.only is not None:
        return trl(args, args.only, folder)
    folder.mkdir(parents=True)
    subprocess.run([args.ggtune, "convert", args.model, "-o", folder / "hub", "--type", "f32"], check=True)
    runs = []
    for seed in map(int, args.seeds.split(",")):  # in turns, so that what slows the machine for a while slows both
        runs += [ggtune(args, seed, folder), trl_elsewhere(args, seed, folder)]
        (folder / "race.json").write_text(json.dumps({"options": {k: str(v) for k, v in vars(args).items() if k != "only"}, "runs": runs}, indent=1) + "\n")
        (folder / "race.svg").write_text(draw(runs, args.steps))
    fifths = [slice(i * args.steps // 5, max(i * args.steps // 5 + 1, (i + 1) * args.steps // 5)) for i in range(5)]
    print(f"{args.steps} updates of {args.per_step} prompts with {args.generations} answers of at most {args.tokens} tokens, {args.threads} threads\n")
    print("| | seed | reward, first fifth of the updates | second | third | fourth | last | a step | in all | peak memory |\n" + "|---" * 10 + "|")
    for r in runs:
        means = " | ".join(f"{statistics.mean(r['reward'][part]):.3f}" for part in fifths)
        print(f"| {r['who']} {r.get('version', '')} | {r['seed']} | {means} | {r['step_seconds']:.1f} s | {r['seconds']:.0f} s | {r['peak_bytes'] / 1e9:.2f} GB |")


if __name__ == "__main__":
    main()
