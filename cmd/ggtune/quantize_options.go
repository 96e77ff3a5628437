package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/imatrix"
	"github.com/ggtune/ggtune/quant/mix"
)

// quantizeOptions reads what is wanted: a job for each type.
func quantizeOptions(c *cli.Context) (jobs []quantizing, o quant.Output, err error) {
	budgets, err := budgetsOf(c)
	if err != nil {
		return nil, o, err
	}
	var names []string
	if len(budgets) == 0 || c.IsSet("type") {
		names = strings.Split(c.String("type"), ",")
	}
	several := len(names) + len(budgets)
	switch {
	case c.NArg() == 1 && c.String("report") == "" && !c.Bool("dry-run"), c.NArg() < 1, c.NArg() > 2:
		return nil, o, usagef("quantize: %s given, expected two: ggtune quantize --type q8_0 IN.gguf OUT.gguf",
			count.Of(c.NArg(), "argument"))
	case c.IsSet("data") && len(budgets) == 0:
		return nil, o, usagef("quantize: --data is for --budget and --size; what is lost is measured on --report")
	case several > 1 && c.NArg() == 2 && !strings.Contains(c.Args().Get(1), placeOfType):
		return nil, o, usagef("quantize: %s for one output; name it with %s in the type's place, such as "+
			"model-%[2]s.gguf", count.Of(several, "type"), placeOfType)
	}
	for _, name := range []string{"report", "data"} {
		if s := c.String(name); s != "" {
			if err := run.CheckText(s); err != nil {
				return nil, o, usagef("quantize: --%s %w", name, err)
			}
		}
	}
	if path := c.String("plot"); path != "" {
		switch {
		case c.String("report") == "" || c.Bool("dry-run"):
			return nil, o, usagef("quantize: --plot draws what --report measured; give that too, and no --dry-run")
		case !strings.EqualFold(filepath.Ext(path), ".svg"):
			return nil, o, usagef("quantize: --plot %s: it is drawn as SVG; give a name that ends in .svg", path)
		}
		if err := refuseExisting(c, path); err != nil {
			return nil, o, err
		}
	}
	choice := quant.Choice{Requantize: c.Bool("allow-requantize")}
	if choice.Types, err = typesByRole(c); err != nil {
		return nil, o, err
	}
	if choice.Importance, err = importanceOf(c); err != nil {
		return nil, o, err
	}
	for _, name := range names {
		of := choice
		if of.Mix, err = mix.ToWrite(strings.TrimSpace(name)); err != nil {
			return nil, o, usagef("quantize: %w", err)
		}
		if slices.ContainsFunc(jobs, func(q quantizing) bool { return q.result.Type == of.Mix.Name }) {
			return nil, o, usagef("quantize: --type has %s twice; give it once", of.Mix.Name)
		}
		jobs = append(jobs, quantizing{choice: of, result: quantizeResult{Type: of.Mix.Name,
			Output: strings.ReplaceAll(c.Args().Get(1), placeOfType, of.Mix.Name)}})
	}
	for i := range budgets {
		b := &budgets[i]
		jobs = append(jobs, quantizing{choice: choice, budget: b, result: quantizeResult{Type: b.Name,
			Output: strings.ReplaceAll(c.Args().Get(1), placeOfType, b.Name)}})
	}
	if s := c.String("split-size"); s != "" {
		if o.PartBytes, err = parseSize(s); err != nil {
			return nil, o, usagef("quantize: --split-size %w", err)
		}
	}
	o.Threads, err = threads(c)
	return jobs, o, err
}

// placeOfType stands in OUT for the type's name.
const placeOfType = "{type}"

// tensorTypeFlags are those of quantize and merge that say how tensors are written.
func tensorTypeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "tensor-type", Usage: "another storage type for tensors of a role: `ROLE=TYPE`, " +
			"such as attn_v=q6_K; may be given again"},
		&cli.StringFlag{Name: "imatrix", Usage: "round with more care where it matters, by the importance matrix " +
			"in `FILE` (ggtune imatrix, llama-imatrix)"},
	}
}

// importanceOf reads --imatrix; nil: there is none.
func importanceOf(c *cli.Context) (quant.Importance, error) {
	path := c.String("imatrix")
	if path == "" {
		return nil, nil
	}
	m, err := imatrix.Read(path)
	if err != nil {
		return nil, err
	}
	return m.Weights(), nil
}

// typesByRole reads --tensor-type.
func typesByRole(c *cli.Context) (map[string]gguf.Type, error) {
	types := map[string]gguf.Type{}
	for _, s := range c.StringSlice("tensor-type") {
		role, name, ok := strings.Cut(s, "=")
		if !ok || role == "" {
			return nil, usagef("%s: --tensor-type %s: expected ROLE=TYPE, such as attn_v=q6_K", c.Command.Name, s)
		}
		t, err := quant.TypeToWrite(name)
		if err != nil {
			return nil, usagef("%s: --tensor-type %s: %w", c.Command.Name, s, err)
		}
		if before, ok := types[role]; ok && before != t {
			return nil, usagef("%s: --tensor-type gives %s as %s and as %s; give one", c.Command.Name, role, before,
				t)
		}
		types[role] = t
	}
	return types, nil
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
