package state

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/lease"
	"github.com/triglot/triglot/storage/keys"
	"github.com/triglot/triglot/storage/mvcc"
)

// TestDeterminism applies one log on two machines that differ in everything that
// a member may decide for itself: how much it caches, which commands it proposed,
// how many entries it commits at once, when it collects history, and when it
// crashes and replays. Their states are the same, to the last replicated row.
func TestDeterminism(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := drawLog(t)
		first := runLog(t, log, "first")
		second := runLog(t, log, "second")
		if first != second {
			t.Fatalf("the states differ:\n%s\n%s", first, second)
		}
	})
}

// drawLog draws a log: the commands of each entry.
func drawLog(t *rapid.T) [][]core.Command {
	cmds := rapid.SliceOfN(rapid.Custom(drawCommand), 1, 8)
	return rapid.SliceOfN(cmds, 1, 30).Draw(t, "log")
}

var drawKey = rapid.SampledFrom([]string{"a", "a/", "a/b", "b", "\x00", "\xff", "/zk/", "/zk/a", "/zk/a/b", "/zk/e/f/g"})

func drawInterval(t *rapid.T) core.Interval {
	i := core.Interval{Key: []byte(drawKey.Draw(t, "key"))}
	switch rapid.IntRange(0, 3).Draw(t, "end") {
	case 0:
		i.End = core.FromKey
	case 1:
		i.End = []byte(drawKey.Draw(t, "end key"))
	}
	return i
}

func drawPut(t *rapid.T) *core.Put {
	return &core.Put{
		Key:         []byte(drawKey.Draw(t, "key")),
		Value:       rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "value"),
		Lease:       core.LeaseID(rapid.IntRange(0, 3).Draw(t, "lease")),
		PrevKV:      rapid.Bool().Draw(t, "prev"),
		IgnoreValue: rapid.IntRange(0, 9).Draw(t, "ignore value") == 0,
	}
}

func drawCommand(t *rapid.T) core.Command {
	switch rapid.IntRange(0, 19).Draw(t, "kind") {
	case 0, 1:
		return &core.DeleteRange{Interval: drawInterval(t), PrevKV: true}
	case 2, 3:
		return drawTxn(t, 2)
	case 4:
		return &core.Compact{Rev: core.Rev(rapid.IntRange(0, 40).Draw(t, "rev"))}
	case 5:
		return &core.LeaseGrant{ID: core.LeaseID(rapid.IntRange(1, 3).Draw(t, "lease")), TTL: time.Second}
	case 6:
		return &core.LeaseRevoke{ID: core.LeaseID(rapid.IntRange(1, 3).Draw(t, "lease"))}
	case 7:
		return &core.LeaseExpire{IDs: []core.LeaseID{1, 2}, Term: uint64(rapid.IntRange(1, 2).Draw(t, "term")), AsOf: uint64(rapid.IntRange(0, 40).Draw(t, "as of"))}
	case 8:
		if rapid.IntRange(0, 4).Draw(t, "alarm") > 0 {
			return drawPut(t)
		}
		return &core.SetAlarm{Alarm: core.Alarm{Member: 1, Type: core.AlarmNoSpace}, On: rapid.Bool().Draw(t, "on")}
	case 9:
		return drawSession(t)
	case 16, 17, 18:
		return drawAccounts(t)
	case 19:
		return drawUpkeep(t)
	case 10, 11, 12:
		c := &core.ZnodeWrite{Session: core.SessionRef{ID: drawLease(t), Epoch: 1}, Multi: rapid.Bool().Draw(t, "multi")}
		for range rapid.IntRange(1, 3).Draw(t, "ops") {
			c.Ops = append(c.Ops, drawZnodeOp(t))
		}
		return c
	default:
		return drawPut(t)
	}
}

// drawUpkeep draws what members do for themselves, and administrators for them.
func drawUpkeep(t *rapid.T) core.Command {
	switch rapid.IntRange(0, 9).Draw(t, "upkeep command") {
	case 6, 7, 8, 9:
		return drawRestore(t)
	case 4, 5:
		return &core.ZnodeReap{
			Paths: []string{drawZnodePath.Draw(t, "path"), drawZnodePath.Draw(t, "path")},
			Term:  uint64(rapid.IntRange(1, 2).Draw(t, "term")), NeverUsed: 50 * time.Millisecond,
		}
	case 0:
		return &core.SetDowngrade{Target: rapid.SampledFrom([]string{"", "3.6.0", "3.5.0"}).Draw(t, "target")}
	case 1:
		return drawMembership(t)
	default:
		return &core.LeaseCheckpoint{Term: uint64(rapid.IntRange(1, 2).Draw(t, "term")), Leases: []core.LeaseRemaining{{
			ID:  core.LeaseID(rapid.IntRange(1, 3).Draw(t, "lease")),
			TTL: time.Duration(rapid.Int64Range(0, 1100).Draw(t, "left")) * time.Millisecond,
		}}}
	}
}

func drawMembership(t *rapid.T) core.Command {
	id := core.MemberID(rapid.IntRange(1, 3).Draw(t, "member"))
	urls := rapid.SliceOfN(rapid.SampledFrom([]string{"http://h:1", "http://h:2"}), 0, 2).Draw(t, "urls")
	switch rapid.IntRange(0, 3).Draw(t, "membership command") {
	case 0:
		return &core.MemberUpdate{ID: id, PeerURLs: urls}
	case 1:
		return &core.MemberRemove{ID: id}
	case 2:
		return &core.MemberPromote{ID: id}
	default:
		return &core.MemberAdd{Member: core.Member{ID: id, PeerURLs: urls, Learner: rapid.Bool().Draw(t, "learner")}, MaxLearners: 1}
	}
}

// changesMembers reports whether an entry of these commands is one that raft is told of.
func changesMembers(cmds []core.Command) bool {
	if len(cmds) != 1 {
		return false
	}
	switch cmds[0].(type) {
	case *core.MemberAdd, *core.MemberRemove, *core.MemberPromote:
		return true
	}
	return false
}

// drawAccounts draws what turns authentication on more often than not.
func drawAccounts(t *rapid.T) core.Command {
	user := rapid.SampledFrom([]string{"root", "u"}).Draw(t, "user")
	role := rapid.SampledFrom([]string{"root", "r"}).Draw(t, "role")
	switch rapid.IntRange(0, 10).Draw(t, "accounts command") {
	case 0, 1:
		return &core.UserAdd{Name: user, Hash: []byte("h")}
	case 2, 3:
		return &core.UserGrantRole{User: user, Role: role}
	case 4:
		return &core.AuthDisable{}
	case 5:
		return &core.UserDelete{Name: user}
	case 6:
		return &core.RoleAdd{Name: role}
	case 7:
		return &core.RoleDelete{Name: role}
	case 8:
		kind := core.PermissionType(rapid.IntRange(0, 2).Draw(t, "type"))
		return &core.RoleGrantPermission{Role: role, Permission: core.Permission{Type: kind, Interval: drawInterval(t)}}
	case 9:
		return &core.TokenGrant{User: user, AuthRev: uint64(rapid.IntRange(1, 9).Draw(t, "auth rev"))}
	default:
		return &core.AuthEnable{}
	}
}

// callers are who makes the commands of the entries of a log, by turns.
var callers = []core.Principal{{Member: true}, {User: "root"}, {User: "u"}, {}}

func drawSession(t *rapid.T) core.Command {
	id := core.LeaseID(rapid.IntRange(0, 3).Draw(t, "session"))
	secret := core.SecretHash{byte(rapid.IntRange(0, 1).Draw(t, "secret"))}
	switch rapid.IntRange(0, 2).Draw(t, "session command") {
	case 0:
		return &core.SessionOpen{ID: id, Timeout: 2 * time.Second, Secret: secret}
	case 1:
		return &core.SessionAttach{ID: id, Timeout: 3 * time.Second, Secret: secret}
	default:
		return &core.SessionClose{Session: core.SessionRef{ID: id, Epoch: uint64(rapid.IntRange(1, 2).Draw(t, "epoch"))}}
	}
}

func drawTxn(t *rapid.T, depth int) *core.Txn {
	branch := func() (ops []core.Op) {
		for range rapid.IntRange(0, 3).Draw(t, "ops") {
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0:
				ops = append(ops, core.Op{Delete: &core.DeleteRange{Interval: drawInterval(t)}})
			case 1:
				ops = append(ops, core.Op{Range: &core.Range{Interval: drawInterval(t), Rev: core.Rev(rapid.IntRange(-1, 30).Draw(t, "rev"))}})
			case 2:
				if depth > 0 {
					ops = append(ops, core.Op{Txn: drawTxn(t, depth-1)})
				}
			default:
				ops = append(ops, core.Op{Put: drawPut(t)})
			}
		}
		return ops
	}
	txn := &core.Txn{}
	for range rapid.IntRange(0, 2).Draw(t, "compares") {
		txn.Compares = append(txn.Compares, core.Compare{
			Interval: drawInterval(t),
			Target:   core.CompareTarget(rapid.IntRange(0, 4).Draw(t, "target")),
			Result:   core.CompareResult(rapid.IntRange(0, 3).Draw(t, "result")),
			Number:   rapid.Int64Range(0, 5).Draw(t, "number"),
		})
	}
	txn.Then, txn.Else = branch(), branch()
	return txn
}

// runLog applies log on a machine of its own kind, and describes the state that
// it ends in.
func runLog(t *rapid.T, log [][]core.Command, name string) string {
	r := newRigOn(t)
	defer r.close()
	r.cacheBytes = rapid.SampledFrom([]int64{1, 1 << 20}).Draw(t, name+" cache")
	r.own = rapid.Bool().Draw(t, name+" own")
	r.crash() // with the cache it was given
	collector, err := mvcc.NewCollector(r.db, mvcc.CollectorOptions{Share: 1, ChunkRows: 3})
	require.NoError(t, err)
	for at := 0; at < len(log); {
		index, _ := r.machine.Applied()
		at = int(index) - FirstIndex
		if at == len(log) {
			break
		}
		r.clock, r.who = int64(at)*10, callers[at%len(callers)]
		r.applyEntry(changesMembers(log[at]), log[at]...)
		if rapid.Bool().Draw(t, name+" commits") || at == len(log)-1 {
			r.commit()
		}
		switch rapid.IntRange(0, 9).Draw(t, name+" does") {
		case 0:
			require.NoError(t, r.db.Flush())
		case 1:
			r.crash()
			collector, err = mvcc.NewCollector(r.db, mvcc.CollectorOptions{Share: 1, ChunkRows: 3})
			require.NoError(t, err)
		case 2, 3:
			if to := r.view.CompactRev(); to > 0 {
				require.NoError(t, collector.Collect(context.Background(), to))
			}
		}
	}
	return r.describe()
}

// describe is the whole replicated state in words.
func (r *rig) describe() string {
	v := r.view
	hash, err := mvcc.Hash(v.snap, func() error { return nil }, v.Rev(), v.CompactRev())
	require.NoError(r.t, err)
	all, err := v.Hash(func() error { return nil })
	require.NoError(r.t, err)
	kept, err := v.HashAt(func() error { return nil }, max(v.CompactRev(), 1))
	require.NoError(r.t, err)
	var out bytes.Buffer
	fmt.Fprintf(&out, "hashes %x %x passes for %s, rows of %d bytes\n", all, kept, v.ClusterVersion(), v.RowBytes())
	pos := r.machine.pos
	pos.sameKeys = 0 // as far as this process knows
	fmt.Fprintf(&out, "%+v compacted %d hash %x members %v without %v alarms %v\n", pos, v.CompactRev(), hash, v.members, v.removed, v.alarms)
	require.NoError(r.t, v.EachLease(func(id core.LeaseID, l lease.Lease) {
		attached, err := v.LeaseKeys(id)
		require.NoError(r.t, err)
		fmt.Fprintf(&out, "lease %d %+v %q\n", id, l, attached)
	}))
	fmt.Fprintf(&out, "sessions %d\n%s", v.ZnodeCounts().Sessions, showAccounts(v.Accounts()))
	res, err := v.Range(context.Background(), &core.Range{Interval: core.Interval{Key: []byte{0}, End: core.FromKey}})
	require.NoError(r.t, err)
	out.WriteString(showRange(res) + "\n" + r.walk())
	lower, upper := keys.ZnodeBounds()
	require.NoError(r.t, rowScanner{v.snap}.ScanRows(lower, upper, func(key, value []byte) bool {
		fmt.Fprintf(&out, "%x: %x\n", key, value)
		return true
	}))
	return out.String()
}
