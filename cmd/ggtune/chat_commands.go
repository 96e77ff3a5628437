package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/ggtune/ggtune/finetune/generate"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/regular"
)

// A talkCommand is what a line may ask for in place of an answer.
type talkCommand struct {
	name     string
	argument string // what follows the name; "" where nothing may
	about    string
	do       func(t *talk, argument string) error
}

func talkCommands() []talkCommand {
	return []talkCommand{
		{"/base", "", "switch the adapter off", func(t *talk, _ string) error { return t.use(generate.Base) }},
		{"/adapter", "", "switch the adapter on again", func(t *talk, _ string) error { return t.use(0) }},
		{"/again", "", "answer the last message anew", (*talk).again},
		{"/system", "TEXT", "the system message from now on; without TEXT, none", (*talk).setSystem},
		{"/reset", "", "forget the conversation, but for the system message", (*talk).reset},
		{"/save", "FILE", "add the conversation to FILE, in JSONL as `ggtune train -d FILE` reads it", (*talk).save},
		{"/help", "", "list these commands", (*talk).help},
		{"/quit", "", "end; so does the end of the input", func(*talk, string) error { return errQuit }},
	}
}

// talkHelp is a line for each command.
func talkHelp() string {
	var b strings.Builder
	for _, c := range talkCommands() {
		fmt.Fprintf(&b, "  %-13s %s\n", strings.TrimSpace(c.name+" "+c.argument), c.about)
	}
	return b.String()
}

// command does what a line that begins with a slash asks.
func (t *talk) command(line string) error {
	name, argument, _ := strings.Cut(line, " ")
	var known []string
	for _, c := range talkCommands() {
		if c.name != name {
			known = append(known, c.name)
			continue
		}
		if argument = strings.TrimSpace(argument); argument != "" && c.argument == "" {
			t.say("%s takes nothing beside it, found %q", name, argument)
			return nil
		}
		return c.do(t, argument)
	}
	t.say("unknown command %s; known: %s; a message that begins with a slash needs a space before it",
		name, strings.Join(known, ", "))
	return nil
}

// say answers a command: on standard error, where no program mistakes it for the model's words.
func (t *talk) say(format string, args ...any) { fmt.Fprintf(t.c.App.ErrWriter, format+"\n", args...) }

func (t *talk) use(adapter int) error {
	a := t.c.String("adapter")
	if a == "" {
		t.say("there is no adapter; start with -a adapter.gguf")
		return nil
	}
	if err := t.g.Use(adapter); err != nil {
		return err
	}
	if adapter == generate.Base {
		t.say("the base alone answers; /again answers the last message anew, /adapter switches the adapter on")
	} else {
		t.say("the base answers with %s; /again answers the last message anew", a)
	}
	return nil
}

// again answers the last message once more, with another draw.
func (t *talk) again(string) error {
	last := len(t.messages) - 2
	if last < 0 {
		t.say("there is no message to answer yet")
		return nil
	}
	before := t.messages
	t.messages = before[:last:last]
	t.sampling.Seed++
	err := t.answer(before[last].Content)
	if len(t.messages) == last { // there was no answer: the earlier one stays
		t.messages = before
	}
	return err
}

// setSystem changes the system message. A template may have no place for one: that is found now, not with the next
// message.
func (t *talk) setSystem(text string) error {
	probe := append(t.messages[:len(t.messages):len(t.messages)], template.Message{Role: "user", Content: "?"})
	if _, err := t.chat.Prompt(t.conversation(text, probe)); err != nil {
		return t.told(err, "; the system message stays as it was")
	}
	t.system = text
	if text == "" {
		t.say("there is no system message")
	} else {
		t.say("the system message is: %s", text)
	}
	return nil
}

func (t *talk) reset(string) error {
	t.messages = nil
	t.saved = saved{}
	t.say("the conversation is forgotten")
	return nil
}

func (t *talk) help(string) error {
	fmt.Fprint(t.c.App.ErrWriter, talkHelp())
	return nil
}

// saved is where the conversation was written last, and as which line.
type saved struct {
	path string
	line []byte
}

// save adds the conversation to a file of conversations, or puts it in the place of the shorter one that it was when
// it was last added there. The file has all of it or is as it was.
func (t *talk) save(path string) error {
	if path == "" {
		t.say("/save needs the name of a file, such as /save talks.jsonl")
		return nil
	}
	line, unfinished, err := t.asLine()
	if err != nil {
		return err
	}
	if line == nil {
		t.say("there is no answer to save yet")
		return nil
	}
	text, rows, err := conversations(path)
	if err != nil {
		return t.told(err, "")
	}
	if t.saved.path == path && bytes.HasSuffix(text, t.saved.line) {
		text, rows = text[:len(text)-len(t.saved.line)], rows-1
	}
	if err := atomicfile.WriteFile(nil, path, append(text, line...), 0o666); err != nil {
		return t.told(err, "")
	}
	t.saved = saved{path, line}
	note := ""
	if unfinished > 0 {
		note = fmt.Sprintf("; %s not ended by the model, and marked so that no training learns from it (weight 0)",
			count.Of(unfinished, "answer"))
	}
	t.say("saved: %s holds %s%s", path, count.Of(rows+1, "conversation"), note)
	return nil
}

// A savedMessage is one in the format "messages" of training data.
type savedMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
	Weight  *int   `json:"weight,omitempty"` // 0: not trained on
}

// asLine is the conversation as a row of training data; nil where nothing was answered.
func (t *talk) asLine() (line []byte, unfinished int, err error) {
	if len(t.messages) == 0 {
		return nil, 0, nil
	}
	var row struct {
		Messages []savedMessage `json:"messages"`
	}
	for _, m := range t.conversation(t.system, t.messages) {
		s := savedMessage{Role: m.Role, Content: m.Content}
		if m.Train != nil && !*m.Train {
			s.Weight = new(int)
			unfinished++
		}
		row.Messages = append(row.Messages, s)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err = enc.Encode(row)
	return b.Bytes(), unfinished, err
}

// conversations reads a file that conversations are added to, which need not exist; it ends with a line's end. A file
// of anything else is refused: its owner has mistaken the name.
func conversations(path string) (text []byte, rows int, err error) {
	text, err = regular.Read(path, maxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	for i, line := range bytes.Split(text, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var row struct {
			Messages []json.RawMessage `json:"messages"`
		}
		if err := json.Unmarshal(line, &row); err != nil || row.Messages == nil {
			return nil, 0, fmt.Errorf("%s:%d: no conversation, expected a JSON object with \"messages\"; "+
				"nothing is added to it: name another file", path, i+1)
		}
		rows++
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return text, rows, nil
}
