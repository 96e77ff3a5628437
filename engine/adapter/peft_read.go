package adapter

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/safetensors"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/regular"
)

// What PEFT puts before a module's name and behind it.
const (
	peftPrefix = "base_model.model."
	peftA      = ".lora_A.weight" // [rank, n_in]
	peftB      = ".lora_B.weight" // [n_out, rank]
	peftEmbdA  = ".lora_embedding_A"
	peftEmbdB  = ".lora_embedding_B"
	peftBase   = ".base_layer.weight" // of an embedding or head that has a pair: the base's own numbers, once more
	peftDoRA   = ".lora_magnitude_vector"
)

// infoBase is the key, under "ggtune.", of the name that PEFT's settings have for the base.
const infoBase = "peft_base"

// IsPEFT says whether path is the directory of an adapter of PEFT's.
func IsPEFT(path string) bool {
	_, err := os.Stat(filepath.Join(path, peftConfigFile))
	return err == nil
}

// PEFTSHA256 is the hash, in hexadecimal, of the files of an adapter of PEFT's that loading it reads.
func PEFTSHA256(dir string) (string, error) {
	h := sha256.New()
	for _, name := range []string{peftConfigFile, peftFile} {
		f, err := regular.Open(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		_, err = io.Copy(h, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return "", fmt.Errorf("hash %s: %w", f.Name(), err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// loadPEFT reads an adapter of PEFT's for a model: what stands in another order there is put into GGUF's.
func loadPEFT(dir string, net *arch.Net) (*Adapter, error) {
	if net.OwnOrder != "" {
		return nil, fmt.Errorf("%s: an adapter of PEFT's cannot be read for this model: %s", dir, net.OwnOrder)
	}
	config, err := readPEFTConfig(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, peftFile)
	f, err := safetensors.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, old := os.Stat(filepath.Join(dir, peftPickle)); old == nil {
			return nil, fmt.Errorf("%s: the adapter is a pickle, %s, which may run any program when it is read; load "+
				"it where you trust it and save it with save_pretrained(safe_serialization=True)", dir, peftPickle)
		}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := peftLoader{f: f, config: config, net: net, hub: net.Hub(), known: map[string]bool{},
		out: &Adapter{Arch: net.Arch, Info: map[string]string{}}}
	if l.hub.Conv1D != config.FanInFanOut {
		return nil, fmt.Errorf("%s: fan_in_fan_out is %v, and transformers' %s has it %v; the adapter belongs to "+
			"another model", filepath.Join(dir, peftConfigFile), config.FanInFanOut, l.hub.Class, l.hub.Conv1D)
	}
	l.findRoot()
	var faults []error
	net.Linear(func(p arch.Part, il int) { faults = append(faults, l.pair(p, il)) })
	if err := errors.Join(append(faults, l.unknown())...); err != nil {
		return nil, err
	}
	if len(l.out.Pairs) == 0 {
		return nil, l.fail("the adapter holds no LoRA pair; expected tensors such as %q", peftPrefix+
			l.hub.Module(arch.Part{Role: net.LinearRoles()[0]}, 0)+peftA)
	}
	l.scale()
	l.info()
	if err := l.purpose(filepath.Join(dir, peftConfigFile)); err != nil {
		return nil, err
	}
	return l.out, nil
}

type peftLoader struct {
	f      *safetensors.File
	config *peftConfig
	net    *arch.Net
	hub    arch.Hub
	out    *Adapter
	alphas []float64       // of each pair: what its scale is, times its rank
	copies []string        // tensors that repeat the base's
	known  map[string]bool // tensors with a place
	root   string          // before the modules of a model that was one with a head
}

func (l *peftLoader) fail(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{l.f.Path()}, args...)...)
}

// findRoot sees below which of its roots the file has the model.
func (l *peftLoader) findRoot() {
	for _, root := range l.hub.Roots {
		if slices.ContainsFunc(l.f.Tensors, func(t safetensors.Tensor) bool {
			return strings.HasPrefix(t.Name, peftPrefix+root+".")
		}) {
			l.root = root + "."
		}
	}
}

// pair reads the pair beside a matrix, if the file has one.
func (l *peftLoader) pair(p arch.Part, il int) error {
	if p.Routed || l.hub.Parted(p.Role) {
		return nil // PEFT has other pairs there: unknown names them
	}
	module := l.root + l.hub.Module(p, il)
	nameA, nameB := peftPrefix+module+peftA, peftPrefix+module+peftB
	if p.Role == arch.TokenEmbd {
		nameA, nameB = peftPrefix+module+peftEmbdA, peftPrefix+module+peftEmbdB
	}
	a, b := l.f.Tensor(nameA), l.f.Tensor(nameB)
	if a == nil && b == nil {
		return nil
	}
	l.known[nameA], l.known[nameB] = true, true
	if a == nil || b == nil {
		return l.fail("of the pair %q and %q one is missing", nameA, nameB)
	}
	if p.Alone != "" {
		return l.fail("tensor %q: llama.cpp cannot run an adapter there, %s; train one without that target, or %s",
			nameA, p.Alone, mergeInPEFT)
	}
	if l.net.TiedOutput && (p.Role == arch.TokenEmbd || p.Role == arch.Output) {
		return l.fail("tensor %q: the model's output head is its token embedding, and llama.cpp cannot run an adapter "+
			"on a tensor with both uses; train one without that target", nameA)
	}
	if copied := l.f.Tensor(peftPrefix + module + peftBase); copied != nil &&
		slices.Equal(copied.Shape, []int64{p.Shape[1], p.Shape[0]}) {
		l.known[copied.Name] = true
		l.copies = append(l.copies, copied.Name)
	}
	in, out := p.Shape[0], p.Shape[1]
	if p.Role == arch.TokenEmbd {
		in, out = out, in
	}
	if len(a.Shape) != 2 || len(b.Shape) != 2 || a.Shape[1] != in || b.Shape[0] != out || a.Shape[0] != b.Shape[1] ||
		a.Shape[0] < 1 {
		return l.fail("pair %q has shapes %v and %v, the model needs [rank %d] and [%d rank]; the adapter belongs to "+
			"another model", strings.TrimSuffix(nameA, peftA), a.Shape, b.Shape, in, out)
	}
	rank := a.Shape[0]
	if want := l.config.RankPattern.of(module, l.config.Rank); want != float64(rank) {
		return l.fail("tensor %q has rank %d, and %s says %g; the two are of different adapters", nameA, rank,
			peftConfigFile, want)
	}
	pair := newPair(p, il, rank)
	if err := errors.Join(l.read(pair.A, a), l.read(pair.B, b)); err != nil {
		return err
	}
	if pair.Flipped {
		pair.A = transposed(pair.A, [2]int64{pair.AShape[1], rank})
	}
	pair.B = arch.Paired(pair.B, p.PairedHeads, rank)
	l.out.Pairs = append(l.out.Pairs, pair)
	l.alphas = append(l.alphas, l.config.alpha(module, rank))
	return nil
}

func (l *peftLoader) read(dst []float32, t *safetensors.Tensor) error {
	if err := l.f.ReadFloats(dst, t, 0); err != nil {
		return err
	}
	for i, x := range dst {
		if x-x != 0 {
			return l.fail("tensor %q: element %d is %v; the file is damaged or the training diverged", t.Name, i, x)
		}
	}
	return nil
}

// unknown refuses what has no place in the model, all together.
func (l *peftLoader) unknown() error {
	var names []string
	for i := range l.f.Tensors {
		name := l.f.Tensors[i].Name
		if strings.Contains(name, peftDoRA) {
			return l.fail("tensor %q is DoRA's, and llama.cpp has no place for it; %s", name, mergeInPEFT)
		}
		if !l.known[name] {
			names = append(names, fmt.Sprintf("%q", name))
		}
	}
	if len(names) == 0 {
		return nil
	}
	const shown = 20
	more := ""
	if n := len(names) - shown; n > 0 {
		names, more = names[:shown], fmt.Sprintf(" and %d more", n)
	}
	return l.fail("no LoRA pair beside a matrix of the model (%s) has the tensors %s%s; known modules: %s; the "+
		"adapter belongs to another model, or has more than a LoRA: then %s", l.hub.Class, strings.Join(names, ", "),
		more, strings.Join(l.modules(), ", "), mergeInPEFT)
}

// modules lists those that may have a pair, of the layers by their names there.
func (l *peftLoader) modules() []string {
	var out []string
	l.net.Linear(func(p arch.Part, il int) {
		if m := l.hub.Modules[p.Role]; !slices.Contains(out, m) && p.Alone == "" {
			out = append(out, m)
		}
	})
	return out
}

// scale chooses the one alpha of the file.
func (l *peftLoader) scale() {
	if changed := l.out.settle(l.alphas); changed > 0 {
		l.out.Notes = append(l.out.Notes, fmt.Sprintf("%s of %d: alpha is not %g there; llama.cpp's format has one "+
			"alpha, and B is multiplied in its place", count.Of(changed, "pair"), len(l.alphas), l.out.Alpha))
	}
}

func occurrences(xs []float64, x float64) (n int) {
	for _, y := range xs {
		if x == y {
			n++
		}
	}
	return n
}

// purpose takes what the adapter is for: PEFT's settings have the invocation, and ggtune writes the rest beside the
// tensors.
func (l *peftLoader) purpose(settings string) (err error) {
	p := &l.out.Purpose
	p.TaskName, p.PromptPrefix = l.f.Metadata[keyTask], l.f.Metadata[keyPrefix]
	if p.Invocation, err = invocation(l.config.Invocation); err != nil {
		return fmt.Errorf("%s: alora_invocation_tokens: %w", settings, err)
	}
	return p.within(settings, l.net.NVocab)
}

// info takes what the file says of its making, if ggtune wrote it, and the base's name.
func (l *peftLoader) info() {
	for k, v := range l.f.Metadata {
		if name, ok := strings.CutPrefix(k, infoPrefix); ok {
			l.out.Info[name] = v
		}
	}
	if b := l.config.Base; b != nil && *b != "" {
		l.out.Info[infoBase] = *b
	}
	if len(l.copies) > 0 {
		l.out.Notes = append(l.out.Notes, fmt.Sprintf("left out, for the base has it: %s",
			strings.Join(l.copies, ", ")))
	}
}
