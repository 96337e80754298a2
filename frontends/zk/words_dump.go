package zk

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/triglot/triglot/core"
)

// dumpTimeout bounds what `dump` may take of the store.
const dumpTimeout = 30 * time.Second

// expiring are things by the tick at the end of which they run out, in milliseconds
// since 1970, and within it in the order in which they came.
type expiring[T any] map[int64][]T

func (e expiring[T]) add(s *Server, left time.Duration, what T) {
	tick := s.cfg.Limits.Tick.Milliseconds()
	at := (time.Now().Add(left).UnixMilli()/tick + 1) * tick
	e[at] = append(e[at], what)
}

// write writes the sets (ZooKeeper 3.9 ExpiryQueue.dump).
func (e expiring[T]) write(b *bytes.Buffer, line func(T) string) {
	total := 0
	for _, all := range e {
		total += len(all)
	}
	fmt.Fprintf(b, "Sets (%d)/(%d):\n", len(e), total)
	for _, at := range sortedKeys(e) {
		fmt.Fprintf(b, "%d expire at %s:\n", len(e[at]), javaDate(time.UnixMilli(at)))
		for _, one := range e[at] {
			fmt.Fprintf(b, "\t%s\n", line(one))
		}
	}
}

func (s *Server) writeDump(b *bytes.Buffer, _ net.Conn) {
	sessions, ephemerals := s.sessionsAndEphemerals()
	b.WriteString("SessionTracker dump:\nSession ")
	sessions.write(b, sessionID)
	fmt.Fprintf(b, "ephemeral nodes dump:\nSessions with Ephemerals (%d):\n", len(ephemerals))
	for _, id := range sortedKeys(ephemerals) {
		fmt.Fprintf(b, "%s:\n", sessionID(id))
		for _, path := range ephemerals[id] {
			fmt.Fprintf(b, "\t%s\n", path)
		}
	}
	b.WriteString("Connections dump:\nConnections ")
	connections := expiring[*conn]{}
	for _, c := range s.sessions.list() {
		connections.add(s, c.timeout, c)
	}
	connections.write(b, func(c *conn) string {
		return fmt.Sprintf("ip: /%s sessionId: %s", c.nc.RemoteAddr(), sessionID(c.session.ID))
	})
}

// sessionsAndEphemerals are all sessions by when they run out, and the ephemerals of
// those that have any. Of what cannot be read there is nothing.
func (s *Server) sessionsAndEphemerals() (expiring[core.LeaseID], map[core.LeaseID][]string) {
	sessions, ephemerals := expiring[core.LeaseID]{}, map[core.LeaseID][]string{}
	ctx, cancel := context.WithTimeout(s.ctx, dumpTimeout)
	defer cancel()
	all, err := s.cfg.Sessions.List(ctx)
	if err != nil {
		s.cfg.Logger.Warn("the sessions cannot be listed", "error", err)
		return sessions, ephemerals
	}
	v, err := s.cfg.Store.View(ctx, core.Principal{Member: true}, core.Consistency{})
	if err != nil {
		s.cfg.Logger.Warn("the ephemerals cannot be listed", "error", err)
		return sessions, ephemerals
	}
	defer v.Close()
	for _, session := range all {
		sessions.add(s, session.Remaining, session.ID)
		paths, err := v.Znodes().Ephemerals(ctx, session.ID, "")
		if err != nil {
			s.cfg.Logger.Warn("the ephemerals of a session cannot be listed", "session", sessionID(session.ID), "error", err)
			continue
		}
		if len(paths) > 0 {
			ephemerals[session.ID] = paths
		}
	}
	return sessions, ephemerals
}
