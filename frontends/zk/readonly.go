package zk

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

const (
	// readOnlyGrace is how long there must be no leader before clients are served that
	// only read, if a tick is not longer (ZooKeeper 3.9 QuorumPeer).
	readOnlyGrace = 2 * time.Second
	// leaderInterval is how often the server looks whether there is one.
	leaderInterval = 50 * time.Millisecond
)

var (
	errNeedsLeader = errors.New("there is no leader, and the client does not ask to be served read-only")
	errRenewal     = errors.New("there is no leader to renew the client's session")
	errReadOnly    = errors.New("the server begins or ends to serve read-only")
)

// followLeader turns read-only mode on when there has been no leader within reach for some
// time, and off when there is one again. Whoever is connected under the other mode is closed: its
// client comes back, and is told which it is. It ends with the server.
func (s *Server) followLeader() {
	ticker := time.NewTicker(leaderInterval)
	defer ticker.Stop()
	led := s.clock()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		now := s.clock()
		if s.cfg.Sessions.Contact() == nil {
			led = now
		}
		if readOnly := now-led >= s.cfg.readOnlyGrace; s.readOnly.Swap(readOnly) != readOnly {
			s.cfg.Logger.Warn("zookeeper clients are served read-only for want of a leader, or no longer", "read-only", readOnly)
			s.closeClients(!readOnly, errReadOnly)
			if !readOnly {
				s.local.clear()
			}
		}
	}
}

// closeClients closes the connections of local sessions, or all others.
func (s *Server) closeClients(local bool, reason error) {
	for _, c := range s.sessions.list() {
		if c.local == local {
			c.close(reason)
		}
	}
}

// interrupted closes the connections of all sessions that are not this member's alone, as
// a ZooKeeper does that loses its leader (3.9 LearnerZooKeeperServer.shutdown): it may not
// learn that one of them ends.
func (s *Server) interrupted(reason error) {
	s.interruptions.Add(1)
	s.attempts.end()
	s.closeClients(false, reason)
}

// localSessions are the sessions that this member alone knows: there is nobody to
// replicate them. Each lives its timeout beyond what was last heard of it.
type localSessions struct {
	mu    sync.Mutex
	known map[core.LeaseID]localSession
}

type localSession struct {
	password []byte
	// until is when it runs out, on the server's clock.
	until time.Duration
}

// open makes a session, or finds the one that m names, which m's password must fit.
func (l *localSessions) open(m *wire.ConnectRequest, now, timeout time.Duration) (core.LeaseID, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.known, func(_ core.LeaseID, s localSession) bool { return s.until < now })
	id := core.LeaseID(m.SessionID)
	if id != 0 {
		s, ok := l.known[id]
		if !ok || subtle.ConstantTimeCompare(s.password, m.Password) == 0 {
			return 0, false
		}
	} else {
		m.Password = make([]byte, wire.PasswordSize)
		rand.Read(m.Password) // never fails
		var b [8]byte
		rand.Read(b[:])
		id = core.LeaseID(binary.BigEndian.Uint64(b[:])>>1 | 1)
	}
	if l.known == nil {
		l.known = map[core.LeaseID]localSession{}
	}
	l.known[id] = localSession{password: bytes.Clone(m.Password), until: now + timeout}
	return id, true
}

// touch gives a session its timeout again.
func (l *localSessions) touch(id core.LeaseID, until time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.known[id]; ok {
		s.until = until
		l.known[id] = s
	}
}

func (l *localSessions) forget(id core.LeaseID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, id)
}

// count is how many there are, those included that have run out of late.
func (l *localSessions) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.known)
}

func (l *localSessions) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = nil
}

// openLocal gives the connection a local session (ZooKeeper 3.9
// ReadOnlyZooKeeperServer). One that is not local cannot be renewed; whether it exists
// this member cannot tell, so that it says nothing (N5).
func (s *Server) openLocal(c *conn, m *wire.ConnectRequest) error {
	if !m.ReadOnly {
		return errNeedsLeader
	}
	id, ok := s.local.open(m, s.clock(), c.timeout)
	if !ok {
		return errRenewal
	}
	c.session, c.local, c.touched = core.SessionRef{ID: id}, true, s.clock()
	return nil
}

// keepLocal lets a local session run out with its timeout.
func (c *conn) keepLocal() {
	_ = c.nc.SetReadDeadline(time.Now().Add(c.timeout)) // else the read fails, too
	c.srv.local.touch(c.session.ID, c.srv.clock()+c.timeout)
}

// opCloseLocal serves closeSession of a local session.
var opCloseLocal = operation{name: "closeSession", run: (*conn).closeLocal}

func (c *conn) closeLocal(q *request) error {
	c.srv.local.forget(c.session.ID)
	return c.answer(q, c.shown(), wire.OK, nil)
}

// needLeader are the operations that are refused without one (ZooKeeper 3.9
// ReadOnlyRequestProcessor).
var needLeader = map[string]bool{
	"sync": true, "create": true, "create2": true, "createTTL": true, "createContainer": true, "delete": true,
	"setData": true, "setACL": true, "multi": true, "reconfig": true,
}

// decidedLocally says whether a request of a local session needs no look at its body.
func (c *conn) decidedLocally(q *request) bool {
	switch {
	case needLeader[q.op.name]:
		q.refuse(wire.NotReadOnly)
	case q.op == &opCloseSession:
		q.op, q.last = &opCloseLocal, true
	default:
		return false
	}
	return true
}
