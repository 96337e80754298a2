package node

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/crypto/bcrypt"

	"github.com/triglot/triglot/core"
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
	if cost < bcrypt.MinCost || cost > bcrypt.MaxCost {
		cost = bcrypt.DefaultCost
	}
	return passwords{
		cost:  cost,
		decoy: fmt.Appendf(nil, "$2a$%02d$%053d", cost, 0),
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
