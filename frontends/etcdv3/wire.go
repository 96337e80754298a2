package etcdv3

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// The encoders of the hot responses. Each writes what proto.Marshal would, to
// the byte, for a message without unknown fields; those that this package makes
// have none. The sizes are exact. All field numbers are below 16, so every tag
// is one byte.

const (
	tagSize = 1

	varint = byte(protowire.VarintType)
	length = byte(protowire.BytesType)
)

func appendVarint(b []byte, field byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(append(b, field<<3|varint), v)
}

func sizeVarint(v uint64) int {
	if v == 0 {
		return 0
	}
	return tagSize + protowire.SizeVarint(v)
}

func appendBool(b []byte, field byte, v bool) []byte {
	if !v {
		return b
	}
	return append(b, field<<3|varint, 1)
}

func sizeBool(v bool) int {
	if !v {
		return 0
	}
	return tagSize + 1
}

func appendBytes[T []byte | string](b []byte, field byte, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return append(appendLength(b, field, len(v)), v...)
}

func sizeBytes[T []byte | string](v T) int {
	if len(v) == 0 {
		return 0
	}
	return sizeNested(len(v))
}

// appendLength writes the start of a field of n bytes, which is written even if
// there are none.
func appendLength(b []byte, field byte, n int) []byte {
	return protowire.AppendVarint(append(b, field<<3|length), uint64(n))
}

// sizeNested is the size of a field of n bytes.
func sizeNested(n int) int { return tagSize + protowire.SizeBytes(n) }

func appendHeader(b []byte, h *pb.ResponseHeader) []byte {
	b = appendVarint(b, 1, h.ClusterId)
	b = appendVarint(b, 2, h.MemberId)
	b = appendVarint(b, 3, uint64(h.Revision))
	return appendVarint(b, 4, h.RaftTerm)
}

func sizeHeader(h *pb.ResponseHeader) int {
	return sizeVarint(h.ClusterId) + sizeVarint(h.MemberId) +
		sizeVarint(uint64(h.Revision)) + sizeVarint(h.RaftTerm)
}

func appendKV(b []byte, kv *mvccpb.KeyValue) []byte {
	b = appendBytes(b, 1, kv.Key)
	b = appendVarint(b, 2, uint64(kv.CreateRevision))
	b = appendVarint(b, 3, uint64(kv.ModRevision))
	b = appendVarint(b, 4, uint64(kv.Version))
	b = appendBytes(b, 5, kv.Value)
	return appendVarint(b, 6, uint64(kv.Lease))
}

func sizeKV(kv *mvccpb.KeyValue) int {
	return sizeBytes(kv.Key) + sizeVarint(uint64(kv.CreateRevision)) +
		sizeVarint(uint64(kv.ModRevision)) + sizeVarint(uint64(kv.Version)) +
		sizeBytes(kv.Value) + sizeVarint(uint64(kv.Lease))
}

func appendPutResponse(b []byte, r *pb.PutResponse) []byte {
	if r.Header != nil {
		b = appendHeader(appendLength(b, 1, sizeHeader(r.Header)), r.Header)
	}
	if r.PrevKv != nil {
		b = appendKV(appendLength(b, 2, sizeKV(r.PrevKv)), r.PrevKv)
	}
	return b
}

func sizePutResponse(r *pb.PutResponse) (n int) {
	if r.Header != nil {
		n += sizeNested(sizeHeader(r.Header))
	}
	if r.PrevKv != nil {
		n += sizeNested(sizeKV(r.PrevKv))
	}
	return n
}

func appendRangeResponse(b []byte, r *pb.RangeResponse) []byte {
	if r.Header != nil {
		b = appendHeader(appendLength(b, 1, sizeHeader(r.Header)), r.Header)
	}
	for _, kv := range r.Kvs {
		b = appendKV(appendLength(b, 2, sizeKV(kv)), kv)
	}
	b = appendBool(b, 3, r.More)
	return appendVarint(b, 4, uint64(r.Count))
}

func sizeRangeResponse(r *pb.RangeResponse) (n int) {
	if r.Header != nil {
		n += sizeNested(sizeHeader(r.Header))
	}
	for _, kv := range r.Kvs {
		n += sizeNested(sizeKV(kv))
	}
	return n + sizeBool(r.More) + sizeVarint(uint64(r.Count))
}

func appendEvent(b []byte, e *mvccpb.Event) []byte {
	b = appendVarint(b, 1, uint64(e.Type))
	if e.Kv != nil {
		b = appendKV(appendLength(b, 2, sizeKV(e.Kv)), e.Kv)
	}
	if e.PrevKv != nil {
		b = appendKV(appendLength(b, 3, sizeKV(e.PrevKv)), e.PrevKv)
	}
	return b
}

func sizeEvent(e *mvccpb.Event) int {
	n := sizeVarint(uint64(e.Type))
	if e.Kv != nil {
		n += sizeNested(sizeKV(e.Kv))
	}
	if e.PrevKv != nil {
		n += sizeNested(sizeKV(e.PrevKv))
	}
	return n
}

func appendWatchResponse(b []byte, r *pb.WatchResponse) []byte {
	if r.Header != nil {
		b = appendHeader(appendLength(b, 1, sizeHeader(r.Header)), r.Header)
	}
	b = appendVarint(b, 2, uint64(r.WatchId))
	b = appendBool(b, 3, r.Created)
	b = appendBool(b, 4, r.Canceled)
	b = appendVarint(b, 5, uint64(r.CompactRevision))
	b = appendBytes(b, 6, r.CancelReason)
	b = appendBool(b, 7, r.Fragment)
	for _, e := range r.Events {
		b = appendEvent(appendLength(b, 11, sizeEvent(e)), e)
	}
	return b
}

func sizeWatchResponse(r *pb.WatchResponse) (n int) {
	if r.Header != nil {
		n += sizeNested(sizeHeader(r.Header))
	}
	n += sizeVarint(uint64(r.WatchId)) + sizeBool(r.Created) + sizeBool(r.Canceled) +
		sizeVarint(uint64(r.CompactRevision)) + sizeBytes(r.CancelReason) + sizeBool(r.Fragment)
	for _, e := range r.Events {
		n += sizeNested(sizeEvent(e))
	}
	return n
}
