package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/triglot/triglot/compat-tests/server"
)

// onlyTriglot leaves a test out that is of promises of ours alone.
func onlyTriglot(t *testing.T) {
	t.Helper()
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	if target == server.Etcd {
		t.Skip("etcd makes no such promise")
	}
}

// TestFullDisk fills a real file system to the last byte, the watermark being off: the
// process ends with one line that says why, and starts again where there is room, with all
// that it had acknowledged.
func TestFullDisk(t *testing.T) {
	onlyTriglot(t)
	disk := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, syscall.Mkdir(disk, 0o700))
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=96m"); errors.Is(err, syscall.EPERM) {
		t.Skip("only root may mount a file system: core/node's TestDiskFull has the same with one in memory")
	} else {
		require.NoError(t, err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })
	p := server.StartT(t, server.Options{Dir: t.TempDir(), Args: append(quickTicks,
		"--data-dir", filepath.Join(disk, "data"), "--low-disk-bytes", "-1", "--quota-backend-bytes", "-1")})
	ctx, cancel := context.WithTimeout(context.Background(), lifeTimeout)
	defer cancel()
	conn, err := dial(p.Endpoint())
	require.NoError(t, err)
	kv := etcdserverpb.NewKVClient(conn)
	noise := rand.NewChaCha8([32]byte{})
	value := make([]byte, 256<<10)
	acknowledged := 0
	for {
		_, _ = noise.Read(value) // never fails
		if _, err = kv.Put(ctx, &etcdserverpb.PutRequest{Key: fmt.Appendf(nil, "k%05d", acknowledged), Value: value}); err != nil {
			break
		}
		acknowledged++
	}
	require.Greater(t, acknowledged, 100)
	select {
	case <-p.Done():
	case <-ctx.Done():
		require.Fail(t, "the process goes on", "after %v: %s", err, p.LogTail())
	}
	require.NoError(t, conn.Close())
	requireLastLine(t, p, "no space left on device")

	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=1g"))
	require.NoError(t, p.Kill())
	require.NoError(t, p.Restart(ctx))
	conn, err = dial(p.Endpoint())
	require.NoError(t, err)
	resp, err := etcdserverpb.NewKVClient(conn).Range(ctx, &etcdserverpb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l"), CountOnly: true})
	require.NoError(t, err)
	require.GreaterOrEqual(t, int(resp.Count), acknowledged)
	require.LessOrEqual(t, int(resp.Count), acknowledged+1, "the one whose answer did not come")
	require.NoError(t, conn.Close())
	t.Logf("full after %d values", acknowledged)
}

// requireLastLine requires that a process ended with one line that says why: no panic, no
// dump of goroutines.
func requireLastLine(t *testing.T, p *server.Process, why string) {
	t.Helper()
	log := strings.TrimSpace(p.Log())
	require.NotRegexp(t, regexp.MustCompile(`(?m)^(panic|goroutine \d+|fatal error)`), log)
	last := log[strings.LastIndex(log, "\n")+1:]
	require.Contains(t, last, why)
	require.Regexp(t, "^triglot: ", last)
}

// TestPausedProcess stops a lone member for longer than a lease and a session live, as a
// machine that is suspended does: both have their time again, and end when nobody renews
// them (design 9).
func TestPausedProcess(t *testing.T) {
	onlyTriglot(t)
	p := server.StartT(t, server.Options{Dir: t.TempDir(), Args: append(quickTicks, "--zk-tick", "500ms")})
	ctx, cancel := context.WithTimeout(context.Background(), lifeTimeout)
	defer cancel()
	conn, err := dial(p.Endpoint())
	require.NoError(t, err)
	kv, leases := etcdserverpb.NewKVClient(conn), etcdserverpb.NewLeaseClient(conn)
	const ttl = 2 * time.Second
	lease, err := leases.LeaseGrant(ctx, &etcdserverpb.LeaseGrantRequest{TTL: int64(ttl.Seconds())})
	require.NoError(t, err)
	_, err = kv.Put(ctx, &etcdserverpb.PutRequest{Key: []byte("leased"), Lease: lease.ID})
	require.NoError(t, err)
	session, err := zkConnect(ctx, p.ZKEndpoint(), ttl)
	require.NoError(t, err)
	_, err = session.Create("/paused", nil, zk.FlagEphemeral, openACL)
	require.NoError(t, err)
	id := session.SessionID()

	require.NoError(t, p.Signal(syscall.SIGSTOP))
	<-time.After(3 * ttl)
	require.NoError(t, p.Signal(syscall.SIGCONT))

	left, err := leases.LeaseTimeToLive(ctx, &etcdserverpb.LeaseTimeToLiveRequest{ID: lease.ID})
	require.NoError(t, err)
	require.GreaterOrEqual(t, left.TTL, int64(0), "the lease ran out while nobody could renew it")
	exists := func(key string) bool {
		resp, err := kv.Range(ctx, &etcdserverpb.RangeRequest{Key: []byte(key), CountOnly: true})
		require.NoError(t, err)
		return resp.Count > 0
	}
	require.True(t, exists("leased"))
	require.True(t, exists("/zk/paused"))
	// The client comes back with its session, and the lease, which nobody renews, ends.
	require.Eventually(t, func() bool {
		_, _, err := session.Get("/paused")
		return err == nil
	}, 5*ttl, 50*time.Millisecond)
	require.Equal(t, id, session.SessionID())
	require.Eventually(t, func() bool { return !exists("leased") }, 5*ttl, 50*time.Millisecond)
	require.True(t, exists("/zk/paused"))
	session.Close()
	require.Eventually(t, func() bool { return !exists("/zk/paused") }, 5*ttl, 50*time.Millisecond)
	require.NoError(t, conn.Close())
}
