package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/imatrix"
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
		UsageText: "--type TYPE IN.gguf OUT.gguf",
		Description: "Writes a model anew, each tensor as llama.cpp's llama-quantize does, byte for byte; norms and " +
			"biases stay as they are. Types, with bits a weight of Llama 3 8B:\n" + strings.Join(types, "\n") + "\n\n" +
			"  ggtune quantize --type q4_k_m model-f16.gguf model-q4_k_m.gguf\n" +
			"  ggtune quantize --type q4_k_m --tensor-type ffn_down=q6_K model-f16.gguf better.gguf",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Usage: "storage `TYPE` to write", Value: "q8_0"},
			&cli.StringSliceFlag{Name: "tensor-type",
				Usage: "another storage type for tensors of a role: `ROLE=TYPE`, such as attn_v=q6_K; may be " +
					"given again"},
			&cli.StringFlag{Name: "imatrix", Usage: "round with more care where it matters, by the importance matrix " +
				"in `FILE` (ggtune imatrix, llama-imatrix)"},
			&cli.BoolFlag{Name: "allow-requantize",
				Usage: "read weights that are quantized already, which loses more than quantizing once"},
			&cli.StringFlag{Name: "split-size",
				Usage: "write parts of at most `SIZE` (300M, 2G), named as llama.cpp's are: OUT-00001-of-00003.gguf"},
			&cli.BoolFlag{Name: "force", Usage: "replace OUT.gguf if it exists"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be written, and write nothing"},
			threadsFlag(), jsonFlag(),
		},
		Action: quantizeAction,
	}
}

type quantizeResult struct {
	Input   string `json:"input"`
	Output  string `json:"output"`
	Type    string `json:"type"`
	Before  int64  `json:"tensor_bytes_before"`
	After   int64  `json:"tensor_bytes_after"`
	Tensors int    `json:"tensors"`
	Changed int    `json:"changed"`
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
}

// A plannedType is what would become of a tensor.
type plannedType struct {
	Tensor string `json:"tensor"`
	From   string `json:"from"`
	To     string `json:"to"`
	Bytes  int64  `json:"bytes"`
}

func quantizeAction(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("quantize: %s given, expected two: ggtune quantize --type q8_0 IN.gguf OUT.gguf",
			count.Of(c.NArg(), "argument"))
	}
	in, out := c.Args().Get(0), c.Args().Get(1)
	choice, o, err := quantizeOptions(c)
	if err != nil {
		return err
	}
	f, err := gguf.Open(in)
	if err != nil {
		return err
	}
	defer f.Close()
	if path := c.String("imatrix"); path != "" {
		m, err := imatrix.Read(path)
		if err != nil {
			return err
		}
		choice.Importance = m.Weights()
	}
	plan, err := quant.NewPlan(f, choice)
	if err != nil {
		return err
	}
	r := describePlan(&plan)
	r.Input, r.Output, r.Type, r.DryRun = in, out, choice.Mix.Name, c.Bool("dry-run")
	if r.Files, err = plan.Paths(out, o.PartBytes); err != nil {
		return err
	}
	if r.DryRun {
		r.Plan = planned(&plan)
		return printQuantized(c, r, &plan)
	}
	for _, path := range r.Files {
		if err := refuseExisting(c, path); err != nil {
			return err
		}
	}
	terminal := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	o.Progress = func(done, total int64) {
		terminal.Report(report.Progress{What: "quantize", Done: int(done >> 20), Total: int(total>>20) + 1})
	}
	result, err := quant.Write(c.Context, plan, quant.FileRows(f), out, o)
	terminal.Report(report.Progress{What: "quantize", Done: 1, Total: 1})
	if err != nil {
		return err
	}
	loss := result.Total.RMS()
	r.Loss = &loss
	return printQuantized(c, r, &plan)
}

// quantizeOptions reads what is wanted.
func quantizeOptions(c *cli.Context) (choice quant.Choice, o quant.Output, err error) {
	if choice.Mix, err = mix.ToWrite(c.String("type")); err != nil {
		return choice, o, usagef("quantize: %w", err)
	}
	choice.Requantize = c.Bool("allow-requantize")
	choice.Types = map[string]gguf.Type{}
	for _, s := range c.StringSlice("tensor-type") {
		role, name, ok := strings.Cut(s, "=")
		if !ok || role == "" {
			return choice, o, usagef("quantize: --tensor-type %s: expected ROLE=TYPE, such as attn_v=q6_K", s)
		}
		t, err := gguf.ParseType(name)
		if err != nil {
			return choice, o, usagef("quantize: --tensor-type %s: %w", s, err)
		}
		if before, ok := choice.Types[role]; ok && before != t {
			return choice, o, usagef("quantize: --tensor-type gives %s as %s and as %s; give one", role, before, t)
		}
		choice.Types[role] = t
	}
	if s := c.String("split-size"); s != "" {
		if o.PartBytes, err = parseSize(s); err != nil {
			return choice, o, usagef("quantize: --split-size %w", err)
		}
	}
	o.Threads, err = threads(c)
	return choice, o, err
}

// parseSize reads a size such as 300M, 2G or 1.5GB: powers of 1000, as llama.cpp's tools have them.
func parseSize(s string) (int64, error) {
	number := strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(s)), "B")
	unit := 1.0
	for suffix, n := range map[string]float64{"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = rest, n
			break
		}
	}
	x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(x*unit >= 1 && x*unit < 1<<62) {
		return 0, fmt.Errorf("%q: expected a size in bytes, such as 300M or 2G", s)
	}
	return int64(x * unit), nil
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

func printQuantized(c *cli.Context, r quantizeResult, p *quant.Plan) error {
	w := c.App.Writer
	if c.Bool("json") {
		return printJSON(w, r)
	}
	verb, name := "wrote", r.Output
	if r.DryRun {
		printPlan(w, p)
		verb = "would write"
	}
	if len(r.Files) > 1 || r.Files[0] != r.Output {
		name = fmt.Sprintf("%s (%s)", r.Files[0], count.Of(len(r.Files), "part"))
	}
	fmt.Fprintf(w, "%s %s: %s, tensors %s → %s, %.2f bits a weight, %d of %d changed\n", verb, name, r.Type,
		byteCount(r.Before), byteCount(r.After), r.BPW, r.Changed, r.Tensors)
	if r.Fallback > 0 {
		fmt.Fprintf(w, "another type in place of the one chosen, for rows that are not whole blocks of it: %s\n",
			count.Of(r.Fallback, "tensor"))
	}
	if r.Loss != nil && r.Changed > 0 {
		fmt.Fprintf(w, "rounding changed the weights by %.3g %% (root mean square)\n", 100**r.Loss)
	}
	if len(p.Unweighted) > 0 {
		fmt.Fprintf(w, "the importance matrix has no entries for %s: rounded without\n",
			strings.Join(p.Unweighted, ", "))
	}
	if r.Requantized > 0 {
		fmt.Fprintf(w, "quantized already, and rounded once more: %s; what the first rounding took is not in these "+
			"figures and does not come back\n", count.Of(r.Requantized, "tensor"))
	}
	return nil
}

// printPlan writes the types that tensors would get, a line for each role and change.
func printPlan(out io.Writer, p *quant.Plan) {
	type line struct {
		role     string
		from, to gguf.Type
	}
	var lines []line
	tensors, bytes := map[line]int{}, map[line]int64{}
	for _, ch := range p.Changes {
		l := line{mix.Role(ch.Tensor.Name), ch.Tensor.Type, ch.To}
		if !slices.Contains(lines, l) {
			lines = append(lines, l)
		}
		tensors[l]++
		bytes[l] += ch.ToBytes
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		to := "kept"
		if l.from != l.to {
			to = "→ " + l.to.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.role, count.Of(tensors[l], "tensor"), l.from, to, byteCount(bytes[l]))
	}
	w.Flush()
}
