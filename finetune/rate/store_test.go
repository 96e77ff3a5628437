package rate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/atomicfile/faultfs"
)

func record(n int, c Choice) Record {
	r := NewRecord(Prompt{Messages: []Message{{Role: "user", Content: fmt.Sprintf("question %d <&>", n)}}})
	r.Answers, r.Choice = []Answer{{Text: "one", Stop: "end"}, {Text: "two ä\n", Stop: "end"}}, c
	return r
}

func openStore(t *testing.T, fsys atomicfile.FS, path string) (*Store, []string) {
	t.Helper()
	s, notes, err := OpenStore(fsys, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, notes
}

// ids lists what a file holds, as a fresh Store reads it.
func ids(t *testing.T, path string) []string {
	t.Helper()
	s, _ := openStore(t, nil, path)
	defer s.Close()
	var out []string
	for _, r := range s.Records() {
		out = append(out, r.About.ID)
	}
	return out
}

func TestStoreRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.jsonl")
	s, _ := openStore(t, nil, path)
	edited, from := "better", 1
	for i, c := range Choices() {
		r := record(i, c)
		if c == Edit {
			r.Edited, r.EditedFrom = &edited, &from
		}
		if c == Rank || c == Stars {
			if err := r.judge([]int{2, 1}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	want := s.Records()
	s.Close()
	s, notes := openStore(t, nil, path)
	if d := cmp.Diff(want, s.Records()); d != "" || len(notes) > 0 {
		t.Errorf("read again (-want +got): %s, notes %q", d, notes)
	}
	for i := len(want) - 1; i >= 0; i-- {
		r, ok, err := s.Undo()
		if err != nil || !ok || r.About.ID != want[i].About.ID {
			t.Fatalf("undo %d: %v, %v, %v", i, r.About.ID, ok, err)
		}
	}
	if _, ok, err := s.Undo(); ok || err != nil {
		t.Errorf("undo of nothing: %v, %v", ok, err)
	}
	if b, err := os.ReadFile(path); err != nil || len(b) > 0 {
		t.Errorf("after all undos: %q, %v", b, err)
	}
	if err := s.Add(record(9, A)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := os.Stat(path + ".lock"); !os.IsNotExist(err) {
		t.Errorf("the lock is left behind: %v", err)
	}
}

// What is written is what train and TRL read: the line is the contract.
func TestRecordLines(t *testing.T) {
	edited, from := "<better>", 1
	sha, scale := "ad", float32(0.5)
	answers := []Answer{
		{Text: "one", Name: "base", ModelSHA256: "mo", Seed: 1, Temp: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05,
			RepeatPenalty: 1, RepeatLastN: 64, MaxTokens: 5, Tokens: 2, Stop: "end"},
		{Text: "two", Name: "x.gguf", ModelSHA256: "mo", AdapterSHA256: &sha, AdapterScale: &scale, Template: "chatml",
			TemplateHash: "te", TopP: 1, RepeatPenalty: 1, Stop: "length"},
	}
	const shown = `"answers":[{"text":"one","name":"base","model_sha256":"mo","adapter_sha256":null,"seed":1,` +
		`"temp":0.8,"top_k":40,"top_p":0.95,"min_p":0.05,"repeat_penalty":1,"repeat_last_n":64,"max_tokens":5,` +
		`"tokens":2,"stop":"end"},` +
		`{"text":"two","name":"x.gguf","model_sha256":"mo","adapter_sha256":"ad","adapter_scale":0.5,` +
		`"template":"chatml","template_sha256":"te","seed":0,"temp":0,"top_k":0,"top_p":1,"min_p":0,` +
		`"repeat_penalty":1,"repeat_last_n":0,"max_tokens":0,"tokens":0,"stop":"length"}]`
	const about = `"ggtune":{"version":1,"id":"i","time":"0001-01-01T00:00:00Z"}`
	chat := Prompt{Messages: []Message{{"user", "hi"}}}
	for _, tt := range []struct {
		name string
		r    Record
		want string
	}{
		{"a", Record{Prompt: chat, Choice: A}, `{"prompt":[{"role":"user","content":"hi"}],` + shown +
			`,"choice":"a","chosen":[{"role":"assistant","content":"one"}],"rejected":[{"role":"assistant",` +
			`"content":"two"}],` + about + `}`},
		{"b, literal", Record{Prompt: Prompt{Text: "<hi>"}, Choice: B},
			`{"prompt":"<hi>",` + shown + `,"choice":"b","chosen":"two","rejected":"one",` + about + `}`},
		{"tie", Record{Prompt: chat, Choice: Tie}, `{"prompt":[{"role":"user","content":"hi"}],` + shown +
			`,"choice":"tie",` + about + `}`},
		{"edit", Record{Prompt: chat, Choice: Edit, Edited: &edited, EditedFrom: &from},
			`{"prompt":[{"role":"user","content":"hi"}],` + shown +
				`,"choice":"edit","edited":"<better>","edited_from":1,` +
				`"chosen":[{"role":"assistant","content":"<better>"}],"rejected":[{"role":"assistant",` +
				`"content":"two"}],` + about + `}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.Answers, tt.r.About = answers, About{Version: 1, ID: "i"}
			tt.r.settle()
			line, err := marshal(tt.r)
			if err != nil || string(line) != tt.want {
				t.Errorf("got  %s, %v\nwant %s", line, err, tt.want)
			}
			back, err := parseChoice(line)
			if d := cmp.Diff(tt.r, back); d != "" || err != nil {
				t.Errorf("read again: %v %s", err, d)
			}
		})
	}
}

// Whatever file operation fails, in whatever way, no line is lost that was there, none is torn after the next start,
// and what was said to be written is there.
func TestStoreEveryFault(t *testing.T) {
	for _, mode := range []faultfs.Mode{faultfs.Fail, faultfs.Kill, faultfs.PowerCut} {
		for name, change := range map[string]func(*Store) error{
			"add":  func(s *Store) error { return s.Add(record(3, B)) },
			"undo": func(s *Store) error { _, _, err := s.Undo(); return err },
		} {
			for _, before := range []int{0, 2} {
				t.Run(fmt.Sprintf("%v/%s/%d", mode, name, before), func(t *testing.T) {
					for at := 1; ; at++ {
						path := filepath.Join(t.TempDir(), "c.jsonl")
						s, _ := openStore(t, nil, path)
						for i := range before {
							if err := s.Add(record(i, A)); err != nil {
								t.Fatal(err)
							}
						}
						s.Close()
						old := ids(t, path)
						after := append(old[:len(old):len(old)], record(3, B).About.ID)
						if name == "undo" {
							after = old[:max(0, len(old)-1)]
						}
						ffs := faultfs.New(nil, at, mode, nil)
						s, _ = openStore(t, ffs, path)
						err := change(s)
						if !ffs.Hit() {
							if err != nil {
								t.Fatalf("no fault, got %v", err)
							}
							return
						}
						if err != nil && mode == faultfs.Fail {
							// The session goes on: the next choice puts the file right.
							if !cmp.Equal(len(s.Records()), len(old)) {
								t.Fatalf("operation %d: %v, and %d choices in memory, want %d", at, err,
									len(s.Records()), len(old))
							}
							if err := s.Add(record(4, Tie)); err != nil {
								t.Fatalf("operation %d: the next choice: %v", at, err)
							}
							s.Close()
							if got, want := ids(t, path),
								append(old[:len(old):len(old)], record(4, Tie).About.ID); !cmp.Equal(got, want) {
								t.Fatalf("operation %d: after the next choice %q, want %q", at, got, want)
							}
							continue
						}
						if cerr := ffs.Crash(); cerr != nil {
							t.Fatal(cerr)
						}
						s.Close()
						got := ids(t, path)
						if isOld, isNew := cmp.Equal(got, old),
							cmp.Equal(got, after); !isNew && (err == nil || !isOld) {
							t.Fatalf("operation %d (%v), error %v: the file holds %q, want %q or, after an error, %q",
								at, ffs.Log(), err, got, after, old)
						}
						if err != nil && !errors.Is(err, syscall.ENOSPC) {
							t.Errorf("operation %d: %v does not wrap its cause", at, err)
						}
					}
				})
			}
		}
	}
}

func TestStoreMendsItsEnd(t *testing.T) {
	one, err := marshal(record(1, Tie))
	if err != nil {
		t.Fatal(err)
	}
	two, err := marshal(record(2, Bad))
	if err != nil {
		t.Fatal(err)
	}
	line := func(b []byte) string { return string(b) + "\n" }
	for _, tt := range []struct {
		name, file string
		lines      int
		note       string
	}{
		{"whole", line(one) + line(two), 2, ""},
		{"blank lines", "\n" + line(one) + "\n  \n" + line(two), 2, ""},
		{"Windows' ends", string(one) + "\r\n" + string(two) + "\r\n", 2, ""},
		{"empty", "", 0, ""},
		{"half a line", line(one) + string(two[:len(two)/2]), 1, ":2: the last line was not written to its end"},
		{"half of the only line", string(one[:1]), 0, ":1: the last line was not written to its end"},
		{"within a character", line(one) + "{\"prompt\": \"\xc3", 1, ":2: the last line was not written to its end"},
		{"zeros", line(one) + strings.Repeat("\x00", 100), 1, ":2: the last line was not written to its end"},
		{"only the newline is missing", line(one) + string(two), 2, ":2: the last line had no end, and is whole: kept"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.jsonl")
			if err := os.WriteFile(path, []byte(tt.file), 0o666); err != nil {
				t.Fatal(err)
			}
			s, notes := openStore(t, nil, path)
			if len(s.Records()) != tt.lines || (tt.note == "") != (len(notes) == 0) ||
				!strings.Contains(strings.Join(notes, "\n"), tt.note) {
				t.Errorf("got %d choices, notes %q; want %d, %q", len(s.Records()), notes, tt.lines, tt.note)
			}
			if err := s.Add(record(3, A)); err != nil {
				t.Fatal(err)
			}
			s.Close()
			s, notes = openStore(t, nil, path)
			if len(s.Records()) != tt.lines+1 || len(notes) > 0 {
				t.Errorf("after one more: got %d choices, notes %q; want %d, none", len(s.Records()), notes, tt.lines+1)
			}
		})
	}
}

func TestStoreRefuses(t *testing.T) {
	whole, err := marshal(record(1, A))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, line, want string }{
		{"not JSON", "hello", ":2: not a record of answers"},
		{"another kind of row", `{"prompt": "a", "completion": "b"}`, `:2: it has 0 "answers", expected 2 to 4`},
		{"one answer", `{"prompt": "a", "answers": [{}]}`, `it has 1 "answers", expected 2 to 4`},
		{"five answers", `{"prompt": "a", "answers": [{}, {}, {}, {}, {}]}`, `it has 5 "answers", expected 2 to 4`},
		{"the first of three", `{"prompt": "a", "answers": [{}, {}, {}], "choice": "a", "ggtune": {"id": "x"}}`,
			`its choice is "a", between two, and it has 3 answers`},
		{"no ranks", `{"prompt": "a", "answers": [{}, {}], "choice": "rank", "ggtune": {"id": "x"}}`,
			`its "ranks" are []; expected a number from 1 to 2 for each of 2 answers`},
		{"a rank of none", `{"prompt": "a", "answers": [{}, {}], "choice": "rank", "ranks": [1, 3], "ggtune": {}}`,
			`its "ranks" are [1 3]; expected a number from 1 to 2`},
		{"no stars", `{"prompt": "a", "answers": [{}, {}], "choice": "stars", "ratings": [0, 3], "ggtune": {}}`,
			`its "ratings" are [0 3]; expected a number from 1 to 5`},
		{"no choice", `{"prompt": "a", "answers": [{}, {}], "ggtune": {"version": 1, "id": "x"}}`,
			`it has no "choice"`},
		{"unknown choice", `{"prompt": "a", "answers": [{}, {}], "choice": "c", "ggtune": {"id": "x"}}`,
			`its choice is "c", expected one of ["a" "b" "tie" "bad" "edit" "skip" "rank" "stars"]`},
		{"half an edit", `{"prompt": "a", "answers": [{}, {}], "choice": "edit", "edited": "x", "ggtune": {"id": "x"}}`,
			`"edited_from" (an answer, from 0) is missing`},
		{"edit of a third", `{"prompt": "a", "answers": [{}, {}], "choice": "edit", "edited": "x", "edited_from": 2, ` +
			`"ggtune": {"id": "x"}}`, `(an answer, from 0) is missing`},
		{"no id", `{"prompt": "a", "answers": [{}, {}], "choice": "a"}`, `it has no "id"`},
		{"newer", `{"prompt": "a", "answers": [{}, {}], "choice": "a", "ggtune": {"version": 3, "id": "x"}}`,
			"it is of version 3, and this ggtune knows up to 2"},
		{"no prompt", `{"answers": [{}, {}], "choice": "a", "ggtune": {"id": "x"}}`, `it has no "prompt"`},
		{"odd prompt", `{"prompt": 7, "answers": [{}, {}], "choice": "a", "ggtune": {"id": "x"}}`,
			"neither a string nor a list of messages"},
		{"message without role", `{"prompt": [{"content": "x"}], "answers": [{}, {}]}`,
			`message 1 of the prompt has no "role"`},
		{"bytes", "\xff", ":2: it is not UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.jsonl")
			text := string(whole) + "\n" + tt.line + "\n" + string(whole) + "\n"
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
			s, _, err := OpenStore(nil, path)
			if s != nil || err == nil || !strings.Contains(err.Error(), tt.want) ||
				!strings.Contains(err.Error(), "name another file with -o") {
				t.Errorf("got %v, want %q and how to mend it", err, tt.want)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != text {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
	if _, _, err := OpenStore(nil, filepath.Join(t.TempDir(), "no", "c.jsonl")); err == nil ||
		!strings.Contains(err.Error(), "choose a folder that exists") {
		t.Errorf("no such folder: %v", err)
	}
	if _, _, err := OpenStore(nil, t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a folder: %v", err)
	}
}

func TestStoreLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.jsonl")
	s, _ := openStore(t, nil, path)
	if _, _, err := OpenStore(nil, path); err == nil ||
		!strings.Contains(err.Error(), "in use by another ggtune rate") {
		t.Errorf("a second one: got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	again, _ := openStore(t, nil, path)
	again.Close()
	var none *Store
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}

// A file that somebody else changes is not written over.
func TestStoreChangedMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.jsonl")
	s, _ := openStore(t, nil, path)
	if err := s.Add(record(1, A)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := append(b, "\n\n"...)
	if err := os.WriteFile(path, changed, 0o666); err != nil {
		t.Fatal(err)
	}
	_, _, uerr := s.Undo()
	for _, err := range []error{s.Add(record(2, B)), uerr} {
		if err == nil || !strings.Contains(err.Error(), "changed by another program") {
			t.Errorf("got %v, want a refusal", err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(changed) {
		t.Errorf("the file was written over: %v", err)
	}
}

// The file may be a link: what it points to is written, and the link stays.
func TestStoreLink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.jsonl"), filepath.Join(dir, "link.jsonl")
	if err := os.WriteFile(real, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	s, _ := openStore(t, nil, link)
	for range 2 {
		if err := s.Add(record(1, A)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.Undo(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if got := ids(t, real); len(got) != 1 {
		t.Errorf("the real file holds %d choices, want 1", len(got))
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
}

func FuzzParseChoice(f *testing.F) {
	edited, from := "x", 0
	for _, c := range Choices() {
		r := record(1, c)
		r.Edited, r.EditedFrom = &edited, &from
		if c == Rank || c == Stars {
			if err := r.judge([]int{2, 1}); err != nil {
				f.Fatal(err)
			}
		}
		r.settle()
		line, err := marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{"prompt": "", "answers": [null, {}], "choice": "edit", "edited": null, "edited_from": -1, ` +
		`"chosen": [], "ggtune": null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseChoice(line)
		if err != nil {
			return
		}
		r.settle() // a record that is accepted can be used
		again, err := marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseChoice(again); err != nil {
			t.Fatalf("%q is written as %q and cannot be read: %v", line, again, err)
		}
		Summarize([]Record{r})
	})
}
