package rate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/finetune/data"
)

// An Item is a prompt from a file, with its answers if they were prepared.
type Item struct {
	Prompt  Prompt
	Answers []Answer // nil: it has none yet
	Source  string   // file:line
}

// PromptOptions say how prompts are read.
type PromptOptions struct {
	Raw    bool   // texts are literal; otherwise a text is a user's turn
	System string // put before conversations that have no system message; not with Raw
	Limit  int    // at most so many prompts; 0: all
	Fresh  bool   // answers in the files are left aside: all is answered anew
}

// Prompts are what files hold.
type Prompts struct {
	Items   []Item
	Dropped []data.Drop // examples without a prompt that can be answered, by reason
}

// ReadPrompts reads the prompts of data files, as data.WantPrompts has them; a line of plain text is one. Rows with
// "answers" are pairs ready to be rated. A prompt that comes again is left out and counted.
func ReadPrompts(ctx context.Context, paths []string, o PromptOptions) (Prompts, error) {
	r := promptReader{o: o, seen: map[string]bool{}}
	for _, path := range paths { // each may have a format of its own
		if err := r.read(ctx, path); err != nil {
			return Prompts{}, err
		}
	}
	if len(r.out.Items) == 0 {
		var why []string
		for _, d := range r.out.Dropped {
			why = append(why, fmt.Sprintf("%d with %s", d.Count, d.Reason))
		}
		return Prompts{},
			fmt.Errorf("%s: no prompt to answer is left (%s)", strings.Join(paths, ", "), strings.Join(why, ", "))
	}
	return r.out, nil
}

type promptReader struct {
	o    PromptOptions
	out  Prompts
	seen map[string]bool
}

func (r *promptReader) full() bool { return r.o.Limit > 0 && len(r.out.Items) >= r.o.Limit }

func (r *promptReader) drop(reason, source string) {
	const firstDrops = 5 // as data.Stats has them
	for i := range r.out.Dropped {
		if d := &r.out.Dropped[i]; d.Reason == reason {
			d.Count++
			if len(d.First) < firstDrops {
				d.First = append(d.First, source)
			}
			return
		}
	}
	r.out.Dropped = append(r.out.Dropped, data.Drop{Reason: reason, Count: 1, First: []string{source}})
}

// add takes an item up if it can be answered and is new.
func (r *promptReader) add(it Item) error {
	if r.o.Fresh {
		it.Answers = nil
	}
	p := &it.Prompt
	switch {
	case r.o.Raw && p.Messages != nil:
		return fmt.Errorf("%s: the prompt is a conversation, and --raw takes literal text; leave out --raw", it.Source)
	case !r.o.Raw && p.Messages == nil && it.Answers == nil:
		p.Messages = []Message{{Role: "user", Content: p.Text}}
		p.Text = ""
	}
	if it.Answers == nil && p.Messages != nil && r.o.System != "" && p.Messages[0].Role != "system" {
		p.Messages = append([]Message{{Role: "system", Content: r.o.System}}, p.Messages...)
	}
	for i, a := range it.Answers {
		if slices.ContainsFunc(it.Answers[:i], func(b Answer) bool { return a.Text == b.Text }) {
			r.drop("two equal answers", it.Source)
			return nil
		}
	}
	id := pairID(it.Prompt, it.Answers)
	if r.seen[id] {
		r.drop("a prompt that came before", it.Source)
		return nil
	}
	r.seen[id] = true
	r.out.Items = append(r.out.Items, it)
	return nil
}

// read reads a file's prompts.
func (r *promptReader) read(ctx context.Context, path string) error {
	d, err := data.Open(ctx, []string{path}, data.Options{Want: data.WantPrompts})
	if err != nil {
		return err
	}
	defer d.Close()
	r.out.Dropped = append(r.out.Dropped, d.Stats().Dropped...)
	prepared := d.Format() == data.Prompts.Name || d.Format() == data.Rated.Name
	for i := 0; i < d.Len() && !r.full(); i++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		it, why, err := fromExample(d, i, prepared)
		if err != nil {
			return err
		}
		if why != "" {
			r.drop(why, it.Source)
			continue
		}
		if err := r.add(it); err != nil {
			return err
		}
	}
	return nil
}

// fromExample takes a prompt, with its answers if they may be prepared and are, or says why it is not asked.
func fromExample(d *data.Dataset, i int, prepared bool) (it Item, why string, err error) {
	x, err := d.At(i)
	if err != nil {
		return it, "", err
	}
	it.Source = x.Source.String()
	if prepared {
		row, err := d.Row(i)
		if err != nil {
			return it, "", err
		}
		if _, ok := row["answers"]; ok {
			line, err := json.Marshal(row)
			if err != nil {
				return it, "", fmt.Errorf("%s: %w", it.Source, err)
			}
			record, err := parseRecord(line)
			if err != nil {
				return it, "", fmt.Errorf("%s: %w", it.Source, err)
			}
			it.Prompt, it.Answers = record.Prompt, record.Answers
			return it, "", nil
		}
	}
	it.Prompt.Text = x.Prompt
	if len(x.Tools) > 0 {
		return it, "tools", nil
	}
	for _, m := range x.Messages {
		if len(m.ToolCalls) > 0 || m.Role == data.Tool {
			return it, "tool calls", nil
		}
		it.Prompt.Messages = append(it.Prompt.Messages, Message{Role: string(m.Role), Content: m.Content})
	}
	return it, "", nil
}
