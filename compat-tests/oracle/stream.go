package oracle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/metadata"
)

// retryFence is the pause before progress is asked for again: etcd drops the
// request while a watch of the stream is catching up, which it does every 100 ms.
const retryFence = 20 * time.Millisecond

// stream is one watch stream of one side.
type stream struct {
	client pb.Watch_WatchClient
	// responses holds what has arrived; closed after the last one. err is why, and
	// is valid from then on.
	responses chan *pb.WatchResponse
	err       error
}

// open returns the side's stream of that name, opened with the given metadata if
// it is new.
func (s *side) open(name string, md metadata.MD) (*stream, error) {
	if st, ok := s.streams[name]; ok {
		return st, nil
	}
	md = metadata.Join(md, s.callers.metadata())
	client, err := pb.NewWatchClient(s.conn).Watch(metadata.NewOutgoingContext(s.ctx, md))
	if err != nil {
		return nil, err
	}
	st := &stream{client: client, responses: make(chan *pb.WatchResponse, 1024)}
	s.streams[name] = st
	s.wg.Go(func() {
		defer close(st.responses)
		for {
			response, err := client.Recv()
			if err != nil {
				st.err = err
				return
			}
			select {
			case st.responses <- response:
			case <-s.ctx.Done():
				st.err = s.ctx.Err()
				return
			}
		}
	})
	return st, nil
}

// next waits for the next response.
func (st *stream) next(deadline <-chan time.Time) (*pb.WatchResponse, error) {
	select {
	case response, ok := <-st.responses:
		if !ok {
			return nil, st.err
		}
		return response, nil
	case <-deadline:
		return nil, context.DeadlineExceeded
	}
}

// send passes a request on. A stream that has ended shows why in next.
func (st *stream) send(request *pb.WatchRequest) error {
	if err := st.client.Send(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// until returns the responses up to and including the first one that is last.
func (st *stream) until(last func(*pb.WatchResponse) bool) ([]*pb.WatchResponse, error) {
	deadline := time.After(patience)
	var got []*pb.WatchResponse
	for {
		response, err := st.next(deadline)
		if err != nil {
			return got, fmt.Errorf("after %d responses: %w", len(got), err)
		}
		got = append(got, response)
		if last(response) {
			return got, nil
		}
	}
}

// fence returns all that was due on the stream when it was called, by asking for
// progress until the stream says that everything up to rev is delivered. At
// least one watch must be live, and none may start beyond rev. Progress
// responses are left out of the result; the revision of the last one is added.
func (st *stream) fence(rev int64) (got []*pb.WatchResponse, progress int64, err error) {
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
	deadline := time.After(patience)
	for {
		if err := st.send(request); err != nil {
			return got, 0, err
		}
		again := time.After(retryFence)
	wait:
		for {
			select {
			case response, ok := <-st.responses:
				switch {
				case !ok:
					return got, 0, st.err
				case !isProgress(response):
					got = append(got, response)
				case response.Header.GetRevision() >= rev:
					return got, response.Header.GetRevision(), nil
				}
			case <-again:
				break wait
			case <-deadline:
				return got, 0, fmt.Errorf("no progress up to revision %d: %w", rev, context.DeadlineExceeded)
			}
		}
	}
}

func isProgress(r *pb.WatchResponse) bool {
	return len(r.Events) == 0 && !r.Created && !r.Canceled
}

// byWatch orders responses by watch. Those of one watch keep their order; between
// two watches of a stream there is none.
func byWatch(responses []*pb.WatchResponse) {
	slices.SortStableFunc(responses, func(a, b *pb.WatchResponse) int { return int(a.WatchId - b.WatchId) })
}
