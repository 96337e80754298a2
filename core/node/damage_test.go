package node

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// filesIn are the files of a directory and those below it, by name.
func filesIn(t *testing.T, fs storage.FS, dir string) (files []string) {
	names, err := fs.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		file := fs.PathJoin(dir, name)
		info, err := fs.Stat(file)
		require.NoError(t, err)
		if info.IsDir() {
			files = append(files, filesIn(t, fs, file)...)
		} else {
			files = append(files, file)
		}
	}
	return files
}

// flipBit changes a bit of a file.
func flipBit(t *testing.T, fs storage.FS, file string, at int64) {
	f, err := fs.OpenReadWrite(file, markerCategory)
	require.NoError(t, err)
	var b [1]byte
	if _, err = f.ReadAt(b[:], at); err == io.EOF {
		err = nil
	}
	require.NoError(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b[:], at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// TestDamagedFiles flips bits in every file of a data directory (design 9): a member that
// starts has all that it ever acknowledged, and one that does not names the file and the
// way back. What has no meaning, such as room that a log has not used, is not noticed.
func TestDamagedFiles(t *testing.T) {
	const keys = 600
	cfg := testConfig(t)
	n := startNode(t, cfg)
	putMany(t, n, 0, keys-100)
	require.NoError(t, n.disk.engine().db.Flush())
	putMany(t, n, keys-100, keys)
	left := crashed(cfg, 100, 1)
	stopNode(t, n)
	refused := map[string]int{}
	for _, file := range filesIn(t, left.FS, "data") {
		info, err := left.FS.Stat(file)
		require.NoError(t, err)
		for _, at := range placesIn(info.Size()) {
			damaged := crashed(left, 100, 1)
			flipBit(t, damaged.FS, file, at)
			n, err := Start(damaged)
			if err == nil {
				checkMany(t, n, keys)
				stopNode(t, n)
				continue
			}
			refused[fileKind(file)]++
			name := file
			if slices.Contains([]string{"MANIFEST", "OPTIONS", "TRIGLOT"}, fileKind(file)) {
				name = "data/state" // and its kind, or what the engine makes of it: an earlier state
			}
			require.ErrorContains(t, err, name)
			require.Regexp(t, "restore (the file|that file|this member)", err.Error(), "%s at %d", file, at)
			require.NotContains(t, err.Error(), "\n")
		}
	}
	require.Subset(t, keysOf(refused), []string{"member.json", "TRIGLOT", "MANIFEST", "OPTIONS", ".sst", ".seg"}, refused)
}

// placesIn are some places in a file of a size, its ends among them, and more near its
// start than elsewhere.
func placesIn(size int64) (at []int64) {
	for i := range int64(4) {
		at = append(at, 8*i, size*i/4)
	}
	at = append(at, size-1)
	var in []int64
	for _, a := range at {
		if a >= 0 && a < size {
			in = append(in, a)
		}
	}
	return in
}

// fileKind is what a file is, of which there may be several.
func fileKind(file string) string {
	name := path.Base(file)
	if kind, _, ok := strings.Cut(name, "-"); ok {
		return kind
	}
	if ext := path.Ext(name); ext == ".sst" || ext == ".seg" {
		return ext
	}
	return name
}

func keysOf(m map[string]int) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// TestDamageFoundLater: what is damaged and not read at the start ends the member when it
// is read; nobody gets what is wrong.
func TestDamageFoundLater(t *testing.T) {
	cfg := testConfig(t)
	cfg.Memory.RowCache, cfg.Memory.BlockCache = 1, 1
	n := startNode(t, cfg)
	noise := rand.NewChaCha8([32]byte{})
	value := make([]byte, 4<<10)
	_, _ = noise.Read(value) // never fails
	for i := range 200 {
		put(t, n, fmt.Sprintf("k%03d", i), string(value))
	}
	stopNode(t, n)
	n = startNode(t, cfg)
	for _, file := range filesIn(t, cfg.FS, "data/state") {
		if info, err := cfg.FS.Stat(file); err == nil && path.Ext(file) == ".sst" && info.Size() > 100<<10 {
			flipBit(t, cfg.FS, file, info.Size()/2)
		}
	}
	var failed error
	for i := 0; i < 200 && failed == nil; i++ {
		v, err := n.View(testContext(t), core.Principal{}, core.Consistency{})
		require.NoError(t, err)
		var res core.RangeResult
		if res, failed = v.Range(context.Background(), &core.Range{Interval: core.Interval{Key: fmt.Appendf(nil, "k%03d", i)}}); failed == nil {
			require.Equal(t, value, res.KVs[0].Value)
		}
		v.Close()
	}
	require.Error(t, failed)
	err := <-n.Failed()
	require.ErrorContains(t, err, "engine: corrupt file data/state/")
	require.ErrorContains(t, err, "restore this member from a peer or a backup")
	_ = n.Stop(context.Background()) // what the engine makes of it is of no interest
}
