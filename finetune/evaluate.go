package finetune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/finetune/config"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/template"
)

// An Evaluation is what `ggtune eval` finds out.
type Evaluation struct {
	Loss       float64 // of the method, per unit; for sft and cpt nats per counted token
	Perplexity float64 // e to the nats per counted token; NaN for methods that compare answers
	Tokens     int     // read, padding excluded
	Counted    int
	Rows       int
	Method     string
	Unit       string // what Loss is per: token, pair, …
	Model      string
	Adapter    string // "" for the model alone
	Figures    map[string]float64
	Data       encode.Counts
}

// MarshalJSON writes the stable keys of `eval --json`.
func (e Evaluation) MarshalJSON() ([]byte, error) {
	m := map[string]any{"loss": e.Loss, "perplexity": finite(e.Perplexity), "tokens": e.Tokens, "counted_tokens": e.Counted, "rows": e.Rows,
		"method": e.Method, "model": e.Model, "adapter": nil, "data": e.Data}
	if e.Adapter != "" {
		m["adapter"] = e.Adapter
	}
	for k, v := range e.Figures {
		m[k] = finite(v)
	}
	return json.Marshal(m)
}

// finite is x, or null where it is no number: JSON has none such.
func finite(x float64) any {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return x
}

// Evaluate measures a model on cfg.Data, with the adapter in a file unless its name is "". What the adapter says about its
// making (method, template, mask, row length, and how the data is read) is taken where given, asked with the option's name, says that the user did
// not choose; nil means nothing was chosen. Of cfg only what Options marks as Eval is used.
func Evaluate(ctx context.Context, cfg config.Config, adapterPath string, given func(option string) bool, rep report.Reporter) (_ Evaluation, err error) {
	if err := cfg.ValidateEval(adapterPath != ""); err != nil {
		return Evaluation{}, err
	}
	if given == nil {
		given = func(string) bool { return false }
	}
	if cfg.Threads == 0 {
		cfg.Threads = PhysicalCores()
	}
	m, err := engine.Open(cfg.Model)
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	note := func(format string, args ...any) { rep.Report(report.Notice{Text: fmt.Sprintf(format, args...)}) }
	sc := engine.SessionConfig{Threads: cfg.Threads, Exact: cfg.Exact, Seed: cfg.Seed}
	var info map[string]string
	if adapterPath != "" {
		if sc.Adapter, err = tunedAdapter(ctx, m, &cfg, adapterPath, given, note); err != nil {
			return Evaluation{}, err
		}
		info = sc.Adapter.Info
	}
	how, err := cfg.Loss()
	if err != nil {
		return Evaluation{}, err
	}
	text, err := openText(&cfg, m, how)
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	text.anyKind = !given("mask")
	held, err := heldRows(ctx, &cfg, text)
	if err != nil {
		return Evaluation{}, err
	}
	for _, n := range held.notes {
		note("%s", n)
	}
	if t := text.tmpl; t != nil && info[InfoTemplateHash] != "" && info[InfoTemplateHash] != t.SHA256() {
		note("%s was trained with chat template %q; %q, in use here, is another one (--template names one)", adapterPath, info[InfoTemplate], t.Name())
	}
	total := held.heldRows.Rows()
	var ref *reference
	if how.Reference {
		path, sum, err := referenceAdapter(&cfg)
		if err != nil {
			return Evaluation{}, err
		}
		if want, known := info[InfoReference]; known && want != sum {
			note("%s was trained against %s, and is compared with %s here; --ref-adapter names another", adapterPath, referenceName(want), referenceName(sum))
		}
		if ref, err = measureReference(ctx, m, &cfg, path, held, func(n int) { rep.Report(report.Progress{What: "reference", Done: n, Total: total}) }); err != nil {
			return Evaluation{}, err
		}
	}
	sess, err := engine.NewSession(m, sc)
	if err != nil {
		return Evaluation{}, err
	}
	defer func() { err = errors.Join(err, sess.Close()) }()
	res, err := eval.Run(ctx, sess, held.heldRows, how, eval.Options{Reference: ref.of, Progress: func(n int) {
		rep.Report(report.Progress{What: "evaluate", Done: n, Total: total})
	}})
	if err != nil {
		return Evaluation{}, err
	}
	return Evaluation{Loss: res.Loss, Perplexity: res.Perplexity(), Tokens: res.Tokens, Counted: res.Counted, Rows: total, Method: how.Name, Unit: how.Unit,
		Model: cfg.Model, Adapter: adapterPath, Figures: figures(nil, "", res.Metrics), Data: held.held.Counts}, nil
}

// tunedAdapter loads the adapter that is measured, and takes into cfg what it says about its making.
func tunedAdapter(ctx context.Context, m *engine.Model, cfg *config.Config, path string, given func(string) bool, note func(string, ...any)) (*adapter.Adapter, error) {
	a, err := adapter.Load(path, m.Arch(), m.HParams())
	if err != nil {
		return nil, err
	}
	h := startHashing(ctx, m)
	defer h.stop()
	takeDefaults(cfg, a.Info, given, note)
	if sum, err := h.wait(); err != nil {
		return nil, err
	} else if want := a.Info[InfoBase]; want != "" && want != sum {
		note("%s was trained on another base (sha256 %.12s…) than %s (%.12s…): its effect here is not what was trained", path, want, cfg.Model, sum)
	}
	if err := cfg.ValidateEval(false); err != nil {
		return nil, fmt.Errorf("with the settings in %s: %w", path, err)
	}
	return a, nil
}

// measureReference runs the reference over held-out rows; nothing is kept on disk.
func measureReference(ctx context.Context, m *engine.Model, cfg *config.Config, adapterPath string, held *rows, progress func(rows int)) (_ *reference, err error) {
	base := &referenceModel{model: m, cfg: cfg, adapter: adapterPath}
	defer func() { err = errors.Join(err, base.Close()) }()
	ref := newReference(held.held)
	return ref, ref.compute(ctx, base, held.heldRows, held.heldRows.Micros(), progress, func() error { return nil })
}

// heldRows reads cfg.Data as held-out rows.
func heldRows(ctx context.Context, cfg *config.Config, s *textSide) (*rows, error) {
	plain := *cfg
	plain.EvalData, plain.EvalSplit = nil, 0
	r, err := readRows(ctx, &plain, s)
	if err != nil {
		return nil, err
	}
	r.held, r.train = r.train, nil
	packing, err := encode.ParsePacking(cfg.Packing)
	if err != nil {
		return nil, err
	}
	r.heldRows, err = encode.NewLoader(r.held, encode.LoadOptions{Window: cfg.SeqLen, Packing: packing, Batch: cfg.Batch, Seed: cfg.Seed, Limit: cfg.EvalRows})
	return r, err
}

// ownTemplatePrefix begins the name of a template that a model brings, as template.Find gives it.
const ownTemplatePrefix = "built into "

// takeDefaults takes what an adapter says about its making for settings that the user did not give.
func takeDefaults(cfg *config.Config, info map[string]string, given func(string) bool, note func(string, ...any)) {
	text := func(key, option string, field *string) {
		if v := info[key]; v != "" && !given(option) {
			*field = v
		}
	}
	text(InfoMethod, "method", &cfg.Method)
	// A method that compares answers has no use for the mask of one that trained on turns.
	if how, err := method.New(cfg.Method, nil, method.Unset()); err == nil && how.Need == method.Answers {
		text(InfoMask, "mask", &cfg.Mask)
	}
	text(InfoOnLong, "on-long", &cfg.OnLong)
	text(InfoTextSplit, "text-split", &cfg.TextSplit)
	text(InfoRankedPairs, "ranked-pairs", &cfg.RankedPairs)
	number := func(key, option string, field *int) {
		if n, err := strconv.Atoi(info[key]); err == nil && !given(option) {
			*field = n
		}
	}
	number(InfoSeqLen, "seq-len", &cfg.SeqLen)
	number(InfoTaskExamples, "task-examples", &cfg.TaskExamples)
	truth := func(key, option string, field *bool) {
		if v, err := strconv.ParseBool(info[key]); err == nil && !given(option) {
			*field = v
		}
	}
	truth(InfoDropReasoning, "drop-reasoning", &cfg.DropReasoning)
	truth(InfoTaskChat, "task-chat", &cfg.TaskChat)
	own := cfg.Method == info[InfoMethod] // settings of another method would say nothing
	var set map[string]float64
	if err := json.Unmarshal([]byte(info[InfoSettings]), &set); err == nil {
		for _, o := range method.AllSettings() {
			if x, ok := set[o.Name]; ok && !given(o.Name) && own {
				*o.Field(&cfg.Settings) = x
			}
		}
	}
	var weights []float64
	if err := json.Unmarshal([]byte(info[InfoLossWeights]), &weights); err == nil && !given("loss-weights") && own {
		cfg.LossWeights = weights
	}
	var columns []string
	if err := json.Unmarshal([]byte(info[InfoColumns]), &columns); err == nil && len(columns) > 0 && !given("columns") {
		cfg.Columns = columns
		note("the adapter was trained on data with --columns %s, and the data here is read so too; --columns gives other names", strings.Join(columns, ", "))
	}
	// A template of the model's own is found there again; a built-in one by its name. A file's name in a stranger's
	// adapter is not opened: the hash will tell whether the model's own will do.
	if name := info[InfoTemplate]; name != "" && !given("template") && !strings.HasPrefix(name, ownTemplatePrefix) {
		if slices.Contains(template.Names(), name) {
			cfg.Template = name
		} else {
			note("the adapter was trained with chat template %s; give it with --template if the data holds conversations", name)
		}
	}
}
