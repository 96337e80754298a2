package etcdv3

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

func TestEventsResponse(t *testing.T) {
	old := kv("k", 2, 3, 2, "old", 7)
	tests := []struct {
		name   string
		change core.Change
		prevKV bool
		want   *mvccpb.Event
	}{
		{
			"put of a new key",
			core.Change{KV: kv("k", 5, 5, 1, "v", 7)},
			true,
			&mvccpb.Event{Kv: &mvccpb.KeyValue{
				Key: []byte("k"), CreateRevision: 5, ModRevision: 5, Version: 1, Value: []byte("v"), Lease: 7,
			}},
		},
		{
			"put",
			core.Change{KV: kv("k", 2, 5, 3, "v", 0), Prev: old},
			true,
			&mvccpb.Event{
				Kv:     &mvccpb.KeyValue{Key: []byte("k"), CreateRevision: 2, ModRevision: 5, Version: 3, Value: []byte("v")},
				PrevKv: kvOf(old),
			},
		},
		{
			"put, previous version not asked for",
			core.Change{KV: kv("k", 2, 5, 3, "v", 0), Prev: old},
			false,
			&mvccpb.Event{Kv: &mvccpb.KeyValue{
				Key: []byte("k"), CreateRevision: 2, ModRevision: 5, Version: 3, Value: []byte("v"),
			}},
		},
		{
			"delete",
			core.Change{KV: &core.KV{Key: []byte("k"), ModRev: 5}, Prev: old},
			true,
			&mvccpb.Event{
				Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("k"), ModRevision: 5}, PrevKv: kvOf(old),
			},
		},
		{
			"delete, previous version compacted",
			core.Change{KV: &core.KV{Key: []byte("k"), ModRev: 5}},
			true,
			&mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("k"), ModRevision: 5}},
		},
		{
			"deleted and created in one revision",
			core.Change{KV: kv("k", 5, 5, 1, "v", 0), Prev: old},
			true,
			&mvccpb.Event{Kv: &mvccpb.KeyValue{
				Key: []byte("k"), CreateRevision: 5, ModRevision: 5, Version: 1, Value: []byte("v"),
			}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for n := 1; n <= 2; n++ { // one event is built otherwise than several
				d := &core.Delivery{}
				want := &pb.WatchResponse{Header: &pb.ResponseHeader{}, WatchId: 9}
				for range n {
					d.Changes = append(d.Changes, tt.change)
					want.Events = append(want.Events, tt.want)
				}
				got := eventsResponse(&watch{id: 9, prevKV: tt.prevKV}, d)
				require.Empty(t, cmp.Diff(want, got, protocmp.Transform()))
			}
		})
	}
}

func TestFragments(t *testing.T) {
	header := &pb.ResponseHeader{ClusterId: 1 << 60, MemberId: 1 << 60, Revision: 7, RaftTerm: 2}
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(60, 400).Draw(t, "limit")
		resp := &pb.WatchResponse{Header: header, WatchId: rapid.Int64().Draw(t, "id")}
		for range rapid.IntRange(1, 20).Draw(t, "events") {
			resp.Events = append(resp.Events, &mvccpb.Event{Kv: &mvccpb.KeyValue{
				Key: bytes.Repeat([]byte{'k'}, rapid.IntRange(0, 300).Draw(t, "size")),
			}})
		}
		var parts []*pb.WatchResponse
		err := fragments(resp, limit, func(part *pb.WatchResponse) error {
			parts = append(parts, proto.Clone(part).(*pb.WatchResponse))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		whole := &pb.WatchResponse{Header: header, WatchId: resp.WatchId}
		for i, part := range parts {
			last := i == len(parts)-1
			switch {
			case part.Fragment == last:
				t.Fatalf("part %d of %d is marked %v", i, len(parts), part.Fragment)
			case !proto.Equal(part.Header, header) || part.WatchId != resp.WatchId:
				t.Fatalf("part %d has another header or id", i)
			case len(part.Events) == 0:
				t.Fatalf("part %d is empty", i)
			case len(part.Events) > 1 && proto.Size(part) >= limit:
				t.Fatalf("part %d has %d bytes, the limit is %d", i, proto.Size(part), limit)
			}
			if !last { // one more would have been too many
				more := proto.Clone(part).(*pb.WatchResponse)
				more.Events = append(more.Events, parts[i+1].Events[0])
				if proto.Size(more) < limit {
					t.Fatalf("part %d has room for another event", i)
				}
			}
			whole.Events = append(whole.Events, part.Events...)
		}
		if !proto.Equal(whole, resp) {
			t.Fatal("the parts are not the whole")
		}
	})
	broken := errors.New("broken")
	resp := &pb.WatchResponse{Events: []*mvccpb.Event{{Kv: &mvccpb.KeyValue{Key: []byte("k")}}}}
	require.Equal(t, broken, fragments(resp, 10, func(*pb.WatchResponse) error { return broken }))
}
