package jinja_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ggtune/ggtune/internal/jinja"
	"github.com/ggtune/ggtune/internal/testdata"
)

// now is the time that scripts/record_templates.py shows to the templates.
var now = time.Date(2025, 3, 4, 5, 6, 7, 0, time.UTC)

type conversation struct {
	Name     string
	Messages json.RawMessage
	Tools    json.RawMessage
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

func vars(t *testing.T, c conversation, prompt bool) *jinja.Dict {
	t.Helper()
	messages, err := jinja.FromJSON(c.Messages, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := jinja.NewDict()
	d.Set("messages", messages)
	d.Set("tools", nil)
	d.Set("documents", nil)
	if c.Tools != nil {
		tools, err := jinja.FromJSON(c.Tools, 0)
		if err != nil {
			t.Fatal(err)
		}
		d.Set("tools", tools)
	}
	d.Set("add_generation_prompt", prompt)
	d.Set("bos_token", jinja.Marked("<s>", 0))
	d.Set("eos_token", jinja.Marked("</s>", 0))
	return d
}

func text(pieces []jinja.Piece) string {
	var b strings.Builder
	for _, p := range pieces {
		b.WriteString(p.Text)
	}
	return b.String()
}

// lenient lists the renderings that jinja2 refuses and we do not, with the reason: they are the whole difference.
var lenient = map[string]string{
	"llama-cpp-deepseek-r1@tools":               "tojson of a generator (map): a list here",
	"llama-cpp-deepseek-r1@tools+prompt":        "tojson of a generator (map): a list here",
	"llama-cpp-deepseek-r1@tools_null":          "tojson of a generator (map): a list here",
	"llama-cpp-deepseek-r1@tools_null+prompt":   "tojson of a generator (map): a list here",
	"llama-cpp-deepseek-r1@tools_string":        "tojson of a generator (map): a list here",
	"llama-cpp-deepseek-r1@tools_string+prompt": "tojson of a generator (map): a list here",
}

// TestPublished renders published templates and compares with what jinja2, configured as transformers does, gives for
// them (scripts/record_templates.py): the same text where it gives one, an error where it fails.
func TestPublished(t *testing.T) {
	dir := testdata.Path(t, "templates")
	var recorded map[string]map[string]string
	readJSON(t, "testdata/published.json", &recorded)
	var conversations []conversation
	readJSON(t, "testdata/conversations.json", &conversations)
	for name, want := range recorded {
		t.Run(name, func(t *testing.T) {
			source, err := os.ReadFile(filepath.Join(dir, name+".jinja"))
			if err != nil {
				t.Skip(err)
			}
			tmpl, err := jinja.Parse(name, string(source))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range conversations {
				for _, prompt := range []bool{false, true} {
					key := c.Name
					if prompt {
						key += "+prompt"
					}
					pieces, err := tmpl.Render(vars(t, c, prompt), now, jinja.Limits{})
					got := "error"
					if err == nil {
						sum := sha256.Sum256([]byte(text(pieces)))
						got = fmt.Sprintf("%d %s", len(text(pieces)), hex.EncodeToString(sum[:16]))
					}
					if _, ok := lenient[name+"@"+key]; ok && want[key] == "error" {
						continue
					}
					if got != want[key] {
						t.Errorf("%s: got %s (%v), want %s", key, got, err, want[key])
						if dir := os.Getenv("GGTUNE_EXPECTED"); dir != "" {
							os.WriteFile(filepath.Join(dir, name+"@"+key+".got"), []byte(text(pieces)), 0o666)
						}
					}
				}
			}
		})
	}
}
