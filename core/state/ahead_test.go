package state

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/storage/mvcc"
)

// What a view says that commands need is all that applying them reads from the engine.
func TestNeeds(t *testing.T) {
	put := func(key string) *core.Put { return &core.Put{Key: []byte(key), Value: []byte("new")} }
	one := func(key string) core.Interval { return core.Interval{Key: []byte(key)} }
	znode := func(op core.ZnodeOp) core.Command {
		op.OpenACL, op.Version = true, core.AnyVersion
		return &core.ZnodeWrite{Session: core.SessionRef{ID: 10, Epoch: 1}, Ops: []core.ZnodeOp{op}}
	}
	for name, test := range map[string]struct {
		cmd core.Command
		// found is how many of what is needed there is.
		found int
	}{
		"put":               {put("a"), 1},
		"put of a new key":  {put("none"), 0},
		"put of a znode":    {put("/zk/dir/a"), 3},
		"put of a new one":  {put("/zk/dir/none"), 1},
		"delete":            {&core.DeleteRange{Interval: one("a")}, 1},
		"delete of a znode": {&core.DeleteRange{Interval: one("/zk/dir/a")}, 3},
		"txn": {&core.Txn{
			Compares: []core.Compare{{Interval: one("a"), Target: core.CompareVersion, Number: 1}},
			Then:     []core.Op{{Put: put("b")}, {Txn: &core.Txn{Then: []core.Op{{Delete: &core.DeleteRange{Interval: one("c")}}}}}},
			Else:     []core.Op{{Put: put("none")}},
		}, 3},
		"create":              {znode(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/dir/none"}), 1},
		"sequential create":   {znode(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/dir/n-", Sequential: true}), 1},
		"delete of ZooKeeper": {znode(core.ZnodeOp{Type: core.ZnodeDelete, Path: "/dir/a"}), 3},
		"setData":             {znode(core.ZnodeOp{Type: core.ZnodeSetData, Path: "/dir/a"}), 2},
		"check":               {znode(core.ZnodeOp{Type: core.ZnodeCheck, Path: "/dir/a"}), 2},
		"setACL":              {znode(core.ZnodeOp{Type: core.ZnodeSetACL, Path: "/dir/a"}), 2},
		"no path":             {znode(core.ZnodeOp{Type: core.ZnodeSetData, Path: "dir"}), 0},
		"no key":              {&core.LeaseGrant{ID: 5, TTL: 1e9}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.apply(&core.SessionOpen{ID: 10, Timeout: 1e9}, put("a"), put("b"), put("c"), put("/zk/dir/a"), put("/zk/dir/b"))
			r.commit()
			require.NoError(t, r.db.Flush())
			r.crash() // the caches are empty
			r.machine.TakeReads()

			e := command.Entry{Batches: []command.Batch{{Commands: [][]byte{
				command.AppendCommandAs(nil, core.Principal{}, test.cmd), {0xff},
			}}}}
			needs := mvcc.SortNeeds(r.view.Needs(nil, &e))
			found, err := r.view.Warm(t.Context(), needs)
			require.NoError(t, err)
			require.Equal(t, test.found, found)
			r.apply(test.cmd)
			require.Zero(t, r.machine.TakeReads(), "what was read nevertheless")
		})
	}
}
