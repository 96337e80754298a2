package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/backup"
	"github.com/triglot/triglot/storage"
)

// testdata/etcdutl is of a data directory that etcdutl 3.7.3 has made, with --name m1
// and --initial-advertise-peer-urls http://127.0.0.1:2380, of a store at revision 6.
const restoredRev = 6

func writeFile(t testing.TB, fs storage.FS, path string, content []byte) {
	f, err := fs.Create(path, markerCategory)
	require.NoError(t, err)
	_, err = f.Write(content)
	require.NoError(t, errors.Join(err, f.Sync(), f.Close()))
}

func testdata(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join("testdata", "etcdutl", name))
	require.NoError(t, err)
	return b
}

const walName = "0000000000000000-0000000000000000.wal"

// restoredConfig is a member on what etcdutl has made.
func restoredConfig(t testing.TB) Config {
	cfg := testConfig(t)
	cfg.Name = "m1"
	cfg.Cluster.AdvertisePeerURLs = []string{"http://127.0.0.1:2380"}
	for _, dir := range []string{"data/member/snap", "data/member/wal"} {
		require.NoError(t, makeDir(cfg.FS, dir))
	}
	writeFile(t, cfg.FS, "data/member/snap/db", testdata(t, "db"))
	writeFile(t, cfg.FS, "data/member/wal/"+walName, testdata(t, walName))
	for _, dir := range []string{"data/member/snap", "data/member/wal"} {
		require.NoError(t, syncDir(cfg.FS, dir))
	}
	return cfg
}

// checkTakenOver wants the store of the fixture, and writes to it.
func checkTakenOver(t *testing.T, n *Node, rev core.Rev) {
	require.Equal(t, "2", get(t, n, "a"))
	require.Equal(t, "hello", get(t, n, "/zk/x/y"))
	require.Equal(t, "<none>", get(t, n, "b"))
	v, err := n.View(testContext(t), core.Principal{}, core.Consistency{})
	require.NoError(t, err)
	defer v.Close()
	z, err := v.Znodes().Znode("/x/y", 0)
	require.NoError(t, err)
	require.Equal(t, core.Rev(4), z.Czxid)
	require.Equal(t, rev+1, put(t, n, "new", "1"))
}

// TestTakeOver: a start on what etcdutl has made goes on with that store, and a second
// one with what was written since.
func TestTakeOver(t *testing.T) {
	cfg := restoredConfig(t)
	n := startNode(t, cfg)
	checkTakenOver(t, n, restoredRev)
	id := n.Status()
	stopNode(t, n)
	names, err := cfg.FS.List("data")
	require.NoError(t, err)
	require.Contains(t, names, "member.etcd")
	require.NotContains(t, names, "member")
	require.NotContains(t, names, foundName)

	n = startNode(t, cfg)
	checkTakenOver(t, n, restoredRev+1)
	require.Equal(t, id.ClusterID, n.Status().ClusterID)
	require.Equal(t, id.Member, n.Status().Member)
	stopNode(t, n)
}

// TestUnfinishedTakeover: a crash at any moment of the first start leaves a directory
// in which the next one goes on with etcd's store, and never with an empty one.
func TestUnfinishedTakeover(t *testing.T) {
	for percent := 0; percent <= 100; percent += 50 {
		cfg := restoredConfig(t)
		fs := cfg.FS.(*storage.MemFS)
		var mu sync.Mutex // the engine syncs on goroutines of its own
		var copies []*storage.MemFS
		cfg.FS = storage.WithFaults(fs, func(f storage.Fault) error {
			mu.Lock()
			defer mu.Unlock()
			if f.Sync {
				copies = append(copies, storage.CrashClone(fs, percent, uint64(len(copies))))
			}
			return nil
		})
		d, err := openDisk(ptr(cfg.withDefaults()), newMetrics(nil), func(err error) { require.NoError(t, err) })
		require.NoError(t, err)
		require.NoError(t, d.close())
		require.Greater(t, len(copies), 10)
		for i := percent / 50; i < len(copies); i += 3 { // each moment once is enough
			left := cfg
			left.FS = copies[i]
			n := startNode(t, left)
			checkTakenOver(t, n, restoredRev)
			stopNode(t, n)
		}
	}
}

// TestTakeoverRefuses lists what of etcd's is not taken over, and stays as it is.
func TestTakeoverRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, cfg *Config)
		want  string
	}{
		{"other flags", func(_ *testing.T, cfg *Config) { cfg.Cluster.Token = "other" }, "was restored for member"},
		{"no database", func(t *testing.T, cfg *Config) { require.NoError(t, cfg.FS.Remove("data/member/snap/db")) }, "has no member/snap/db"},
		{"no log", func(t *testing.T, cfg *Config) { require.NoError(t, cfg.FS.RemoveAll("data/member/wal")) }, "has no log in member/wal"},
		{"a damaged log", func(t *testing.T, cfg *Config) {
			b := testdata(t, walName)
			b[100] ^= 1
			writeFile(t, cfg.FS, "data/member/wal/"+walName, b)
		}, "the log is damaged"},
		{"a cut log", func(t *testing.T, cfg *Config) {
			writeFile(t, cfg.FS, "data/member/wal/"+walName, testdata(t, walName)[:150])
		}, "the log is cut short"},
		{"a cut database", func(t *testing.T, cfg *Config) {
			writeFile(t, cfg.FS, "data/member/snap/db", testdata(t, "db")[:8192])
		}, "damaged or cut short"},
		{"put aside before", func(t *testing.T, cfg *Config) { require.NoError(t, cfg.FS.MkdirAll("data/member.etcd", 0o700)) }, "holds both member and member.etcd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := restoredConfig(t)
			c.spoil(t, &cfg)
			before, err := cfg.FS.List("data")
			require.NoError(t, err)
			for range 2 {
				_, err := Start(cfg)
				require.ErrorContains(t, err, c.want)
				require.NotContains(t, err.Error(), "\n")
			}
			after, err := cfg.FS.List("data")
			require.NoError(t, err)
			require.ElementsMatch(t, before, after)
		})
	}
}

// TestRestoreLeavesAllOrNothing: wherever a restore fails, no directory is left that a
// member would start on, and a later restore succeeds.
func TestRestoreLeavesAllOrNothing(t *testing.T) {
	var failAt, seen int
	fault := errors.New("the disk is full")
	for failAt = 1; ; failAt++ {
		cfg := testConfig(t)
		fs := cfg.FS
		writeFile(t, fs, "backup.db", testdata(t, "db"))
		seen = 0
		cfg.FS = storage.WithFaults(fs, func(f storage.Fault) error {
			// An engine that cannot write ends the process, which is another test's.
			if f.Sync && !strings.Contains(f.Path, stateName) {
				if seen++; seen == failAt {
					return fault
				}
			}
			return nil
		})
		restore := RestoreConfig{File: "backup.db", SkipHash: true, Member: cfg}
		_, err := Restore(context.Background(), restore)
		if err == nil {
			break
		}
		require.ErrorContains(t, err, fault.Error())
		_, err = fs.Stat("data")
		require.ErrorIs(t, err, os.ErrNotExist)

		restore.Member.FS = fs
		s, err := Restore(context.Background(), restore)
		require.NoError(t, err)
		require.Equal(t, core.Rev(restoredRev), s.Rev)
		require.Equal(t, backup.ZnodesMissing, s.Znodes)
		left := testConfig(t)
		left.FS = fs
		n := startNode(t, left)
		checkTakenOver(t, n, restoredRev)
		stopNode(t, n)
	}
	require.Greater(t, failAt, 5)
}

// TestRestoreCluster: each member restores the same file, as with etcd, and they begin
// with the same state.
func TestRestoreCluster(t *testing.T) {
	c := newTestCluster(t, 3, func(_ int, cfg *Config) {
		writeFile(t, cfg.FS, "backup.db", testdata(t, "db"))
		_, err := Restore(context.Background(), RestoreConfig{File: "backup.db", SkipHash: true, Member: *cfg})
		require.NoError(t, err)
	})
	c.ready()
	c.requireSame()
	checkTakenOver(t, c.nodes[1], restoredRev)
	c.requireSame()
}

// TestRestoreInterrupted: one who gives up finds nothing half made.
func TestRestoreInterrupted(t *testing.T) {
	cfg := testConfig(t)
	writeFile(t, cfg.FS, "backup.db", testdata(t, "db"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Restore(ctx, RestoreConfig{File: "backup.db", SkipHash: true, Member: cfg})
	require.ErrorIs(t, err, context.Canceled)
	names, err := cfg.FS.List("")
	require.NoError(t, err)
	require.Equal(t, []string{"backup.db"}, names)
}

// TestRestoreBesideAnother: one that finds another at work on the same directory leaves
// that alone.
func TestRestoreBesideAnother(t *testing.T) {
	cfg := testConfig(t)
	writeFile(t, cfg.FS, "backup.db", testdata(t, "db"))
	other, err := openDataDir(cfg.FS, "data"+restoring)
	require.NoError(t, err)
	require.NoError(t, other.beginFounding())
	_, err = Restore(context.Background(), RestoreConfig{File: "backup.db", SkipHash: true, Member: cfg})
	require.ErrorContains(t, err, "in use by another process")
	_, err = cfg.FS.Stat(other.join(foundName))
	require.NoError(t, err)
	require.NoError(t, other.Close())
}
