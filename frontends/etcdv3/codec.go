package etcdv3

import (
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec is the protobuf codec of the server: that of grpc-go, but for the hot
// messages, which it codes without reflection, and for small replies, whose
// buffers it pools. It counts the bytes.
type codec struct{ metrics *Metrics }

var _ encoding.CodecV2 = codec{}

// Name is the content subtype that the codec stands for.
func (codec) Name() string { return "proto" }

// Marshal encodes v, a protobuf message. It keeps nothing of it.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	var (
		size int
		enc  func([]byte) ([]byte, error)
	)
	switch m := v.(type) {
	case *pb.PutResponse:
		size = sizePutResponse(m)
		enc = func(b []byte) ([]byte, error) { return appendPutResponse(b, m), nil }
	case *pb.RangeResponse:
		size = sizeRangeResponse(m)
		enc = func(b []byte) ([]byte, error) { return appendRangeResponse(b, m), nil }
	case *pb.WatchResponse:
		size = sizeWatchResponse(m)
		enc = func(b []byte) ([]byte, error) { return appendWatchResponse(b, m), nil }
	case proto.Message:
		size = proto.Size(m)
		enc = func(b []byte) ([]byte, error) {
			return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
		}
	default:
		return nil, fmt.Errorf("etcdv3: %T is no protobuf message", v)
	}
	pool := poolFor(size)
	buf := pool.Get(size)
	out, err := enc((*buf)[:0])
	if err != nil {
		pool.Put(buf)
		return nil, err
	}
	*buf = out
	c.metrics.sentBytes.Add(float64(len(out)))
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, nil
}

// Unmarshal decodes data into v, a protobuf message.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	c.metrics.receivedBytes.Add(float64(data.Len()))
	switch m := v.(type) {
	case *pb.PutRequest:
		m.Reset()
		return decodePut(m, data.Materialize())
	case *pb.RangeRequest:
		m.Reset()
		return decodeRange(m, data.Materialize())
	case proto.Message:
		buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer buf.Free()
		return proto.Unmarshal(buf.ReadOnlyData(), m)
	default:
		return fmt.Errorf("etcdv3: %T is no protobuf message", v)
	}
}

// smallBuffer is the capacity of the pooled buffers for small messages. It is
// above the size under which grpc-go never pools.
const smallBuffer = 2048

// smallBuffers is the pool of buffers for small messages, of which nearly all
// replies are: grpc-go's own would allocate three times for each.
type smallBuffers struct{ pool sync.Pool }

var small = &smallBuffers{pool: sync.Pool{New: func() any {
	b := make([]byte, smallBuffer)
	return &b
}}}

func (p *smallBuffers) Get(length int) *[]byte {
	b := p.pool.Get().(*[]byte)
	*b = (*b)[:length]
	return b
}

func (p *smallBuffers) Put(b *[]byte) { p.pool.Put(b) }

func poolFor(size int) mem.BufferPool {
	if size <= smallBuffer {
		return small
	}
	return mem.DefaultBufferPool()
}
