package rate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/internal/regular"
)

// An Item is a prompt from a file, with its two answers if they were prepared.
type Item struct {
	Prompt  Prompt
	Answers *[2]Answer
	Source  string // file:line
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

// maxLine is the longest line of a file of prompts, bytes: as for training data.
const maxLine = 64 << 20

// ReadPrompts reads the prompts of data files: the prompt part of each example of training data, a line of plain text,
// or rows with a "prompt" (or "messages" that end with the user) and nothing that answers it. Rows with two "answers"
// are pairs ready to be rated. A prompt that comes again is left out and counted.
func ReadPrompts(ctx context.Context, paths []string, o PromptOptions) (Prompts, error) {
	r := promptReader{o: o, seen: map[string]bool{}}
	for _, path := range paths {
		bare, err := bareRows(path)
		if err != nil {
			return Prompts{}, err
		}
		if bare {
			err = r.rows(ctx, path)
		} else {
			err = r.examples(ctx, path)
		}
		if err != nil {
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
	if p.blank() {
		r.drop("an empty prompt", it.Source)
		return nil
	}
	if it.Answers != nil && it.Answers[0].Text == it.Answers[1].Text {
		r.drop("two equal answers", it.Source)
		return nil
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

// blank says that there is nothing to answer.
func (p *Prompt) blank() bool {
	if p.Messages == nil {
		return strings.TrimSpace(p.Text) == ""
	}
	return strings.TrimSpace(p.Messages[len(p.Messages)-1].Content) == ""
}

// answerFields mark rows that hold a prompt's answer: data.Open knows their formats.
var answerFields = []string{"completion", "chosen", "rejected", "response", "label"}

// bareRows says whether a file is JSON lines whose rows hold prompts and no training examples, by its first row.
func bareRows(path string) (bool, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return false, nil // data.Open reads those
	}
	f, err := regular.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b := bufio.NewReader(io.LimitReader(f, maxLine))
	for {
		line, err := b.ReadBytes('\n')
		line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")))
		if len(line) > 0 || err != nil {
			var row map[string]json.RawMessage
			if json.Unmarshal(line, &row) != nil {
				return false, nil
			}
			return isBare(row), nil
		}
	}
}

func isBare(row map[string]json.RawMessage) bool {
	if _, ok := row["prompt"]; ok {
		_, pair := row["answers"]
		return pair || !slices.ContainsFunc(answerFields, func(name string) bool { _, ok := row[name]; return ok })
	}
	var m []Message
	return json.Unmarshal(row["messages"], &m) == nil && len(m) > 0 && m[len(m)-1].Role == "user"
}

// rows reads JSON lines with prompts.
func (r *promptReader) rows(ctx context.Context, path string) error {
	f, err := regular.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, maxLine)
	for n := 1; sc.Scan() && !r.full(); n++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		line := bytes.TrimSpace(bytes.TrimPrefix(sc.Bytes(), []byte("\xef\xbb\xbf")))
		if len(line) == 0 {
			continue
		}
		it := Item{Source: fmt.Sprintf("%s:%d", path, n)}
		if err := it.parse(line); err != nil {
			return fmt.Errorf("%s: %w", it.Source, err)
		}
		if err := r.add(it); err != nil {
			return err
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("%s: reading prompts: %w", path, err)
	}
	return nil
}

// parse reads a row.
func (it *Item) parse(line []byte) error {
	if !utf8.Valid(line) {
		return errors.New("the line is not UTF-8; convert the file")
	}
	var row map[string]json.RawMessage
	if err := json.Unmarshal(line, &row); err != nil {
		return fmt.Errorf("not a JSON object: %v", err)
	}
	if _, ok := row["answers"]; ok {
		r, err := parseRecord(line)
		it.Prompt, it.Answers = r.Prompt, &r.Answers
		return err
	}
	text, ok := row["prompt"]
	if !ok {
		text, ok = row["messages"]
	}
	if !ok {
		return errors.New("the row has neither \"prompt\" nor \"messages\", as the first row has")
	}
	return it.Prompt.UnmarshalJSON(text)
}

// examples reads the prompts of training data.
func (r *promptReader) examples(ctx context.Context, path string) error {
	d, err := openExamples(ctx, path)
	if err != nil {
		return err
	}
	defer d.Close()
	for i := 0; i < d.Len() && !r.full(); i++ {
		x, err := d.At(i)
		if err != nil {
			return err
		}
		it, why := fromExample(&x)
		if why != "" {
			r.drop(why, x.Source.String())
			continue
		}
		if err := r.add(it); err != nil {
			return err
		}
	}
	r.out.Dropped = append(r.out.Dropped, d.Stats().Dropped...)
	return nil
}

// openExamples opens training data of any method, or a table whose only known column is "prompt".
func openExamples(ctx context.Context, path string) (*data.Dataset, error) {
	var first error
	for _, o := range []data.Options{
		{Split: "line"}, {Want: data.WantPairs}, {Want: data.WantVerdicts},
		{Format: "text", Columns: map[string]string{"text": "prompt"}},
	} {
		d, err := data.Open(ctx, []string{path}, o)
		if err == nil {
			return d, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// fromExample takes the prompt of a training example, or says why there is none.
func fromExample(x *data.Example) (it Item, why string) {
	it.Source = x.Source.String()
	messages := x.Messages
	switch x.Kind {
	case data.KindText:
		it.Prompt.Text = strings.TrimRight(x.Text, "\r\n")
		return it, ""
	case data.KindCompletion:
		it.Prompt.Text = x.Prompt
		return it, ""
	case data.KindPair, data.KindVerdict:
		if messages == nil {
			it.Prompt.Text = x.Prompt
			return it, ""
		}
	case data.KindMessages:
		for len(messages) > 0 && messages[len(messages)-1].Role != data.Assistant {
			messages = messages[:len(messages)-1]
		}
		if len(messages) > 0 {
			messages = messages[:len(messages)-1]
		}
	}
	if len(messages) == 0 {
		return it, "no prompt before the answer"
	}
	if len(x.Tools) > 0 {
		return it, "tools"
	}
	for _, m := range messages {
		if len(m.ToolCalls) > 0 || m.Role == data.Tool {
			return it, "tool calls"
		}
		it.Prompt.Messages = append(it.Prompt.Messages, Message{Role: string(m.Role), Content: m.Content})
	}
	return it, ""
}
