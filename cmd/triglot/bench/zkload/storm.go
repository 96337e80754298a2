package zkload

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/frontends/zk/wire"
)

var errFiredTwice = errors.New("a watch fired more than once")

// storm is the load of one znode that all sessions but the first watch: it is set, all are
// told, and watch it again.
type storm struct {
	// left is how many are still to be told of the present set and to watch again, and
	// start when it began. all is told once there are none, or why not.
	left  atomic.Int64
	start atomic.Pointer[time.Time]
	all   chan error
	// fired has a channel for each session that watches, with room for one. armers are
	// the goroutines that watch again; they end when it is closed.
	fired  []chan struct{}
	armers sync.WaitGroup
}

func newStorm(watchers int) *storm {
	s := &storm{all: make(chan error, 1), fired: make([]chan struct{}, watchers)}
	for i := range s.fired {
		s.fired[i] = make(chan struct{}, 1)
	}
	return s
}

// eventOf is what the i-th session does with events, nil if nothing.
func (l *Load) eventOf(i int) func(*wire.WatcherEvent) {
	s := l.storm
	if s == nil || i == 0 {
		return nil
	}
	return func(event *wire.WatcherEvent) {
		start := s.start.Load()
		if event.Type != wire.EventNodeDataChanged || start == nil {
			return
		}
		latency := time.Since(*start)
		fired := s.fired[i-1] // which nobody else fills
		if len(fired) == cap(fired) {
			l.Record.Fail(errFiredTwice)
			return
		}
		l.Record.Observe(i, latency, 1) // before the load can end
		fired <- struct{}{}
	}
}

func (l *Load) stormPath() string { return l.root + "/storm" }

// watchOne makes the znode and has it watched.
func (l *Load) watchOne(ctx context.Context) error {
	if err := l.makeRoot(); err != nil {
		return err
	}
	if err := l.ensure(0, l.stormPath()); err != nil {
		return err
	}
	arming := make([]call, l.Watchers)
	arm := func(i int) error { return l.conns[i+1].do(arming[i].get(l.stormPath(), true)) }
	err := drive.Each(ctx, l.Watchers, l.Watchers, func(_ context.Context, _, i int) error { return arm(i) })
	if err != nil {
		return err
	}
	for i := range l.Watchers {
		l.storm.armers.Go(func() {
			for range l.storm.fired[i] {
				l.storm.armed(l, arm(i))
			}
		})
	}
	return nil
}

// armed counts a session that watches again.
func (s *storm) armed(l *Load, err error) {
	left := s.left.Add(-1)
	switch {
	case left < 0:
		l.Record.Fail(errFiredTwice)
		return
	case err == nil && left > 0:
		return
	}
	select {
	case s.all <- err:
	default: // one error is enough
	}
}

// stop ends the armers. The sessions have ended before.
func (s *storm) stop() {
	for _, fired := range s.fired {
		close(fired)
	}
	s.armers.Wait()
	s.fired = nil
}

// stormer sets the znode and waits until every watch has fired and is set again. There is
// one such client: a watch that is not set yet sees nothing.
func (l *Load) stormer(_ int, random *rand.Rand) drive.Call {
	s, c := l.storm, &call{}
	return func(ctx context.Context, start time.Time) error {
		s.left.Store(int64(l.Watchers))
		s.start.Store(&start)
		if err := l.conns[0].do(c.set(l.stormPath(), l.Keys.Value(random))); err != nil {
			return err
		}
		select {
		case err := <-s.all:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
