package node

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/crypto/bcrypt"

	"github.com/triglot/triglot/core"
)

// passwords hashes passwords and checks them, which takes tens of milliseconds of CPU
// each: on threads of low priority, so that puts beside it do not wait longer than
// without it. (Measured on two cores: to call the scheduler every now and then instead
// does not help.) The threads stay: one that ends may pass its priority on to another.
type passwords struct {
	cost int
	// decoy is a hash that nothing matches, at the same cost.
	decoy []byte
	// jobs are for the goroutines that work; stopping is closed when there are no more.
	jobs     chan func()
	stopping <-chan struct{}
}

func newPasswords(cost int) passwords {
	if cost < bcrypt.MinCost || cost > bcrypt.MaxCost {
		cost = bcrypt.DefaultCost
	}
	return passwords{cost: cost, decoy: fmt.Appendf(nil, "$2a$%02d$%053d", cost, 0), jobs: make(chan func())}
}

// start starts as many goroutines as leave half of the processors to others. They end
// with ctx.
func (p *passwords) start(ctx context.Context, run func(func())) {
	p.stopping = ctx.Done()
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		run(func() { p.work(ctx) })
	}
}

func (p *passwords) work(ctx context.Context) {
	runtime.LockOSThread() // for good
	lowerPriority()
	for {
		select {
		case job := <-p.jobs:
			job()
		case <-ctx.Done():
			return
		}
	}
}

// turn waits until fn may run, has it run, and waits for it.
func (p *passwords) turn(ctx context.Context, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return core.ContextError(err)
	}
	result := make(chan error, 1)
	select {
	case p.jobs <- func() { result <- fn() }:
		return <-result
	case <-p.stopping:
		return core.Stopped
	case <-ctx.Done():
		return core.ContextError(ctx.Err())
	}
}

func (p *passwords) hash(ctx context.Context, password string) (hash []byte, err error) {
	err = p.turn(ctx, func() error {
		if hash, err = bcrypt.GenerateFromPassword([]byte(password), p.cost); err != nil {
			return core.Errorf(core.InvalidArgument, "%w", err)
		}
		return nil
	})
	return hash, err
}

// check fails with AuthFailed. Nothing matches an empty hash, which takes as long to
// find out as with any other.
func (p *passwords) check(ctx context.Context, hash []byte, password string) error {
	if len(hash) == 0 {
		hash = p.decoy
	}
	return p.turn(ctx, func() error {
		if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil {
			return core.AuthFailed
		}
		return nil
	})
}
