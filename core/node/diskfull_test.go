package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// TestDiskFull has a kind of write fail for want of room, in spite of the watermark
// (design 9): the member ends with one line that says so, and has all that it had
// acknowledged when it is started with room again.
func TestDiskFull(t *testing.T) {
	for _, c := range []struct {
		name string
		hits func(f storage.Fault) bool
	}{
		{"everything", func(f storage.Fault) bool { return f.Write }},
		{"the raft log", func(f storage.Fault) bool { return f.Write && strings.Contains(f.Path, "data/log/") }},
		{"syncs of the raft log", func(f storage.Fault) bool { return f.Sync && strings.Contains(f.Path, "data/log/") }},
		{"tables of the engine", func(f storage.Fault) bool { return f.Write && strings.HasSuffix(f.Path, ".sst") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var full atomic.Bool
			cfg := testConfig(t)
			cfg.Memory.MemTable = 256 << 10
			disk := cfg
			cfg.FS = storage.WithFaults(cfg.FS, func(f storage.Fault) error {
				if full.Load() && c.hits(f) {
					return syscall.ENOSPC
				}
				return nil
			})
			n := startNode(t, cfg)
			fill := putNoise(t, n)
			for i := range 20 {
				require.NoError(t, fill(i))
			}
			full.Store(true)
			acknowledged := 20
			var failed error
			for failed == nil {
				err := fill(acknowledged)
				select {
				case failed = <-n.Failed():
				default:
				}
				if err == nil {
					acknowledged++
				}
				require.Less(t, acknowledged, 100_000, "the disk is full and nothing happens")
			}
			require.ErrorIs(t, failed, syscall.ENOSPC)
			require.NotContains(t, failed.Error(), "\n")
			left := crashed(disk, 0, 1)
			full.Store(false)
			gone, cancel := context.WithCancel(context.Background())
			cancel()
			_ = n.Stop(gone) // the process would have ended

			n = startNode(t, left)
			for i := range acknowledged {
				require.NotEqual(t, "<none>", get(t, n, fmt.Sprintf("k%05d", i)), "%d of %d", i, acknowledged)
			}
			require.NoError(t, putNoise(t, n)(acknowledged))
			stopNode(t, n)
		})
	}
}

// putNoise puts values that do not compress, as key of a number.
func putNoise(t *testing.T, n *Node) func(i int) error {
	noise := rand.NewChaCha8([32]byte{})
	return func(i int) error {
		value := make([]byte, 8<<10)
		_, _ = noise.Read(value) // never fails
		_, err := n.Do(testContext(t), core.Principal{}, &core.Put{Key: fmt.Appendf(nil, "k%05d", i), Value: value})
		return err
	}
}
