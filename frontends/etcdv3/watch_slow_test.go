package etcdv3

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/triglot/triglot/core/node"
)

// A client that does not read delays none of 1000 that do: these have all events while
// it has none. Then it has all of them too, in order and none twice, though neither its
// queue nor the ring could hold them.
func TestSlowWatcherAmongFastOnes(t *testing.T) {
	const fast, events, size = 1000, 10, 8 << 10
	s := startServer(t, func(c *node.Config, _ *Config) { c.Memory.Ring = 3 * size })
	open := func(prevKV bool) *watcher {
		w := s.watcher(s.ctx())
		w.create(&pb.WatchCreateRequest{Key: []byte("k"), PrevKv: prevKV})
		require.True(t, w.receive().Created)
		return w
	}
	slow := open(true) // 150 KiB, more than the window of a stream
	fasts := make([]*watcher, fast)
	for i := range fasts {
		fasts[i] = open(false)
	}
	rest := strings.Repeat("v", size)
	value := func(i int) string { return strconv.Itoa(i) + rest }
	// readAll reads until it has every event, and fails if one is out of its place.
	readAll := func(w *watcher, prevKV bool) error {
		for i := 0; i < events; {
			resp, err := w.stream.Recv()
			if err != nil {
				return err
			}
			for _, e := range resp.Events {
				switch {
				case string(e.Kv.Value) != value(i):
					return fmt.Errorf("event %d has value %.10q", i, e.Kv.Value)
				case i > 0 && prevKV && string(e.PrevKv.GetValue()) != value(i-1):
					return fmt.Errorf("event %d has previous value %.10q", i, e.PrevKv.GetValue())
				case e.Kv.ModRevision != int64(i+2) || resp.Header.Revision < e.Kv.ModRevision:
					return fmt.Errorf("event %d is of revision %d, under a header of %d", i, e.Kv.ModRevision, resp.Header.Revision)
				}
				i++
			}
		}
		return nil
	}
	errs := make(chan error, fast)
	var readers sync.WaitGroup
	for _, w := range fasts {
		readers.Go(func() { errs <- readAll(w, false) })
	}
	for i := range events {
		s.put("k", value(i))
	}
	readers.Wait() // the slow one has not been read from: what is due to it exceeds its window
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.NoError(t, readAll(slow, true))
	slow.requestProgress()
	require.Empty(t, slow.receive().Events, "there was nothing more")
}
