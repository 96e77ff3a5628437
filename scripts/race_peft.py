#!/usr/bin/env python3
"""Races what users would otherwise run: LoRA with PyTorch and PEFT on the CPU, on the shapes that `ggtune bench` knows.

    python3 -m venv venv && venv/bin/pip install torch transformers peft
    venv/bin/python scripts/race_peft.py --shape tinyllama-1.1b --threads 2
    ./ggtune bench --shape tinyllama-1.1b --type q8_0 --threads 2

Both train one row of 512 random tokens a step, every token counted, with rank 16 on every linear role of the layers, alpha
32, no dropout, AdamW, gradients clipped to norm 1, from random weights in the published shape. PEFT gets what is best for
it: its weights in f32 or bf16 (PEFT keeps the adapter in f32 either way), activations kept, and with --checkpoint
recomputed. Each format runs in a process of its own, whose peak memory is reported. Not part of the tests: nobody needs
Python to build or use ggtune.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

# The config.json of each published model, as internal/testmodel/shapes.go has them.
SHAPES = {
    "smollm2-135m": ("LlamaConfig", dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                     num_key_value_heads=3, vocab_size=49152, max_position_embeddings=8192, tie_word_embeddings=True)),
    "qwen2.5-0.5b": ("Qwen2Config", dict(hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
                     num_key_value_heads=2, vocab_size=151936, max_position_embeddings=32768, tie_word_embeddings=True)),
    "tinyllama-1.1b": ("LlamaConfig", dict(hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32,
                       num_key_value_heads=4, vocab_size=32000, max_position_embeddings=2048, tie_word_embeddings=False)),
}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def peak_bytes():
    """The most memory this process has had resident. Linux's getrusage includes what the parent had, so /proc goes first."""
    try:
        with open("/proc/self/status") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def train(args, dtype):
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
    speeds = sorted(args.tokens / s for s in seconds)
    return {"shape": args.shape, "type": dtype, "tokens": args.tokens, "rank": args.rank, "threads": args.threads,
            "checkpoint": args.checkpoint, "train_tok_per_s": statistics.median(speeds), "train_spread": [speeds[0], speeds[-1]],
            "peak_bytes": peak_bytes(), "trained_parameters": sum(p.numel() for p in trained),
            "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="smollm2-135m")
    parser.add_argument("--types", default="f32,bf16", help="number formats of the weights")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--checkpoint", action="store_true", help="recompute activations in the backward pass")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--only", choices=["f32", "bf16"], help=argparse.SUPPRESS)  # the process that trains
    args = parser.parse_args()
    if args.only:
        print(json.dumps(train(args, args.only)))
        return
    for dtype in args.types.split(","):
        run = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--only", dtype], stdout=subprocess.PIPE, text=True, check=True)
        if args.json:
            print(run.stdout.strip(), flush=True)
            continue
        r = json.loads(run.stdout)
        low, high = r["train_spread"]
        print(f"{r['shape']} {dtype}: {r['train_tok_per_s']:.1f} tok/s ({low:.1f}–{high:.1f}), peak memory {r['peak_bytes'] / 1e9:.2f} GB, "
              f"torch {r['torch']}, peft {r['peft']}", flush=True)


if __name__ == "__main__":
    main()
