package etcdv3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/node"
)

// streamed collects a stream; err is what ended it, nil if it was whole.
func (s *server) streamed(r *pb.RangeRequest) (messages []*pb.RangeResponse, err error) {
	stream, err := s.kv.RangeStream(s.ctx(), r)
	require.NoError(s, err)
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return messages, nil
		}
		if err != nil {
			return messages, err
		}
		messages = append(messages, m.RangeResponse)
	}
}

// T-15: what cannot be served chunk by chunk is refused, after the checks of Range.
func TestRangeStreamRefusals(t *testing.T) {
	s := startServer(t)
	s.put("a", "1")
	const sorted, filtered = "RangeStream does not support custom sort orders", "RangeStream does not support revision filters"
	for _, tt := range []struct {
		name string
		req  *pb.RangeRequest
		code codes.Code
		want string
	}{
		{"no key", &pb.RangeRequest{SortOrder: pb.RangeRequest_DESCEND}, codes.InvalidArgument, "etcdserver: key is not provided"},
		{"unknown order", &pb.RangeRequest{SortOrder: 9}, codes.InvalidArgument, "etcdserver: invalid sort option"},
		{"unknown target", &pb.RangeRequest{SortTarget: -1, MinModRevision: 1}, codes.InvalidArgument, "etcdserver: invalid sort option"},
		{"descending", &pb.RangeRequest{SortOrder: pb.RangeRequest_DESCEND, MinModRevision: 1}, codes.Unimplemented, sorted},
		{"by version", &pb.RangeRequest{SortTarget: pb.RangeRequest_VERSION, SortOrder: pb.RangeRequest_ASCEND}, codes.Unimplemented, sorted},
		{"by value, no order", &pb.RangeRequest{SortTarget: pb.RangeRequest_VALUE}, codes.Unimplemented, sorted},
		{"min mod", &pb.RangeRequest{MinModRevision: 1}, codes.Unimplemented, filtered},
		{"max mod", &pb.RangeRequest{MaxModRevision: 1}, codes.Unimplemented, filtered},
		{"min create", &pb.RangeRequest{MinCreateRevision: 1}, codes.Unimplemented, filtered},
		{"max create", &pb.RangeRequest{MaxCreateRevision: 1}, codes.Unimplemented, filtered},
		{"the future", &pb.RangeRequest{Revision: 99}, codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision"},
		{"the future, counted", &pb.RangeRequest{Revision: 99, CountOnly: true}, codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name != "no key" {
				tt.req.Key = []byte("a")
			}
			messages, err := s.streamed(tt.req)
			require.Empty(t, messages)
			requireStatus(t, tt.code, tt.want, err)
		})
	}
	messages, err := s.streamed(&pb.RangeRequest{Key: []byte("a"), SortOrder: pb.RangeRequest_ASCEND})
	require.NoError(t, err, "ascending by key is the default order")
	require.Len(t, messages, 1)
}

// T-15: chunks of 10 keys and then twice as many, and only the last message has a
// header, more and the count.
func TestRangeStreamChunks(t *testing.T) {
	s := startServer(t)
	for i := range 100 {
		s.put(fmt.Sprintf("k%03d", i), "v")
	}
	all := &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}
	messages, err := s.streamed(all)
	require.NoError(t, err)
	var sizes []int
	for i, m := range messages {
		sizes = append(sizes, len(m.Kvs))
		if i < len(messages)-1 {
			require.Nil(t, m.Header)
			require.False(t, m.More)
			require.Zero(t, m.Count)
		}
	}
	require.Equal(t, []int{10, 20, 40, 30}, sizes)
	last := messages[3]
	requireEqual(t, s.header(101), last.Header)
	require.False(t, last.More)
	require.EqualValues(t, 100, last.Count)

	messages, err = s.streamed(&pb.RangeRequest{Key: all.Key, RangeEnd: all.RangeEnd, Limit: 15})
	require.NoError(t, err)
	require.Len(t, messages, 2)
	require.Len(t, messages[1].Kvs, 5)
	require.True(t, messages[1].More)
	require.EqualValues(t, 100, messages[1].Count)

	messages, err = s.streamed(&pb.RangeRequest{Key: all.Key, RangeEnd: all.RangeEnd, CountOnly: true, Limit: 5})
	require.NoError(t, err)
	require.Len(t, messages, 1)
	requireEqual(t, &pb.RangeResponse{Header: s.header(101), Count: 100}, messages[0])

	messages, err = s.streamed(&pb.RangeRequest{Key: []byte("none"), RangeEnd: []byte("nonf")})
	require.NoError(t, err)
	require.Len(t, messages, 1)
	requireEqual(t, &pb.RangeResponse{Header: s.header(101)}, messages[0])
}

// Chunks come near the request limit, and none is far beyond it however the sizes
// of the values change.
func TestRangeStreamChunkBytes(t *testing.T) {
	s := startServer(t)
	for i := range 300 {
		s.put(fmt.Sprintf("a%03d", i), "small")
	}
	for i := range 40 {
		s.put(fmt.Sprintf("b%03d", i), string(bytes.Repeat([]byte{'v'}, 60<<10)))
	}
	messages, err := s.streamed(&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	require.NoError(t, err)
	total := 0
	for _, m := range messages {
		total += len(m.Kvs)
		require.Less(t, proto.Size(m), 11*64<<10)
	}
	require.Equal(t, 340, total)
	require.EqualValues(t, 1, nextChunk(1, 1<<30, 1), "never none, which would be all")
	require.EqualValues(t, 20, nextChunk(10, 49, 100))
	require.EqualValues(t, 10, nextChunk(10, 50, 100))
	require.EqualValues(t, 10, nextChunk(10, 200, 100))
	require.EqualValues(t, 5, nextChunk(10, 201, 100))
}

// T-15: all messages merged are the answer of Range, whatever the request.
func TestRangeStreamMergesToRange(t *testing.T) {
	s := startServer(t)
	for i := range 120 {
		s.put(fmt.Sprintf("k%03d", (i*37)%90), string(bytes.Repeat([]byte{'v'}, (i*i)%9000)))
	}
	s.del("k040", "k050")
	_, err := s.kv.Compact(s.ctx(), &pb.CompactionRequest{Revision: 60})
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		key := func(label string) []byte {
			return []byte(rapid.SampledFrom([]string{"\x00", "k", "k005", "k040", "k045", "k077", "k0770", "l"}).Draw(t, label))
		}
		r := &pb.RangeRequest{
			Key:          key("key"),
			Limit:        rapid.Int64Range(-1, 100).Draw(t, "limit"),
			Revision:     rapid.SampledFrom([]int64{0, 0, -5, 59, 60, 61, 100, 122, 123}).Draw(t, "revision"),
			KeysOnly:     rapid.Bool().Draw(t, "keys_only"),
			CountOnly:    rapid.IntRange(0, 5).Draw(t, "count_only") == 0,
			Serializable: rapid.Bool().Draw(t, "serializable"),
		}
		if rapid.Bool().Draw(t, "range") {
			r.RangeEnd = key("range_end")
		}
		want, wantErr := s.kv.Range(context.Background(), r)
		messages, err := s.streamed(r)
		if wantErr != nil {
			require.Equal(t, wantErr.Error(), err.Error())
			return
		}
		require.NoError(t, err)
		got := &pb.RangeResponse{}
		for _, m := range messages {
			proto.Merge(got, m)
		}
		require.Equal(t, want.String(), got.String())
	})
}

// A stream keeps to the revision that it began at, holds no view while the client
// reads, and ends when a compaction takes its revision away.
func TestRangeStreamWhileTheStoreChanges(t *testing.T) {
	s := startServer(t, func(c *node.Config, _ *Config) { c.Limits.RequestBytes = 1 << 20 })
	for i := range 30 {
		s.put(fmt.Sprintf("k%02d", i), "old")
	}
	f := &face{Config: Config{Store: s.node, Cluster: s.node}.withDefaults()}
	// stream runs between after each message, and returns what all of them hold.
	stream := func(between func()) (*pb.RangeResponse, error) {
		rs := rangeStream{face: f, request: &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}}
		all := &pb.RangeResponse{}
		rs.send = func(m any) error {
			var one pb.RangeStreamResponse
			proto.Merge(&one, m.(proto.Message))
			proto.Merge(all, one.RangeResponse)
			between()
			return nil
		}
		err := rs.run(t.Context(), true)
		return all, err
	}
	began := s.rev()
	got, err := stream(func() {
		s.put("k29", "new")
		s.put("k99", "new")
		s.del("k15", "")
	})
	require.NoError(t, err)
	requireEqual(t, s.header(began), got.Header)
	require.EqualValues(t, 30, got.Count)
	require.Len(t, got.Kvs, 30)
	for i, kv := range got.Kvs {
		require.Equal(t, fmt.Sprintf("k%02d old", i), fmt.Sprintf("%s %s", kv.Key, kv.Value))
	}

	got, err = stream(func() {
		at := s.put("x", "y").Header.Revision
		_, err := s.kv.Compact(s.ctx(), &pb.CompactionRequest{Revision: at})
		require.NoError(t, err)
	})
	require.ErrorIs(t, err, core.Compacted)
	require.Len(t, got.Kvs, 10, "the first chunk had been sent")
	require.Nil(t, got.Header)
}
