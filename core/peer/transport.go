package peer

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core"
)

// defaultTimeout is that of reads and writes (etcd's DefaultConnReadTimeout).
const defaultTimeout = 5 * time.Second

// Transport is the ways to all peers, and from them. Its methods are safe for
// concurrent use.
type Transport struct {
	config  Config
	log     *slog.Logger
	caller  caller
	process uint64 // see greeting
	sparing sparing
	inbound inbounds

	// ctx ends with stop; running is all goroutines.
	ctx     context.Context
	stop    context.CancelCauseFunc
	running sync.WaitGroup

	mu      sync.RWMutex
	stopped bool
	links   map[core.MemberID]*link
	// traffic is of the members, and of those that connected before SetMembers named them.
	traffic map[core.MemberID]*traffic
}

// Start listens. Nobody is dialled before SetMembers.
func Start(c Config) (*Transport, error) {
	if c.Handler == nil || c.Dial == nil {
		return nil, fmt.Errorf("peer: a handler and a way to dial are required")
	}
	if c.ReadTimeout <= 0 {
		c.ReadTimeout = defaultTimeout
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = defaultTimeout
	}
	if c.OnLink == nil {
		c.OnLink = func(core.MemberID, bool) {}
	}
	if c.OnGone == nil {
		c.OnGone = func(core.MemberID) {}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	t := &Transport{
		config: c, log: c.Logger, caller: caller{c.Dial, c.ReadTimeout, c.Handler.Admit},
		process: rand.Uint64(), links: make(map[core.MemberID]*link), traffic: make(map[core.MemberID]*traffic),
	}
	t.ctx, t.stop = context.WithCancelCause(context.Background())
	for _, l := range c.Listeners {
		t.running.Go(func() { t.listen(l) })
	}
	return t, nil
}

// SetMembers says who the members are, this one included. Those that are new, or have
// other URLs, are dialled, those that are gone are left. It does not wait for either.
func (t *Transport) SetMembers(members []core.Member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return
	}
	present := make(map[core.MemberID]bool, len(members))
	for i := range members {
		m := &members[i]
		present[m.ID] = true
		if m.ID == t.config.Self {
			continue
		}
		if l := t.links[m.ID]; l != nil {
			l.set(m)
			continue
		}
		l := newLink(t, m, t.counted(m.ID))
		ctx, stop := context.WithCancelCause(t.ctx)
		l.stop = stop
		t.links[m.ID] = l
		t.running.Go(func() { l.run(ctx) })
	}
	for id, l := range t.links {
		if !present[id] {
			l.stop(errGone)
			delete(t.links, id)
			delete(t.traffic, id)
		}
	}
	t.inbound.keep(present)
}

// counted is what is counted of a member. The caller holds mu.
func (t *Transport) counted(id core.MemberID) *traffic {
	if t.traffic[id] == nil {
		t.traffic[id] = new(traffic)
	}
	return t.traffic[id]
}

// arrived is what is counted of a member that has connected; now is the time to
// connect to it, too.
func (t *Transport) arrived(id core.MemberID) *traffic {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.links[id]; l != nil {
		l.poke()
	}
	return t.counted(id)
}

func (t *Transport) link(id core.MemberID) *link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.links[id]
}

// Send sends a message; it keeps it and must own it. It never blocks: if the way to the
// member is full or broken, the message is dropped and Handler.Broken called, by another
// goroutine, before anything is sent again. What is sent to one that
// SetMembers has not named is dropped, too, and Broken called when it has.
// Several messages go in one write, if they are small.
func (t *Transport) Send(to core.MemberID, messages ...proto.Message) {
	l := t.link(to)
	if l == nil {
		return
	}
	if !l.out.send(messages, l.traffic) {
		l.traffic.sentFailures.Add(uint64(len(messages)))
	}
}

// Ask asks a member a question and returns its answer. The kinds are the caller's. It
// fails with the kind and the text of what the member failed with; with Timeout if
// there is no connection, or when it breaks; with TooManyRequests if too much is asked
// already; and when ctx ends. Unless it was answered, it may have been heard.
func (t *Transport) Ask(ctx context.Context, to core.MemberID, kind uint8, body []byte) ([]byte, error) {
	l := t.link(to)
	if l == nil {
		return nil, core.Errorf(core.Timeout, "member %x is no peer", uint64(to))
	}
	return l.ask(ctx, kind, body)
}

// Open opens a connection for Handler.Transfer of a member. It is the caller's, who
// closes it. It fails with Timeout; a *Refusal is among the causes if there is one.
func (t *Transport) Open(ctx context.Context, to core.MemberID) (net.Conn, error) {
	l := t.link(to)
	if l == nil {
		return nil, core.Errorf(core.Timeout, "member %x is no peer", uint64(to))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.ctx, func() { cancel(errStopping) })() //nolint:contextcheck // whichever ends first
	err := errNotTried
	for attempt := 0; ctx.Err() == nil; attempt++ {
		url, none := l.url(attempt)
		if none != nil || attempt >= l.ways() {
			break
		}
		var conn net.Conn
		if conn, err = t.caller.enter(ctx, url, t.greeting(to, forTransfer)); err == nil {
			return conn, nil
		}
	}
	return nil, core.Errorf(core.Timeout, "member %x: %w", uint64(to), err)
}

// greeting is how this member introduces itself to another.
func (t *Transport) greeting(to core.MemberID, p purpose) *greeting {
	return &greeting{
		Hello: Hello{Cluster: t.config.Cluster, From: t.config.Self, To: to, Name: t.config.Name, New: t.isNew()},
		min:   minVersion, max: maxVersion, purpose: p, process: t.process,
	}
}

func (t *Transport) isNew() bool { return t.config.New != nil && t.config.New() }

func (t *Transport) timed(conn net.Conn, traffic *traffic) *timedConn {
	c := &timedConn{Conn: conn, readTimeout: t.config.ReadTimeout, writeTimeout: t.config.WriteTimeout, traffic: traffic}
	c.heard.Store(time.Now().UnixNano())
	return c
}

// Peers are the members but this one, by id.
func (t *Transport) Peers() []Status {
	var all []Status
	for _, l := range t.sorted() {
		status, _ := l.state()
		all = append(all, status)
	}
	return all
}

// Stats are those of the members but this one, by id.
func (t *Transport) Stats() []Stats {
	var all []Stats
	for _, l := range t.sorted() {
		_, stats := l.state()
		all = append(all, stats)
	}
	return all
}

func (t *Transport) sorted() []*link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]*link, 0, len(t.links))
	for _, l := range t.links {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *link) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return all
}

// Stop closes all connections and waits for the goroutines. Questions that wait are
// answered with Timeout.
func (t *Transport) Stop() {
	t.mu.Lock()
	t.stopped = true
	t.mu.Unlock()
	t.stop(errStopping)
	for _, l := range t.config.Listeners {
		_ = l.Close() // nothing can be done about it
	}
	t.running.Wait()
}
