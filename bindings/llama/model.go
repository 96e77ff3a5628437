// Package llama knows llama.cpp: its tokenizer, and models it runs itself, for generation and for checking ours against
// it. It does not know chat templates, datasets or training.
//
// Every handle is used by one goroutine at a time, which a mutex in it enforces. Handles are closed in the opposite
// order of opening: a Model with open Contexts or Adapters refuses to close.
package llama

/*
#cgo CXXFLAGS: -std=c++17 -O2 -Wall -Wextra
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/internal/regular"
)

// ErrInUse is the error of closing a handle that others still depend on.
var ErrInUse = errors.New("still in use")

// ErrUnknownArch is the error of a file whose architecture the linked llama.cpp does not know.
var ErrUnknownArch = errors.New("this llama.cpp does not know the architecture")

// UnknownArch is an error of what has an architecture that the linked llama.cpp does not know; it matches
// ErrUnknownArch.
func UnknownArch(what, arch string) error {
	return fmt.Errorf("%s: %w %q; a newer one may: build ggtune with it (make build SYSTEM_LLAMA=1)", what,
		ErrUnknownArch, arch)
}

// ErrUnknownSplit is the error of a file whose tokenizer.ggml.pre the linked llama.cpp does not know and opens no file
// with. The Go module's opens it, warns and takes a default (Vocab.SplitsByDefault).
var ErrUnknownSplit = errors.New("this llama.cpp does not know how the model splits text")

// ModelOptions say how llama.cpp loads a model.
type ModelOptions struct {
	// Mmap maps the file instead of reading it.
	Mmap bool
	// UseExtraBufts lets llama.cpp copy weights into layouts that its fastest kernels want, which costs their size in
	// memory.
	UseExtraBufts bool
	// GPULayers is the number of layers to compute on a GPU, where a GPU backend is loaded; 0 for none.
	GPULayers int
}

// VerifyModelOptions returns the options for comparing our results with llama.cpp's at the least memory: mapped, no
// copies.
func VerifyModelOptions() ModelOptions { return ModelOptions{Mmap: true} }

// UserModelOptions returns llama.cpp's own defaults, on the CPU: mapped, with repacked copies where they are faster.
func UserModelOptions() ModelOptions { return ModelOptions{Mmap: true, UseExtraBufts: true} }

// ModelInfo is what llama.cpp says of a model.
type ModelInfo struct {
	NVocab    int
	NCtxTrain int // tokens
	NEmbd     int
	NLayer    int
	Bytes     int64 // of tensors
	NParams   int64
}

// A Model is a model opened by llama.cpp, with its vocabulary.
type Model struct {
	path     string
	info     ModelInfo
	vocab    *Vocab
	warnings []string

	mu        sync.Mutex
	ptr       *C.gt_model
	generates bool
	ranks     int // numbers of its classification head
	children  int // open contexts and adapters
	cleanup   runtime.Cleanup
}

// OpenModel opens a GGUF model, of which a first part of several stands for all. Close it.
//
// llama.cpp reserves memory as a file's lengths ask for it. Files of strangers, adapters among them, are opened with
// engine/gguf first, which trusts no length.
func OpenModel(path string, o ModelOptions) (*Model, error) {
	if o.GPULayers < 0 {
		return nil, fmt.Errorf("%s: %d layers on the GPU: want 0 or more", path, o.GPULayers)
	}
	return openModel("open with llama.cpp", path, &C.gt_model_options{
		use_mmap:        C.bool(o.Mmap),
		use_extra_bufts: C.bool(o.UseExtraBufts),
		n_gpu_layers:    C.int32_t(o.GPULayers),
	})
}

func openModel(doing, path string, o *C.gt_model_options) (*Model, error) {
	if err := readable(path); err != nil {
		return nil, err
	}
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	m := &Model{path: path}
	since := bindings.LogNext()
	var (
		info C.gt_model_info
		st   C.gt_status
	)
	if C.gt_model_open(cpath, o, &m.ptr, &info, &st) != C.GT_OK {
		// thrown by llama.cpp where it makes a model
		if _, name, ok := strings.Cut(C.GoString(&st.message[0]), "unknown model architecture: "); ok {
			name, _, _ = strings.Cut(name, ";")
			return nil, UnknownArch(path, strings.Trim(name, "'"))
		}
		err := statusError(path+": "+doing, &st)
		if strings.Contains(err.Error(), "unknown pre-tokenizer type") { // thrown where the vocabulary is read
			err = fmt.Errorf("%w: %w", err, ErrUnknownSplit)
		}
		return nil, err
	}
	m.cleanup = runtime.AddCleanup(m, func(p *C.gt_model) { C.gt_model_release(p) }, m.ptr)
	m.generates, m.ranks = bool(info.generates), int(info.n_ranks)
	m.info = ModelInfo{
		NVocab: int(info.n_vocab), NCtxTrain: int(info.n_ctx_train), NEmbd: int(info.n_embd), NLayer: int(info.n_layer),
		Bytes: int64(info.size), NParams: int64(info.n_params),
	}
	for _, line := range bindings.Log(since) {
		if line.Level == warnLevel && line.Text != "" {
			m.warnings = append(m.warnings, plain(line.Text))
		}
	}
	vocab, err := newVocab(m, &info)
	if err != nil {
		m.free()
		return nil, err
	}
	m.vocab = vocab
	return m, nil
}

// Path returns the file's name as it was given.
func (m *Model) Path() string { return m.path }

// Info returns what llama.cpp says of the model.
func (m *Model) Info() ModelInfo { return m.info }

// Warnings returns what llama.cpp warned of while it opened the file: an unknown way of splitting text, for instance,
// for which it takes a default.
func (m *Model) Warnings() []string { return m.warnings }

// Vocab returns the model's vocabulary, which is closed with the model.
func (m *Model) Vocab() *Vocab { return m.vocab }

// Close frees the model. While contexts or adapters of it are open it returns an error that matches ErrInUse, and frees
// nothing. It may be called again and on nil.
func (m *Model) Close() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ptr == nil {
		return nil
	}
	if m.children > 0 {
		return fmt.Errorf("%s: close the model: %d of its contexts and adapters are open: %w", m.path, m.children,
			ErrInUse)
	}
	m.free()
	return nil
}

// free releases the C model. The caller holds mu, or is alone.
func (m *Model) free() {
	if m.vocab != nil {
		m.vocab.shut()
	}
	m.cleanup.Stop()
	C.gt_model_release(m.ptr)
	m.ptr = nil
}

// adopt calls open with the C model, and counts a child of the model if that succeeds.
func (m *Model) adopt(what string, open func(*C.gt_model) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ptr == nil {
		return fmt.Errorf("%s: %s: model %w", m.path, what, bindings.ErrClosed)
	}
	if err := open(m.ptr); err != nil {
		return err
	}
	m.children++
	return nil
}

func (m *Model) disown() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.children--
}

// An Adapter is a LoRA adapter loaded for one Model. Contexts of that model apply it (Context.SetAdapters).
type Adapter struct {
	model *Model
	path  string

	mu      sync.Mutex
	ptr     *C.gt_adapter
	cleanup runtime.Cleanup
}

// LoadAdapter loads a LoRA adapter in llama.cpp's format, checking that it fits the model. Close it.
func (m *Model) LoadAdapter(path string) (*Adapter, error) {
	if err := readable(path); err != nil {
		return nil, err
	}
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	a := &Adapter{model: m, path: path}
	err := m.adopt("load adapter "+path, func(p *C.gt_model) error {
		var st C.gt_status
		if C.gt_adapter_open(p, cpath, &a.ptr, &st) != C.GT_OK {
			return statusError(fmt.Sprintf("%s: load as an adapter of %s with llama.cpp", path, m.path), &st)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	a.cleanup = runtime.AddCleanup(a, func(p *C.gt_adapter) { C.gt_adapter_release(p) }, a.ptr)
	return a, nil
}

// Path returns the file's name as it was given.
func (a *Adapter) Path() string { return a.path }

// retain returns the C adapter with a reference that the caller releases, or nil if the adapter is closed.
func (a *Adapter) retain() *C.gt_adapter {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ptr != nil {
		C.gt_adapter_retain(a.ptr)
	}
	return a.ptr
}

// Close lets go of the adapter; contexts that apply it keep what they need. It may be called again and on nil.
func (a *Adapter) Close() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ptr == nil {
		return nil
	}
	a.cleanup.Stop()
	C.gt_adapter_release(a.ptr)
	a.ptr = nil
	a.model.disown()
	return nil
}

// readable reports whether path names a file that can be opened and is not a directory, in Go's words rather than
// llama.cpp's.
func readable(path string) error {
	if err := bindings.CheckPath(path); err != nil {
		return err
	}
	f, err := regular.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// statusError makes an error of a status. Of llama.cpp's log lines it keeps what they say and drops which function said
// it, and the closing lines that say no more than that it did not work.
func statusError(op string, st *C.gt_status) error {
	var kept []string
	for _, s := range strings.Split(C.GoString(&st.message[0]), "; ") {
		s = strings.TrimPrefix(plain(s), "error loading model: ")
		s = strings.TrimPrefix(s, "failed to apply lora adapter: ")
		s = strings.TrimSpace(s)
		if s == "" || s == "failed to load model" || len(kept) > 0 && kept[len(kept)-1] == s {
			continue
		}
		kept = append(kept, s)
	}
	if len(kept) == 0 {
		kept = []string{"no reason was given"}
	}
	return &bindings.Error{Op: op, Code: bindings.Code(st.code), Message: strings.Join(kept, "; ")}
}

// warnLevel is GGML_LOG_LEVEL_WARN.
const warnLevel = 3

// plain drops the name of the function that logged a line.
func plain(line string) string {
	name, rest, ok := strings.Cut(line, ": ")
	if ok && (name == "load" || strings.Contains(name, "_")) &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") == "" {
		return rest
	}
	return line
}
