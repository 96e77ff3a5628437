package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/finetune/rundir"
	"github.com/ggtune/ggtune/finetune/watch"
	"github.com/ggtune/ggtune/finetune/watch/page"
	"github.com/ggtune/ggtune/internal/loopback"
)

// pageFlags are those of commands that show a run in a browser. They are no settings of the run.
func pageFlags() []cli.Flag {
	return []cli.Flag{&cli.IntFlag{Name: "port", Usage: "serve the page on port `N` of 127.0.0.1; 0: any free one"}}
}

func checkPort(c *cli.Context) error {
	if p := c.Int("port"); p < 0 || p > 65535 {
		return usagef("%s: --port is %d, expected 0 to 65535", c.Command.Name, p)
	}
	return nil
}

// A watched run is shown on a page, and may be trained by this process.
type watched struct {
	live   *watch.Live
	rep    report.Reporter // the terminal's
	again  func(context.Context, report.Reporter) error
	wishes chan struct{} // to go on
	mu     sync.Mutex
	busy   bool // this process trains, or is about to
}

// watchRun serves the page of the run in dir until ctx ends or, where first trains it, until that is done. show tells
// the person the page's address.
func watchRun(c *cli.Context, dir string, rep report.Reporter, first func(context.Context, report.Reporter) error,
	show func(url string) error) error {
	w := &watched{live: &watch.Live{}, rep: rep, wishes: make(chan struct{}, 1)}
	w.again = func(ctx context.Context, rep report.Reporter) error {
		cfg, err := run.ResumeConfig(dir)
		if err != nil {
			return err
		}
		return announced(ctx, c, *cfg, rep)
	}
	p := page.New(watch.Open(dir, w.live), page.Config{Command: "ggtune " + c.Command.Name,
		Stop: func() error { return rundir.AskToStop(dir) }, Continue: func() error { return w.wish(dir) }})
	l, err := loopback.Listen(c.Int("port"))
	if err != nil {
		return err
	}
	if err := show(p.URL(l)); err != nil {
		return errors.Join(err, l.Close())
	}
	// The page outlives an interruption: it shows that the run stops, and that it has.
	finished, served := make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancelCause(c.Context)
	defer cancel(nil)
	go func() {
		err := p.Serve(context.WithoutCancel(ctx), l, finished)
		if err != nil {
			cancel(fmt.Errorf("the page: %w", err))
		}
		served <- err
	}()
	err = w.work(ctx, first)
	close(finished)
	<-served
	return err
}

// work trains: first what the command came for, and then whatever the page asks for.
func (w *watched) work(ctx context.Context, first func(context.Context, report.Reporter) error) error {
	next := first
	for {
		if next != nil {
			err := w.train(ctx, next)
			if ctx.Err() != nil || first != nil && !errors.Is(err, run.ErrAsked) {
				return err
			}
			if err != nil && !errors.Is(err, run.ErrAsked) {
				w.rep.Report(report.Notice{Text: err.Error()})
			} else if err != nil {
				w.rep.Report(report.Notice{Text: "stopped from the page, which can let it go on; Ctrl-C ends"})
			}
		}
		waits, release := quietly(ctx)
		select {
		case <-waits.Done():
			release()
			return context.Cause(waits)
		case <-w.wishes:
			release()
			next = w.again
		}
	}
}

// train runs one part of the run, and says on the page how it ended.
func (w *watched) train(ctx context.Context, part func(context.Context, report.Reporter) error) error {
	w.mu.Lock()
	w.busy = true
	w.mu.Unlock()
	w.live.Begin()
	err := part(ctx, report.Several{w.rep, w.live})
	failed := ""
	if err != nil && !errors.Is(err, run.ErrAsked) && !interruptedBy(ctx, err) {
		failed = err.Error()
	}
	w.live.End(failed)
	w.mu.Lock()
	w.busy = false
	w.mu.Unlock()
	return err
}

// wish takes a wish to go on, which is refused where the run is under way or at its end: a run has one writer.
func (w *watched) wish(dir string) error {
	if rundir.Running(dir) {
		return errors.New("the run is under way already")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy {
		return errors.New("the run begins already")
	}
	select {
	case w.wishes <- struct{}{}:
		w.busy = true
		return nil
	default:
		return errors.New("the run begins already")
	}
}
