//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/ensemble"
	"github.com/triglot/triglot/compat-tests/server"
)

// Disks that are full, of real members on file systems of their own.

const (
	// wideDisk is room for a load.
	wideDisk = 512 << 20
	// narrowDisk is one that a load fills in seconds, preallocated the room that an etcd
	// takes at its start, for two files of its log.
	narrowDisk, preallocated = 128 << 20, 2 * 64 << 20
	// fillerBytes is the size of a filler's values.
	fillerBytes = 256 << 10
)

var noAlarm = []string{"--low-disk-bytes", "-1", "--quota-backend-bytes", "-1"}

// kindWithAlarms is the kind of server that is tested.
func kindWithAlarms(t *testing.T) ensemble.Kind {
	t.Helper()
	kind, err := ensemble.KindFromEnv()
	require.NoError(t, err)
	if !kind.Etcd() {
		t.Skip("ZooKeeper has no alarms")
	}
	return kind
}

// beginWatched is beginOnDisks of a server that looks at its disk.
func beginWatched(t *testing.T, bytes int64) *ensemble.Cluster {
	t.Helper()
	if kindWithAlarms(t) == ensemble.Etcd {
		t.Skip("etcd does not look at its disk")
	}
	return beginOnDisks(t, bytes)
}

// beginOnDisks is begin with a disk for each member.
func beginOnDisks(t *testing.T, bytes int64, ours ...string) *ensemble.Cluster {
	t.Helper()
	kind := kindWithAlarms(t)
	if err := ensemble.MayMount(); errors.Is(err, syscall.EPERM) {
		t.Skip("only root may mount file systems: core/node's TestDiskFull and TestLowDisk have the same of one member in memory")
	} else {
		require.NoError(t, err)
	}
	o := ensemble.Options{DiskBytes: bytes, Tick: tick}
	if kind == ensemble.Triglot {
		o.Args = ours
	} else {
		o.DiskBytes += preallocated
	}
	_, c := begin(t, o)
	return c
}

// filler writes values that cannot be compressed, each once, and knows those that were
// acknowledged.
type filler struct {
	name string
	put  func(ctx context.Context, key string, value []byte) error

	mu     sync.Mutex
	acked  map[string]uint32 // the values' checksums, by key
	errors []error
}

func newFiller(name string, put func(ctx context.Context, key string, value []byte) error) *filler {
	return &filler{name: name, put: put, acked: map[string]uint32{}}
}

func etcdFiller(t *testing.T, name string, endpoints ...string) *filler {
	t.Helper()
	client := etcdClient(t, endpoints...)
	return newFiller(name, func(ctx context.Context, key string, value []byte) error {
		_, err := client.Put(ctx, mount+key, string(value))
		return err
	})
}

func zkFiller(t *testing.T, ctx context.Context, name string, endpoints ...string) *filler {
	t.Helper()
	conn, _, err := zkConnect(ctx, liveTimeout, endpoints...)
	require.NoError(t, err)
	var open sync.WaitGroup
	t.Cleanup(func() { conn.Close(); open.Wait() })
	return newFiller(name, func(ctx context.Context, key string, value []byte) error {
		failed := make(chan error, 1)
		open.Go(func() {
			_, err := conn.Create(key, value, 0, openACL)
			failed <- err
		})
		select {
		case err := <-failed:
			return err
		case <-ctx.Done(): // the library waits for a server; it gives up when conn is closed
			return ctx.Err()
		}
	})
}

func (f *filler) key(n int) string { return fmt.Sprintf("/%s-%04d", f.name, n) }

// write writes one value, and says what came of it.
func (f *filler) write(ctx context.Context, n int) error {
	noise := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), 1})
	value := make([]byte, fillerBytes)
	_, _ = noise.Read(value) // never fails
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key := f.key(n)
	err := f.put(call, key, value)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.errors = append(f.errors, err)
	} else {
		f.acked[key] = crc32.ChecksumIEEE(value)
	}
	return err
}

// run writes until ctx ends, without haste after an error.
func (f *filler) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		if f.write(ctx, n) != nil {
			pauseFor(ctx, pollInterval)
		}
	}
}

// load has fillers write until a condition holds, and ends them.
func load(t *testing.T, ctx context.Context, what string, until func() bool, fillers ...*filler) {
	t.Helper()
	loaded, stop := context.WithCancel(ctx)
	var writing sync.WaitGroup
	for _, f := range fillers {
		writing.Go(func() { f.run(loaded) })
	}
	for !until() && ctx.Err() == nil {
		pauseFor(ctx, pollInterval)
	}
	stop()
	writing.Wait()
	require.NoError(t, ctx.Err(), what)
}

// refused says that the last writes of all fillers were refused for want of room.
func refused(fillers ...*filler) bool {
	for _, f := range fillers {
		f.mu.Lock()
		n := len(f.errors)
		full := n > 0 && noSpace(f.errors[n-1])
		f.mu.Unlock()
		if !full {
			return false
		}
	}
	return true
}

// noSpace says that an error is the alarm's. ZooKeeper's clients are told QuotaExceeded, for
// which this library has no name.
func noSpace(err error) bool {
	return errors.Is(err, rpctypes.ErrNoSpace) || err.Error() == "unknown error: -125"
}

// requireAll: each member has, by itself, all that was acknowledged, and no member's state
// differs from another's.
func requireAll(t *testing.T, ctx context.Context, c *ensemble.Cluster, fillers ...*filler) {
	t.Helper()
	client := etcdClient(t, c.EtcdEndpoints()...)
	requireSameHash(t, ctx, client, c.Members...)
	for _, m := range c.Members {
		at := etcdClient(t, m.EtcdEndpoint())
		for _, f := range fillers {
			resp, err := at.Get(ctx, mount+"/"+f.name, clientv3.WithPrefix(), clientv3.WithLimit(0), clientv3.WithKeysOnly())
			require.NoError(t, err)
			there := map[string]bool{}
			for _, kv := range resp.Kvs {
				there[string(kv.Key)] = true
			}
			for key := range f.acked {
				require.True(t, there[mount+key], "%s was acknowledged, and %s does not have it", key, m.Name)
			}
		}
	}
	for _, f := range fillers {
		for key, sum := range f.acked {
			resp, err := client.Get(ctx, mount+key)
			require.NoError(t, err)
			require.Equal(t, sum, crc32.ChecksumIEEE(resp.Kvs[0].Value), key)
		}
	}
}

func alarmsOf(t *testing.T, ctx context.Context, client *clientv3.Client) (members []uint64) {
	t.Helper()
	resp, err := client.AlarmList(ctx)
	require.NoError(t, err)
	for _, a := range resp.Alarms {
		require.Equal(t, etcdserverpb.AlarmType_NOSPACE, a.Alarm)
		members = append(members, a.MemberID)
	}
	return members
}

// requireNothingGrows: puts are refused through every member, whosever disk it is; reads and
// deletes are not.
func requireNothingGrows(t *testing.T, ctx context.Context, c *ensemble.Cluster) {
	t.Helper()
	for _, m := range c.Members {
		at := etcdClient(t, m.EtcdEndpoint())
		_, err := at.Put(ctx, mount+"/more", "")
		require.ErrorIs(t, err, rpctypes.ErrNoSpace, m.Name)
		_, err = at.Delete(ctx, mount+"/more")
		require.NoError(t, err, m.Name)
		_, err = at.Get(ctx, mount+"/more")
		require.NoError(t, err, m.Name)
	}
}

// TestQuotaOfOneMember: one of three members has a lower quota than the others. When it is
// reached the alarm is raised in its name, and nothing may grow through any member until it
// is disarmed: with etcd, too.
func TestQuotaOfOneMember(t *testing.T) {
	t.Parallel()
	kindWithAlarms(t)
	_, c := begin(t, ensemble.Options{Tick: tick})
	ctx := contextOf(t, time.Minute)
	small := c.Members[0]
	require.NoError(t, small.Terminate())
	small.Args = []string{fmt.Sprintf("--quota-backend-bytes=%d", 16<<20)}
	require.NoError(t, small.Restart(ctx))
	elsewhere, _ := others(c, small)
	f := etcdFiller(t, "quota", elsewhere...)
	load(t, ctx, "the quota is reached", func() bool { return refused(f) }, f)
	client := etcdClient(t, c.EtcdEndpoints()...)
	require.Equal(t, []uint64{idOf(t, ctx, client, small)}, alarmsOf(t, ctx, client))
	requireNothingGrows(t, ctx, c)

	// Room is made on the member, and the alarm is disarmed through another one.
	_, err := client.Delete(ctx, mount+"/quota", clientv3.WithPrefix())
	require.NoError(t, err)
	resp, err := client.Get(ctx, "/")
	require.NoError(t, err)
	_, err = client.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical())
	require.NoError(t, err)
	eventually(t, ctx, func(ctx context.Context) error {
		_, err := client.Defragment(ctx, small.EtcdEndpoint())
		return err
	})
	requireNothingGrows(t, ctx, c)
	_, err = etcdClient(t, elsewhere...).AlarmDisarm(ctx, &clientv3.AlarmMember{})
	require.NoError(t, err)
	after := etcdFiller(t, "after", c.EtcdEndpoints()...)
	require.NoError(t, after.write(ctx, 0))
	requireAll(t, ctx, c, after)
	require.Empty(t, alarmsOf(t, ctx, client))
}

func idOf(t *testing.T, ctx context.Context, client *clientv3.Client, m *ensemble.Member) uint64 {
	t.Helper()
	status, err := client.Status(ctx, m.EtcdEndpoint())
	require.NoError(t, err)
	return status.Header.MemberId
}

// TestLowDiskOfOneMember: the disk of one of three members is nearly full, which etcd does
// not look for. Nothing may grow through any member, of either protocol, until there is room
// again; nobody has to disarm anything then.
func TestLowDiskOfOneMember(t *testing.T) {
	t.Parallel()
	c := beginWatched(t, wideDisk)
	ctx := contextOf(t, time.Minute)
	client, low := etcdClient(t, c.EtcdEndpoints()...), c.Leader(ctx)
	fillers := []*filler{etcdFiller(t, "etcd", c.EtcdEndpoints()...), zkFiller(t, ctx, "zk", c.ZKEndpoints()...)}
	for _, f := range fillers {
		require.NoError(t, f.write(ctx, 0))
	}
	const watermark = 48 << 20 // of a disk of 512 MiB
	require.NoError(t, low.FillDisk(watermark/2))
	load(t, ctx, "the alarm is raised", func() bool { return refused(fillers...) }, fillers...)
	require.Equal(t, []uint64{idOf(t, ctx, client, low)}, alarmsOf(t, ctx, client))
	requireNothingGrows(t, ctx, c)
	require.NoError(t, low.ClearDisk())
	eventually(t, ctx, func(ctx context.Context) error {
		_, err := client.Put(ctx, mount+"/more", "")
		return err
	})
	require.Empty(t, alarmsOf(t, ctx, client))
	requireAll(t, ctx, c, fillers...)
}

// TestFullDiskOfOneMember: the disk of one of three members, the leader, is full to the last
// byte. It ends, and says why in one line (etcd panics); the cluster goes on without it; when
// there is room again it starts, and catches up.
func TestFullDiskOfOneMember(t *testing.T) {
	t.Parallel()
	c := beginOnDisks(t, wideDisk, noAlarm...)
	ctx := contextOf(t, time.Minute)
	full := c.Leader(ctx)
	require.NotNil(t, full)
	require.NoError(t, full.FillDisk(0))
	elsewhere, _ := others(c, full)
	f := etcdFiller(t, "one", elsewhere...)
	load(t, ctx, "the member ends", func() bool { return full.Ended() != nil }, f)
	requireEndOfFullDisk(t, c, full)
	require.NoError(t, full.Kill())
	before := len(f.acked)
	for n := 5000; len(f.acked) < before+20; n++ { // the others may have to elect a leader first
		require.NoError(t, ctx.Err(), "the cluster goes on")
		_ = f.write(ctx, n) // what failed is not counted
	}
	for _, m := range c.Running() {
		require.NoError(t, m.Ended())
	}
	require.NoError(t, full.ClearDisk())
	require.NoError(t, full.Restart(ctx))
	requireAll(t, ctx, c, f)
}

// requireEndOfFullDisk: a member says why it ended, and Triglot does so in one line.
func requireEndOfFullDisk(t *testing.T, c *ensemble.Cluster, m *ensemble.Member) {
	t.Helper()
	require.Contains(t, m.Log(), "no space left on device")
	if c.Kind != ensemble.Triglot {
		return
	}
	require.NotRegexp(t, `(?m)^(panic|goroutine \d+|fatal error)`, m.Log())
	require.Regexp(t, "^triglot: .*no space left on device", server.Tail(m.Log(), 1))
}

// TestLowDisksOfAllMembers: a load fills the disks of all members. Before they are full the
// alarm is raised, and clients of both protocols are told; no member ends. When the disks
// have grown all goes on by itself.
func TestLowDisksOfAllMembers(t *testing.T) {
	t.Parallel()
	c := beginWatched(t, narrowDisk)
	ctx := contextOf(t, time.Minute)
	fillers := fillersOf(t, ctx, c)
	load(t, ctx, "the alarm is raised", func() bool { return refused(fillers...) }, fillers...)
	client := etcdClient(t, c.EtcdEndpoints()...)
	require.NotEmpty(t, alarmsOf(t, ctx, client))
	requireNothingGrows(t, ctx, c)
	for _, m := range c.Members {
		require.NoError(t, m.Ended(), "%s has ended", m.Name)
		require.NoError(t, m.ResizeDisk(wideDisk))
	}
	eventually(t, ctx, func(ctx context.Context) error {
		_, err := client.Put(ctx, mount+"/more", "")
		return err
	})
	require.Empty(t, alarmsOf(t, ctx, client))
	requireAll(t, ctx, c, fillers...)
}

// fillersOf are a client of each protocol for each member.
func fillersOf(t *testing.T, ctx context.Context, c *ensemble.Cluster) (fillers []*filler) {
	t.Helper()
	for i, m := range c.Members {
		fillers = append(fillers, etcdFiller(t, fmt.Sprintf("etcd%d", i), m.EtcdEndpoint()))
		if c.Kind.ZooKeeper() {
			fillers = append(fillers, zkFiller(t, ctx, fmt.Sprintf("zk%d", i), m.ZKEndpoint()))
		}
	}
	return fillers
}

// TestFullDisksOfAllMembers: a load fills the disks of all members to the last byte. Those
// that cannot write end, until there is no quorum; every client gets an error in time. When
// there is room the members start with all that was acknowledged, and the service goes on.
func TestFullDisksOfAllMembers(t *testing.T) {
	t.Parallel()
	c := beginOnDisks(t, narrowDisk, noAlarm...)
	ctx := contextOf(t, time.Minute)
	fillers := fillersOf(t, ctx, c)
	load(t, ctx, "two members end", func() bool { return len(ended(c)) >= 2 }, fillers...)
	began := time.Now()
	inParallel(fillers, func(f *filler) { _ = f.write(ctx, 9000) }) // its error is looked at below
	require.Less(t, time.Since(began), 2*callTimeout)
	for _, f := range fillers {
		require.NotContains(t, f.acked, f.key(9000), "there is no quorum")
		t.Logf("%s: %d acknowledged, then %v", f.name, len(f.acked), f.errors[len(f.errors)-1])
	}
	for _, m := range c.Members {
		require.NoError(t, m.ResizeDisk(wideDisk))
	}
	// The third member too may have written in vain before there was room, and end only now.
	launched := map[*ensemble.Member]bool{}
	eventually(t, ctx, func(ctx context.Context) error {
		for _, m := range ended(c) {
			require.False(t, launched[m], "%s has ended again: %s", m.Name, m.Log())
			launched[m] = true
			requireEndOfFullDisk(t, c, m)
			require.NoError(t, m.Kill())
			require.NoError(t, m.Launch())
		}
		return c.AwaitAll(ctx)
	})
	inParallel(fillers, func(f *filler) {
		for n := 9001; f.write(ctx, n) != nil && ctx.Err() == nil; n++ {
			pauseFor(ctx, pollInterval)
		}
	})
	require.NoError(t, ctx.Err(), "all clients are served again")
	requireAll(t, ctx, c, fillers...)
}

func inParallel(fillers []*filler, do func(f *filler)) {
	var all sync.WaitGroup
	for _, f := range fillers {
		all.Go(func() { do(f) })
	}
	all.Wait()
}

// ended are the members that ended by themselves.
func ended(c *ensemble.Cluster) (all []*ensemble.Member) {
	for _, m := range c.Members {
		if m.Ended() != nil {
			all = append(all, m)
		}
	}
	return all
}
