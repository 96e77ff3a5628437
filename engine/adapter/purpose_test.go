package adapter_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestPurposeInPEFT: what an adapter is for goes to PEFT's format and comes back.
func TestPurposeInPEFT(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32))
	want, err := adapter.New(net, config(func(*adapter.Config) {}))
	if err != nil {
		t.Fatal(err)
	}
	want.Purpose = adapter.Purpose{TaskName: "haiku", PromptPrefix: "Write: ", Invocation: []int32{7, 0, 7}}
	dir := filepath.Join(t.TempDir(), "peft")
	if err := want.SavePEFT(context.Background(), nil, dir, net); err != nil {
		t.Fatal(err)
	}
	got, err := adapter.Load(dir, net)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.Purpose, got.Purpose); d != "" {
		t.Errorf("read back otherwise (-written +read):\n%s", d)
	}
}

// TestPurposesInCommon: what is made of adapters says what all of them say, and acts where all of them do.
func TestPurposesInCommon(t *testing.T) {
	haiku := adapter.Purpose{TaskName: "haiku", PromptPrefix: "Write: ", Invocation: []int32{7}}
	prose := adapter.Purpose{TaskName: "prose", PromptPrefix: "Write: ", Invocation: []int32{7}}
	got, notes, err := adapter.Common(haiku, prose, haiku)
	if err != nil {
		t.Fatal(err)
	}
	want := adapter.Purpose{PromptPrefix: "Write: ", Invocation: []int32{7}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("in common (-want +got):\n%s", d)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], `task name ("haiku", "prose")`) {
		t.Errorf("notes are %q, want one that names both tasks", notes)
	}
	_, _, err = adapter.Common(haiku, adapter.Purpose{Invocation: []int32{7, 8}})
	if err == nil || !strings.Contains(err.Error(), "from tokens 7 on, another from tokens 7, 8 on") {
		t.Errorf("got error %v, want one that says where each acts", err)
	}
}

// TestOperationsKeepPurpose: every way of making an adapter of one keeps what it is for.
func TestOperationsKeepPurpose(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32))
	a, err := adapter.New(net, config(func(*adapter.Config) {}))
	if err != nil {
		t.Fatal(err)
	}
	a.Purpose = adapter.Purpose{TaskName: "haiku", Invocation: []int32{7}}
	for i := range a.Pairs {
		for j := range a.Pairs[i].B {
			a.Pairs[i].B[j] = float32(j%5) - 2
		}
	}
	one := adapter.Scaled{Adapter: a, Scale: 1}
	ignore := func(int, int) {}
	for name, make := range map[string]func() (*adapter.Adapter, error){
		"add": func() (*adapter.Adapter, error) { return adapter.Add(one, one) },
		"truncate": func() (*adapter.Adapter, error) {
			out, _, err := a.Truncate(context.Background(), 1, ignore)
			return out, err
		},
		"ties": func() (*adapter.Adapter, error) {
			out, _, err := adapter.MergeSparse(context.Background(), adapter.Sparse{Density: 0.5, Elect: true, Rank: 1},
				ignore, one, one)
			return out, err
		},
		"opposite": func() (*adapter.Adapter, error) { return a.Opposite(), nil },
		"nothing":  func() (*adapter.Adapter, error) { return a.Nothing(), nil },
	} {
		t.Run(name, func(t *testing.T) {
			out, err := make()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(a.Purpose, out.Purpose); d != "" {
				t.Errorf("(-of the one +of what was made):\n%s", d)
			}
		})
	}
}
