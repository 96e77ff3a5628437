package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/rundir"
	"github.com/ggtune/ggtune/internal/regular"
)

// runInfo is what inspect says of a run's directory.
type runInfo struct {
	Kind        string   `json:"kind"` // "run"
	Path        string   `json:"path"`
	Model       string   `json:"model"`
	Data        []string `json:"data"`
	Method      string   `json:"method"`
	Finished    bool     `json:"finished"`
	Step        int      `json:"step"` // the last in metrics.jsonl
	Loss        *float64 `json:"loss"` // of that step
	Checkpoints []string `json:"checkpoints"`
	Adapter     *string  `json:"adapter"` // the file that -a takes for this run; null: there is none yet
	// Report is report.json, which a run writes at its end.
	Report *report.Summary `json:"report"`
}

func inspectRun(c *cli.Context, dir string) error {
	info, err := describeRun(dir)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, info)
	}
	w := &strings.Builder{}
	state := "not finished: ggtune train -o " + dir + " --resume goes on"
	if info.Finished {
		state = "finished"
	}
	fmt.Fprintf(w, "%s: a run of method %s, %s\n", dir, info.Method, state)
	fmt.Fprintf(w, "  model        %s\n", info.Model)
	for _, d := range info.Data {
		fmt.Fprintf(w, "  data         %s\n", d)
	}
	if info.Loss != nil {
		fmt.Fprintf(w, "  last step    %d, loss %.4f\n", info.Step, *info.Loss)
	}
	for _, name := range info.Checkpoints {
		fmt.Fprintf(w, "  checkpoint   %s\n", name)
	}
	if info.Adapter != nil && !info.Finished {
		fmt.Fprintf(w, "  adapter      %s, unfinished; -a %s takes it\n", *info.Adapter, dir)
	}
	if s := info.Report; s != nil {
		fmt.Fprintf(w, "  tokens       %d, of which counted %d\n", s.Tokens, s.Counted)
		if s.EvalLossBefore != nil && s.EvalLossAfter != nil {
			fmt.Fprintf(w, "  held out     loss %.4f before, %.4f after\n", *s.EvalLossBefore, *s.EvalLossAfter)
		}
		for _, m := range s.Mixed {
			if m.LossBefore != nil && m.LossAfter != nil {
				fmt.Fprintf(w, "  mixed in     %s: held-out loss %.4f before, %.4f after\n", m.File, *m.LossBefore,
					*m.LossAfter)
			}
		}
		fmt.Fprintf(w, "  result       %s (step %d)\n", s.Result, s.ResultStep)
	}
	printTable(c.App.Writer, w.String())
	return nil
}

func describeRun(dir string) (*runInfo, error) {
	cfg, err := config.LoadRun(filepath.Join(dir, rundir.Settings))
	if err != nil {
		return nil, err
	}
	info := &runInfo{Kind: "run", Path: dir, Model: cfg.Model, Data: cfg.Data, Method: cfg.Method,
		Checkpoints: []string{}}
	metrics, err := regular.Read(filepath.Join(dir, "metrics.jsonl"), 1<<30)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// A run that was killed may have left the beginning of a line behind the last whole one.
	if end := bytes.LastIndexByte(metrics, '\n'); end >= 0 {
		last := metrics[bytes.LastIndexByte(metrics[:end], '\n')+1 : end]
		var line report.Line
		if err := json.Unmarshal(last, &line); err != nil {
			return nil, fmt.Errorf("%s: last line of metrics.jsonl: %w", dir, err)
		}
		info.Step, info.Loss = line.Step, &line.Loss
	}
	store := checkpoint.Store{Dir: filepath.Join(dir, checkpoint.Dir)}
	ids, err := store.List()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		info.Checkpoints = append(info.Checkpoints, store.Path(id))
	}
	if file, err := checkpoint.FindAdapter(dir); err == nil {
		info.Adapter = &file
	}
	text, err := regular.Read(filepath.Join(dir, "report.json"), maxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return info, nil
	}
	if err != nil {
		return nil, err
	}
	info.Report, info.Finished = &report.Summary{}, true
	if err := json.Unmarshal(text, info.Report); err != nil {
		return nil, fmt.Errorf("%s: report.json: %w", dir, err)
	}
	// A run's directory may have been renamed or copied since: its result is the one in it.
	if s := info.Report; s.Result != "" {
		s.Result = filepath.Join(dir, filepath.Base(s.Result))
	}
	return info, nil
}
