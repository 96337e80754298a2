package state

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// restoreAll takes all steps of a restore.
func (r *rig) restoreAll(id uint64, zxid core.Rev, sessions []core.RestoredSession, znodes []core.RestoredZnode, piece int) {
	r.t.Helper()
	step := func(c *core.ZnodeRestore) bool {
		r.who = core.Principal{Member: true}
		c.ID = id
		reply := r.apply(c)[0]
		require.NoError(r.t, reply.Err, "%+v", c)
		r.commit()
		r.walk()
		return reply.Outcome.(core.ZnodeRestoreOutcome).More
	}
	step(&core.ZnodeRestore{Step: core.ZnodeRestoreBegin, Zxid: zxid})
	step(&core.ZnodeRestore{Step: core.ZnodeRestoreSessions, Sessions: sessions})
	for step(&core.ZnodeRestore{Step: core.ZnodeRestoreClear}) {
	}
	for some := range slices.Chunk(znodes, piece) {
		step(&core.ZnodeRestore{Step: core.ZnodeRestoreFill, Znodes: some})
	}
	step(&core.ZnodeRestore{Step: core.ZnodeRestoreEnd})
}

// exported is what a snapshot of the store would hold, parents first.
func (r *rig) exported() (all []core.RestoredZnode) {
	lower, upper := keys.ZnodeBounds()
	require.NoError(r.t, rowScanner{r.view.snap}.ScanRows(lower, upper, func(key, _ []byte) bool {
		encoded, _ := keys.DecodeZnode(key)
		path := string(encoded)
		z, err := r.view.Znodes().Znode(path, 0)
		require.NoError(r.t, err)
		life, err := r.view.ZnodeLife(path)
		require.NoError(r.t, err)
		one := core.RestoredZnode{Path: path, Data: z.Data, Null: z.Null, ACL: r.list(z.ACL), RestoredLife: core.RestoredLife{
			Kind: life.Kind, TTL: life.TTL, Owner: z.EphemeralOwner,
			Czxid: z.Czxid, Mzxid: z.Mzxid, Pzxid: z.Pzxid, Ctime: z.Ctime, Mtime: z.Mtime,
			Version: z.Version, Creates: life.Creates, Aversion: z.Aversion,
		}}
		if one.Owner == 0 && one.Kind == core.ZnodeEphemeral {
			one.Kind = core.ZnodePersistent
		}
		all = append(all, one)
		return true
	}))
	return all
}

// dirty has random commands applied.
func (r *rig) dirty(t *rapid.T, w *world, name string) *world {
	for range rapid.IntRange(0, 40).Draw(t, name) {
		c := drawZnodeCommand(t, w)
		r.who = core.Principal{Member: true}
		if _, ok := c.(*core.ZnodeWrite); ok {
			r.who = core.Principal{IDs: drawIdentities.Draw(t, "who")}
		}
		next, _, err := w.apply(c, r.who.IDs, r.clock+10)
		require.Equal(t, err, r.apply(c)[0].Err)
		w = next
	}
	r.commit()
	return w
}

// A store that is filled from another's snapshot shows what that one shows, whatever it
// held before, but for the revisions that changed data; and so it does after a crash,
// and a second time.
func TestRestoreIsWhatTheOtherStoreHad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := newRigOn(t), newRigOn(t)
		defer from.close()
		defer to.close()
		from.dirty(t, newWorld("/zk"), "from")
		to.dirty(t, newWorld("/zk"), "to")
		znodes := from.exported()
		to.takeLeases(from)
		var sessions []core.RestoredSession
		for _, id := range []core.LeaseID{1, 2, 3, 4} {
			sessions = append(sessions, core.RestoredSession{ID: id, Timeout: time.Second, Secret: core.SecretHash{byte(id)}})
		}
		zxid := from.view.Rev() + core.Rev(rapid.IntRange(0, 1000).Draw(t, "ahead"))
		for i := range rapid.IntRange(1, 2).Draw(t, "times") {
			to.restoreAll(uint64(i+1), zxid, sessions, znodes, rapid.IntRange(1, 30).Draw(t, "piece"))
			require.GreaterOrEqual(t, to.view.Rev(), zxid)
			compareRestored(t, to, znodes)
		}
		require.NoError(t, to.db.Flush())
		to.crash()
		compareRestored(t, to, znodes)
		to.walk()
		require.Equal(t, from.view.ZnodeCounts().Znodes, to.view.ZnodeCounts().Znodes)
	})
}

// takeLeases gives a store the leases of another that are no sessions, instead of its own
// that are in the way.
func (r *rig) takeLeases(from *rig) {
	r.who = core.Principal{Member: true}
	for _, id := range []core.LeaseID{1, 2, 3, 4} {
		if known, err := from.view.Lease(id); err == nil && !known.Session() {
			r.apply(&core.LeaseRevoke{ID: id}) // if there is one
			r.must(&core.LeaseGrant{ID: id, TTL: time.Second})
		} else if known, err := r.view.Lease(id); err == nil && !known.Session() {
			r.must(&core.LeaseRevoke{ID: id})
		}
	}
}

func compareRestored(t *rapid.T, r *rig, want []core.RestoredZnode) {
	t.Helper()
	got := map[string]core.RestoredZnode{}
	for _, z := range r.exported() {
		got[z.Path] = z
	}
	for _, z := range want {
		have, ok := got[z.Path]
		delete(got, z.Path)
		require.True(t, ok, z.Path)
		if _, own := quotaNumbers(z.Path); own { // it is counted anew
			have.Data, z.Data = nil, nil
		}
		if z.Path == "/zookeeper/config" {
			have.RestoredLife, z.RestoredLife = core.RestoredLife{Aversion: have.Aversion}, core.RestoredLife{Aversion: z.Aversion}
		}
		have.Mzxid, z.Mzxid = 0, 0
		have.Data, z.Data = bytesOrNil(string(have.Data)), bytesOrNil(string(z.Data))
		require.Equal(t, z, have)
	}
	require.Empty(t, slices.Collect(maps.Keys(got)))
	mark, err := r.view.snap.Get(row(keys.MetaRestore))
	require.NoError(t, err)
	require.Nil(t, mark)
}

func quotaNumbers(path string) (string, bool) {
	const name = "/zookeeper_stats"
	if len(path) > len(name) && path[len(path)-len(name):] == name {
		return path, true
	}
	return "", false
}

// drawRestore draws a step of a restore, in any order.
func drawRestore(t *rapid.T) core.Command {
	c := &core.ZnodeRestore{
		ID:   uint64(rapid.IntRange(0, 2).Draw(t, "restore")),
		Step: core.ZnodeRestoreStep(rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, 3, 3, 3, 4, 5}).Draw(t, "step")),
	}
	switch c.Step {
	case core.ZnodeRestoreBegin:
		c.Zxid = core.Rev(rapid.IntRange(-1, 60).Draw(t, "zxid"))
	case core.ZnodeRestoreSessions:
		c.Sessions = append(c.Sessions, core.RestoredSession{
			ID: core.LeaseID(rapid.IntRange(0, 3).Draw(t, "session")), Timeout: time.Duration(rapid.IntRange(0, 3).Draw(t, "timeout")) * time.Second,
		})
	case core.ZnodeRestoreFill:
		for range rapid.IntRange(0, 4).Draw(t, "znodes") {
			c.Znodes = append(c.Znodes, drawRestored(t))
		}
	}
	return c
}

func drawRestored(t *rapid.T) core.RestoredZnode {
	z := core.RestoredZnode{Path: drawZnodePath.Draw(t, "path"), Data: []byte(drawData.Draw(t, "data"))}
	z.Null = len(z.Data) == 0 && rapid.Bool().Draw(t, "null")
	if rapid.IntRange(0, 2).Draw(t, "open") == 0 {
		z.ACL = drawACL.Draw(t, "acl")
	}
	switch z.Kind = core.ZnodeKind(rapid.IntRange(0, 3).Draw(t, "kind")); z.Kind {
	case core.ZnodeEphemeral:
		z.Owner = core.LeaseID(rapid.IntRange(1, 4).Draw(t, "owner"))
	case core.ZnodeTTL:
		z.TTL = time.Duration(rapid.IntRange(0, 10).Draw(t, "ttl")) * 10 * time.Millisecond
	}
	numbers := rapid.Int64Range(0, 10)
	z.Czxid, z.Mzxid, z.Pzxid = core.Rev(numbers.Draw(t, "czxid")), core.Rev(numbers.Draw(t, "mzxid")), core.Rev(numbers.Draw(t, "pzxid"))
	z.Ctime, z.Mtime = numbers.Draw(t, "ctime"), numbers.Draw(t, "mtime")
	z.Version, z.Creates, z.Aversion = rapid.Int32().Draw(t, "version"), rapid.Int32().Draw(t, "creates"), rapid.Int32().Draw(t, "aversion")
	return z
}

// What others write between the steps, and steps in any order, leave the tree in order.
func TestRestoreAmongOtherWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRigOn(t)
		defer r.close()
		w := newWorld("/zk")
		for range 4 {
			w.leases[core.LeaseID(rapid.IntRange(1, 4).Draw(t, "known"))] = 1 // for what is drawn
		}
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			r.who = core.Principal{Member: true}
			if rapid.Bool().Draw(t, "restores") {
				r.apply(drawRestore(t))
			} else {
				r.apply(drawZnodeCommand(t, w))
			}
			if rapid.IntRange(0, 3).Draw(t, "commit") == 0 {
				r.commit()
				r.walk()
			}
			if rapid.IntRange(0, 20).Draw(t, "restart") == 0 {
				r.commit()
				require.NoError(t, r.db.Flush())
				r.crash()
			}
		}
		r.commit()
		r.walk()
	})
}

// The sessions of before end, those of the snapshot have the secrets that it says; one
// that there was keeps its own, for its next connection.
func TestRestoredSessions(t *testing.T) {
	r := newRig(t)
	old, gone := core.SecretHash{1}, core.SecretHash{2}
	r.must(&core.SessionOpen{ID: 1, Timeout: time.Second, Secret: old}, &core.SessionOpen{ID: 2, Timeout: time.Second, Secret: gone},
		&core.LeaseGrant{ID: 3, TTL: time.Hour},
		&core.ZnodeWrite{Session: core.SessionRef{ID: 1, Epoch: 1}, Ops: []core.ZnodeOp{{Path: "/e", Kind: core.ZnodeEphemeral, OpenACL: true}}})
	derived := core.SecretHash{9}
	var sessions []core.RestoredSession
	for _, id := range []core.LeaseID{1, 3, -5} {
		sessions = append(sessions, core.RestoredSession{ID: id, Timeout: time.Minute, Secret: derived})
	}
	ephemeral := func(path string, owner core.LeaseID) core.RestoredZnode {
		return core.RestoredZnode{Path: path, RestoredLife: core.RestoredLife{Kind: core.ZnodeEphemeral, Owner: owner}}
	}
	r.restoreAll(7, 1<<40, sessions, []core.RestoredZnode{
		{Path: "/"}, ephemeral("/e", 1), ephemeral("/f", -5), ephemeral("/g", 4), ephemeral("/l", 3), {Path: "/e/x"},
	}, 10)
	require.GreaterOrEqual(t, r.view.Rev(), core.Rev(1<<40))
	r.who = core.Principal{}
	attach := func(id core.LeaseID, secret core.SecretHash) error {
		return r.apply(&core.SessionAttach{ID: id, Timeout: time.Second, Secret: secret})[0].Err
	}
	require.Equal(t, core.SessionMoved, r.apply(&core.SessionClose{Session: core.SessionRef{ID: 1, Epoch: 1}})[0].Err)
	require.Equal(t, core.SessionExpired, attach(1, derived))
	require.NoError(t, attach(1, old))
	require.Equal(t, core.SessionExpired, attach(2, gone))
	require.Equal(t, core.SessionExpired, attach(3, derived))
	require.NoError(t, attach(-5, derived))
	r.commit()
	for path, owner := range map[string]core.LeaseID{"/e": 1, "/f": -5, "/l": 3} {
		z, err := r.view.Znodes().Znode(path, 0)
		require.NoError(t, err, path)
		require.Equal(t, owner, z.EphemeralOwner)
	}
	for _, path := range []string{"/g", "/e/x"} {
		_, err := r.view.Znodes().Znode(path, 0)
		require.Equal(t, core.NoNode, err, path)
	}
	require.EqualValues(t, 3, r.view.ZnodeCounts().Ephemerals)
	r.must(&core.SessionClose{Session: core.SessionRef{ID: -5, Epoch: 2}})
	_, err := r.view.Znodes().Znode("/f", 0)
	require.Equal(t, core.NoNode, err)
	r.walk()
}

// A restore goes on only until another begins, and is the members' own business.
func TestStepsOfARestore(t *testing.T) {
	r := newRig(t)
	try := func(c *core.ZnodeRestore) error {
		r.who.Member = true
		defer r.commit()
		return r.apply(c)[0].Err
	}
	require.Equal(t, core.TooManyRequests, try(&core.ZnodeRestore{ID: 1, Step: core.ZnodeRestoreClear}))
	require.Equal(t, core.InvalidArgument, try(&core.ZnodeRestore{Step: core.ZnodeRestoreBegin}))
	require.Equal(t, core.InvalidArgument, try(&core.ZnodeRestore{ID: 1, Step: 9}))
	require.Equal(t, core.InvalidArgument, try(&core.ZnodeRestore{ID: 1, Zxid: core.MaxRestoredZxid + 1}))
	require.NoError(t, try(&core.ZnodeRestore{ID: 1}))
	require.NoError(t, try(&core.ZnodeRestore{ID: 1, Step: core.ZnodeRestoreFill, Znodes: []core.RestoredZnode{{Path: "/a"}}}))
	for _, bad := range []core.RestoredZnode{
		{Path: "a"},
		{Path: "/a//b"},
		{Path: "/c", ACL: "\xff"},
		{Path: "/c", ACL: core.PackACL(core.ACLEntry{Scheme: "x", ID: strings.Repeat("x", core.MaxACL)})},
		{Path: "/c", RestoredLife: core.RestoredLife{Kind: core.ZnodeEphemeral}},
		{Path: "/c", RestoredLife: core.RestoredLife{Kind: 9}},
		{Path: "/c", RestoredLife: core.RestoredLife{Pzxid: 99}},
		{Path: "/c", RestoredLife: core.RestoredLife{TTL: time.Second}},
		{Path: "/", RestoredLife: core.RestoredLife{Kind: core.ZnodeContainer}},
	} {
		c := &core.ZnodeRestore{ID: 1, Step: core.ZnodeRestoreFill, Znodes: []core.RestoredZnode{{Path: "/b"}, bad}}
		require.Equal(t, core.InvalidArgument, try(c), "%+v", bad)
	}
	_, err := r.view.Znodes().Znode("/b", 0)
	require.Equal(t, core.NoNode, err, "a chunk is restored whole, or not at all")
	for _, bad := range []core.RestoredSession{{Timeout: time.Second}, {ID: 1}} {
		require.Equal(t, core.InvalidArgument, try(&core.ZnodeRestore{ID: 1, Step: core.ZnodeRestoreSessions, Sessions: []core.RestoredSession{bad}}))
	}
	require.NoError(t, r.db.Flush())
	r.crash()
	require.NoError(t, try(&core.ZnodeRestore{ID: 2}))
	require.Equal(t, core.TooManyRequests, try(&core.ZnodeRestore{ID: 1, Step: core.ZnodeRestoreEnd}))
	require.NoError(t, try(&core.ZnodeRestore{ID: 2, Step: core.ZnodeRestoreEnd}))
	require.Equal(t, core.TooManyRequests, try(&core.ZnodeRestore{ID: 2, Step: core.ZnodeRestoreEnd}))
	r.walk()
}

// Many znodes are deleted in pieces, of which none is large, the deepest first.
func TestClearInPieces(t *testing.T) {
	r := newRig(t)
	r.must(&core.SessionOpen{ID: 10, Timeout: time.Second}, znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/many"}))
	r.createMany("/many/n-", 11_000)
	for i := range 5 {
		r.must(&core.Put{Key: fmt.Appendf(nil, "/zk/deep/%d/x", i), Value: make([]byte, 3<<20)})
	}
	r.who.Member = true
	r.apply(&core.ZnodeRestore{ID: 1})
	var deleted []int
	for more := true; more; {
		reply := r.apply(&core.ZnodeRestore{ID: 1, Step: core.ZnodeRestoreClear})[0]
		require.NoError(t, reply.Err)
		more = reply.Outcome.(core.ZnodeRestoreOutcome).More
		n := 0
		for _, rev := range r.commit().Revisions {
			n += len(rev.Changes)
		}
		deleted = append(deleted, n)
		r.walk()
	}
	require.Len(t, deleted, 3)
	require.EqualValues(t, 5, r.view.ZnodeCounts().Znodes)
	mark, err := r.view.snap.Get(row(keys.MetaRestore))
	require.NoError(t, err)
	require.EqualValues(t, 1, binary.BigEndian.Uint64(mark))
}
