package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ggtune/ggtune/engine/gguf"
)

// A vocabulary is what a GGUF file has of its tokenizer.
type vocabulary struct {
	tokens []string
	kinds  []int64
	scores []float32
	merges []string
	split  splitter
	tail   int // from here on ids are those of added tokens, to which tokenizers gives the next one each
	end    int // from here on there are only rows of the embedding without a token
}

// Keys of the vocabulary.
const (
	keyTokens = "tokenizer.ggml.tokens"
	keyKinds  = "tokenizer.ggml.token_type"
)

func (m *Model) readVocabulary() (*vocabulary, error) {
	v := &vocabulary{}
	var err error
	if v.split, err = m.splitter(); err != nil {
		return nil, err
	}
	if v.tokens, err = m.file.Strings(keyTokens); err != nil {
		return nil, err
	}
	v.kinds = slices.Repeat([]int64{tokenNormal}, len(v.tokens))
	if m.file.Has(keyKinds) {
		if v.kinds, err = m.file.Ints(keyKinds); err != nil {
			return nil, err
		}
	}
	for _, s := range specialTokens {
		if key := "tokenizer.ggml." + s.key + "_token_id"; m.file.Has(key) {
			if _, err := m.file.Int(key); err != nil {
				return nil, err
			}
		}
	}
	key := "tokenizer.ggml.merges"
	if v.split.model == "llama" {
		key = "tokenizer.ggml.scores"
		v.scores, err = m.file.Floats(key)
	} else {
		v.merges, err = m.file.Strings(key)
	}
	if err != nil {
		return nil, err
	}
	if len(v.kinds) != len(v.tokens) || v.scores != nil && len(v.scores) != len(v.tokens) {
		return nil, fmt.Errorf("%s: %s has %d elements, %s %d, and the vocabulary %d tokens", m.file.Path(), keyKinds,
			len(v.kinds), key, len(v.scores), len(v.tokens))
	}
	seen := map[string]int{}
	for id, token := range v.tokens {
		if !utf8.ValidString(token) {
			return nil, fmt.Errorf("%s: token %d, %q, is not UTF-8, which tokenizer.json is", m.file.Path(), id, token)
		}
		if first, ok := seen[token]; ok {
			return nil, fmt.Errorf("%s: tokens %d and %d are both %q, which tokenizer.json cannot say", m.file.Path(),
				first, id, token)
		}
		seen[token] = id
	}
	for v.end = len(v.tokens); v.end > 0 && v.padding(v.end-1); v.end-- {
	}
	for v.tail = v.end; v.tail > 0 && v.added(v.tail-1); v.tail-- {
	}
	return v, nil
}

// padding says whether a token is the converter's name for a row without one.
func (v *vocabulary) padding(id int) bool {
	return v.kinds[id] == tokenUnused && v.tokens[id] == fmt.Sprintf("[PAD%d]", id)
}

// added says whether a token is one of added_tokens: found in a text as it is.
func (v *vocabulary) added(id int) bool { return addedKind(v.kinds[id]) }

func addedKind(kind int64) bool {
	return kind == tokenUnknown || kind == tokenControl || kind == tokenUser
}

// splitter finds the definition of what the file names.
func (m *Model) splitter() (splitter, error) {
	model, err := m.file.String("tokenizer.ggml.model")
	if err != nil {
		return splitter{}, err
	}
	var known []string
	switch model {
	case "llama":
		prefix, err := m.file.BoolOr("tokenizer.ggml.add_space_prefix", true)
		return splitter{model: model, name: "default", prefix: prefix, every: prefix}, err
	case "gpt2":
		name, err := m.file.StringOr("tokenizer.ggml.pre", "")
		for _, s := range splitters {
			if s.name == name {
				s.model = model
				return s, err
			}
			known = append(known, s.name)
		}
		return splitter{}, errors.Join(err, fmt.Errorf("%s: the tokenizer cannot be carried over: the pre-tokenizer "+
			"%q is not one whose definition is known here; known: %s", m.file.Path(), name, strings.Join(known, ", ")))
	}
	return splitter{}, fmt.Errorf("%s: the tokenizer cannot be carried over: it is of llama.cpp's kind %q; known: "+
		"gpt2, llama", m.file.Path(), model)
}

// makeTokenizer makes tokenizer.json, in tokenizers' order, and tokenizer_config.json.
func (m *Model) makeTokenizer(r Reading) (object, map[string]any, error) {
	v, err := m.readVocabulary()
	if err != nil {
		return nil, nil, err
	}
	config := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false,
		"model_max_length": m.net.NCtxTrain}
	for _, s := range specialTokens {
		if id, ok := m.role(s.name, r); ok && int(id) < len(v.tokens) && v.added(int(id)) {
			config[s.name+"_token"] = v.tokens[id]
		}
	}
	post, err := m.post(v, r, config)
	if err != nil {
		return nil, nil, err
	}
	model, err := v.model(config)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", m.file.Path(), err)
	}
	normal, pre, decoder := v.split.parts()
	definition := object{{"version", "1.0"}, {"truncation", nil}, {"padding", nil}, {"added_tokens", v.addedTokens()},
		{"normalizer", normal}, {"pre_tokenizer", pre}, {"post_processor", post}, {"decoder", decoder},
		{"model", model}}
	template, err := m.file.StringOr("tokenizer.chat_template", "")
	if template != "" {
		config["chat_template"] = template
	}
	if key := "tokenizer.ggml.add_space_prefix"; err == nil && m.file.Has(key) && m.net.Hub().ModelType == "llama" {
		config["add_prefix_space"], err = m.file.Bool(key)
	}
	return definition, config, err
}

// role gives the token with a role.
func (m *Model) role(name string, r Reading) (int64, bool) {
	for _, s := range specialTokens {
		if s.name == name {
			if id, err := m.file.Int("tokenizer.ggml." + s.key + "_token_id"); err == nil {
				return id, id >= 0
			}
		}
	}
	id := int32(-1)
	model, err := m.file.String("tokenizer.ggml.model")
	usual := err == nil && model == "llama" // for byte-level BPE llama.cpp has usual ids that mean nothing
	switch {
	case name == "bos" && (usual || r.AddBOS):
		id = r.BOS
	case name == "eos" && (usual || r.AddEOS):
		id = r.EOS
	case name == "unk" && usual:
		id = r.UNK
	}
	return int64(id), id >= 0
}

// addedTokens lists those that a text is searched for.
func (v *vocabulary) addedTokens() []object {
	out := []object{}
	for id, token := range v.tokens {
		if v.added(id) {
			out = append(out, object{{"id", id}, {"content", token}, {"single_word", false}, {"lstrip", false},
				{"rstrip", false}, {"normalized", false}, {"special", v.kinds[id] != tokenUser}})
		}
	}
	return out
}

// model is the BPE. A merge whose result is no token is nothing that tokenizers loads.
func (v *vocabulary) model(config map[string]any) (object, error) {
	vocab := object{}
	known := map[string]bool{}
	for id, token := range v.tokens[:v.tail] {
		vocab = append(vocab, field{token, id})
		known[token] = true
	}
	spm := v.split.model == "llama"
	merges := v.merges
	if spm {
		var err error
		if merges, err = v.mergesOfScores(); err != nil {
			return nil, err
		}
	}
	for _, m := range merges {
		a, b, ok := strings.Cut(m, " ")
		if !ok || !known[a] || !known[b] || !known[a+b] {
			return nil, fmt.Errorf("the tokenizer cannot be carried over exactly: the merge %q is not one of tokens "+
				"to a token", m)
		}
	}
	var unk any
	if spm && config["unk_token"] != nil {
		unk = config["unk_token"]
	}
	return object{{"type", "BPE"}, {"dropout", nil}, {"unk_token", unk}, {"continuing_subword_prefix", nil},
		{"end_of_word_suffix", nil}, {"fuse_unk", spm}, {"byte_fallback", spm},
		{"ignore_merges", v.split.name == "llama-bpe"}, {"vocab", vocab}, {"merges", merges}}, nil
}

// parts are the definition of how a text is cut, as tokenizer.json has it.
func (s splitter) parts() (normal, pre, decoder any) {
	if s.model == "llama" {
		blanks := func(from, to string) object {
			return object{{"type", "Replace"}, {"pattern", object{{"String", from}}}, {"content", to}}
		}
		list := []object{blanks(" ", "▁")}
		back := []object{blanks("▁", " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}}
		if s.prefix {
			list = append([]object{{{"type", "Prepend"}, {"prepend", "▁"}}}, list...)
			back = append(back, object{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}})
		}
		return sequence("normalizers", list), nil, sequence("decoders", back)
	}
	var list []object
	whole := false
	for i, cut := range s.cuts {
		switch {
		case cut == gpt2Cut && i == len(s.cuts)-1:
			whole = true
		case cut == digitCut:
			list = append(list, object{{"type", "Digits"}, {"individual_digits", true}})
		default:
			list = append(list, object{{"type", "Split"}, {"pattern", object{{"Regex", cut}}},
				{"behavior", "Isolated"}, {"invert", false}})
		}
	}
	if s.normal != "" {
		normal = object{{"type", s.normal}}
	}
	return normal, sequence("pretokenizers", append(list, byteLevel(false, true, whole))), byteLevel(true, true, true)
}

func byteLevel(prefix, trim, regex bool) object {
	return object{{"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"trim_offsets", trim}, {"use_regex", regex}}
}

// sequence is several parts as one.
func sequence(name string, list []object) object {
	if len(list) == 1 {
		return list[0]
	}
	return object{{"type", "Sequence"}, {name, list}}
}

// post puts BOS and EOS beside a text, and says in the settings what the converter reads there.
func (m *Model) post(v *vocabulary, r Reading, config map[string]any) (any, error) {
	sep, err := m.file.BoolOr("tokenizer.ggml.add_sep_token", false)
	if err != nil {
		return nil, err
	}
	if sep {
		return nil, fmt.Errorf("%s: the tokenizer puts a separator between two texts, which is not carried over",
			m.file.Path())
	}
	var list []object
	spm := v.split.model == "llama"
	if !spm {
		list = append(list, byteLevel(true, false, true))
	}
	if r.AddBOS || r.AddEOS {
		around, err := m.around(v, r)
		if err != nil {
			return nil, err
		}
		list = append(list, around)
	}
	var post any
	if len(list) > 0 {
		post = sequence("processors", list)
	}
	text, err := json.Marshal(post)
	if err != nil {
		return nil, err
	}
	back := &Tokenizer{config: config, def: definition{Post: text}}
	_, order, err := back.addSpecial()
	for _, name := range []string{"bos", "eos"} {
		if m.file.Has("tokenizer.ggml.add_"+name+"_token") && !slices.Contains(order, name) {
			config["add_"+name+"_token"] = map[string]bool{"bos": r.AddBOS, "eos": r.AddEOS}[name]
		}
	}
	return post, err
}

// around is the template of BOS before and EOS behind a text.
func (m *Model) around(v *vocabulary, r Reading) (object, error) {
	special := object{}
	var one, two []object
	put := func(name string) error {
		id, ok := m.role(name, r)
		if !ok || int(id) >= len(v.tokens) || !v.added(int(id)) {
			return fmt.Errorf("%s: the %s (id %d) is put beside each text and is an ordinary token; the tokenizer "+
				"cannot be carried over", m.file.Path(), strings.ToUpper(name), id)
		}
		text := v.tokens[id]
		one = append(one, object{{"SpecialToken", object{{"id", text}, {"type_id", 0}}}})
		two = append(two, object{{"SpecialToken", object{{"id", text}, {"type_id", 1}}}})
		if !slices.ContainsFunc(special, func(f field) bool { return f.name == text }) {
			special = append(special, field{text, object{{"id", text}, {"ids", []int64{id}},
				{"tokens", []string{text}}}})
		}
		return nil
	}
	if r.AddBOS {
		if err := put("bos"); err != nil {
			return nil, err
		}
	}
	one = append(one, object{{"Sequence", object{{"id", "A"}, {"type_id", 0}}}})
	two = append(two, object{{"Sequence", object{{"id", "B"}, {"type_id", 1}}}})
	if r.AddEOS {
		if err := put("eos"); err != nil {
			return nil, err
		}
	}
	return object{{"type", "TemplateProcessing"}, {"single", one}, {"pair", slices.Concat(one, two)},
		{"special_tokens", special}}, nil
}

// sameKinds says whether two lists of kinds are alike in what is added to the vocabulary, and what is not: that is all
// that tokenizer.json says beside whether a token is special.
func sameKinds(kv gguf.KV, back gguf.Value) bool {
	a, ok1 := kv.Value.Any().([]int32)
	b, ok2 := back.Any().([]int32)
	if kv.Key != keyKinds || !ok1 || !ok2 {
		return false
	}
	return slices.EqualFunc(a, b, func(x, y int32) bool { return addedKind(int64(x)) == addedKind(int64(y)) })
}
