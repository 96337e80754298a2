package etcdv3

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/triglot/triglot/core"
)

func TestRequestsOf(t *testing.T) {
	require.Equal(t, &core.Range{
		Interval: core.Interval{Key: []byte("a"), End: []byte("b")},
		Rev:      -2, Limit: 3, SortTarget: core.SortByModRev, SortOrder: core.SortDescend,
		KeysOnly: true, CountOnly: true,
		MinModRev: 4, MaxModRev: 5, MinCreateRev: 6, MaxCreateRev: 7,
	}, rangeOf(&pb.RangeRequest{
		Key: []byte("a"), RangeEnd: []byte("b"), Revision: -2, Limit: 3,
		SortTarget: pb.RangeRequest_MOD, SortOrder: pb.RangeRequest_DESCEND,
		KeysOnly: true, CountOnly: true,
		MinModRevision: 4, MaxModRevision: 5, MinCreateRevision: 6, MaxCreateRevision: 7,
	}))
	require.Equal(t, &core.Txn{
		Compares: []core.Compare{
			{Interval: core.Interval{Key: []byte("a")}, Target: core.CompareModRev, Result: core.CompareLess, Number: 9},
		},
		Then: []core.Op{
			{Put: &core.Put{
				Key: []byte("a"), Value: []byte("v"), Lease: 7, PrevKV: true, IgnoreValue: true, IgnoreLease: true,
			}},
			{Delete: &core.DeleteRange{Interval: core.Interval{Key: []byte("b"), End: core.FromKey}, PrevKV: true}},
		},
		Else: []core.Op{
			{Txn: &core.Txn{Then: []core.Op{{Range: &core.Range{Interval: core.Interval{Key: []byte("c")}}}}}},
		},
	}, txnOf(&pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: []byte("a"), Target: pb.Compare_MOD, Result: pb.Compare_LESS,
			TargetUnion: &pb.Compare_ModRevision{ModRevision: 9},
		}},
		Success: ops(
			opPut(&pb.PutRequest{
				Key: []byte("a"), Value: []byte("v"), Lease: 7, PrevKv: true, IgnoreValue: true, IgnoreLease: true,
			}),
			opDelete(&pb.DeleteRangeRequest{Key: []byte("b"), RangeEnd: []byte{0}, PrevKv: true}),
		),
		Failure: ops(nested(ops(opRange(&pb.RangeRequest{Key: []byte("c")})), nil)),
	}))
}

// The core's enumerations are etcd's, value for value: they are converted by
// type alone.
func TestEnumerationsAgree(t *testing.T) {
	require.EqualValues(t, pb.RangeRequest_VALUE, core.SortByValue)
	require.EqualValues(t, pb.RangeRequest_CREATE, core.SortByCreateRev)
	require.EqualValues(t, pb.RangeRequest_DESCEND, core.SortDescend)
	require.EqualValues(t, pb.Compare_LEASE, core.CompareLease)
	require.EqualValues(t, pb.Compare_VALUE, core.CompareValue)
	require.EqualValues(t, pb.Compare_MOD, core.CompareModRev)
	require.EqualValues(t, pb.Compare_NOT_EQUAL, core.CompareNotEqual)
	require.EqualValues(t, pb.Compare_GREATER, core.CompareGreater)
	require.EqualValues(t, pb.AlarmType_CORRUPT, core.AlarmCorrupt)
	require.EqualValues(t, pb.AlarmType_NOSPACE, core.AlarmNoSpace)
}

func TestCompareOf(t *testing.T) {
	key := []byte("k")
	iv := core.Interval{Key: key, End: []byte("m")}
	always := core.Compare{Interval: iv, Target: core.CompareVersion, Result: core.CompareNotEqual, Number: -1}
	never := core.Compare{Interval: iv, Target: core.CompareVersion, Result: core.CompareEqual, Number: -1}
	tests := []struct {
		name string
		req  *pb.Compare
		want core.Compare
	}{
		{
			"version",
			&pb.Compare{Target: pb.Compare_VERSION, Result: pb.Compare_GREATER, TargetUnion: &pb.Compare_Version{Version: 3}},
			core.Compare{Interval: iv, Target: core.CompareVersion, Result: core.CompareGreater, Number: 3},
		},
		{
			"create",
			&pb.Compare{Target: pb.Compare_CREATE, TargetUnion: &pb.Compare_CreateRevision{CreateRevision: 4}},
			core.Compare{Interval: iv, Target: core.CompareCreateRev, Number: 4},
		},
		{
			"lease",
			&pb.Compare{Target: pb.Compare_LEASE, Result: pb.Compare_NOT_EQUAL, TargetUnion: &pb.Compare_Lease{Lease: -5}},
			core.Compare{Interval: iv, Target: core.CompareLease, Result: core.CompareNotEqual, Number: -5},
		},
		{
			"value",
			&pb.Compare{Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Value{Value: []byte("v")}},
			core.Compare{Interval: iv, Target: core.CompareValue, Value: []byte("v")},
		},
		{
			"operand of another type is zero",
			&pb.Compare{Target: pb.Compare_MOD, TargetUnion: &pb.Compare_Version{Version: 3}},
			core.Compare{Interval: iv, Target: core.CompareModRev},
		},
		{
			"value without an operand",
			&pb.Compare{Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Version{Version: 3}},
			core.Compare{Interval: iv, Target: core.CompareValue},
		},
		{"unknown target equals itself", &pb.Compare{Target: 9}, always},
		{"unknown target is not unequal", &pb.Compare{Target: 9, Result: pb.Compare_NOT_EQUAL}, never},
		{"unknown target that would wrap", &pb.Compare{Target: 256, Result: pb.Compare_LESS}, never},
		{"unknown relation holds", &pb.Compare{Target: pb.Compare_MOD, Result: 4}, always},
		{"unknown relation of an unknown target holds", &pb.Compare{Target: -1, Result: -1}, always},
		{
			"unknown relation of values needs a key", &pb.Compare{Target: pb.Compare_VALUE, Result: 260},
			core.Compare{Interval: iv, Target: core.CompareVersion, Result: core.CompareGreater},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.req.Key, tt.req.RangeEnd = key, iv.End
			require.Equal(t, tt.want, compareOf(tt.req))
		})
	}
}

func kv(key string, create, mod core.Rev, version int64, value string, lease core.LeaseID) *core.KV {
	return &core.KV{Key: []byte(key), CreateRev: create, ModRev: mod, Version: version, Value: []byte(value), Lease: lease}
}

func TestRangeResponse(t *testing.T) {
	a, b := kv("a", 2, 3, 2, "va", 7), kv("b", 4, 4, 1, "vb", 0)
	wire := func(key string, create, mod, version int64, value string, lease int64) *mvccpb.KeyValue {
		out := &mvccpb.KeyValue{Key: []byte(key), CreateRevision: create, ModRevision: mod, Version: version, Lease: lease}
		if value != "" {
			out.Value = []byte(value)
		}
		return out
	}
	tests := []struct {
		name string
		req  core.Range
		res  core.RangeResult
		want *pb.RangeResponse
	}{
		{"none", core.Range{}, core.RangeResult{}, &pb.RangeResponse{}},
		{"count", core.Range{CountOnly: true}, core.RangeResult{Count: 5}, &pb.RangeResponse{Count: 5}},
		{
			"one",
			core.Range{},
			core.RangeResult{KVs: []*core.KV{a}, Count: 1},
			&pb.RangeResponse{Kvs: []*mvccpb.KeyValue{wire("a", 2, 3, 2, "va", 7)}, Count: 1},
		},
		{
			"some of many",
			core.Range{},
			core.RangeResult{KVs: []*core.KV{b, a}, Count: 9, More: true},
			&pb.RangeResponse{
				Kvs: []*mvccpb.KeyValue{wire("b", 4, 4, 1, "vb", 0), wire("a", 2, 3, 2, "va", 7)}, Count: 9, More: true,
			},
		},
		{
			"keys only: no lease either",
			core.Range{KeysOnly: true},
			core.RangeResult{KVs: []*core.KV{a, b}, Count: 2},
			&pb.RangeResponse{Kvs: []*mvccpb.KeyValue{wire("a", 2, 3, 2, "", 0), wire("b", 4, 4, 1, "", 0)}, Count: 2},
		},
		{
			"keys only, sorted by value",
			core.Range{KeysOnly: true, SortTarget: core.SortByValue},
			core.RangeResult{KVs: []*core.KV{a}, Count: 1},
			&pb.RangeResponse{Kvs: []*mvccpb.KeyValue{wire("a", 2, 3, 2, "", 7)}, Count: 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Header = &pb.ResponseHeader{}
			require.Empty(t, cmp.Diff(tt.want, &rangeResponse(&tt.req, &tt.res).RangeResponse, protocmp.Transform()))
		})
	}
	require.Equal(t, kv("a", 2, 3, 2, "va", 7), a, "the core's keys are shared and must not change")
}

func TestTxnResponse(t *testing.T) {
	a := kv("a", 2, 3, 2, "va", 7)
	inner := &core.Txn{Else: []core.Op{{Put: &core.Put{}}}}
	txn := &core.Txn{Then: []core.Op{
		{Range: &core.Range{KeysOnly: true}}, {Put: &core.Put{}}, {Delete: &core.DeleteRange{}}, {Txn: inner},
	}}
	got := txnResponse(txn, &core.TxnOutcome{Succeeded: true, Ops: []core.OpOutcome{
		{Rev: 4, Outcome: &core.RangeOutcome{RangeResult: core.RangeResult{KVs: []*core.KV{a}, Count: 1}}},
		{Rev: 5, Outcome: core.PutOutcome{Prev: a}},
		{Rev: 5, Outcome: core.DeleteOutcome{Deleted: 2, Prev: []*core.KV{a, a}}},
		{Rev: 5, Outcome: core.TxnOutcome{Ops: []core.OpOutcome{{Rev: 5, Outcome: core.PutOutcome{}}}}},
	}})
	wireA := kvOf(a)
	want := &pb.TxnResponse{Header: &pb.ResponseHeader{}, Succeeded: true, Responses: []*pb.ResponseOp{
		{Response: &pb.ResponseOp_ResponseRange{ResponseRange: &pb.RangeResponse{
			Header: &pb.ResponseHeader{Revision: 4},
			Kvs:    []*mvccpb.KeyValue{{Key: []byte("a"), CreateRevision: 2, ModRevision: 3, Version: 2}}, Count: 1,
		}}},
		{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{
			Header: &pb.ResponseHeader{Revision: 5}, PrevKv: wireA,
		}}},
		{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: &pb.DeleteRangeResponse{
			Header: &pb.ResponseHeader{Revision: 5}, Deleted: 2, PrevKvs: []*mvccpb.KeyValue{wireA, wireA},
		}}},
		{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: &pb.TxnResponse{
			Header: &pb.ResponseHeader{}, // etcd leaves a nested one empty
			Responses: []*pb.ResponseOp{{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{
				Header: &pb.ResponseHeader{Revision: 5},
			}}}},
		}}},
	}}
	require.Empty(t, cmp.Diff(want, got, protocmp.Transform()))
}
