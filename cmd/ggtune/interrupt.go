package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// errInterrupted is the cause of the context's end when the user asked to stop.
var errInterrupted = errors.New("interrupted")

// sameSignal is how close two signals are one: timeout(1) and some shells signal the process and then its whole
// group, and a person cannot press twice that fast.
const sameSignal = 100 * time.Millisecond

// interruptible returns a context that the first SIGINT, SIGTERM, SIGQUIT (Ctrl-\) or SIGHUP (unless it was ignored at
// the start, as nohup has it) ends with errInterrupted; the second leaves the process at once. What a run has saved by
// then is whole: files appear by rename. A SIGINT goes first to who asked for it with divertInterrupt.
func interruptible(stderr io.Writer) (ctx context.Context, stop func()) {
	diversion := &diversion{}
	ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), diversionKey{}, diversion))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	done := make(chan struct{})
	go func() {
		var last time.Time
		stopping := false
		for {
			var sig os.Signal
			select {
			case sig = <-signals:
			case <-done:
				return
			}
			switch same := time.Since(last) <= sameSignal; {
			case same && (stopping || sig == os.Interrupt):
				continue
			case stopping:
				os.Exit(exitInterrupted)
			case sig == os.Interrupt && diversion.take():
			default:
				fmt.Fprintln(stderr, "\nggtune: stopping (again to leave at once)")
				cancel(errInterrupted)
				stopping = true
			}
			last = time.Now()
		}
	}()
	return ctx, func() { signal.Stop(signals); close(done); cancel(nil) }
}

// A diversion is what the next SIGINT does in place of ending the program. It is safe for concurrent use.
type diversion struct {
	mu sync.Mutex
	do func() // nil: nothing is diverted
}

type diversionKey struct{}

// take does what was asked for, and says whether there was anything.
func (d *diversion) take() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.do == nil {
		return false
	}
	d.do()
	d.do = nil
	return true
}

// quietly gives a context that the next SIGINT ends without a word: where nothing is under way, there is nothing to be
// said of stopping it. release must be called.
func quietly(ctx context.Context) (quiet context.Context, release func()) {
	quiet, end := context.WithCancelCause(ctx)
	back := divertInterrupt(ctx, func() { end(errInterrupted) })
	return quiet, func() { back(); end(nil) }
}

// divertInterrupt lets the next SIGINT call do, once, in place of ending the program, until back is called. Without a
// context of interruptible's nothing is diverted.
func divertInterrupt(ctx context.Context, do func()) (back func()) {
	d, ok := ctx.Value(diversionKey{}).(*diversion)
	if !ok {
		return func() {}
	}
	set := func(do func()) {
		d.mu.Lock()
		d.do = do
		d.mu.Unlock()
	}
	set(do)
	return func() { set(nil) }
}
