#!/usr/bin/env python3
"""Records what PyTorch and transformers compute for tiny models, and what torch.optim.AdamW does to given gradients.

    python3 -m venv venv && venv/bin/pip install torch transformers
    venv/bin/python scripts/record_torch.py

writes internal/refmodel/testdata/torch/*.json, internal/refmodel/testdata/outputs.json and
finetune/optim/testdata/adamw.json, which are committed and read by Go tests. It is run again only when a case is added;
nobody needs Python to build or test.

No weight is stored: every number of a tensor is a function of the tensor's name and the number's index (value, below),
repeated in internal/refmodel/recorded.go, and exact in float32.

Names and layouts in the recordings are GGUF's, so that the Go side maps nothing. Where transformers differs:
  * llama rotates halves of a head in transformers and adjacent pairs in GGUF, so llama.cpp's converter permutes the rows
    of attn_q and attn_k within each head: GGUF row 2i+j is transformers' row i+j*head_dim/2 (biases, and the rows of a
    LoRA pair's B, alike). qwen2 and qwen3 rotate halves in both.
  * GPT-2's Conv1D keeps [in, out]; GGUF has [out, in].
  * Gemma's norms multiply by 1 + weight in transformers and by the weight in GGUF.
  * Experts lie in 3-D parameters in transformers, gate and up of each one behind the other; GGUF has a tensor for each role.
    Recordings have their matrices one behind the other, as rows.
  * llama 3's scaled frequencies are a configuration in transformers and the tensor rope_freqs.weight in GGUF.

Models run in float64; transformers itself rounds to float32 inside RMSNorm and in the rotary angles, which is the noise of
the recordings (about 1e-7 of a tensor's norm). Its code is used as it is.
"""
import argparse
import json
import math
import pathlib

import torch
import transformers
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM)

MASK = (1 << 64) - 1
RANK, SCALE = 4, 2.0  # LoRA; scale = alpha / rank
VOCAB, EMBD, FF, LAYERS, HEADS, HEADS_KV, CONTEXT = 96, 32, 48, 2, 4, 2, 64
GEMMA = ("gemma2", "gemma3", "gemma-embedding")
ENCODERS = ("bert", "nomic-bert", "gemma-embedding")
WINDOWS = (*GEMMA, "gemma4", "olmo2", "cohere2", "gpt-oss")  # whose masks come by the kind of layer
# Architectures by their classes in transformers: those of a configuration and of a model are NAMEConfig and NAMEForCausalLM.
CLASSES = {"smollm3": "SmolLM3", "olmo2": "Olmo2", "granite": "Granite", "ernie4_5": "Ernie4_5", "hunyuan-dense": "HunYuanDenseV1",
           "exaone4": "Exaone4", "cohere2": "Cohere2", "starcoder2": "Starcoder2", "stablelm": "StableLm", "phi3": "Phi3", "mistral3": "Ministral3",
           "glm4": "Glm4", "qwen3moe": "Qwen3Moe", "gpt-oss": "GptOss", "olmoe": "Olmoe", "granitemoe": "GraniteMoe",
           "gemma4": "Gemma4", "lfm2": "Lfm2"}
PAIRED = ("llama", "smollm3", "granite", "mistral3", "granitemoe")  # rows of heads that llama.cpp's converter puts into another order
LAYER_NORM = ("cohere2", "starcoder2", "stablelm", "nomic-bert")
# Of gpt-oss: sinks that take much, gates beyond the bounds of its activation, and not too much of what comes of them.
OSS_SHIFTS = {"attn_sinks": 0, "ffn_gate_exps.bias": -3, "ffn_up_exps.bias": -3, "ffn_down_exps.weight": 5}
PAD = 1  # XLM-RoBERTa's padding token
ENTRIES = 12  # numbers kept of each gradient, evenly spread, beside its norm and two probes


def bits(name, i):
    """64 bits from a name and an index: FNV-1a of the name, then SplitMix64's (i+1)th output from there."""
    h = 0xCBF29CE484222325
    for c in name.encode():
        h = ((h ^ c) * 0x100000001B3) & MASK
    z = (h + (i + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def value(name, i, shift, offset=0.0):
    """Number i of a tensor: offset plus a multiple of 2^-15-shift within ±2^-shift."""
    return offset + ((bits(name, i) >> 48) - 32768) / 32768 * 2.0 ** -shift


def tensor(name, shape, shift, offset=0.0):
    n = math.prod(shape)
    return torch.tensor([value(name, i, shift, offset) for i in range(n)], dtype=torch.float64).reshape(shape)


def digest(name, t):
    """What is kept of a gradient: norm, products with two vectors of signs made from the name, and some of its numbers."""
    flat = t.flatten().tolist()
    probe = lambda k: sum(v if bits(f"{name}.probe{k}", i) >> 63 else -v for i, v in enumerate(flat))
    stride = max(1, len(flat) // ENTRIES)
    return {"n": len(flat), "norm": math.sqrt(sum(v * v for v in flat)), "probes": [probe(0), probe(1)],
            "stride": stride, "entries": flat[::stride][:ENTRIES]}


# Layouts: how a tensor of transformers becomes one of GGUF, and back.
def same(t, hp): return t
def conv1d(t, hp): return t.T.contiguous()
def paired(t, hp): return t.reshape(-1, 2, hp["head_dim"] // 2, *t.shape[1:]).transpose(1, 2).reshape(t.shape)
def unpaired(t, hp): return t.reshape(-1, hp["head_dim"] // 2, 2, *t.shape[1:]).transpose(1, 2).reshape(t.shape)


# Parts of a matrix, or of experts' parameters as rows of one expert behind the other's: [expert, rows, columns], or the other way round and gates
# one by one with ups, of which the biases are a row of each expert.
def first(t, hp): return t[..., :t.shape[-2] // 2, :].reshape(-1, t.shape[-1])
def second(t, hp): return t[..., t.shape[-2] // 2:, :].reshape(-1, t.shape[-1])
def whole(t, hp): return t.reshape(-1, t.shape[-1])
def turned(t, hp): return t if t.dim() == 2 else t.transpose(1, 2).flatten(0, 1)
def even(t, hp): return turned(t[..., ::2], hp)
def odd(t, hp): return turned(t[..., 1::2], hp)
def taps(t, hp): return t.squeeze(1)


def behind(t, hp): return t[PAD + 1:]  # of XLM-RoBERTa's positions, which begin behind the padding token's number


SUMMED = ("ffn_gate_inp.", "_exps.", "_shexp.")  # whose weights become sums where they have pairs


def places(param, layout, hp):
    """Where in a parameter of transformers the numbers of a tensor of GGUF are."""
    return layout(torch.arange(param.numel()).reshape(param.shape), hp).flatten()


def names(case, model):
    """GGUF name -> (transformers' module, parameter, layout)."""
    own = dict(model.named_modules())
    out = {}

    def put(role, module, layout=same):
        for p in ("weight", "bias"):
            if getattr(own[module], p, None) is not None:
                out[f"{role}.{p}"] = (own[module], p, same if p == "bias" and layout is conv1d else layout)
    if case["arch"] == "bert":
        for role, module in (("token_embd", "word_embeddings"), ("position_embd", "position_embeddings"),
                             ("token_types", "token_type_embeddings"), ("token_embd_norm", "LayerNorm")):
            put(role, "embeddings." + module, behind if role == "position_embd" and "class" in case else same)
        for i in range(LAYERS):
            for role, module in (("attn_q", "attention.self.query"), ("attn_k", "attention.self.key"),
                                 ("attn_v", "attention.self.value"), ("attn_output", "attention.output.dense"),
                                 ("attn_output_norm", "attention.output.LayerNorm"), ("ffn_up", "intermediate.dense"),
                                 ("ffn_down", "output.dense"), ("layer_output_norm", "output.LayerNorm")):
                put(f"blk.{i}.{role}", f"encoder.layer.{i}.{module}")
        return out
    if case["arch"] == "nomic-bert":
        for role, module in (("token_embd", "embeddings.word_embeddings"), ("token_types", "embeddings.token_type_embeddings"),
                             ("token_embd_norm", "emb_ln")):
            put(role, module)
        for i in range(LAYERS):
            for role, module in (("attn_qkv", "attn.Wqkv"), ("attn_output", "attn.out_proj"), ("attn_output_norm", "norm1"),
                                 ("ffn_up", "mlp.fc11"), ("ffn_gate", "mlp.fc12"), ("ffn_down", "mlp.fc2"), ("layer_output_norm", "norm2")):
                put(f"blk.{i}.{role}", f"encoder.layers.{i}.{module}")
        return out
    if case["arch"] == "gpt2":
        put("token_embd", "transformer.wte")
        put("position_embd", "transformer.wpe")
        put("output_norm", "transformer.ln_f")
        for i in range(LAYERS):
            for role, module, layout in (("attn_norm", "ln_1", same), ("attn_qkv", "attn.c_attn", conv1d),
                                         ("attn_output", "attn.c_proj", conv1d), ("ffn_norm", "ln_2", same),
                                         ("ffn_up", "mlp.c_fc", conv1d), ("ffn_down", "mlp.c_proj", conv1d)):
                put(f"blk.{i}.{role}", f"transformer.h.{i}.{module}", layout)
        return out
    rotated = paired if case["arch"] in PAIRED else same
    norms = (("post_attention_norm" if case["arch"] == "gpt-oss" else "ffn_norm", "post_attention_layernorm", same),)
    if case["arch"] in (*GEMMA, "gemma4"):
        norms = (("post_attention_norm", "post_attention_layernorm", same), ("ffn_norm", "pre_feedforward_layernorm", same),
                 ("post_ffw_norm", "post_feedforward_layernorm", same))
    if case["arch"] in ("olmo2", "exaone4"):
        norms = (("post_attention_norm", "post_attention_layernorm", same), ("post_ffw_norm", "post_feedforward_layernorm", same))
    if case["arch"] == "glm4":
        norms = (*norms, ("post_attention_norm", "post_self_attn_layernorm", same), ("post_ffw_norm", "post_mlp_layernorm", same))
    for role in ("dense_2", "dense_3"):
        if role in own:
            put(role, role)
    below = "" if case["arch"] == "gemma-embedding" else "model."
    put("token_embd", below + "embed_tokens")
    if case["arch"] == "lfm2":
        put("token_embd_norm", "model.embedding_norm")
        norms = (("ffn_norm", "ffn_norm", same),)
    else:
        put("output_norm", below + "norm")
    if not case["tied"] and case["arch"] != "gemma-embedding":
        put("output", "lm_head")
    for i in range(case["hparams"]["n_layer"]):
        for role, module, layout in (("attn_norm", "input_layernorm", same), ("attn_q", "self_attn.q_proj", rotated),
                                     ("attn_k", "self_attn.k_proj", rotated), ("attn_v", "self_attn.v_proj", same),
                                     ("attn_qkv", "self_attn.qkv_proj", same), ("ffn_up", "mlp.gate_up_proj", same),
                                     ("attn_q_norm", "self_attn.q_norm", same), ("attn_k_norm", "self_attn.k_norm", same),
                                     ("attn_q_norm", "self_attn.query_layernorm", same), ("attn_k_norm", "self_attn.key_layernorm", same),
                                     ("ffn_up", "mlp.c_fc", same), ("ffn_down", "mlp.c_proj", same),
                                     ("attn_output", "self_attn.o_proj", same), *norms,
                                     ("attn_norm", "operator_norm", same), ("attn_output", "self_attn.out_proj", same),
                                     ("attn_q_norm", "self_attn.q_layernorm", same), ("attn_k_norm", "self_attn.k_layernorm", same),
                                     ("shortconv.in_proj", "conv.in_proj", same), ("shortconv.conv", "conv.conv", taps),
                                     ("shortconv.out_proj", "conv.out_proj", same), ("ffn_gate", "feed_forward.w1", same),
                                     ("ffn_up", "feed_forward.w3", same), ("ffn_down", "feed_forward.w2", same),
                                     ("ffn_gate", "mlp.gate_proj", same), ("ffn_up", "mlp.up_proj", same),
                                     ("ffn_down", "mlp.down_proj", same)):
            if f"{below}layers.{i}.{module}" in own:
                put(f"blk.{i}.{role}", f"{below}layers.{i}.{module}", layout)
        block = f"model.layers.{i}." + ("block_sparse_moe" if case["arch"] == "granitemoe" else "mlp")
        experts, shared = own.get(f"{block}.experts"), own.get(f"model.layers.{i}.shared_mlp")
        if experts is not None and case["arch"] != "gpt-oss":
            router = own[f"{block}.router" if case["arch"] == "granitemoe" else f"{block}.gate"]
            out[f"blk.{i}.ffn_gate_inp.weight"] = (router, "weight", same)
            out[f"blk.{i}.ffn_gate_exps.weight"] = (experts, "gate_up_proj", first)
            out[f"blk.{i}.ffn_up_exps.weight"] = (experts, "gate_up_proj", second)
            out[f"blk.{i}.ffn_down_exps.weight"] = (experts, "down_proj", whole)
        if shared is not None:
            out[f"blk.{i}.ffn_gate_shexp.weight"] = (shared.input_linear, "weight", first)
            out[f"blk.{i}.ffn_up_shexp.weight"] = (shared.input_linear, "weight", second)
            out[f"blk.{i}.ffn_down_shexp.weight"] = (shared.output_linear, "weight", same)
        if case["arch"] == "gpt-oss":
            put(f"blk.{i}.ffn_gate_inp", f"model.layers.{i}.mlp.router")
            out[f"blk.{i}.attn_sinks.weight"] = (own[f"model.layers.{i}.self_attn"], "sinks", same)
            experts = own[f"model.layers.{i}.mlp.experts"]
            for role, p, layout in (("ffn_gate_exps", "gate_up_proj", even), ("ffn_up_exps", "gate_up_proj", odd), ("ffn_down_exps", "down_proj", turned)):
                out[f"blk.{i}.{role}.weight"] = (experts, p, layout)
                out[f"blk.{i}.{role}.bias"] = (experts, p + "_bias", layout)
    return out


def published(model):
    """Gives transformers' nomic_bert the modules of the published models: other names, and one matrix of q, k and v. Its own code
    finds them under the old names. Adapters would be given the new ones, by the kind of model that it says it is."""
    model.config.model_type = "published"
    def rename(m, **names):
        for old, new in names.items():
            m.add_module(new, m._modules.pop(old))
            setattr(type(m), old, property(lambda self, new=new: self._modules[new]))
    model.encoder = torch.nn.Module()
    model.encoder.layers = model._modules.pop("layers")
    type(model).layers = property(lambda self: self.encoder.layers)
    model.emb_ln = model.embeddings._modules.pop("LayerNorm")
    model.embeddings.__dict__["LayerNorm"] = model.emb_ln
    for layer in model.encoder.layers:
        rename(layer, self_attn="attn", post_attention_layernorm="norm1", post_mlp_layernorm="norm2")
        rename(layer.mlp, up_proj="fc11", gate_proj="fc12", down_proj="fc2")
        rename(layer.attn, o_proj="out_proj")
        layer.attn.Wqkv = torch.nn.Linear(EMBD, 3 * EMBD, bias=False)
        for i, name in enumerate(("q_proj", "k_proj", "v_proj")):
            del layer.attn._modules[name]
            setattr(type(layer.attn), name, property(lambda self, i=i: lambda x: self.Wqkv(x).chunk(3, -1)[i]))
    return model


def build(case):
    """The model of a case, its weights from the formula; returns it with its names and the list of tensors."""
    common = dict(attn_implementation="eager" if case["arch"] in WINDOWS else "sdpa", **case["config"])
    if case["arch"] == "gpt2":
        config = GPT2Config(vocab_size=VOCAB, n_positions=CONTEXT, n_embd=EMBD, n_layer=LAYERS, n_head=HEADS, n_inner=FF,
                            resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **common)
        model = GPT2LMHeadModel(config)
    elif case["arch"] == "bert":  # with GELU as ggml computes it
        name = case.get("class", "Bert")
        behind_it, types = (0, 2) if name == "Bert" else (PAD + 1, 1)
        config = getattr(transformers, name + "Config")(
            vocab_size=VOCAB, hidden_size=EMBD, intermediate_size=FF, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            max_position_embeddings=CONTEXT + behind_it, type_vocab_size=types, hidden_act="gelu_new", hidden_dropout_prob=0,
            attention_probs_dropout_prob=0, **common)
        model = getattr(transformers, name + "Model")(config, add_pooling_layer=False)
    elif case["arch"] == "nomic-bert":
        config = transformers.NomicBertConfig(vocab_size=VOCAB, hidden_size=EMBD, intermediate_size=FF, num_hidden_layers=LAYERS,
                                              num_attention_heads=HEADS, max_position_embeddings=CONTEXT, type_vocab_size=2, **common)
        model = published(transformers.NomicBertModel(config))
        model.embeddings.word_embeddings.padding_idx = None  # which would have no gradient
    else:
        kinds = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM),
                 "qwen3": (Qwen3Config, Qwen3ForCausalLM), "gemma2": (Gemma2Config, Gemma2ForCausalLM),
                 "gemma3": (Gemma3TextConfig, Gemma3ForCausalLM),
                 "gemma-embedding": (Gemma3TextConfig, transformers.Gemma3TextModel)}
        if case["arch"] in CLASSES:
            name = case.get("class", CLASSES[case["arch"]])
            config = getattr(transformers, name + ("TextConfig" if name == "Gemma4" else "Config"))
            kinds[case["arch"]] = config, getattr(transformers, name + "ForCausalLM")
        make_config, make = kinds[case["arch"]]
        model = make(make_config(vocab_size=VOCAB, hidden_size=EMBD, intermediate_size=FF, num_hidden_layers=case["hparams"]["n_layer"],
                                 num_attention_heads=HEADS, num_key_value_heads=case["hparams"].get("near_n_head_kv", case["hparams"]["n_head_kv"]), tie_word_embeddings=case["tied"],
                                 max_position_embeddings=case["stretched"], **common))
    if n := case.get("dense"):  # sentence-transformers' modules 2_Dense and 3_Dense, which have no bias and no activation
        model.dense_2, model.dense_3 = torch.nn.Linear(EMBD, n, bias=False), torch.nn.Linear(n, EMBD, bias=False)
    model = model.double().eval()
    where, tensors, seen = names(case, model), [], set()
    with torch.no_grad():
        for name, (module, p, layout) in where.items():
            param = getattr(module, p)
            seen.add(id(param))
            shape = layout(param, case["hparams"]).shape
            norm = "norm." in name
            shift, offset = (2, 1.0) if norm and p == "weight" else (3, 0.0) if p == "bias" else (2, 0.0)
            if case["arch"] == "gpt-oss":
                shift = next((s for n, s in OSS_SHIFTS.items() if n in name), shift)
            if case["arch"] == "gemma4" and "attn_q_norm" in name:  # nothing else divides scores
                shift, offset = 4, 0.25
            tensors.append({"name": name, "rows": shape[0] if len(shape) > 1 else 1, "cols": shape[-1],
                            "shift": shift, "offset": offset})
            numbers = tensor(name, shape, shift, offset) - float(norm and case["arch"] in GEMMA)
            param.view(-1)[places(param, layout, case["hparams"])] = numbers.flatten()
        for i, layer in enumerate(model.model.layers if case["arch"] == "gemma4" else []):
            layer.layer_scalar.copy_(torch.tensor(case["given"][f"blk.{i}.layer_output_scale.weight"]))
    missed = [n for n, p in model.named_parameters() if id(p) not in seen]
    assert not missed, missed
    return model, where, tensors


def attach(case, model, where):
    """Puts a LoRA pair beside every linear weight; returns {name: (parameter, layout)} and the list of pairs."""
    params, pairs = {}, []
    for name, (module, p, layout) in where.items():
        embedding = name == "token_embd.weight"
        if p != "weight" or "norm" in name or "sinks" in name or name in ("position_embd.weight", "token_types.weight") or embedding and case["tied"]:
            continue
        if "shortconv.conv." in name:
            continue  # whose taps no rows multiply
        if case["arch"] == "glm4" and ("attn_output" in name or "ffn_down" in name):
            continue  # where llama.cpp runs none
        if name.startswith("dense_"):
            continue  # nor there
        if any(role in name for role in SUMMED):
            continue
        rows, cols = layout(module.weight, case["hparams"]).shape
        shape_a, shape_b = ((rows, RANK), (cols, RANK)) if embedding else ((RANK, cols), (rows, RANK))
        rows_layout = layout if layout is paired else same
        a = torch.nn.Parameter(tensor(name + ".lora_a", shape_a, 2))
        b = tensor(name + ".lora_b", shape_b, 3)
        b = torch.nn.Parameter(unpaired(b, case["hparams"]) if layout is paired else b)
        if embedding:
            module.register_forward_hook(lambda m, args, out, a=a, b=b: out + SCALE * getattr(m, "embed_scale", 1) * a[args[0]] @ b.T)
        else:
            module.register_forward_hook(lambda m, args, out, a=a, b=b: out + SCALE * (args[0] @ a.T) @ b.T)
        params[name + ".lora_a"], params[name + ".lora_b"] = (a, same), (b, rows_layout)
        pairs.append({"name": name, "a": list(shape_a), "b": list(shape_b)})
    attach_sums(case, where, params, pairs)
    return params, pairs


def attach_sums(case, where, params, pairs):
    """Puts pairs beside what is no module's whole product, such as each expert's matrix: weights become sums."""
    sums = {}
    for name, (module, p, layout) in where.items():
        if not any(role + "weight" in name for role in SUMMED):
            continue
        rows, cols = layout(getattr(module, p), case["hparams"]).shape
        n = case["hparams"]["n_expert"] if "_exps." in name else 1
        a = torch.nn.Parameter(tensor(name + ".lora_a", (n * RANK, cols), 2))
        b = torch.nn.Parameter(tensor(name + ".lora_b", (rows, RANK), 3))
        params[name + ".lora_a"], params[name + ".lora_b"] = (a, same), (b, same)
        pairs.append({"name": name, "a": [n * RANK, cols], "b": [rows, RANK]})
        change = SCALE * b.reshape(n, -1, RANK) @ a.reshape(n, RANK, cols)
        sums.setdefault((module, p), []).append((layout, change))
    for (module, p), changes in sums.items():
        weight = getattr(module, p).detach()
        delattr(module, p)
        total = weight.flatten()
        for layout, change in changes:
            total = total.index_add(0, places(weight, layout, case["hparams"]), change.flatten())
        setattr(module, p, total.view(weight.shape))


def tree(case):
    """Positions, what each token sees, and the predecessor of each, from the segments (start, length, parent)."""
    n = len(case["tokens"])
    sees, pos, prev = torch.zeros(n, n, dtype=torch.bool), [0] * n, [-1] * n
    for start, length, parent in case["segments"]:
        for i in range(start, start + length):
            before = i - 1 if i > start else -1 if parent < 0 else sum(case["segments"][parent][:2]) - 1
            if before >= 0:
                sees[i] = sees[before]
                pos[i], prev[i] = pos[before] + 1, before
            sees[i, i] = True
        if case["arch"] in ENCODERS:
            sees[start:start + length, start:start + length] = True
    return sees, pos, prev


def branches(case, model):
    """Logits at each token, of a row of its own for each segment and what comes before it: convolutions know no masks."""
    out = []
    for start, length, parent in case["segments"]:
        row = list(range(start, start + length))
        while parent >= 0:
            row = list(range(case["segments"][parent][0], sum(case["segments"][parent][:2]))) + row
            parent = case["segments"][parent][2]
        ids = torch.tensor([[case["tokens"][i] for i in row]])
        out.append(model(input_ids=ids, use_cache=False).logits[0, -length:])
    return torch.cat(out)


def masks(case, sees, pos):
    """What attention takes of a tree: which tokens see which, and where layers have windows that of each kind of layer, to be added."""
    if case["arch"] not in WINDOWS or "window" not in case["hparams"]:
        return sees[None, None]
    at = torch.tensor(pos)
    window = case["hparams"]["window"] // 2 + 1 if case["arch"] in ENCODERS else case["hparams"]["window"]
    near = sees & ((at[:, None] - at[None, :]).abs() < window)
    added = lambda m: torch.zeros(m.shape, dtype=torch.float64).masked_fill(~m, -math.inf)[None, None]
    return {"full_attention": added(sees), "sliding_attention": added(near)}


def run(case, model, params):
    """Loss, log-probabilities, one token's logits, and a digest of every parameter's gradient in GGUF's layout."""
    sees, pos, prev = tree(case)
    ids = torch.tensor([case["tokens"]])
    extra = {}
    if len(case["segments"]) > 1:
        extra = {"attention_mask": masks(case, sees, pos), "position_ids": torch.tensor([pos])}
    if case["arch"] in ENCODERS:
        return vectors(case, model, params, model(input_ids=ids, **extra).last_hidden_state[0])
    logits = branches(case, model) if case["arch"] == "lfm2" else model(input_ids=ids, use_cache=False, **extra).logits[0]
    counted = case["counted"]
    logp = torch.log_softmax(logits, -1)[[prev[c] for c in counted], [case["tokens"][c] for c in counted]]
    loss = -logp.mean()
    grads = torch.autograd.grad(loss, [p for p, _ in params.values()])
    last = len(case["tokens"]) - 1
    return {"loss": loss.item(), "logp": logp.tolist(), "logits_at": last, "logits": logits[last].tolist(),
            "grads": {name: digest(name, layout(g, case["hparams"])) for (name, (_, layout)), g in zip(params.items(), grads)}}


def vectors(case, model, params, states):
    """What run gives of a model without an output head: the mean of each segment's states, or what is made of it, and as the loss
    minus the mean of all their numbers."""
    pooled = torch.stack([states[start:start + length].mean(0) for start, length, _ in case["segments"]])
    if case.get("dense"):
        pooled = model.dense_3(model.dense_2(pooled))
    pooled = pooled.flatten()
    loss = -pooled.mean()
    grads = torch.autograd.grad(loss, [p for p, _ in params.values()])
    return {"loss": loss.item(), "pooled": pooled.tolist(),
            "grads": {name: digest(name, layout(g, case["hparams"])) for (name, (_, layout)), g in zip(params.items(), grads)}}


def llama3_factors(rope, dim):
    """rope_freqs.weight as llama.cpp's converter makes it (convert_hf_to_gguf.py, LlamaModel.generate_extra_tensors)."""
    low, high, old = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    factors = []
    for i in range(0, dim, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (i / dim)
        if wave < old / high:
            factors.append(1.0)
        elif wave > old / low:
            factors.append(rope["factor"])
        else:
            smooth = (old / wave - low) / (high - low)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return torch.tensor(factors, dtype=torch.float32).tolist()


def tokens(name, n): return [bits(name + ".tokens", i) % VOCAB for i in range(n)]


def cases():
    chain = dict(segments=[[0, 24, -1]], counted=list(range(5, 12)) + list(range(15, 24)))
    # A prompt with two answers, one of which forks again, packed behind another root.
    forest = dict(segments=[[0, 5, -1], [5, 7, -1], [12, 5, 1], [17, 4, 1], [21, 3, 3]],
                  counted=[1, 4, 9, 12, 13, 16, 17, 20, 21, 23])
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    llama3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 8192}
    linear = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
    yarn = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 256}

    def case(name, arch, row, tied, config, head_dim=8, rope=None, hparams={}, **more):
        hp = {"n_layer": LAYERS, "n_embd": EMBD, "n_ff": FF, "n_head": HEADS, "n_head_kv": HEADS_KV, "head_dim": head_dim,
              "n_vocab": VOCAB, "n_ctx_train": CONTEXT, "norm_eps": 1e-5}
        config = dict(config)
        if arch == "gpt2":
            hp["n_head_kv"] = HEADS
            config |= {"layer_norm_epsilon": 1e-5, "bos_token_id": None, "eos_token_id": None}
        elif arch == "bert":
            hp["n_head_kv"] = HEADS
            config |= {"layer_norm_eps": 1e-5, "pad_token_id": PAD if "class" in more else None}
        else:
            hp["rope_base"] = rope["rope_theta"]
            hp["rope_scaling"] = {"linear": "linear", "yarn": "yarn"}.get(rope["rope_type"], "")
            hp["rope_factor"] = rope["factor"] if hp["rope_scaling"] else 1.0
            hp["rope_ctx_orig"] = rope["original_max_position_embeddings"] if rope["rope_type"] in ("yarn", "longrope") else CONTEXT
            config |= {"rms_norm_eps": 1e-5, "rope_parameters": rope, "head_dim": head_dim}
        if arch == "lfm2":
            config["norm_eps"] = config.pop("rms_norm_eps")
            hp |= {"n_layer": 3, "period": 3, "l_cache": config["conv_L_cache"]}
        if arch in LAYER_NORM:
            config["norm_epsilon" if arch == "starcoder2" else "layer_norm_eps"] = config.pop("rms_norm_eps")
        hp |= hparams
        if arch == "nomic-bert":
            hp["n_head_kv"] = HEADS
        if arch in GEMMA:
            hp |= {"n_layer": LAYERS if arch == "gemma2" else 6, "window": config["sliding_window"]}
            hp |= {"attn_cap": config.get("attn_logit_softcapping", 0.0), "logit_cap": config.get("final_logit_softcapping", 0.0)}
            config |= {"query_pre_attn_scalar": head_dim, "pad_token_id": None}
        if arch == "phi3":
            del config["head_dim"]  # n_embd / n_head
            hp |= {"rope_dim": int(head_dim * rope["partial_rotary_factor"]), "rope_attn_factor": rope["attention_factor"]}
            config |= {"pad_token_id": None, "original_max_position_embeddings": rope["original_max_position_embeddings"]}
        if "n_expert" in hparams:
            config |= {"num_local_experts" if arch == "granitemoe" else "num_experts": hp["n_expert"], "pad_token_id": None,
                       "num_experts_per_tok": hp["n_expert_used"], "experts_implementation": "eager"}
            config |= {k: hp[n] for k, n in (("moe_intermediate_size", "n_ff_exp"), ("shared_intermediate_size", "n_ff_shared")) if n in hp}
        if arch == "mistral3":
            hp |= {"rope_temp": rope["llama_4_scaling_beta"], "rope_beta_fast": rope["beta_fast"], "rope_log_mul": rope["mscale_all_dim"]}
            config |= {"pad_token_id": None}
        if arch == "gemma4":
            full = {"rope_type": "proportional", "rope_theta": rope["rope_theta"], "partial_rotary_factor": 0.25}
            config["rope_parameters"] = {"full_attention": full, "sliding_attention": plain}
            hp |= {"n_layer": 3, "head_dim": config["global_head_dim"], "n_head_kv": config["num_global_key_value_heads"], "period": 3,
                   "window": config["sliding_window"], "logit_cap": config["final_logit_softcapping"],
                   "near_n_head_kv": HEADS_KV, "near_head_dim": head_dim, "near_rope_base": plain["rope_theta"]}
        if arch in ("gemma3", "gemma-embedding") or more.get("class") == "Olmo3":
            near = plain if arch in GEMMA else plain | {"rope_theta": rope["rope_theta"]}
            config["rope_parameters"] = {"full_attention": rope, "sliding_attention": near}
        stretched = int(rope.get("factor", 1) * rope.get("original_max_position_embeddings", CONTEXT)) if rope else CONTEXT
        return {"name": name, "arch": arch, "tied": tied, "stretched": stretched, "config": config, "hparams": hp, "tokens": tokens(name, 24), **row, **more}

    yield case("llama", "llama", chain, False, {}, rope=plain)
    yield case("llama3", "llama", chain, True, {}, rope=llama3, given={"rope_freqs.weight": llama3_factors(llama3, 8)})
    yield case("llama_linear_bias", "llama", chain, True, {"attention_bias": True, "mlp_bias": True}, rope=linear)
    yield case("llama_tree", "llama", forest, False, {}, rope=plain)
    yield case("qwen2", "qwen2", chain, True, {}, rope=plain)
    yield case("qwen2_yarn", "qwen2", chain, False, {}, rope=yarn)
    yield case("qwen3", "qwen3", chain, True, {}, head_dim=16, rope=plain)
    yield case("qwen3_tree", "qwen3", forest, False, {}, head_dim=16, rope=plain)
    gemma2 = {"sliding_window": 6, "attn_logit_softcapping": 0.5, "final_logit_softcapping": 1.5}
    far = {"rope_type": "linear", "rope_theta": 1e6, "factor": 4.0}
    yield case("gemma2", "gemma2", chain, True, gemma2, head_dim=16, rope=plain)
    yield case("gemma2_tree", "gemma2", forest, True, gemma2, head_dim=16, rope=plain)
    yield case("gemma3", "gemma3", chain, True, {"sliding_window": 5}, head_dim=16, rope=far)
    yield case("gemma3_tree", "gemma3", forest, True, {"sliding_window": 5}, head_dim=16, rope=far)
    yield case("smollm3", "smollm3", chain, True, {"pad_token_id": None, "no_rope_layer_interval": 4}, rope=plain, hparams={"n_layer": 4})
    yield case("smollm3_tree", "smollm3", forest, True, {"pad_token_id": None, "no_rope_layer_interval": 4}, rope=plain, hparams={"n_layer": 4})
    yield case("olmo2", "olmo2", chain, False, {"pad_token_id": None}, rope=plain)
    near = {"pad_token_id": None, "sliding_window": 5}
    yield case("olmo3", "olmo2", chain, False, near, rope=yarn, hparams={"n_layer": 4, "window": 5}, **{"class": "Olmo3"})
    yield case("olmo3_tree", "olmo2", forest, False, near, rope=yarn, hparams={"n_layer": 4, "window": 5}, **{"class": "Olmo3"})
    granite = {"embedding_multiplier": 3.0, "residual_multiplier": 0.5, "attention_multiplier": 0.25, "logits_scaling": 2.0}
    scales = {"embd_scale": 3.0, "residual": 0.5, "attn_scale": 0.25, "logit_scale": 2.0}
    yield case("granite", "granite", chain, True, granite, rope=plain, hparams=scales)
    yield case("granite_tree", "granite", forest, False, granite, rope=plain, hparams=scales)
    yield case("ernie4_5", "ernie4_5", chain, True, {}, head_dim=16, rope=plain)
    yield case("hunyuan_dense", "hunyuan-dense", chain, True, {}, head_dim=16, rope=plain)
    yield case("exaone4", "exaone4", chain, True, {"sliding_window": None, "layer_types": ["full_attention"] * LAYERS}, rope=plain)
    cohere = {"pad_token_id": None, "sliding_window": 5, "logit_scale": 0.5}
    yield case("cohere2", "cohere2", chain, True, cohere, rope=plain, hparams={"n_layer": 4, "window": 5, "logit_scale": 0.5})
    yield case("cohere2_tree", "cohere2", forest, True, cohere, rope=plain, hparams={"n_layer": 4, "window": 5, "logit_scale": 0.5})
    yield case("starcoder2", "starcoder2", chain, True, {"sliding_window": None, "use_bias": True}, rope=plain)
    part = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    yield case("stablelm", "stablelm", chain, False, {"use_qkv_bias": True}, rope=part, hparams={"rope_dim": 4})
    short = {"rope_factors_short.weight": [1.0, 1.25, 2.5]}
    longrope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": short["rope_factors_short.weight"],
                "long_factor": [1.5, 4.0, 16.0], "attention_factor": 1.125, "partial_rotary_factor": 0.75,
                "original_max_position_embeddings": 512}
    yield case("phi3", "phi3", chain, False, {}, rope=longrope, given=short)
    yield case("phi3_tree", "phi3", forest, True, {}, rope=longrope, given=short)
    tempered = yarn | {"original_max_position_embeddings": 6, "beta_fast": 2.0, "mscale": 1.0, "mscale_all_dim": 1.0,
                       "llama_4_scaling_beta": 0.25}
    yield case("mistral3", "mistral3", chain, False, {}, head_dim=16, rope=tempered)
    yield case("mistral3_tree", "mistral3", forest, True, {}, head_dim=16, rope=tempered)
    glm4 = {"attention_bias": True, "pad_token_id": None, "eos_token_id": 2}
    yield case("glm4", "glm4", chain, False, glm4, rope=part, hparams={"rope_dim": 4})
    yield case("glm4_tree", "glm4", forest, True, glm4, rope=part, hparams={"rope_dim": 4})
    few = {"n_expert": 5, "n_expert_used": 2, "n_ff_exp": 12}
    yield case("qwen3moe", "qwen3moe", chain, True, {"norm_topk_prob": True}, head_dim=16, rope=plain, hparams=few)
    yield case("qwen3moe_tree", "qwen3moe", forest, False, {"norm_topk_prob": True}, head_dim=16, rope=plain, hparams=few)
    few = {"n_expert": 4, "n_expert_used": 2, "n_ff_exp": FF, "window": 5}
    oss = {"sliding_window": 5}
    yield case("gpt_oss", "gpt-oss", chain, False, oss, head_dim=16, rope=yarn, hparams=few)
    yield case("gpt_oss_tree", "gpt-oss", forest, False, oss, head_dim=16, rope=yarn, hparams=few)
    some = {"n_expert": 5, "n_expert_used": 2}
    yield case("olmoe", "olmoe", chain, False, {}, rope=plain, hparams=some | {"n_head_kv": HEADS})
    yield case("olmoe_tree", "olmoe", forest, False, {}, rope=plain, hparams=some | {"n_head_kv": HEADS})
    yield case("granitemoe", "granitemoe", chain, True, granite, rope=plain, hparams=scales | some)
    yield case("granitemoe_tree", "granitemoe", forest, False, granite, rope=plain, hparams=scales | some | {"n_ff_shared": 20},
               **{"class": "GraniteMoeShared"})
    gemma4 = {"sliding_window": 5, "layer_types": ["sliding_attention"] * 2 + ["full_attention"], "global_head_dim": 16,
              "num_global_key_value_heads": 1, "attention_k_eq_v": True, "hidden_size_per_layer_input": 0,
              "final_logit_softcapping": 1.5, "pad_token_id": None}
    ends = {f"blk.{i}.layer_output_scale.weight": [s] for i, s in enumerate((0.75, 1.25, 0.5))}
    quarter = ends | {"rope_freqs.weight": [1.0] * 2 + [1e30] * 6}  # as llama.cpp's converter makes it of partial_rotary_factor
    yield case("gemma4", "gemma4", chain, True, gemma4, rope=plain | {"rope_theta": 1e6}, given=quarter)
    yield case("gemma4_tree", "gemma4", forest, True, gemma4, rope=plain | {"rope_theta": 1e6}, given=quarter)
    lfm2 = {"conv_L_cache": 3, "layer_types": ["conv", "conv", "full_attention"], "block_auto_adjust_ff_dim": False, "pad_token_id": None}
    yield case("lfm2", "lfm2", chain, True, lfm2, rope=plain)
    yield case("lfm2_tree", "lfm2", forest, False, lfm2 | {"conv_L_cache": 4}, rope=plain)
    yield case("gpt2", "gpt2", chain, True, {})
    yield case("gpt2_tree", "gpt2", forest, True, {})
    packed = dict(segments=[[0, 5, -1], [5, 1, -1], [6, 18, -1]], counted=[])
    yield case("bert", "bert", dict(segments=chain["segments"], counted=[]), False, {})
    yield case("bert_packed", "bert", packed, False, {})
    slow = {"rope_type": "default", "rope_theta": 1000.0}
    yield case("nomic_bert", "nomic-bert", dict(segments=chain["segments"], counted=[]), False, {}, rope=slow)
    yield case("nomic_bert_packed", "nomic-bert", packed, False, {}, rope=slow)
    both = {"use_bidirectional_attention": True, "sliding_window": 8}
    long = {"rope_type": "default", "rope_theta": 1000000.0}
    yield case("gemma_embedding", "gemma-embedding", dict(segments=chain["segments"], counted=[]), False, both, rope=long)
    yield case("gemma_embedding_packed", "gemma-embedding", packed, False, both, rope=long, dense=40)
    xlmr = case("xlmr", "bert", dict(segments=chain["segments"], counted=[]), False, {}, **{"class": "XLMRoberta"})
    yield xlmr | {"tokens": [t + (t == PAD) for t in xlmr["tokens"]]}  # which has no position of its own


def record(case):
    out = {k: case[k] for k in ("name", "arch")}
    out["made_with"] = f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
    out |= {k: case[k] for k in ("hparams", "tokens", "segments", "counted")}
    model, where, out["tensors"] = build(case)
    out["given"] = case.get("given", {})
    out["full"] = run(case, model, {n: (getattr(m, p), layout) for n, (m, p, layout) in where.items()})
    params, out["pairs"] = attach(case, model, where)
    out["scale"] = SCALE
    out["lora"] = run(case, model, params)
    return out


def outputs():
    """Log-probabilities and entropies at a temperature, and values of a head, of some of the cases with LoRA, and the
    gradients of a loss with a slope of its own by each of them."""
    out = {"made_with": f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}", "temp": 0.75,
           "valued": [0, 4, 11, 23], "cases": []}
    for case in cases():
        if case["name"] not in ("llama_tree", "qwen2", "qwen3_tree", "gpt2_tree"):
            continue
        model, where, _ = build(case)
        params, _ = attach(case, model, where)
        head = torch.nn.Parameter(tensor("value.weight", (1, EMBD), 0))
        params["value.weight"] = (head, same)
        sees, pos, prev = tree(case)
        extra = {}
        if len(case["segments"]) > 1:
            extra = {"attention_mask": masks(case, sees, pos), "position_ids": torch.tensor([pos])}
        state = model.base_model(input_ids=torch.tensor([case["tokens"]]), use_cache=False, **extra).last_hidden_state
        logits = model.lm_head(state)[0] / out["temp"]
        before = logits[[prev[c] for c in case["counted"]]]
        spread = torch.distributions.Categorical(logits=before)
        given = {"logp": spread.log_prob(torch.tensor([case["tokens"][c] for c in case["counted"]])),
                 "entropy": spread.entropy(), "value": (state[0][out["valued"]] @ head.T)[:, 0]}
        loss = sum((torch.tensor([value("outputs." + k, i, 0) for i in range(len(v))], dtype=torch.float64) * v).sum()
                   for k, v in given.items())
        grads = torch.autograd.grad(loss, [p for p, _ in params.values()])
        out["cases"].append({"name": case["name"], **{k: v.tolist() for k, v in given.items()}, "grads": {
            name: digest(name, layout(g, case["hparams"])) for (name, (_, layout)), g in zip(params.items(), grads)}})
    return out


def adamw():
    """Trajectories of torch.optim.AdamW in float64, constant learning rate, gradients from the formula."""
    steps, kept = 100, (1, 2, 10, 100)
    out = {"made_with": f"torch {torch.__version__.split('+')[0]}", "steps": steps, "cases": []}
    for name, lr, betas, eps, decay in (("default", 1e-2, (0.9, 0.999), 1e-8, 0.1), ("fast_moments", 3e-3, (0.8, 0.95), 1e-6, 0.1)):
        # The last is not decayed, as norms and biases are not; the second's gradients are as small as eps.
        sizes = {"matrix": (8, 0, decay), "small": (5, 20, decay), "norm": (3, 3, 0.0)}
        params = {t: torch.nn.Parameter(tensor(f"{name}.{t}", (n,), 0)) for t, (n, _, _) in sizes.items()}
        opt = torch.optim.AdamW([{"params": [params[t]], "weight_decay": d} for t, (_, _, d) in sizes.items()],
                                lr=lr, betas=betas, eps=eps, foreach=False)
        values = {}
        for step in range(1, steps + 1):
            for t, (n, shift, _) in sizes.items():
                grad = [value(f"{name}.{t}.grad", (step - 1) * n + i, shift) for i in range(n)]
                params[t].grad = torch.tensor(grad, dtype=torch.float64)
            opt.step()
            if step in kept:
                values[step] = {t: p.tolist() for t, p in params.items()}
        out["cases"].append({
            "name": name, "lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps,
            "tensors": [{"name": t, "n": n, "shift": 0, "grad_shift": s, "weight_decay": d} for t, (n, s, d) in sizes.items()],
            "after": values})
    return out


def text(v, depth=0):
    """JSON with one line for each tensor and ten digits for a number."""
    if isinstance(v, float):
        return f"{v:.10g}"
    if isinstance(v, dict) and depth < 4 and any(isinstance(x, (dict, list)) for x in v.values()) and "norm" not in v:
        inner = ",\n".join(" " * (depth + 1) + json.dumps(str(k)) + ": " + text(x, depth + 1) for k, x in v.items())
        return "{\n" + inner + "\n" + " " * depth + "}"
    if isinstance(v, dict):
        return "{" + ", ".join(json.dumps(str(k)) + ": " + text(x, 9) for k, x in v.items()) + "}"
    if isinstance(v, list) and v and isinstance(v[0], dict):
        return "[\n" + ",\n".join(" " * (depth + 1) + text(x, depth + 1) for x in v) + "\n" + " " * depth + "]"
    if isinstance(v, list):
        return "[" + ", ".join(text(x, 9) for x in v) + "]"
    return json.dumps(v)


def write(path, v):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(v) + "\n")
    print(path, path.stat().st_size, "bytes")


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=pathlib.Path, default=root / "internal/refmodel/testdata/torch", help="folder of the models' recordings")
    parser.add_argument("--outputs", type=pathlib.Path, default=root / "internal/refmodel/testdata/outputs.json", help="file of entropies and values")
    parser.add_argument("--only", nargs="*", help="record these models alone")
    parser.add_argument("--adamw", type=pathlib.Path, default=root / "finetune/optim/testdata/adamw.json", help="file of the optimizer's recording")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for case in cases():
        if not args.only or case["name"] in args.only:
            write(args.models / (case["name"] + ".json"), record(case))
    if args.only:
        return
    write(args.outputs, outputs())
    write(args.adamw, adamw())


if __name__ == "__main__":
    main()
