package etcdv3

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// The decoder of transactions. What belongs together is allocated together: of a
// Kubernetes update, a compare with a put and a range, that is half of what it costs.

// maxNesting is how deep messages may lie in each other, as in proto.Unmarshal.
const maxNesting = protowire.DefaultRecursionLimit

// message reads the bytes of a message. It reports false if the field is of another
// type, which is passed over, or malformed.
func (f *fields) message() ([]byte, bool) {
	if f.typ != protowire.BytesType {
		f.skip()
		return nil, false
	}
	x, n := protowire.ConsumeBytes(f.rest)
	if n < 0 {
		f.err = errWire
		return nil, false
	}
	f.rest = f.rest[n:]
	return x, true
}

// number reads a number of a oneof. It reports false if the field is of another type,
// which is passed over, or malformed.
func (f *fields) number(v *int64) bool {
	if f.typ != protowire.VarintType {
		f.skip()
		return false
	}
	f.int64(v)
	return f.err == nil
}

// decodeTxn adds what is in b to r, which is so deep in others.
func decodeTxn(r *pb.TxnRequest, b []byte, depth int) error {
	f := fields{rest: b}
	for f.next() {
		if f.num < 1 || f.num > 3 {
			f.skip()
			continue
		}
		body, ok := f.message()
		if !ok {
			continue
		}
		if depth+1 >= maxNesting {
			return errWire
		}
		switch f.num {
		case 1:
			c, err := decodeCompare(body)
			if err != nil {
				return err
			}
			r.Compare = append(r.Compare, c)
		case 2:
			op, err := decodeOp(body, depth+1)
			if err != nil {
				return err
			}
			r.Success = append(r.Success, op)
		default:
			op, err := decodeOp(body, depth+1)
			if err != nil {
				return err
			}
			r.Failure = append(r.Failure, op)
		}
	}
	return f.err
}

// numberCompare is a compare with one of the usual operands.
type numberCompare struct {
	compare pb.Compare
	version pb.Compare_Version
	create  pb.Compare_CreateRevision
	mod     pb.Compare_ModRevision
}

func decodeCompare(b []byte) (*pb.Compare, error) {
	c := new(numberCompare)
	r := &c.compare
	f := fields{rest: b}
	result, target := uint64(0), uint64(0)
	for f.next() {
		switch f.num {
		case 1:
			f.varint(&result)
		case 2:
			f.varint(&target)
		case 3:
			f.bytes(&r.Key)
		case 4:
			if f.number(&c.version.Version) {
				r.TargetUnion = &c.version
			}
		case 5:
			if f.number(&c.create.CreateRevision) {
				r.TargetUnion = &c.create
			}
		case 6:
			if f.number(&c.mod.ModRevision) {
				r.TargetUnion = &c.mod
			}
		case 7:
			if value, ok := f.message(); ok {
				r.TargetUnion = &pb.Compare_Value{Value: value[:len(value):len(value)]}
			}
		case 8:
			lease := new(pb.Compare_Lease)
			if f.number(&lease.Lease) {
				r.TargetUnion = lease
			}
		case 64:
			f.bytes(&r.RangeEnd)
		default:
			f.skip()
		}
	}
	r.Result, r.Target = pb.Compare_CompareResult(result), pb.Compare_CompareTarget(target)
	return r, f.err
}

// An operation with what it is, by kind.
type (
	rangeOp struct {
		op      pb.RequestOp
		kind    pb.RequestOp_RequestRange
		request pb.RangeRequest
	}
	putOp struct {
		op      pb.RequestOp
		kind    pb.RequestOp_RequestPut
		request pb.PutRequest
	}
	deleteOp struct {
		op      pb.RequestOp
		kind    pb.RequestOp_RequestDeleteRange
		request pb.DeleteRangeRequest
	}
	txnOp struct {
		op      pb.RequestOp
		kind    pb.RequestOp_RequestTxn
		request pb.TxnRequest
	}
)

// decodeOp decodes an operation. One that has a kind twice in a row has both in one, as
// proto has it.
func decodeOp(b []byte, depth int) (*pb.RequestOp, error) {
	var op *pb.RequestOp
	f := fields{rest: b}
	for f.next() {
		if f.num < 1 || f.num > 4 {
			f.skip()
			continue
		}
		body, ok := f.message()
		if !ok {
			continue
		}
		if depth+1 >= maxNesting {
			return nil, errWire
		}
		var err error
		switch int32(f.num) {
		case 1:
			r := op.GetRequestRange()
			if r == nil {
				o := new(rangeOp)
				r, o.kind.RequestRange, o.op.Request = &o.request, &o.request, &o.kind
				op = &o.op
			}
			err = decodeRange(r, body)
		case 2:
			r := op.GetRequestPut()
			if r == nil {
				o := new(putOp)
				r, o.kind.RequestPut, o.op.Request = &o.request, &o.request, &o.kind
				op = &o.op
			}
			err = decodePut(r, body)
		case 3:
			r := op.GetRequestDeleteRange()
			if r == nil {
				o := new(deleteOp)
				r, o.kind.RequestDeleteRange, o.op.Request = &o.request, &o.request, &o.kind
				op = &o.op
			}
			err = decodeDelete(r, body)
		case 4:
			r := op.GetRequestTxn()
			if r == nil {
				o := new(txnOp)
				r, o.kind.RequestTxn, o.op.Request = &o.request, &o.request, &o.kind
				op = &o.op
			}
			err = decodeTxn(r, body, depth+1)
		}
		if err != nil {
			return nil, err
		}
	}
	if op == nil {
		op = new(pb.RequestOp)
	}
	return op, f.err
}

func decodeDelete(r *pb.DeleteRangeRequest, b []byte) error {
	f := fields{rest: b}
	for f.next() {
		switch f.num {
		case 1:
			f.bytes(&r.Key)
		case 2:
			f.bytes(&r.RangeEnd)
		case 3:
			f.bool(&r.PrevKv)
		default:
			f.skip()
		}
	}
	return f.err
}
