//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// TestUpgradeOfALoneMember: a data directory that the previous release has written is
// opened, after SIGTERM and after kill -9, with all keys and their past, znodes, leases and
// sessions; the member can then have another one beside it.
func TestUpgradeOfALoneMember(t *testing.T) {
	t.Parallel()
	program := previousRelease(t)
	for name, end := range map[string]func(*ensemble.Member) error{"SIGTERM": (*ensemble.Member).Terminate, "kill -9": (*ensemble.Member).Kill} {
		t.Run(name, func(t *testing.T) {
			_, c := begin(t, ensemble.Options{Size: 1, Tick: tick, Programs: []string{program}})
			ctx := contextOf(t, 2*time.Minute)
			m := c.Members[0]
			client := etcdClient(t, m.EtcdEndpoint())
			lease, conn := writeAll(t, ctx, client, m)
			session := conn.SessionID()
			before := allOf(t, ctx, client, m, lease)

			require.NoError(t, end(m))
			m.Program = ""
			require.NoError(t, m.Restart(ctx))
			after := allOf(t, ctx, client, m, lease)
			require.Equal(t, before, after)
			require.Greater(t, len(after), 300, "there was something")
			there, stat, err := conn.Exists(owned + "/mine")
			for err != nil && ctx.Err() == nil { // it reconnects by itself
				there, stat, err = conn.Exists(owned + "/mine")
			}
			require.True(t, there)
			require.Equal(t, session, conn.SessionID())
			require.Equal(t, session, stat.EphemeralOwner)

			require.NoError(t, conn.AddAuth("digest", []byte("me:pw")))
			require.NoError(t, conn.Delete("/guarded", 0))
			_, err = client.Revoke(ctx, lease)
			require.NoError(t, err)
			conn.Close()
			resp, err := client.Get(ctx, "/leased/", clientv3.WithPrefix())
			require.NoError(t, err)
			require.Zero(t, resp.Count)
			// Nobody is told the hash of what only some may see, or might.
			_, err = client.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical())
			require.NoError(t, err)
			joined, err := c.Join(func(_, url string) error { _, err := client.MemberAdd(ctx, []string{url}); return err })
			require.NoError(t, err)
			require.NoError(t, c.AwaitAll(ctx))
			requireSameHash(t, ctx, client, m, joined)
		})
	}
}

// previousRelease is the program of the previous release. What was unpacked from a tarball
// has no history to build it from.
func previousRelease(t *testing.T) string {
	t.Helper()
	if kind, err := ensemble.KindFromEnv(); err != nil || kind != ensemble.Triglot {
		t.Skip("of Triglot alone")
	}
	program, err := previousProgram()
	if errors.Is(err, errNoHistory) {
		t.Skipf("the previous release cannot be built: %v", err)
	}
	require.NoError(t, err)
	return program
}

// writeAll writes some of everything: keys with a past that is compacted in part, leases,
// users, znodes of several kinds, and a session with an ephemeral, whose client is returned.
func writeAll(t *testing.T, ctx context.Context, client *clientv3.Client, m *ensemble.Member) (clientv3.LeaseID, *zk.Conn) {
	t.Helper()
	var rev int64
	for i := range 300 {
		resp, err := client.Put(ctx, fmt.Sprintf("/k/%d", i%100), strings.Repeat(fmt.Sprint(i), 50))
		require.NoError(t, err)
		rev = resp.Header.Revision
	}
	_, err := client.Delete(ctx, "/k/7")
	require.NoError(t, err)
	_, err = client.Compact(ctx, rev-150, clientv3.WithCompactPhysical())
	require.NoError(t, err)
	lease, err := client.Grant(ctx, 1000)
	require.NoError(t, err)
	for i := range 20 {
		_, err = client.Put(ctx, fmt.Sprintf("/leased/%d", i), "x", clientv3.WithLease(lease.ID))
		require.NoError(t, err)
	}
	_, err = client.UserAdd(ctx, "somebody", "secret")
	require.NoError(t, err)
	conn, _, err := zkConnect(ctx, liveTimeout, m.ZKEndpoint())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	for _, root := range []string{contested, owned, "/seq"} {
		_, err := conn.Create(root, []byte(root), 0, openACL)
		require.NoError(t, err)
	}
	for i := range 200 {
		_, err := conn.Create("/seq/n-", fmt.Append(nil, i), zk.FlagSequence, openACL)
		require.NoError(t, err)
		_, err = conn.Set(contested, fmt.Append(nil, i), int32(i))
		require.NoError(t, err)
	}
	_, err = conn.Create("/guarded", nil, 0, zk.DigestACL(zk.PermAll, "me", "pw"))
	require.NoError(t, err)
	_, err = conn.Create(owned+"/mine", []byte("m"), zk.FlagEphemeral, openACL)
	require.NoError(t, err)
	return lease.ID, conn
}

// allOf is all that clients can see of a member, a line for each thing.
func allOf(t *testing.T, ctx context.Context, client *clientv3.Client, m *ensemble.Member, lease clientv3.LeaseID) (lines []string) {
	t.Helper()
	var resp *clientv3.GetResponse
	for _, prefix := range []string{mount + "/seq", mount + contested, "/leased/", "/k/"} {
		eventually(t, ctx, func(ctx context.Context) (err error) {
			resp, err = client.Get(ctx, prefix, clientv3.WithPrefix())
			return err
		})
		for _, kv := range resp.Kvs {
			lines = append(lines, kv.String())
		}
	}
	lines = append(lines, fmt.Sprint("revision ", resp.Header.Revision))
	past, err := client.Get(ctx, "/k/", clientv3.WithPrefix(), clientv3.WithRev(resp.Kvs[0].ModRevision-10))
	require.NoError(t, err)
	for _, kv := range past.Kvs {
		lines = append(lines, "past "+kv.String())
	}
	ttl, err := client.TimeToLive(ctx, lease, clientv3.WithAttachedKeys())
	require.NoError(t, err)
	require.Positive(t, ttl.TTL)
	lines = append(lines, fmt.Sprintf("lease of %d: %q", ttl.GrantedTTL, ttl.Keys))
	users, err := client.UserList(ctx)
	require.NoError(t, err)
	lines = append(lines, fmt.Sprint("users ", users.Users))
	members, err := client.MemberList(ctx)
	require.NoError(t, err)
	lines = append(lines, fmt.Sprint("members ", members.Header.ClusterId, members.Members))
	conn, _, err := zkConnect(ctx, liveTimeout, m.ZKEndpoint())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.AddAuth("digest", []byte("me:pw")))
	for _, path := range []string{contested, "/seq", "/guarded", "/seq/n-0000000007", owned + "/mine"} {
		data, stat, err := conn.Get(path)
		require.NoError(t, err, path)
		acl, _, err := conn.GetACL(path)
		require.NoError(t, err, path)
		lines = append(lines, fmt.Sprintf("%s %q %+v %v", path, data, *stat, acl))
	}
	return lines
}

// requireSameHash compares members at one revision, each once it has it.
func requireSameHash(t *testing.T, ctx context.Context, client *clientv3.Client, members ...*ensemble.Member) {
	t.Helper()
	var resp *clientv3.GetResponse
	eventually(t, ctx, func(ctx context.Context) (err error) {
		resp, err = client.Get(ctx, "/")
		return err
	})
	hashes := map[uint32]bool{}
	for _, m := range members {
		eventually(t, ctx, func(ctx context.Context) error {
			hash, err := client.HashKV(ctx, m.EtcdEndpoint(), resp.Header.Revision)
			if err == nil {
				hashes[hash.Hash] = true
			}
			return err
		})
	}
	require.Len(t, hashes, 1)
}

// TestRollingUpgrade: members of two versions are one cluster, and are replaced one after
// the other under load, with all that TestRollingRestart wants.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	if kind, err := ensemble.KindFromEnv(); err != nil || kind != ensemble.Triglot {
		t.Skip("of Triglot alone")
	}
	other, err := otherProgram()
	require.NoError(t, err)
	random, c := begin(t, ensemble.Options{Tick: tick, Programs: []string{"", other}})
	f := &faults{cluster: c, random: random, rest: 300 * time.Millisecond}
	f.plan = restarts(c.Members, "SIGTERM", func(m *ensemble.Member) error {
		m.Program = other
		return m.Terminate()
	})
	rolls(t, "upgrade", c, f)
	for _, m := range c.Members {
		require.Contains(t, m.Log(), otherVersion)
	}
}

// What is of the future is refused with one line. A peer of another version is
// tested in core/peer (TestVersionsThatDoNotMeet, TestVersionsAgree), the log's format in
// storage/raftlog (TestNewerFormat), the state's in storage
// (TestOpenRefusesADirectoryThatIsNotOurs); here the whole process.
func TestADirectoryOfTheFutureIsRefused(t *testing.T) {
	_, c := begin(t, ensemble.Options{Size: 1, Tick: tick})
	if c.Kind != ensemble.Triglot {
		t.Skip("of Triglot alone")
	}
	ctx := contextOf(t, time.Minute)
	m := c.Members[0]
	require.NoError(t, m.Terminate())
	var marker string
	require.NoError(t, filepath.WalkDir(m.DataDir(), func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) == "TRIGLOT" {
			marker = path
		}
		return err
	}))
	require.NotEmpty(t, marker)
	text, err := os.ReadFile(marker)
	require.NoError(t, err)
	future := strings.Replace(string(text), "format 1", "format 9", 1)
	require.NotEqual(t, string(text), future)
	require.NoError(t, os.WriteFile(marker, []byte(future), 0o600))
	logged := len(m.Log())
	require.ErrorContains(t, m.Restart(ctx), "exit status 1")
	last := strings.Split(strings.TrimSpace(m.Log()[logged:]), "\n")
	require.Contains(t, last[len(last)-1], "has state format 9, this program knows 1; run the program version that wrote it")
	require.NoError(t, m.Kill())
	require.NoError(t, os.WriteFile(marker, text, 0o600))
	require.NoError(t, m.Restart(ctx), "nothing was changed")
}
