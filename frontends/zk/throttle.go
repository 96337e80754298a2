package zk

import (
	"context"
	"errors"
	"time"

	"github.com/triglot/triglot/core"
)

// The pauses between attempts to hand a write to a store that is full.
const (
	minPause = time.Millisecond
	maxPause = 50 * time.Millisecond
)

// handOver hands a write to the store. While the store has no room for it the
// client is made to wait, as nothing more is read from it meanwhile; only when that
// takes long, of what the session may take between two packets, is it told
// (ThrottledOp).
func (c *conn) handOver(q *request) (core.Pending, error) {
	began := c.srv.clock()
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		p, err := c.propose(q)
		if err == nil && !p.Done() {
			return p, nil
		}
		s := settled{err: err}
		if err == nil {
			s.result, s.err = p.Wait(c.ctx)
		}
		if !errors.Is(s.err, core.TooManyRequests) {
			return s, nil
		}
		if c.srv.clock()-began > c.timeout/3 {
			c.srv.stats.count(throttledOps)
			return s, nil
		}
		c.srv.stats.count(throttleWaits)
		if err := c.pause(pause); err != nil {
			return nil, err
		}
	}
}

// propose hands a write to the store, once it is known whose it is.
func (c *conn) propose(q *request) (core.Pending, error) {
	who, err := c.srv.principal(c.ctx, q.who)
	if err != nil {
		return nil, err
	}
	return c.lane.Submit(who, q.cmd), nil
}

// pause lets what is outstanding be answered.
func (c *conn) pause(d time.Duration) error {
	if err := c.endBatch(); err != nil {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		c.touch(c.srv.clock())
		return nil
	case <-c.ctx.Done():
		return errEnded
	}
}

// settled is a command whose outcome is known.
type settled struct {
	result core.Result
	err    error
}

func (s settled) Wait(context.Context) (core.Result, error) { return s.result, s.err }

func (s settled) Done() bool { return true }
