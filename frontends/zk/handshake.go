package zk

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// handshakeTimeout is how long a connection may take to get a session (ZooKeeper
// 3.9 zookeeper.nio.sessionlessCnxnTimeout).
const handshakeTimeout = 10 * time.Second

var errAhead = errors.New("the client has seen a later revision than this member")

// handle serves one connection from its first byte to its last.
func (s *Server) handle(nc net.Conn) {
	_ = nc.SetDeadline(time.Now().Add(s.cfg.handshake)) // a connection that is broken fails to read, too
	in := frames{r: nc, max: s.cfg.Limits.MaxFrame}
	head, err := in.need(jute.FrameHeader)
	if err != nil {
		s.turnedAway(err)
		return
	}
	if text := string(head); known(text) {
		s.stats.arrived(len(head))
		s.tell(text, nc, &in)
		return
	}
	frame, err := in.next()
	if err != nil {
		s.turnedAway(err)
		s.strange(nc, head, err)
		return
	}
	s.stats.arrived(jute.FrameHeader + len(frame))
	c, err := s.handshake(nc, frame)
	if err == nil {
		c.in = in
		_ = nc.SetDeadline(time.Time{})
		if c.local {
			c.keepLocal()
		}
		err = c.serve()
		s.sessions.remove(c)
		if lost(err) {
			s.stats.count(connectionDrops)
		}
		c.parted(err)
		s.cfg.Logger.Debug("zookeeper connection closed", "client", nc.RemoteAddr(), "session", sessionID(c.session.ID), "reason", err)
		return
	}
	s.turnedDown(nc, err)
	s.cfg.Logger.Debug("zookeeper handshake failed", "client", nc.RemoteAddr(), "reason", err)
}

// sessionID prints a session's id as ZooKeeper does.
func sessionID(id core.LeaseID) string { return fmt.Sprintf("0x%x", int64(id)) }

// handshake answers a ConnectRequest: it opens a session or attaches the one that
// the client names. Nothing more is read meanwhile (N9). If it fails the
// connection is over.
func (s *Server) handshake(nc net.Conn, frame []byte) (*conn, error) {
	r := jute.NewReader(frame)
	var m wire.ConnectRequest
	if m.Decode(&r); r.Err() != nil {
		return nil, r.Err()
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.handshake)
	defer cancel()
	rev, err := s.reach(ctx, core.Rev(m.LastZxidSeen))
	if err != nil {
		return nil, err
	}
	c := s.newConn(nc)
	c.run.shown = rev
	c.timeout = s.timeout(time.Duration(m.TimeOut) * time.Millisecond)
	s.stats.count(connectionRequests)
	interruptions := s.interruptions.Load()
	ctx, over := s.attempts.begin(ctx)
	defer over()
	switch {
	case s.readOnly.Load():
		err = s.openLocal(c, &m)
	case s.cfg.Sessions.Contact() != nil:
		err = errNoContact
	case m.SessionID == 0:
		err = s.openSession(ctx, c, &m)
	default:
		s.sessions.begin(core.LeaseID(m.SessionID))
		defer s.sessions.end(core.LeaseID(m.SessionID))
		s.stats.count(connectionRevalidations)
		err = s.attachSession(ctx, c, &m)
	}
	if err == nil {
		err = s.sessions.add(c)
	}
	if err == nil {
		err = s.overtaken(c, interruptions)
	}
	if err == nil {
		err = s.welcome(c, &m)
	}
	if err != nil {
		s.sessions.remove(c) // it may have been welcomed in vain
		c.close(err)
		return nil, err
	}
	c.stats.received.Add(1)
	c.stats.opened(c.run.shown, s.clock())
	return c, nil
}

// reach is the revision that a new connection begins with: no less than the client has seen
// (Z6). If this member has not got as far it asks the leader, within an election timeout:
// it may follow a leader that was gone before all had heard what it answered last, and the
// client comes from there. A client that is turned away by each member in turn would
// wait.
func (s *Server) reach(ctx context.Context, seen core.Rev) (core.Rev, error) {
	rev, err := s.rev(ctx, core.Consistency{})
	if err != nil || seen <= rev {
		return rev, err
	}
	election := s.cfg.Sessions.Shortest() / 2
	if election > 0 && s.cfg.Sessions.Contact() == nil {
		ctx, cancel := context.WithTimeout(ctx, election)
		defer cancel()
		if now, err := s.rev(ctx, core.Consistency{Linearizable: true}); err == nil {
			rev = now
		}
	}
	if seen > rev {
		return 0, aheadOf(seen, rev)
	}
	return rev, nil
}

// rev is the revision of a view.
func (s *Server) rev(ctx context.Context, c core.Consistency) (core.Rev, error) {
	v, err := s.cfg.Store.View(ctx, core.Principal{}, c)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	return v.Rev(), nil
}

// attempts are the handshakes that wait for the cluster. An interruption ends them, as it
// ends connections: their clients try elsewhere at once. The zero value has none.
type attempts struct {
	mu   sync.Mutex
	last int
	ends map[int]context.CancelFunc
}

// begin returns the context of a handshake, and what is to be called when it is over.
func (a *attempts) begin(ctx context.Context) (_ context.Context, over func()) {
	ctx, cancel := context.WithCancel(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ends == nil {
		a.ends = make(map[int]context.CancelFunc)
	}
	a.last++
	id := a.last
	a.ends[id] = cancel
	return ctx, func() {
		cancel()
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.ends, id)
	}
}

// end ends all that are under way.
func (a *attempts) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, cancel := range a.ends {
		cancel()
	}
}

// overtaken says why c, which the table of sessions has by now, is not to be welcomed:
// those who closed all connections may not have seen it.
func (s *Server) overtaken(c *conn, interruptions uint64) error {
	switch {
	case c.local != s.readOnly.Load():
		return errReadOnly
	case !c.local && s.interruptions.Load() != interruptions:
		return errInterrupted
	case !c.local && s.cfg.Sessions.Contact() != nil:
		return errNoContact
	}
	return nil
}

// timeout is what a session gets that asks for want.
func (s *Server) timeout(want time.Duration) time.Duration {
	return max(s.cfg.timeout(want), s.cfg.Sessions.Shortest())
}

func (s *Server) newConn(nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc}
	c.out.w, c.out.watched, c.out.backlog = sending{c}, &s.stats.counters[watchBytes], &s.backlog
	c.stats.established = time.Now()
	c.who.Store(s.newIdentities(nc))
	c.sub = subscriber{out: &c.out, kick: c.kick, who: c.known}
	c.queue.room = sync.NewCond(&c.queue.mu)
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.lane = s.cfg.Store.Lane()
	return c
}

// openSession makes a session with a secret of its own, which m then has.
func (s *Server) openSession(ctx context.Context, c *conn, m *wire.ConnectRequest) error {
	m.Password = make([]byte, wire.PasswordSize)
	rand.Read(m.Password) // never fails
	return s.replicate(ctx, c, &core.SessionOpen{Timeout: c.timeout, Secret: sha256.Sum256(m.Password)})
}

// attachSession gives the connection the session that m names. One that does not
// exist, or has another secret, is answered with zeros (N3).
func (s *Server) attachSession(ctx context.Context, c *conn, m *wire.ConnectRequest) error {
	err := s.replicate(ctx, c, &core.SessionAttach{
		ID: core.LeaseID(m.SessionID), Timeout: c.timeout, Secret: sha256.Sum256(m.Password),
	})
	if err != nil && core.KindOf(err) == core.SessionExpired {
		s.unattached(ctx, c.nc, core.LeaseID(m.SessionID))
		_ = s.respond(c, &wire.ConnectResponse{ // the connection ends in any case
			Password: make([]byte, wire.PasswordSize), HasReadOnly: m.HasReadOnly,
		})
	}
	return err
}

// replicate has a session begin, or go on here. If the leader changes on the way it is done
// again: twice is as good as once, but for a session that nobody knows and that expires;
// and a client that is turned away by each member in turn would wait.
func (s *Server) replicate(ctx context.Context, c *conn, cmd core.Command) error {
	res, err := s.cfg.Store.Do(ctx, core.Principal{}, cmd)
	for err != nil && core.KindOf(err) == core.LeaderChanged && ctx.Err() == nil {
		res, err = s.cfg.Store.Do(ctx, core.Principal{}, cmd)
	}
	if err != nil {
		return err
	}
	c.session = res.Outcome.(core.SessionOutcome).Session
	c.run.shown = max(c.run.shown, res.Rev)
	c.touched = s.clock()
	return nil
}

// welcome tells the client of its session.
func (s *Server) welcome(c *conn, m *wire.ConnectRequest) error {
	return s.respond(c, &wire.ConnectResponse{
		TimeOut:     int32(c.timeout.Milliseconds()),
		SessionID:   int64(c.session.ID),
		Password:    m.Password,
		ReadOnly:    c.local,
		HasReadOnly: m.HasReadOnly,
	})
}

func (s *Server) respond(c *conn, m *wire.ConnectResponse) error {
	frame := m.Append(jute.OpenFrame(nil))
	jute.CloseFrame(frame, 0)
	c.out.append(frame)
	return c.flush()
}
