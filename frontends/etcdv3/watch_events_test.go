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
				m := &eventsMessage{watchID: 9, prevKV: tt.prevKV, changes: d.Changes}
				require.Empty(t, cmp.Diff(want, m.response(), protocmp.Transform()))
			}
		})
	}
}

// drawKV makes a version, or a tombstone, of any size that matters to the encoding.
func drawKV(t *rapid.T, label string, live bool) *core.KV {
	size := rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(900, 1100), rapid.IntRange(1900, 2100), rapid.IntRange(4000, 4200), rapid.Just(40_000))
	out := &core.KV{
		Key:    bytes.Repeat([]byte{'k'}, rapid.IntRange(1, 300).Draw(t, label+" key")),
		ModRev: core.Rev(rapid.Int64Min(1).Draw(t, label+" mod")),
	}
	if live || rapid.Bool().Draw(t, label+" live") {
		out.Value = bytes.Repeat([]byte{'v'}, size.Draw(t, label+" value"))
		out.CreateRev = core.Rev(rapid.Int64Range(1, int64(out.ModRev)).Draw(t, label+" create"))
		out.Version = rapid.Int64Min(1).Draw(t, label+" version")
		out.Lease = core.LeaseID(rapid.SampledFrom([]int64{0, 7, -7}).Draw(t, label+" lease"))
	}
	return out
}

func drawEvents(t *rapid.T) *eventsMessage {
	m := &eventsMessage{
		clusterID: rapid.Uint64().Draw(t, "cluster"), memberID: rapid.Uint64().Draw(t, "member"),
		term: rapid.Uint64().Draw(t, "term"), rev: core.Rev(rapid.Int64().Draw(t, "rev")),
		watchID: rapid.Int64().Draw(t, "id"), fragment: rapid.Bool().Draw(t, "fragment"), prevKV: rapid.Bool().Draw(t, "prev_kv"),
	}
	for range rapid.IntRange(1, 6).Draw(t, "events") {
		c := core.Change{KV: drawKV(t, "kv", false)}
		if rapid.Bool().Draw(t, "prev") {
			c.Prev = drawKV(t, "prev", true)
		}
		if rapid.Bool().Draw(t, "shared") {
			c.Memo = new(core.Memo)
		}
		m.changes = append(m.changes, c)
	}
	return m
}

// What a stream sends is to the byte what proto.Marshal makes of the response, the
// first time and when the bytes are there already, with the previous versions and
// without.
func TestEventsAreEncodedAsProto(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawEvents(t)
		for range 4 {
			want, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.response())
			if err != nil {
				t.Fatal(err)
			}
			data, err := testCodec.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if got := data.Materialize(); !bytes.Equal(want, got) {
				t.Fatalf("want %d bytes %.300x\ngot  %d bytes %.300x", len(want), want, len(got), got)
			}
			if size := sizeEventsMessage(m); size != len(want) {
				t.Fatalf("size %d of %d bytes", size, len(want))
			}
			data.Free()
			m.prevKV = !m.prevKV
		}
	})
}

// All streams send the same bytes, those of a large value being the store's own; a
// change that few see is encoded by each.
func TestEncodedEventsAreShared(t *testing.T) {
	value := bytes.Repeat([]byte{'v'}, 30<<10)
	d := core.Change{KV: kv("k", 2, 5, 3, string(value), 0), Prev: kv("k", 2, 4, 2, "old", 0), Memo: new(core.Memo)}
	encodedEvent(&d, false) // as if there were no other stream
	require.Same(t, &d.KV.Value[0], &encodedEvent(&d, false)[1].ReadOnlyData()[0])
	for _, prev := range []bool{false, true} {
		first, again := encodedEvent(&d, prev), encodedEvent(&d, prev)
		for i := range first {
			require.Same(t, &first[i].ReadOnlyData()[0], &again[i].ReadOnlyData()[0])
		}
	}
	require.NotEqual(t, encodedEvent(&d, true).Len(), encodedEvent(&d, false).Len())
	kept := 0
	for _, b := range encodedEvent(&d, false) {
		if &b.ReadOnlyData()[0] != &d.KV.Value[0] {
			kept += b.Len()
		}
	}
	require.Less(t, kept, 64, "what is kept besides the change")

	d.Memo = nil
	require.NotSame(t, &encodedEvent(&d, false)[0].ReadOnlyData()[0], &encodedEvent(&d, false)[0].ReadOnlyData()[0])
}

func TestFragments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int{60, 400, 5000, 50_000}).Draw(t, "limit")
		m := drawEvents(t)
		m.fragment = false
		resp := m.response()
		var parts []*pb.WatchResponse
		err := fragments(m, limit, func(part *eventsMessage) error {
			parts = append(parts, part.response())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		whole := &pb.WatchResponse{Header: resp.Header, WatchId: resp.WatchId}
		for i, part := range parts {
			last := i == len(parts)-1
			switch {
			case part.Fragment == last:
				t.Fatalf("part %d of %d is marked %v", i, len(parts), part.Fragment)
			case !proto.Equal(part.Header, resp.Header) || part.WatchId != resp.WatchId:
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
	m := &eventsMessage{changes: []core.Change{{KV: kv("k", 2, 2, 1, "v", 0)}}}
	require.Equal(t, broken, fragments(m, 10, func(*eventsMessage) error { return broken }))
}
