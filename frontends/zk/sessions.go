package zk

import (
	"sync"

	"github.com/triglot/triglot/core"
)

// sessionTable is which connection each session is attached to, of those here.
type sessionTable struct {
	mu    sync.Mutex
	conns map[core.LeaseID]*conn
	// attaching are the sessions that handshakes are about to attach.
	attaching map[core.LeaseID]*attachment
	// closing are connections that have sent closeSession: that their session ends
	// is no news to them.
	closing map[*conn]struct{}
}

// attachment is what became of a session while handshakes attach it.
type attachment struct {
	handshakes int
	// epoch is the latest told of, ended that the session has ended.
	epoch uint64
	ended bool
}

func newSessionTable() *sessionTable {
	return &sessionTable{
		conns:     map[core.LeaseID]*conn{},
		attaching: map[core.LeaseID]*attachment{},
		closing:   map[*conn]struct{}{},
	}
}

// changed is told of every session that is attached or ends (core.Sessions).
func (t *sessionTable) changed(ref core.SessionRef) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.attaching[ref.ID]; a != nil {
		a.epoch = max(a.epoch, ref.Epoch)
		a.ended = a.ended || ref.Epoch == 0
	}
	c := t.conns[ref.ID]
	if c == nil {
		return
	}
	switch _, leaves := t.closing[c]; {
	case ref.Epoch == 0 && leaves:
	case ref.Epoch == 0:
		c.close(errEnded)
	case ref.Epoch > c.session.Epoch:
		c.close(errMoved)
	}
}

// begin is called before a session is attached, so that nothing is missed between
// that and add.
func (t *sessionTable) begin(id core.LeaseID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.attaching[id]
	if a == nil {
		a = &attachment{}
		t.attaching[id] = a
	}
	a.handshakes++
}

// end is called when a handshake that called begin is over.
func (t *sessionTable) end(id core.LeaseID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.attaching[id]; a.handshakes > 1 {
		a.handshakes--
		return
	}
	delete(t.attaching, id)
}

// add makes c the connection of its session. The one before is closed. It fails if
// the session has moved on or ended.
func (t *sessionTable) add(c *conn) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.attaching[c.session.ID]; a != nil {
		switch {
		case a.ended:
			return errEnded
		case a.epoch > c.session.Epoch:
			return errMoved
		}
	}
	if old := t.conns[c.session.ID]; old != nil {
		if old.session.Epoch > c.session.Epoch {
			return errMoved
		}
		old.close(errMoved)
	}
	t.conns[c.session.ID] = c
	return nil
}

// leaving says that c is closing its session itself.
func (t *sessionTable) leaving(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closing[c] = struct{}{}
}

// remove forgets a connection.
func (t *sessionTable) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.closing, c)
	if t.conns[c.session.ID] == c {
		delete(t.conns, c.session.ID)
	}
}

// list is the connections that have a session.
func (t *sessionTable) list() []*conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*conn, 0, len(t.conns))
	for _, c := range t.conns {
		all = append(all, c)
	}
	return all
}
