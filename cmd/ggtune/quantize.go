package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/allot"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

func quantizeCommand() *cli.Command {
	var types []string
	for _, m := range mix.All() {
		types = append(types, fmt.Sprintf("  %-9s  %s", m.Name, m.About))
	}
	return &cli.Command{
		Name:      "quantize",
		Usage:     "write a model in another storage type",
		UsageText: "--type TYPE IN.gguf [OUT.gguf]",
		Description: "Writes a model anew, each tensor as llama.cpp's llama-quantize does, byte for byte; norms and " +
			"biases stay as they are. Types, with bits a weight of Llama 3 8B:\n" + strings.Join(types, "\n") + "\n\n" +
			"  ggtune quantize --type q4_k_m model-f16.gguf model-q4_k_m.gguf\n" +
			"  ggtune quantize --type q4_k_m --tensor-type ffn_down=q6_K model-f16.gguf better.gguf\n" +
			"  ggtune quantize --type q8_0,q4_k_m,q3_k_m --report text.txt model-f16.gguf\n" +
			"  ggtune quantize --type q8_0,q4_k_m model-f16.gguf 'model-{type}.gguf'\n" +
			"  ggtune quantize --budget 4.5bpw model-f16.gguf model-4.5bpw.gguf",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "type", Usage: "storage `TYPE` to write; several with commas, to compare them with " +
				"--report", Value: "q8_0"},
			&cli.StringFlag{Name: "budget", Usage: "instead, the best type for each tensor in so many " +
				"`BITS` a weight (4.5bpw), by what each costs in predictions; several with commas"},
			&cli.StringFlag{Name: "size", Usage: "the same in a file of so many `BYTES` (700M, 3GB); several with " +
				"commas"},
			&cli.StringFlag{Name: "data", Aliases: []string{"d"}, Usage: "find what types cost on `FILE`, data as " +
				"eval reads it, or on this text; without, on a general text"},
			&cli.StringFlag{Name: "report", Usage: "measure what was lost on `FILE`, data as eval reads it, or on " +
				"this text: perplexity, and how far predictions are from the source's"},
			&cli.StringFlag{Name: "plot", Usage: "draw size against divergence, a point for each type, to `FILE`.svg"},
			&cli.BoolFlag{Name: "allow-requantize",
				Usage: "read weights that are quantized already, which loses more than quantizing once"},
			&cli.StringFlag{Name: "split-size",
				Usage: "write parts of at most `SIZE` (300M, 2G), named as llama.cpp's are: OUT-00001-of-00003.gguf"},
			&cli.BoolFlag{Name: "force", Usage: "replace OUT.gguf if it exists"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be written, and write nothing"},
			threadsFlag(), jsonFlag(),
		}, tensorTypeFlags()...),
		Action: quantizeAction,
	}
}

type quantizeResult struct {
	Input  string `json:"input"`
	Output string `json:"output"`
	Type   string `json:"type"`
	// ExpectedKL is the divergence, in nats, that the types of a budget were chosen by; null for a mix.
	ExpectedKL *float64 `json:"expected_kl"`
	Before     int64    `json:"tensor_bytes_before"`
	After      int64    `json:"tensor_bytes_after"`
	Tensors    int      `json:"tensors"`
	Changed    int      `json:"changed"`
	// BPW is bits a weight.
	BPW float64 `json:"bits_per_weight"`
	// Fallback counts tensors whose rows the type does not fit.
	Fallback int `json:"fallback"`
	// Requantized counts tensors that were quantized already.
	Requantized int `json:"requantized"`
	// Loss is what rounding took: a root mean square, relative to that of the weights as they were read. Null for a
	// plan.
	Loss   *float64      `json:"relative_error"`
	Files  []string      `json:"files"`
	DryRun bool          `json:"dry_run"`
	Plan   []plannedType `json:"plan,omitempty"` // of a dry run
	// Cost is what --report measured; null without.
	Cost *quantizeCost `json:"report"`
}

// A quantizeCost is how far the predictions of what was written are from the source's. Losses and divergences are in
// nats for each token.
type quantizeCost struct {
	Text             string  `json:"text"`
	Tokens           int     `json:"tokens"`
	SourceLoss       float64 `json:"source_loss"`
	SourcePerplexity float64 `json:"source_perplexity"`
	Loss             float64 `json:"loss"`
	Perplexity       float64 `json:"perplexity"`
	KL               float64 `json:"kl_mean"`
	KL99             float64 `json:"kl_p99"`
	Top              float64 `json:"top1_agreement"`
}

// A plannedType is what would become of a tensor.
type plannedType struct {
	Tensor string `json:"tensor"`
	From   string `json:"from"`
	To     string `json:"to"`
	Bytes  int64  `json:"bytes"`
}

// A quantizing is one type that is written.
type quantizing struct {
	choice quant.Choice
	budget *allot.Budget // nil: a mix
	// weighed says that the importance matrix was found with the types, and none was given.
	weighed bool
	plan    quant.Plan
	result  quantizeResult
}

func quantizeAction(c *cli.Context) error {
	jobs, o, err := quantizeOptions(c)
	if err != nil {
		return err
	}
	in := c.Args().Get(0)
	f, err := gguf.Open(in)
	if err != nil {
		return err
	}
	defer f.Close()
	if net, err := arch.Of(f); err == nil && net.Headless {
		for _, option := range []string{"report", "budget", "size"} {
			if c.IsSet(option) {
				return usagef("quantize: --%s measures predictions, and %s makes vectors of texts (%s): leave it "+
					"out; ggtune eval measures the vectors of what is written", option, in, net.Arch)
			}
		}
	}
	if c.NArg() == 1 && !c.Bool("dry-run") { // to be measured, and not kept
		dir, err := os.MkdirTemp("", "ggtune-quantize-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		for i := range jobs {
			jobs[i].result.Output = filepath.Join(dir, jobs[i].result.Type+".gguf")
		}
	}
	if err := allotTypes(c, jobs, o.Threads); err != nil {
		return err
	}
	for i := range jobs {
		if err := jobs[i].decide(c, f, o.PartBytes); err != nil {
			return err
		}
	}
	if !c.Bool("dry-run") {
		if err := writeQuantized(c, f, jobs, o); err != nil {
			return err
		}
	}
	if path := c.String("plot"); path != "" {
		if err := plotQuantized(path, jobs); err != nil {
			return err
		}
	}
	return printQuantized(c, jobs)
}

// allotTypes chooses the types of jobs with a budget.
func allotTypes(c *cli.Context, jobs []quantizing, threads int) error {
	var of []int
	var budgets []allot.Budget
	for i := range jobs {
		if b := jobs[i].budget; b != nil {
			of, budgets = append(of, i), append(budgets, *b)
		}
	}
	if len(of) == 0 {
		return nil
	}
	rep := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	defer rep.Close()
	found, err := run.Allot(c.Context, c.Args().Get(0), jobs[of[0]].choice, budgets, c.String("data"), threads, rep)
	if err != nil {
		return err
	}
	for k, i := range of {
		jobs[i].weighed = jobs[i].choice.Importance == nil
		jobs[i].choice, jobs[i].result.ExpectedKL = found[k].Choice, &found[k].KL
	}
	return nil
}

// decide makes the plan.
func (q *quantizing) decide(c *cli.Context, f *gguf.File, partBytes int64) (err error) {
	if q.plan, err = quant.NewPlan(f, q.choice); err != nil {
		return err
	}
	r := describePlan(&q.plan)
	r.Input, r.Output, r.Type, r.DryRun = f.Path(), q.result.Output, q.result.Type, c.Bool("dry-run")
	r.ExpectedKL = q.result.ExpectedKL
	if r.Output != "" { // a plan needs none
		if r.Files, err = q.plan.Paths(r.Output, partBytes); err != nil {
			return err
		}
	}
	q.result = r
	if r.DryRun {
		q.result.Plan = planned(&q.plan)
		return nil
	}
	for _, path := range r.Files {
		if plot := c.String("plot"); plot != "" && filepath.Clean(plot) == filepath.Clean(path) {
			return usagef("quantize: --plot %s: the model is written there; give another name", plot)
		}
		if err := refuseExisting(c, path); err != nil {
			return err
		}
		if err := atomicfile.Distinct(path, c.String("imatrix"), c.String("report"), c.String("data")); err != nil {
			return err
		}
	}
	return nil
}

// writeQuantized writes the files, and measures what that cost where it is asked for.
func writeQuantized(c *cli.Context, f *gguf.File, jobs []quantizing, o quant.Output) error {
	rep := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	defer rep.Close()
	var made []string
	for i := range jobs {
		r, what := &jobs[i].result, "quantize to "+jobs[i].result.Type
		o.Progress = func(done, total int64) {
			rep.Report(report.Progress{What: what, Done: int(done >> 20), Total: int(total>>20) + 1})
		}
		result, err := quant.Write(c.Context, jobs[i].plan, quant.FileRows(f), r.Output, o)
		rep.Report(report.Progress{What: what, Done: 1, Total: 1})
		if err != nil {
			return err
		}
		loss := result.Total.RMS()
		r.Loss = &loss
		made = append(made, r.Files[0])
	}
	text := c.String("report")
	if text == "" {
		return nil
	}
	cost, err := run.MeasureCost(c.Context, f.Path(), made, text, o.Threads, rep)
	if err != nil {
		return err
	}
	for i, m := range cost.Models {
		jobs[i].result.Cost = &quantizeCost{Text: cost.Text, Tokens: cost.Tokens, SourceLoss: cost.Loss,
			SourcePerplexity: eval.Difference{Loss: cost.Loss}.Perplexity(), Loss: m.Loss, Perplexity: m.Perplexity(),
			KL: m.KL, KL99: m.KL99, Top: m.Top}
		if c.NArg() == 1 {
			jobs[i].result.Output, jobs[i].result.Files = "", nil
		}
	}
	return nil
}

func describePlan(p *quant.Plan) quantizeResult {
	r := quantizeResult{Tensors: len(p.Changes), Changed: p.Changed()}
	r.Before, r.After = p.Bytes()
	var weights int64
	for _, ch := range p.Changes {
		weights += ch.Tensor.Elements()
		if ch.Fallback {
			r.Fallback++
		}
		if ch.To != ch.Tensor.Type && ch.Tensor.Type.IsQuantized() {
			r.Requantized++
		}
	}
	r.BPW = 8 * float64(r.After) / float64(max(weights, 1))
	return r
}

func planned(p *quant.Plan) (out []plannedType) {
	for _, ch := range p.Changes {
		out = append(out, plannedType{ch.Tensor.Name, ch.Tensor.Type.String(), ch.To.String(), ch.ToBytes})
	}
	return out
}
