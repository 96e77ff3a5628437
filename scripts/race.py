#!/usr/bin/env python3
"""Races ggtune against what users would otherwise run, on one model shape on this machine, and prints one table.

    python3 -m venv venv && venv/bin/pip install torch transformers peft
    make build
    venv/bin/python scripts/race.py --shape qwen2.5-0.5b --type q8_0 --threads 2 [--qvac path/to/llama-finetune-lora]

The others are PyTorch with PEFT on the CPU, with weights in f32 and bf16, and, where --qvac names a built one, qvac-fabric's
llama-finetune-lora, on the same GGUF file as ggtune (CPU build: cmake -B build -DLLAMA_CURL=OFF && cmake --build build
--target llama-finetune-lora). Each trains rows of 512 tokens, every token counted, with rank 16 on every linear role of the
layers, alpha 32, no dropout, AdamW, one row a step; ggtune and PEFT on random tokens with gradients clipped to norm 1, qvac-fabric
on random words, the speed of its windows read off its progress. Weights are random, in the published shape. PEFT keeps its
activations, and with --checkpoint computes them again; its adapter is f32 either way. Each runs in a process of its own, whose peak
memory is reported. Not part of the tests: nobody needs Python to build or use ggtune.
"""
import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

# The config.json of each published model, as engine/synth/shapes.go has them.
SHAPES = {
    "smollm2-135m": ("LlamaConfig", dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                     num_key_value_heads=3, vocab_size=49152, max_position_embeddings=8192, tie_word_embeddings=True)),
    "qwen2.5-0.5b": ("Qwen2Config", dict(hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
                     num_key_value_heads=2, vocab_size=151936, max_position_embeddings=32768, tie_word_embeddings=True)),
    "tinyllama-1.1b": ("LlamaConfig", dict(hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32,
                       num_key_value_heads=4, vocab_size=32000, max_position_embeddings=2048, tie_word_embeddings=False)),
}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
QVAC_TARGETS = "attn_q,attn_k,attn_v,attn_o,ffn_gate,ffn_up,ffn_down"


def peak_of(pid):
    """The most memory a process has had resident, in bytes, or None where /proc does not say."""
    try:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def peak_bytes():
    """peak_of this process. Linux's getrusage includes what the parent had, so /proc goes first."""
    unit = 1 if sys.platform == "darwin" else 1024
    return peak_of("self") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def row(who, speeds, peak):
    speeds = sorted(speeds)
    return {"who": who, "train_tok_per_s": statistics.median(speeds), "train_spread": [speeds[0], speeds[-1]], "peak_bytes": peak}


def ggtune(args):
    run = subprocess.run([args.ggtune, "bench", "--shape", args.shape, "--type", args.type, "--cases", "kept,recompute", "--tokens", str(args.tokens),
                          "--rank", str(args.rank), "--threads", str(args.threads), "--rounds", str(args.rounds), "--json"],
                         stdout=subprocess.PIPE, check=True)
    for c in json.loads(run.stdout)["cases"]:
        yield {"who": f"ggtune, {args.type}, {c['case']}", "train_tok_per_s": c["train_tok_per_s"], "train_spread": c["train_spread"], "peak_bytes": c["peak_bytes"]}


def peft(args, dtype):
    """Trains in this process."""
    import peft
    import torch
    import transformers

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    kind, fields = SHAPES[args.shape]
    config = getattr(transformers, kind)(**fields)
    torch.set_default_dtype(getattr(torch, {"f32": "float32", "bf16": "bfloat16"}[dtype]))
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    torch.set_default_dtype(torch.float32)
    model.config.use_cache = False
    if args.checkpoint:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    model = peft.get_peft_model(model, peft.LoraConfig(r=args.rank, lora_alpha=2 * args.rank, target_modules=TARGETS, lora_dropout=0.0))
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, weight_decay=0.0)
    tokens = torch.randint(0, config.vocab_size, (1, args.tokens))
    seconds = []
    for step in range(args.rounds + 1):
        began = time.perf_counter()
        optimizer.zero_grad()
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if step > 0:  # the first warms up
            seconds.append(time.perf_counter() - began)
    assert torch.isfinite(loss), "the loss is not finite"
    return row(f"PEFT {peft.__version__}, torch {torch.__version__}, {dtype}{', checkpointed' * args.checkpoint}",
               [args.tokens / s for s in seconds], peak_bytes())


def peft_elsewhere(args, dtype):
    run = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--only", dtype], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"PEFT {dtype}: {(run.stderr.strip() or f'exit code {run.returncode}').splitlines()[-1]}")
    return json.loads(run.stdout)


def qvac(args):
    """Lets llama-finetune-lora train until enough windows have gone by, and stops it."""
    with tempfile.TemporaryDirectory() as folder:
        model, text = os.path.join(folder, "model.gguf"), os.path.join(folder, "words.txt")
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        subprocess.run(["go", "run", "./scripts/shape", args.shape, args.type, model], cwd=root, check=True)
        words, letters = random.Random(1), "abcdefghijklmnopqrstuvwxyz"
        with open(text, "w") as f:  # a token or more for each word; windows begin half a row apart
            f.write(" ".join("".join(words.choices(letters, k=words.randint(2, 8))) for _ in range((args.rounds + 4) * args.tokens)))
        n = str(args.tokens)
        run = subprocess.Popen([os.path.abspath(args.qvac), "-m", model, "-f", text, "-c", n, "-b", n, "-ub", n, "-fa", "off", "-t", str(args.threads),
                                "--lora-rank", str(args.rank), "--lora-alpha", str(2 * args.rank), "--lora-modules", QVAC_TARGETS,
                                "--output-adapter", os.path.join(folder, "adapter.gguf")], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        times, seen, tail, peak = [], 0, b"", None
        try:
            while len(times) < args.rounds + 1:  # the first window's end is where the clock starts
                part = os.read(run.stdout.fileno(), 4096)
                if not part:
                    break
                tail = (tail + part)[-8192:]
                done = [int(m) for m in re.findall(rb"train: .*?data=(\d+)/", tail)]
                if done and done[-1] > seen:
                    if times and done[-1] != seen + 1:
                        raise RuntimeError("llama-finetune-lora: windows went by unseen: its progress has another form than expected")
                    seen, peak = done[-1], peak_of(run.pid)
                    times.append(time.perf_counter())
        finally:
            run.kill()
            run.wait()
    if len(times) < args.rounds + 1:
        raise RuntimeError("llama-finetune-lora stopped after %d windows; it said:\n%s" % (len(times), tail[-2000:].decode(errors="replace")))
    return row(f"qvac-fabric, {args.type}", [args.tokens / (b - a) for a, b in zip(times, times[1:])], peak)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="smollm2-135m")
    parser.add_argument("--type", default="q8_0", help="storage type of the GGUF file")
    parser.add_argument("--formats", default="f32,bf16", help="number formats of PEFT's weights; empty: no PEFT")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--checkpoint", action="store_true", help="PEFT computes activations again in the backward pass")
    parser.add_argument("--ggtune", default="./ggtune", help="the ggtune binary")
    parser.add_argument("--qvac", help="qvac-fabric's llama-finetune-lora binary, if there is one")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--only", choices=["f32", "bf16"], help=argparse.SUPPRESS)  # the process that trains with PEFT
    args = parser.parse_args()
    if args.only:
        print(json.dumps(peft(args, args.only)))
        return
    if args.qvac and not os.access(args.qvac, os.X_OK):
        parser.error(f"--qvac {args.qvac} is no program")
    rows, faults = [*ggtune(args)], []
    others = [lambda d=d: peft_elsewhere(args, d) for d in args.formats.split(",") if d]
    if args.qvac:
        others.append(lambda: qvac(args))
    for other in others:
        try:
            rows.append(other())
        except (RuntimeError, OSError, subprocess.SubprocessError) as e:
            faults.append(str(e))
    for r in rows:
        r["relative"] = r["train_tok_per_s"] / rows[0]["train_tok_per_s"]
    if args.json:
        for r in rows:
            print(json.dumps(r))
    else:
        print(f"{args.shape}, rows of {args.tokens} tokens, rank {args.rank}, {args.threads} threads\n")
        print("| | tok/s (least–greatest) | relative | peak memory |\n|---|---|---|---|")
        for r in rows:
            low, high = r["train_spread"]
            memory = f"{r['peak_bytes'] / 1e9:.2f} GB" if r["peak_bytes"] else "unknown"
            print(f"| {r['who']} | {r['train_tok_per_s']:.1f} ({low:.1f}–{high:.1f}) | {r['relative']:.3f} | {memory} |")
    for f in faults:
        print(f, file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
