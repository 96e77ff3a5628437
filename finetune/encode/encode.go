package encode

import (
	"crypto/sha256"
	"fmt"
	"sort"
	"strings"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/template"
)

// An Item is one example as tokens: a run, or a tree of runs that share their beginnings.
type Item struct {
	Source data.Source
	Tokens []int32
	// Counted has one for each token; never true for the first of a root segment, which nothing predicts. Of texts of
	// which vectors are made all count.
	Counted []bool
	// Segments is the tree, as engine.Row has it. An ordinary example is one root.
	Segments []engine.Segment
	// Since is as engine.Row has it; nil where no adapter waits for an invocation, or there is none.
	Since []int
	// Label is the example's own verdict where its method needs one (KTO: 1 desirable, 0 not), or score.
	Label float64
	// Pairs say which of a tree's answers is better than which, of methods over pairs.
	Pairs []Pair
	// Prompt tells the prompts of answers with scores apart, where their method reads one at the answer's end.
	Prompt [sha256.Size]byte
	// Whole says that it is a text, or part of one, of which every token counts that is predicted at all.
	Whole bool
	// Margins are, of groups of texts, by how much a teacher scores the second segment above each behind it; nil: the
	// data does not say it.
	Margins []float64
	// Other are, of each segment, the tokens of its text as another model reads it; nil: none is asked about it.
	Other [][]int32
	// Long is, of texts that were cut to the longest that is read, how many tokens the longest had; 0: none was cut.
	Long int
	// Straddling are tokens across a border between what is given and what is written: who gives a model what is
	// given, and no more, never brings it to that border. Of a tree they are not known.
	Straddling []int32
	// Control counts the texts of control tokens in literal text that were read as those tokens; of a text in several
	// items it stands in the first.
	Control map[int32]int
}

// NumCounted is the number of tokens whose log-probability is asked for.
func (it *Item) NumCounted() int {
	n := 0
	for _, c := range it.Counted {
		if c {
			n++
		}
	}
	return n
}

// numTrained is how many of them have a loss that counts, for a method of that need.
func (it *Item) numTrained(need method.Need) int {
	n := 0
	for child, s := range it.Segments {
		for _, c := range it.Counted[s.Start : s.Start+s.Len] {
			if c && need.Trains(child) {
				n++
			}
		}
	}
	return n
}

// Depth is the most tokens from a root to a leaf: how many positions the item takes. Trees have one level of children.
func (it *Item) Depth() int {
	most := 0
	for _, s := range it.Segments {
		n := s.Len
		if s.Parent >= 0 {
			n += it.Segments[s.Parent].Len
		}
		most = max(most, n)
	}
	return most
}

// single makes an Item of one root.
func single(src data.Source, tokens []int32, counted []bool) Item {
	if len(counted) > 0 {
		counted[0] = false
	}
	return Item{Source: src, Tokens: tokens, Counted: counted,
		Segments: []engine.Segment{{Start: 0, Len: len(tokens), Parent: -1}}}
}

// Conversation encodes a rendered conversation. A token counts if any byte of its text is trained on: a token that
// straddles the border of a span must be predicted to write the trained part.
//
// The text of a control token becomes that token only where the template wrote all of it: what the data wrote is text,
// whatever it spells, and so is what only comes about across the border of data and template.
//
// There is one BOS: the template's, or, where the template writes none and the model expects one, an added one. Where
// the template writes no end of turn after the last trained turn, one is added, and trained.
func (e *Encoder) Conversation(src data.Source, r *template.Rendering) (Item, error) {
	spelt, marks, err := e.rendered(r)
	if err != nil {
		return Item{}, fmt.Errorf("%s: %w", src, err)
	}
	tokens := make([]int32, 0, len(spelt)+2)
	counted := make([]bool, 0, len(spelt)+2)
	bos := e.tok.BOS()
	if e.tok.AddBOS() && bos >= 0 && (len(spelt) == 0 || spelt[0].id != bos) {
		tokens, counted = append(tokens, bos), append(counted, false)
	}
	if len(spelt) > 1 && bos >= 0 && spelt[0].id == bos && spelt[1].id == bos {
		return Item{}, fmt.Errorf("%s: the chat template writes the beginning-of-text token %q twice; name another "+
			"template with --template", src, e.Piece(bos))
	}
	var straddling []int32
	for _, s := range spelt {
		tokens = append(tokens, s.id)
		counts := contains(marks[s.start:s.end], trained)
		counted = append(counted, counts)
		if counts && marks[s.start]&trained == 0 {
			straddling = append(straddling, s.id)
		}
	}
	if !r.EndsTurn && endsTrained(r.Spans) {
		if end := e.endOfTurn(); end >= 0 {
			tokens, counted = append(tokens, end), append(counted, true)
		}
	}
	it := single(src, tokens, counted)
	it.Straddling = straddling
	return it, nil
}

// rendered spells a rendered conversation, and gives the marks of its bytes.
func (e *Encoder) rendered(r *template.Rendering) (spelt []spelled, marks []uint8, err error) {
	text := r.Text()
	marks = markBytes(r, len(text))
	pieces, err := e.partition(text, func(start, end int) bool { return !contains(marks[start:end], fromData) })
	if err != nil {
		return nil, nil, err
	}
	spelt, err = e.spell(text, pieces)
	return spelt, marks, err
}

// The marks of a byte of rendered text.
const (
	trained  = 1 << iota // its span is trained on
	fromData             // the data wrote it
)

func markBytes(r *template.Rendering, n int) []uint8 {
	marks := make([]uint8, 0, n)
	for _, s := range r.Spans {
		var m uint8
		if s.Train {
			m = trained
		}
		for range len(s.Text) {
			marks = append(marks, m)
		}
	}
	for _, d := range r.Data {
		for i := max(d[0], 0); i < min(d[1], n); i++ {
			marks[i] |= fromData
		}
	}
	return marks
}

func contains(marks []uint8, bit uint8) bool {
	for _, m := range marks {
		if m&bit != 0 {
			return true
		}
	}
	return false
}

func endsTrained(spans []template.Span) bool {
	return len(spans) > 0 && spans[len(spans)-1].Train
}

// endOfTurn is the token that ends an answer: the end of turn, else the end of text, else -1.
func (e *Encoder) endOfTurn() int32 {
	if t := e.tok.EOT(); t >= 0 {
		return t
	}
	return e.tok.EOS()
}

// literal encodes literal text. The texts of control tokens become those tokens, unless the Encoder reads them as
// plain text; control counts them.
func (e *Encoder) literal(text string) (spelt []spelled, control map[int32]int, err error) {
	if text == "" {
		return nil, nil, nil
	}
	pieces := []piece{{0, len(text), -1}}
	if !e.Plain {
		if pieces, err = e.partition(text, func(int, int) bool { return true }); err != nil {
			return nil, nil, err
		}
	}
	for _, p := range pieces {
		if p.id >= 0 {
			if control == nil {
				control = map[int32]int{}
			}
			control[p.id]++
		}
	}
	spelt, err = e.spell(text, pieces)
	return spelt, control, err
}

// begins says whether a text itself begins with the beginning-of-text token.
func (e *Encoder) begins(spelt []spelled) bool { return len(spelt) > 0 && spelt[0].id == e.tok.BOS() }

// ends says whether a text itself ends with a token that ends a text or a turn, white space aside.
func (e *Encoder) ends(spelt []spelled) bool {
	for i := len(spelt) - 1; i >= 0; i-- {
		if piece := e.pieces[spelt[i].id]; piece == "" || strings.TrimSpace(piece) != "" {
			return e.tok.IsEOG(spelt[i].id)
		}
	}
	return false
}

// Completion encodes a literal prompt and its completion as one text, BOS first if the model expects it, the end of
// text last, unless the text has them. The completion's tokens and the end of text count; so does a token that
// straddles the border.
func (e *Encoder) Completion(src data.Source, prompt, completion string) (Item, error) {
	spelt, control, err := e.literal(prompt + completion)
	if err != nil {
		return Item{}, fmt.Errorf("%s: %w", src, err)
	}
	// As large as they become: rows stay in memory for the whole run.
	tokens := make([]int32, 0, len(spelt)+2)
	counted := make([]bool, 0, len(spelt)+2)
	if bos := e.tok.BOS(); e.tok.AddBOS() && bos >= 0 && !e.begins(spelt) {
		tokens, counted = append(tokens, bos), append(counted, false)
	}
	var straddling []int32
	for _, s := range spelt {
		tokens = append(tokens, s.id)
		counted = append(counted, s.end > len(prompt))
		if s.start < len(prompt) && s.end > len(prompt) {
			straddling = append(straddling, s.id)
		}
	}
	if eos := e.tok.EOS(); eos >= 0 && completion != "" && !e.ends(spelt) {
		tokens, counted = append(tokens, eos), append(counted, true)
	}
	it := single(src, tokens, counted)
	it.Straddling, it.Control = straddling, control
	return it, nil
}

// A Part says that a text is not a whole document: it continues one, or is continued.
type Part struct{ Continues, Continued bool }

// Text encodes a document of literal text, every token counted, with the end of text behind it unless it has one, and
// cuts it into items of at most window tokens. Every token but the document's first is counted once: a later item
// begins with BOS, where the model expects it, and with the last token of the item before, which there does not
// count.
func (e *Encoder) Text(src data.Source, text string, part Part, window int) ([]Item, error) {
	spelt, control, err := e.literal(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", src, err)
	}
	var doc []int32
	bos := e.tok.BOS()
	withBOS := e.tok.AddBOS() && bos >= 0
	if withBOS && !e.begins(spelt) {
		doc = append(doc, bos)
	}
	for _, s := range spelt {
		doc = append(doc, s.id)
	}
	if eos := e.tok.EOS(); eos >= 0 && len(spelt) > 0 && !part.Continued && !e.ends(spelt) {
		doc = append(doc, eos)
	}
	// A later item needs BOS, the token before and one of its own.
	if window < 3 && len(doc) > window {
		return nil, fmt.Errorf("%s: a row of %d tokens is too short to cut text into; give at least 3", src, window)
	}
	var items []Item
	for at := 0; at < len(doc); {
		var tokens []int32
		lead := 1 // tokens at the front that do not count
		if at == 0 && withBOS && part.Continues {
			lead = 2 // what comes before the part's first token is not known
		}
		if at > 0 {
			if withBOS {
				tokens = append(tokens, bos)
				lead = 2
			}
			tokens = append(tokens, doc[at-1])
		}
		n := min(window-len(tokens), len(doc)-at)
		tokens = append(tokens, doc[at:at+n]...)
		at += n
		counted := make([]bool, len(tokens))
		for i := lead; i < len(counted); i++ {
			counted[i] = true
		}
		items = append(items, single(src, tokens, counted))
	}
	if len(items) > 0 {
		items[0].Control = control
	}
	return items, nil
}

// Prompt encodes a rendered conversation without marks, for generation.
func (e *Encoder) Prompt(r *template.Rendering) ([]int32, error) {
	open := *r
	open.EndsTurn = true // nothing is added behind a prompt
	it, err := e.Conversation(data.Source{File: "prompt", Line: 1}, &open)
	return it.Tokens, err
}

// After gives the tokens of a rendered conversation from a byte on: what a model that has written all before it is
// given next. Where a token would reach over that byte, what follows is encoded by itself.
func (e *Encoder) After(r *template.Rendering, from int) ([]int32, error) {
	spelt, marks, err := e.rendered(r)
	if err != nil {
		return nil, err
	}
	first := sort.Search(len(spelt), func(i int) bool { return spelt[i].end > from })
	if first < len(spelt) && spelt[first].start < from {
		text := r.Text()[from:]
		pieces, err := e.partition(text, func(start, end int) bool {
			return !contains(marks[from+start:from+end], fromData)
		})
		if err != nil {
			return nil, err
		}
		if spelt, err = e.spell(text, pieces); err != nil {
			return nil, err
		}
		first = 0
	}
	tokens := make([]int32, 0, len(spelt)-first)
	for _, s := range spelt[first:] {
		tokens = append(tokens, s.id)
	}
	return tokens, nil
}
