package node

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
)

// published is the latest view of the state: the apply goroutine replaces it,
// anyone holds it.
type published struct {
	view atomic.Pointer[state.View] // nil once the member has stopped

	mu sync.Mutex
	// changed is closed when the view is replaced; nil while nobody waits, so
	// that a put that nobody waits for pays nothing.
	changed chan struct{}
}

func (p *published) init(v *state.View) { p.view.Store(v) }

// publish makes v, whose hold it takes over, the latest view.
func (p *published) publish(v *state.View) {
	old := p.view.Swap(v)
	old.Replaced()
	old.Close()
	p.wake()
}

func (p *published) wake() {
	p.mu.Lock()
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
	p.mu.Unlock()
}

// close gives up the latest view: there is none from now on.
func (p *published) close() {
	if old := p.view.Swap(nil); old != nil {
		old.Close()
	}
	p.wake()
}

// trim lets go of what the latest view keeps to read faster: while nothing is written it
// stays, and the engine's obsolete files with it.
func (p *published) trim() error {
	v := p.hold()
	if v == nil {
		return nil
	}
	defer v.Close()
	return v.Trim()
}

// rev is the revision of the latest view; zero if the member has stopped.
func (p *published) rev() core.Rev {
	v := p.view.Load()
	if v == nil {
		return 0
	}
	return v.Rev() // which needs no hold
}

// hold returns the latest view, to be closed by the caller; nil if the member
// has stopped.
func (p *published) hold() *state.View {
	for {
		v := p.view.Load()
		if v == nil || v.Retain() {
			return v
		}
	}
}

// await returns the first view that is good enough, to be closed by the caller.
// It fails with Stopped, or when ctx ends.
func (p *published) await(ctx context.Context, enough func(*state.View) bool) (*state.View, error) {
	for {
		// Ask to be told of a change first: one that comes between the look and the
		// wait must not be missed.
		p.mu.Lock()
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()

		v := p.hold()
		if v == nil {
			return nil, core.Stopped
		}
		if enough(v) {
			return v, nil
		}
		v.Close()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, core.ContextError(ctx.Err())
		}
	}
}
