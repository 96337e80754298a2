package etcdv3

import (
	"bytes"
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	"github.com/triglot/triglot/core"
)

const (
	// autoWatchID asks the server for a watch id, invalidWatchID names no watch.
	autoWatchID    = 0
	invalidWatchID = -1

	// The reasons that etcd gives for a watch that it does not create, besides
	// the texts of its errors.
	reasonDuplicateID = "mvcc: duplicate watch ID provided on the WatchStream"
	reasonEmptyRange  = "mvcc: watcher range is empty"
)

// watchServer is etcd's Watch service.
type watchServer struct{ *face }

func (f *face) watch() service {
	s := watchServer{f}
	return service{desc: pb.Watch_ServiceDesc, streams: map[string]grpc.StreamHandler{
		"Watch": streaming(f, s.watch),
	}}
}

// watch serves one stream. The calling goroutine sends; another receives, and
// may still wait for the client when this returns: Recv ends as soon as the
// transport learns that the handler has returned. A client that has nothing more
// to say keeps its watches (etcd T-50).
func (s watchServer) watch(ctx context.Context, conn watchConn) error {
	feed, err := s.Store.Watch(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ws := newWatchStream(s.face, feed, conn)
	defer ws.close()
	go func() {
		if err := ws.receive(ctx); err != nil && !errors.Is(err, io.EOF) {
			cancel(err)
		}
	}()
	err = ws.send(ctx)
	if ended := context.Cause(ctx); ended != nil {
		err = ended // it is why the feed or the transport failed
	}
	cancel(nil)
	if errors.Is(err, context.Canceled) {
		return rpctypes.ErrGRPCWatchCanceled
	}
	return err
}

// receive does what the client asks for, until the stream ends.
func (ws *watchStream) receive(ctx context.Context) error {
	for {
		req, err := ws.conn.Recv()
		if err != nil {
			return err
		}
		if !ws.waitForRoom() {
			return nil
		}
		switch r := req.RequestUnion.(type) {
		case *pb.WatchRequest_CreateRequest:
			err = ws.create(ctx, r.CreateRequest)
		case *pb.WatchRequest_CancelRequest:
			err = ws.cancel(r.CancelRequest.GetWatchId())
		case *pb.WatchRequest_ProgressRequest:
			ws.requestProgress()
		default: // etcd passes over what it does not know
		}
		if err != nil {
			return err
		}
	}
}

// create adds a watch, or says why not (etcd T-40, T-41, T-43).
func (ws *watchStream) create(ctx context.Context, r *pb.WatchCreateRequest) error {
	spec, reason := watchSpec(r)
	var who core.Principal
	if r.GetStartRevision() >= 0 { // which is what etcd looks at first
		var err error
		if who, err = ws.mayWatch(ctx, spec.Interval); err != nil {
			if reason = watchRefusal(err); reason == "" {
				return err
			}
		}
	}
	if reason != "" {
		return ws.refuse(reason)
	}
	ws.mu.Lock()
	id := r.GetWatchId()
	switch {
	case id == autoWatchID:
		id = ws.nextAutoID()
	case ws.byID[id] != nil:
		ws.mu.Unlock()
		return ws.refuse(reasonDuplicateID)
	}
	ws.lastFeedID++
	w := &watch{
		id:       id,
		feedID:   ws.lastFeedID,
		who:      who,
		prevKV:   r.GetPrevKv(),
		fragment: r.GetFragment(),
		progress: r.GetProgressNotify(),
	}
	w.quiet.Store(true)
	ws.byID[id] = w
	ws.byFeedID[w.feedID] = w
	ws.replies = append(ws.replies, reply{created: w.feedID})
	if w.progress {
		ws.startProgress()
	}
	ws.mu.Unlock()
	ws.feed.Add(w.feedID, spec)
	return nil
}

// watchSpec translates a request. A reason says that it is refused.
func watchSpec(r *pb.WatchCreateRequest) (spec core.WatchSpec, reason string) {
	key, end := r.GetKey(), r.GetRangeEnd()
	if len(key) == 0 {
		key = []byte{0} // the smallest key
	}
	if r.GetStartRevision() < 0 {
		return spec, rpctypes.ErrorDesc(rpctypes.ErrGRPCCompacted)
	}
	spec = core.WatchSpec{
		Interval: core.Interval{Key: key, End: end},
		Start:    core.Rev(r.GetStartRevision()),
		PrevKV:   r.GetPrevKv(),
	}
	if !spec.Single() && !spec.Unbounded() && bytes.Compare(key, end) >= 0 {
		return spec, reasonEmptyRange
	}
	for _, f := range r.GetFilters() {
		switch f {
		case pb.WatchCreateRequest_NOPUT:
			spec.NoPut = true
		case pb.WatchCreateRequest_NODELETE:
			spec.NoDelete = true
		}
	}
	return spec, ""
}

// nextAutoID draws the next id that is free. Ids given back are not drawn again.
// REQUIRES ws.mu.
func (ws *watchStream) nextAutoID() int64 {
	for ws.byID[ws.autoID] != nil {
		ws.autoID++
	}
	id := ws.autoID
	ws.autoID++
	return id
}

// cancel ends a watch. An unknown id is passed over (etcd T-44). The id is free
// at once.
func (ws *watchStream) cancel(id int64) error {
	ws.mu.Lock()
	w := ws.byID[id]
	if w == nil {
		ws.mu.Unlock()
		return nil
	}
	delete(ws.byID, id)
	compacted := w.compacted
	if compacted {
		ws.compacted--
	}
	ws.mu.Unlock()
	if compacted {
		return ws.reply(&pb.WatchResponse{WatchId: id, Canceled: true})
	}
	// The feed confirms it once all that precedes it is delivered. If compaction
	// was faster, its delivery is under way, and sendCompacted confirms this too.
	ws.feed.Remove(w.feedID)
	return nil
}

// requestProgress asks for a notification on behalf of all watches. While one
// that compaction has ended is not cancelled too, etcd takes it for behind.
func (ws *watchStream) requestProgress() {
	ws.mu.Lock()
	behind := ws.compacted > 0
	ws.mu.Unlock()
	if !behind {
		ws.feed.RequestProgress(core.AllWatches)
	}
}

// refuse answers a request for a watch that is not created.
func (ws *watchStream) refuse(reason string) error {
	return ws.reply(&pb.WatchResponse{
		WatchId:      invalidWatchID,
		Created:      true,
		Canceled:     true,
		CancelReason: reason,
	})
}
