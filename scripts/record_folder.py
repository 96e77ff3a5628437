#!/usr/bin/env python3
"""Records what transformers reads and computes of folders that ggtune makes of GGUF files.

    python3 -m venv venv && venv/bin/pip install torch transformers sentencepiece
    venv/bin/python scripts/record_folder.py GGTUNE [MODEL.gguf TEXT]

GGTUNE is the program. Of each recorded file in finetune/convert/testdata/hub it writes NAME.folder.json: the SHA-256 of
the folder's files, the ids that AutoTokenizer gives a text, and the log-probabilities that AutoModelForCausalLM gives
them. With a file of your own it prints the mean negative log-probability of a text instead, to hold beside ggtune eval.
"""
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import sentencepiece
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent / "finetune/convert/testdata/hub"
TEXT = "Once upon a time there was a cow. She'd 33 x"
SPLIT = {"llama": "40K"}  # the others are one file
FROM_FOLDER = ["llama_spm"]  # whose recorded file has scores that no folder can say


def convert(ggtune, source, out, *args):
    subprocess.run([ggtune, "convert", source, "-o", out, *args], check=True, stdout=subprocess.DEVNULL)


def read(folder, text):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokenizer(text)["input_ids"]
    with torch.inference_mode():
        logp = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
    return tokenizer, ids, [logp[i, t].item() for i, t in enumerate(ids[1:])]


def record(ggtune, name, scratch):
    source = ROOT / (name + ".gguf")
    if name in FROM_FOLDER:
        source = scratch / (name + ".gguf")
        convert(ggtune, ROOT / name, source)
    folder = scratch / name
    convert(ggtune, source, folder, *(["--split-size", SPLIT[name]] if name in SPLIT else []))
    tokenizer, ids, logp = read(folder, TEXT)
    files = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())}
    out = {"text": TEXT, "files": files, "ids": ids, "logp": [round(x, 6) for x in logp],
           "decoded": tokenizer.decode(ids, skip_special_tokens=True), "chat_template": tokenizer.chat_template or ""}
    if (ROOT / name / "tokenizer.model").exists():  # which the folder's tokenizer.json must not differ from
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(ROOT / name / "tokenizer.model"))
        out["sentencepiece"] = pieces.encode(TEXT)
    (ROOT / (name + ".folder.json")).write_text(json.dumps(out, indent=1) + "\n")


def main():
    ggtune = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        if sys.argv[2:]:
            convert(ggtune, sys.argv[2], scratch / "model")
            _, ids, logp = read(scratch / "model", pathlib.Path(sys.argv[3]).read_text())
            print(f"{len(ids)} tokens, {-sum(logp) / len(logp):.5f} nats each")
            return
        for source in sorted(ROOT.glob("*.gguf")):
            record(ggtune, source.stem, scratch)


if __name__ == "__main__":
    main()
