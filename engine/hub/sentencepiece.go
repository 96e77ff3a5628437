package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ggtune/ggtune/internal/regular"
)

const addedTokensFile = "added_tokens.json"

// Fields of SentencePiece's ModelProto (sentencepiece_model.proto); of its pieces, trainer_spec and normalizer_spec.
const (
	modelPieces, modelTrainer, modelNormalizer    = 1, 2, 3
	pieceText, pieceScore, pieceKind              = 1, 2, 3
	trainerType, trainerSuffix                    = 3, 24
	normalizerMap, normalizerPrefix, normalizerRW = 2, 3, 4
	trainedUnigram, trainedBPE                    = 1, 2
	scoreOfAdded, scoreOfPadding                  = -1000, -10000 // as the converter has them
)

// readPieces reads a folder's tokenizer.model, nil if there is none, with the tokens that other files add to it.
func readPieces(dir string, config map[string]any) (*vocabulary, error) {
	path := filepath.Join(dir, sentencePieceFile)
	b, err := regular.Read(path, maxTokenizer)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := parsePieces(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, v.addFrom(dir, config)
}

// A trained is what a model of SentencePiece's says of itself.
type trained struct {
	vocabulary
	kind             uint64 // trainer_spec's model_type
	suffix, squeezes bool
	charsmap         []byte
}

// parsePieces reads a model of SentencePiece's that is a BPE, and refuses what llama.cpp does otherwise.
func parsePieces(b []byte) (*vocabulary, error) {
	m, err := parseTrained(b)
	if err != nil {
		return nil, err
	}
	var faults []error
	if len(m.charsmap) > 0 {
		faults = append(faults, errors.New("characters are replaced (precompiled_charsmap)"))
	}
	if m.squeezes {
		faults = append(faults, errors.New("blanks are squeezed (remove_extra_whitespaces)"))
	}
	if m.kind != trainedBPE {
		faults = append(faults, errors.New("it is no BPE (model_type)"))
	}
	m.split.every = m.split.prefix
	return &m.vocabulary, m.refuse(faults)
}

// refuse is the error of what llama.cpp does otherwise.
func (m *trained) refuse(faults []error) error {
	if m.suffix {
		faults = append(faults, errors.New("blanks belong to the word before (treat_whitespace_as_suffix)"))
	}
	for id, kind := range m.kinds {
		if kind < tokenNormal || kind > tokenByte {
			faults = append(faults, fmt.Errorf("piece %d is of kind %d, unknown", id, kind))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("llama.cpp would read texts otherwise: %w", errors.Join(faults...))
}

// parseTrained reads a model of SentencePiece's, of any kind.
func parseTrained(b []byte) (*trained, error) {
	m := &trained{kind: trainedUnigram, squeezes: true} // where it is not said
	m.split = splitter{model: "llama", name: "default", prefix: true}
	err := eachField(b, func(n protowire.Number, _ uint64, part []byte) error {
		switch n {
		case modelPieces:
			return m.piece(part)
		case modelTrainer:
			return eachField(part, func(n protowire.Number, x uint64, _ []byte) error {
				if n == trainerType {
					m.kind = x
				} else if n == trainerSuffix {
					m.suffix = x != 0
				}
				return nil
			})
		case modelNormalizer:
			return eachField(part, func(n protowire.Number, x uint64, part []byte) error {
				switch n {
				case normalizerMap:
					m.charsmap = part
				case normalizerPrefix:
					m.split.prefix = x != 0
				case normalizerRW:
					m.squeezes = x != 0
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && len(m.tokens) == 0 {
		err = errors.New("it has no pieces; is it SentencePiece's?")
	}
	return m, err
}

// piece reads one of the pieces.
func (m *trained) piece(b []byte) error {
	text, score, kind := "", float32(0), uint64(tokenNormal)
	err := eachField(b, func(n protowire.Number, x uint64, part []byte) error {
		switch n {
		case pieceText:
			text = string(part)
		case pieceScore:
			score = math.Float32frombits(uint32(x))
		case pieceKind:
			kind = min(x, math.MaxInt64)
		}
		return nil
	})
	m.tokens, m.scores, m.kinds = append(m.tokens, text), append(m.scores, score), append(m.kinds, int64(kind))
	return err
}

// eachField calls f with each field of a message: a number, or the bytes of text and messages.
func eachField(b []byte, f func(n protowire.Number, x uint64, part []byte) error) error {
	for len(b) > 0 {
		n, typ, used := protowire.ConsumeTag(b)
		if used < 0 {
			return fmt.Errorf("it is no model of SentencePiece's: %w", protowire.ParseError(used))
		}
		b = b[used:]
		var x uint64
		var part []byte
		switch typ {
		case protowire.VarintType:
			x, used = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var bits uint32
			bits, used = protowire.ConsumeFixed32(b)
			x = uint64(bits)
		case protowire.BytesType:
			part, used = protowire.ConsumeBytes(b)
		default:
			used = protowire.ConsumeFieldValue(n, typ, b)
		}
		if used < 0 {
			return fmt.Errorf("it is no model of SentencePiece's: %w", protowire.ParseError(used))
		}
		if err := f(n, x, part); err != nil {
			return err
		}
		b = b[used:]
	}
	return nil
}

// addFrom adds the tokens of added_tokens.json, and those of the settings, which say whether they are special.
func (v *vocabulary) addFrom(dir string, config map[string]any) error {
	path := filepath.Join(dir, addedTokensFile)
	var list map[string]int
	if err := readJSON(path, maxConfig, &list); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, token := range slices.Sorted(maps.Keys(list)) {
		if err := v.put(list[token], token, tokenUser); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	decoder, _ := config["added_tokens_decoder"].(map[string]any)
	path = filepath.Join(dir, tokenizerConfigFile)
	for key, one := range decoder {
		id, err := strconv.Atoi(key)
		token, _ := one.(map[string]any)
		content, ok := token["content"].(string)
		if err != nil || !ok {
			return fmt.Errorf("%s: added_tokens_decoder has %q: %v, expected an id and a token with its content", path,
				key, one)
		}
		kind := int64(tokenUser)
		if special, _ := token["special"].(bool); special || looksSpecial(content) {
			kind = tokenControl
		}
		if err := v.put(id, content, kind); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// maxTokens bounds ids that files name.
const maxTokens = 1 << 24

func (v *vocabulary) put(id int, token string, kind int64) error {
	if id < 0 || id >= maxTokens {
		return fmt.Errorf("token %q has id %d, expected 0 to %d", token, id, maxTokens-1)
	}
	for len(v.tokens) <= id {
		v.tokens = append(v.tokens, fmt.Sprintf("[PAD%d]", len(v.tokens)))
		v.scores, v.kinds = append(v.scores, scoreOfPadding), append(v.kinds, tokenUnused)
	}
	v.tokens[id], v.kinds[id], v.scores[id] = token, kind, scoreOfAdded
	return nil
}

// definition makes of a vocabulary of pieces what tokenizer.json would say.
func (v *vocabulary) definition() (d definition, err error) {
	d.Model.Type, d.Model.ByteFallback, d.Model.Vocab = "BPE", true, map[string]int{}
	seen := map[string]int{}
	for id, token := range v.tokens {
		if first, ok := seen[token]; ok {
			return d, fmt.Errorf("pieces %d and %d are both %q", first, id, token)
		}
		seen[token] = id
		switch {
		case v.added(id):
			d.Added = append(d.Added, addedToken{ID: id, Content: token, Special: v.kinds[id] != tokenUser})
		case !v.padding(id):
			d.Model.Vocab[token] = id
		}
	}
	merges, err := v.mergesOfScores()
	if err != nil {
		return d, err
	}
	for _, m := range merges {
		text, err := json.Marshal(strings.SplitN(m, " ", 2))
		if err != nil {
			return d, err
		}
		d.Model.Merges = append(d.Model.Merges, text)
	}
	normal, _, _ := v.split.parts()
	d.Normalizer, err = json.Marshal(normal)
	return d, err
}
