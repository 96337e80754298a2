package etcdv3

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"pgregory.net/rapid"
)

func put(key string) *pb.RequestOp { return opPut(&pb.PutRequest{Key: []byte(key)}) }

func del(key, end string) *pb.RequestOp {
	return opDelete(&pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)})
}

func nested(then, other []*pb.RequestOp) *pb.RequestOp {
	return opTxn(&pb.TxnRequest{Success: then, Failure: other})
}

func ops(list ...*pb.RequestOp) []*pb.RequestOp { return list }

func TestOverlap(t *testing.T) {
	tests := []struct {
		name      string
		ops       []*pb.RequestOp
		duplicate bool
	}{
		{"nothing", nil, false},
		{"two keys", ops(put("a"), put("b")), false},
		{"one key twice", ops(put("a"), put("b"), put("a")), true},
		{"put and delete of a key", ops(put("a"), del("a", "")), true},
		{"put before the delete", ops(del("a", ""), put("a")), true},
		{"put beside the delete", ops(put("aa"), del("a", "")), false},
		{"put in the deleted range", ops(put("b"), del("a", "c")), true},
		{"put at the end of the range", ops(put("c"), del("a", "c")), false},
		{"delete from key counts as empty", ops(put("b"), del("a", "\x00")), false},
		{"empty range", ops(put("b"), del("c", "a")), false},
		{"deletes overlap", ops(del("a", "c"), del("b", "d"), del("a", "")), false},
		{"both branches put a key", ops(nested(ops(put("a")), ops(put("a")))), false},
		{"one branch puts it twice", ops(nested(ops(put("a"), put("a")), nil)), true},
		{"branches put and delete", ops(nested(ops(put("a")), ops(del("a", "")))), false},
		{"siblings put a key", ops(nested(ops(put("a")), nil), nested(nil, ops(put("a")))), true},
		{"outer and nested put a key", ops(nested(ops(put("a")), nil), put("a")), true},
		{"outer delete, nested put", ops(nested(nil, ops(put("a"))), del("a", "")), true},
		{"nested delete, outer put", ops(put("a"), nested(ops(del("a", "b")), nil)), true},
		{"nested delete, then sibling's put", ops(nested(ops(del("a", "")), nil), nested(ops(put("a")), nil)), true},
		{"nested put, then sibling's delete", ops(nested(ops(put("a")), nil), nested(ops(del("a", "")), nil)), false},
		{"two levels down", ops(nested(ops(nested(ops(put("a")), nil)), nil), put("a")), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := checkOverlap(tt.ops)
			if tt.duplicate {
				require.Equal(t, rpctypes.ErrGRPCDuplicateKey, err)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

// The branches of the outermost transaction are not compared with each other.
func TestOverlapOfBranches(t *testing.T) {
	_, err := checkBranches(&pb.TxnRequest{Success: ops(put("a")), Failure: ops(put("a"), del("b", ""))})
	require.NoError(t, err)
	_, err = checkBranches(&pb.TxnRequest{Failure: ops(put("a"), put("a"))})
	require.Equal(t, rpctypes.ErrGRPCDuplicateKey, err)
}

// naiveOverlap is etcd's procedure done the plain way.
func naiveOverlap(list []*pb.RequestOp) (puts map[string]bool, dels []*pb.DeleteRangeRequest, ok bool) {
	puts = map[string]bool{}
	deleted := func(k string) bool {
		for _, d := range dels {
			if len(d.RangeEnd) == 0 && string(d.Key) == k ||
				len(d.RangeEnd) > 0 && string(d.Key) <= k && k < string(d.RangeEnd) {
				return true
			}
		}
		return false
	}
	for _, op := range list {
		if d := op.GetRequestDeleteRange(); d != nil {
			dels = append(dels, d)
		}
	}
	for _, op := range list {
		txn := op.GetRequestTxn()
		if txn == nil {
			continue
		}
		thenPuts, thenDels, ok1 := naiveOverlap(txn.Success)
		elsePuts, elseDels, ok2 := naiveOverlap(txn.Failure)
		if !ok1 || !ok2 {
			return nil, nil, false
		}
		for k := range thenPuts {
			if puts[k] || deleted(k) {
				return nil, nil, false
			}
			puts[k] = true
		}
		for k := range elsePuts {
			if puts[k] && !thenPuts[k] || deleted(k) {
				return nil, nil, false
			}
			puts[k] = true
		}
		dels = append(append(dels, thenDels...), elseDels...)
	}
	for _, op := range list {
		if p := op.GetRequestPut(); p != nil {
			if k := string(p.Key); puts[k] || deleted(k) {
				return nil, nil, false
			}
			puts[string(p.Key)] = true
		}
	}
	return puts, dels, true
}

func TestOverlapAgreesWithTheNaiveCheck(t *testing.T) {
	key := rapid.SampledFrom([]string{"a", "aa", "b", "c", "d", "e", "f"})
	end := rapid.SampledFrom([]string{"", "", "\x00", "b", "c", "f", "z"})
	var list func(depth int) *rapid.Generator[[]*pb.RequestOp]
	list = func(depth int) *rapid.Generator[[]*pb.RequestOp] {
		op := rapid.Custom(func(t *rapid.T) *pb.RequestOp {
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				return del(key.Draw(t, "key"), end.Draw(t, "end"))
			case 1:
				if depth > 0 {
					return nested(list(depth-1).Draw(t, "then"), list(depth-1).Draw(t, "else"))
				}
			}
			return put(key.Draw(t, "key"))
		})
		return rapid.SliceOfN(op, 0, 3)
	}
	var accepted, refused int
	rapid.Check(t, func(t *rapid.T) {
		ops := list(2).Draw(t, "ops")
		_, err := checkOverlap(ops)
		_, _, ok := naiveOverlap(ops)
		if ok != (err == nil) {
			t.Fatalf("naive check accepts: %v; error: %v", ok, err)
		}
		if ok {
			accepted++
		} else {
			refused++
		}
	})
	require.NotZero(t, accepted)
	require.NotZero(t, refused)
}

// A request of the largest size may not cost seconds, however it is nested.
func TestOverlapOfHostileRequest(t *testing.T) {
	var tree func(width, depth int) []*pb.RequestOp
	next := 0
	tree = func(width, depth int) []*pb.RequestOp {
		if depth == 0 {
			leaf := make([]*pb.RequestOp, 0, 40)
			for range cap(leaf) {
				next++
				leaf = append(leaf, put(string([]byte{byte(next >> 16), byte(next >> 8), byte(next)})))
			}
			return leaf
		}
		list := ops(del("zzzz", ""))
		for range width {
			list = append(list, nested(tree(width, depth-1), nil))
		}
		return list
	}
	wide := tree(2, 12) // 160 000 puts
	for range 60 {
		wide = ops(del("zzzz", ""), nested(wide, nil))
	}
	require.NoError(t, checkTxn(&pb.TxnRequest{Success: wide}, 1000))
	start := time.Now()
	_, err := checkOverlap(wide)
	require.NoError(t, err)
	require.Less(t, time.Since(start), 5*time.Second) // it takes about 0.05 s
}
