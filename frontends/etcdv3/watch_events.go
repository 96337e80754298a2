package etcdv3

import (
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/triglot/triglot/core"
)

// sendEvents sends the events of a delivery as one response or, where the watch
// allows it and they are too large for one, as several (etcd T-45).
func (ws *watchStream) sendEvents(w *watch, d *core.Delivery) error {
	start := time.Now()
	resp := eventsResponse(w, d)
	ws.fill(resp.Header, d.Rev)
	limit := int(ws.MaxRequestBytes) + requestOverhead
	var err error
	if !w.fragment || len(resp.Events) < 2 || sizeWatchResponse(resp) < limit {
		err = ws.sendOne(resp)
	} else {
		err = fragments(resp, limit, ws.sendOne)
	}
	ws.Metrics.watch.sent(len(d.Changes), time.Since(start))
	return err
}

// eventReply is a response with its header and, as most have just one, its first
// event, in one allocation.
type eventReply struct {
	pb.WatchResponse
	header   pb.ResponseHeader
	event    mvccpb.Event
	kv, prev mvccpb.KeyValue
	events   [1]*mvccpb.Event
}

// eventsResponse translates a delivery of events. The header is there and empty.
func eventsResponse(w *watch, d *core.Delivery) *pb.WatchResponse {
	reply := new(eventReply)
	reply.Header = &reply.header
	reply.WatchId = w.id
	if len(d.Changes) == 1 {
		setEvent(&reply.event, &reply.kv, &reply.prev, &d.Changes[0], w.prevKV)
		reply.events[0] = &reply.event
		reply.Events = reply.events[:]
		return &reply.WatchResponse
	}
	type slot struct {
		event    mvccpb.Event
		kv, prev mvccpb.KeyValue
	}
	slab := make([]slot, len(d.Changes))
	reply.Events = make([]*mvccpb.Event, len(d.Changes))
	for i := range d.Changes {
		s := &slab[i]
		setEvent(&s.event, &s.kv, &s.prev, &d.Changes[i], w.prevKV)
		reply.Events[i] = &s.event
	}
	return &reply.WatchResponse
}

// setEvent writes a change into empty messages. Of a deleted key etcd gives only
// its name and the revision; a key that comes to life has no previous version
// (T-21, T-47).
func setEvent(out *mvccpb.Event, kv, prev *mvccpb.KeyValue, c *core.Change, withPrev bool) {
	out.Kv = kv
	if c.KV.Deleted() {
		out.Type = mvccpb.Event_DELETE
		kv.Key = c.KV.Key
		kv.ModRevision = int64(c.KV.ModRev)
	} else {
		setKV(kv, c.KV)
		withPrev = withPrev && c.KV.CreateRev != c.KV.ModRev
	}
	if withPrev && c.Prev != nil {
		out.PrevKv = prev
		setKV(prev, c.Prev)
	}
}

// fragments sends a response in parts that stay below limit bytes, but for one
// that a single event exceeds. Each part has the whole header; all but the last
// are marked.
func fragments(resp *pb.WatchResponse, limit int, send func(*pb.WatchResponse) error) error {
	events := resp.Events
	base := sizeWatchResponse(&pb.WatchResponse{Header: resp.Header, WatchId: resp.WatchId, Fragment: true})
	for len(events) > 0 {
		n, size := 0, base
		for n < len(events) {
			size += sizeNested(sizeEvent(events[n]))
			if n > 0 && size >= limit {
				break
			}
			n++
		}
		part := &pb.WatchResponse{
			Header:   resp.Header,
			WatchId:  resp.WatchId,
			Fragment: n < len(events),
			Events:   events[:n],
		}
		if err := send(part); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}
