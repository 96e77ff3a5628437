package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
)

// A plan is what a study does.
type plan struct {
	name string
	// figures are those of its table, in their order.
	figures []string
	// noData needs no file of data.
	noData bool
	arms   []arm
	// prepare writes the files that arms learn from and are measured on, the same for all seeds.
	prepare func(o *options) error
	// measure adds to a result what came of an arm's run.
	measure func(o *options, ctx context.Context, a arm, run string, r *result) error
}

// An arm is a way of training.
type arm struct {
	name string
	// repeated is with several seeds; the others are with one.
	repeated bool
	// from is the arm whose adapter it begins with, with seed 1; "": none.
	from string
	// needs are arms whose runs, with seed 1, its args name.
	needs []string
	// data is the file that it learns from; "": nothing is trained, and it is the base that is measured.
	data string
	// args are those of train beside the model, the data, the output and the seed. In them WORK is the directory of
	// work.
	args []string
}

func planOf(name string) *plan {
	for _, p := range []*plan{&scan, &judged, &constraints} {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (p *plan) arm(name string) arm {
	return p.arms[slices.IndexFunc(p.arms, func(a arm) bool { return a.name == name })]
}

func (o *options) file(name string) string { return filepath.Join(o.work, name) }

// write writes rows as JSON lines.
func write[T any](file string, rows []T) error {
	var text []byte
	for _, r := range rows {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	return os.WriteFile(file, text, 0o666)
}
