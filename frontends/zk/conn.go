package zk

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/sasl"
	"github.com/triglot/triglot/frontends/zk/wire"
)

const (
	// maxOutstanding is how many requests of a connection may wait for their answer
	// before no more are read. (ZooKeeper's globalOutstandingLimit has the number.)
	maxOutstanding = 1000
	// maxOutstandingBytes is the same in bytes of requests.
	maxOutstandingBytes = 8 << 20
	// touchInterval is how often a session is touched at most, however many packets
	// come. For short timeouts it is an eighth of them.
	touchInterval = 100 * time.Millisecond
)

// conn is one connection with a session, after its handshake.
//
// Two goroutines run it: the reader, which is there as long as the connection, and
// the completer, which is there while requests wait for their answer. A request is
// run by the reader if nothing waits, and else queued and run by the completer, in
// order: so at any time one of the two is the runner, who owns run. A write is
// handed to the store when it is read, so that all that are on their way share its
// batches; a read waits until its turn.
type conn struct {
	srv     *Server
	nc      net.Conn
	in      frames
	out     outbox
	sub     subscriber
	session core.SessionRef
	// local says that the session is this member's alone (readonly.go).
	local bool
	// who is who the client has proven to be by now. The reader alone sets it, where it
	// reads an auth or a sasl packet, so that every request behind one is made under what
	// that proved; others read it, as events are judged by it, too.
	who atomic.Pointer[identities]
	// timeout is the session's.
	timeout time.Duration
	ctx     context.Context
	cancel  context.CancelFunc

	reading
	queue queue
	run   runner
	stats connStats
}

// reading is what the reader works with, and nobody else.
type reading struct {
	// req is the request being read and body its bytes.
	req  request
	body jute.Reader
	// multi is memory to decode multis into.
	multi wire.MultiRequest
	// touched is when the session was last touched, on the server's clock.
	touched time.Duration
	// lane has the client's writes: once the fate of one is not known, none behind it is
	// applied, and the connection is closed when its turn comes to be answered.
	lane core.Lane
	// expanded is how much "auth" has made of the ACLs of req, in bytes.
	expanded int
	// exchange is the authentication by SASL, nil if there has been none.
	exchange *sasl.Exchange
}

// queue is the requests that wait for their answer.
type queue struct {
	mu sync.Mutex
	// room is where the reader waits for requests to be answered.
	room *sync.Cond
	// requests are those that the completer has not taken yet.
	requests []request
	// outstanding and bytes count those that have no answer yet.
	outstanding, bytes int
	// reads counts those among them that could see a write, by the path where.
	reads map[string]int
	// completing says that there is a completer. Only the reader sets it.
	completing bool
	closed     bool
	// quiet counts the batches in a row that needed no completer.
	quiet int

	// goroutines are the completer and those that flush events.
	goroutines sync.WaitGroup
}

// serve runs the connection until it ends, and returns why.
func (c *conn) serve() error {
	err := c.read()
	if reason := c.out.reason(); reason != nil {
		err = reason
	}
	c.close(err)
	c.srv.watches.drop(&c.sub)
	c.queue.goroutines.Wait()
	c.run.release()
	if c.run.watching {
		c.srv.following.Unlisten()
	}
	c.srv.stats.outstanding.Add(-int64(c.queue.outstanding))
	return err
}

// close ends the connection: its reader and its completer return soon. It may be
// called by anyone, more than once, and does not wait.
func (c *conn) close(reason error) {
	c.out.fail(reason)
	c.cancel()
	c.queue.mu.Lock()
	c.queue.closed = true
	c.queue.mu.Unlock()
	c.queue.room.Broadcast()
}

// read is the loop of the reader.
func (c *conn) read() error {
	for {
		frame, err := c.in.next()
		if err != nil {
			return err
		}
		now := c.srv.clock()
		if !c.local && c.srv.cfg.Sessions.Contact() != nil {
			return errNoContact
		}
		c.touch(now)
		for {
			if err := c.accept(frame, now); err != nil {
				return err
			}
			if !c.in.ready() {
				break
			}
			if frame, err = c.in.next(); err != nil {
				return err
			}
		}
		if err := c.endBatch(); err != nil {
			return err
		}
		c.req, c.body = request{}, jute.Reader{} // which may hold much
	}
}

// touch keeps the session alive.
func (c *conn) touch(now time.Duration) {
	if now-c.touched < min(touchInterval, c.timeout/8) {
		return
	}
	c.touched = now
	if c.local {
		c.keepLocal()
		return
	}
	err := c.srv.cfg.Sessions.Touch(c.ctx, c.session.ID)
	if err != nil && core.KindOf(err) == core.SessionExpired {
		c.close(errEnded)
	}
}

// accept takes in one request: it runs it, or queues it.
func (c *conn) accept(frame []byte, now time.Duration) error {
	q := &c.req
	if err := q.decode(c, frame, &c.body); err != nil {
		return err
	}
	q.received = now
	c.stats.received.Add(1)
	c.srv.stats.received.Add(1)
	var err error
	switch {
	case q.write():
		err = c.submit(q)
	case c.idle():
		err = c.answerRequest(q)
	default:
		err = c.enqueue(q)
	}
	if err == nil && q.last {
		err = c.finish()
	}
	return err
}

// idle says whether the reader is the runner: nothing waits for its answer.
func (c *conn) idle() bool {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	return !c.queue.completing && len(c.queue.requests) == 0
}

// submit hands a write to the store, and queues it.
func (c *conn) submit(q *request) error {
	switch cmd := q.cmd.(type) {
	case *core.ZnodeWrite:
		cmd.Session = c.session
	case *core.SessionClose:
		cmd.Session = c.session
		c.srv.sessions.leaving(c)
	}
	if err := c.makeRoom(q); err != nil {
		return err
	}
	pending, err := c.handOver(q)
	if err != nil {
		return err
	}
	// The store has it encoded: a large multi that waits need not be held decoded, too,
	// which takes some times as much.
	q.pending, q.cmd = pending, nil
	c.push(q)
	return nil
}

// enqueue queues a request until what came before it is answered.
func (c *conn) enqueue(q *request) error {
	if err := c.makeRoom(q); err != nil {
		return err
	}
	c.push(q)
	return nil
}

// makeRoom waits until q may be queued: until there are not too many, and, if it is
// a write, until everything before it is answered that could see what it does. A
// client's requests take effect in the order in which it sends them.
func (c *conn) makeRoom(q *request) error {
	waited, err := c.awaitRoom(q)
	if waited {
		c.touch(c.srv.clock()) // what came with q may have many such waits
	}
	return err
}

func (c *conn) awaitRoom(q *request) (waited bool, err error) {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	for c.queue.full(q) || c.queue.seen(q) {
		if c.queue.closed {
			return true, errEnded
		}
		waited = true
		c.startCompleter()
		c.queue.room.Wait()
	}
	return waited, nil
}

func (u *queue) full(q *request) bool {
	return u.outstanding >= maxOutstanding ||
		u.outstanding > 0 && u.bytes+q.size > maxOutstandingBytes
}

// seen says whether a request that waits could see what the write q does.
func (u *queue) seen(q *request) bool {
	if len(u.reads) == 0 || !q.write() {
		return false
	}
	w, ok := q.cmd.(*core.ZnodeWrite)
	if !ok {
		return true // the end of a session deletes znodes that are not named
	}
	if u.reads[everywhere] > 0 {
		return true
	}
	for i := range w.Ops {
		op := &w.Ops[i]
		if u.reads[op.Path] > 0 || u.reads[parent(op.Path)] > 0 || op.Sequential && u.below(op.Path) {
			return true
		}
	}
	return false
}

// below says whether a request could see a znode whose path begins so: the number
// that ends it is not known yet.
func (u *queue) below(prefix string) bool {
	for path := range u.reads {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// shrink lets go of the memory of a queue that has not been used for some time.
func (u *queue) shrink() {
	if u.completing {
		u.quiet = 0
	} else if u.quiet++; u.quiet == patientBuffer {
		u.requests, u.reads = nil, nil
	}
}

// push queues a request that there is room for.
func (c *conn) push(q *request) {
	u := &c.queue
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests = append(u.requests, *q)
	u.outstanding++
	u.bytes += q.size
	if path, ok := q.sees(); ok {
		if u.reads == nil {
			u.reads = map[string]int{}
		}
		u.reads[path]++
	}
	c.srv.stats.outstanding.Add(1)
}

// startCompleter starts a completer if there is none and something to do. The
// queue is locked.
func (c *conn) startCompleter() {
	if u := &c.queue; !u.completing && len(u.requests) > 0 && !u.closed {
		u.completing = true
		u.goroutines.Go(c.complete)
	}
}

// endBatch is called by the reader when it has run out of input.
func (c *conn) endBatch() error {
	c.queue.mu.Lock()
	c.startCompleter()
	completing := c.queue.completing
	c.queue.shrink()
	c.queue.mu.Unlock()
	if completing {
		return nil // it flushes, and owns what is to be released
	}
	return c.rest()
}

// finish waits until the last request is answered.
func (c *conn) finish() error {
	if err := c.endBatch(); err != nil {
		return err
	}
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	for c.queue.outstanding > 0 && !c.queue.closed {
		c.queue.room.Wait()
	}
	return errAnswered
}

// complete is the completer: it answers the requests that wait until there are
// none.
func (c *conn) complete() {
	var batch []request
	for {
		c.queue.mu.Lock()
		clear(batch) // lets go of what they hold
		batch, c.queue.requests = c.queue.requests, batch[:0]
		if len(batch) == 0 {
			c.queue.completing = false
			c.queue.mu.Unlock()
			return
		}
		c.queue.mu.Unlock()
		if err := c.completeBatch(batch); err != nil {
			c.close(err)
			return
		}
	}
}

// completeBatch answers a batch. What has been answered is written before it waits
// for a write that is still under way.
func (c *conn) completeBatch(batch []request) error {
	from := 0
	for i := range batch {
		q := &batch[i]
		if q.pending != nil && !q.pending.Done() {
			if err := c.answered(batch[from:i]); err != nil {
				return err
			}
			from = i
		}
		if err := c.answerRequest(q); err != nil {
			return err
		}
	}
	return c.answered(batch[from:])
}

// answered writes what the requests were answered, and makes room for others.
func (c *conn) answered(requests []request) error {
	err := c.rest()
	u := &c.queue
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range requests {
		q := &requests[i]
		u.bytes -= q.size
		path, ok := q.sees()
		if !ok {
			continue
		}
		if u.reads[path]--; u.reads[path] == 0 {
			delete(u.reads, path)
		}
	}
	u.outstanding -= len(requests)
	c.srv.stats.outstanding.Add(-int64(len(requests)))
	u.room.Signal()
	return err
}

// sending is the socket of a connection as its outbox sees it.
type sending struct{ c *conn }

// Write fails if the client reads nothing for as long as its session may last without a
// word from it: it has not heard from the server for so long either, and a client does not
// wait that long (ZooKeeper 3.9 ClientCnxn has two thirds of it).
func (s sending) Write(b []byte) (int, error) {
	if err := s.c.nc.SetWriteDeadline(time.Now().Add(s.c.timeout)); err != nil {
		return 0, err
	}
	return s.c.nc.Write(b)
}

// Close closes the connection, and makes room for another.
func (s sending) Close() error { return s.c.srv.finish(s.c.nc) }

// kick has the events that were appended written, by a goroutine of their own: the
// runner may be waiting.
func (c *conn) kick() {
	if c.out.claim() {
		c.queue.goroutines.Go(func() { _ = c.flush() }) // it closes the connection if it fails
	}
}

// flush writes what was appended.
func (c *conn) flush() error {
	packets, err := c.out.flush()
	c.stats.sent.Add(uint64(packets))
	c.srv.stats.sent.Add(uint64(packets))
	return err
}
