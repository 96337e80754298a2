package command

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
)

// Transactions that nest none, as nearly all are, by hand: the generated code takes three
// allocations for each operation, on the way in and on the way out. The field numbers are
// those of the schema, and a test holds what is written to it, byte for byte.

// nests reports whether t has transactions in it.
func nests(t *core.Txn) bool {
	isTxn := func(op core.Op) bool { return op.Txn != nil }
	return slices.ContainsFunc(t.Then, isTxn) || slices.ContainsFunc(t.Else, isTxn)
}

// appendFlatTxn appends a transaction that nests none.
func appendFlatTxn(dst []byte, t *core.Txn) []byte {
	size := 0
	for i := range t.Compares {
		size += tagLen + protowire.SizeBytes(sizeCompare(&t.Compares[i]))
	}
	for _, branch := range [2][]core.Op{t.Then, t.Else} {
		for i := range branch {
			_, op := sizeTxnOp(&branch[i])
			size += tagLen + protowire.SizeBytes(tagLen+protowire.SizeBytes(op))
		}
	}
	dst = slices.Grow(appendHead(dst, fieldTxn, size), size)
	for i := range t.Compares {
		c := &t.Compares[i]
		dst = appendHead(dst, 1, sizeCompare(c))
		dst = appendBytes(dst, 1, c.Key)
		dst = appendBytes(dst, 2, c.End)
		dst = appendUint(dst, 3, uint64(c.Target))
		dst = appendUint(dst, 4, uint64(c.Result))
		dst = appendUint(dst, 5, uint64(c.Number))
		dst = appendBytes(dst, 6, c.Value)
	}
	for i := range t.Then {
		dst = appendTxnOp(dst, fieldTxnThen, &t.Then[i])
	}
	for i := range t.Else {
		dst = appendTxnOp(dst, fieldTxnElse, &t.Else[i])
	}
	return dst
}

func sizeCompare(c *core.Compare) int {
	return sizeBytes(len(c.Key)) + sizeBytes(len(c.End)) + sizeUint(uint64(c.Target)) + sizeUint(uint64(c.Result)) +
		sizeUint(uint64(c.Number)) + sizeBytes(len(c.Value))
}

// sizeTxnOp is the field and the size of what an operation is.
func sizeTxnOp(op *core.Op) (protowire.Number, int) {
	switch {
	case op.Range != nil:
		r := op.Range
		return 1, sizeBytes(len(r.Key)) + sizeBytes(len(r.End)) + sizeUint(uint64(r.Rev)) + sizeUint(uint64(r.Limit)) +
			sizeUint(uint64(r.SortTarget)) + sizeUint(uint64(r.SortOrder)) + sizeBool(r.KeysOnly) + sizeBool(r.CountOnly) +
			sizeUint(uint64(r.MinModRev)) + sizeUint(uint64(r.MaxModRev)) +
			sizeUint(uint64(r.MinCreateRev)) + sizeUint(uint64(r.MaxCreateRev))
	case op.Put != nil:
		p := op.Put
		return 2, sizeBytes(len(p.Key)) + sizeBytes(len(p.Value)) + sizeUint(uint64(p.Lease)) +
			sizeBool(p.PrevKV) + sizeBool(p.IgnoreValue) + sizeBool(p.IgnoreLease)
	case op.Delete != nil:
		d := op.Delete
		return 3, sizeBytes(len(d.Key)) + sizeBytes(len(d.End)) + sizeBool(d.PrevKV)
	default:
		panic("command: an operation without a kind")
	}
}

func appendTxnOp(dst []byte, branch protowire.Number, op *core.Op) []byte {
	kind, size := sizeTxnOp(op)
	dst = appendHead(appendHead(dst, branch, tagLen+protowire.SizeBytes(size)), kind, size)
	switch {
	case op.Range != nil:
		r := op.Range
		dst = appendBytes(appendBytes(dst, 1, r.Key), 2, r.End)
		dst = appendUint(appendUint(dst, 3, uint64(r.Rev)), 4, uint64(r.Limit))
		dst = appendUint(appendUint(dst, 5, uint64(r.SortTarget)), 6, uint64(r.SortOrder))
		dst = appendBool(appendBool(dst, 7, r.KeysOnly), 8, r.CountOnly)
		dst = appendUint(appendUint(dst, 9, uint64(r.MinModRev)), 10, uint64(r.MaxModRev))
		return appendUint(appendUint(dst, 11, uint64(r.MinCreateRev)), 12, uint64(r.MaxCreateRev))
	case op.Put != nil:
		p := op.Put
		dst = appendBytes(appendBytes(dst, 1, p.Key), 2, p.Value)
		dst = appendUint(dst, 3, uint64(p.Lease))
		return appendBool(appendBool(appendBool(dst, 4, p.PrevKV), 5, p.IgnoreValue), 6, p.IgnoreLease)
	default:
		d := op.Delete
		return appendBool(appendBytes(appendBytes(dst, 1, d.Key), 2, d.End), 3, d.PrevKV)
	}
}

// decodeFlatTxn decodes what appendFlatTxn writes. It reports false for all else, which is
// for the generated decoder to judge. The result aliases b.
func decodeFlatTxn(b []byte) (*core.Txn, bool) {
	t := new(core.Txn)
	for len(b) > 0 {
		field, body, rest, err := nextField(b)
		if err != nil {
			return nil, false
		}
		b = rest
		switch field {
		case 1:
			r := flatReader{rest: body}
			t.Compares = append(t.Compares, core.Compare{
				Interval: core.Interval{Key: r.bytes(1), End: r.bytes(2)},
				Target:   core.CompareTarget(r.uint32(3)), Result: core.CompareResult(r.uint32(4)),
				Number: int64(r.uint(5)), Value: r.bytes(6),
			})
			if !r.done() {
				return nil, false
			}
		case fieldTxnThen, fieldTxnElse:
			op, ok := decodeFlatOp(body)
			if !ok {
				return nil, false
			}
			if field == fieldTxnThen {
				t.Then = append(t.Then, op)
			} else {
				t.Else = append(t.Else, op)
			}
		default:
			return nil, false
		}
	}
	return t, true
}

func decodeFlatOp(b []byte) (op core.Op, ok bool) {
	kind, body, rest, err := nextField(b)
	if err != nil || len(rest) > 0 {
		return op, false
	}
	r := flatReader{rest: body}
	switch kind {
	case 1:
		op.Range = &core.Range{
			Interval: core.Interval{Key: r.bytes(1), End: r.bytes(2)},
			Rev:      core.Rev(r.uint(3)), Limit: int64(r.uint(4)),
			SortTarget: core.SortTarget(r.uint32(5)), SortOrder: core.SortOrder(r.uint32(6)),
			KeysOnly: r.bool(7), CountOnly: r.bool(8),
			MinModRev: core.Rev(r.uint(9)), MaxModRev: core.Rev(r.uint(10)),
			MinCreateRev: core.Rev(r.uint(11)), MaxCreateRev: core.Rev(r.uint(12)),
		}
	case 2:
		op.Put = &core.Put{
			Key: r.bytes(1), Value: r.bytes(2), Lease: core.LeaseID(r.uint(3)),
			PrevKV: r.bool(4), IgnoreValue: r.bool(5), IgnoreLease: r.bool(6),
		}
	case 3:
		op.Delete = &core.DeleteRange{Interval: core.Interval{Key: r.bytes(1), End: r.bytes(2)}, PrevKV: r.bool(3)}
	default:
		return op, false
	}
	return op, r.done()
}

// flatReader reads the fields of a message in their order, each at most once. Once one
// does not decode it reads no more.
type flatReader struct {
	rest []byte
	bad  bool
}

// done reports whether all was read, and well.
func (r *flatReader) done() bool { return !r.bad && len(r.rest) == 0 }

// at reports whether a field is next, and passes its tag.
func (r *flatReader) at(field protowire.Number, typ protowire.Type) bool {
	if r.bad || len(r.rest) == 0 || r.rest[0] != byte(protowire.EncodeTag(field, typ)) {
		return false
	}
	r.rest = r.rest[tagLen:]
	return true
}

func (r *flatReader) bytes(field protowire.Number) []byte {
	if !r.at(field, protowire.BytesType) {
		return nil
	}
	v, n := protowire.ConsumeBytes(r.rest)
	if n < 0 {
		r.bad = true
		return nil
	}
	r.rest = r.rest[n:]
	return v[:len(v):len(v)]
}

func (r *flatReader) uint(field protowire.Number) uint64 {
	if !r.at(field, protowire.VarintType) {
		return 0
	}
	v, n := protowire.ConsumeVarint(r.rest)
	if n < 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *flatReader) uint32(field protowire.Number) uint32 { return uint32(r.uint(field)) }

func (r *flatReader) bool(field protowire.Number) bool { return r.uint(field) != 0 }
