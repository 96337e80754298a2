package etcdv3

import (
	"bytes"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// writes is what a list of operations may write.
type writes struct {
	puts [][]byte // sorted and distinct
	dels []*pb.DeleteRangeRequest
}

// checkOverlap refuses a list of operations that may put one key twice, or put
// one that it may also delete, whichever branch of a nested transaction runs
// (etcd T-31). As in etcd:
//
//   - the branches of one nested transaction exclude each other, so both may put
//     a key;
//   - a nested put is compared with the deletes of its own level and of the
//     nested transactions before it, but not of those after it;
//   - a delete "from key" (an end of "\0") counts as empty here.
//
// The work is bounded by the size of the request times the operations allowed,
// whatever the nesting: lists are taken over, not copied, where one side is
// empty.
func checkOverlap(ops []*pb.RequestOp) (writes, error) {
	var w writes
	for _, op := range ops {
		if o, ok := op.Request.(*pb.RequestOp_RequestDeleteRange); ok && o.RequestDeleteRange != nil {
			w.dels = append(w.dels, o.RequestDeleteRange)
		}
	}
	for _, op := range ops {
		o, ok := op.Request.(*pb.RequestOp_RequestTxn)
		if !ok {
			continue
		}
		nested, err := checkBranches(o.RequestTxn)
		if err != nil {
			return w, err
		}
		if err := w.addPuts(nested.puts); err != nil {
			return w, err
		}
		w.addDels(nested.dels)
	}
	var own [][]byte
	for _, op := range ops {
		if o, ok := op.Request.(*pb.RequestOp_RequestPut); ok && o.RequestPut != nil {
			own = append(own, o.RequestPut.Key)
		}
	}
	slices.SortFunc(own, bytes.Compare)
	for i := 1; i < len(own); i++ {
		if bytes.Equal(own[i-1], own[i]) {
			return w, rpctypes.ErrGRPCDuplicateKey
		}
	}
	return w, w.addPuts(own)
}

// checkBranches checks both branches of a transaction and returns what either
// may write.
func checkBranches(r *pb.TxnRequest) (writes, error) {
	then, err := checkOverlap(r.GetSuccess())
	if err != nil {
		return writes{}, err
	}
	other, err := checkOverlap(r.GetFailure())
	if err != nil {
		return writes{}, err
	}
	then.puts, _ = merge(then.puts, other.puts)
	then.addDels(other.dels)
	return then, nil
}

// addPuts adds sorted distinct keys, which must neither be put nor deleted yet.
func (w *writes) addPuts(puts [][]byte) error {
	if len(puts) == 0 {
		return nil
	}
	for _, del := range w.dels {
		// The first put at or after the delete's start is the one to look at.
		i, found := slices.BinarySearchFunc(puts, del.Key, bytes.Compare)
		if len(del.RangeEnd) == 0 {
			if found {
				return rpctypes.ErrGRPCDuplicateKey
			}
		} else if i < len(puts) && bytes.Compare(puts[i], del.RangeEnd) < 0 {
			return rpctypes.ErrGRPCDuplicateKey
		}
	}
	merged, distinct := merge(w.puts, puts)
	if !distinct {
		return rpctypes.ErrGRPCDuplicateKey
	}
	w.puts = merged
	return nil
}

func (w *writes) addDels(dels []*pb.DeleteRangeRequest) {
	if len(w.dels) == 0 {
		w.dels = dels
		return
	}
	w.dels = append(w.dels, dels...)
}

// merge unites two sorted lists of distinct keys; distinct is false if they have
// one in common.
func merge(a, b [][]byte) (merged [][]byte, distinct bool) {
	switch {
	case len(a) == 0:
		return b, true
	case len(b) == 0:
		return a, true
	}
	merged = make([][]byte, 0, len(a)+len(b))
	distinct = true
	for len(a) > 0 && len(b) > 0 {
		switch c := bytes.Compare(a[0], b[0]); {
		case c < 0:
			merged, a = append(merged, a[0]), a[1:]
		case c > 0:
			merged, b = append(merged, b[0]), b[1:]
		default:
			distinct = false
			merged, a, b = append(merged, a[0]), a[1:], b[1:]
		}
	}
	merged = append(merged, a...)
	return append(merged, b...), distinct
}
