package hub

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/ggtune/ggtune/internal/regular"
)

// fairseqFile is SentencePiece's model as XLM-RoBERTa has it.
const fairseqFile = "sentencepiece.bpe.model"

// fairseqTokens are those that fairseq has in place of SentencePiece's first three; behind all others stands
// fairseqMask.
var fairseqTokens = []string{"<s>", "<pad>", "</s>", "<unk>"}

const fairseqMask = "<mask>"

// fairseqRoles are the tokens' roles (transformers' XLMRobertaTokenizer).
var fairseqRoles = map[string]string{"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>",
	"pad": "<pad>", "mask": fairseqMask}

// readFairseq reads a tokenizer that is a Unigram: tokenizer.json or, where it is not there, SentencePiece's model as
// fairseq has it; of a folder with both the tokens must be the same. ok says that it is one.
func (t *Tokenizer) readFairseq(dir string, defined bool) (ok bool, err error) {
	if defined && t.def.Model.Type != unigramType {
		return false, nil
	}
	if defined {
		if err := t.read(); err != nil {
			return true, err
		}
	}
	path := filepath.Join(dir, fairseqFile)
	b, err := regular.Read(path, maxTokenizer)
	if errors.Is(err, fs.ErrNotExist) {
		return defined, nil
	}
	if err != nil {
		return true, err
	}
	d, err := fairseqDefinition(b)
	if err != nil {
		return true, fmt.Errorf("%s: %w", path, err)
	}
	if defined {
		return true, t.same(path, &d)
	}
	if t.config == nil {
		t.config = map[string]any{}
	}
	for role, token := range fairseqRoles {
		if t.named(role) == "" {
			t.config[role+"_token"] = token
		}
	}
	t.path, t.def = path, d
	return true, t.read()
}

// same wants the tokens of another definition to be those of this one.
func (t *Tokenizer) same(path string, d *definition) error {
	for token, id := range d.Model.Vocab {
		if id >= len(t.tokens) || t.tokens[id] != token {
			return fmt.Errorf("%s: it has the token %q as number %d, and %s has not; remove the file that is not the "+
				"model's", path, token, id, t.path)
		}
	}
	return nil
}

// fairseqDefinition makes of SentencePiece's model what transformers' tokenizer.json would say.
func fairseqDefinition(b []byte) (d definition, err error) {
	m, err := parseTrained(b)
	if err != nil {
		return d, err
	}
	var faults []error
	if m.kind != trainedUnigram {
		faults = append(faults, errors.New("it is no Unigram (model_type)"))
	}
	if !m.squeezes || !m.split.prefix {
		faults = append(faults, errors.New("blanks are kept (remove_extra_whitespaces), or words begin without one "+
			"(add_dummy_prefix)"))
	}
	if len(m.tokens) < 4 || !slices.Equal(m.kinds[:3], []int64{tokenUnknown, tokenControl, tokenControl}) ||
		slices.ContainsFunc(m.kinds[3:], func(kind int64) bool { return kind != tokenNormal }) {
		faults = append(faults, errors.New("its pieces are not an unknown one, two of control, and ordinary ones"))
	}
	if err := m.refuse(faults); err != nil {
		return d, err
	}
	d.Model = tokenModel{Type: unigramType, Vocab: map[string]int{}, UnkID: new(int)}
	put := func(token string, score float32, special bool) {
		if first, ok := d.Model.Vocab[token]; ok || score-score != 0 {
			err = fmt.Errorf("token %d is %q, as token %d, or its score %v no number", len(d.Model.Scores), token,
				first, score)
		}
		if special {
			d.Added = append(d.Added, addedToken{ID: len(d.Model.Scores), Content: token, Special: true})
		}
		d.Model.Vocab[token] = len(d.Model.Scores)
		d.Model.Scores = append(d.Model.Scores, float64(score))
	}
	for _, token := range fairseqTokens {
		put(token, 0, true)
	}
	for i := 3; i < len(m.tokens); i++ {
		put(m.tokens[i], m.scores[i], false)
	}
	put(fairseqMask, 0, true)
	*d.Model.UnkID = d.Model.Vocab["<unk>"]
	special := func(token string) object { return object{{"SpecialToken", object{{"id", token}}}} }
	text := func(id string) object { return object{{"Sequence", object{{"id", id}}}} }
	for _, part := range []struct {
		to *json.RawMessage
		is object
	}{
		{&d.Normalizer, object{{"type", "Precompiled"},
			{"precompiled_charsmap", base64.StdEncoding.EncodeToString(m.charsmap)}}},
		{&d.Pre, object{{"type", "Sequence"}, {"pretokenizers", []object{{{"type", "WhitespaceSplit"}},
			{{"type", "Metaspace"}, {"replacement", blank}, {"prepend_scheme", "always"}}}}}},
		{&d.Post, object{{"type", "TemplateProcessing"},
			{"single", []object{special("<s>"), text("A"), special("</s>")}},
			{"pair", []object{special("<s>"), text("A"), special("</s>"), special("</s>"), text("B"),
				special("</s>")}}}},
	} {
		b, fault := json.Marshal(part.is)
		*part.to, err = b, errors.Join(err, fault)
	}
	return d, err
}
