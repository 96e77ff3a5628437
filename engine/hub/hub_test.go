package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/safetensors"
)

const recorded = "../../finetune/convert/testdata/hub/"

// copied is a copy of a recorded folder that may be changed.
func copied(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(recorded+name)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// edit changes a JSON file of a folder.
func edit(t testing.TB, path string, change func(m map[string]any)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// rename writes a folder's weights under other names; "" leaves one out.
func rename(t testing.TB, dir string, name func(string) string) {
	t.Helper()
	path := filepath.Join(dir, modelFile)
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := &safetensors.Writer{}
	for i := range f.Tensors {
		ti := &f.Tensors[i]
		if name(ti.Name) == "" {
			continue
		}
		if err := w.Add(name(ti.Name), ti.DType, ti.Shape, func(dst io.Writer) error {
			_, err := io.Copy(dst, f.Reader(ti))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := w.Write(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

// convert gives the bytes of the GGUF file.
func convert(dir string, typ gguf.Type) ([]byte, error) {
	f, err := Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	w, err := f.Writer(typ)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = w.Write(context.Background(), &b)
	return b.Bytes(), err
}

// TestRefuses: what the graphs or GGUF lack, and folders that do not fit together, are refused and named.
func TestRefuses(t *testing.T) {
	config := func(key string, v any) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, configFile), func(m map[string]any) { m[key] = v })
		}
	}
	tokenizer := func(key string, v any) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, tokenizerFile), func(m map[string]any) { m[key] = v })
		}
	}
	bpe := func(key string, v any) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, tokenizerFile), func(m map[string]any) { m["model"].(map[string]any)[key] = v })
		}
	}
	object := map[string]any{"a": 1}
	for name, tt := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string
	}{
		"another class":     {config("architectures", []string{"MambaForCausalLM"}), "LlamaForCausalLM"},
		"no class":          {config("architectures", object), "those that can be converted"},
		"another function":  {config("hidden_act", "gelu"), "hidden_act is gelu"},
		"a function object": {config("hidden_act", object), "hidden_act is map"},
		"windows":           {config("use_sliding_window", true), "use_sliding_window is true"},
		"quantized":         {config("quantization_config", object), "quantization_config"},
		"a missing size":    {config("hidden_size", nil), "hidden_size is missing"},
		"a size in words":   {config("hidden_size", "big"), "hidden_size is big"},
		"half a size":       {config("hidden_size", 32.5), "hidden_size is 32.5"},
		"a huge size":       {config("num_hidden_layers", 1e9), "block_count"},
		"other positions":   {config("rope_parameters", map[string]any{"rope_type": "dynamic"}), "rope_type dynamic"},
		"yarn's own way": {config("rope_parameters", map[string]any{"rope_type": "yarn", "factor": 2,
			"original_max_position_embeddings": 64, "attention_factor": 2}), "attention_factor is 2"},
		"odd positions":   {config("rope_parameters", map[string]any{"rope_type": object}), "rope_type map"},
		"another width":   {config("intermediate_size", 64), "different models"},
		"fewer tokens":    {config("vocab_size", 10), "the model has 10 tokens"},
		"more layers":     {config("num_hidden_layers", 3), "model.layers.2.input_layernorm.weight"},
		"fewer layers":    {config("num_hidden_layers", 1), "have no place in a Qwen2ForCausalLM"},
		"an EOS too many": {config("bos_token_id", 400), "bos_token_id is 400"},
		"another model":   {bpe("type", "WordPiece"), `"WordPiece"`},
		"a suffix":        {bpe("end_of_word_suffix", "</w>"), "suffix"},
		"three to merge":  {bpe("merges", []string{"a b c"}), `"a b c"`},
		"a merge of one":  {bpe("merges", [][]string{{"a"}}), "expected two tokens"},
		"an unknown cut": {tokenizer("pre_tokenizer", map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Split", "pattern": map[string]any{"Regex": `\d`}, "behavior": "Isolated"},
			map[string]any{"type": "ByteLevel", "use_regex": false}}}), "not recognised by its definition"},
		"no bytes":       {tokenizer("pre_tokenizer", nil), "no byte-level pre-tokenizer"},
		"a normalizer":   {tokenizer("normalizer", map[string]any{"type": "Lowercase"}), `"Lowercase"`},
		"another ending": {tokenizer("post_processor", map[string]any{"type": "RobertaProcessing"}), "Roberta"},
		"a strange start": {tokenizer("post_processor", map[string]any{"type": "TemplateProcessing", "single": []any{
			map[string]any{"SpecialToken": map[string]any{"id": "x"}},
			map[string]any{"Sequence": map[string]any{"id": "A"}}}}), `puts ["x"] beside a text`},
		"an empty start": {tokenizer("post_processor", map[string]any{"type": "TemplateProcessing", "single": []any{
			map[string]any{}, map[string]any{"Sequence": map[string]any{"id": "A"}}}}), "puts [] beside a text"},
		"an id twice":   {tokenizer("added_tokens", []any{map[string]any{"id": 0, "content": "x"}}), "both have id 0"},
		"an id below 0": {tokenizer("added_tokens", []any{map[string]any{"id": -1, "content": "x"}}), "id -1"},
		"a token with blanks": {tokenizer("added_tokens",
			[]any{map[string]any{"id": 320, "content": "x", "lstrip": true}}), "the blanks beside it"},
		"a missing tensor": {func(t *testing.T, dir string) {
			rename(t, dir, func(n string) string { return strings.Replace(n, "model.norm.weight", "", 1) })
		}, `missing: model.norm.weight`},
		"an unknown tensor": {func(t *testing.T, dir string) {
			rename(t, dir, func(n string) string { return strings.Replace(n, "0.self_attn.q_proj", "0.x", 1) })
		}, `"model.layers.0.x.bias", "model.layers.0.x.weight"`},
		"pickles": {func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, modelFile), filepath.Join(dir, "pytorch_model.bin")); err != nil {
				t.Fatal(err)
			}
		}, "safe_serialization"},
		"an index elsewhere": {func(t *testing.T, dir string) {
			index := `{"weight_map": {"a": "../../etc/passwd"}}`
			if err := os.WriteFile(filepath.Join(dir, indexFile), []byte(index), 0o666); err != nil {
				t.Fatal(err)
			}
		}, "expected one of the same folder"},
		"an index of more": {func(t *testing.T, dir string) {
			index := `{"weight_map": {"a": "model.safetensors"}}`
			if err := os.WriteFile(filepath.Join(dir, indexFile), []byte(index), 0o666); err != nil {
				t.Fatal(err)
			}
		}, `"a" (model.safetensors)`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, "qwen2")
			tt.change(t, dir)
			_, err := convert(dir, gguf.BF16)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// message writes a field of a message: bytes, or a number.
func message(b []byte, n protowire.Number, v any) []byte {
	switch v := v.(type) {
	case []byte:
		return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
	case float32:
		return protowire.AppendFixed32(protowire.AppendTag(b, n, protowire.Fixed32Type), math.Float32bits(v))
	default:
		return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v.(int)))
	}
}

// TestRefusesPieces: of SentencePiece's models what llama.cpp reads otherwise, what is broken, and what belongs to
// another model is refused.
func TestRefusesPieces(t *testing.T) {
	piece := func(text string, score float32, kind int) []byte {
		return message(nil, modelPieces, message(message(message(nil, pieceText, []byte(text)), pieceScore, score),
			pieceKind, kind))
	}
	fill := piece("filler", -900, 1)                        // in whose place the settings have a token
	more := func(b []byte) func(t *testing.T, dir string) { // a field again overrides what was there
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, sentencePieceFile)
			old, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, append(old, b...), 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	config := func(file, key string, v any) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, file), func(m map[string]any) { m[key] = v })
		}
	}
	for name, tt := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string
	}{
		"another kind":  {more(message(nil, modelTrainer, message(nil, trainerType, 1))), "it is no BPE"},
		"replacing":     {more(message(nil, modelNormalizer, message(nil, normalizerMap, []byte("x")))), "charsmap"},
		"squeezing":     {more(message(nil, modelNormalizer, message(nil, normalizerRW, 1))), "blanks are squeezed"},
		"suffixes":      {more(message(nil, modelTrainer, message(nil, trainerSuffix, 1))), "to the word before"},
		"odd pieces":    {more(piece("x", 0, 9)), "piece 400 is of kind 9"},
		"a piece twice": {more(append(fill, piece("<s>", 0, 1)...)), "are both"},
		"one score":     {more(append(append(fill, piece("OO", -7, 1)...), piece("ff", -7, 1)...)), "have one score"},
		"a long piece":  {more(append(fill, piece(strings.Repeat("x", 600), -9, 1)...)), "600 bytes"},
		"half a file":   {more([]byte{10, 200}), "no model of SentencePiece's"},
		"a window":      {config(configFile, "sliding_window", 4096), "sliding_window is 4096"},
		"odd added tokens": {config(tokenizerConfigFile, "added_tokens_decoder", map[string]any{"x": 1}),
			"expected an id and a token"},
		"an added token far off": {config(tokenizerConfigFile, "added_tokens_decoder",
			map[string]any{"99999999": map[string]any{"content": "x"}}), "has id 99999999"},
		"another definition": {func(t *testing.T, dir string) {
			b, err := os.ReadFile(recorded + "llama_spm/" + tokenizerFile)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, tokenizerFile), b, 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "remove the file that is not the model's"},
		"nothing": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, sentencePieceFile), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}, "is it SentencePiece's?"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, "mistral")
			tt.change(t, dir)
			_, err := convert(dir, gguf.BF16)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// FuzzPieces: no model of SentencePiece's panics, and what is accepted encodes.
func FuzzPieces(f *testing.F) {
	b, err := os.ReadFile(recorded + "mistral/" + sentencePieceFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{10, 3, 10, 1, 'a', 18, 2, 24, 2, 26, 2, 32, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parsePieces(b)
		if err != nil {
			return
		}
		d, err := v.definition()
		if err != nil {
			return
		}
		tok := &Tokenizer{def: d, pieces: v, bare: true,
			model: settings{values: map[string]any{"vocab_size": float64(len(v.tokens))}}}
		if err := tok.read(); err != nil {
			return
		}
		if _, err := tok.Encode("a b\n33 é"); err != nil {
			t.Fatal(err)
		}
	})
}

// TestShortNames: GPT-2's published files begin below "transformer", and hold masks.
func TestShortNames(t *testing.T) {
	want, err := convert(recorded+"gpt2", gguf.F32)
	if err != nil {
		t.Fatal(err)
	}
	dir := copied(t, "gpt2")
	rename(t, dir, func(n string) string { return strings.TrimPrefix(n, "transformer.") })
	if got, err := convert(dir, gguf.F32); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes (%v), want the same %d", len(got), err, len(want))
	}
}

// TestEncoderNames: encoders of models with a head lie below "bert", and TensorFlow calls a norm's numbers otherwise;
// what makes nothing of a vector is left.
func TestEncoderNames(t *testing.T) {
	want, err := convert(recorded+"bert", gguf.F32)
	if err != nil {
		t.Fatal(err)
	}
	dir := copied(t, "bert")
	rename(t, dir, func(n string) string {
		n = strings.Replace(strings.Replace(n, "Norm.weight", "Norm.gamma", 1), "Norm.bias", "Norm.beta", 1)
		return "bert." + strings.Replace(n, "pooler.dense", "embeddings.position_ids", 1)
	})
	if got, err := convert(dir, gguf.F32); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes (%v), want the same %d", len(got), err, len(want))
	}
}

// TestRefusesEncoders: of encoders, what llama.cpp would read or compute otherwise is refused.
func TestRefusesEncoders(t *testing.T) {
	set := func(file, key string, v any) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, file), func(m map[string]any) { m[key] = v })
		}
	}
	modules := func(text string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, modulesFile), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	inModel := func(key string, v any) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, tokenizerFile), func(m map[string]any) { m["model"].(map[string]any)[key] = v })
		}
	}
	pooling := filepath.Join("1_Pooling", configFile)
	for name, tt := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string
	}{
		"a reranker":       {set(configFile, "architectures", []string{"BertForSequenceClassification"}), "BertModel"},
		"relative":         {set(configFile, "position_embedding_type", "relative_key"), "relative_key"},
		"another function": {set(configFile, "hidden_act", "relu"), "hidden_act is relu"},
		"a decoder":        {set(configFile, "is_decoder", true), "is_decoder is true"},
		"half a type":      {set(configFile, "type_vocab_size", 1.5), "type_vocab_size is 1.5"},
		"other types":      {set(configFile, "type_vocab_size", 3), "different models"},
		"two poolings":     {set(pooling, "pooling_mode_max_tokens", true), `["cls_token" "max_tokens"]`},
		"no pooling":       {set(pooling, "pooling_mode_cls_token", false), "the pooling is []"},
		"another pooling":  {set(pooling, "pooling_mode", "weightedmean"), "weightedmean"},
		"bare prompts":     {set(pooling, "include_prompt", false), "include_prompt is false"},
		"a layer behind":   {modules(`[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]`), `"Dense"`},
		"modules outside":  {modules(`[{"path": "../x", "type": "a.Pooling"}]`), "expected a folder within"},
		"odd modules":      {modules(`{}`), "modules.json"},
		"another normalizer": {set(tokenizerFile, "normalizer", map[string]any{"type": "Lowercase"}),
			"known: BertNormalizer"},
		"no normalizer": {set(tokenizerFile, "normalizer", nil), "known: BertNormalizer"},
		"another cut": {set(tokenizerFile, "pre_tokenizer", map[string]any{"type": "Whitespace"}),
			"known: BertPreTokenizer"},
		"another prefix":  {inModel("continuing_subword_prefix", "@@"), "WordPiece with ##"},
		"nothing unknown": {inModel("unk_token", "[X]"), `unk_token is "[X]"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, "bert")
			tt.change(t, dir)
			_, err := convert(dir, gguf.F32)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestRefusesNomic: of nomic-ai's encoders too.
func TestRefusesNomic(t *testing.T) {
	for setting, v := range map[string]any{"activation_function": "geglu", "n_positions": 2048, "prenorm": true,
		"rotary_emb_interleaved": true, "rotary_emb_scale_base": 512, "moe_every_n_layers": 2, "qkv_proj_bias": true,
		"rotary_emb_fraction": 0.5} {
		dir := copied(t, "nomic_bert")
		edit(t, filepath.Join(dir, configFile), func(m map[string]any) { m[setting] = v })
		want := fmt.Sprintf("%s is %v, which the graphs of nomic-bert lack", setting, v)
		if _, err := convert(dir, gguf.F32); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	dir := copied(t, "nomic_bert")
	if err := os.Remove(filepath.Join(dir, modulesFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := convert(dir, gguf.F32); err == nil || !strings.Contains(err.Error(), `"nomic-bert.pooling_type"`) {
		t.Errorf("no pooling: got %v", err)
	}
}

// TestWordPieces: the reading of WordPiece's definitions gives what Hugging Face's tokenizers gave, by each way of
// making words (scripts/record_hub.py).
func TestWordPieces(t *testing.T) {
	var theirs struct {
		Texts []string
		Ways  []struct {
			Normalizer map[string]any
			IDs        [][]int32
		}
	}
	if err := readJSON(recorded+"bert.words.json", maxConfig, &theirs); err != nil {
		t.Fatal(err)
	}
	for _, way := range theirs.Ways {
		dir := copied(t, "bert")
		edit(t, filepath.Join(dir, tokenizerFile), func(m map[string]any) { m["normalizer"] = way.Normalizer })
		f, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range theirs.Texts {
			if got, err := f.Tokenizer.Encode(text); err != nil || !slices.Equal(got, way.IDs[i]) {
				t.Errorf("%v: %q is %v (%v), want %v", way.Normalizer, text, got, err, way.IDs[i])
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBeyondF16: a number that the type does not hold is refused where it stands.
func TestBeyondF16(t *testing.T) {
	dir := copied(t, "gpt2")
	path := filepath.Join(dir, modelFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)-4:], []byte{0, 0, 0x80, 0x7f}) // +∞, the last number of wte
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := convert(dir, gguf.F32); err == nil || !strings.Contains(err.Error(), "is +Inf") {
		t.Errorf("got %v, want an error of an infinity", err)
	}
}

// FuzzTokenizer: no definition panics, and what is accepted encodes and is written.
func FuzzTokenizer(f *testing.F) {
	for _, name := range []string{"llama", "llama_spm", "bert", "xlmr"} {
		b, err := os.ReadFile(recorded + name + "/" + tokenizerFile)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a a"],"byte_fallback":true},
		"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"▁"},
		"added_tokens":[{"id":1,"content":"b"}]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, tokenizerFile), b, 0o666); err != nil {
			t.Fatal(err)
		}
		tok, err := readTokenizer(dir, &settings{values: map[string]any{"vocab_size": 400.0}})
		if err != nil {
			return
		}
		if _, err := tok.Encode("a b\n33 é"); err != nil {
			t.Fatal(err)
		}
		var w gguf.Writer
		if err := tok.Metadata(&w); err == nil {
			if _, err := w.Write(context.Background(), io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	})
}
