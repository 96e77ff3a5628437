package study

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

// Options are what every study is asked for.
type Options struct {
	Ggtune, Out    string
	Seeds, Threads int
	Table          bool
}

// Bind makes flags of them; out is where results go unless that is said, and seeds what seeds decide.
func (o *Options) Bind(out, seeds string, threads int) {
	flag.StringVar(&o.Ggtune, "ggtune", "ggtune", "the `program` to measure")
	flag.StringVar(&o.Out, "o", out, "`file` that results are appended to")
	flag.IntVar(&o.Seeds, "seeds", 3, "`N` seeds: of "+seeds)
	flag.IntVar(&o.Threads, "threads", threads, "`N` threads")
	flag.BoolVar(&o.Table, "table", false, "print the table and measure nothing")
}

// Main reads the flags, and runs the study of that name unless something is missing among them, until it ends or is
// interrupted.
func Main(name string, missing func() bool, run func(context.Context) error) {
	flag.Parse()
	if flag.NArg() != 0 || missing() {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}
