package etcdv3

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// A delete of more than is kept in memory is told like any other: with the previous
// versions to a watch that wants them, live and from the past, and before what follows.
func TestWatchOfALargeDelete(t *testing.T) {
	s := startServer(t)
	const n = 300 // of 60 KiB: more than kv.KeptPrevBytes
	rest := strings.Repeat("v", 60<<10)
	value := func(i int) string { return strconv.Itoa(i) + rest }
	for i := range n {
		s.put(fmt.Sprintf("k%03d", i), value(i))
	}
	open := func(r *pb.WatchCreateRequest) *watcher {
		w := s.watcher(s.ctx())
		r.Key, r.RangeEnd, r.Fragment = []byte("k"), []byte("l"), true
		w.create(r)
		require.True(t, w.receive().Created)
		return w
	}
	with, without := open(&pb.WatchCreateRequest{PrevKv: true}), open(&pb.WatchCreateRequest{})
	deleted := s.del("k", "l")
	require.EqualValues(t, n, deleted.Deleted)
	rev := deleted.Header.Revision
	s.put("k", "after")
	late := open(&pb.WatchCreateRequest{PrevKv: true, StartRevision: rev})

	read := func(w *watcher) (events []*mvccpb.Event) {
		for len(events) < n+1 {
			events = append(events, w.receive().Events...)
		}
		require.Len(t, events, n+1)
		require.Equal(t, "after", string(events[n].Kv.Value))
		return events
	}
	for _, w := range []*watcher{with, late} {
		for i, e := range read(w)[:n] {
			require.Equal(t, mvccpb.Event_DELETE, e.Type)
			require.Equal(t, rev, e.Kv.ModRevision)
			require.Equal(t, fmt.Sprintf("k%03d", i), string(e.Kv.Key))
			require.True(t, value(i) == string(e.PrevKv.Value), "event %d", i) //nolint:testifylint // not a diff of megabytes
		}
	}
	for _, e := range read(without)[:n] {
		require.Equal(t, mvccpb.Event_DELETE, e.Type)
		require.Nil(t, e.PrevKv)
	}
}
