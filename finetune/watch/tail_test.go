package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// A reader who is told only what is new knows the file at every moment, however it changes.
func TestTailFollows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	text := func(from, to int, more string) (s string) {
		for i := from; i <= to; i++ {
			s += fmt.Sprintf("{\"step\":%d%s}\n", i, more)
		}
		return s
	}
	put := func(s string) { // as a run changes a line: by another file in its place
		if err := atomicfile.WriteFile(nil, path, []byte(s), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	add := func(s string) {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	tl := tail{path: path}
	type reader struct {
		at    place
		knows []string
	}
	var always, seldom reader
	tell := func(r *reader) int {
		from, lines, now := tl.since(r.at)
		r.at, r.knows = now, r.knows[:from:from]
		for _, l := range lines {
			r.knows = append(r.knows, string(l.text))
		}
		return len(lines)
	}
	for i, tt := range []struct {
		what   string
		change func()
		file   string // its whole lines
		told   int    // lines, to who is always told
	}{
		{"nothing yet", func() {}, "", 0},
		{"begun", func() { put(text(1, 3, "")) }, text(1, 3, ""), 3},
		{"nothing new", func() {}, text(1, 3, ""), 0},
		{"grown", func() { add(text(4, 6, "")) }, text(1, 6, ""), 3},
		{"half a line", func() { add(`{"step":`) }, text(1, 6, ""), 0},
		{"the other half", func() { add("7}\n") }, text(1, 7, ""), 1},
		{"evaluated", func() { put(text(1, 6, "") + text(7, 7, `,"eval_loss":1`)) },
			text(1, 6, "") + text(7, 7, `,"eval_loss":1`), 1},
		{"evaluated and grown", func() { put(text(1, 6, "") + text(7, 7, `,"eval_loss":2`) + text(8, 8, "")) },
			text(1, 6, "") + text(7, 7, `,"eval_loss":2`) + text(8, 8, ""), 2},
		{"resumed from before", func() { put(text(1, 4, "")) }, text(1, 4, ""), 0},
		{"and gone on", func() { add(text(5, 9, `,"loss":1`)) }, text(1, 4, "") + text(5, 9, `,"loss":1`), 5},
		{"replaced in its own place", func() { write(t, path, text(1, 12, `,"x":1`)) }, text(1, 12, `,"x":1`), 12},
		{"removed", func() { os.Remove(path) }, "", 0},
		{"begun again", func() { put(text(1, 2, "")) }, text(1, 2, ""), 2},
	} {
		tt.change()
		if err := tl.refresh(); err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		if got := tell(&always); got != tt.told {
			t.Errorf("%s: %d lines were told, want %d", tt.what, got, tt.told)
		}
		readers := []*reader{&always}
		if i%3 == 2 {
			tell(&seldom)
			readers = append(readers, &seldom)
		}
		var want []string
		for line := range strings.Lines(tt.file) {
			want = append(want, strings.TrimSuffix(line, "\n"))
		}
		for _, r := range readers {
			if len(r.knows)+len(want) > 0 && !reflect.DeepEqual(r.knows, want) {
				t.Errorf("%s: got\n%q, want\n%q", tt.what, r.knows, want)
			}
		}
	}
	for _, bad := range []string{"[1]\n", "{\n", "\n", "null\n", "{\"a\":1} {}\n"} {
		put(text(1, 2, "") + bad + text(3, 3, ""))
		if err := tl.refresh(); err == nil || !strings.Contains(err.Error(), "metrics.jsonl:3") || len(tl.lines) != 2 {
			t.Errorf("%q: got %v and %d lines, want line 3 named, and 2", bad, err, len(tl.lines))
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// Of a very long run one step of several is told, and every evaluation; what follows fits what was told.
func TestLongRun(t *testing.T) {
	dir := t.TempDir()
	r := Open(dir, nil)
	var b strings.Builder
	for i := 1; i <= 2*mostPoints+7; i++ {
		if i%1001 == 0 {
			fmt.Fprintf(&b, "{\"step\":%d,\"eval_loss\":1}\n", i)
		} else {
			fmt.Fprintf(&b, "{\"step\":%d}\n", i)
		}
	}
	path := filepath.Join(dir, "metrics.jsonl")
	write(t, path, b.String())
	all, _, at, err := r.Since(Place{})
	if err != nil || all == nil || all.Every != 4 || len(all.Lines) < mostPoints/2 || len(all.Lines) > mostPoints {
		t.Fatalf("got %+v, %v, want one of 4 steps", all, err)
	}
	evals := 0
	for _, l := range all.Lines {
		if strings.Contains(string(l), "eval_loss") {
			evals++
		}
	}
	if want := (2*mostPoints + 7) / 1001; evals != want {
		t.Errorf("%d evaluations are told, want %d", evals, want)
	}
	fmt.Fprintf(&b, "{\"step\":%d}\n{\"step\":%d}\n{\"step\":%d}\n{\"step\":%d}\n", 2*mostPoints+8, 2*mostPoints+9,
		2*mostPoints+10, 2*mostPoints+11)
	write(t, path, b.String())
	more, _, _, err := r.Since(at)
	if err != nil || more == nil || len(more.Lines) != 1 || more.After != float64(2*mostPoints+7) {
		t.Errorf("got %+v, %v, want one more step after %d", more, err, 2*mostPoints+7)
	}
}

// What is known when, of a run's state.
func TestState(t *testing.T) {
	dir := t.TempDir()
	live := &Live{}
	r := Open(dir, live)
	if s := r.Status(); s.State != Stopped || s.Start != nil || len(s.Faults) > 0 {
		t.Errorf("an empty directory: %+v", s)
	}
	live.Begin()
	if s := r.Status(); s.State != Preparing || s.Activity == "" {
		t.Errorf("begun: %+v", s)
	}
	write(t, filepath.Join(dir, "start.json"), `{"step":4,"before":{"eval_loss":2.5}}`)
	live.Report(report.Started{Step: 4})
	if s := r.Status(); s.Start == nil || s.Start.Before["eval_loss"] != 2.5 {
		t.Errorf("gone on: %+v, want what the base measured when the run began", s.Start)
	}
	live.End("no room")
	write(t, filepath.Join(dir, "report.json"), `{"steps":3}`)
	if s := r.Status(); s.State != Done || s.Report.Steps != 3 || s.Failed != "no room" {
		t.Errorf("done: %+v", s)
	}
	for _, name := range []string{"report.json", "start.json"} {
		write(t, filepath.Join(dir, name), "{")
	}
	if s := r.Status(); len(s.Faults) != 2 || s.State != Stopped {
		t.Errorf("damaged: %+v, want two faults", s)
	}
	if !IsRun(dir) || IsRun(t.TempDir()) {
		t.Error("a run is known by its files")
	}
}
