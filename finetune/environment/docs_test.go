//go:build unix

package environment

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/data"
)

// docs is docs/environments.md.
func docs(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/environments.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDocs: every key of a question is explained.
func TestDocs(t *testing.T) {
	text := docs(t)
	for i := range reflect.TypeFor[Question]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[Question]().Field(i).Tag.Get("json"), ",")
		if name != "-" && !strings.Contains(text, "`"+name+"`") {
			t.Errorf("%s is not explained", name)
		}
	}
}

// TestDocumentedGame plays the game of the document to its end, in all ways.
func TestDocumentedGame(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no python3 to play with: ", err)
	}
	_, rest, _ := strings.Cut(docs(t), "```python\n")
	code, _, ok := strings.Cut(rest, "```")
	path := filepath.Join(t.TempDir(), "game.py")
	if err := os.WriteFile(path, []byte(code), 0o666); err != nil || !ok {
		t.Fatal("no game in the document", err)
	}
	e, err := Open(Config{Command: "python3 " + path})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ask := func(turn int, answer string, over Over) Reply {
		t.Helper()
		r, err := e.Ask(t.Context(), []Question{{Seed: 7, Turn: turn, Answer: answer, Over: over}})
		if err != nil {
			t.Fatal(err)
		}
		return r[0]
	}
	if r := ask(0, "", ""); len(r.Messages) != 1 || r.Messages[0].Role != data.User {
		t.Errorf("at the beginning it says %+v", r)
	}
	if r := ask(1, "hm", ""); r.Messages[0].Content != "Say a number." || *r.Reward != -0.1 {
		t.Errorf("to no number it says %+v", r)
	}
	if r := ask(1, "0", ""); r.Messages[0].Content != "Higher." || r.Done {
		t.Errorf("to 0 it says %+v", r)
	}
	if r := ask(4, "0", Turns); !r.Done || *r.Reward != 0 {
		t.Errorf("at last it says %+v", r)
	}
	won := 0
	for _, guess := range strings.Fields("1 2 3 4 5 6 7 8 9") {
		if r := ask(2, guess, ""); r.Done && *r.Reward == 0.5 {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d numbers win, want one", won)
	}
}
