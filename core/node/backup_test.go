package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/etcdfile"
)

// write runs random commands whose effect does not depend on a clock.
func write(t *testing.T, n *Node, seed uint64, steps int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	key := func() []byte { return fmt.Appendf(nil, "key %d", r.IntN(20)) }
	for range steps {
		var cmd core.Command
		switch r.IntN(6) {
		case 0:
			cmd = &core.DeleteRange{Interval: core.Interval{Key: key()}}
		case 1:
			cmd = &core.DeleteRange{Interval: core.Interval{Key: key(), End: key()}}
		case 2:
			a, b := core.Op{Put: &core.Put{Key: []byte("z"), Value: key()}}, core.Op{Put: &core.Put{Key: []byte("a"), Value: key()}}
			cmd = &core.Txn{Then: []core.Op{a, b}}
		default:
			cmd = &core.Put{Key: key(), Value: fmt.Append(nil, r.Uint64())}
		}
		_, err := n.Do(testContext(t), core.Principal{}, cmd)
		require.NoError(t, err)
	}
}

func hashKV(t *testing.T, n *Node, rev core.Rev) core.KVHash {
	t.Helper()
	h, err := n.HashKV(testContext(t), core.Principal{}, rev)
	require.NoError(t, err)
	return h
}

// TestHashKVOutlivesHistory: etcd T-92.
func TestHashKVOutlivesHistory(t *testing.T) {
	for seed := range uint64(5) {
		cfg := testConfig(t)
		n := startNode(t, cfg)
		write(t, n, seed, 60)
		current := n.published.rev()
		at := current - core.Rev(seed*7)
		want := hashKV(t, n, at)
		require.Equal(t, core.KVHash{Hash: want.Hash, CompactRev: -1, Rev: at, Current: current}, want)
		_, err := n.HashKV(testContext(t), core.Principal{}, current+1)
		require.ErrorIs(t, err, core.FutureRev)

		_, err = n.Do(testContext(t), core.Principal{}, &core.Compact{Rev: at})
		require.NoError(t, err)
		compacted := core.KVHash{Hash: want.Hash, CompactRev: at, Rev: at, Current: current}
		require.Equal(t, compacted, hashKV(t, n, at))
		require.NoError(t, n.WaitCompacted(testContext(t), at))
		require.Equal(t, compacted, hashKV(t, n, at))
		_, err = n.HashKV(testContext(t), core.Principal{}, at-1)
		require.ErrorIs(t, err, core.Compacted)
		now := hashKV(t, n, 0)
		require.Equal(t, current, now.Rev)

		stopNode(t, n)
		n = startNode(t, cfg)
		require.Equal(t, compacted, hashKV(t, n, at))
		require.Equal(t, now, hashKV(t, n, 0))
		put(t, n, "one more", "")
		require.Equal(t, compacted.Hash, hashKV(t, n, at).Hash)
		require.NotEqual(t, now.Hash, hashKV(t, n, 0).Hash)
		stopNode(t, n)
	}
}

// TestHashesTellStoresApart: two stores with the same history have the same hashes,
// and one row more, or another value, makes another hash.
func TestHashesTellStoresApart(t *testing.T) {
	sums := func(change func(n *Node)) (uint32, uint32) {
		n := startNode(t, testConfig(t))
		defer stopNode(t, n)
		write(t, n, 1, 40)
		put(t, n, "last", "value")
		change(n)
		all, rev, err := n.Hash(testContext(t), core.Principal{})
		require.NoError(t, err)
		require.Equal(t, n.published.rev(), rev)
		return all, hashKV(t, n, 0).Hash
	}
	_, kv := sums(func(*Node) {})
	_, same := sums(func(*Node) {})
	require.Equal(t, kv, same)
	_, other := sums(func(n *Node) { put(t, n, "last", "other") })
	require.NotEqual(t, kv, other)

	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	require.NoError(t, n.Ready(testContext(t))) // it changes its own state no more
	before, _, err := n.Hash(testContext(t), core.Principal{})
	require.NoError(t, err)
	again, _, err := n.Hash(testContext(t), core.Principal{})
	require.NoError(t, err)
	require.Equal(t, before, again)
	_, err = n.Do(testContext(t), core.Principal{}, &core.LeaseGrant{ID: 7, TTL: time.Hour})
	require.NoError(t, err)
	after, _, err := n.Hash(testContext(t), core.Principal{})
	require.NoError(t, err)
	require.NotEqual(t, before, after, "a lease is a part of the state")
}

func TestHashEndsWithItsCaller(t *testing.T) {
	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	n.upkeep.backups.hashing <- struct{}{} // somebody else's
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := n.HashKV(ctx, core.Principal{}, 0)
	require.ErrorIs(t, err, core.Canceled)
	n.upkeep.backups.hashing.release()
}

// diskConfig is testConfig on the real file system.
func diskConfig(t testing.TB) Config {
	cfg := testConfig(t)
	cfg.FS, cfg.DataDir = storage.DefaultFS, filepath.Join(t.TempDir(), "data")
	return cfg
}

// snapshotOf takes a snapshot and reads it.
func snapshotOf(t *testing.T, n *Node) *etcdfile.Reader {
	t.Helper()
	s, err := n.Snapshot(testContext(t), core.Principal{})
	require.NoError(t, err)
	b, err := io.ReadAll(s.Body)
	require.NoError(t, err)
	require.NoError(t, s.Body.Close())
	require.Len(t, b, int(s.Size))
	require.Zero(t, s.Size%512)
	r, err := etcdfile.NewReader(bytes.NewReader(b), s.Size, etcdfile.HashIgnored)
	require.NoError(t, err)
	return r
}

// rowsOf are the versions of a snapshot, with those of the leases.
func rowsOf(t *testing.T, r *etcdfile.Reader) (out []string) {
	t.Helper()
	require.NoError(t, r.Versions(func(v *etcdfile.Version) error {
		if v.Tombstone {
			out = append(out, fmt.Sprintf("%d.%d delete %s", v.Main, v.Sub, v.Key))
		} else {
			out = append(out, fmt.Sprintf("%d.%d %s=%s c%d v%d l%d", v.Main, v.Sub, v.Key, v.Value, v.CreateRev, v.Version, v.Lease))
		}
		return nil
	}))
	return out
}

// TestSnapshotCountsAsEtcdDoes: a revision leaves one version of a key here, and etcd
// counts rows; nothing that ZooKeeper wrote may throw it out.
func TestSnapshotCountsAsEtcdDoes(t *testing.T) {
	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	ref := openSession(t, n, 9, time.Minute)
	zk := func(ops ...core.ZnodeOp) {
		for i := range ops {
			ops[i].Version, ops[i].OpenACL = core.AnyVersion, true
		}
		res, err := n.Do(testContext(t), core.Principal{}, &core.ZnodeWrite{Session: ref, Ops: ops})
		require.NoError(t, err)
		require.NotNil(t, res.Outcome)
	}
	begin := n.published.rev()
	create := func(path, data string) core.ZnodeOp {
		return core.ZnodeOp{Type: core.ZnodeCreate, Path: path, Data: []byte(data)}
	}
	set := func(path, data string) core.ZnodeOp {
		return core.ZnodeOp{Type: core.ZnodeSetData, Path: path, Data: []byte(data)}
	}
	remove := func(path string) core.ZnodeOp { return core.ZnodeOp{Type: core.ZnodeDelete, Path: path} }
	zk(create("/b", "1"), create("/a", "1"))
	zk(set("/b", "2"), set("/b", "3"), set("/b", "4"))
	zk(remove("/b"), create("/b", "5"), set("/b", "6"))
	require.NoError(t, createEphemeral(t, n, ref, "/e"))
	rev := begin + 4
	require.Equal(t, rev, n.published.rev())

	want := []string{
		fmt.Sprintf("%d.0 /zk/b=1 c%d v1 l0", begin+1, begin+1),
		fmt.Sprintf("%d.1 /zk/a=1 c%d v1 l0", begin+1, begin+1),
		fmt.Sprintf("%d.0 /zk/b=4 c%d v2 l0", begin+2, begin+1),
		fmt.Sprintf("%d.1 /zk/b=4 c%d v3 l0", begin+2, begin+1),
		fmt.Sprintf("%d.2 /zk/b=4 c%d v4 l0", begin+2, begin+1),
		fmt.Sprintf("%d.0 delete /zk/b", begin+3),
		fmt.Sprintf("%d.1 /zk/b=6 c%d v1 l0", begin+3, begin+3),
		fmt.Sprintf("%d.2 /zk/b=6 c%d v2 l0", begin+3, begin+3),
		fmt.Sprintf("%d.0 /zk/e=me c%d v1 l9", begin+4, begin+4),
	}
	require.Equal(t, want, rowsOf(t, snapshotOf(t, n)))

	// The lowest revisions lose their order with their changes.
	_, err := n.Do(testContext(t), core.Principal{}, &core.Compact{Rev: rev - 1})
	require.NoError(t, err)
	require.NoError(t, n.WaitCompacted(testContext(t), rev-1))
	r := snapshotOf(t, n)
	require.Equal(t, []string{
		fmt.Sprintf("%d.0 /zk/a=1 c%d v1 l0", begin+1, begin+1),
		fmt.Sprintf("%d.0 /zk/b=6 c%d v2 l0", begin+3, begin+3),
		want[8],
	}, rowsOf(t, r))
	meta, err := r.Meta()
	require.NoError(t, err)
	require.EqualValues(t, rev-1, meta.FinishedCompact)
	var leases []etcdfile.Lease
	require.NoError(t, r.Leases(func(l *etcdfile.Lease) error { leases = append(leases, *l); return nil }))
	require.Equal(t, []etcdfile.Lease{{ID: 9, TTL: 60}}, leases)
}

// TestSnapshotKeepsTheRevision: what the last revisions wrote may be gone.
func TestSnapshotKeepsTheRevision(t *testing.T) {
	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	require.Empty(t, rowsOf(t, snapshotOf(t, n)), "a fresh etcd has no rows")
	put(t, n, "a", "1")
	_, err := n.Do(testContext(t), core.Principal{}, &core.DeleteRange{Interval: core.Interval{Key: []byte("a")}})
	require.NoError(t, err)
	rev := n.published.rev()
	require.Equal(t, []string{"2.0 a=1 c2 v1 l0", "3.0 delete a"}, rowsOf(t, snapshotOf(t, n)))
	_, err = n.Do(testContext(t), core.Principal{}, &core.Compact{Rev: rev})
	require.NoError(t, err)
	require.NoError(t, n.WaitCompacted(testContext(t), rev))
	require.Equal(t, []string{"3.0 delete a"}, rowsOf(t, snapshotOf(t, n)), "a watch may begin at the compacted revision")
}

func TestSnapshotsLeaveNothingBehind(t *testing.T) {
	cfg := diskConfig(t)
	n := startNode(t, cfg)
	write(t, n, 1, 10)
	left := func() []os.DirEntry {
		entries, err := os.ReadDir(filepath.Join(cfg.DataDir, backupName))
		require.NoError(t, err)
		return entries
	}
	// As many as there may be, each held open.
	var open []core.Snapshot
	for range maxSnapshots {
		s, err := n.Snapshot(testContext(t), core.Principal{})
		require.NoError(t, err)
		open = append(open, s)
		require.Empty(t, left(), "an open file needs no name")
	}
	_, err := n.Snapshot(testContext(t), core.Principal{})
	require.ErrorIs(t, err, core.TooManyRequests)
	for _, s := range open {
		require.NoError(t, s.Body.Close())
		require.NoError(t, s.Body.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.upkeep.backups.making <- struct{}{}
	cancel()
	_, err = n.Snapshot(ctx, core.Principal{})
	require.ErrorIs(t, err, core.Canceled)
	n.upkeep.backups.making.release()
	require.NotEmpty(t, rowsOf(t, snapshotOf(t, n)))
	stopNode(t, n)

	// A process that was killed leaves what it was at.
	lost := filepath.Join(cfg.DataDir, backupName, "1234")
	require.NoError(t, os.MkdirAll(lost, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(lost, "run-00000"), []byte("x"), 0o600))
	n = startNode(t, cfg)
	require.NoDirExists(t, filepath.Join(cfg.DataDir, backupName))
	stopNode(t, n)
}

// TestStopEndsBackups: whoever waits for one, or is at it, lets the member go.
func TestStopEndsBackups(t *testing.T) {
	n := startNode(t, testConfig(t))
	var ops []core.Op
	for i := range 300 {
		ops = append(ops, core.Op{Put: &core.Put{Key: fmt.Appendf(nil, "%d", i)}})
	}
	for range 10 {
		_, err := n.Do(testContext(t), core.Principal{}, &core.Txn{Then: ops})
		require.NoError(t, err)
	}
	const callers = 6 // some of them get no slot
	errs := make(chan error, callers)
	for range callers {
		go func() {
			s, err := n.Snapshot(testContext(t), core.Principal{})
			if err == nil {
				err = s.Body.Close()
			}
			errs <- err
		}()
	}
	require.Eventually(t, func() bool { return len(n.upkeep.backups.making) > 0 || len(errs) > 0 }, 10*time.Second, time.Millisecond)
	stopNode(t, n)
	for range callers {
		if err := <-errs; err != nil && !errors.Is(err, core.TooManyRequests) {
			require.ErrorIs(t, err, core.Stopped)
		}
	}
	require.Empty(t, n.upkeep.backups.slots)
	_, err := n.Snapshot(testContext(t), core.Principal{})
	require.ErrorIs(t, err, core.Stopped)
}

// TestSnapshotNeedsRoom: the message says what to do.
func TestSnapshotNeedsRoom(t *testing.T) {
	cfg := testConfig(t)
	disk := &fullDisk{FS: cfg.FS}
	cfg.FS = disk
	n := startNode(t, cfg)
	defer stopNode(t, n)
	require.NotNil(t, snapshotOf(t, n))
	disk.full.Store(true)
	_, err := n.Snapshot(testContext(t), core.Principal{})
	require.ErrorContains(t, err, "make room")
	require.Empty(t, n.upkeep.backups.slots)
}

// fullDisk has no room once it is full.
type fullDisk struct {
	storage.FS
	full atomic.Bool
}

func (d *fullDisk) GetDiskUsage(path string) (storage.DiskUsage, error) {
	if d.full.Load() {
		return storage.DiskUsage{}, nil
	}
	return d.FS.GetDiskUsage(path)
}
