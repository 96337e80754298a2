package etcdv3

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec is the protobuf codec of the server: that of grpc-go, but for the hot
// messages, which it codes without reflection, and for small replies and ranges,
// whose buffers it pools. It counts the bytes.
type codec struct{ metrics *Metrics }

var _ encoding.CodecV2 = codec{}

// Name is the content subtype that the codec stands for.
func (codec) Name() string { return "proto" }

// Marshal encodes v, a protobuf message. It keeps nothing of it. An encodedRange is
// another call's then.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *eventsMessage:
		out, size := marshalEvents(m)
		c.metrics.sentBytes.Add(float64(size))
		return out, nil
	case *encodedRange:
		out := m.marshal()
		c.metrics.sentBytes.Add(float64(out.Len()))
		return out, nil
	case *txnReply:
		if m.hold.large() {
			b, err := proto.Marshal(&m.TxnResponse)
			c.metrics.sentBytes.Add(float64(len(b)))
			return mem.BufferSlice{heldBuffer(b, m.hold)}, err
		}
		v = &m.TxnResponse
		if flat(&m.TxnResponse) {
			v = (*flatTxn)(&m.TxnResponse)
		}
	}
	size, err := messageSize(v)
	if err != nil {
		return nil, err
	}
	pool := poolFor(size)
	buf := pool.Get(size)
	*buf, err = appendMessage((*buf)[:0], v)
	if err != nil {
		pool.Put(buf)
		return nil, err
	}
	c.metrics.sentBytes.Add(float64(len(*buf)))
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, nil
}

// messageSize gives the exact size of v's encoding.
func messageSize(v any) (int, error) {
	switch m := v.(type) {
	case *pb.PutResponse:
		return sizePutResponse(m), nil
	case *flatTxn:
		return sizeTxnResponse((*pb.TxnResponse)(m)), nil
	case *pb.WatchResponse:
		return sizeWatchResponse(m), nil
	case proto.Message:
		return proto.Size(m), nil
	default:
		return 0, fmt.Errorf("etcdv3: %T is no protobuf message", v)
	}
}

// appendMessage encodes v, whose size has just been taken.
func appendMessage(b []byte, v any) ([]byte, error) {
	switch m := v.(type) {
	case *pb.PutResponse:
		return appendPutResponse(b, m), nil
	case *flatTxn:
		return appendTxnResponse(b, (*pb.TxnResponse)(m)), nil
	case *pb.WatchResponse:
		return appendWatchResponse(b, m), nil
	default:
		return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, v.(proto.Message))
	}
}

// Unmarshal decodes data into v, a protobuf message.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	c.metrics.receivedBytes.Add(float64(data.Len()))
	switch m := v.(type) {
	case *rangeRequest:
		return m.decode(data)
	case *pb.PutRequest:
		m.Reset()
		return decodePut(m, data.Materialize())
	case *pb.RangeRequest:
		m.Reset()
		return decodeRange(m, data.Materialize())
	case *pb.TxnRequest:
		m.Reset()
		return decodeTxn(m, data.Materialize(), 0)
	case *pb.DeleteRangeRequest:
		m.Reset()
		return decodeDelete(m, data.Materialize())
	case proto.Message:
		buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer buf.Free()
		return proto.Unmarshal(buf.ReadOnlyData(), m)
	default:
		return fmt.Errorf("etcdv3: %T is no protobuf message", v)
	}
}

func poolFor(size int) mem.BufferPool {
	if size <= smallBuffer {
		return small
	}
	return mem.DefaultBufferPool()
}
