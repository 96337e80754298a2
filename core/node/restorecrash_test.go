package node

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/storage"
)

// TestRestoreCutShort: a machine that loses its power during a restore has all of the
// data directory or none, and the restore can be begun again; once it has succeeded,
// the directory stays.
func TestRestoreCutShort(t *testing.T) {
	for percent := 0; percent <= 100; percent += 50 {
		cfg := testConfig(t)
		fs := cfg.FS.(*storage.MemFS)
		writeFile(t, fs, "backup.db", testdata(t, "db"))
		require.NoError(t, syncDir(fs, ""))
		var mu sync.Mutex // the engine writes on goroutines of its own
		var copies []*storage.MemFS
		cfg.FS = storage.WithFaults(fs, func(f storage.Fault) error {
			mu.Lock()
			defer mu.Unlock()
			if f.Write {
				copies = append(copies, storage.CrashClone(fs, percent, uint64(len(copies))))
			}
			return nil
		})
		restore := RestoreConfig{File: "backup.db", SkipHash: true, Member: cfg}
		_, err := Restore(context.Background(), restore)
		require.NoError(t, err)
		require.Greater(t, len(copies), 30)
		last := storage.CrashClone(fs, percent, 1)
		_, err = last.Stat("data/" + markerName)
		require.NoError(t, err)

		for i, left := range copies {
			if i%8 != percent/50 && i < len(copies)-12 { // at the end, each moment counts
				continue
			}
			restore.Member.FS = left
			if _, err := left.Stat("data"); errors.Is(err, os.ErrNotExist) {
				_, err := Restore(context.Background(), restore)
				require.NoError(t, err)
			}
			n := startNode(t, restore.Member)
			checkTakenOver(t, n, restoredRev)
			stopNode(t, n)
		}
	}
}

// TestRestoreKilledAgain: a restore that begins where another was killed, with only the
// name to be given, can be killed at any moment, too: what it leaves is not refused.
func TestRestoreKilledAgain(t *testing.T) {
	cfg := testConfig(t)
	fs := cfg.FS
	writeFile(t, fs, "backup.db", testdata(t, "db"))
	restore := RestoreConfig{File: "backup.db", SkipHash: true, Member: cfg}
	_, err := Restore(context.Background(), restore)
	require.NoError(t, err)
	require.NoError(t, fs.Rename("data", "data"+restoring))

	var refused atomic.Bool
	restore.Member.FS = storage.WithFaults(fs, func(f storage.Fault) error {
		names, err := fs.List("data" + restoring)
		if f.Write && err == nil && !slices.Contains(names, markerName) && !slices.Contains(names, foundName) {
			refused.Store(true)
		}
		return nil
	})
	_, err = Restore(context.Background(), restore)
	require.NoError(t, err)
	require.False(t, refused.Load())
}
