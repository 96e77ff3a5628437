package deptest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// placeInText finds what a document names of the source, in backticks: `engine/graph`, `finetune/method/NAME.go`.
var placeInText = regexp.MustCompile("`((?:" + strings.ReplaceAll(strings.Join(topLevel, "|"), ".", `\.`) +
	")/[^`\\s]+)`")

// TestDocsNameRealPlaces holds the documents to the source: what they name is there. NAME stands for some name.
func TestDocsNameRealPlaces(t *testing.T) {
	dir := root(t)
	docs, err := filepath.Glob(filepath.Join(dir, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, doc := range append(docs, filepath.Join(dir, "README.md")) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range placeInText.FindAllStringSubmatch(string(text), -1) {
			found++
			there, err := filepath.Glob(filepath.Join(dir, strings.ReplaceAll(m[1], "NAME", "*")))
			if err != nil || len(there) == 0 {
				t.Errorf("%s names %s, which is not there", filepath.Base(doc), m[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d places found in %d documents", found, len(docs)+1)
	}
}
