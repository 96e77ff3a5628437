package bindings

import (
	"errors"
	"fmt"
	"testing"
)

func TestErrorsMatch(t *testing.T) {
	err := fmt.Errorf("while testing: %w", &Error{Op: "read", Code: Aborted, Message: "stopped on request"})
	if !errors.Is(err, ErrAborted) || errors.Is(err, ErrNoMemory) {
		t.Errorf("%v: matches ErrAborted: %v, ErrNoMemory: %v; want true, false", err, errors.Is(err, ErrAborted),
			errors.Is(err, ErrNoMemory))
	}
	if got, want := err.Error(), "while testing: read: stopped on request"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheckPath(t *testing.T) {
	for path, ok := range map[string]bool{"": false, "a\x00": false, "a": true, "dir/ä, b.gguf": true} {
		if err := CheckPath(path); (err == nil) != ok {
			t.Errorf("%q: got %v, want ok %v", path, err, ok)
		}
	}
}
