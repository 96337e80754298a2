package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"
)

const (
	// owned is the znode of the ephemerals.
	owned = "/e"
	// liveTimeout is longer than it takes a client to notice a paused server (two thirds
	// of it) and find another one; deadTimeout is short.
	liveTimeout = 10 * time.Second
	// longTimeout is that of clients that live where servers are paused for longer than
	// liveTimeout, and not shorter: they may come upon a paused one twice, on a busy machine.
	longTimeout = 20 * time.Second
	deadTimeout = 3 * time.Second
	// expirySlack is how much later than its timeout a session may go: a leader's
	// election, ZooKeeper's ticks, a busy machine.
	expirySlack = 6 * time.Second
	// deadEvery is how often a client dies.
	deadEvery = 2 * time.Second
)

// living is a client whose ephemeral must stay.
type living struct {
	path    string
	conn    *zk.Conn
	session int64
	events  <-chan zk.Event
}

// newLiving starts a session with an ephemeral.
func newLiving(ctx context.Context, path string, timeout time.Duration, endpoints []string) (*living, error) {
	conn, events, err := zkConnect(ctx, timeout, endpoints...)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Create(path, []byte(path), zk.FlagEphemeral, openACL); err != nil {
		conn.Close()
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return &living{path, conn, conn.SessionID(), events}, nil
}

// run looks out for the session's end.
func (l *living) run(ctx context.Context, rec *Recorder) {
	for {
		select {
		case e := <-l.events:
			if e.State == zk.StateExpired {
				rec.find("the session %x of %s was expired, and its client lives", l.session, l.path)
			}
		case <-ctx.Done():
			return
		}
	}
}

// dead is a client that is gone, with an ephemeral.
type dead struct {
	path    string
	timeout time.Duration
	// last is when it last sent anything, by the recorder's clock.
	last int64
}

// mortals makes clients die, one after the other, until the context ends.
func mortals(ctx context.Context, rec *Recorder, chapter string, endpoints []string) (graves []dead) {
	for i := 0; ctx.Err() == nil; i++ {
		session, err := dialRaw(ctx, endpoints[i%len(endpoints)], deadTimeout)
		if err == nil {
			d := dead{path: fmt.Sprintf("%s/dead-%s-%d", owned, chapter, i), timeout: session.Timeout, last: rec.now()}
			// Whether it was created or not, it must be gone in the end.
			if err = session.send(d.path, d.path, ephemeral); err == nil {
				graves = append(graves, d)
				_ = session.nc.SetReadDeadline(time.Now().Add(deadTimeout)) // then it dies earlier
				_, _, _ = session.receive()
			}
			session.close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(deadEvery):
		}
	}
	return graves
}

// tooEarly says whether an ephemeral went before its session's time.
func (d dead) tooEarly(stream []Event) string {
	for _, e := range stream {
		if e.Deleted && e.Key == mount+d.path && e.At < d.last+d.timeout.Nanoseconds() {
			return fmt.Sprintf("%v: %s after its client's last word, its timeout is %s", e, time.Duration(e.At-d.last), d.timeout)
		}
	}
	return ""
}
