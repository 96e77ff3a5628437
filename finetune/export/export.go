// Package export writes the folder from which Ollama creates a model: the model with the adapter merged into it, or
// beside it, and a Modelfile. It knows no flag and no terminal.
package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/merge"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// The files of the folder.
const (
	modelfile   = "Modelfile"
	modelFile   = "model.gguf"
	adapterFile = checkpoint.AdapterFile
)

// Config says what is exported.
type Config struct {
	Model   string
	Adapter string // a file, or the directory of a run or checkpoint; "": the model as it is
	Dir     string // must not exist
	// Apart writes the adapter beside the model, as ADAPTER. Ollama from 0.34.1 on creates no model so.
	Apart   bool
	Threads int // of merging; 0: one for each physical core
}

// A Result is what was written.
type Result struct {
	Dir       string   `json:"dir"`
	Modelfile string   `json:"modelfile"` // its text
	Template  bool     `json:"template"`  // whether it has one
	Stop      []string `json:"stop"`
	Sampling  []string `json:"sampling"` // parameters, with their values
	Notes     []string `json:"notes"`
}

// Export writes the folder.
func Export(ctx context.Context, cfg Config, rep report.Reporter) (*Result, error) {
	r := &Result{Dir: cfg.Dir, Stop: []string{}, Sampling: []string{}}
	var err error
	if cfg.Adapter != "" {
		if cfg.Adapter, err = checkpoint.FindAdapter(cfg.Adapter); err != nil {
			return nil, err
		}
	}
	t, v, err := r.templateOf(&cfg)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	vectors, err := makesVectors(&cfg)
	if err != nil {
		return nil, err
	}
	dir, err := atomicfile.CreateDir(nil, cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer dir.Abort()
	from, adapter, err := put(ctx, cfg, dir, rep)
	if err != nil {
		return nil, err
	}
	if vectors {
		r.vectors(from, adapter)
	} else if err := r.write(cfg, from, adapter, t, v); err != nil {
		return nil, err
	}
	if err := dir.WriteFile(modelfile, []byte(r.Modelfile)); err != nil {
		return nil, err
	}
	return r, dir.Commit()
}

// put writes the model, or the adapter, into the folder, and gives what the Modelfile calls them.
func put(ctx context.Context, cfg Config, dir *atomicfile.Dir, rep report.Reporter) (from, beside string, err error) {
	if cfg.Adapter != "" && !cfg.Apart {
		// A run whose adapter llama.cpp has no place for has merged it, and had it verified.
		there := filepath.Join(filepath.Dir(cfg.Adapter), checkpoint.ModelFile)
		if is, err := merge.Holds(ctx, there, cfg.Model, cfg.Adapter); err != nil {
			return "", "", err
		} else if is {
			rep.Report(report.Notice{Text: there + " is the base with the adapter merged into it; it is copied"})
			return "./" + modelFile, "", copyFile(ctx, dir, there, modelFile)
		}
		_, err := merge.Merge(ctx, merge.Config{
			Model: cfg.Model, Adapters: []merge.Adapter{{Path: cfg.Adapter, Scale: 1}},
			Output: filepath.Join(dir.TempPath(), modelFile), Threads: cfg.Threads,
		}, rep)
		return "./" + modelFile, "", err
	}
	if from, err = filepath.Abs(cfg.Model); err == nil && strings.ContainsAny(from, "\r\n") {
		err = fmt.Errorf("%q: a Modelfile names a file on one line, and this name has a line break; rename it", from)
	}
	if err != nil || cfg.Adapter == "" {
		return from, "", err
	}
	if err := actsEverywhere(cfg.Adapter); err != nil {
		return "", "", err
	}
	return from, "./" + adapterFile, copyFile(ctx, dir, cfg.Adapter, adapterFile)
}

// copyFile copies a file into the folder. On cancel it returns context.Cause(ctx).
func copyFile(ctx context.Context, dir *atomicfile.Dir, from, name string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := dir.Create(name)
	if err != nil {
		return err
	}
	const piece = 64 << 20
	for err == nil && ctx.Err() == nil {
		_, err = io.CopyN(dst, src, piece)
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == io.EOF:
		err = nil
	}
	return errors.Join(err, dst.Close())
}

// actsEverywhere refuses an adapter that waits for an invocation.
func actsEverywhere(path string) error {
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	use, err := adapter.ReadPurpose(f)
	if err == nil && len(use.Invocation) > 0 {
		err = fmt.Errorf("%s: the adapter acts %s (aLoRA), and Ollama would apply it to every token; llama-server "+
			"takes it with --lora", path, use.Acts())
	}
	return err
}

// templateOf gives the chat template that the adapter was trained with, or the model's own; nil if there is none.
func (r *Result) templateOf(cfg *Config) (*template.Template, *llama.Vocab, error) {
	f, err := gguf.Open(cfg.Model)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if err := f.CheckRuns(); err != nil {
		return nil, nil, err
	}
	own, err := f.StringOr("tokenizer.chat_template", "")
	if err != nil {
		return nil, nil, err
	}
	if err := r.sampling(f); err != nil {
		return nil, nil, err
	}
	name := ""
	if cfg.Adapter != "" {
		made, err := origin.Read(cfg.Adapter)
		if err != nil {
			return nil, nil, err
		}
		name = made.Template()
	}
	v, err := llama.LoadVocab(cfg.Model)
	if err != nil || name == "" && own == "" {
		return nil, v, err
	}
	t, _, err := template.Find(name, own, cfg.Model)
	if err != nil {
		v.Close()
	}
	return t, v, err
}

// begin writes which files the model is made of.
func (r *Result) begin(b *strings.Builder, from, adapter string) {
	fmt.Fprintf(b, "FROM %s\n", from)
	if adapter != "" {
		fmt.Fprintf(b, "ADAPTER %s\n", adapter)
		r.Notes = append(r.Notes, "Ollama from 0.34.1 on creates no model with ADAPTER; without --apart the adapter "+
			"is merged, which all versions take")
	}
}

// vectors makes the Modelfile's text of a model that answers nothing.
func (r *Result) vectors(from, adapter string) {
	var b strings.Builder
	r.begin(&b, from, adapter)
	r.Modelfile = b.String()
	r.Notes = append(r.Notes, "it makes vectors of texts, which Ollama gives at /api/embed, and answers nothing: it "+
		"has no TEMPLATE and no PARAMETER")
}

// makesVectors says whether what is exported makes vectors of texts: by what the adapter was trained for, or the
// model's file says. Ollama asks the file alone.
func makesVectors(cfg *Config) (bool, error) {
	f, err := gguf.Open(cfg.Model)
	if err != nil {
		return false, err
	}
	defer f.Close()
	said, err := arch.PoolingIn(f)
	if err != nil || cfg.Adapter == "" {
		return said.Pools(), err
	}
	made, err := origin.Read(cfg.Adapter)
	if err != nil {
		return false, err
	}
	if made.Pools() && cfg.Apart && !said.Pools() {
		return false, fmt.Errorf("%s makes vectors of texts, and Ollama has a model make them only where its file "+
			"says how (pooling_type), which %s does not; leave out --apart: the merged model's file says it",
			cfg.Adapter, cfg.Model)
	}
	return made.Pools() || said.Pools(), nil
}

// write makes the Modelfile's text.
func (r *Result) write(cfg Config, from, adapter string, t *template.Template, v *llama.Vocab) error {
	var b strings.Builder
	r.begin(&b, from, adapter)
	switch {
	case t == nil:
		r.Notes = append(r.Notes, "no TEMPLATE: neither the model nor the adapter has a chat template; Ollama gives "+
			"the model what is asked, as it is")
	default:
		bos, err := text(v, v.BOS())
		if err != nil {
			return err
		}
		eos, err := text(v, v.EOS())
		if err != nil {
			return err
		}
		translated, why := Translate(t, bos, eos, v.AddBOS())
		if why != nil {
			r.Notes = append(r.Notes, fmt.Sprintf("no TEMPLATE: no translation of %s renders as it does (%v); Ollama "+
				"looks for one like the model's own, which may differ", t.Name(), why))
			break
		}
		r.Template = true
		if t.WritesDate() {
			r.Notes = append(r.Notes, fmt.Sprintf("TEMPLATE has one date, %s, as in training; %s writes today's",
				template.DefaultDate.Format("2 January 2006"), t.Name()))
		}
		fmt.Fprintf(&b, "TEMPLATE \"\"\"%s\"\"\"\n", translated)
	}
	if err := r.stops(t, v); err != nil {
		return err
	}
	for _, s := range r.Stop {
		fmt.Fprintf(&b, "PARAMETER stop %q\n", s)
	}
	for _, s := range r.Sampling {
		fmt.Fprintf(&b, "PARAMETER %s\n", s)
	}
	r.Modelfile = b.String()
	return nil
}

// stops finds the tokens that end a turn: those that end generation and that the template writes.
func (r *Result) stops(t *template.Template, v *llama.Vocab) error {
	if t == nil {
		return nil
	}
	for id := range int32(v.N()) {
		if !v.IsEOG(id) {
			continue
		}
		s, err := text(v, id)
		if err != nil {
			return err
		}
		if s != "" && !strings.Contains(s, "\n") && strings.Contains(t.Source(), s) {
			r.Stop = append(r.Stop, s)
		}
	}
	return nil
}

// sampling lists how the model's makers sample, by Ollama's names. What it has no parameter for is noted.
func (r *Result) sampling(f *gguf.File) error {
	const below = "general.sampling."
	names := map[string]string{"top_k": "top_k", "top_p": "top_p", "min_p": "min_p", "temp": "temperature",
		"penalty_last_n": "repeat_last_n", "penalty_repeat": "repeat_penalty"}
	var none []string
	for _, kv := range f.KVs() {
		key, ok := strings.CutPrefix(kv.Key, below)
		switch name := names[key]; {
		case !ok:
		case name == "":
			none = append(none, fmt.Sprintf("%s (%v)", key, kv.Value))
		case kv.Value.Type() != gguf.Float32 && kv.Value.Type() != gguf.Int32:
			return fmt.Errorf("%s: metadata key %q is %s, expected a number of 32 bits", f.Path(), kv.Key,
				kv.Value.TypeName())
		default:
			r.Sampling = append(r.Sampling, fmt.Sprintf("%s %v", name, kv.Value.Any()))
		}
	}
	if len(none) > 0 {
		r.Notes = append(r.Notes, "Ollama has no PARAMETER for the model's "+strings.Join(none, ", "))
	}
	return nil
}

// text is a token's text, "" if there is no such token.
func text(v *llama.Vocab, id int32) (string, error) {
	if id < 0 {
		return "", nil
	}
	return v.Piece(id, true)
}

// ErrNoOllama is matched by Create's error where the program is not there.
var ErrNoOllama = errors.New("ollama is not installed here")

// Create has Ollama make a model of the folder. Its messages go to messages.
func Create(ctx context.Context, name, dir string, messages io.Writer) error {
	path := filepath.Join(dir, modelfile)
	hint := fmt.Sprintf("%s is written: ollama create %s -f %s makes the model where Ollama is", dir, name, path)
	program, err := exec.LookPath("ollama")
	if err != nil {
		return fmt.Errorf("%w; %s", ErrNoOllama, hint)
	}
	cmd := exec.CommandContext(ctx, program, "create", name, "-f", path)
	cmd.Stdout, cmd.Stderr = messages, messages
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ollama create %s: %w; %s", name, err, hint)
	}
	return nil
}
