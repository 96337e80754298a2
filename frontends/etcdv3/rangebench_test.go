package etcdv3

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core/node"
)

// fullServer is a member with n keys, key/00000000 and so on, of 256 bytes each, and
// one key in front of them.
func fullServer(b *testing.B, n int) *server {
	s := startServer(b, func(c *node.Config, _ *Config) {
		c.Limits.RequestBytes = 4 << 20
		c.Memory.RowCache, c.Memory.BlockCache, c.Memory.MemTable = 16<<20, 128<<20, 16<<20
	})
	value := bytes.Repeat([]byte{'v'}, 256)
	s.put("a", "1")
	for i := 0; i < n; {
		txn := &pb.TxnRequest{}
		for range 8 {
			txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{
				Key: fmt.Appendf(nil, "key/%08d", i), Value: value,
			}}})
			i++
		}
		s.txn(txn)
	}
	return s
}

// callMethod makes a call as benchmarkCall does, on a member of its own.
func (s *server) callMethod(b *testing.B, method string, req proto.Message) {
	f := &face{
		Config: Config{Store: s.node, Cluster: s.node, Auth: s.node.Auth(), Leases: s.node.Leases()}.withDefaults(),
		ranges: newRangeBudget(maxRangeBytes),
	}
	desc := f.Metrics.instrument(f.kv().describe())
	wire, err := proto.Marshal(req)
	if err != nil {
		b.Fatal(err)
	}
	c, data := codec{metrics: f.Metrics}, mem.BufferSlice{mem.SliceBuffer(wire)}
	decode := func(m any) error { return c.Unmarshal(data, m) }
	ctx := context.Background()
	call := func() error {
		for _, m := range desc.Methods {
			if m.MethodName == method {
				resp, err := m.Handler(nil, ctx, decode, nil)
				if err != nil {
					return err
				}
				out, err := c.Marshal(resp)
				out.Free()
				return err
			}
		}
		for _, m := range desc.Streams {
			if m.StreamName == method {
				return m.Handler(nil, &encodingStream{ctx: ctx, decode: decode, codec: c})
			}
		}
		return fmt.Errorf("no method %s", method)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := call(); err != nil {
			b.Fatal(err)
		}
	}
}

// encodingStream is the server's end of a stream whose messages go nowhere.
type encodingStream struct {
	grpc.ServerStream
	ctx    context.Context //nolint:containedctx // as a stream has it
	decode func(any) error
	codec  codec
}

func (s *encodingStream) Context() context.Context { return s.ctx }
func (s *encodingStream) RecvMsg(m any) error      { return s.decode(m) }

func (s *encodingStream) SendMsg(m any) error {
	out, err := s.codec.Marshal(m)
	out.Free()
	return err
}

// BenchmarkStored is the face and the store below it, without gRPC, on 100 000 keys.
func BenchmarkStored(b *testing.B) {
	s := fullServer(b, 100_000)
	end := func(i int) []byte { return fmt.Appendf(nil, "key/%08d", i) }
	for _, bb := range []struct {
		name, method string
		req          *pb.RangeRequest
	}{
		{"Get", "Range", &pb.RangeRequest{Key: end(777)}},
		{"Range500", "Range", &pb.RangeRequest{Key: end(50_000), RangeEnd: end(50_500)}},
		{"Range10", "Range", &pb.RangeRequest{Key: end(50_000), RangeEnd: end(50_010)}},
		{"KeysOnly500", "Range", &pb.RangeRequest{Key: end(50_000), RangeEnd: end(50_500), KeysOnly: true}},
		{"Page500", "Range", &pb.RangeRequest{Key: end(50_000), RangeEnd: []byte("l"), Limit: 500}},
		{"Range100000", "Range", &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}},
		{"Stream100000", "RangeStream", &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}},
		{"Count", "Range", &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true}},
		{"CountPrefix", "Range", &pb.RangeRequest{Key: []byte("key/"), RangeEnd: []byte("key0"), CountOnly: true}},
		{"CountHalf", "Range", &pb.RangeRequest{Key: end(20_000), RangeEnd: end(70_000), CountOnly: true}},
	} {
		b.Run(bb.name, func(b *testing.B) { s.callMethod(b, bb.method, bb.req) })
	}
}
