package core

import (
	"context"
	"time"
)

// Stages says where the time of a command went. A zero is a stage that was not
// reached, or is not known.
type Stages struct {
	// Queue is the wait for the log to take the command, Log the time until it was
	// durable on a quorum and its turn came, Apply that until its effects were visible;
	// the commands of an entry share the last two.
	Queue, Log, Apply time.Duration
}

// timedContext is a context that a Store tells of stages.
type timedContext struct {
	context.Context
	stages Stages
}

type stagesKey struct{}

// Value implements context.Context.
func (c *timedContext) Value(key any) any {
	if key == (stagesKey{}) {
		return &c.stages
	}
	return c.Context.Value(key)
}

// WithStages returns a context for one call of Store.Do, which fills in the stages
// before it returns. It costs an allocation.
func WithStages(ctx context.Context) (context.Context, *Stages) {
	c := &timedContext{Context: ctx}
	return c, &c.stages
}

// StagesIn is what a caller of WithStages wants to know; nil if nobody does.
func StagesIn(ctx context.Context) *Stages {
	s, _ := ctx.Value(stagesKey{}).(*Stages)
	return s
}
