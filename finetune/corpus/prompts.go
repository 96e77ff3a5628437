package corpus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/regular"
)

// A Prompt is what the model is asked while it trains.
type Prompt struct {
	Text     string  // what is asked: of a conversation the last turn before the answer
	Input    string  // what the model reads: all of it, with control tokens
	Tokens   []int32 // the same
	Expected string  // the answer of the data, "" where there is none
	Source   string  // file:line, or "" for a text that was given as such
}

// heldPrompts is how many of the held-out examples are asked where the user names no prompts.
const heldPrompts = 4

// A text without a prompt is cut in two; its beginning is the prompt.
const (
	leastText = 8  // tokens: of a shorter one a half says nothing
	mostBegun = 32 // tokens
)

// prompts takes n prompts, each from another part of a dataset that was made from the examples of in, or all for 0.
func (r *Reader) prompts(in *input, d *encode.Dataset, n int) (out []Prompt, err error) {
	records := map[data.Source][]int{} // their examples
	for _, i := range in.all {
		records[in.ds.Source(i)] = append(records[in.ds.Source(i)], i)
	}
	if n == 0 {
		n = len(d.Items)
	}
	seen := map[string]bool{}
	for k := range n {
		part := d.Items[k*len(d.Items)/n : (k+1)*len(d.Items)/n]
		for i := range part {
			p, ok, err := r.prompt(&part[i])
			if err != nil {
				return nil, err
			}
			if !ok || seen[p.Input] {
				continue
			}
			seen[p.Input] = true
			if p.Text, err = turn(in, records, part[i].Source, &p); err != nil {
				return nil, err
			}
			out = append(out, p)
			break
		}
	}
	return out, nil
}

// prompt is what stands in an item before the first answer that counts; ok is false where nothing does.
func (r *Reader) prompt(it *encode.Item) (p Prompt, ok bool, err error) {
	// Of a tree the first child is the better answer of a pair, or the one that is judged.
	tokens, counted := path(it)
	first := slices.Index(counted, true)
	if first < 0 {
		return p, false, nil
	}
	end := first
	for end < len(counted) && counted[end] {
		end++
	}
	// The token of a text's beginning is no prompt: where nothing else is given, a part of the text is.
	if first == 0 || first == 1 && tokens[0] == r.text.vocab.BOS() || r.all {
		if end < leastText {
			return p, false, nil
		}
		first = min(end/2, mostBegun)
	}
	p = Prompt{Tokens: tokens[:first], Source: it.Source.String()}
	if p.Input, err = r.text.vocab.Decode(p.Tokens, true); err != nil {
		return p, false, err
	}
	if p.Text, err = r.text.vocab.Decode(p.Tokens, false); err != nil {
		return p, false, err
	}
	judged := r.how.Need == method.Verdicts || r.how.Need == method.Labels
	if !judged || it.Label == 1 { // nobody wants an undesirable one
		p.Expected, err = r.text.vocab.Decode(tokens[first:min(end, first+r.cfg.SampleTokens)], false)
	}
	return p, true, err
}

// path gives the tokens from an item's root to its first leaf, and which of them count.
func path(it *encode.Item) (tokens []int32, counted []bool) {
	tokens, counted = slices.Clone(it.Segment(0)), slices.Clone(it.SegmentCounted(0))
	if len(it.Segments) > 1 && it.Segments[1].Parent == 0 {
		tokens, counted = append(tokens, it.Segment(1)...), append(counted, it.SegmentCounted(1)...)
	}
	return tokens, counted
}

// turn is what asks for the answer behind p in the example from src: of a conversation its last turn there. Where that
// cannot be told it is p's own text.
func turn(in *input, records map[data.Source][]int, src data.Source, p *Prompt) (text string, err error) {
	text = p.Text
	record := src
	record.Sub = 0
	for _, i := range records[record] {
		x, err := in.ds.At(i)
		if err != nil {
			return "", err
		}
		if x.Source != src {
			continue
		}
		if len(x.Messages) == 0 && x.Prompt != "" {
			return x.Prompt, nil
		}
		for _, m := range x.Messages {
			said := strings.TrimSpace(m.Content)
			if said != "" && m.Role != data.System && strings.Contains(p.Input, said) {
				text = said
			}
		}
		break
	}
	return text, nil
}

// mostPrompts bounds a list of prompts, bytes: of a longer one no more than the first few would ever be asked.
const mostPrompts = 1 << 20

// Asked reads what the user wants to ask: texts, files of one a line, files of examples. It is called after Read: where
// the data needed a chat template, a text is a user's turn.
func (r *Reader) Asked(ctx context.Context, given []string) (out []Prompt, err error) {
	for _, s := range given {
		some, err := r.askedBy(ctx, s)
		if err != nil {
			return nil, &config.Error{Err: fmt.Errorf("--sample-prompts: %w", err)}
		}
		out = append(out, some...)
	}
	return out, nil
}

func (r *Reader) askedBy(ctx context.Context, given string) ([]Prompt, error) {
	switch _, err := os.Stat(given); {
	case err == nil && !ofLines(given):
		var notes []string
		var out []Prompt
		_, err := r.whole(ctx, []string{given}, &notes, func(in *input, d *encode.Dataset) (err error) {
			out, err = r.prompts(in, d, 0)
			return err
		})
		return out, err
	case err == nil:
		return r.lines(given)
	case errors.Is(err, fs.ErrNotExist) && named(given):
		return nil, fmt.Errorf("there is no file %s; a text of one word is asked from a file with a line for it", given)
	}
	p, err := r.ask(given)
	return []Prompt{p}, err
}

// ofLines says that a file holds a prompt on each line; others hold examples.
func ofLines(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".txt", ".text", ".md", "":
		return true
	}
	return false
}

// named says that a text is more likely the name of a file: one word with an ending, or with a slash.
func named(s string) bool {
	return !strings.ContainsAny(s, " \t\n") && (len(filepath.Ext(s)) > 1 || strings.ContainsRune(s, filepath.Separator))
}

func (r *Reader) lines(path string) (out []Prompt, err error) {
	b, err := regular.Read(path, mostPrompts)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("%s is not UTF-8 text; convert it", path)
	}
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(string(b), "\ufeff")) {
		n++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		p, err := r.ask(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		p.Source = fmt.Sprintf("%s:%d", path, n)
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no line with a prompt", path)
	}
	return out, nil
}

// ask makes a prompt of a text.
func (r *Reader) ask(text string) (p Prompt, err error) {
	p.Text = text
	if t := r.text.tmpl; t != nil {
		conv := template.Conversation{Messages: []template.Message{{Role: string(data.User), Content: text}},
			BOS: r.text.bos, EOS: r.text.eos}
		said, err := t.RenderPrompt(conv, template.Options{DropReasoning: true})
		if err != nil {
			return p, err
		}
		p.Tokens, err = r.text.enc.Prompt(said)
		if err != nil {
			return p, err
		}
	} else if p.Tokens, err = encode.Raw(r.text.vocab, text); err != nil {
		return p, err
	}
	if len(p.Tokens) == 0 {
		return p, fmt.Errorf("%q gives the model nothing to read", text)
	}
	p.Input, err = r.text.vocab.Decode(p.Tokens, true)
	return p, err
}
