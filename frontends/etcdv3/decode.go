package etcdv3

import (
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// The decoders of the hot requests. Each takes what proto.Unmarshal takes and
// understands it alike, but drops unknown fields, which nobody looks at. The
// bytes of the result alias the input, which must not change any more.

var errWire = errors.New("proto: cannot parse invalid wire-format data")

// fields walks over the fields of a message.
type fields struct {
	rest []byte
	num  protowire.Number
	typ  protowire.Type
	err  error
}

// next reads the tag of the next field. It reports false at the end and at an
// error.
func (f *fields) next() bool {
	if f.err != nil || len(f.rest) == 0 {
		return false
	}
	num, typ, n := protowire.ConsumeTag(f.rest)
	if n < 0 || num > protowire.MaxValidNumber {
		f.err = errWire
		return false
	}
	f.num, f.typ, f.rest = num, typ, f.rest[n:]
	return true
}

// varint reads a number into v. A field of another type is passed over.
func (f *fields) varint(v *uint64) {
	if f.typ != protowire.VarintType {
		f.skip()
		return
	}
	x, n := protowire.ConsumeVarint(f.rest)
	if n < 0 {
		f.err = errWire
		return
	}
	*v, f.rest = x, f.rest[n:]
}

func (f *fields) int64(v *int64) {
	x := uint64(*v)
	f.varint(&x)
	*v = int64(x)
}

func (f *fields) bool(v *bool) {
	x := protowire.EncodeBool(*v)
	f.varint(&x)
	*v = protowire.DecodeBool(x)
}

// bytes reads bytes into v, nil if there are none.
func (f *fields) bytes(v *[]byte) {
	if f.typ != protowire.BytesType {
		f.skip()
		return
	}
	x, n := protowire.ConsumeBytes(f.rest)
	if n < 0 {
		f.err = errWire
		return
	}
	*v, f.rest = nil, f.rest[n:]
	if len(x) > 0 {
		*v = x[:len(x):len(x)]
	}
}

func (f *fields) skip() {
	n := protowire.ConsumeFieldValue(f.num, f.typ, f.rest)
	if n < 0 {
		f.err = errWire
		return
	}
	f.rest = f.rest[n:]
}

func decodePut(r *pb.PutRequest, b []byte) error {
	f := fields{rest: b}
	for f.next() {
		switch f.num {
		case 1:
			f.bytes(&r.Key)
		case 2:
			f.bytes(&r.Value)
		case 3:
			f.int64(&r.Lease)
		case 4:
			f.bool(&r.PrevKv)
		case 5:
			f.bool(&r.IgnoreValue)
		case 6:
			f.bool(&r.IgnoreLease)
		default:
			f.skip()
		}
	}
	return f.err
}

func decodeRange(r *pb.RangeRequest, b []byte) error {
	f := fields{rest: b}
	order, target := uint64(r.SortOrder), uint64(r.SortTarget) // there may be some of it already
	for f.next() {
		switch f.num {
		case 1:
			f.bytes(&r.Key)
		case 2:
			f.bytes(&r.RangeEnd)
		case 3:
			f.int64(&r.Limit)
		case 4:
			f.int64(&r.Revision)
		case 5:
			f.varint(&order)
		case 6:
			f.varint(&target)
		case 7:
			f.bool(&r.Serializable)
		case 8:
			f.bool(&r.KeysOnly)
		case 9:
			f.bool(&r.CountOnly)
		case 10:
			f.int64(&r.MinModRevision)
		case 11:
			f.int64(&r.MaxModRevision)
		case 12:
			f.int64(&r.MinCreateRevision)
		case 13:
			f.int64(&r.MaxCreateRevision)
		default:
			f.skip()
		}
	}
	r.SortOrder = pb.RangeRequest_SortOrder(order)
	r.SortTarget = pb.RangeRequest_SortTarget(target)
	return f.err
}
