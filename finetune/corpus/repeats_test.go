package corpus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/config"
)

// story makes the text of example i, of which none is like another.
func story(i int) string {
	var b strings.Builder
	for k := range 12 {
		fmt.Fprintf(&b, "w%dx%d ", i*7919%1000, (i*31+k*17)%997)
	}
	return b.String()
}

func textLines(texts []string) string {
	var b strings.Builder
	for _, s := range texts {
		fmt.Fprintf(&b, "{\"text\": %q}\n", s)
	}
	return b.String()
}

// TestRepeats: duplicates are counted and named, with --dedup left out, and never from what is held out.
func TestRepeats(t *testing.T) {
	var texts []string
	for i := range 20 {
		texts = append(texts, story(i))
	}
	texts = append(texts, texts[3], texts[3], strings.ToUpper(texts[5]), texts[7]) // 21 to 24
	held := []string{texts[7], story(100), strings.ToUpper(texts[9]), texts[7]}
	model := chatModel(t, "")
	for _, tc := range []struct {
		dedup                                string
		kept, exact, near, heldExact, heldNo int
	}{
		{"none", 24, 2, 1, 2, 1},
		{"exact", 24 - 2 - 2, 2, 1, 2, 1},
		{"near", 24 - 2 - 2 - 1 - 1, 2, 1, 2, 1},
	} {
		dir := t.TempDir()
		path, heldPath := filepath.Join(dir, "d.jsonl"), filepath.Join(dir, "h.jsonl")
		write(t, path, textLines(texts))
		write(t, heldPath, textLines(held))
		_, rows, err := readData(t, model, path, func(c *config.Config) {
			c.Dedup, c.EvalData = tc.dedup, []string{heldPath}
		})
		if err != nil {
			t.Fatal(err)
		}
		c, h := rows.Train.Counts, rows.Held.Counts
		if c.Items != tc.kept || c.DroppedAlike != 24-tc.kept || c.Examples != 24 {
			t.Errorf("%s: kept %d, left out %d of %d; want %d kept of 24", tc.dedup, c.Items, c.DroppedAlike,
				c.Examples,
				tc.kept)
		}
		if c.Exact != tc.exact || c.Near != tc.near || h.Exact != tc.heldExact || h.Near != tc.heldNo || h.Items != 4 {
			t.Errorf("%s: got %d and %d duplicates, %d and %d of %d held out, want %+v", tc.dedup, c.Exact, c.Near,
				h.Exact,
				h.Near, h.Items, tc)
		}
		r := rows.Repeats
		for _, p := range []struct{ got, what, like string }{
			{r.Exact.First[0], path + ":21", path + ":4"}, {r.Near.First[0], path + ":23", path + ":6"},
			{r.HeldExact.First[0], heldPath + ":1", path + ":8"}, {r.HeldNear.First[0], heldPath + ":3", path + ":10"},
		} {
			if want := p.what + " like " + p.like; p.got != want {
				t.Errorf("%s: got %q, want %q", tc.dedup, p.got, want)
			}
		}
	}
}

// TestRepeatsOfPrompts: of a run by rewards what flatters is the held-out reward.
func TestRepeatsOfPrompts(t *testing.T) {
	r := Repeats{HeldExact: Repeated{Count: 1, First: []string{"h.jsonl:1 like d.jsonl:1"}}}
	for method, want := range map[string]string{"grpo": "the held-out reward flatters; --dedup exact",
		"gkd": "the held-out loss flatters; --dedup exact"} {
		c := config.Default()
		c.Method = method
		how, err := c.Loss()
		if err != nil {
			t.Fatal(err)
		}
		if notes := r.notes(0, (&Reader{how: how}).measure()); len(notes) != 1 || !strings.Contains(notes[0], want) {
			t.Errorf("%s: %q", method, notes)
		}
	}
}

// TestRepeatsSplit: duplicates across the automatic split are said, and --dedup leaves none.
func TestRepeatsSplit(t *testing.T) {
	var texts []string
	for i := range 60 {
		texts = append(texts, story(i), story(i))
	}
	path := filepath.Join(t.TempDir(), "d.jsonl")
	write(t, path, textLines(texts))
	model := chatModel(t, "")
	set := func(dedup string) func(c *config.Config) {
		return func(c *config.Config) { c.Dedup, c.EvalSplit = dedup, config.Fixed(0.1) }
	}
	_, rows, err := readData(t, model, path, set("none"))
	if err != nil {
		t.Fatal(err)
	}
	across := rows.Held.Counts.Exact
	if across == 0 || !slices.ContainsFunc(rows.Notes, func(n string) bool {
		return strings.HasPrefix(n, fmt.Sprintf("held-out examples that are in the training data too: %d;", across))
	}) {
		t.Errorf("%d of 12 held-out examples are trained on too; the notes are %q", across, rows.Notes)
	}
	r, rows, err := readData(t, model, path, set("exact"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, items := range [][]string{spelled(r, rows, false), spelled(r, rows, true)} {
		for _, s := range items {
			if seen[s] {
				t.Errorf("with --dedup exact %s is there twice", s)
			}
		}
		for _, s := range items {
			seen[s] = true
		}
	}
	if got := rows.Held.Counts.Items; got != 12 {
		t.Errorf("%d examples are held out, want 12 as without --dedup", got)
	}
}

// spelled gives the texts of the held-out examples, each once, or of all that is trained on.
func spelled(r *Reader, rows *Rows, train bool) (out []string) {
	d := rows.Held
	if train {
		d = rows.Train
	}
	for i := range d.Items {
		if s := spellItem(r, &d.Items[i]); train || !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// TestRepeatsMeaning: what differs in what is learned is no duplicate.
func TestRepeatsMeaning(t *testing.T) {
	long := strings.Repeat("Which of the two answers is the better one here? ", 3)
	pair := func(a, b string) string {
		return fmt.Sprintf(`{"prompt": %q, "chosen": %q, "rejected": %q}`, long, a, b)
	}
	verdict := func(good bool) string {
		return fmt.Sprintf(`{"prompt": %q, "completion": "this one", "label": %v}`, long, good)
	}
	for _, tc := range []struct {
		method string
		lines  []string
		exact  int
	}{
		{"dpo", []string{pair("this one", "that one"), pair("that one", "this one")}, 0},
		{"dpo", []string{pair("this one", "that one"), pair("this one", "that one")}, 1},
		{"kto", []string{verdict(true), verdict(false), `{"prompt": "q", "completion": "other", "label": true}`}, 0},
		{"kto", []string{verdict(true), verdict(true), `{"prompt": "q", "completion": "other", "label": false}`}, 1},
	} {
		path := filepath.Join(t.TempDir(), "d.jsonl")
		write(t, path, strings.Join(tc.lines, "\n"))
		_, rows, err := readData(t, chatModel(t, ""), path, func(c *config.Config) { c.Method = tc.method })
		if err != nil {
			t.Fatal(err)
		}
		if r := rows.Repeats; r.Exact.Count != tc.exact || r.Near.Count != 0 {
			t.Errorf("%s %q: got %d exact and %d near, want %d and 0", tc.method, tc.lines, r.Exact.Count, r.Near.Count,
				tc.exact)
		}
	}
}

// TestRepeatsStrict: with --strict --dedup may leave nothing out.
func TestRepeatsStrict(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.jsonl")
	write(t, path, textLines([]string{story(1), story(2), story(1)}))
	_, _, err := readData(t, chatModel(t, ""), path, func(c *config.Config) { c.Strict, c.Dedup = true, "exact" })
	if err == nil || !strings.HasPrefix(err.Error(), path+":3: it repeats "+path+":1,") {
		t.Errorf("got %v, want the third line named", err)
	}
}

// TestInspectRepeats: they are named without a model too, also against held-out data.
func TestInspectRepeats(t *testing.T) {
	dir := t.TempDir()
	path, held := filepath.Join(dir, "d.jsonl"), filepath.Join(dir, "h.jsonl")
	write(t, path, textLines([]string{story(1), story(2), story(1)}))
	write(t, held, textLines([]string{story(2)}))
	cfg := config.Default()
	cfg.Data, cfg.EvalData = []string{path}, []string{held}
	for _, model := range []string{"", chatModel(t, "")} {
		cfg.Model = model
		v, err := Inspect(context.Background(), &cfg, 1)
		if err != nil {
			t.Fatal(err)
		}
		if v.Repeats.Exact.Count != 1 || v.Repeats.HeldExact.Count != 1 || len(v.Notes) < 2 {
			t.Errorf("model %q: got %+v and the notes %q", model, v.Repeats, v.Notes)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}
