package verify_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestNewerArchitectures: the Go module's llama.cpp does not know those that are said to be newer, and the error says
// what does; one that is installed may know them.
func TestNewerArchitectures(t *testing.T) {
	_, system, err := llama.System()
	if err != nil {
		t.Fatal(err)
	}
	newer := 0
	for _, name := range arch.Names() {
		a, err := arch.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if !a.Newer {
			continue
		}
		newer++
		path := synth.Temp(t, synth.Tiny(name, gguf.F32))
		v, err := llama.LoadVocab(path)
		if err == nil {
			err = v.Close()
		}
		switch {
		case !system && !errors.Is(err, llama.ErrUnknownArch):
			t.Errorf("%s: got %v, want one that matches %q: it is known, and so not newer", name, err,
				llama.ErrUnknownArch)
		case system && err != nil && !errors.Is(err, llama.ErrUnknownArch):
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range []string{path, `"` + name + `"`, "make build SYSTEM_LLAMA=1"} {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}
	}
	if newer == 0 {
		t.Skip("every architecture is known to both")
	}
}
