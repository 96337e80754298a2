package etcdv3

import (
	"context"
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/core"
)

// The refusals of RangeStream, which have no text of their own in etcd's client
// (etcd T-15).
var (
	errStreamSorted   = status.Error(codes.Unimplemented, "RangeStream does not support custom sort orders")
	errStreamFiltered = status.Error(codes.Unimplemented, "RangeStream does not support revision filters")
)

// firstChunk is how many keys the first message has at most.
const firstChunk = 10

// checkRangeStream refuses what cannot be served in key order, chunk by chunk. etcd
// lets a sort target without an order through and then sorts each chunk by itself,
// which is nobody's order: that is refused, too.
func checkRangeStream(r *pb.RangeRequest) error {
	if err := checkRange(r); err != nil {
		return err
	}
	switch {
	case r.SortTarget != pb.RangeRequest_KEY, r.SortOrder == pb.RangeRequest_DESCEND:
		return errStreamSorted
	case r.MinModRevision != 0, r.MaxModRevision != 0, r.MinCreateRevision != 0, r.MaxCreateRevision != 0:
		return errStreamFiltered
	}
	return nil
}

// rangeStream is the streaming method's transport: one request, many responses.
func (s kvServer) rangeStream(ctx context.Context, conn stream[pb.RangeRequest, pb.RangeStreamResponse]) error {
	r, err := conn.Recv()
	if err != nil {
		return err
	}
	if err := checkRangeStream(r); err != nil {
		return err
	}
	who, err := s.principal(ctx)
	if err != nil {
		return err
	}
	rs := rangeStream{face: s.face, who: who, request: r, send: conn.SendMsg}
	return rs.run(ctx, !r.Serializable)
}

// rangeStream serves a range in chunks, all as of one revision. It holds a view
// while it reads a chunk and none while the client takes it: a client that is slow
// keeps no old data on disk, and is told so if a compaction was faster. gRPC takes a
// message when the one before it is out, so that the next chunk is read while one is
// sent, and never more.
type rangeStream struct {
	*face
	who core.Principal
	// request is what is left of it: it begins behind the last key that was sent.
	request *pb.RangeRequest
	send    func(m any) error

	left int64    // how many keys the client still wants
	sent int64    // how many it has been sent
	rev  core.Rev // the store's revision when it asked
}

func (rs *rangeStream) run(ctx context.Context, linearizable bool) error {
	if rs.left = rs.request.Limit; rs.left <= 0 {
		rs.left = math.MaxInt64
	}
	target := int(rs.Limits.RequestBytes)
	chunk := int64(firstChunk)
	consistency := core.Consistency{Linearizable: linearizable}
	for {
		rs.request.Limit = min(chunk, rs.left)
		reply := newEncodedRange(ctx, rs.request, nil)
		reply.stream = true
		// etcd's own first chunk may be as large; it bounds none.
		reply.query.PageBytes = firstChunk * target
		last, err := rs.read(ctx, consistency, reply)
		if err != nil {
			return reply.drop(err)
		}
		chunk = nextChunk(rs.request.Limit, sizeChunk(reply, rs.rev), target)
		if err := rs.send(reply); err != nil || last {
			return err
		}
		consistency = core.Consistency{AtLeast: rs.rev}
	}
}

// read reads the next chunk. The last one has the header and, as of the pinned
// revision, the count of the whole interval.
func (rs *rangeStream) read(ctx context.Context, c core.Consistency, reply *encodedRange) (last bool, err error) {
	view, err := rs.Store.View(ctx, rs.who, c)
	if err != nil {
		return false, err
	}
	defer view.Close()
	res, err := view.Range(ctx, &reply.query)
	if err != nil {
		return false, err
	}
	if rs.rev == 0 {
		rs.rev = view.Rev()
		if rs.request.Revision <= 0 {
			rs.request.Revision = int64(rs.rev)
		}
	}
	rs.sent += reply.keys
	rs.left -= reply.keys
	if res.More {
		rs.request.Key = append(append([]byte(nil), reply.last...), 0)
		if rs.left > 0 {
			reply.end(false, 0, nil)
			return false, nil
		}
	}
	count := rs.sent
	switch {
	case rs.request.CountOnly:
		count = res.Count
	case res.More:
		rest := core.Interval{Key: rs.request.Key, End: rs.request.RangeEnd}
		behind, err := view.Range(ctx, &core.Range{Interval: rest, Rev: core.Rev(rs.request.Revision), CountOnly: true})
		if err != nil {
			return false, err
		}
		count += behind.Count
	}
	rs.fill(&reply.header, rs.rev)
	reply.end(res.More, count, &reply.header)
	return true, nil
}

// nextChunk is how many keys the chunk after one of so many keys and bytes has at
// most, so that chunks come near the target.
func nextChunk(keys int64, size, target int) int64 {
	switch {
	case size < target/2:
		keys *= 2
	case size > 2*target:
		keys /= 2
	}
	return max(keys, 1)
}

// sizeChunk is the size by which etcd measures a chunk that is not the last: as a
// response with a header, and with a count of the keys and the one behind them.
func sizeChunk(r *encodedRange, rev core.Rev) int {
	return r.out.size() + sizeNested(sizeVarint(uint64(rev))) + sizeBool(true) + sizeVarint(uint64(r.keys+1))
}
