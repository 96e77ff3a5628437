#!/usr/bin/env bash
# Makes the model inside the binary again, from nothing: a generated corpus, a byte-level vocabulary, random weights,
# full-parameter training by ggtune itself, Q8_0. 10 to 20 minutes on two cores, as busy as they are. Equal seeds give equal weights on the same
# machine with the same number of threads.
#
#   make demo-model            or: scripts/make_demo.sh [WORK-DIRECTORY [further options of ggtune train]]
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-build/demo-model}
embedded=cmd/ggtune/demo

test -x ./ggtune || { echo "scripts/make_demo.sh: no ./ggtune here; run: make build" >&2; exit 1; }
rm -rf "$work/run"
go run ./scripts/demo -o "$work"
./ggtune train --full -m "$work/base-f32.gguf" -d "$work/corpus.jsonl" --eval-data "$work/corpus-heldout.jsonl" -o "$work/run" \
  --epochs 1 --seq-len 256 --batch 8 --accum 1 --lr 3e-3 --schedule cosine --min-lr 0.05 --warmup 30 --beta2 0.99 \
  --weight-decay 0.01 --save-every 500 --seed 1 "${@:2}"
./ggtune quantize --type q8_0 --force "$work/run/model.gguf" "$work/base.gguf"
mkdir -p "$embedded"
cp "$work/base.gguf" "$work/train.jsonl" "$work/heldout.jsonl" "$embedded/"
echo "wrote $embedded: $(du -h "$embedded/base.gguf" | cut -f1) of model; rebuild to embed it: make build"
