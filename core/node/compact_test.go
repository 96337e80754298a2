package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// syncBuffer is a log that a test reads while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestCompactionSurvivesACrash crashes a member between a compaction and the end of
// its collection, at two points: reads stay refused, the rows go after all, and
// WaitCompacted waits for that (etcd T-70, T-71).
func TestCompactionSurvivesACrash(t *testing.T) {
	const keys, versions = 50, 200
	for _, at := range []struct {
		name  string
		reach func(n *Node) bool
	}{
		{"before the collection", func(*Node) bool { return true }},
		{"in its middle", func(n *Node) bool { return n.disk.engine().collector.Removed() > 0 }},
	} {
		t.Run(at.name, func(t *testing.T) {
			cfg := testConfig(t)
			n := startNode(t, cfg)
			for v := range versions {
				txn := &core.Txn{}
				for k := range keys {
					txn.Then = append(txn.Then, core.Op{Put: &core.Put{Key: fmt.Appendf(nil, "k%d", k), Value: fmt.Append(nil, v)}})
				}
				_, err := n.Do(testContext(t), core.Principal{}, txn)
				require.NoError(t, err)
			}
			rev := n.Status().Rev
			full := n.Status().Size
			_, err := n.Do(testContext(t), core.Principal{}, &core.Compact{Rev: rev})
			require.NoError(t, err)
			require.Eventually(t, func() bool { return at.reach(n) }, pollLimit, time.Microsecond)
			cfg.FS = storage.CrashClone(cfg.FS.(*storage.MemFS), 50, 1)
			stopNode(t, n)

			log := &syncBuffer{}
			cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
			n = startNode(t, cfg)
			require.NoError(t, n.Ready(testContext(t)))
			_, err = n.Do(testContext(t), core.Principal{}, &core.Compact{Rev: rev})
			require.ErrorIs(t, err, core.Compacted)
			view, err := n.View(testContext(t), core.Principal{}, core.Consistency{Linearizable: true})
			require.NoError(t, err)
			_, err = view.Range(testContext(t), &core.Range{Interval: core.Interval{Key: []byte("k1")}, Rev: rev - 1})
			require.ErrorIs(t, err, core.Compacted)
			res, err := view.Range(testContext(t), &core.Range{Interval: core.Interval{Key: []byte("k"), End: []byte("l")}, Rev: rev})
			require.NoError(t, err)
			require.EqualValues(t, keys, res.Count)
			view.Close()

			require.NoError(t, n.WaitCompacted(testContext(t), rev))
			require.Less(t, n.Status().Size, full/10)
			require.Equal(t, fmt.Sprint(versions-1), get(t, n, "k1"))
			require.Contains(t, log.String(), "finished scheduled compaction")

			// What WaitCompacted has waited for is gone for good.
			size := n.Status().Size
			cfg.FS = storage.CrashClone(cfg.FS.(*storage.MemFS), 0, 1)
			stopNode(t, n)
			n = startNode(t, cfg)
			require.NoError(t, n.Ready(testContext(t)))
			require.Equal(t, size, n.Status().Size)
			require.NoError(t, n.WaitCompacted(testContext(t), rev))
			stopNode(t, n)
		})
	}
}

func TestWaitCompactedHeedsItsContext(t *testing.T) {
	n := startNode(t, testConfig(t))
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	require.ErrorIs(t, n.WaitCompacted(ctx, 99), core.Canceled)
	waited := make(chan error, 1)
	go func() { waited <- n.WaitCompacted(context.Background(), 99) }()
	stopNode(t, n)
	require.ErrorIs(t, <-waited, core.Stopped)
}
