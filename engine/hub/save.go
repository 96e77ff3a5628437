package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/quant"
)

// A Reading is how llama.cpp reads a file's vocabulary where the file does not say. Ids are -1 where there is none.
type Reading struct {
	BOS, EOS, UNK  int32
	AddBOS, AddEOS bool
}

// A Model is a GGUF file as a folder will have it. What is in memory of it are the folder's small files.
type Model struct {
	// Tokenizer is the folder's, read back from what will be written. Whether it encodes as the file did is for others
	// to compare.
	Tokenizer *Tokenizer
	// LeftOut lists metadata that a folder has no place for.
	LeftOut []string
	// Rounded is what the weights that were quantized lost, once Save has written them.
	Rounded quant.Loss
	// Dequantized is the number of tensors that were quantized.
	Dequantized int
	// Tensors and Bytes are what Save wrote.
	Tensors int
	Bytes   int64

	file    *gguf.File
	net     *arch.Net
	rows    quant.Rows
	weights []outgoing
	texts   map[string][]byte // by the file's name
	back    *Folder           // the folder as it will be read
}

// FromGGUF makes a folder's files of a model that must stay open. Matrices get type t; "" keeps the type that they
// have, and makes those that are quantized f16. What transformers would compute otherwise is refused.
func FromGGUF(f *gguf.File, t string, r Reading) (*Model, error) {
	net, err := arch.Of(f)
	if err != nil {
		return nil, err
	}
	if !net.Hub().Folders() {
		return nil, fmt.Errorf("%s: models of %s are not carried over to folders; their adapters are: ggtune convert "+
			"adapter.gguf DIR", f.Path(), net.Arch)
	}
	m := &Model{file: f, net: net, rows: quant.FileRows(f), texts: map[string][]byte{}}
	if err := m.place(t); err != nil {
		return nil, err
	}
	config, err := m.makeConfig(r)
	if err != nil {
		return nil, err
	}
	generation, err := m.generation(config)
	if err != nil {
		return nil, err
	}
	definition, settings, err := m.makeTokenizer(r)
	if err != nil {
		return nil, err
	}
	for name, v := range map[string]any{configFile: config, generationFile: generation, tokenizerFile: definition,
		tokenizerConfigFile: settings} {
		if m.texts[name], err = pretty(v); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", f.Path(), name, err)
		}
	}
	return m, m.readBack()
}

// asSettings gives config.json as it is read.
func asSettings(config map[string]any) (*settings, error) {
	text, err := pretty(config)
	if err != nil {
		return nil, err
	}
	s := &settings{path: configFile}
	return s, json.Unmarshal(text, &s.values)
}

// readBack reads the texts as a folder's, and demands that they describe the model that the file does.
func (m *Model) readBack() error {
	back := &Folder{Dir: m.file.Path(), config: settings{path: configFile}, generation: settings{path: generationFile}}
	t := &Tokenizer{path: tokenizerFile}
	for name, into := range map[string]any{configFile: &back.config.values, generationFile: &back.generation.values,
		tokenizerFile: &t.def, tokenizerConfigFile: &t.config} {
		if err := json.Unmarshal(m.texts[name], into); err != nil {
			return fmt.Errorf("%s: %s, as it would be: %w", m.file.Path(), name, err)
		}
	}
	var err error
	if back.Arch, err = back.config.arch(); err != nil {
		return fmt.Errorf("%s: %w", m.file.Path(), err)
	}
	t.model, back.Tokenizer = back.config, t
	if t.template, err = templateOf(tokenizerConfigFile, t.config); err != nil {
		return err
	}
	if err := t.read(); err != nil {
		return fmt.Errorf("%s: %w", m.file.Path(), err)
	}
	net, err := back.net()
	if err != nil {
		return fmt.Errorf("%s: config.json, as it would be: %w", m.file.Path(), err)
	}
	if what := differs(net, m.net); what != "" {
		return fmt.Errorf("%s: transformers would compute otherwise: config.json has no place for what makes %s; the "+
			"model is not carried over", m.file.Path(), what)
	}
	m.Tokenizer, m.back = t, back
	return m.compareMetadata()
}

// differs says where two models' graphs differ, "" if nowhere.
func differs(a, b *arch.Net) string {
	switch {
	case a.HParams != b.HParams:
		return fmt.Sprintf("its sizes %+v, not %+v", b.HParams, a.HParams)
	case a.Embed != b.Embed:
		return fmt.Sprintf("its embedding %+v, not %+v", b.Embed, a.Embed)
	case a.Final != b.Final:
		return fmt.Sprintf("its last norm %+v, not %+v", b.Final, a.Final)
	}
	for il := range a.NLayer {
		if a.Layer(il) != b.Layer(il) {
			return fmt.Sprintf("layer %d %+v, not %+v", il, b.Layer(il), a.Layer(il))
		}
	}
	return ""
}

// compareMetadata lists the file's metadata that does not come back from the folder. What the vocabulary is must.
func (m *Model) compareMetadata() error {
	var w gguf.Writer
	if err := m.back.metadata(&w, 0, 0); err != nil {
		return err
	}
	if err := m.Tokenizer.Metadata(&w); err != nil {
		return err
	}
	back := map[string]gguf.Value{}
	for _, kv := range w.KVs() {
		back[kv.Key] = kv.Value
	}
	var changed []string
	for _, kv := range m.file.KVs() {
		v, ok := back[kv.Key]
		switch {
		case slices.Contains(ofFiles, kv.Key), ok && v.Equal(kv.Value), ok && sameKinds(kv, v):
		case ok && strings.HasPrefix(kv.Key, "tokenizer.") && kv.Key != "tokenizer.ggml.pre":
			changed = append(changed, kv.Key)
		default:
			m.LeftOut = append(m.LeftOut, kv.Key)
		}
	}
	if len(changed) > 0 {
		return fmt.Errorf("%s: the tokenizer cannot be carried over exactly: %s would come back otherwise",
			m.file.Path(), strings.Join(changed, ", "))
	}
	return nil
}

// ofFiles are keys that say of a file what a folder shows by itself, and scores, which are in the order of the merges.
var ofFiles = []string{"general.architecture", "general.type", "general.file_type", "general.quantization_version",
	"general.size_label", "general.name", "general.alignment", "split.no", "split.count", "split.tensors.count",
	"tokenizer.ggml.scores"}

// Save writes the folder, atomically; dir must not exist. Files of weights hold at most partBytes each, or one tensor
// that is larger. A nil fsys means the real file system.
func (m *Model) Save(ctx context.Context, fsys atomicfile.FS, dir string, partBytes int64) error {
	parts, err := m.writers(partBytes)
	if err != nil {
		return err
	}
	d, err := atomicfile.CreateDir(fsys, dir)
	if err != nil {
		return err
	}
	defer d.Abort()
	names := []string{modelFile}
	if len(parts) > 1 {
		names = nil
		index := map[string]string{}
		total := int64(0)
		for i, p := range parts {
			name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(parts))
			names = append(names, name)
			for _, t := range p.Tensors() {
				index[t.Name] = name
				total += t.Size()
			}
		}
		if m.texts[indexFile], err = pretty(map[string]any{"metadata": map[string]any{"total_size": total},
			"weight_map": index}); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.texts)) {
		if err := d.WriteFile(name, m.texts[name]); err != nil {
			return err
		}
	}
	for i, p := range parts {
		if err := p.WriteFile(ctx, d, names[i]); err != nil {
			return fmt.Errorf("write %s: %w", dir, err)
		}
	}
	if err := errors.Join(m.file.CheckUnchanged(), m.check(d.TempPath())); err != nil {
		return err
	}
	return d.Commit()
}

// check opens the folder as it will be, and finds in it every weight of the model.
func (m *Model) check(dir string) error {
	back, err := Open(dir)
	if err != nil {
		return err
	}
	weights, err := back.place(m.net)
	if err == nil && len(weights) != len(m.weights) {
		err = fmt.Errorf("%s: %d weights are in it, of %d", dir, len(weights), len(m.weights))
	}
	m.Tensors, m.Bytes = len(weights), back.bytes()
	return errors.Join(err, back.Close())
}

// Arch is the name of the model's architecture.
func (m *Model) Arch() string { return m.net.Arch }

// Type is the one that most of the folder's numbers have.
func (m *Model) Type() gguf.Type {
	of := map[gguf.Type]int64{}
	for i := range m.weights {
		of[m.weights[i].to] += m.weights[i].from.Elements()
	}
	return most(of)
}
