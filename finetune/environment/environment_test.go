//go:build unix

package environment

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/finetune/data"
)

func number(x float64) *float64 { return &x }

// TestParse: what a program may say, and what it may not.
func TestParse(t *testing.T) {
	first, later, last := &Question{}, &Question{Turn: 1}, &Question{Turn: 2, Over: Length}
	user := func(text string) []Message { return []Message{{Role: data.User, Content: text}} }
	for _, c := range []struct {
		q    *Question
		line string
		want Reply
		bad  string
	}{
		{q: first, line: `{}`},
		{q: first, line: ` {"message": "Guess."} `, want: Reply{Messages: user("Guess.")}},
		{q: first, line: `{"message": null, "info": [1]}`},
		{q: first, line: `{"done": true}`, bad: "before the model has said anything"},
		{q: first, line: `{"reward": 1}`, bad: "before the model has said anything"},
		{q: later, line: `{"message": "higher"}`, want: Reply{Messages: user("higher")}},
		{q: later,
			line: `{"message": {"role": "tool", "content": "", "name": "add", "tool_call_id": "x"}, "reward": 0.5}`,
			want: Reply{Messages: []Message{{Role: data.Tool, Name: "add", ToolCallID: "x"}}, Reward: number(0.5)}},
		{q: later, line: `{"message": [{"role": "tool", "content": "4"}, {"content": "Now?"}]}`,
			want: Reply{Messages: []Message{{Role: data.Tool, Content: "4"}, {Role: data.User, Content: "Now?"}}}},
		{q: later, line: `{"done": true, "reward": -1, "message": "Wrong."}`,
			want: Reply{Done: true, Reward: number(-1), Messages: user("Wrong.")}},
		{q: last, line: `{"reward": 0}`, want: Reply{Reward: number(0)}},
		{q: last, line: `{}`},
		{q: later, line: `{"reward": 1}`, bad: `goes on with a "message", or ends with "done": true`},
		{q: later, line: `{"done": false}`, bad: `goes on with a "message"`},
		{q: later, line: `{"message": []}`, bad: `goes on with a "message"`},
		{q: later, line: ``, bad: "expected a JSON object"},
		{q: later, line: `higher`, bad: "expected a JSON object"},
		{q: later, line: `1`, bad: "expected a JSON object"},
		{q: later, line: `{"mesage": "higher"}`, bad: `unknown field "mesage"`},
		{q: later, line: `{"message": "higher"} {}`, bad: "something stands behind the object"},
		{q: later, line: `{"message": "higher"`, bad: "malformed JSON"},
		{q: later, line: `{"done": true, "reward": NaN}`, bad: "a reward is a finite number"},
		{q: later, line: `{"done": true, "reward": -Infinity}`, bad: "a reward is a finite number"},
		{q: later, line: `{"done": true, "reward": 1e999}`, bad: `"reward" is a number 1e999`},
		{q: later, line: `{"done": true, "reward": "1"}`, bad: `"reward" is a string`},
		{q: later, line: `{"done": 1}`, bad: `"done" is a number`},
		{q: later, line: `{"message": 7}`, bad: "neither a text nor an object"},
		{q: later, line: `{"message": [7]}`, bad: `expected "role" and "content"`},
		{q: later, line: `{"message": {"text": "x"}}`, bad: `unknown field "text"`},
		{q: later, line: `{"message": {"role": "assistant", "content": "x"}}`, bad: "is the model's"},
		{q: later, line: `{"message": {"role": "pirate", "content": "x"}}`, bad: `role "pirate"`},
	} {
		got, err := parse(c.q, c.line)
		if c.bad != "" {
			if err == nil || !strings.Contains(err.Error(), c.bad) {
				t.Errorf("%s: got %v, want %s", c.line, err, c.bad)
			}
			continue
		}
		if err != nil || !cmp.Equal(got, c.want) {
			t.Errorf("%s: got %+v, %v; want %+v", c.line, got, err, c.want)
		}
	}
}

// TestAsk: a program is told all that was said, and how many questions are still to come.
func TestAsk(t *testing.T) {
	told := filepath.Join(t.TempDir(), "told")
	e, err := Open(Config{Command: `tee ` + told + ` | sed -u 's/.*/{"message": "on"}/'`})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	two := 2
	replies, err := e.Ask(t.Context(), []Question{{Source: "d:1", Group: "g", Seed: 5,
		Messages: []Message{{Role: data.User, Content: "a & é"}}, Exchange: []Message{},
		Row: map[string]json.RawMessage{"x": json.RawMessage(`{"y": 1}`)}}, {Group: "g", Sample: &two, Turn: 1,
		Answer: "7", Tokens: 2, Ended: true, Over: Turns, Exchange: []Message{{Role: data.Assistant, Content: "7"}}}})
	if err != nil || len(replies) != 2 || replies[1].Messages[0].Content != "on" {
		t.Fatalf("%+v, %v", replies, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(told)
	want := `{"group":"g","sample":null,"seed":5,"turn":0,"answer":"","tokens":0,"ended":false,"over":"",` +
		`"messages":[{"role":"user","content":"a & é"}],"exchange":[],"row":{"x":{"y":1}},"left":1}` + "\n" +
		`{"group":"g","sample":2,"seed":0,"turn":1,"answer":"7","tokens":2,"ended":true,"over":"turns",` +
		`"messages":null,"exchange":[{"role":"assistant","content":"7"}],"row":null,"left":0}` + "\n"
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

// TestMisbehaves: whatever a program does, the account says what, of which turn, and how to mend it.
func TestMisbehaves(t *testing.T) {
	for _, c := range []struct {
		name, command string
		wants         []string
		noted         bool // it was tried twice
	}{
		{"hangs", "sleep 600", []string{"printed 0 of 2 lines in 300ms", "--env-timeout"}, true},
		{"dies", "read x; echo out of cheese >&2; exit 3", []string{"(exit status 3) after 0 of 2 lines",
			"out of cheese"}, true},
		{"is missing", "/no/such/game", []string{"not found"}, false},
		{"talks", "echo hello; cat", []string{
			`printed "hello\n" in line 1 of 2, for d.jsonl:3 at the beginning (turn 0)`,
			"expected a JSON object"}, false},
		{"no number", `read x; echo '{}'; read x; echo '{"done": true, "reward": NaN}'`, []string{
			`in line 2 of 2, for d.jsonl:4, turn 2, in which the model says "7": a reward is a finite number`}, false},
		{"too few", `read x; echo '{}'`, []string{"ended with exit status 0 after 1 of 2 lines"}, true},
		{"too many", `while read x; do echo '{"message": "x"}'; echo '{"message": "x"}'; done`,
			[]string{"printed more than the 2 lines that it was asked for"}, false},
		{"a long line", `read x; head -c 1100000 /dev/zero | tr '\0' 'x'; echo`, []string{
			"the line goes on beyond 1 MiB"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var notes []string
			limit := 30 * time.Second
			if c.name == "hangs" {
				limit = 300 * time.Millisecond
			}
			e, err := Open(Config{Command: c.command, Timeout: limit,
				Note: func(n string) { notes = append(notes, n) }})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			_, err = e.Ask(t.Context(), []Question{{Source: "d.jsonl:3"}, {Source: "d.jsonl:4", Turn: 2, Answer: "7"}})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(c.wants, "environment: the program `") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %s", err, want)
				}
			}
			if (len(notes) == 1) != c.noted {
				t.Errorf("noted %q", notes)
			}
		})
	}
	if _, err := Open(Config{Command: " "}); err == nil ||
		!strings.Contains(err.Error(), "--env-cmd) is an empty command") {
		t.Errorf("an empty command: %v", err)
	}
}

// TestAskStops: who is told to stop waits for no program.
func TestAskStops(t *testing.T) {
	e, err := Open(Config{Command: "sleep 600"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ctx, stop := context.WithCancelCause(t.Context())
	told := errors.New("told to stop")
	time.AfterFunc(50*time.Millisecond, func() { stop(told) })
	if _, err := e.Ask(ctx, []Question{{}}); !errors.Is(err, told) {
		t.Errorf("got %v, want %v", err, told)
	}
}
