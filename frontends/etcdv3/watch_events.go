package etcdv3

import (
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/triglot/triglot/core"
)

// eventsMessage is a WatchResponse with events that is encoded straight from the
// changes: what many streams send is never translated, and its bytes are shared
// (sharedEvent). To whoever needs the message itself, as the JSON gateway does, it is
// one.
type eventsMessage struct {
	clusterID, memberID, term uint64
	rev                       core.Rev
	watchID                   int64
	fragment                  bool
	prevKV                    bool
	changes                   []core.Change
}

// ProtoReflect makes the message that m stands for.
func (m *eventsMessage) ProtoReflect() protoreflect.Message { return m.response().ProtoReflect() }

func (m *eventsMessage) header() *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: m.clusterID, MemberId: m.memberID, Revision: int64(m.rev), RaftTerm: m.term}
}

func (m *eventsMessage) response() *pb.WatchResponse {
	resp := &pb.WatchResponse{
		Header: m.header(), WatchId: m.watchID, Fragment: m.fragment,
		Events: make([]*mvccpb.Event, len(m.changes)),
	}
	for i := range m.changes {
		resp.Events[i] = eventOf(&m.changes[i], m.prevKV)
	}
	return resp
}

// sendEvents sends the events of a delivery as one response or, where the watch
// allows it and they are too large for one, as several (etcd T-45).
func (ws *watchStream) sendEvents(w *watch, d *core.Delivery) error {
	ws.beginBurst()
	self := ws.Cluster.Self()
	whole := &ws.message
	*whole = eventsMessage{
		clusterID: self.ClusterID, memberID: uint64(self.Member), term: self.Term, rev: d.Rev,
		watchID: w.id, prevKV: w.prevKV, changes: d.Changes,
	}
	limit := int(ws.Limits.RequestBytes) + requestOverhead
	var err error
	if !w.fragment || len(d.Changes) < 2 || sizeEventsMessage(whole) < limit {
		err = ws.sendMessage(whole)
	} else {
		err = fragments(whole, limit, func(part *eventsMessage) error { return ws.sendMessage(part) })
	}
	whole.changes = nil // not to be kept while nothing happens
	ws.burst.responses++
	ws.burst.events += len(d.Changes)
	return err
}

// burst counts the responses that are sent without waiting for the feed in between: the
// clock is read and the metrics are moved once for all of them.
type burst struct {
	start             time.Time
	responses, events int
}

func (ws *watchStream) beginBurst() {
	if ws.burst.responses == 0 {
		ws.burst.start = time.Now()
	}
}

func (ws *watchStream) endBurst() {
	if b := &ws.burst; b.responses > 0 {
		ws.Metrics.watch.sent(b.responses, b.events, time.Since(b.start))
		*b = burst{}
	}
}

// withPrev reports whether an event has the previous version. A key that comes to
// life has none (T-47).
func withPrev(c *core.Change, asked bool) bool {
	return asked && c.Prev != nil && (c.KV.Deleted() || c.KV.CreateRev != c.KV.ModRev)
}

// eventOf translates a change. Of a deleted key etcd gives only its name and the
// revision (T-21).
func eventOf(c *core.Change, prevKV bool) *mvccpb.Event {
	e := &mvccpb.Event{}
	if c.KV.Deleted() {
		e.Type = mvccpb.Event_DELETE
		e.Kv = &mvccpb.KeyValue{Key: c.KV.Key, ModRevision: int64(c.KV.ModRev)}
	} else {
		e.Kv = kvOf(c.KV)
	}
	if withPrev(c, prevKV) {
		e.PrevKv = kvOf(c.Prev)
	}
	return e
}

// fragments sends a response in parts that stay below limit bytes, but for one
// that a single event exceeds. Each part has the whole header; all but the last
// are marked.
func fragments(whole *eventsMessage, limit int, send func(*eventsMessage) error) error {
	empty := *whole
	empty.fragment, empty.changes = true, nil
	base := sizeEventsMessage(&empty)
	for rest := whole.changes; len(rest) > 0; {
		n, size := 0, base
		for n < len(rest) {
			size += sizeNested(sizeChange(&rest[n], whole.prevKV))
			if n > 0 && size >= limit {
				break
			}
			n++
		}
		part := *whole
		part.fragment, part.changes = n < len(rest), rest[:n]
		if err := send(&part); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}
