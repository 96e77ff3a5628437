#!/usr/bin/env python3
"""Makes tiny Hugging Face folders of each architecture, and what llama.cpp's converter makes of them.

    python3 -m venv venv && venv/bin/pip install torch transformers tokenizers sentencepiece gguf
    venv/bin/python scripts/record_hub.py LLAMA_CPP

LLAMA_CPP is a checkout of llama.cpp, or the one that the source package of llama-cpp-python carries. It writes
finetune/convert/testdata/hub/CASE/, and CASE.gguf beside it. The vocabularies are learned from a few sentences. The
converter knows a pre-tokenizer by a hash over the ids of the published vocabulary, which a small one has not: its name is
given here, and the definition in tokenizer.json is the published one.
"""
import io
import json
import pathlib
import shutil
import sys
import tempfile

import safetensors.torch
import sentencepiece
import tokenizers
import torch
import transformers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig,
                          MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM,
                          XLMRobertaConfig, XLMRobertaModel)

import record_torch

ROOT = pathlib.Path(__file__).resolve().parent.parent / "finetune/convert/testdata/hub"
TEXT = ["Once upon a time there was a little cow. She lived on a farm, didn't she? Yes: 3 33 333 times!",
        "The farm's cows said: we'll eat 12345 straws.\n\n\tThen they'd sleep; é, ß and 我想 too.\r\n  \n",
        "def f(x):\n    return x + 1  # one more\n"] * 3
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
LANGUAGES = [
    "Where does the old cow live? On the farm behind the hill, near the river.",
    "Die Kuh lebt auf dem Hof hinter dem Hügel; straßauf, straßab größere Äpfel.",
    "La vache habite à la ferme, où l’été dernier elle mangeait déjà des pommes.",
    "La vaca vive en la granja detrás de la colina. ¿Dónde está el niño?",
    "Старая корова живёт на ферме за холмом и ест яблоки у реки.",
    "Η γελάδα ζει στο αγρόκτημα πίσω από τον λόφο.",
    "老牛住在山后的农场，每天在河边吃苹果。",
    "牛は丘の向こうの牧場に住んでいます。がぎぐげご、カキクケコ。",
    "소는 언덕 뒤 농장에 살고 강가에서 사과를 먹는다.",
    "गाय पहाड़ी के पीछे खेत पर रहती है और सेब खाती है।",
    "البقرة تعيش في المزرعة خلف التل وتأكل التفاح.",
    "Con bò già sống ở trang trại phía sau ngọn đồi và ăn táo mỗi ngày.",
]
# What characters are replaced by, in the small: other blanks, wide forms, ligatures, letters with their marks apart.
# Published models have some thousands of such rules (SentencePiece's nmt_nfkc).
RULES = {"\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u200b": " ", "\u2028": " ", "\u3000": " ", "\ufeff": " ",
         "\u2581": " ", "\x07": "", "\ufb01": "fi", "½": "1\u20442", "…": "...", "²": "2", "Ａ": "A", "Ｂ": "B", "１": "1",
         "，": ",", "e\u0301": "é", "a\u0301": "á", "u\u0308": "ü", "a\u0323": "ạ", "a\u0323\u0302": "ậ", "ạ\u0302": "ậ",
         "か\u3099": "が", "ｶ": "カ", "ｶﾞ": "ガ", "\u0958": "\u0915\u093c"}
CHATML = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def byte_level(regex, specials, vocab=320):
    t = tokenizers.Tokenizer(models.BPE())
    if regex is None:
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        t.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(regex), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder, t.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    t.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=vocab, show_progress=False,
                                                    initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_special_tokens([AddedToken(s, normalized=False) for s in specials])
    return t


def sentencepiece_like():
    t = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    t.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=380, show_progress=False, special_tokens=specials))
    data = json.loads(t.to_str())
    data["added_tokens"] = data["added_tokens"][:3]  # bytes are pieces, and no added tokens
    data["post_processor"] = {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [
        {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    return tokenizers.Tokenizer.from_str(json.dumps(data))


class Pieces:
    """A model of SentencePiece's alone: tokenizer.model, and no tokenizer.json."""

    def __init__(self):
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(line for text in TEXT * 4 for line in text.splitlines() if line.strip()),
            model_writer=out, vocab_size=400, model_type="bpe", byte_fallback=True, character_coverage=1.0,
            normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2)
        self.model = out.getvalue()
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=self.model)

    def get_vocab_size(self):
        return self.processor.get_piece_size() + 1

    def token_to_id(self, token):
        return self.processor.piece_to_id(token)

    def save(self, path):
        pathlib.Path(path).with_name("tokenizer.model").write_bytes(self.model)


def unigram():
    """A Unigram as XLM-RoBERTa has it: SentencePiece's, with fairseq's tokens in place of its first three."""
    out = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.writelines(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n"
                         for a, b in RULES.items())
        rules.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter((LANGUAGES + [line for text in TEXT[:3] for line in text.splitlines() if line.strip()]) * 4),
            model_writer=out, vocab_size=440, model_type="unigram", character_coverage=1.0, hard_vocab_limit=False,
            normalization_rule_tsv=rules.name, minloglevel=2)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    proto = sentencepiece_model_pb2.ModelProto.FromString(out.getvalue())
    proto.normalizer_spec.ClearField("normalization_rule_tsv")  # the name of a file
    vocab = [(s, 0.0) for s in ("<s>", "<pad>", "</s>", "<unk>")]
    vocab += [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(3, pieces.get_piece_size())] + [("<mask>", 0.0)]
    t = tokenizers.Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    t.normalizer = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
                                               pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")])
    t.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    t.add_special_tokens([AddedToken(s, normalized=False, lstrip=s == "<mask>")
                          for s in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")])
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
                                                     special_tokens=[("<s>", 0), ("</s>", 2)])
    PIECES["model"] = proto.SerializeToString()
    return t


PIECES = {}  # what unigram has trained, as SentencePiece writes it


def word_pieces():
    t = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.train_from_iterator(TEXT, trainers.WordPieceTrainer(
        vocab_size=220, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    ends = [(s, t.token_to_id(s)) for s in ("[CLS]", "[SEP]")]
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                     special_tokens=ends)
    return t


def llama3():
    t = byte_level(LLAMA3, ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    bos = t.token_to_id("<|begin_of_text|>")
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
        special_tokens=[("<|begin_of_text|>", bos)])])
    return t


def qwen():
    t = byte_level(QWEN2, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.normalizer = normalizers.NFC()
    t.add_tokens([AddedToken("<tool_call>", normalized=False)])
    return t


SMALL = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=64)
MODULES = {"modules.json": [{"idx": i, "name": str(i), "path": path, "type": "sentence_transformers.models." + kind}
                            for i, (path, kind) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"),
                                                              ("2_Normalize", "Normalize")])]}
WORD_ENDS = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}


def nomic(n):
    """Settings and sizes of tensors as nomic-ai publishes them: transformers has other names of the former, and cannot write them."""
    embd, ff, layers, vocab = 32, 48, 2, n + 2
    config = dict(architectures=["NomicBertModel"], model_type="nomic_bert", activation_function="swiglu", causal=False,
                  layer_norm_epsilon=1e-12, max_trained_positions=2048, mlp_fc1_bias=False, mlp_fc2_bias=False, n_embd=embd,
                  n_head=4, n_inner=ff, n_layer=layers, n_positions=8192, parallel_block=False, prenorm=False,
                  qkv_proj_bias=False, rotary_emb_base=1000, rotary_emb_fraction=1.0, rotary_emb_interleaved=False,
                  rotary_emb_scale_base=None, rotary_scaling_factor=None, type_vocab_size=2, use_rms_norm=False, vocab_size=vocab)
    shapes = {"embeddings.word_embeddings.weight": (vocab, embd), "embeddings.token_type_embeddings.weight": (2, embd)}
    norms = ["emb_ln"]
    for i in range(layers):
        layer = f"encoder.layers.{i}."
        shapes |= {layer + "attn.Wqkv.weight": (3 * embd, embd), layer + "attn.out_proj.weight": (embd, embd),
                   layer + "mlp.fc11.weight": (ff, embd), layer + "mlp.fc12.weight": (ff, embd),
                   layer + "mlp.fc2.weight": (embd, ff)}
        norms += [layer + "norm1", layer + "norm2"]
    return config, shapes | {f"{norm}.{p}": (embd,) for norm in norms for p in ("weight", "bias")}


FAIRSEQ = dict(dtype=torch.float32, outtype="f16", tokenizer=unigram, pre="",
               special={"tokenizer_class": "XLMRobertaTokenizer", "clean_up_tokenization_spaces": True, "bos_token": "<s>",
                        "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>", "cls_token": "<s>",
                        "mask_token": {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "normalized": False,
                                       "rstrip": False, "single_word": False}})
ENCODER = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
CASES = {
    # bge-m3's class, whose positions begin behind the padding token; and multilingual-e5-small's, of another class, of
    # whose vocabulary the converter is told
    "xlmr": dict(model=XLMRobertaModel, **FAIRSEQ,
                 config=lambda n: XLMRobertaConfig(vocab_size=n + 2, max_position_embeddings=66, type_vocab_size=1,
                                                   layer_norm_eps=1e-5, **ENCODER),
                 files={**MODULES, "1_Pooling/config.json": {"word_embedding_dimension": 32,
                                                                           "pooling_mode_mean_tokens": True},
                        "config_sentence_transformers.json": {"prompts": {"query": "query: ", "document": ""}}}),
    "e5": dict(model=BertModel, **FAIRSEQ, pad=0,
               config=lambda n: BertConfig(vocab_size=n, max_position_embeddings=64, **ENCODER)),
    "bert": dict(tokenizer=word_pieces, pre="jina-v2-en", model=BertModel, dtype=torch.float32, outtype="f16",
                 config=lambda n: BertConfig(vocab_size=n + 2, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                                             num_attention_heads=4, max_position_embeddings=64),
                 files={**MODULES, "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_cls_token": True,
                                                             "pooling_mode_mean_tokens": False}}, special=WORD_ENDS),
    "llama": dict(tokenizer=llama3, pre="llama-bpe", model=LlamaForCausalLM, dtype=torch.float32, outtype="f32", shard="40KB",
                  config=lambda n: LlamaConfig(vocab_size=n, tie_word_embeddings=False, rope_parameters={
                      "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0,
                      "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}, **SMALL),
                  special={"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}),
    "llama_spm": dict(tokenizer=sentencepiece_like, pre="", model=LlamaForCausalLM, dtype=torch.bfloat16, outtype="bf16",
                      config=lambda n: LlamaConfig(vocab_size=n, tie_word_embeddings=True, **SMALL),
                      special={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}),
    "mistral": dict(tokenizer=Pieces, pre="", model=MistralForCausalLM, dtype=torch.bfloat16, outtype="bf16",
                    config=lambda n: MistralConfig(vocab_size=n + 3, tie_word_embeddings=False, sliding_window=None,
                                                   **SMALL),
                    special={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True,
                             "add_eos_token": False, "added_tokens_decoder": {
                                 **{str(i): {"content": c, "special": True}
                                    for i, c in enumerate(["<unk>", "<s>", "</s>"])},
                                 "400": {"content": "[TOOL]", "special": False}}}),
    "qwen2": dict(tokenizer=qwen, pre="qwen2", model=Qwen2ForCausalLM, dtype=torch.bfloat16, outtype="bf16",
                  config=lambda n: Qwen2Config(vocab_size=n + 5, tie_word_embeddings=True, rope_parameters={
                      "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                      "original_max_position_embeddings": 64}, **SMALL),
                  special={"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": CHATML}),
    "qwen3": dict(generation={"do_sample": True, "top_k": 20, "top_p": 0.95, "min_p": 0, "temperature": 0.6,
                              "repetition_penalty": 1.05},
                  tokenizer=qwen, pre="qwen2", model=Qwen3ForCausalLM, dtype=torch.float16, outtype="f16",
                  config=lambda n: Qwen3Config(vocab_size=n, tie_word_embeddings=False, head_dim=16, **SMALL),
                  special={"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": CHATML}),
    "nomic_bert": dict(tokenizer=word_pieces, pre="jina-v2-en", dtype=torch.float32, outtype="f32", published=nomic,
                       files={**MODULES, "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_cls_token": False,
                                                                   "pooling_mode_mean_tokens": True}}, special=WORD_ENDS),
    "gpt2": dict(tokenizer=lambda: byte_level(None, ["<|endoftext|>"]), pre="gpt-2", model=GPT2LMHeadModel,
                 dtype=torch.float32, outtype="f16",
                 config=lambda n: GPT2Config(vocab_size=n, n_embd=32, n_layer=2, n_head=4, n_positions=64, n_ctx=64),
                 special={"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}),
}


def make(name, case):
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    t = case["tokenizer"]()
    if "published" in case:
        config, shapes = case["published"](t.get_vocab_size())
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        weights = {n: record_torch.tensor(n, shape, 2, float(len(shape) == 1 and n.endswith("weight"))).to(case["dtype"])
                   for n, shape in shapes.items()}
        safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return finish(case, folder, t)
    config = case["config"](t.get_vocab_size())
    for key in ("bos_token", "eos_token", "pad_token"):
        token = case["special"].get(key)
        setattr(config, key + "_id", t.token_to_id(token) if token else None)
    config.pad_token_id = case.get("pad", config.pad_token_id)
    model = case["model"](config)
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.copy_(record_torch.tensor(n, p.shape, 2, 1.0 if "norm" in n.lower() or ".ln_" in n else 0.0))
    model = model.to(case["dtype"])
    model.save_pretrained(folder, max_shard_size=case.get("shard", "5GB"))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if "generation" in case:
        (folder / "generation_config.json").write_text(json.dumps(case["generation"], indent=1) + "\n")
    return finish(case, folder, t)


def finish(case, folder, t):
    """Writes what lies beside a model, and the tokenizer."""
    for path, content in case.get("files", {}).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(json.dumps(content, indent=1) + "\n")
    t.save(str(folder / "tokenizer.json"))
    extra = {"tokenizer_class": "PreTrainedTokenizerFast", **case["special"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(extra, indent=1) + "\n")
    return folder


WORDS = ["The cow's farm: 33 times!  we'll\tsleep\r\n\nthen;", "\u00c9t\u00e9 e\u0301t\u00e9 Stra\u00dfe \u0130 \u1e9e \u03a3\u03a3",
         "\u0928\u092e\u0938\u094d\u0924\u0947 \uc548\ub155 \u304c\u304b\u3099 \u6211\u60f3 farm\u6211x",
         "a\u200bb\x00c\x07d\ufffde\u00a0f\u2028g\u3000h \ue000 \U000e0001", "cow" * 40, "co" * 50 + " " + "x" * 101,
         "def f(x): return $x + ^1` ~= |y| <a> \u00bd \u2014 \u00ab\u2026\u00bb \u20ac \U0001f642", "[CLS] a[MASK]b [PAD]", "", " "]


def record_words(folder):
    """What tokenizers makes of texts, by each way of BERT's normalizer."""
    definition, out = json.loads((folder / "tokenizer.json").read_text()), []
    for lower in True, False:
        for accents in None, True, False:
            for chinese, clean in (True, True), (False, False):
                way = {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
                       "strip_accents": accents, "lowercase": lower}
                definition["normalizer"] = way
                t = tokenizers.Tokenizer.from_str(json.dumps(definition))
                out.append({"normalizer": way, "ids": [t.encode(w, add_special_tokens=False).ids for w in WORDS]})
    folder.with_suffix(".words.json").write_text(json.dumps({"texts": WORDS, "ways": out}) + "\n")


PIECED = [*LANGUAGES, "Zum größeren  Hügel,\two die Kuh\n\nlebt ", "  ｶﾞＡＢ１ ½ ﬁn…\u3000a\u00a0b\u200bc\ufeffd\x07e", "e\u0301te\u0301 u\u0308ber",
          "a\u0323\u0302m a\u0323 ậm", "か\u3099き", "\u0958", "e\u0301\u0323 x", "🙂🙂 a🚀b", "▁a▁▁b", "<s> a<mask>b <mask> </s><pad>", "", " "]


def record_pieces(folder):
    """What tokenizers and SentencePiece make of texts, and transformers' vector of the first."""
    t = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    pieces = sentencepiece.SentencePieceProcessor(model_proto=PIECES["model"])
    fairseq = lambda ids: [3 if i == 0 else i + 1 for i in ids]
    model = transformers.AutoModel.from_pretrained(folder).double().eval()
    state = model(torch.tensor([t.encode(PIECED[0]).ids])).last_hidden_state[0]
    folder.with_suffix(".words.json").write_text(json.dumps({
        "texts": PIECED, "ids": [t.encode(s, add_special_tokens=False).ids for s in PIECED],
        "sentencepiece": [fairseq(pieces.encode(s)) for s in PIECED],
        "mean": [round(x, 7) for x in state.mean(0).tolist()]}) + "\n")
    if folder.name == "xlmr":
        folder.with_suffix(".bpe.model").write_bytes(PIECES["model"])


def main():
    llama_cpp = pathlib.Path(sys.argv[1]).resolve()
    sys.path[:0] = [str(llama_cpp / "gguf-py"), str(llama_cpp)]
    import conversion
    import gguf
    conversion.load_all_models() if hasattr(conversion, "load_all_models") else None
    types = {"f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16,
             "bf16": gguf.LlamaFileType.MOSTLY_BF16}
    for name, case in CASES.items():
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        folder = make(name, case)
        cls = conversion.get_model_class(json.loads((folder / "config.json").read_text())["architectures"][0])
        cls.get_vocab_base_pre = lambda self, tokenizer, pre=case["pre"]: pre
        with torch.inference_mode():
            if name == "bert":
                record_words(folder)
            if case["tokenizer"] is unigram:
                record_pieces(folder)
                cls = type(cls.__name__, (cls,), {"model_arch": cls.model_arch, "set_vocab": cls._xlmroberta_set_vocab})
            more = {"hparams": json.loads((folder / "config.json").read_text())} if "published" in case else {}
            cls(folder, types[case["outtype"]], ROOT / (name + ".gguf"), use_temp_file=False, eager=False, **more).write()


if __name__ == "__main__":
    main()
