package etcdv3

import pb "go.etcd.io/etcd/api/v3/etcdserverpb"

// flatTxn is the answer to a transaction that nests none, which is encoded by hand. For
// the others the sizes would be taken again at each level; proto keeps them.
type flatTxn pb.TxnResponse

func flat(r *pb.TxnResponse) bool {
	for _, op := range r.Responses {
		switch op.Response.(type) {
		case *pb.ResponseOp_ResponseRange, *pb.ResponseOp_ResponsePut, *pb.ResponseOp_ResponseDeleteRange:
		default:
			return false
		}
	}
	return true
}

func appendTxnResponse(b []byte, r *pb.TxnResponse) []byte {
	if r.Header != nil {
		b = appendHeader(appendLength(b, 1, sizeHeader(r.Header)), r.Header)
	}
	b = appendBool(b, 2, r.Succeeded)
	for _, op := range r.Responses {
		field, size := sizeOpResponse(op)
		b = appendLength(appendLength(b, 3, sizeNested(size)), field, size)
		switch o := op.Response.(type) {
		case *pb.ResponseOp_ResponseRange:
			b = appendRangeResponse(b, o.ResponseRange)
		case *pb.ResponseOp_ResponsePut:
			b = appendPutResponse(b, o.ResponsePut)
		case *pb.ResponseOp_ResponseDeleteRange:
			b = appendDeleteResponse(b, o.ResponseDeleteRange)
		}
	}
	return b
}

func sizeTxnResponse(r *pb.TxnResponse) (n int) {
	if r.Header != nil {
		n += sizeNested(sizeHeader(r.Header))
	}
	for _, op := range r.Responses {
		_, size := sizeOpResponse(op)
		n += sizeNested(sizeNested(size))
	}
	return n + sizeBool(r.Succeeded)
}

// sizeOpResponse is the field and the size of what an operation's response has in it.
func sizeOpResponse(op *pb.ResponseOp) (field byte, size int) {
	switch o := op.Response.(type) {
	case *pb.ResponseOp_ResponseRange:
		return 1, sizeRangeResponse(o.ResponseRange)
	case *pb.ResponseOp_ResponsePut:
		return 2, sizePutResponse(o.ResponsePut)
	case *pb.ResponseOp_ResponseDeleteRange:
		return 3, sizeDeleteResponse(o.ResponseDeleteRange)
	default:
		panic("etcdv3: a transaction is not flat")
	}
}

func appendDeleteResponse(b []byte, r *pb.DeleteRangeResponse) []byte {
	if r.Header != nil {
		b = appendHeader(appendLength(b, 1, sizeHeader(r.Header)), r.Header)
	}
	b = appendVarint(b, 2, uint64(r.Deleted))
	for _, kv := range r.PrevKvs {
		b = appendKV(appendLength(b, 3, sizeKV(kv)), kv)
	}
	return b
}

func sizeDeleteResponse(r *pb.DeleteRangeResponse) (n int) {
	if r.Header != nil {
		n += sizeNested(sizeHeader(r.Header))
	}
	for _, kv := range r.PrevKvs {
		n += sizeNested(sizeKV(kv))
	}
	return n + sizeVarint(uint64(r.Deleted))
}
