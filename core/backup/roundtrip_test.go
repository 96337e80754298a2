package backup

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/core/state/lease"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/etcdfile"
	"github.com/triglot/triglot/storage/mvcc"
)

// TestRoundTrip: what a store can show is the same after it went through a file,
// whatever was done to it before: all revisions that are not compacted and their
// events, znodes, leases, sessions, alarms, users, and what it counts.
func TestRoundTrip(t *testing.T) {
	test := t
	rapid.Check(t, func(t *rapid.T) {
		from := newModelRig(t)
		defer from.close()
		from.try(entry{})
		now := int64(1000)
		for range rapid.IntRange(0, 40).Draw(t, "entries") {
			from.try(drawEntry(t, &now))
		}
		if rapid.Bool().Draw(t, "collected") {
			from.collect()
		}
		b := from.export(test.TempDir(), rapid.SampledFrom([]int{0, 8000}).Draw(t, "memory"))
		from.collect()

		to := newModelRig(t)
		defer to.close()
		to.importFile(b)
		require.Equal(t, from.describe(), to.describe())
		require.Equal(t, rowsIn(t, b), rowsIn(t, to.export(test.TempDir(), 0)), "and once more")

		for range rapid.IntRange(0, 5).Draw(t, "more entries") {
			e := drawEntry(t, &now)
			from.try(e)
			to.try(e)
		}
		from.collect()
		to.collect()
		require.Equal(t, from.describe(), to.describe(), "they go on alike")
		to.checkReleased()
	})
}

// TestRebuiltZnodes: if etcd has written to a store since it was exported, the rows of
// znodes are made from the keys, and agree with them.
func TestRebuiltZnodes(t *testing.T) {
	test := t
	rapid.Check(t, func(t *rapid.T) {
		from := newModelRig(t)
		defer from.close()
		now := int64(1000)
		for range rapid.IntRange(1, 40).Draw(t, "entries") {
			from.try(drawEntry(t, &now))
		}
		b := from.export(test.TempDir(), 0)
		rev := binary.BigEndian.AppendUint64([]byte(metaRevision), uint64(from.view.Rev()))
		require.Equal(t, 1, bytes.Count(b, rev))
		asOf := binary.BigEndian.AppendUint64([]byte(metaRevision), rapid.Uint64Range(1, uint64(from.view.Rev())).Draw(t, "as of"))

		to := newModelRig(t)
		defer to.close()
		to.importFile(bytes.ReplaceAll(b, rev, asOf))
		to.checkZnodes()
		for range rapid.IntRange(0, 5).Draw(t, "more entries") {
			to.try(drawEntry(t, &now))
			to.checkZnodes()
		}
		to.checkReleased()
	})
}

// TestSidecarOfALaterVersion: what is ours in a file is of a format, and one that is not
// known is refused before anything is written (docs/adr/0016).
func TestSidecarOfALaterVersion(t *testing.T) {
	from := newModelRig(t)
	defer from.close()
	from.try(entry{1, []core.Command{&core.Put{Key: []byte("k")}}})
	b := from.export(t.TempDir(), 0)
	format := []byte(metaFormat + sidecarFormat)
	require.Equal(t, 1, bytes.Count(b, format))
	b = bytes.ReplaceAll(b, format, []byte(metaFormat+"2"))
	file, err := etcdfile.NewReader(bytes.NewReader(b), int64(len(b)), etcdfile.HashIgnored)
	require.NoError(t, err)
	to := newModelRig(t)
	defer to.close()
	_, err = Import(t.Context(), to.db, file, Target{Cluster: 1, Members: to.members(), Mount: "/zk"}, ImportOptions{})
	require.EqualError(t, err, `what Triglot added to it has format "2", this version reads format "1": use the version that wrote it`)
	all, err := to.db.NewIter(nil, nil)
	require.NoError(t, err)
	require.False(t, all.First(), "something is written")
	require.NoError(t, all.Close())
}

// TestUnusedKeyThatIsUsed: a key of a user may have the name that an export gives to
// what tells of a revision only.
func TestUnusedKeyThatIsUsed(t *testing.T) {
	from := newModelRig(t)
	defer from.close()
	key := core.Interval{Key: []byte(unusedKey)}
	from.try(entry{1, []core.Command{&core.Put{Key: key.Key}, &core.DeleteRange{Interval: key}, &core.Put{Key: key.Key}, &core.DeleteRange{Interval: key}}})
	to := newModelRig(t)
	defer to.close()
	to.importFile(from.export(t.TempDir(), 0))
	require.Equal(t, from.describe(), to.describe())
}

// TestLongKeysGoThroughAFile: bbolt takes keys of up to 32 KiB, the store longer ones.
func TestLongKeysGoThroughAFile(t *testing.T) {
	from := newModelRig(t)
	defer from.close()
	const longest = 32<<10 - 1 // of a znode's name
	for n := longest - 20; n <= longest+20; n++ {
		long := strings.Repeat("x", n)
		from.try(entry{1, []core.Command{
			&core.LeaseGrant{ID: 7, TTL: time.Minute},
			&core.Put{Key: []byte("/zk/" + long), Lease: 7}, &core.Put{Key: []byte("/zk/p" + long[20:] + "/child/child")},
			&core.Put{Key: []byte(long), Lease: 7},
		}})
	}
	require.Greater(t, from.view.ZnodeCounts().Znodes, int64(60))
	to := newModelRig(t)
	defer to.close()
	to.importFile(from.export(t.TempDir(), 0))
	require.Equal(t, from.describe(), to.describe())
	to.checkZnodes()
}

// entry is commands with their time.
type entry struct {
	now  int64
	cmds []core.Command
}

func drawEntry(t *rapid.T, now *int64) entry {
	*now += rapid.Int64Range(0, 5).Draw(t, "passes")
	return entry{*now, rapid.SliceOfN(rapid.Custom(drawCommand), 1, 4).Draw(t, "commands")}
}

var drawKey = rapid.SampledFrom([]string{"a", "a/b", "b", "\x00", "/zk", "/zk/", "/zk/a", "/zk/a/b", "/zk/a/b/c", "/zk/e/f", "/zk/a//b", "/zk/e/"})

// someone owns what is not open to the world.
var someone = core.Principal{IDs: core.Identities("").With("digest", "someone")}

var drawACL = rapid.SampledFrom([]core.ACL{
	core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "someone"}),
	core.PackACL(core.ACLEntry{Perms: core.PermRead, Scheme: core.SchemeWorld, ID: core.WorldAnyone}),
	core.PackACL(core.ACLEntry{Perms: core.PermWrite, Scheme: "digest", ID: "nobody"}),
	"",
})

func drawInterval(t *rapid.T) core.Interval {
	i := core.Interval{Key: []byte(drawKey.Draw(t, "key"))}
	if rapid.IntRange(0, 3).Draw(t, "end") == 0 {
		i.End = core.FromKey
	}
	return i
}

func drawLease(t *rapid.T) core.LeaseID { return core.LeaseID(rapid.IntRange(0, 3).Draw(t, "lease")) }

func drawCommand(t *rapid.T) core.Command {
	put := func() *core.Put {
		return &core.Put{Key: []byte(drawKey.Draw(t, "key")), Value: rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "value"), Lease: drawLease(t)}
	}
	switch rapid.IntRange(-1, 15).Draw(t, "kind") {
	case -1:
		return &core.SetZnodeACLPolicy{Policy: core.ZnodeACLPolicy(rapid.IntRange(0, 1).Draw(t, "policy"))}
	case 0:
		return &core.DeleteRange{Interval: drawInterval(t)}
	case 1:
		txn := &core.Txn{}
		for _, key := range rapid.SliceOfNDistinct(drawKey, 1, 4, rapid.ID).Draw(t, "keys") {
			op := core.Op{Put: put()}
			if op.Put.Key = []byte(key); rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
				op = core.Op{Delete: &core.DeleteRange{Interval: core.Interval{Key: []byte(key)}}}
			}
			txn.Then = append(txn.Then, op)
		}
		return txn
	case 2:
		return &core.Compact{Rev: core.Rev(rapid.IntRange(1, 60).Draw(t, "rev"))}
	case 3:
		return &core.LeaseGrant{ID: drawLease(t), TTL: time.Duration(rapid.IntRange(1, 9000).Draw(t, "ttl")) * time.Millisecond}
	case 4:
		return &core.LeaseRevoke{ID: drawLease(t)}
	case 5:
		return &core.LeaseCheckpoint{Term: 2, Leases: []core.LeaseRemaining{{ID: drawLease(t), TTL: time.Duration(rapid.IntRange(0, 9).Draw(t, "left")) * time.Second}}}
	case 6, 7:
		return &core.SessionOpen{ID: drawLease(t), Timeout: 1500 * time.Millisecond, Secret: core.SecretHash{1, 2}}
	case 8:
		return &core.SetAlarm{Alarm: core.Alarm{Member: 1, Type: core.AlarmNoSpace}, On: rapid.IntRange(0, 3).Draw(t, "on") == 0}
	case 9, 10, 11, 12:
		c := &core.ZnodeWrite{Session: core.SessionRef{ID: drawLease(t), Epoch: 1}}
		for range rapid.IntRange(1, 4).Draw(t, "ops") {
			acl := drawACL.Draw(t, "acl")
			c.Ops = append(c.Ops, core.ZnodeOp{
				Type: core.ZnodeOpType(rapid.IntRange(0, 4).Draw(t, "type")),
				Path: rapid.SampledFrom([]string{"/a", "/a/b", "/a/b/c", "/e", "/q/"}).Draw(t, "path"),
				Data: rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "data"), Null: rapid.IntRange(0, 5).Draw(t, "null") == 0,
				Version: core.AnyVersion, ACL: acl, OpenACL: acl == "",
				Kind:       core.ZnodeKind(rapid.IntRange(0, 2).Draw(t, "node kind")),
				Sequential: rapid.IntRange(0, 3).Draw(t, "sequential") == 0,
			})
		}
		return c
	default:
		return put()
	}
}

// modelRig is a rig whose commands may fail.
type modelRig struct {
	t rapid.TB
	*rig
	caches mvcc.Caches
}

func newModelRig(t rapid.TB) *modelRig {
	db, err := storage.Open("state", storage.Options{FS: storage.NewMemFS()})
	require.NoError(t, err)
	return &modelRig{t: t, rig: &rig{db: db}, caches: mvcc.Caches{Versions: mvcc.NewCache(1 << 20), Rows: mvcc.NewCache(1 << 20)}}
}

func (r *modelRig) members() []core.Member {
	return []core.Member{{ID: 1, PeerURLs: []string{"http://localhost:2380"}}}
}

func (r *modelRig) start() {
	var err error
	r.machine, err = state.Open(r.db, r.caches)
	require.NoError(r.t, err)
	r.try(entry{})
}

func (r *modelRig) close() {
	if r.view != nil {
		r.view.Close()
		require.NoError(r.t, r.machine.Close())
	}
	require.NoError(r.t, r.db.Close())
}

// try applies an entry, whatever becomes of its commands.
func (r *modelRig) try(e entry) {
	if r.machine == nil {
		require.NoError(r.t, state.Bootstrap(r.db, 1, r.members(), "/zk"))
		var err error
		r.machine, err = state.Open(r.db, r.caches)
		require.NoError(r.t, err)
	}
	index, _ := r.machine.Applied()
	batch := command.Batch{Member: 1, Incarnation: 1}
	for _, c := range e.cmds {
		batch.Commands = append(batch.Commands, command.AppendCommandAs(nil, core.Principal{Member: true}, c))
	}
	_, err := r.machine.Apply(state.Entry{Index: index + 1, Term: 2, Frame: command.Entry{TimeMS: e.now, Batches: []command.Batch{batch}}}, nil)
	require.NoError(r.t, err)
	if r.view != nil {
		r.view.Close()
	}
	r.view, _, err = r.machine.Commit()
	require.NoError(r.t, err)
}

// collect removes what was compacted, for what a store counts.
func (r *modelRig) collect() {
	c, err := mvcc.NewCollector(r.db, mvcc.CollectorOptions{Share: 1})
	require.NoError(r.t, err)
	if to := r.view.CompactRev(); to > 0 {
		require.NoError(r.t, c.Collect(context.Background(), to))
	}
}

func (r *modelRig) export(dir string, memory int) []byte {
	require.True(r.t, r.view.Retain())
	out, err := Export(context.Background(), r.view, ExportOptions{Dir: dir, SortBytes: memory})
	require.NoError(r.t, err)
	b, err := os.ReadFile(out.Path)
	require.NoError(r.t, err)
	require.NoError(r.t, os.Remove(out.Path))
	return b
}

func (r *modelRig) importFile(b []byte) {
	file, err := etcdfile.NewReader(bytes.NewReader(b), int64(len(b)), etcdfile.HashIgnored)
	require.NoError(r.t, err)
	_, err = Import(context.Background(), r.db, file, Target{Cluster: 1, Members: r.members(), Mount: "/zk"}, ImportOptions{})
	require.NoError(r.t, err)
	r.start()
}

func noPace() error { return nil }

// describe is all that a store can show.
func (r *modelRig) describe() string {
	v := r.view
	var out bytes.Buffer
	c, err := mvcc.NewCollector(r.db, mvcc.CollectorOptions{})
	require.NoError(r.t, err)
	fmt.Fprintf(&out, "revision %d, compacted %d, %d keys, alarms %v\n", v.Rev(), v.CompactRev(), v.Keys(), v.Alarms())
	fmt.Fprintf(&out, "size %d and %d, znodes %+v\n", v.Written()-c.Freed(), v.RowBytes(), v.ZnodeCounts())
	first := max(v.CompactRev(), 1)
	for rev := first; rev <= v.Rev(); rev++ {
		hash, err := v.HashAt(noPace, rev)
		require.NoError(r.t, err)
		fmt.Fprintf(&out, "%d %x\n", rev, hash)
	}
	all := core.Interval{Key: []byte{0}, End: core.FromKey}
	revs, _, err := v.Revisions(context.Background(), first, all, true, 1<<30)
	require.NoError(r.t, err)
	for _, rev := range revs {
		for _, change := range rev.Changes {
			fmt.Fprintf(&out, "%d: %+v after %+v\n", rev.Rev, change.KV, change.Prev)
		}
	}
	require.NoError(r.t, v.EachLeaseRow(func(id core.LeaseID, l lease.Lease, _ []byte) error {
		attached, err := v.LeaseKeys(id)
		l.Granted = 0
		fmt.Fprintf(&out, "lease %d %+v %q\n", id, l, attached)
		return err
	}))
	require.NoError(r.t, v.EachSidecarRow(noPace, func(key, row []byte) error {
		if key[0] != 'L' {
			fmt.Fprintf(&out, "%q: %x\n", key, row)
		}
		return nil
	}))
	for _, who := range []core.Principal{{}, someone} {
		for _, end := range [][]byte{nil, core.FromKey} {
			for _, key := range []string{"\x00", "/zk/", "/zk/a", "/zk/a-", "/zk/a/", "/zk/a/b", "/zk/a//b", "/zk/e/", "/zk/e/f"} {
				require.True(r.t, v.Retain())
				seen := v.As(who)
				for _, rev := range []core.Rev{first, (first + v.Rev()) / 2, 0} {
					res, err := seen.Range(context.Background(), &core.Range{Interval: core.Interval{Key: []byte(key), End: end}, Rev: rev, CountOnly: true})
					fmt.Fprintf(&out, "%q %q at %d: %d %v\n", key, end, rev, res.Count, err)
				}
				seen.Close()
			}
		}
	}
	return out.String()
}

// checkReleased checks that no list is left once nothing is that could have one.
func (r *modelRig) checkReleased() {
	all := core.Interval{Key: []byte{0}, End: core.FromKey}
	r.try(entry{0, []core.Command{&core.SetAlarm{Alarm: core.Alarm{Member: 1, Type: core.AlarmNoSpace}}, &core.SessionOpen{ID: 9, Timeout: time.Hour}}})
	r.try(entry{0, []core.Command{&core.DeleteRange{Interval: all}}})
	for _, path := range []string{"/a/b/c", "/a/b", "/a", "/e/f", "/e", "/q"} {
		r.try(entry{0, []core.Command{&core.ZnodeWrite{
			Session: core.SessionRef{ID: 9, Epoch: 1},
			Ops:     []core.ZnodeOp{{Type: core.ZnodeDelete, Path: path, Version: core.AnyVersion}},
		}}})
	}
	r.try(entry{0, []core.Command{&core.Put{Key: []byte("last")}, &core.Put{Key: []byte("last")}}})
	r.try(entry{0, []core.Command{&core.Compact{Rev: r.view.Rev()}}})
	require.NoError(r.t, r.view.MaySeeAll(core.Principal{}), r.describe())
}

// checkZnodes checks that znodes, keys and what is counted agree with one another.
func (r *modelRig) checkZnodes() {
	v := r.view
	var rows, leases int64
	want := core.ZnodeCounts{Znodes: 1, Sessions: v.ZnodeCounts().Sessions}
	require.NoError(r.t, v.EachLeaseRow(func(core.LeaseID, lease.Lease, []byte) error { leases++; return nil }))
	var walk func(path string)
	walk = func(path string) {
		names, z, err := v.Znodes().Children(context.Background(), path)
		require.NoError(r.t, err, path)
		require.EqualValues(r.t, z.NumChildren, names.Len(), path)
		want.Znodes++
		want.Bytes += int64(len(path) + len(z.Data))
		rows += int64(len(path) + 64)
		if z.EphemeralOwner != 0 {
			want.Ephemerals++
		}
		res, err := v.Range(context.Background(), &core.Range{Interval: core.Interval{Key: []byte("/zk" + path)}})
		require.NoError(r.t, err)
		if len(res.KVs) == 1 {
			require.Equal(r.t, res.KVs[0].ModRev, z.Mzxid, path)
			require.Equal(r.t, res.KVs[0].Lease, z.EphemeralOwner, path)
		} else {
			require.Zero(r.t, z.EphemeralOwner, path)
			require.Empty(r.t, z.Data, path)
		}
		for name := range names.All() {
			walk(strings.TrimSuffix(path, "/") + "/" + name)
		}
	}
	walk("/")
	require.Equal(r.t, want, v.ZnodeCounts())
	require.Equal(r.t, rows+64*leases, v.RowBytes())
}

// rowsIn are the rows of a file, but for what depends on who wrote it.
func rowsIn(t rapid.TB, b []byte) (rows []string) {
	file, err := etcdfile.NewReader(bytes.NewReader(b), int64(len(b)), etcdfile.HashIgnored)
	require.NoError(t, err)
	for _, bucket := range []string{"key", "lease", sidecarTimes, sidecarACLs} {
		require.NoError(t, file.Rows(bucket, func(key, value []byte) error {
			rows = append(rows, fmt.Sprintf("%s %x: %x", bucket, key, value))
			return nil
		}))
	}
	return rows
}
