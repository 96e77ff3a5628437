package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestWriteSamples: the page shows every sample with what it is worth, and the texts of models and files as texts.
func TestWriteSamples(t *testing.T) {
	path := filepath.Join(t.TempDir(), "samples.html")
	if err := WriteSamples(path, "run", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a page without samples: %v", err)
	}
	const evil = `<img src=x onerror=alert(1)></p></article><script>alert(1)</script>{{.}}`
	none, some, expected := 0.0, -0.75, "seven "+evil
	all := []Sample{
		{Step: 5, Prompt: "first " + evil, Base: "of the base " + evil, Tuned: "of the adapter", TunedEnd: "length",
			TunedTokens: 16, Expected: &expected},
		{Step: 10, Why: "best", Prompt: "p", Tuned: "turned\u202eround", TunedEnd: "end", Reward: &none,
			Rewards: map[string]float64{"exact": 1, "length=" + evil: -1}},
		{Step: 10, Why: `worst" onclick="alert(1)`, Prompt: "p", Tuned: "", TunedEnd: "end", Reward: &some},
		{Step: 10, Why: "random", Prompt: "p", Tuned: "the last", Reward: &some, Exchange: []Spoken{
			{Role: "user", Content: "begin " + evil}, {Role: "assistant", Content: "the last", Reward: &some,
				Over: "length"}}},
	}
	if err := WriteSamples(path, "run "+evil, all); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	page := xml.NewDecoder(bytes.NewReader(raw))
	page.Strict, page.AutoClose, page.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		part, err := page.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		switch part := part.(type) {
		case xml.CharData:
			text.Write(part)
		case xml.StartElement:
			if slices.Contains([]string{"img", "script", "link"}, part.Name.Local) {
				t.Errorf("the page has an element %s", part.Name.Local)
			}
			for _, a := range part.Attr {
				if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "src" || a.Name.Local == "href" {
					t.Errorf("<%s> has an attribute %s", part.Name.Local, a.Name.Local)
				}
			}
		}
	}
	shown := regexp.MustCompile(`\s+`).ReplaceAllString(text.String(), " ")
	for _, want := range []string{"run " + evil, "first " + evil, "of the base " + evil, "of the adapter",
		"cut off after 16 tokens", "seven " + evil, "best: worth 0 exact 1 length=" + evil + " -1",
		`turned\u202eround`, "worth -0.75", "(an empty answer)",
		"userbegin " + evil + " assistant: -0.75the last the exchange ended here: length", "2 steps with samples"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
	if strings.Index(shown, "After step 10") > strings.Index(shown, "After step 5") {
		t.Error("the newest step does not stand first")
	}
	if strings.Contains(string(raw), "http") && strings.Contains(string(raw), "//") {
		t.Error("the page names another place")
	}

	var many []Sample
	for step := 1; step <= 3*mostShown; step++ {
		many = append(many, Sample{Step: step, Reward: &some}, Sample{Step: step, Reward: &none})
	}
	if err := WriteSamples(path, "run", many); err != nil {
		t.Fatal(err)
	}
	if raw, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile(`After step ([0-9]+)<`).FindAllStringSubmatch(string(raw), -1)
	if len(steps) != mostShown || steps[0][1] != "600" || steps[mostShown-1][1] != "1" ||
		!strings.Contains(string(raw), "200 of 600 steps with samples, evenly chosen") {
		t.Errorf("of 600 steps %d are shown, from %v", len(steps), steps[0])
	}
}
