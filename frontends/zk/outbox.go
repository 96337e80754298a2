package zk

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

const (
	// maxQueuedEvents bounds the bytes of events that wait for a client to read.
	// (An event needs a watch and a watch a request, so that only one who has set
	// very many can get there.)
	maxQueuedEvents = 16 << 20
	// flushSize is how much may gather before it is written.
	flushSize = 64 << 10
	// keptBuffer is the largest buffer that a connection keeps while it is idle.
	keptBuffer = 4 << 10
	// patientBuffer is how often a larger one may be found too large.
	patientBuffer = 8
)

var errSlowClient = errors.New("more events are queued than the client may leave unread")

// outbox is what is to be written to a connection, in order: replies, appended by
// whoever runs the connection's requests, and events, appended by the table of
// watches. It never blocks one who appends. It is safe for concurrent use.
type outbox struct {
	w io.WriteCloser
	// watched counts the bytes of events of all connections; it may be nil.
	watched *atomic.Uint64
	// backlog is what waits for all clients; it may be nil.
	backlog *backlog
	// abandoned says that w was closed because of it.
	abandoned atomic.Bool

	writing sync.Mutex // held while w is written; taken before mu

	mu sync.Mutex
	unsent
	// held is the bytes of all that is not written yet, be it on its way.
	held int
	// spare is the buffer last written, to be used again. small counts the times in
	// a row that it was much larger than what was in it.
	spare []byte
	small int
	// lastEvent is the revision of the last event ever appended.
	lastEvent core.Rev
	// claimed says that somebody is about to flush who has not begun.
	claimed bool
	// failed is why nothing more is appended or written.
	failed error
}

// unsent is what waits for the next flush.
type unsent struct {
	// full are long frames, and what was appended before each, in front of buf.
	full [][]byte
	buf  []byte
	// eventBytes is how much of it are events, packets the number of frames.
	eventBytes, packets int
}

// fail closes the connection. The first reason stays.
func (o *outbox) fail(reason error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failLocked(reason)
}

func (o *outbox) failLocked(reason error) {
	if o.failed != nil {
		return
	}
	if o.failed = reason; o.abandoned.Load() {
		o.failed = errNotReading
	}
	o.unsent, o.spare = unsent{}, nil
	o.hold(-o.held)
	_ = o.w.Close() // there is nothing left to lose
}

// reason is why the connection was closed from here, nil if it was not.
func (o *outbox) reason() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}

// reply appends a reply that shows the state of rev, unless an event of a later
// revision precedes it: then it reports false, and the reply must be made anew. A frame
// longer than flushSize belongs to the outbox from then on.
func (o *outbox) reply(frame []byte, rev core.Rev) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lastEvent > rev {
		return false
	}
	o.appendLocked(frame, len(frame) > flushSize)
	return true
}

// append appends a reply that shows nothing that an event could contradict. A frame longer
// than flushSize belongs to the outbox from then on.
func (o *outbox) append(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.appendLocked(frame, len(frame) > flushSize)
}

// appendLocked appends a frame, or a copy of it if it is not handed over.
func (o *outbox) appendLocked(frame []byte, handedOver bool) {
	if o.failed != nil {
		return
	}
	o.packets++
	if handedOver {
		if len(o.buf) > 0 {
			o.full, o.buf = append(o.full, o.buf), nil
		}
		o.full = append(o.full, frame)
	} else {
		if o.buf == nil {
			o.buf, o.spare = o.spare, nil
		}
		o.buf = append(o.buf, frame...)
	}
	o.hold(len(frame))
}

// hold changes how much is held.
func (o *outbox) hold(n int) {
	before := o.held
	o.held += n
	if o.backlog != nil && max(before, o.held) > flushSize {
		o.backlog.holds(o, o.held)
	}
}

// event appends the frame of an event of a revision.
func (o *outbox) event(rev core.Rev, frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil {
		return
	}
	o.appendLocked(frame, false)
	o.lastEvent = rev
	if o.watched != nil {
		o.watched.Add(uint64(len(frame)))
	}
	if o.eventBytes += len(frame); o.eventBytes > maxQueuedEvents {
		o.failLocked(errSlowClient)
	}
}

// eventOverhead is the size of the frame of an event whose path is empty.
const eventOverhead = jute.FrameHeader + 16 + 12

// appendEvent appends the frame of an event.
func appendEvent(dst []byte, zxid int64, kind wire.EventType, path string) []byte {
	start := len(dst)
	dst = jute.OpenFrame(dst)
	dst = (&wire.ReplyHeader{Xid: wire.XidEvent, Zxid: zxid}).Append(dst)
	dst = (&wire.WatcherEvent{Type: kind, State: wire.StateSyncConnected, Path: path}).Append(dst)
	jute.CloseFrame(dst, start)
	return dst
}

// claim makes the caller the one who must flush, unless there is one already.
func (o *outbox) claim() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	claimed := o.claimed
	o.claimed = true
	return !claimed
}

// flush writes what waits and returns the number of frames in it. It blocks as
// long as the client does not read.
func (o *outbox) flush() (packets int, err error) {
	o.writing.Lock()
	defer o.writing.Unlock()
	o.mu.Lock()
	u, failed := o.unsent, o.failed
	o.unsent, o.claimed = unsent{}, false
	o.mu.Unlock()
	if failed != nil {
		return 0, failed
	}
	for i, b := range u.full {
		u.full[i] = nil // so that it goes as soon as it is written
		if err := o.write(b); err != nil {
			return 0, err
		}
	}
	if err := o.write(u.buf); err != nil {
		return 0, err
	}
	return u.packets, nil
}

// write writes a buffer, some at a time, and lets go of it.
func (o *outbox) write(b []byte) error {
	for rest := b; len(rest) > 0; {
		n, err := o.w.Write(rest[:min(len(rest), flushSize)])
		if err != nil {
			o.fail(err)
			return err
		}
		if rest = rest[n:]; len(rest) > 0 && o.backlog != nil {
			o.backlog.progress(o)
		}
	}
	if len(b) > 0 {
		o.recycle(b)
	}
	return nil
}

// recycle keeps a buffer that was written, unless it is too large: once, or for
// what has been in it for some time.
func (o *outbox) recycle(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == nil {
		o.hold(-len(b))
	}
	if cap(b) <= keptBuffer || len(b) > cap(b)/4 {
		o.small = 0
	} else {
		o.small++
	}
	if o.failed == nil && o.spare == nil && cap(b) <= 2*flushSize && o.small < patientBuffer {
		o.spare = b[:0]
	}
}
