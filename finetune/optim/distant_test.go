package optim

import (
	"context"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/backend/distant"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestDistantDevice: on a device whose memory the process cannot see a model is trained, forward, back, gradient norm
// and update, as on the processor, bit for bit.
func TestDistantDevice(t *testing.T) {
	path := synth.Temp(t, synth.Tiny("llama", gguf.Q8_0))
	device, err := distant.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	want := trainOn(t, path, newBackend(t, 1))
	got := trainOn(t, path, device)
	if !slices.Equal(got, want) {
		t.Errorf("losses and norms %v, the processor's %v", got, want)
	}
	if n := len(want); want[n-2] >= want[0] {
		t.Errorf("losses and norms %v: nothing is learned", want)
	}
	if device.Bytes() != 0 || device.Held() != 0 {
		t.Errorf("%d bytes and %d weights are left on the device", device.Bytes(), device.Held())
	}
}

// trainOn takes steps of AdamW and gives each one's loss and gradient norm.
func trainOn(t *testing.T, path string, b backend.Backend) (figures []float64) {
	t.Helper()
	m, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 4, Alpha: 8, Init: "kaiming", Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	s, err := engine.NewSession(m, engine.SessionConfig{Backend: b, Seed: 1,
		Sets: []engine.Set{{Adapter: a, Dropout: 0.1}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o, err := AdamW.Start(s.Params(), nil, Options{LoRAPlus: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	row := engine.PlainRow([]int32{5, 9, 2, 44, 17, 9, 2, 44, 3, 8, 5, 9})
	grad := engine.Outputs{engine.LogP: slices.Repeat([]float32{-1}, len(row.Counted))}
	for step := range 8 {
		if err := s.ZeroGrad(); err != nil {
			t.Fatal(err)
		}
		out, err := s.Forward(context.Background(), &engine.Batch{Rows: []engine.Row{row}, DropoutStep: uint64(step)},
			engine.Options{Backward: true, Dropout: true})
		if err != nil {
			t.Fatal(err)
		}
		loss := 0.0
		for _, x := range out[engine.LogP] {
			loss -= float64(x)
		}
		if err := s.Backward(context.Background(), grad, nil); err != nil {
			t.Fatal(err)
		}
		norm, err := o.GradNorm()
		if err != nil {
			t.Fatal(err)
		}
		mustUpdate(t, o, 0.02, ClipScale(norm, 1))
		figures = append(figures, loss, norm)
	}
	return figures
}
