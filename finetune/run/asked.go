package run

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ggtune/ggtune/finetune/rundir"
)

// ErrAsked is the cause of the end of a run that was asked to stop by rundir.AskToStop. Its state is saved.
var ErrAsked = errors.New("stopped, as was asked for")

// askedEvery is how often a run looks whether it is to stop.
const askedEvery = 250 * time.Millisecond

// An asked looks whether a run is to stop.
type asked struct {
	stop context.CancelCauseFunc // of the run
	done chan struct{}
	look sync.WaitGroup
	dir  string
}

// heed begins to look. What was asked before was asked of a run that has ended.
func (a *asked) heed(d *runDir) {
	a.dir, a.done = d.path, make(chan struct{})
	rundir.Forget(a.dir)
	if a.stop == nil {
		return
	}
	a.look.Go(func() {
		tick := time.NewTicker(askedEvery)
		defer tick.Stop()
		for {
			select {
			case <-a.done:
				return
			case <-tick.C:
			}
			if rundir.Asked(a.dir) {
				a.stop(ErrAsked)
				return
			}
		}
	})
}

// end stops looking, and takes the wish away that was granted, or that came too late. It may be called again.
func (a *asked) end() {
	if a.done == nil {
		return
	}
	close(a.done)
	a.look.Wait()
	a.done = nil
	rundir.Forget(a.dir)
}
