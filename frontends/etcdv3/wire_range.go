package etcdv3

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/mem"
)

// ownChunk is how many of its own bytes a large answer has in one buffer.
const ownChunk = 256 << 10

// marshalLargeRange encodes an answer that may be of any size without another copy of
// it: the large values are the store's own. When the last buffer is freed, all of the
// answer has been sent.
func marshalLargeRange(r *pb.RangeResponse, hold *rangeHold) mem.BufferSlice {
	var out assembly
	out.own = appendHeader(appendLength(make([]byte, 0, ownChunk), 1, sizeHeader(r.Header)), r.Header)
	for _, kv := range r.Kvs {
		size := sizeKV(kv)
		if len(kv.Value) < sharedValue {
			if out.own = appendKV(appendLength(out.own, 2, size), kv); len(out.own) >= ownChunk-sharedValue {
				out.cut()
				out.own = make([]byte, 0, ownChunk)
			}
			continue
		}
		out.own = appendLength(out.own, 2, size)
		out.own = appendBytes(out.own, 1, kv.Key)
		out.own = appendVarint(out.own, 2, uint64(kv.CreateRevision))
		out.own = appendVarint(out.own, 3, uint64(kv.ModRevision))
		out.own = appendVarint(out.own, 4, uint64(kv.Version))
		out.own = appendLength(out.own, 5, len(kv.Value))
		rest := out.own[len(out.own):] // the room that is left
		if cap(rest) < sharedValue {
			rest = make([]byte, 0, ownChunk)
		}
		out.share(mem.BufferSlice{mem.SliceBuffer(kv.Value)})
		out.own = appendVarint(rest, 6, uint64(kv.Lease))
	}
	last := appendBool(out.own, 3, r.More)
	last = appendVarint(last, 4, uint64(r.Count))
	return append(out.buffers, heldBuffer(last, hold))
}
