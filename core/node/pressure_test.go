package node

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

func TestPressure(t *testing.T) {
	put := &core.Put{Key: []byte("k")}
	var p pressure
	for _, step := range []struct {
		memTables uint64
		sublevels int32
		refuses   bool
	}{
		{1, 0, false}, {3, 31, false}, {4, 0, true}, {5, 0, true}, {3, 0, false}, {1, 32, true}, {1, 31, false},
	} {
		p.look(storage.Metrics{MemTableBytes: step.memTables, MemTableLimit: 4, L0Sublevels: step.sublevels})
		require.Equal(t, step.refuses, p.refuses(put), "%+v", step)
	}
	p.high.Store(true)
	for _, cmd := range []core.Command{&core.DeleteRange{}, &core.Txn{}, &core.ZnodeWrite{}} {
		require.True(t, p.refuses(cmd))
	}
	for _, cmd := range []core.Command{&core.LeaseGrant{}, &core.SessionClose{}, &core.SetAlarm{}, &core.Compact{}} {
		require.False(t, p.refuses(cmd))
	}
}

// TestEngineThatCannotFlush holds up all tables that the engine wants to write:
// writers are told so before apply stands still, and all goes on once it can.
func TestEngineThatCannotFlush(t *testing.T) {
	cfg := testConfig(t)
	cfg.Memory.MemTable = 256 << 10
	var held atomic.Bool
	release := make(chan struct{})
	cfg.FS = storage.WithFaults(cfg.FS, func(f storage.Fault) error {
		if held.Load() && f.Write && strings.HasSuffix(f.Path, ".sst") {
			<-release
		}
		return nil
	})
	n := startNode(t, cfg)
	require.NoError(t, n.Ready(testContext(t)))
	held.Store(true)
	value := make([]byte, 32<<10)
	for m := n.disk.engine().db.Metrics(); m.MemTableBytes < m.MemTableLimit; m = n.disk.engine().db.Metrics() {
		_, err := n.Do(testContext(t), core.Principal{}, &core.Put{Key: []byte("k"), Value: value})
		require.NoError(t, err)
	}
	require.Eventually(t, n.pressure.high.Load, pollLimit, pollEvery)
	_, err := n.Do(testContext(t), core.Principal{}, &core.Put{Key: []byte("k"), Value: value})
	require.ErrorIs(t, err, core.TooManyRequests)
	require.Equal(t, string(value), get(t, n, "k"), "reads go on")
	_, err = n.Do(testContext(t), core.Principal{}, &core.LeaseGrant{TTL: time.Hour})
	require.NoError(t, err, "apply goes on")
	_, err = n.Lane().Submit(core.Principal{}, &core.Put{Key: []byte("k")}).Wait(testContext(t))
	require.ErrorIs(t, err, core.TooManyRequests)

	close(release)
	require.Eventually(t, func() bool {
		_, err := n.Do(testContext(t), core.Principal{}, &core.Put{Key: []byte("k")})
		require.True(t, err == nil || errors.Is(err, core.TooManyRequests))
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	stopNode(t, n)
}
