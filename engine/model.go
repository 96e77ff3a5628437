package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// ErrClosed is what a closed Model or Session answers.
var ErrClosed = errors.New("closed")

// A Model is a GGUF file whose weights are mapped and used as they lie. It is safe for concurrent reading.
type Model struct {
	file    *gguf.File
	net     *arch.Net
	tensors map[string]tensor // by name
	lost    atomic.Bool       // a page of the mapping could not be read: see intact
}

// A tensor is one mapped weight.
type tensor struct {
	part  arch.Part
	info  *gguf.TensorInfo
	shape graph.Shape
	row   int64 // bytes of a row
	stage int   // the lowest that reads it: see set.lowest
	data  []byte
}

// Open maps a model and checks that it can be trained: a known architecture, every tensor there with its shape, in a
// storage type whose rows can be read.
func Open(path string) (*Model, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	m := &Model{file: f}
	if err := m.check(); err != nil {
		f.Close()
		return nil, err
	}
	return m, nil
}

func (m *Model) check() error {
	f := m.file
	if err := f.CheckModel(); err != nil {
		return err
	}
	var err error
	if m.net, err = arch.Of(f); err != nil {
		return err
	}
	// What llama.cpp does not survive could be trained only for verification to fail.
	if err := f.CheckRuns(); err != nil {
		return err
	}
	m.tensors = map[string]tensor{}
	var faults []error
	add := func(parts []arch.Part, il, stage int) {
		for _, p := range parts {
			if err := m.addTensor(p, il, stage); err != nil {
				faults = append(faults, err)
			}
		}
	}
	add(m.net.Embed.Parts(), -1, stageEmbed)
	add(m.net.Final.Parts(), -1, m.net.NLayer)
	const enough = 100 // faults; a file that says it has hundreds of layers must not make as many messages
	for il := 0; il < m.net.NLayer && len(faults) < enough; il++ {
		add(m.net.Layer(il).Parts(), il, il)
	}
	for i := range f.Tensors {
		if _, ok := m.tensors[f.Tensors[i].Name]; !ok && len(faults) == 0 {
			faults = append(faults, m.fault("tensor %q is none that architecture %q has here; training without it "+
				"would train another model", f.Tensors[i].Name, m.net.Arch))
		}
	}
	const shown = 5 // a file of another shape has hundreds of faults; a few tell enough
	if n := len(faults); n > shown {
		faults = append(faults[:shown], fmt.Errorf("and at least %d more", n-shown))
	}
	return errors.Join(faults...)
}

func (m *Model) addTensor(p arch.Part, il, stage int) error {
	name := p.Name(il)
	if _, ok := m.tensors[name]; ok { // a shared one
		return nil
	}
	if !m.file.HasTensor(name) {
		if p.Optional {
			return nil
		}
		return m.fault("tensor %q is missing, which architecture %q needs", name, m.net.Arch)
	}
	info, err := m.file.Tensor(name)
	if err != nil {
		return err
	}
	t := tensor{part: p, stage: stage, info: info, shape: p.Dims()}
	if n := min(len(p.Shape), len(info.Shape)); !slices.Equal(info.Shape[:n], p.Shape[:n]) ||
		!allOnes(info.Shape[n:]) || !allOnes(p.Shape[n:]) {
		return m.fault("tensor %q has shape %v, expected %v from the metadata", name, info.Shape, p.Shape)
	}
	if !p.Matrix() && info.Type != gguf.F32 {
		return m.fault("tensor %q is storage type %v; norms, biases and taps are f32 in files that llama.cpp runs; "+
			"convert the model again", name, info.Type)
	}
	if t.data, err = m.file.Data(info); err != nil {
		return err
	}
	t.row = int64(len(t.data)) / t.rows()
	m.tensors[name] = t
	return nil
}

func (m *Model) fault(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{m.file.Path()}, args...)...)
}

func allOnes(s []int64) bool {
	for _, n := range s {
		if n != 1 {
			return false
		}
	}
	return true
}

// Close unmaps the weights. Sessions on the model must be closed before.
func (m *Model) Close() error { return m.file.Close() }

// Path is the file's name.
func (m *Model) Path() string { return m.file.Path() }

// File gives the metadata and tensor table.
func (m *Model) File() *gguf.File { return m.file }

// Net is what the architecture made of the file.
func (m *Model) Net() *arch.Net { return m.net }

// HParams are the model's sizes.
func (m *Model) HParams() arch.HParams { return m.net.HParams }

// SHA256 reads the whole file and returns its hash, in hex.
func (m *Model) SHA256(ctx context.Context) (string, error) { return m.file.SHA256(ctx) }

// Bytes is the size of the mapped tensors.
func (m *Model) Bytes() int64 {
	var n int64
	for _, t := range m.tensors {
		n += int64(len(t.data))
	}
	return n
}

// Params is the number of the model's parameters.
func (m *Model) Params() int64 {
	var n int64
	for _, t := range m.tensors {
		n += t.info.Elements()
	}
	return n
}

// StorageTypes lists the storage types of the model's matrices with the number of each, e.g. "q4_k 154, q6_k 15".
func (m *Model) StorageTypes() string {
	counts, order := map[gguf.Type]int{}, []gguf.Type(nil)
	for _, info := range m.file.Tensors {
		if t, ok := m.tensors[info.Name]; ok && t.part.Matrix() {
			if counts[info.Type] == 0 {
				order = append(order, info.Type)
			}
			counts[info.Type]++
		}
	}
	var s []string
	for _, t := range order {
		s = append(s, fmt.Sprintf("%v %d", t, counts[t]))
	}
	return strings.Join(s, ", ")
}

// layer is the layer of a tensor, or -1 outside the layers.
func (m *Model) layer(t *tensor) int {
	if t.stage == m.net.NLayer {
		return -1
	}
	return t.stage
}

// rows is the number of rows of all its matrices.
func (t *tensor) rows() int64 { return t.shape[1] * t.shape[2] }

// trainable says whether full training changes the tensor: all but the tables that layers share, and constants.
func (t *tensor) trainable() bool { return !t.part.Shared && !t.part.Fixed }
