package zk

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
)

// Server serves ZooKeeper clients. It is safe for concurrent use.
type Server struct {
	cfg      Config
	started  time.Time
	stats    stats
	sessions *sessionTable
	watches  *watchTable
	// following is the face's end of the change feed, unfollow ends those of
	// sessions.
	following core.Following
	unfollow  func()

	// ctx ends when the server shuts down.
	ctx    context.Context
	cancel context.CancelFunc
	// handlers is a goroutine for each connection.
	handlers sync.WaitGroup

	duty

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	// conns are the connections by where they come from, perIP how many come from there.
	conns map[net.Conn]string
	perIP map[string]int
}

// duty is what the server is told to do besides, and what it does at present.
type duty struct {
	// words are the four-letter words that are answered.
	words     map[string]bool
	traceMask atomic.Int64
	// readOnly says that clients are served that only read, for want of a leader
	// (readonly.go).
	readOnly atomic.Bool
	// reconfiguring is held by a reconfig under way.
	reconfiguring sync.Mutex
	// local are the sessions of those clients.
	local localSessions
	// backlog is what waits to be written to clients.
	backlog backlog
	// interruptions counts those of sessions (core.Sessions), so that a handshake knows of
	// one that has not seen its connection.
	interruptions atomic.Uint64
	// attempts are the handshakes that wait for the cluster.
	attempts attempts
}

// New makes a Server. It panics if Config.Metrics has the metrics of another
// Server already.
func New(cfg Config) *Server {
	s := &Server{
		cfg:      cfg.withDefaults(),
		started:  time.Now(),
		sessions: newSessionTable(),
		watches:  newWatchTable(),

		listeners: map[net.Listener]struct{}{},
		conns:     map[net.Conn]string{},
		perIP:     map[string]int{},
	}
	s.words = enabledWords(s.cfg.Words, s.cfg.Features.ReadOnly)
	s.backlog.limit, s.watches.limit = s.cfg.Limits.Memory, s.cfg.Limits.Memory
	s.traceMask.Store(defaultTraceMask)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.watches.tally.summaries = &s.stats.summaries
	s.watches.judge = judge{store: s.cfg.Store, auth: s.cfg.Auth}
	s.following = cfg.Znodes.Follow(s.watches)
	unfollow, uninterrupted := cfg.Sessions.Follow(s.sessions.changed), cfg.Sessions.FollowInterruptions(s.interrupted)
	s.unfollow = func() { unfollow(); uninterrupted() }
	if cfg.Features.ReadOnly {
		s.handlers.Go(s.followLeader)
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(&collector{s: s})
	}
	return s
}

// clock is the time since the server started.
func (s *Server) clock() time.Duration { return time.Since(s.started) }

// Serve takes the connections of l until Shutdown, and then returns nil. It owns
// l.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close() //nolint:errcheck // it may be closed already
	if !s.addListener(l) {
		return nil
	}
	for delay := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			delay = 0
			s.start(nc)
		case s.ctx.Err() != nil:
			return nil
		case temporary(err):
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.cfg.Logger.Warn("zookeeper clients cannot connect for now", "error", err, "retry_in", delay)
			s.wait(delay)
		default:
			return err
		}
	}
}

// temporary says whether accepting may work again: when a connection failed before
// it was taken, or file descriptors have run out.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// wait passes some time, less if the server shuts down.
func (s *Server) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

// start serves a connection in a goroutine of its own, unless there is no place
// for it.
func (s *Server) start(nc net.Conn) {
	if full := s.admit(nc); full != "" {
		s.refused(nc, full)
	}
}

// admit is start without a word about a connection that there is no place for: it returns
// which limit has been reached.
func (s *Server) admit(nc net.Conn) (full string) {
	ip := remoteIP(nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case tooMany(len(s.conns), s.cfg.Limits.MaxConns):
		full = tooManyOfAll
	case tooMany(s.perIP[ip], s.cfg.Limits.MaxPerIP):
		full = tooManyOfOne
	}
	if s.ctx.Err() != nil || full != "" {
		s.stats.count(connectionsRejected)
		_ = nc.Close()
		return full
	}
	s.conns[nc] = ip
	s.perIP[ip]++
	s.stats.connections.Add(1)
	s.handlers.Go(func() {
		defer s.finish(nc) //nolint:errcheck // most often it is closed already
		s.handle(nc)
	})
	return ""
}

// tooMany says whether there are as many as there may be; a limit of zero is none.
func tooMany(n, limit int) bool { return limit > 0 && n >= limit }

// finish closes a connection, which makes room for another first: a client that sees the
// end of this one may be back before anything else is done (ZooKeeper 3.9
// NIOServerCnxn.close). It may be called by anyone, more than once.
func (s *Server) finish(nc net.Conn) error {
	s.mu.Lock()
	if ip, ok := s.conns[nc]; ok {
		delete(s.conns, nc)
		if s.perIP[ip]--; s.perIP[ip] == 0 {
			delete(s.perIP, ip)
		}
		s.stats.connections.Add(-1)
	}
	s.mu.Unlock()
	return nc.Close()
}

func remoteIP(nc net.Conn) string {
	host, _, err := net.SplitHostPort(nc.RemoteAddr().String())
	if err != nil {
		return nc.RemoteAddr().String()
	}
	return host
}

// Shutdown closes listeners and connections and waits for every goroutine of the
// server; it gives up waiting when ctx ends. Sessions go on.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.cancel()
	for l := range s.listeners {
		_ = l.Close()
	}
	for nc := range s.conns {
		_ = nc.Close()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.handlers.Wait()
		s.unfollow()
		s.following.Close()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
