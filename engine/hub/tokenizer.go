package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
)

const (
	tokenizerFile       = "tokenizer.json"
	tokenizerConfigFile = "tokenizer_config.json"
	templateFile        = "chat_template.jinja"
	sentencePieceFile   = "tokenizer.model"
)

// GGUF's kinds of tokens (tokenizer.ggml.token_type).
const (
	tokenNormal  = 1
	tokenUnknown = 2
	tokenControl = 3
	tokenUser    = 4
	tokenUnused  = 5
	tokenByte    = 6
)

// A Tokenizer is one read from its definition.
type Tokenizer struct {
	path     string
	def      definition
	config   map[string]any // tokenizer_config.json
	model    settings       // config.json
	template string
	pieces   *vocabulary // of tokenizer.model, if there is one
	bare     bool        // there is no tokenizer.json: the converter then has no tokens by their names
	split    splitter
	tokens   []string          // by id
	rank     map[[2]string]int // of merges
	merges   []string
}

// readTokenizer reads and recognises a folder's tokenizer.
func readTokenizer(dir string, model *settings) (*Tokenizer, error) {
	t := &Tokenizer{path: filepath.Join(dir, tokenizerFile), model: *model}
	err := readJSON(filepath.Join(dir, tokenizerConfigFile), maxConfig, &t.config)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if t.template, err = readTemplate(dir, t.config); err != nil {
		return nil, err
	}
	missing := readJSON(t.path, maxTokenizer, &t.def)
	if missing != nil && !errors.Is(missing, fs.ErrNotExist) {
		return nil, missing
	}
	if ok, err := t.readFairseq(dir, missing == nil); ok || err != nil {
		return t, err
	}
	if missing == nil && !t.def.Model.ByteFallback { // whatever else lies there
		return t, t.read()
	}
	if t.pieces, err = readPieces(dir, t.config); err != nil {
		return nil, err
	}
	if missing != nil {
		if t.pieces == nil {
			return nil, fmt.Errorf("%s: there is no %s and no %s; a tokenizer of other files gets the former by "+
				"AutoTokenizer.from_pretrained(folder).save_pretrained(folder)", dir, tokenizerFile, sentencePieceFile)
		}
		t.path, t.bare = filepath.Join(dir, sentencePieceFile), true
		if t.def, err = t.pieces.definition(); err != nil {
			return nil, fmt.Errorf("%s: %w", t.path, err)
		}
	}
	return t, t.read()
}

// read makes a tokenizer of its definition and settings.
func (t *Tokenizer) read() error {
	for _, step := range []func() error{t.check, t.recognise, t.order, t.readMerges, t.agree} {
		if err := step(); err != nil {
			return fmt.Errorf("%s: %w", t.path, err)
		}
	}
	return nil
}

// agree wants the tokens of tokenizer.model to be those of the definition.
func (t *Tokenizer) agree() error {
	if t.pieces == nil {
		return nil
	}
	for id, token := range t.pieces.tokens[:min(len(t.pieces.tokens), len(t.tokens))] {
		if token != t.tokens[id] {
			return fmt.Errorf("token %d is %q, and in %s %q; remove the file that is not the model's", id, t.tokens[id],
				sentencePieceFile, token)
		}
	}
	return nil
}

// check refuses what GGUF has no place for.
func (t *Tokenizer) check() error {
	m := &t.def.Model
	set := func(s *string) bool { return s != nil && *s != "" }
	switch {
	case m.Type == "WordPiece" && m.Prefix != nil && *m.Prefix == piecePrefix, m.Type == unigramType:
	case m.Type != "BPE":
		return fmt.Errorf("the tokenizer's model is %q; only BPE, Unigram and WordPiece with %s are carried over",
			m.Type, piecePrefix)
	case m.Dropout != nil && *m.Dropout != 0, set(m.Prefix), set(m.Suffix):
		return errors.New("the tokenizer's model has dropout, a prefix or a suffix of words, which GGUF has not")
	}
	squeezes := m.Type == unigramType // blanks beside a token make no tokens anyway
	for _, a := range t.def.Added {
		if (a.LStrip || a.RStrip) && !squeezes || a.Single {
			return fmt.Errorf("the token %q takes the blanks beside it, or only whole words; GGUF has no such tokens",
				a.Content)
		}
	}
	return nil
}

// order gives every id its token.
func (t *Tokenizer) order() error {
	size := 0
	n, err := t.model.need("vocab_size")
	if err != nil {
		return err
	}
	if n < 1 || n > 1<<24 || n != float64(int(n)) {
		return fmt.Errorf("vocab_size is %g, expected 1 to %d", n, 1<<24)
	}
	size = int(n)
	t.tokens = make([]string, size)
	named := make([]bool, size)
	put := func(id int, token string) error {
		switch {
		case id < 0 || id >= size:
			return fmt.Errorf("token %q has id %d, and the model has %d tokens", token, id, size)
		case named[id] && t.tokens[id] != token:
			return fmt.Errorf("tokens %q and %q both have id %d", t.tokens[id], token, id)
		}
		t.tokens[id], named[id] = token, true
		return nil
	}
	var faults []error
	for token, id := range t.def.Model.Vocab {
		faults = append(faults, put(id, token))
	}
	for _, a := range t.def.Added {
		faults = append(faults, put(a.ID, a.Content))
	}
	for id, ok := range named {
		if !ok { // the model was given more rows than it has tokens
			t.tokens[id] = fmt.Sprintf("[PAD%d]", id)
		}
	}
	return errors.Join(faults...)
}

// readMerges reads "a b" or ["a", "b"].
func (t *Tokenizer) readMerges() error {
	t.rank = make(map[[2]string]int, len(t.def.Model.Merges))
	for i, raw := range t.def.Model.Merges {
		var pair [2]string
		var line string
		var list []string
		switch {
		case json.Unmarshal(raw, &line) == nil:
			a, b, ok := strings.Cut(line, " ")
			if !ok || strings.Contains(b, " ") {
				return fmt.Errorf("merge %d is %q, expected two tokens", i, line)
			}
			pair = [2]string{a, b}
		case json.Unmarshal(raw, &list) == nil && len(list) == 2:
			pair = [2]string{list[0], list[1]}
		default:
			return fmt.Errorf("merge %d is %s, expected two tokens", i, raw[:min(len(raw), 40)])
		}
		if _, ok := t.rank[pair]; !ok {
			t.rank[pair] = i
		}
		// GGUF parts the two by a space, so that one within is written as byte-level BPE writes it.
		t.merges = append(t.merges, strings.ReplaceAll(pair[0], " ", "Ġ")+" "+strings.ReplaceAll(pair[1], " ", "Ġ"))
	}
	return nil
}

// types gives each token's kind, as the converter does.
func (t *Tokenizer) types() []int32 {
	out := make([]int32, len(t.tokens))
	if t.pieces != nil {
		for id := range out {
			if out[id] = tokenUnused; id < len(t.pieces.kinds) {
				out[id] = int32(t.pieces.kinds[id])
			}
		}
		return out
	}
	for id, token := range t.tokens {
		out[id] = tokenNormal
		if _, ok := t.def.Model.Vocab[token]; !ok {
			out[id] = tokenUnused
		}
		if t.sentencePiece() && isByteToken(token) {
			out[id] = tokenByte
		}
	}
	for _, a := range t.def.Added {
		out[a.ID] = tokenUser
		if a.Special || looksSpecial(a.Content) {
			out[a.ID] = tokenControl
		}
	}
	if t.split.unigram != nil {
		out[*t.def.Model.UnkID] = tokenUnknown
	}
	return out
}

// looksSpecial finds tokens that models use to control, whether they are marked so or not.
func looksSpecial(s string) bool {
	between := func(a, b string) bool { return strings.HasPrefix(s, a) && strings.HasSuffix(s, b) }
	return slices.Contains([]string{"<pad>", "<mask>", "<2mass>", "[@BOS@]"}, s) || between("<|", "|>") ||
		between("<｜", "｜>") || between("<unused", ">")
}

func isByteToken(s string) bool {
	return len(s) == 6 && strings.HasPrefix(s, "<0x") && s[5] == '>' && strings.Trim(s[3:5], "0123456789ABCDEF") == ""
}

// Metadata writes the vocabulary.
func (t *Tokenizer) Metadata(w *gguf.Writer) error {
	if v, ok := t.config["add_prefix_space"].(bool); ok && t.model.values["model_type"] == "llama" {
		w.SetBool("tokenizer.ggml.add_space_prefix", v)
	}
	if t.split.unigram == nil {
		if err := t.model.tokenTypes(w); err != nil {
			return err
		}
	}
	w.SetString("tokenizer.ggml.model", t.split.model)
	w.SetString("tokenizer.ggml.pre", t.split.name)
	tokens, types := slices.Clone(t.tokens), t.types()
	for id, typ := range types {
		if typ == tokenUser {
			tokens[id] = strings.ReplaceAll(tokens[id], "▁", " ")
		}
	}
	if t.ByWords() {
		for id := range tokens {
			tokens[id] = phantom(tokens[id], types[id])
		}
	}
	w.SetStrings("tokenizer.ggml.tokens", tokens)
	if t.sentencePiece() || t.split.unigram != nil {
		w.Set("tokenizer.ggml.scores", gguf.NumbersValue(t.scores()))
	}
	w.Set("tokenizer.ggml.token_type", gguf.NumbersValue(types))
	if t.split.model == "gpt2" {
		w.SetStrings("tokenizer.ggml.merges", t.merges)
	}
	if t.sentencePiece() && !t.split.prefix {
		w.SetBool("tokenizer.ggml.add_space_prefix", false)
	}
	if err := t.unigramKeys(w); err != nil {
		return err
	}
	if err := t.special(w); err != nil {
		return err
	}
	if t.template != "" {
		w.SetString("tokenizer.chat_template", t.template)
	}
	if t.ByWords() && t.split.words.Lower != nil {
		w.SetBool("tokenizer.ggml.normalizer.lowercase", *t.split.words.Lower)
	}
	if t.ByWords() && t.split.words.Accents != nil {
		w.SetBool("tokenizer.ggml.normalizer.strip_accents", *t.split.words.Accents)
	}
	return nil
}

// scores are those of tokenizer.model. Where there is none they are such that llama.cpp, which knows pieces by scores,
// merges in the order of the merges: the earlier the first merge that makes a piece, the higher. Counted by pieces they
// are those that SentencePiece gave. The converter then writes -1000 for all, by which texts come apart in another way.
func (t *Tokenizer) scores() []float32 {
	out := make([]float32, len(t.tokens))
	if t.pieces != nil {
		for i := copy(out, t.pieces.scores); i < len(out); i++ {
			out[i] = scoreOfPadding
		}
		return out
	}
	if t.split.unigram != nil {
		for i := range out {
			out[i] = scoreOfPadding
		}
		for i, x := range t.def.Model.Scores {
			out[i] = float32(x)
		}
		return out
	}
	for i := range out {
		out[i] = -1e6 // no merge leads to it
	}
	first := map[int]int{} // of each piece, its first merge
	for pair, rank := range t.rank {
		if id, ok := t.def.Model.Vocab[pair[0]+pair[1]]; ok {
			if r, ok := first[id]; !ok || rank < r {
				first[id] = rank
			}
		}
	}
	pieces := slices.SortedFunc(maps.Keys(first), func(a, b int) int { return first[a] - first[b] })
	for i, id := range pieces {
		out[id] = -float32(i)
	}
	for _, a := range t.def.Added {
		out[a.ID] = 0
	}
	return out
}

// specialTokens are the roles that tokens have, with their key in GGUF.
var specialTokens = []struct{ name, key string }{
	{"bos", "bos"}, {"eos", "eos"}, {"unk", "unknown"}, {"sep", "seperator"}, {"pad", "padding"}, {"cls", "cls"},
	{"mask", "mask"},
}

// special writes which tokens have a role, and which stand before and behind a text.
func (t *Tokenizer) special(w *gguf.Writer) error {
	add, order, err := t.addSpecial()
	if err != nil {
		return err
	}
	added := map[string]int{}
	for _, a := range t.def.Added {
		if _, ok := added[a.Content]; !ok {
			added[a.Content] = a.ID
		}
	}
	ids := map[string]bool{}
	put := func(name, key string, id int) error {
		if id < 0 || id >= len(t.tokens) {
			return fmt.Errorf("%s: %s_token_id is %d, and the model has %d tokens", t.model.path, name, id,
				len(t.tokens))
		}
		if !ids[name] && name != "cls" { // which the converter has ceased to write: it is the BOS
			w.SetUint32("tokenizer.ggml."+key+"_token_id", uint32(id))
		}
		ids[name] = true
		return nil
	}
	var faults []error
	for _, s := range specialTokens {
		if id, ok := added[t.named(s.name)]; ok && !t.bare {
			faults = append(faults, put(s.name, s.key, id))
		}
	}
	for _, s := range specialTokens {
		if id, ok := t.model.values[s.name+"_token_id"].(float64); ok {
			faults = append(faults, put(s.name, s.key, int(id)))
		}
	}
	for _, s := range specialTokens {
		if v, ok := t.config["add_"+s.name+"_token"].(bool); ok && !slices.Contains(order, s.name) {
			add[s.name], order = v, append(order, s.name)
		}
	}
	for _, name := range order {
		w.SetBool("tokenizer.ggml.add_"+name+"_token", add[name])
	}
	return errors.Join(faults...)
}

// named gives the text of the token with a role, "" if there is none. What BERT has at both ends of a text has other
// names there.
func (t *Tokenizer) named(role string) string {
	s := ""
	switch v := t.config[role+"_token"].(type) {
	case string:
		s = v
	case map[string]any:
		s, _ = v["content"].(string)
	}
	switch {
	case s == "" && role == "bos":
		return t.named("cls")
	case s == "" && role == "eos":
		return t.named("sep")
	}
	return s
}

// A processor puts special tokens beside a text.
type processor struct {
	Type       string      `json:"type"`
	Processors []processor `json:"processors"`
	Single     []piece     `json:"single"`
	Pair       []piece     `json:"pair"`
}

type piece struct {
	Special  *struct{ ID string } `json:"SpecialToken"`
	Sequence *struct{ ID string } `json:"Sequence"`
}

// addSpecial reads from the post-processor which tokens stand before and behind a text, in the order in which the
// converter writes that.
func (t *Tokenizer) addSpecial() (add map[string]bool, order []string, err error) {
	add = map[string]bool{}
	set := func(name string, v, over bool) {
		if !slices.Contains(order, name) {
			order = append(order, name)
		} else if !over {
			return
		}
		add[name] = v
	}
	var post processor
	if len(t.def.Post) > 0 {
		if err := json.Unmarshal(t.def.Post, &post); err != nil {
			return nil, nil, fmt.Errorf("%s: post_processor: %w", t.path, err)
		}
	}
	list := post.Processors
	if post.Type != "Sequence" {
		list = []processor{post}
	}
	for _, p := range list {
		switch p.Type {
		case "":
		case "ByteLevel":
			set("bos", false, false)
			set("eos", false, false)
		case "TemplateProcessing":
			if err := t.around(p, set); err != nil {
				return nil, nil, err
			}
		default:
			return nil, nil, fmt.Errorf("%s: the post-processor %q is not known; known: ByteLevel, TemplateProcessing",
				t.path, p.Type)
		}
	}
	return add, order, nil
}

// around reads one template: at most BOS before a text and EOS behind it.
func (t *Tokenizer) around(p processor, set func(name string, v, over bool)) error {
	var names []string
	at := -1
	for i, one := range p.Single {
		if one.Sequence != nil {
			at = i
		} else if one.Special != nil {
			names = append(names, one.Special.ID)
		}
	}
	name := t.named
	before, behind := at == 1, at >= 0 && at == len(p.Single)-2
	if at < 0 || at > 1 || len(p.Single) > at+2 || len(names) != len(p.Single)-1 || before && names[0] != name("bos") ||
		behind && names[len(names)-1] != name("eos") {
		return fmt.Errorf("%s: the post-processor puts %q beside a text; expected at most the BOS (%q) before it and "+
			"the EOS (%q) behind it", t.path, names, name("bos"), name("eos"))
	}
	if before {
		set("bos", true, true)
	}
	if behind {
		set("eos", true, true)
	}
	if between := p.between(); len(between) > 0 {
		parts := func(s string) bool { return s == name("sep") || s == name("eos") }
		set("sep", !behind && parts(between[0]) || len(between) == 2 && parts(between[1]), true)
	}
	return nil
}

// between gives the special tokens between the texts of a pair.
func (p processor) between() (out []string) {
	a := slices.IndexFunc(p.Pair, func(one piece) bool { return one.Sequence != nil })
	if a < 0 {
		return nil
	}
	for _, one := range p.Pair[a+1:] {
		if one.Special == nil {
			break
		}
		out = append(out, one.Special.ID)
	}
	return out
}

// readTemplate gives the chat template: that of the settings, or a file of its own.
func readTemplate(dir string, config map[string]any) (string, error) {
	if own, err := templateOf(filepath.Join(dir, tokenizerConfigFile), config); own != "" || err != nil {
		return own, err
	}
	text, err := readText(filepath.Join(dir, templateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return text, err
}

// templateOf gives the chat template of the settings, "" if they have none.
func templateOf(path string, config map[string]any) (string, error) {
	switch v := config["chat_template"].(type) {
	case string:
		return v, nil
	case []any:
		return "", fmt.Errorf("%s: chat_template is a list of %d; one is carried over: leave one, as text", path,
			len(v))
	}
	return "", nil
}

// added lists the texts of added tokens, the longest first.
func (t *Tokenizer) added() []addedToken {
	list := slices.Clone(t.def.Added)
	slices.SortStableFunc(list, func(a, b addedToken) int { return len(b.Content) - len(a.Content) })
	return slices.DeleteFunc(list, func(a addedToken) bool { return a.Content == "" })
}

// ByWords says whether a text is cut into words, and these into pieces: WordPiece.
func (t *Tokenizer) ByWords() bool { return t.split.words != nil }

// ByScores says whether llama.cpp merges by scores, as SentencePiece does. It then has a rule of its own for blanks
// beside added tokens.
func (t *Tokenizer) ByScores() bool { return t.sentencePiece() }

// Control lists the texts of added tokens.
func (t *Tokenizer) Control() []string {
	var out []string
	for _, a := range t.added() {
		out = append(out, a.Content)
	}
	return out
}
