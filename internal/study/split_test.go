package study

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSplit: what is held out is the same for all seeds and none of it is trained on, held-out files share no row, and
// what there is too little of is said.
func TestSplit(t *testing.T) {
	dir := t.TempDir()
	var rows []map[string]string
	for i := range 800 {
		rows = append(rows, map[string]string{"instruction": fmt.Sprint("what is ", i), "output": fmt.Sprint(i)})
	}
	rows = append(rows, map[string]string{"instruction": strings.Repeat("long ", 100)})
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "d.json")
	if err := os.WriteFile(data, text, 0o666); err != nil {
		t.Fatal(err)
	}
	lines := func(file string) []string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	files := [3]string{filepath.Join(dir, "train"), filepath.Join(dir, "valid"), filepath.Join(dir, "test")}
	var got [2][3][]string
	for seed := range got {
		if err := Split(data, 300, uint64(seed), Part{files[0], 200}, Part{files[1], 40}, Part{files[2],
			50}); err != nil {
			t.Fatal(err)
		}
		for i, f := range files {
			got[seed][i] = lines(f)
		}
	}
	a, b := got[0], got[1]
	if len(a[0]) != 200 || len(a[1]) != 40 || len(a[2]) != 50 {
		t.Errorf("%d, %d and %d rows", len(a[0]), len(a[1]), len(a[2]))
	}
	if slices.Equal(a[0], b[0]) || !slices.Equal(a[1], b[1]) || !slices.Equal(a[2], b[2]) {
		t.Error("training rows should differ between seeds, and held-out ones not")
	}
	once := map[string]bool{}
	for _, l := range slices.Concat(b[0], a[1], a[2]) {
		if once[l] || strings.Contains(l, "long") {
			t.Errorf("%s is there twice, or too long", l)
		}
		once[l] = true
	}
	if err := Split(data, 300, 1, Part{files[0], 5000}); err == nil || !strings.Contains(err.Error(), "expected 5000") {
		t.Errorf("more than there is: got %v", err)
	}
}
