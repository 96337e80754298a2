package consensus

import (
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
)

// epoch is the zero of the times below.
var epoch = time.Now()

// times are when an entry reached what, in nanoseconds since epoch; zero is not yet.
// Its proposals share it. The consensus goroutine writes the first, the applier the
// others; a waiter that was answered early may read in between.
type times struct{ appended, applying, applied atomic.Int64 }

func stamp(at *atomic.Int64, t time.Time) { at.Store(int64(t.Sub(epoch))) }

// Applied notes when the entries of a batch began to be applied and when that was
// done, for the proposals that are about to be completed. It is called once a batch.
func Applied(batch []Committed, began, ended time.Time) {
	for i := range batch {
		for _, p := range batch[i].Local {
			if p != nil && p.times != nil {
				stamp(&p.times.applying, began)
				stamp(&p.times.applied, ended)
				break // the others of the entry share it
			}
		}
	}
}

// Stages says where the time of a proposal went that was made at a time. It is zero
// if its waiter left before there was an outcome.
func (p *Proposal) Stages(made time.Time) core.Stages {
	if p.state.Load() != completed || p.times == nil {
		return core.Stages{}
	}
	at := int64(made.Sub(epoch))
	next := func(stage *atomic.Int64) time.Duration {
		reached := stage.Load()
		if reached <= at {
			return 0
		}
		took := time.Duration(reached - at)
		at = reached
		return took
	}
	return core.Stages{Queue: next(&p.times.appended), Log: next(&p.times.applying), Apply: next(&p.times.applied)}
}
