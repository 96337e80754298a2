package etcdload

import "google.golang.org/protobuf/encoding/protowire"

// The methods, and below the messages, are of etcd's rpc.proto and kv.proto; the numbers
// are those of their fields.
const (
	methodRange       = "/etcdserverpb.KV/Range"
	methodRangeStream = "/etcdserverpb.KV/RangeStream"
	methodPut         = "/etcdserverpb.KV/Put"
	methodTxn         = "/etcdserverpb.KV/Txn"
	methodDelete      = "/etcdserverpb.KV/DeleteRange"
	methodWatch       = "/etcdserverpb.Watch/Watch"
	methodGrant       = "/etcdserverpb.Lease/LeaseGrant"
	methodRevoke      = "/etcdserverpb.Lease/LeaseRevoke"
	methodKeepAlive   = "/etcdserverpb.Lease/LeaseKeepAlive"
)

func appendPut(b, key, value []byte) []byte { return appendBytes(appendBytes(b, 1, key), 2, value) }

// rangeRequest is a RangeRequest; an empty end means one key.
type rangeRequest struct {
	key, end                          []byte
	limit                             int64
	serializable, keysOnly, countOnly bool
}

func (r *rangeRequest) append(b []byte) []byte {
	b = appendBytes(b, 1, r.key)
	if len(r.end) > 0 {
		b = appendBytes(b, 2, r.end)
	}
	b = appendNumber(b, 3, r.limit)
	b = appendBool(b, 7, r.serializable)
	b = appendBool(b, 8, r.keysOnly)
	return appendBool(b, 9, r.countOnly)
}

func appendDelete(b, key []byte) []byte { return appendBytes(b, 1, key) }

// update is the transaction by which Kubernetes updates an object: if the key still has
// the revision that the writer has seen it is put, and if not, read.
type update struct {
	key, value []byte
	rev        int64
	scratch    [2][]byte
}

func (u *update) append(b []byte) []byte {
	const equal, mod = 0, 2
	compare := appendNumber(u.scratch[0][:0], 1, equal)
	compare = appendNumber(compare, 2, mod)
	compare = appendBytes(compare, 3, u.key)
	compare = append(compare, 6<<3) // mod_revision is one of several: it is sent if it is 0, too
	compare = protowire.AppendVarint(compare, uint64(u.rev))
	b = appendBytes(b, 1, compare)

	put := appendPut(compare[:0], u.key, u.value)
	operation := appendBytes(u.scratch[1][:0], 2, put)
	b = appendBytes(b, 2, operation)

	read := (&rangeRequest{key: u.key}).append(put[:0])
	operation = appendBytes(operation[:0], 1, read)
	u.scratch[0], u.scratch[1] = read, operation
	return appendBytes(b, 3, operation)
}

// appendWatch creates a watch of [key, end), or of one key if end is empty, from a
// revision on, or from now if that is 0.
func appendWatch(b, key, end []byte, from int64) []byte {
	create := appendBytes(nil, 1, key)
	if len(end) > 0 {
		create = appendBytes(create, 2, end)
	}
	return appendBytes(b, 1, appendNumber(create, 3, from))
}

func appendCancel(b []byte, id int64) []byte { return appendBytes(b, 2, appendNumber(nil, 1, id)) }

func appendGrant(b []byte, ttl int64) []byte { return appendNumber(b, 1, ttl) }

// appendLease is a LeaseRevokeRequest, and a LeaseKeepAliveRequest.
func appendLease(b []byte, id int64) []byte { return appendNumber(b, 1, id) }
