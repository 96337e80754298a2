package etcdv3

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/triglot/triglot/core"
)

// maxReplies bounds the answers that wait to be sent: a client that asks and
// does not read is not read from either.
const maxReplies = 128

type watchConn = stream[pb.WatchRequest, pb.WatchResponse]

// sendMessage sends events.
func (ws *watchStream) sendMessage(m *eventsMessage) error {
	ws.sending.Lock()
	defer ws.sending.Unlock()
	return ws.conn.SendMsg(m)
}

// watchStream is one stream of watches. One goroutine receives, one sends what
// the feed delivers; both may send an answer.
//
// Answers leave in the order of the requests, as in etcd. Most come out of the
// feed, in order; those that do not (a refusal) wait for the ones before them.
type watchStream struct {
	*face
	feed core.Feed
	conn watchConn

	// sending serialises conn.Send. It is the one lock here that is held over
	// I/O, and only this stream waits for it.
	sending sync.Mutex

	// mu guards the fields below it.
	mu         sync.Mutex
	byID       map[int64]*watch        // by the client's id, unless cancelled
	byFeedID   map[core.WatchID]*watch // by the feed's id, unless ended
	autoID     int64                   // the first id that was never drawn
	lastFeedID core.WatchID
	compacted  int     // watches in byID that compaction has ended
	replies    []reply // answers due, in order
	room       *sync.Cond
	ended      bool
	progress   *time.Timer // nil until a watch wants notifications

	sender // the sending goroutine's
}

// sender is what belongs to the goroutine that sends what the feed delivers.
type sender struct {
	// last is the watch that was looked up last, unless it has ended: most streams
	// have but one.
	last *watch
	// message is the response being sent.
	message eventsMessage
	burst   burst
}

// watch is one watch of a stream. Ids of the feed are never used again, so that
// a client may reuse its own at once. The first fields are immutable.
type watch struct {
	id       int64
	feedID   core.WatchID
	who      core.Principal // who asked for it
	prevKV   bool
	fragment bool
	progress bool

	// quiet says that no event was sent since the last progress notification was
	// due.
	quiet atomic.Bool
	// compacted says that compaction has ended the watch. The stream's mu guards it.
	compacted bool
}

// reply is an answer that is due: either the confirmation of a watch, which the
// feed will deliver, or a response.
type reply struct {
	created  core.WatchID
	response *pb.WatchResponse
}

func newWatchStream(f *face, feed core.Feed, conn watchConn) *watchStream {
	ws := &watchStream{
		face:     f,
		feed:     feed,
		conn:     conn,
		byID:     make(map[int64]*watch),
		byFeedID: make(map[core.WatchID]*watch),
	}
	ws.room = sync.NewCond(&ws.mu)
	return ws
}

// close ends the stream's watches and timer and lets receive go.
func (ws *watchStream) close() {
	ws.mu.Lock()
	ws.ended = true
	if ws.progress != nil {
		ws.progress.Stop()
	}
	ws.room.Broadcast()
	ws.mu.Unlock()
	ws.feed.Close()
}

// waitForRoom waits while too many answers wait to be sent. It reports false
// once the stream has ended.
func (ws *watchStream) waitForRoom() bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for len(ws.replies) >= maxReplies && !ws.ended {
		ws.room.Wait()
	}
	return !ws.ended
}

// reply sends an answer that does not come out of the feed, as of the current
// revision, or leaves it behind the answers that are due before it. It is for the
// receiving goroutine.
func (ws *watchStream) reply(resp *pb.WatchResponse) error {
	resp.Header = &pb.ResponseHeader{}
	ws.fill(resp.Header, ws.Cluster.Status().Rev)
	ws.mu.Lock()
	if len(ws.replies) > 0 {
		ws.replies = append(ws.replies, reply{response: resp})
		ws.mu.Unlock()
		return nil
	}
	ws.mu.Unlock()
	return ws.sendControl(resp)
}

func (ws *watchStream) sendOne(resp *pb.WatchResponse) error {
	ws.sending.Lock()
	defer ws.sending.Unlock()
	return ws.conn.Send(resp)
}

// sendControl sends a response without events.
func (ws *watchStream) sendControl(resp *pb.WatchResponse) error {
	start := time.Now()
	err := ws.sendOne(resp)
	ws.Metrics.watch.control.Observe(time.Since(start).Seconds())
	return err
}

// send passes on what the feed delivers, until ctx, the feed or the transport
// ends.
func (ws *watchStream) send(ctx context.Context) error {
	defer ws.endBurst()
	for {
		d, err := ws.feed.Next(ctx)
		if err != nil {
			return err
		}
		if err := ws.deliver(ctx, &d); err != nil {
			return err
		}
		if !d.More {
			ws.endBurst()
		}
	}
}

func (ws *watchStream) deliver(ctx context.Context, d *core.Delivery) error {
	if d.Kind == core.DeliverProgress && d.Watch == core.AllWatches {
		return ws.sendControl(ws.control(d, invalidWatchID))
	}
	w := ws.lookUp(d)
	if w == nil {
		return nil // cancelled while the delivery was under way
	}
	switch d.Kind {
	case core.DeliverEvents:
		if err := ws.filter(ctx, w, d); err != nil || len(d.Changes) == 0 {
			return err
		}
		if w.quiet.Load() { // a write is not for nothing
			w.quiet.Store(false)
		}
		return ws.sendEvents(w, d)
	case core.DeliverCreated:
		resp := ws.control(d, w.id)
		resp.Created = true
		if err := ws.sendControl(resp); err != nil {
			return err
		}
		return ws.sendReplies(w.feedID)
	case core.DeliverCanceled:
		resp := ws.control(d, w.id)
		resp.Canceled = true
		return ws.sendControl(resp)
	case core.DeliverCompacted:
		return ws.sendCompacted(w, d)
	case core.DeliverProgress:
		return ws.sendControl(ws.control(d, w.id))
	default:
		panic("etcdv3: the feed delivers something of an unknown kind")
	}
}

// lookUp finds the watch of a delivery and notes what the delivery means for it.
func (ws *watchStream) lookUp(d *core.Delivery) *watch {
	if w := ws.last; w != nil && w.feedID == d.Watch && d.Kind == core.DeliverEvents {
		return w
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.byFeedID[d.Watch]
	ws.last = w
	if d.Kind == core.DeliverCanceled || d.Kind == core.DeliverCompacted {
		delete(ws.byFeedID, d.Watch)
		ws.last = nil
	}
	return w
}

// filter leaves out the events that who asked for them may not be told of, by the ACLs
// of znodes as they are now: the latest view shows at least what is delivered. Where
// nothing is left out, the changes are what all other streams have.
func (ws *watchStream) filter(ctx context.Context, w *watch, d *core.Delivery) (err error) {
	d.Changes, err = ws.visible(ctx, w.who, d.Changes)
	return err
}

// visible are the changes that a principal may be told of.
func (f *face) visible(ctx context.Context, who core.Principal, changes []core.Change) ([]core.Change, error) {
	view, err := f.Store.View(ctx, who, core.Consistency{})
	if err != nil {
		return nil, err
	}
	defer view.Close()
	return view.Znodes().Visible(changes), nil
}

// sendCompacted tells the client that compaction has ended a watch. Its id stays
// taken until the client cancels it; if it has done so meanwhile, this is the
// place to confirm it.
func (ws *watchStream) sendCompacted(w *watch, d *core.Delivery) error {
	resp := ws.control(d, w.id)
	resp.Header.Revision = 0 // as in etcd (T-42)
	resp.Canceled = true
	resp.CompactRevision = int64(d.CompactRev)
	if err := ws.sendControl(resp); err != nil {
		return err
	}
	ws.mu.Lock()
	canceled := ws.byID[w.id] != w
	if !canceled {
		w.compacted = true
		ws.compacted++
	}
	ws.mu.Unlock()
	if !canceled {
		return nil
	}
	return ws.reply(&pb.WatchResponse{WatchId: w.id, Canceled: true})
}

// sendReplies sends the answers that were due after the confirmation of a watch,
// which has been sent. Each stays in the list until it is sent, so that later
// ones queue behind it.
func (ws *watchStream) sendReplies(created core.WatchID) error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	defer ws.room.Signal()
	i := slices.IndexFunc(ws.replies, func(r reply) bool { return r.created == created })
	ws.replies = slices.Delete(ws.replies, i, i+1)
	for len(ws.replies) > 0 && ws.replies[0].response != nil {
		resp := ws.replies[0].response
		ws.mu.Unlock()
		err := ws.sendControl(resp)
		ws.mu.Lock()
		if err != nil {
			return err
		}
		ws.replies = slices.Delete(ws.replies, 0, 1)
	}
	return nil
}

// control makes a response without events.
func (ws *watchStream) control(d *core.Delivery, id int64) *pb.WatchResponse {
	reply := &struct {
		pb.WatchResponse
		header pb.ResponseHeader
	}{}
	reply.Header = &reply.header
	ws.fill(reply.Header, d.Rev)
	reply.WatchId = id
	return &reply.WatchResponse
}

// startProgress starts the timer of progress notifications, which is the
// stream's and runs at most once. REQUIRES ws.mu.
func (ws *watchStream) startProgress() {
	if ws.progress != nil || ws.ended {
		return
	}
	interval := ws.ProgressInterval + rand.N(ws.ProgressInterval/10)
	ws.progress = time.AfterFunc(interval, func() { ws.notifyProgress(interval) })
}

// notifyProgress asks for a notification for each watch that wants them and has
// been quiet since the last time (etcd T-48).
func (ws *watchStream) notifyProgress(next time.Duration) {
	start := time.Now()
	var due []core.WatchID
	ws.mu.Lock()
	if ws.ended {
		ws.mu.Unlock()
		return
	}
	for _, w := range ws.byID {
		if !w.progress || w.compacted {
			continue
		}
		if w.quiet.Swap(true) {
			due = append(due, w.feedID)
		}
	}
	ws.progress.Reset(next)
	ws.mu.Unlock()
	for _, id := range due {
		ws.feed.RequestProgress(id)
	}
	ws.Metrics.watch.progress.Observe(time.Since(start).Seconds())
}
