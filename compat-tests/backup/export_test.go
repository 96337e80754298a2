package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/server"
)

// fileStatus is what `etcdutl snapshot status` says of a file.
type fileStatus struct {
	Revision  int64  `json:"revision"`
	TotalKey  int    `json:"totalKey"`
	TotalSize int64  `json:"totalSize"`
	Version   string `json:"version"`
}

func statusOf(t *testing.T, file string) (s fileStatus) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(mustRun(t, "etcdutl", "snapshot", "status", file, "-w", "json")), &s))
	return s
}

// TestOutOfTriglot: whatever Triglot held can be read of a stock etcd that etcd's own
// tools made of its snapshot, every revision of it; and both go on alike.
func TestOutOfTriglot(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			ours := start(t, server.Triglot, "")
			client := connect(t, ours, "")
			fill(t, client, seed, 300)
			fillAuth(t, client)
			file := save(t, ours, "")
			want := dumpOf(t, client)
			require.NotEmpty(t, want.Events)

			status := statusOf(t, file)
			require.Equal(t, want.Revision, status.Revision)
			require.Equal(t, "3.7.0", status.Version)

			dir := restoreTheirs(t, file)
			etcd := start(t, server.Etcd, dir)
			theirs := connect(t, etcd, "")
			require.Empty(t, cmp.Diff(want, dumpOf(t, theirs)))
			requireGoesOnAlike(t, client, theirs)

			// A start builds etcd's index anew from the rows.
			require.NoError(t, etcd.Terminate())
			require.NoError(t, etcd.Restart(deadline(t)))
			requireGoesOnAlike(t, client, connect(t, etcd, ""))
		})
	}
}

// requireGoesOnAlike writes every key on both, whose versions and revisions must
// follow from what was there.
func requireGoesOnAlike(t *testing.T, a, b *clientv3.Client) {
	t.Helper()
	ctx := deadline(t)
	all, err := a.Get(ctx, "\x00", clientv3.WithFromKey())
	require.NoError(t, err)
	written := func(c *clientv3.Client) (out []string) {
		for _, kv := range all.Kvs {
			_, err := c.Put(ctx, string(kv.Key), "again")
			require.NoError(t, err)
		}
		res, err := c.Get(ctx, "\x00", clientv3.WithFromKey())
		require.NoError(t, err)
		for _, kv := range res.Kvs {
			out = append(out, text(kv))
		}
		return out
	}
	require.Equal(t, written(a), written(b))
}

// TestAuthOutOfTriglot: who could log in at Triglot can at etcd, with the same
// password, and may do the same.
func TestAuthOutOfTriglot(t *testing.T) {
	ours := start(t, server.Triglot, "")
	client := connect(t, ours, "")
	fillAuth(t, client)
	_, err := client.Put(deadline(t), "k/a", "1")
	require.NoError(t, err)
	_, err = client.AuthEnable(deadline(t))
	require.NoError(t, err)

	refused := run(t, "etcdctl", "--endpoints", ours.Endpoint(), "--user", "alice:alice", "snapshot", "save", filepath.Join(t.TempDir(), "x"))
	require.NotZero(t, refused.status)
	require.Contains(t, refused.errOut, "permission denied")

	file := save(t, ours, "root")
	want := dumpOf(t, connect(t, ours, "root"))
	etcd := start(t, server.Etcd, restoreTheirs(t, file))
	require.Empty(t, cmp.Diff(want, dumpOf(t, connect(t, etcd, "root"))))
	alice := connect(t, etcd, "alice")
	_, err = alice.Put(deadline(t), "k/b", "1")
	require.ErrorContains(t, err, "permission denied")
}

// TestRoundTrip: out of Triglot and into another, with the rows that etcd has no
// place for.
func TestRoundTrip(t *testing.T) {
	ours := start(t, server.Triglot, "")
	client := connect(t, ours, "")
	fill(t, client, 7, 300)
	hash, err := client.HashKV(deadline(t), ours.Endpoint(), 0)
	require.NoError(t, err)
	file := save(t, ours, "")
	want := dumpOf(t, client)
	again := start(t, server.Triglot, restoreOurs(t, file))
	restored := connect(t, again, "")
	rehash, err := restored.HashKV(deadline(t), again.Endpoint(), 0)
	require.NoError(t, err)
	require.Equal(t, hash.HashRevision, rehash.HashRevision)
	require.Equal(t, hash.Hash, rehash.Hash, "times of versions included")
	require.Empty(t, cmp.Diff(want, dumpOf(t, restored)))
}

// TestSaveUnderLoad saves a store of many keys while others write: no put waits long,
// memory stays bounded, and the file is one moment of the store.
func TestSaveUnderLoad(t *testing.T) {
	const rows = 200_000
	ours := start(t, server.Triglot, "")
	client := connect(t, ours, "")
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	load(ctx, t, client, rows)
	quiet := latencies(ctx, t, client, func() { <-time.After(time.Second) })
	before := residentBytes(t, ours)
	var file string
	busy := latencies(ctx, t, client, func() { file = save(t, ours, "") })
	after := residentBytes(t, ours)

	t.Logf("puts beside a snapshot of %d keys: p99 %v (%v without), %d puts; resident %d MiB before, peak %d MiB",
		rows, p99(busy), p99(quiet), len(busy), before>>20, after>>20)
	status := statusOf(t, file)
	require.GreaterOrEqual(t, status.TotalKey, rows)
	require.Less(t, p99(busy), time.Second)
	require.Less(t, after-before, int64(400<<20))
}

// load writes many small keys.
func load(ctx context.Context, t *testing.T, c *clientv3.Client, rows int) {
	t.Helper()
	const atOnce, writers = 100, 8
	var wait sync.WaitGroup
	errs := make(chan error, writers)
	for w := range writers {
		wait.Go(func() {
			for from := w * atOnce; from < rows; from += writers * atOnce {
				ops := make([]clientv3.Op, 0, atOnce)
				for i := from; i < from+atOnce; i++ {
					ops = append(ops, clientv3.OpPut(fmt.Sprintf("load/%08d", i), strings.Repeat("v", 64)))
				}
				if _, err := c.Txn(ctx).Then(ops...).Commit(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wait.Wait()
	select {
	case err := <-errs:
		require.NoError(t, err)
	default:
	}
}

// latencies are those of the puts of four writers while fn runs.
func latencies(ctx context.Context, t *testing.T, c *clientv3.Client, fn func()) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for w := range 4 {
		wait.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				begin := time.Now()
				_, err := c.Put(ctx, fmt.Sprintf("beside/%d", w), strconv.Itoa(i))
				mu.Lock()
				all = append(all, time.Since(begin))
				failed = err
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	fn()
	close(stop)
	wait.Wait()
	require.NoError(t, failed)
	require.NotEmpty(t, all)
	return all
}

func p99(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)*99/100]
}

// residentBytes is the most that a process has had in memory.
func residentBytes(t *testing.T, p *server.Process) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			require.NoError(t, err)
			return kib << 10
		}
	}
	require.Fail(t, "the system does not tell")
	return 0
}
