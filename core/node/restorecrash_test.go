package node

import (
	"context"
	"errors"
	"os"
	"sync"
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
