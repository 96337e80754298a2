package zk

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
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

// followLeader turns read-only mode on when there has been no leader for some time, and
// off when there is one again. Whoever is connected under the other mode is closed: its
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
		if s.cfg.Cluster.Self().Leader != 0 {
			led = now
		}
		if readOnly := now-led >= s.cfg.readOnlyGrace; s.readOnly.Swap(readOnly) != readOnly {
			s.cfg.Logger.Warn("zookeeper clients are served read-only for want of a leader, or no longer", "read-only", readOnly)
			s.closeClients(!readOnly)
		}
	}
}

// closeClients closes the connections of local sessions, or all others.
func (s *Server) closeClients(local bool) {
	for _, c := range s.sessions.list() {
		if c.local == local {
			c.close(errReadOnly)
		}
	}
}

// openLocal gives the connection a session that this member alone knows, and only as
// long as the connection: there is nobody to replicate it (ZooKeeper 3.9
// ReadOnlyZooKeeperServer). One that exists cannot be renewed.
func (s *Server) openLocal(c *conn, m *wire.ConnectRequest) error {
	switch {
	case !m.ReadOnly:
		return errNeedsLeader
	case m.SessionID != 0:
		return errRenewal
	}
	m.Password = make([]byte, wire.PasswordSize)
	rand.Read(m.Password) // never fails
	var id [8]byte
	rand.Read(id[:])
	c.session = core.SessionRef{ID: core.LeaseID(binary.BigEndian.Uint64(id[:])>>1 | 1)}
	c.local = true
	c.touched = s.clock()
	return nil
}

// keepLocal lets a local session run out with its timeout.
func (c *conn) keepLocal() { _ = c.nc.SetReadDeadline(time.Now().Add(c.timeout)) } // else the read fails, too

// opCloseLocal serves closeSession of a local session.
var opCloseLocal = operation{name: "closeSession", run: (*conn).done}

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
