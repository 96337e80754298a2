package node

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/expiry"
)

// The bodies of askRenew and askLease are protobuf messages, so that a later version can
// add fields, which this one passes over. Lists are packed.
//
//	message Renew   { repeated int64 touches = 1; repeated int64 leases = 2; }
//	message Renewed { uint64 term = 1; bool confirmed = 2; repeated uint32 answers = 3; repeated int64 ttls = 4; }
//	message Left    { repeated int64 leases = 1; }
//	message LeftOf  { uint64 term = 1; repeated bool known = 2; repeated sint64 left = 3; }
//
// Times are in nanoseconds.

var errBadQuestion = errors.New("a peer's message about leases cannot be read")

// appendList appends a packed list.
func appendList[T any](dst []byte, field protowire.Number, list []T, number func(T) uint64) []byte {
	if len(list) == 0 {
		return dst
	}
	var packed []byte
	for _, one := range list {
		packed = protowire.AppendVarint(packed, number(one))
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendBytes(dst, packed)
}

func appendNumber(dst []byte, field protowire.Number, n uint64) []byte {
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, n)
}

// fields is a message as it was read: at most expiry.MaxBatch numbers of each of its
// first fields.
type fields [5][]uint64

// readFields reads a message. What it takes is bounded by the lists' bound, whatever a
// peer sends.
func readFields(b []byte) (f fields, err error) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return f, errBadQuestion
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(number, kind, b)
		if size < 0 {
			return f, errBadQuestion
		}
		value := b[:size]
		b = b[size:]
		if int(number) >= len(f) {
			continue // of a later version
		}
		switch kind {
		case protowire.BytesType:
			value, _ = protowire.ConsumeBytes(value)
		case protowire.VarintType:
		default:
			continue
		}
		for len(value) > 0 {
			v, n := protowire.ConsumeVarint(value)
			if n < 0 || len(f[number]) == expiry.MaxBatch {
				return f, errBadQuestion
			}
			f[number], value = append(f[number], v), value[n:]
		}
	}
	return f, nil
}

// number is that of a field that is no list; zero if it is missing.
func (f *fields) number(field protowire.Number) uint64 {
	if len(f[field]) == 0 {
		return 0
	}
	return f[field][len(f[field])-1]
}

// ids is a field that lists leases.
func (f *fields) ids(field protowire.Number) []core.LeaseID {
	ids := make([]core.LeaseID, len(f[field]))
	for i, v := range f[field] {
		ids[i] = core.LeaseID(v)
	}
	return ids
}

func leaseNumber(id core.LeaseID) uint64 { return uint64(id) }

func encodeBatch(b *expiry.Batch) []byte {
	return appendList(appendList(nil, 1, b.Touches, leaseNumber), 2, b.Leases, leaseNumber)
}

func encodeAnswer(a expiry.Answer) []byte {
	b := appendNumber(nil, 1, a.Term)
	b = appendNumber(b, 2, protowire.EncodeBool(a.Confirmed))
	b = appendList(b, 3, a.Leases, func(r expiry.Outcome) uint64 { return uint64(r.Answer) })
	return appendList(b, 4, a.Leases, func(r expiry.Outcome) uint64 { return uint64(r.TTL) })
}

func decodeAnswer(b []byte) (expiry.Answer, error) {
	f, err := readFields(b)
	if err != nil {
		return expiry.Answer{}, err
	}
	if len(f[3]) != len(f[4]) {
		return expiry.Answer{}, fmt.Errorf("%w: %d answers and %d times", errBadQuestion, len(f[3]), len(f[4]))
	}
	a := expiry.Answer{Term: f.number(1), Confirmed: f.number(2) != 0, Leases: make([]expiry.Outcome, len(f[3]))}
	for i := range a.Leases {
		answer := f[3][i]
		if answer > uint64(expiry.Checkpointed) {
			answer = uint64(expiry.NotLeading) // of a later version
		}
		a.Leases[i] = expiry.Outcome{Answer: expiry.Renewal(answer), TTL: time.Duration(f[4][i])}
	}
	return a, nil
}

// left is what the deadlines say of a lease.
type left struct {
	known bool
	time  time.Duration
}

func encodeLeft(term uint64, all []left) []byte {
	b := appendNumber(nil, 1, term)
	b = appendList(b, 2, all, func(l left) uint64 { return protowire.EncodeBool(l.known) })
	return appendList(b, 3, all, func(l left) uint64 { return protowire.EncodeZigZag(int64(l.time)) })
}

func decodeLeft(b []byte) (term uint64, all []left, err error) {
	f, err := readFields(b)
	if err != nil {
		return 0, nil, err
	}
	if len(f[2]) != len(f[3]) {
		return 0, nil, fmt.Errorf("%w: %d leases and %d times", errBadQuestion, len(f[2]), len(f[3]))
	}
	all = make([]left, len(f[2]))
	for i := range all {
		all[i] = left{f[2][i] != 0, time.Duration(protowire.DecodeZigZag(f[3][i]))}
	}
	return f.number(1), all, nil
}
