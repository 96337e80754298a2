package state

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// TestZnodesAgainstModel applies random writes of both faces, and compares every
// reply, every step, every znode, every key and the counters with a naive model's.
// Now and then the member commits several entries at once, or crashes and starts
// from what it had flushed.
func TestZnodesAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mount := rapid.SampledFrom([]string{"/zk", "", "/a"}).Draw(t, "mount")
		r := newMountedRig(t, 1<<20, mount)
		defer r.close()
		r.cacheBytes = rapid.SampledFrom([]int64{0, 1 << 20}).Draw(t, "cache")
		w := newWorld(mount)
		var steps [][]stepModel // of the revisions that are not committed
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			c := drawZnodeCommand(t, w)
			r.who = core.Principal{Member: true} // what etcd's face may do is told elsewhere
			if _, ok := c.(*core.ZnodeWrite); ok {
				r.who = core.Principal{IDs: drawIdentities.Draw(t, "who")}
			}
			next, out, err := w.apply(c, r.who.IDs, r.clock+10)
			reply := r.apply(c)[0]
			require.Equal(t, err, reply.Err, "%+v", c)
			require.Equal(t, next.rev, reply.Rev, "%+v", c)
			if err == nil && out != nil {
				got := reply.Outcome.(*core.ZnodeOutcome)
				require.Equal(t, out.Err, got.Err)
				require.Equal(t, out.Failed, got.Failed)
				require.Equal(t, out.Ops, got.Ops, "%+v", c)
			}
			if next.rev != w.rev {
				steps = append(steps, next.steps)
			}
			if w = next; rapid.IntRange(0, 2).Draw(t, "commit") == 0 {
				continue // with the next
			}
			delta := r.commit()
			require.Len(t, delta.Revisions, len(steps))
			for i, revision := range delta.Revisions {
				require.Equal(t, steps[i], r.stepsOf(revision), "%+v", c)
			}
			steps = nil
			compare(t, r, w)
			if rapid.IntRange(0, 20).Draw(t, "restart") == 0 {
				require.NoError(t, r.db.Flush())
				r.crash()
				compare(t, r, w)
			}
		}
		r.commit()
		compare(t, r, w)
		r.walk()
	})
}

// list reads an ACL, empty if it is the open one.
func (r *rig) list(id core.ZnodeACL) core.ACL {
	switch id {
	case core.ACLOpen:
		return ""
	case core.ACLReadOnly:
		return readOnlyACL
	}
	b, err := r.view.snap.Get(keys.AppendACL(nil, id))
	require.NoError(r.t, err)
	require.NotEmpty(r.t, b, "ACL %d", id)
	return core.ACL(b)
}

func (r *rig) stepsOf(rev *core.Revision) (all []stepModel) {
	for _, s := range rev.Steps {
		all = append(all, stepModel{event: s.Event, path: s.Path, acl: r.list(s.ACL), parent: r.list(s.Parent)})
	}
	return all
}

// compareIndex compares what the reaper and the faces find in the index with the model.
func compareIndex(t *rapid.T, r *rig, w *world) {
	want, got := map[keys.ZnodeIndex][]string{}, map[keys.ZnodeIndex][]string{}
	for _, path := range slices.Sorted(maps.Keys(w.znodes)) {
		switch z := w.znodes[path]; z.kind {
		case core.ZnodeContainer:
			want[keys.IndexContainer] = append(want[keys.IndexContainer], path)
		case core.ZnodeTTL:
			want[keys.IndexTTL] = append(want[keys.IndexTTL], path)
		}
	}
	if paths := w.restricted(); len(paths) > 0 {
		want[keys.IndexRestricted] = paths
	}
	for _, kind := range []keys.ZnodeIndex{keys.IndexContainer, keys.IndexTTL, keys.IndexRestricted, keys.IndexCounting} {
		lower, upper := keys.ZnodeIndexBounds(kind)
		require.NoError(t, rowScanner{r.view.snap}.ScanRows(lower, upper, func(key, _ []byte) bool {
			_, path, ok := keys.DecodeZnodeIndex(key)
			require.True(t, ok)
			got[kind] = append(got[kind], string(path))
			return true
		}))
	}
	require.Equal(t, want, got)
}

// compare compares the latest view with the model.
func compare(t *rapid.T, r *rig, w *world) {
	for path := range w.znodes {
		want := core.Znode{Stat: w.statOf(path)}
		z := w.znodes[path]
		want.Null = z.null
		if !z.implicit {
			want.Data = bytesOrNil(z.data)
			if z.used.counted {
				want.Data, want.Null = []byte(z.used.text()), false
			}
		}
		got, err := r.view.Znodes().Znode(path, 0)
		require.NoError(t, err, path)
		require.Equal(t, z.acl, r.list(got.ACL), path)
		got.ACL = core.ACLOpen
		got.Data = bytesOrNil(string(got.Data))
		require.Equal(t, want, got, path)
		names, _, err := r.view.Znodes().Children(context.Background(), path)
		require.NoError(t, err)
		require.Equal(t, w.children(path), slices.Collect(names.All()), path)
	}
	rows := 0
	lower, upper := keys.ZnodeBounds()
	require.NoError(t, rowScanner{r.view.snap}.ScanRows(lower, upper, func(_, _ []byte) bool { rows++; return true }))
	require.Equal(t, len(w.znodes), rows)
	require.Equal(t, w.counts(), r.view.ZnodeCounts())
	compareIndex(t, r, w)

	all, err := r.view.Range(context.Background(), &core.Range{Interval: core.Interval{Key: []byte{0}, End: core.FromKey}})
	require.NoError(t, err)
	require.Len(t, all.KVs, len(w.keys))
	for _, kv := range all.KVs {
		require.Equal(t, w.keys[string(kv.Key)].acl, r.list(kv.ACL), "%s", kv.Key)
		want, got := w.keys[string(kv.Key)].KV, *kv
		got.ACL = core.ACLOpen
		want.Value, got.Value = bytesOrNil(string(want.Value)), bytesOrNil(string(got.Value))
		require.Equal(t, want, got)
	}
}

func bytesOrNil(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

var drawZnodePath = rapid.SampledFrom([]string{
	"/a", "/a/b", "/a/b/c", "/a/b/d", "/a-1", "/e", "/e/f", "/e/f/g/h", "/s", "/s/n0000000001", "/s/n0000000002",
	"/", "/zookeeper", "/zookeeper/config", "/zookeeper/config/x", "/zookeeper/quota", "/zookeeper/quota/q", "/a/", "/a//b", "/.",
	"/zookeeper/quota/a", "/zookeeper/quota/a", limitsPath, limitsPath, statsPath, statsPath, "/zookeeper/quota/a/b/zookeeper_limits",
})

const (
	limitsPath = "/zookeeper/quota/a/zookeeper_limits"
	statsPath  = "/zookeeper/quota/a/zookeeper_stats"
)

// drawData draws data that mean something, for what may be the znode of a quota.
var drawData = rapid.SampledFrom([]string{"", "", "x", "x", "data", "countHardLimit=3", "count=1,bytes=1=;byteHardLimit=9", "count=2,bytes=7"})

var (
	drawIdentities = rapid.SampledFrom([]core.Identities{
		"", core.Identities("").With("digest", "u"), core.Identities("").With("digest", "u"),
		core.Identities("").With("digest", "v"), core.Identities("").With("super", ""),
	})
	drawACL = rapid.SampledFrom([]core.ACL{
		"", openACL, readOnlyACL,
		core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "u"}),
		core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "v"}, core.ACLEntry{Perms: core.PermCreate, Scheme: "world", ID: "anyone"}),
		core.PackACL(core.ACLEntry{Perms: core.PermAll &^ core.PermDelete, Scheme: "world", ID: "anyone"}),
	})
)

func drawMountedKey(t *rapid.T, w *world) []byte {
	if rapid.IntRange(0, 9).Draw(t, "outside") == 0 {
		return []byte(rapid.SampledFrom([]string{"other", "/zl", "/zk", "/a"}).Draw(t, "key"))
	}
	return []byte(w.mount + drawZnodePath.Draw(t, "path"))
}

func drawMountedPut(t *rapid.T, w *world) *core.Put {
	p := &core.Put{Key: drawMountedKey(t, w), Value: []byte(drawData.Draw(t, "value"))}
	switch rapid.IntRange(0, 5).Draw(t, "lease") {
	case 0, 1:
		p.Lease = drawLease(t)
	case 2:
		p.IgnoreLease = true
	}
	return p
}

func drawLease(t *rapid.T) core.LeaseID { return core.LeaseID(rapid.IntRange(1, 4).Draw(t, "lease")) }

func drawMountedInterval(t *rapid.T, w *world) core.Interval {
	in := core.Interval{Key: drawMountedKey(t, w)}
	switch rapid.IntRange(0, 3).Draw(t, "end") {
	case 0:
		in.End = core.FromKey
	case 1:
		in.End = drawMountedKey(t, w)
	}
	return in
}

// drawZnodeCommand draws a command, most of them with a chance of success.
func drawZnodeCommand(t *rapid.T, w *world) core.Command {
	switch rapid.IntRange(0, 15).Draw(t, "kind") {
	case 0:
		return &core.LeaseGrant{ID: drawLease(t), TTL: time.Second}
	case 1, 2:
		return &core.SessionOpen{ID: drawLease(t), Timeout: time.Second}
	case 3:
		return &core.LeaseRevoke{ID: drawLease(t)}
	case 4:
		return &core.SessionClose{Session: core.SessionRef{ID: drawLease(t), Epoch: 1}}
	case 5, 6:
		return drawMountedPut(t, w)
	case 7:
		return &core.DeleteRange{Interval: drawMountedInterval(t, w)}
	case 8:
		txn := &core.Txn{}
		for range rapid.IntRange(1, 3).Draw(t, "ops") {
			if rapid.Bool().Draw(t, "put") {
				txn.Then = append(txn.Then, core.Op{Put: drawMountedPut(t, w)})
			} else {
				txn.Then = append(txn.Then, core.Op{Delete: &core.DeleteRange{Interval: drawMountedInterval(t, w)}})
			}
		}
		return txn
	case 9:
		return &core.ZnodeReap{
			Paths: []string{drawZnodePath.Draw(t, "path")}, Term: 2,
			NeverUsed: time.Duration(rapid.SampledFrom([]int{0, 50}).Draw(t, "never used")) * time.Millisecond,
		}
	case 10, 11:
		c := drawZnodeWrite(t, w, rapid.IntRange(0, 6).Draw(t, "ops"))
		c.Multi = true
		return c
	default:
		return drawZnodeWrite(t, w, 1)
	}
}

func drawZnodeWrite(t *rapid.T, w *world, ops int) *core.ZnodeWrite {
	c := &core.ZnodeWrite{Session: core.SessionRef{ID: drawLease(t), Epoch: 1}, EnforceQuota: rapid.Bool().Draw(t, "enforce")}
	// Most often a session that there is.
	for _, id := range slices.Sorted(maps.Keys(w.leases)) {
		if w.leases[id] > 0 && rapid.IntRange(0, 3).Draw(t, "this one") > 0 {
			c.Session = core.SessionRef{ID: id, Epoch: uint64(rapid.SampledFrom([]int{1, 1, 1, 1, 1, 1, 1, 2}).Draw(t, "epoch"))}
		}
	}
	for range ops {
		c.Ops = append(c.Ops, drawZnodeOp(t))
	}
	return c
}

func drawZnodeOp(t *rapid.T) core.ZnodeOp {
	op := core.ZnodeOp{
		Type:    core.ZnodeOpType(rapid.SampledFrom([]int{0, 0, 0, 0, 1, 1, 2, 2, 3, 4}).Draw(t, "type")),
		Path:    drawZnodePath.Draw(t, "path"),
		Version: int32(rapid.SampledFrom([]int{-1, -1, -1, -1, 0, 1, 2}).Draw(t, "version")),
	}
	if op.Type == core.ZnodeCreate || op.Type == core.ZnodeSetData {
		op.Data = []byte(drawData.Draw(t, "data"))
		op.Null = len(op.Data) == 0 && rapid.Bool().Draw(t, "null")
	}
	if op.Type == core.ZnodeCreate {
		if op.Kind = core.ZnodeKind(rapid.IntRange(0, 3).Draw(t, "kind")); op.Kind == core.ZnodeTTL {
			op.TTL = time.Duration(rapid.IntRange(1, 10).Draw(t, "ttl")) * 10 * time.Millisecond
		}
		if op.Sequential = rapid.IntRange(0, 2).Draw(t, "sequential") == 0; op.Sequential {
			op.Path = rapid.SampledFrom([]string{"/s/n", "/s/", "/", "/e/n", "/none/n"}).Draw(t, "prefix")
		}
	}
	if op.Type == core.ZnodeCreate || op.Type == core.ZnodeSetACL {
		if op.OpenACL = rapid.IntRange(0, 4).Draw(t, "open") > 0; !op.OpenACL {
			op.ACL = drawACL.Draw(t, "acl")
		}
	}
	return op
}
