package run

import (
	"context"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
)

// A hashing computes the base's hash beside everything else.
type hashing struct {
	cancel context.CancelFunc
	done   chan struct{}
	sum    string
	err    error
}

func startHashing(ctx context.Context, m *engine.Model) *hashing {
	ctx, cancel := context.WithCancel(ctx)
	h := &hashing{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(h.done)
		h.sum, h.err = m.SHA256(ctx)
	}()
	return h
}

// wait gives the hash in hex.
func (h *hashing) wait() (string, error) {
	<-h.done
	return h.sum, h.err
}

// stop ends the computation and waits for its goroutine: the model may be closed after.
func (h *hashing) stop() {
	h.cancel()
	<-h.done
}

// fileSHA256 is the hash of an adapter, or of the result.
func fileSHA256(path string) (string, error) {
	if adapter.IsPEFT(path) {
		return adapter.PEFTSHA256(path)
	}
	f, err := gguf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return f.SHA256(context.Background())
}
