package node

import (
	"context"
	"runtime"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/password"
)

// passwords hashes passwords and checks them, which takes tens of milliseconds of CPU
// each. It never knows more than the one at hand.
type passwords struct {
	cost int
	// decoy is a hash that nothing matches, at the same cost.
	decoy []byte
	// turns holds a place for each that may be under way: half of the processors' are
	// left to those who are through.
	turns chan struct{}
}

func newPasswords(cost int) passwords {
	if cost < password.MinCost || cost > password.MaxCost {
		cost = password.DefaultCost
	}
	return passwords{
		cost:  cost,
		decoy: password.Decoy(cost),
		turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
}

// turn waits until fn may run, and runs it.
func (p *passwords) turn(ctx context.Context, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return core.ContextError(err)
	}
	select {
	case p.turns <- struct{}{}:
	case <-ctx.Done():
		return core.ContextError(ctx.Err())
	}
	defer func() { <-p.turns }()
	return fn()
}

func (p *passwords) hash(ctx context.Context, secret string) (hash []byte, err error) {
	err = p.turn(ctx, func() error {
		if hash, err = password.Hash([]byte(secret), p.cost); err != nil {
			return core.Errorf(core.InvalidArgument, "%w", err)
		}
		return nil
	})
	return hash, err
}

// check fails with AuthFailed. Nothing matches an empty hash, which takes as long to
// find out as with any other.
func (p *passwords) check(ctx context.Context, hash []byte, secret string) error {
	if len(hash) == 0 {
		hash = p.decoy
	}
	return p.turn(ctx, func() error {
		if !password.Matches(hash, []byte(secret)) {
			return core.AuthFailed
		}
		return nil
	})
}
