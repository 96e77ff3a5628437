package registry

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRegistry(t *testing.T) {
	r := New[int]("method")
	if got := r.Register("sft", 1); got != 1 {
		t.Errorf("Register returned %d, want 1", got)
	}
	r.Register("dpo", 2)
	r.Register("kto", 3)
	if d := cmp.Diff([]string{"dpo", "kto", "sft"}, r.Names()); d != "" {
		t.Errorf("Names (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]int{2, 3, 1}, r.All()); d != "" {
		t.Errorf("All (-want +got):\n%s", d)
	}
	if v, err := r.Get("kto"); v != 3 || err != nil {
		t.Errorf("Get(kto): got %d, %v", v, err)
	}
	_, err := r.Get("stf")
	var ue *UnknownError
	if !errors.As(err, &ue) || ue.Name != "stf" {
		t.Fatalf("Get(stf): got %v, want an UnknownError", err)
	}
	if want := `unknown method "stf"; nearest: "sft"; known: dpo, kto, sft`; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if _, err := New[int]("thing").Get("x"); err.Error() != `unknown thing "x"; there are none` {
		t.Errorf("empty registry: got %q", err)
	}
}

func TestRegisterPanics(t *testing.T) {
	for _, name := range []string{"", "sft"} {
		func() {
			defer func() {
				if p := recover(); p == nil || !strings.Contains(p.(string), "method") {
					t.Errorf("Register(%q): got panic %v", name, p)
				}
			}()
			r := New[int]("method")
			r.Register("sft", 1)
			r.Register(name, 2)
		}()
	}
}

func TestNearest(t *testing.T) {
	options := []string{"learning-rate", "lora_alpha", "rank", "steps", "seq-len", "warmup", "batch"}
	for _, tt := range []struct {
		name, want string
	}{
		{"stesp", "steps"},
		{"setsp", ""}, // two of five letters
		{"step", "steps"},
		{"seq_len", "seq-len"},
		{"seqlen", "seq-len"},
		{"SEQ-LEN", "seq-len"},
		{"lora-alpha", "lora_alpha"},
		{"learning-rte", "learning-rate"},
		{"learn", "learning-rate"},
		{"warm", "warmup"},
		{"xyzzy", ""},
		{"", ""},
		{"-", ""},
		{"ra", ""},
	} {
		got, ok := Nearest(tt.name, options)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Nearest(%q): got %q, %v, want %q", tt.name, got, ok, tt.want)
		}
	}
	// A third of the letters is another word.
	if got, _ := Nearest("lora-alpha", []string{"ld-alpha", "lora-plus"}); got != "" {
		t.Errorf("lora-alpha: got %q", got)
	}
	if got, _ := Nearest("ab", nil); got != "" {
		t.Errorf("no candidates: got %q", got)
	}
}

func TestSame(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{{"max-seq-length", "maxSeqLength", true}, {"max_seq.length", "max-seq-length", true}, {"lr", "rl", false}} {
		if got := Same(tc.a, tc.b); got != tc.want {
			t.Errorf("%s and %s: got %v, want %v", tc.a, tc.b, got, tc.want)
		}
	}
}
