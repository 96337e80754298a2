package etcdv3

import (
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

func TestCheckRange(t *testing.T) {
	key := []byte("k")
	tests := []struct {
		name string
		req  *pb.RangeRequest
		want error
	}{
		{"plain", &pb.RangeRequest{Key: key}, nil},
		{"all options", &pb.RangeRequest{
			Key: key, SortOrder: pb.RangeRequest_DESCEND, SortTarget: pb.RangeRequest_VALUE, Limit: -5, Revision: -1,
		}, nil},
		{"no key", &pb.RangeRequest{RangeEnd: key}, rpctypes.ErrGRPCEmptyKey},
		{"no key comes before a bad order", &pb.RangeRequest{SortOrder: 3}, rpctypes.ErrGRPCEmptyKey},
		{"order too large", &pb.RangeRequest{Key: key, SortOrder: 3}, rpctypes.ErrGRPCInvalidSortOption},
		{"order negative", &pb.RangeRequest{Key: key, SortOrder: -1}, rpctypes.ErrGRPCInvalidSortOption},
		{"order that would wrap", &pb.RangeRequest{Key: key, SortOrder: 256}, rpctypes.ErrGRPCInvalidSortOption},
		{"target too large", &pb.RangeRequest{Key: key, SortTarget: 5}, rpctypes.ErrGRPCInvalidSortOption},
		{"target negative", &pb.RangeRequest{Key: key, SortTarget: -1}, rpctypes.ErrGRPCInvalidSortOption},
		{"nothing", nil, rpctypes.ErrGRPCEmptyKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, checkRange(tt.req)) })
	}
}

func TestCheckPut(t *testing.T) {
	key, value := []byte("k"), []byte("v")
	tests := []struct {
		name string
		req  *pb.PutRequest
		want error
	}{
		{"plain", &pb.PutRequest{Key: key, Value: value, Lease: 7, PrevKv: true}, nil},
		{"empty value", &pb.PutRequest{Key: key}, nil},
		{"no key", &pb.PutRequest{Value: value}, rpctypes.ErrGRPCEmptyKey},
		{"ignore value", &pb.PutRequest{Key: key, IgnoreValue: true, Lease: 7}, nil},
		{"ignore value with a value", &pb.PutRequest{Key: key, Value: value, IgnoreValue: true}, rpctypes.ErrGRPCValueProvided},
		{"ignore lease", &pb.PutRequest{Key: key, Value: value, IgnoreLease: true}, nil},
		{"ignore lease with a lease", &pb.PutRequest{Key: key, Lease: -7, IgnoreLease: true}, rpctypes.ErrGRPCLeaseProvided},
		{"value comes before lease", &pb.PutRequest{
			Key: key, Value: value, Lease: 7, IgnoreValue: true, IgnoreLease: true,
		}, rpctypes.ErrGRPCValueProvided},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, checkPut(tt.req)) })
	}
}

func TestCheckTxn(t *testing.T) {
	compares := func(n int) []*pb.Compare {
		out := make([]*pb.Compare, n)
		for i := range out {
			out[i] = &pb.Compare{Key: []byte("k")}
		}
		return out
	}
	get := opRange(&pb.RangeRequest{Key: []byte("k")})
	ops := func(n int) []*pb.RequestOp {
		out := make([]*pb.RequestOp, n)
		for i := range out {
			out[i] = get
		}
		return out
	}
	nest := func(n int) *pb.TxnRequest {
		txn := &pb.TxnRequest{Success: ops(1)}
		for range n {
			txn = &pb.TxnRequest{Success: []*pb.RequestOp{opTxn(txn)}}
		}
		return txn
	}
	tests := []struct {
		name string
		req  *pb.TxnRequest
		want error
	}{
		{"empty", &pb.TxnRequest{}, nil},
		{"full", &pb.TxnRequest{Compare: compares(4), Success: ops(4), Failure: ops(4)}, nil},
		{"too many compares", &pb.TxnRequest{Compare: compares(5)}, rpctypes.ErrGRPCTooManyOps},
		{"too many in success", &pb.TxnRequest{Success: ops(5)}, rpctypes.ErrGRPCTooManyOps},
		{"too many in failure", &pb.TxnRequest{Failure: ops(5)}, rpctypes.ErrGRPCTooManyOps},
		{"nested within the budget", &pb.TxnRequest{
			Compare: compares(2), Failure: []*pb.RequestOp{opTxn(&pb.TxnRequest{Success: ops(2)})},
		}, nil},
		{"nested beyond the budget", &pb.TxnRequest{
			Compare: compares(2), Failure: []*pb.RequestOp{opTxn(&pb.TxnRequest{Success: ops(3)})},
		}, rpctypes.ErrGRPCTooManyOps},
		{"nested as deep as allowed", nest(3), nil},
		{"nested too deep", nest(4), rpctypes.ErrGRPCTooManyOps},
		{"compare without a key", &pb.TxnRequest{Compare: []*pb.Compare{{}}}, rpctypes.ErrGRPCEmptyKey},
		{"range without a key", &pb.TxnRequest{Success: []*pb.RequestOp{opRange(&pb.RangeRequest{})}}, rpctypes.ErrGRPCEmptyKey},
		{"put with both", &pb.TxnRequest{
			Failure: []*pb.RequestOp{opPut(&pb.PutRequest{Key: []byte("k"), Value: []byte("v"), IgnoreValue: true})},
		}, rpctypes.ErrGRPCValueProvided},
		{"delete without a key, nested", &pb.TxnRequest{Success: []*pb.RequestOp{
			opTxn(&pb.TxnRequest{Failure: []*pb.RequestOp{opDelete(&pb.DeleteRangeRequest{})}}),
		}}, rpctypes.ErrGRPCEmptyKey},
		{"operation with nothing in it", &pb.TxnRequest{Success: []*pb.RequestOp{{}}}, rpctypes.ErrGRPCKeyNotFound},
		{"too many comes before no key", &pb.TxnRequest{Compare: make([]*pb.Compare, 5)}, rpctypes.ErrGRPCTooManyOps},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, checkTxn(tt.req, 4)) })
	}
}

func opRange(r *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
}

func opPut(r *pb.PutRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: r}}
}

func opDelete(r *pb.DeleteRangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}
}

func opTxn(r *pb.TxnRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: r}}
}
