package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/quant/imatrix"
	"github.com/ggtune/ggtune/quant/mix"
)

// ggufInfo is what inspect says of a model or an adapter.
type ggufInfo struct {
	Kind         string            `json:"kind"` // "model", "adapter", "head", "imatrix" or "vocabulary"
	Path         string            `json:"path"`
	Parts        []string          `json:"parts,omitempty"`
	Bytes        int64             `json:"bytes"`
	Version      uint32            `json:"gguf_version"`
	SHA256       string            `json:"sha256,omitempty"`
	Architecture string            `json:"architecture"`
	Name         string            `json:"name,omitempty"`
	Parameters   int64             `json:"parameters"`
	Types        []typeUse         `json:"types"`
	HParams      map[string]int64  `json:"hparams,omitempty"`
	sizes        []arch.Size       // HParams in the order of printing
	TiedOutput   *bool             `json:"tied_output,omitempty"`
	Pooling      string            `json:"pooling,omitempty"`
	Tokenizer    *tokenizerInfo    `json:"tokenizer,omitempty"`
	Template     string            `json:"template,omitempty"`
	Trainable    bool              `json:"trainable"`
	WhyNot       string            `json:"why_not,omitempty"` // why the model cannot be trained
	Targets      []string          `json:"targets,omitempty"`
	AdapterType  string            `json:"adapter_type,omitempty"`
	Alpha        float64           `json:"alpha,omitempty"`
	Ranks        []int64           `json:"ranks,omitempty"`
	TaskName     string            `json:"task_name,omitempty"`
	PromptPrefix string            `json:"prompt_prefix,omitempty"`
	Invocation   []int32           `json:"invocation_tokens,omitempty"`
	Origin       map[string]string `json:"origin,omitempty"` // an adapter's ggtune.* keys
	Importance   *importanceInfo   `json:"importance,omitempty"`
	Head         *headInfo         `json:"head,omitempty"`
	Tensors      []tensorLine      `json:"tensors,omitempty"`
	Metadata     map[string]any    `json:"metadata,omitempty"`
}

// headInfo is what a head says of itself.
type headInfo struct {
	Purpose    head.Purpose `json:"purpose"`
	Mean       float32      `json:"mean"`
	Base       string       `json:"base_sha256"`
	Adapter    string       `json:"adapter_sha256"`
	Unfinished string       `json:"unfinished,omitempty"`
}

type typeUse struct {
	Type    string `json:"type"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
}

type tokenizerInfo struct {
	Model  string `json:"model"`
	Pre    string `json:"pre,omitempty"`
	Tokens int    `json:"tokens"`
}

// importanceInfo is what an importance matrix says of its making.
type importanceInfo struct {
	Entries   int      `json:"entries"`
	Texts     []string `json:"texts"`
	Chunks    int      `json:"chunks"`
	ChunkSize int      `json:"chunk_size"` // tokens
}

type tensorLine struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	Shape []int64 `json:"shape"`
	Bytes int64   `json:"bytes"`
}

func inspectGGUF(c *cli.Context, path string) error {
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := describeGGUF(f)
	if err != nil {
		return err
	}
	if c.Bool("hash") {
		hashed := busy(c, "hash "+path)
		info.SHA256, err = f.SHA256(c.Context)
		hashed()
		if err != nil {
			return err
		}
	}
	if c.Bool("tensors") {
		for _, t := range f.Tensors {
			info.Tensors = append(info.Tensors, tensorLine{t.Name, t.Type.String(), t.Shape, t.Size})
		}
	}
	if c.Bool("json") {
		if c.Bool("metadata") {
			info.Metadata = map[string]any{}
			for _, kv := range f.KVs() {
				info.Metadata[kv.Key] = kv.Value.Any()
			}
		}
		return printJSON(c.App.Writer, info)
	}
	w := c.App.Writer
	var table strings.Builder
	info.print(&table)
	printTable(w, table.String())
	if c.Bool("metadata") {
		fmt.Fprintln(w, "\nmetadata")
		for _, kv := range f.KVs() {
			fmt.Fprintf(w, "  %s = %v\n", kv.Key, kv.Value)
		}
	}
	if c.Bool("print-template") {
		fmt.Fprintf(w, "\ntemplate\n%s\n", info.Template)
	}
	return nil
}

func describeGGUF(f *gguf.File) (*ggufInfo, error) {
	info := &ggufInfo{Kind: "model", Path: f.Path(), Bytes: f.Bytes(), Version: f.Version}
	if parts := f.Parts(); len(parts) > 1 {
		info.Parts = parts
	}
	var errs []error
	text := func(key string) string {
		s, err := f.StringOr(key, "")
		errs = append(errs, err)
		return s
	}
	info.Architecture, info.Name = text("general.architecture"), text("general.name")
	info.Template = text("tokenizer.chat_template")
	types := map[gguf.Type]*typeUse{}
	for _, t := range f.Tensors {
		u := types[t.Type]
		if u == nil {
			u = &typeUse{Type: t.Type.String()}
			types[t.Type] = u
		}
		u.Tensors++
		u.Bytes += t.Size
		info.Parameters += t.Elements()
	}
	for _, u := range types {
		info.Types = append(info.Types, *u)
	}
	slices.SortFunc(info.Types, func(a, b typeUse) int { return int(min(1, max(-1, b.Bytes-a.Bytes))) })
	if f.HasTokenizer() {
		tokens, err := f.Strings("tokenizer.ggml.tokens")
		errs = append(errs, err)
		info.Tokenizer = &tokenizerInfo{Model: text("tokenizer.ggml.model"), Pre: text("tokenizer.ggml.pre"),
			Tokens: len(tokens)}
	}
	switch {
	case f.IsAdapter():
		info.Kind = "adapter"
		errs = append(errs, info.describeAdapter(f))
	case f.IsImportance():
		info.Kind = "imatrix"
		m, err := imatrix.Read(f.Path())
		if err != nil {
			return nil, err
		}
		info.WhyNot = "it is an importance matrix, for quantize --imatrix"
		info.Importance = &importanceInfo{Entries: len(m.Entries), Texts: m.Datasets, Chunks: m.Chunks,
			ChunkSize: m.ChunkSize}
	case f.IsHead():
		info.Kind = "head"
		h, err := head.Load(f.Path())
		if err != nil {
			return nil, err
		}
		info.WhyNot = "it is a head, for score, eval and merge --head, with its adapter"
		info.Head = &headInfo{h.Purpose, h.Mean, h.Base, h.Adapter, h.Unfinished}
	case f.IsVocabOnly():
		info.Kind = "vocabulary"
		info.WhyNot = "it holds no tensors"
	default:
		info.describeModel(f)
	}
	return info, errors.Join(errs...)
}

// describeModel adds the sizes and what can be trained.
func (info *ggufInfo) describeModel(f *gguf.File) {
	net, err := arch.Of(f)
	if err == nil {
		err = f.CheckRuns()
	}
	if err != nil {
		info.WhyNot = strings.TrimPrefix(err.Error(), f.Path()+": ")
		return
	}
	info.Trainable = true
	switch {
	case info.Tokenizer == nil:
		info.Trainable, info.WhyNot = false, "it has no tokenizer (tokenizer.ggml.*)"
	case f.HasTensor(head.RankTensor):
		info.Trainable, info.WhyNot = false, "it ranks texts ("+head.RankTensor+"), for llama-server --reranking"
	default:
		if err := corpus.CheckTokenizer(f); err != nil {
			info.Trainable, info.WhyNot = false, strings.TrimPrefix(err.Error(), f.Path()+": ")
		}
	}
	info.sizes = slices.Concat([]arch.Size{{Name: "n_layer", N: net.NLayer}, {Name: "n_embd", N: net.NEmbd}}, net.Sizes,
		[]arch.Size{{Name: "n_vocab", N: net.NVocab}, {Name: "n_ctx_train", N: net.NCtxTrain}})
	info.HParams = map[string]int64{}
	for _, s := range info.sizes {
		info.HParams[s.Name] = int64(s.N)
	}
	if !net.Headless {
		info.TiedOutput = &net.TiedOutput
	}
	if net.Pooling != arch.PoolNone {
		info.Pooling = net.Pooling.String()
	}
	for _, r := range net.LinearRoles() {
		info.Targets = append(info.Targets, string(r))
	}
}

// describeAdapter adds an adapter's type, rank, alpha and targets.
func (info *ggufInfo) describeAdapter(f *gguf.File) (err error) {
	if info.AdapterType, err = f.StringOr("adapter.type", ""); err != nil {
		return err
	}
	alpha, err := f.Float32Or("adapter.lora.alpha", 0)
	if err != nil {
		return err
	}
	info.Alpha = float64(alpha)
	use, err := adapter.ReadPurpose(f)
	if err != nil {
		return err
	}
	info.TaskName, info.PromptPrefix, info.Invocation = use.TaskName, use.PromptPrefix, use.Invocation
	for _, t := range f.Tensors {
		base, number, ok := strings.Cut(t.Name, ".weight.")
		if !ok || len(t.Shape) == 0 {
			continue
		}
		if number == delta.B && !slices.Contains(info.Ranks, t.Shape[0]) {
			info.Ranks = append(info.Ranks, t.Shape[0])
		}
		if role := mix.Role(base + ".weight"); !slices.Contains(info.Targets, role) {
			info.Targets = append(info.Targets, role)
		}
	}
	slices.Sort(info.Ranks)
	info.Origin = map[string]string{}
	for _, kv := range f.KVs() {
		if name, ok := strings.CutPrefix(kv.Key, "ggtune."); ok {
			info.Origin[name] = fmt.Sprint(kv.Value.Any())
		}
	}
	return nil
}

func (info *ggufInfo) print(w io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-16s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(w, "%s: %s, %s, GGUF version %d\n", info.Path, info.Kind, byteCount(info.Bytes), info.Version)
	if len(info.Parts) > 0 {
		line("parts", "%d", len(info.Parts))
	}
	if info.SHA256 != "" {
		line("sha256", "%s", info.SHA256)
	}
	if info.Name != "" {
		line("name", "%s", info.Name)
	}
	if i := info.Importance; i != nil {
		line("importance for", "%s", count.Of(i.Entries, "tensor"))
		line("gathered from", "%s, %s of %d", strings.Join(i.Texts, ", "), count.Of(i.Chunks, "chunk"), i.ChunkSize)
		return
	}
	line("architecture", "%s", info.Architecture)
	if h := info.Head; h != nil {
		line("gives", "%s scores, less their mean of %.4g", h.Purpose, h.Mean)
		line("base", "sha256 %.12s…", h.Base)
		if h.Adapter != "" {
			line("adapter", "sha256 %.12s…", h.Adapter)
		}
		if h.Unfinished != "" {
			line("unfinished", "%s", h.Unfinished)
		}
		return
	}
	line("parameters", "%d", info.Parameters)
	for _, t := range info.Types {
		line("storage", "%-8s %12s  %s", t.Type, count.Of(t.Tensors, "tensor"), byteCount(t.Bytes))
	}
	if info.HParams != nil {
		var s []string
		for _, size := range info.sizes {
			s = append(s, fmt.Sprintf("%s %d", size.Name, size.N))
		}
		line("sizes", "%s", strings.Join(s, ", "))
		output := "none: it makes vectors of texts"
		if info.TiedOutput != nil {
			output = map[bool]string{true: "tied to token_embd", false: "its own output.weight"}[*info.TiedOutput]
		}
		line("output", "%s", output)
		if info.Pooling != "" {
			line("pooling", "%s", info.Pooling)
		}
	}
	if t := info.Tokenizer; t != nil {
		line("tokenizer", "%s",
			strings.TrimSpace(fmt.Sprintf("%s %s, %s", t.Model, t.Pre, count.Of(t.Tokens, "token"))))
	}
	if info.Kind == "model" {
		line("chat template", "%s",
			map[bool]string{true: "none",
				false: fmt.Sprintf("%s (--print-template shows it)",
					count.Of(len(info.Template), "character"))}[info.Template == ""])
		line("trainable", "%s",
			map[bool]string{true: "yes: " + strings.Join(info.Targets, ", "),
				false: "no: " + info.WhyNot}[info.Trainable])
	}
	if info.Kind == "adapter" {
		line("type", "%s", info.AdapterType)
		if len(info.Ranks) > 0 {
			line("rank", "%s", strings.Trim(fmt.Sprint(info.Ranks), "[]"))
			line("alpha", "%g", info.Alpha)
		}
		line("targets", "%s", strings.Join(info.Targets, ", "))
		if info.TaskName != "" {
			line("task name", "%q", info.TaskName)
		}
		if info.PromptPrefix != "" {
			line("prompt prefix", "%q", info.PromptPrefix)
		}
		if len(info.Invocation) > 0 {
			line("acts", "%s", (&adapter.Purpose{Invocation: info.Invocation}).Acts())
		}
		var keys []string
		for k := range info.Origin {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			line(k, "%s", info.Origin[k])
		}
	}
	for i, t := range info.Tensors {
		if i == 0 {
			fmt.Fprintln(w, "\ntensors")
		}
		fmt.Fprintf(w, "  %-40s %-8s %-20s %s\n", t.Name, t.Type,
			strings.Trim(strings.ReplaceAll(fmt.Sprint(t.Shape), " ", " × "), "[]"), byteCount(t.Bytes))
	}
}
