package state

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

var (
	owner   = core.Principal{IDs: core.Identities("").With("digest", "owner")}
	visitor = core.Principal{IDs: core.Identities("").With("ip", "10.0.0.1")}

	ownersACL  = core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "owner"})
	dropBoxACL = core.PackACL(
		core.ACLEntry{Perms: core.PermCreate, Scheme: core.SchemeWorld, ID: core.WorldAnyone},
		core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "owner"},
	)
	readableACL = core.PackACL(
		core.ACLEntry{Perms: core.PermRead, Scheme: core.SchemeWorld, ID: core.WorldAnyone},
		core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "owner"},
	)
)

// guardRig is a rig whose commands come from several principals.
type guardRig struct{ *rig }

func newGuardRig(t tester) guardRig {
	r := guardRig{newRigOn(t)}
	r.must(owner, &core.SessionOpen{ID: 7, Timeout: time.Hour})
	return r
}

func (r guardRig) do(who core.Principal, cmd core.Command) Reply {
	r.who = who
	reply := r.apply(cmd)[0]
	r.commit()
	return reply
}

func (r guardRig) must(who core.Principal, cmd core.Command) {
	r.t.Helper()
	reply := r.do(who, cmd)
	require.NoError(r.t, reply.Err)
	if out, ok := reply.Outcome.(*core.ZnodeOutcome); ok {
		require.Equal(r.t, core.Internal, out.Err)
	}
}

func zkOp(kind core.ZnodeOpType, path string, acl core.ACL) core.Command {
	return &core.ZnodeWrite{Session: core.SessionRef{ID: 7, Epoch: 1}, Ops: []core.ZnodeOp{{
		Type: kind, Path: path, Version: core.AnyVersion, Data: []byte("secret"), ACL: acl, OpenACL: acl == "",
	}}}
}

func put(key string) *core.Put { return &core.Put{Key: []byte("/zk" + key), Value: []byte("v")} }

func in(key, end string) core.Interval {
	i := core.Interval{Key: []byte("/zk" + key)}
	switch end {
	case "":
	case "…":
		i.End = core.FromKey
	default:
		i.End = []byte("/zk" + end)
	}
	return i
}

// as is the view as a principal sees it. The caller must close it.
func (r guardRig) as(who core.Principal) core.View {
	require.True(r.t, r.view.Retain())
	return r.view.As(who)
}

// read is what a principal is answered.
func (r guardRig) read(who core.Principal, q core.Range) string {
	v := r.as(who)
	defer v.Close()
	res, err := v.Range(context.Background(), &q)
	if err != nil {
		return err.Error()
	}
	return showRange(res)
}

// plant makes znodes of all sorts: /secret is its owner's, its child /secret/open
// everybody's, and there is a key of no znode below it; /box lets anybody create,
// /shown anybody read; /imp is there for its child alone.
func plant(t tester) guardRig {
	r := newGuardRig(t)
	for _, c := range []core.Command{
		put("/a"), put("/a/b"), zkOp(core.ZnodeCreate, "/secret", ownersACL), zkOp(core.ZnodeCreate, "/secret/open", ""),
		zkOp(core.ZnodeCreate, "/secret/own", ownersACL), put("/secret//x"), put("/z"),
		zkOp(core.ZnodeCreate, "/box", dropBoxACL), zkOp(core.ZnodeCreate, "/shown", readableACL), zkOp(core.ZnodeCreate, "/shown/child", ""),
		put("/imp/child"), zkOp(core.ZnodeSetACL, "/imp", ownersACL),
		zkOp(core.ZnodeCreate, "/leaf", ""), zkOp(core.ZnodeCreate, "/leaf/own", ownersACL),
	} {
		r.must(owner, c)
	}
	return r
}

// X11: what one may read who may not read all, key by key and range by range.
func TestGuardedReads(t *testing.T) {
	r := plant(t)
	defer r.close()
	const no = "permission denied"
	for _, c := range []struct {
		in     core.Interval
		denied bool
		hidden int // how many keys are shown where the others are hidden
	}{
		{in("/a", ""), false, 1},
		{in("/secret", ""), true, 0},
		{in("/secret/own", ""), true, 0},
		{in("/secret/open", ""), false, 1}, // nothing is inherited
		{in("/secret//x", ""), true, 0},    // nor is it open
		{in("/secret//none", ""), true, 0},
		{in("/secret/none", ""), true, 0},
		{in("/secret/none/none", ""), true, 0},
		{in("/none", ""), false, 0},
		{in("/secret/open/none", ""), false, 0},
		{in("/secret/", "/secret0"), true, 0},
		{in("/secret/open", "/secret/opeo"), true, 0}, // it names a child
		{in("/secret/open/", "/secret/open0"), false, 0},
		{in("/secret/none/", "/secret/none0"), true, 0},
		{in("/secret!", "/secret-"), false, 0},
		{in("/secret-", "/secret0"), true, 0}, // it lists children
		{in("/secret-", "/secret."), false, 0},
		{in("/secret\x00", "…"), true, 1}, // what a page begins with
		{in("/secret0", "/y"), false, 2},  // /shown and its child
		{in("/secret/open/none/", "…"), true, 3},
		{in("/a", "/b"), false, 2},
		{in("/a/", "/a0"), false, 1},
		{in("/", "/a/c"), false, 2},
		{in("/", "0"), true, 6},
		{core.Interval{Key: []byte{0}, End: core.FromKey}, true, 6},
		{core.Interval{Key: []byte("/z"), End: core.FromKey}, true, 6},
		{core.Interval{Key: []byte("/zkx"), End: core.FromKey}, false, 0},
		{core.Interval{Key: []byte("/zk"), End: []byte("/zk/a")}, false, 0},
		{in("/imp", ""), true, 0},
		{in("/imp/child", ""), false, 1},
		{in("/imp/", "/imp0"), true, 0},
		{in("/box", ""), true, 0},
		{in("/box/", "/box0"), true, 0},
		{in("/shown", "/showo"), false, 2},
		{in("/leaf", ""), false, 1},
		{in("/leaf/", "/leaf0"), true, 0},
		{in("/leaf", "/leag"), true, 1},
		{in("/leaf/own", "/leaf/own!"), true, 0},
	} {
		for _, q := range []core.Range{
			{Interval: c.in},
			{Interval: c.in, CountOnly: true},
			{Interval: c.in, KeysOnly: true},
			{Interval: c.in, Limit: 1},
			{Interval: c.in, SortTarget: core.SortByModRev, SortOrder: core.SortDescend, Limit: 1},
			{Interval: c.in, MinModRev: 1 << 40},
			{Interval: c.in, Rev: r.view.Rev() - 1},
		} {
			got := r.read(visitor, q)
			require.Equal(t, c.denied, got == no, "%q %q %+v: %s", c.in.Key, c.in.End, q, got)
			require.NotEqual(t, no, r.read(owner, q))
			require.NotEqual(t, no, r.read(core.Principal{Member: true}, q))
		}
		guarded := &core.Txn{Compares: []core.Compare{{Interval: c.in, Target: core.CompareVersion, Result: core.CompareGreater}}}
		guarded.Then = []core.Op{{Put: &core.Put{Key: []byte("elsewhere")}}}
		err := r.do(visitor, guarded).Err
		require.Equal(t, c.denied, err != nil, "a compare of %q %q", c.in.Key, c.in.End)
		branch := &core.Txn{Then: []core.Op{{Put: &core.Put{Key: []byte("elsewhere")}}}, Else: []core.Op{{Txn: &core.Txn{Else: []core.Op{{Range: &core.Range{Interval: c.in}}}}}}}
		require.Equal(t, err, r.do(visitor, branch).Err, "in a branch that does not run")
	}
	r.must(core.Principal{Member: true}, &core.SetZnodeACLPolicy{Policy: core.ZnodeACLHide})
	for _, c := range []struct {
		in    core.Interval
		shown string
	}{
		{in("/secret/open", ""), "/secret/open"},
		{in("/secret/", "/secret0"), ""},
		{in("/secret", ""), ""},
		{in("/", "0"), "/a /a/b /leaf /shown /shown/child /z"},
		{in("/secret!", "…"), "/shown /shown/child /z elsewhere"},
		{in("/imp/child", ""), "/imp/child"},
	} {
		v := r.as(visitor)
		res, err := v.Range(context.Background(), &core.Range{Interval: c.in, KeysOnly: true})
		require.NoError(t, err)
		var shown []string
		for _, kv := range res.KVs {
			shown = append(shown, strings.TrimPrefix(string(kv.Key), "/zk"))
		}
		require.Equal(t, c.shown, strings.Join(shown, " "))
		var given []string
		_, err = v.Range(context.Background(), &core.Range{Interval: c.in, Each: func(kv *core.KV) error {
			given = append(given, strings.TrimPrefix(string(kv.Key), "/zk"))
			return nil
		}})
		require.NoError(t, err)
		require.Equal(t, shown, given, "one by one")
		counted, err := v.Range(context.Background(), &core.Range{Interval: c.in, CountOnly: true})
		require.NoError(t, err)
		require.EqualValues(t, len(shown), counted.Count)
		v.Close()
	}
	r.must(core.Principal{Member: true}, &core.SetZnodeACLPolicy{Policy: core.ZnodeACLOff})
	require.Equal(t, r.read(owner, core.Range{Interval: in("/", "0")}), r.read(visitor, core.Range{Interval: in("/", "0")}))
	require.Equal(t, core.InvalidArgument, r.do(core.Principal{Member: true}, &core.SetZnodeACLPolicy{Policy: 3}).Err)
}

// X11: what one may write who may not write all.
func TestGuardedWrites(t *testing.T) {
	for _, c := range []struct {
		cmd    core.Command
		denied bool
	}{
		{put("/a"), false},
		{put("/new/deep/down"), false},
		{put("/secret"), true},
		{put("/secret/new"), true},
		{put("/secret//x"), true},
		{put("/secret//new"), true},
		{put("/secret/new/deep/down"), true},
		{put("/secret/open"), false},
		{put("/secret/open/new"), false},
		{put("/box"), true},
		{put("/box/new"), false},
		{put("/box/new/deep"), false},
		{put("/shown"), true},
		{put("/imp"), true},
		{&core.Put{Key: []byte("/zk/a"), PrevKV: true}, false},
		{&core.Put{Key: []byte("/zk/box/new"), PrevKV: true}, false},
		{&core.DeleteRange{Interval: in("/a", "")}, false},
		{&core.DeleteRange{Interval: in("/secret", "")}, false}, // DELETE on the parent
		{&core.DeleteRange{Interval: in("/secret", ""), PrevKV: true}, true},
		{&core.DeleteRange{Interval: in("/secret/open", "")}, true},
		{&core.DeleteRange{Interval: in("/secret/none", "")}, true},
		{&core.DeleteRange{Interval: in("/secret//x", "")}, true},
		{&core.DeleteRange{Interval: in("/secret/", "/secret0")}, true},
		{&core.DeleteRange{Interval: in("/secret", "/secret/")}, false},
		{&core.DeleteRange{Interval: in("/shown", "/showo")}, true},
		{&core.DeleteRange{Interval: in("/leaf", "/leag")}, false}, // /leaf/own has no children
		{&core.DeleteRange{Interval: in("/leaf", "/leag"), PrevKV: true}, true},
		{&core.DeleteRange{Interval: in("/", "0")}, true},
		{&core.DeleteRange{Interval: in("/imp/child", "")}, true},
		{&core.DeleteRange{Interval: core.Interval{Key: []byte("/zkx"), End: core.FromKey}}, false},
		{&core.Txn{Else: []core.Op{{Put: put("/secret")}}}, true},
		{&core.Txn{Then: []core.Op{{Put: put("/q")}}, Else: []core.Op{{Delete: &core.DeleteRange{Interval: in("/secret/", "/secret0")}}}}, true},
		{&core.LeaseRevoke{ID: 7}, true}, // its ephemeral is the owner's
		{&core.LeaseRevoke{ID: 8}, false},
		{&core.LeaseRevoke{ID: 9}, true},
	} {
		t.Run(fmt.Sprintf("%T", c.cmd), func(t *testing.T) {
			r := plant(t)
			defer r.close()
			r.must(owner, &core.ZnodeWrite{Session: core.SessionRef{ID: 7, Epoch: 1}, Ops: []core.ZnodeOp{
				{Type: core.ZnodeCreate, Path: "/box/eph", Kind: core.ZnodeEphemeral, ACL: ownersACL},
			}})
			for id, key := range map[core.LeaseID]string{8: "/a/leased", 9: "/secret/leased"} {
				r.must(owner, &core.LeaseGrant{ID: id, TTL: time.Hour})
				p := put(key)
				p.Lease = id
				r.must(owner, p)
			}
			for _, policy := range []core.ZnodeACLPolicy{core.ZnodeACLDeny, core.ZnodeACLHide} {
				r.must(core.Principal{Member: true}, &core.SetZnodeACLPolicy{Policy: policy})
				if c.denied {
					before := r.view.Rev()
					require.Equal(t, core.PermissionDenied, r.do(visitor, c.cmd).Err, "%+v", c.cmd)
					require.Equal(t, before, r.view.Rev())
				}
			}
			if c.denied {
				r.must(core.Principal{IDs: core.Identities("").With(core.SchemeSuper, "")}, c.cmd)
			} else {
				r.must(visitor, c.cmd)
			}
		})
	}
}

// A version of the past is judged by the list that it was written under, and by that of
// today: what was protected stays so when it is deleted, or opened, and what is protected
// today was never to be read.
func TestGuardedPast(t *testing.T) {
	r := newGuardRig(t)
	defer r.close()
	for _, c := range []core.Command{
		zkOp(core.ZnodeCreate, "/gone", ownersACL),   // 2
		zkOp(core.ZnodeCreate, "/gone/open", ""),     // 3
		zkOp(core.ZnodeDelete, "/gone/open", ""),     // 4
		zkOp(core.ZnodeDelete, "/gone", ""),          // 5
		zkOp(core.ZnodeCreate, "/opened", ownersACL), // 6
		zkOp(core.ZnodeSetACL, "/opened", ""),        // 7
		zkOp(core.ZnodeSetData, "/opened", ""),       // 8
		zkOp(core.ZnodeCreate, "/closed", ""),        // 9
		zkOp(core.ZnodeSetData, "/closed", ""),       // 10
		zkOp(core.ZnodeSetACL, "/closed", ownersACL), // 11
		put("/last"), // 12
	} {
		r.must(owner, c)
	}
	const no = "permission denied"
	at := func(key, end string, rev core.Rev) string {
		return r.read(visitor, core.Range{Interval: in(key, end), Rev: rev, CountOnly: true})
	}
	require.Equal(t, no, at("/gone", "", 4))
	require.Equal(t, "count 0", at("/gone", "", 5))
	require.Equal(t, "count 1", at("/gone/open", "", 3))
	require.Equal(t, no, at("/gone/", "/gone0", 3), "it lists what /gone had")
	require.Equal(t, no, at("/gone", "/gonf", 3))
	require.Equal(t, no, at("/opened", "", 7))
	require.Equal(t, "count 1", at("/opened", "", 8))
	require.Equal(t, "count 1", at("/opened", "", 0))
	require.Equal(t, no, at("/closed", "", 9))
	require.Equal(t, "count 1", at("/last", "", 12))
	require.Equal(t, core.Compacted.Error(), func() string {
		r.must(core.Principal{Member: true}, &core.Compact{Rev: 12})
		return at("/gone", "/gonf", 3)
	}())
	require.Equal(t, no, at("/closed", "", 0))
	r.must(owner, zkOp(core.ZnodeDelete, "/closed", "")) // 13
	require.Error(t, r.view.MaySeeAll(visitor), "its history is still protected")
	r.must(owner, put("/last")) // 14
	r.must(core.Principal{Member: true}, &core.Compact{Rev: 14})
	require.NoError(t, r.view.MaySeeAll(visitor))
	require.Equal(t, "count 2", at("/", "0", 0))
}

// However many ancestors, or znodes beside which they begin, the keys of a request name,
// it is judged within a bounded time: all members judge it, one command after the other.
func TestGuardIsBounded(t *testing.T) {
	r := plant(t)
	defer r.close()
	deep, beside := &core.Txn{}, &core.Txn{}
	for i := range 40 {
		deep.Then = append(deep.Then, core.Op{Put: put(fmt.Sprintf("/b%d%s", i, strings.Repeat("/a", 16000)))})
		from := fmt.Sprintf("/b%02d", i)
		beside.Compares = append(beside.Compares, core.Compare{Interval: in(from+strings.Repeat("!", 1000), from+"0")})
	}
	start := time.Now()
	require.NoError(t, r.do(visitor, deep).Err)
	require.Equal(t, core.PermissionDenied, r.do(visitor, beside).Err)
	require.NoError(t, r.do(visitor, &core.Txn{Compares: beside.Compares[:8]}).Err)
	require.Less(t, time.Since(start), 10*time.Second)
}

// An event may wait, for a client that is slow to take it, until a compaction has given up
// the last list that there was: it is told to nobody who cannot have been named by it.
func TestGuardedEventOlderThanLists(t *testing.T) {
	r := newGuardRig(t)
	defer r.close()
	r.must(owner, put("/open"))
	r.must(owner, zkOp(core.ZnodeCreate, "/secret", ownersACL))
	r.must(owner, zkOp(core.ZnodeDelete, "/secret", ""))
	all := core.Interval{Key: []byte{0}, End: core.FromKey}
	revs, _, err := r.view.Revisions(context.Background(), 1, all, true, 1<<30)
	require.NoError(t, err)
	r.must(owner, put("/last"))
	r.must(core.Principal{Member: true}, &core.Compact{Rev: r.view.Rev()})
	require.False(t, r.view.Forbids())
	shown := func(who core.Principal) (keys []string) {
		v := r.as(who)
		defer v.Close()
		for _, rev := range revs {
			for _, c := range v.Znodes().Visible(rev.Changes) {
				keys = append(keys, string(c.KV.Key))
				require.True(t, v.Znodes().Allows(c.KV.ACL, core.PermRead))
			}
		}
		return keys
	}
	require.Equal(t, []string{"/zk/open"}, shown(visitor))
	require.Equal(t, []string{"/zk/open", "/zk/secret", "/zk/secret"}, shown(core.Principal{Member: true}))
	r.must(core.Principal{Member: true}, &core.SetZnodeACLPolicy{Policy: core.ZnodeACLOff})
	v := r.as(visitor)
	defer v.Close()
	for _, rev := range revs {
		require.Len(t, v.Znodes().Visible(rev.Changes), 1)
	}
}

// Two stores that differ only in what a visitor may not see give it the same answers:
// below /s, which is its owner's, anything may have happened, a revision for a revision.
// Where what is forbidden is refused, the refusals are the same, of all but the names
// that it asks for one by one.
func TestGuardTellsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := rapid.SampledFrom([]core.ZnodeACLPolicy{core.ZnodeACLDeny, core.ZnodeACLHide}).Draw(t, "policy")
		stores := []guardRig{newGuardRig(t), newGuardRig(t)}
		defer stores[0].close()
		defer stores[1].close()
		for _, r := range stores {
			r.must(core.Principal{Member: true}, &core.SetZnodeACLPolicy{Policy: policy})
			r.must(owner, zkOp(core.ZnodeCreate, "/s", ownersACL))
			r.must(owner, put("/s/marker"))
			r.must(owner, &core.LeaseGrant{ID: 5, TTL: time.Hour})
		}
		last := func() core.Rev { return stores[0].view.Rev() }
		for range rapid.IntRange(0, 25).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				for _, r := range stores {
					r.must(owner, drawSecret(t))
				}
			case 1:
				cmd := drawVisit(t)
				require.Equal(t, showReply(stores[0].do(visitor, cmd)), showReply(stores[1].do(visitor, cmd)), "%+v", cmd)
			case 2:
				open := rapid.SampledFrom([]core.Command{
					put("/a"), put("/s-"), put("/s0"), put("/a/b"), &core.DeleteRange{Interval: in("/a", "/b")},
					zkOp(core.ZnodeSetACL, "/a", ownersACL), zkOp(core.ZnodeSetACL, "/a", ""), zkOp(core.ZnodeSetACL, "/a", readableACL),
					&core.Compact{Rev: last() / 2},
				}).Draw(t, "shared")
				for _, r := range stores {
					r.do(owner, open)
				}
			case 3:
				q := drawLook(t, last())
				require.Equal(t, stores[0].read(visitor, q), stores[1].read(visitor, q), "%+v", q)
			}
			require.Equal(t, last(), stores[1].view.Rev())
		}
		require.Equal(t, stores[0].told(visitor), stores[1].told(visitor))
	})
}

// drawSecret draws a change below /s that takes one revision.
func drawSecret(t *rapid.T) core.Command {
	key := rapid.SampledFrom([]string{"/s/x", "/s/x/y", "/s//x", "/s/marker/", "/s/-", "/s/z"})
	txn := &core.Txn{Then: []core.Op{{Put: &core.Put{Key: []byte("/zk/s/marker"), Value: rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "value")}}}}
	for _, key := range rapid.SliceOfNDistinct(key, 0, 3, rapid.ID).Draw(t, "keys") {
		op := core.Op{Put: put(key)}
		if op.Put.Lease = core.LeaseID(rapid.SampledFrom([]int{0, 5}).Draw(t, "lease")); rapid.Bool().Draw(t, "delete") {
			op = core.Op{Delete: &core.DeleteRange{Interval: in(key, "")}}
		}
		txn.Then = append(txn.Then, op)
	}
	return txn
}

var drawEdge = rapid.SampledFrom([]string{"/", "/a", "/a/", "/a/b", "/s", "/s!", "/s-", "/s/", "/s/marker", "/s0", "/z", "0", "/s\x00"})

func drawVisited(t *rapid.T) core.Interval {
	key, end := drawEdge.Draw(t, "key"), rapid.OneOf(drawEdge, rapid.SampledFrom([]string{"", "", "…"})).Draw(t, "end")
	return in(key, end)
}

// drawLook draws a read of a visitor.
func drawLook(t *rapid.T, last core.Rev) core.Range {
	return core.Range{
		Interval: drawVisited(t), Rev: core.Rev(rapid.Int64Range(0, int64(last)+1).Draw(t, "rev")),
		Limit: rapid.Int64Range(0, 3).Draw(t, "limit"), CountOnly: rapid.Bool().Draw(t, "count"), KeysOnly: rapid.Bool().Draw(t, "keys"),
		SortTarget: core.SortTarget(rapid.IntRange(0, 4).Draw(t, "target")), SortOrder: core.SortOrder(rapid.IntRange(0, 2).Draw(t, "order")),
		MinModRev: core.Rev(rapid.Int64Range(0, 9).Draw(t, "min")),
	}
}

// drawVisit draws a write of a visitor.
func drawVisit(t *rapid.T) core.Command {
	key := drawEdge.Draw(t, "put")
	switch rapid.IntRange(0, 4).Draw(t, "visit") {
	case 0:
		return &core.Put{Key: []byte("/zk" + key), Value: []byte("visited"), PrevKV: rapid.Bool().Draw(t, "prev")}
	case 1:
		return &core.DeleteRange{Interval: drawVisited(t), PrevKV: rapid.Bool().Draw(t, "prev")}
	case 2:
		return &core.LeaseRevoke{ID: 6}
	}
	look := drawLook(t, 5)
	return &core.Txn{
		Compares: []core.Compare{{
			Interval: drawVisited(t), Target: core.CompareTarget(rapid.IntRange(0, 4).Draw(t, "compare")),
			Result: core.CompareResult(rapid.IntRange(0, 3).Draw(t, "result")), Number: rapid.Int64Range(0, 3).Draw(t, "number"),
		}},
		Then: []core.Op{{Put: &core.Put{Key: []byte("elsewhere")}}, {Range: &look}},
		Else: []core.Op{{Range: &look}},
	}
}

// told is all that a watch of everything, from as far back as there is, tells a principal.
func (r guardRig) told(who core.Principal) string {
	all := core.Interval{Key: []byte{0}, End: core.FromKey}
	revs, _, err := r.view.Revisions(context.Background(), max(r.view.CompactRev(), 1), all, true, 1<<30)
	require.NoError(r.t, err)
	v := r.as(who)
	defer v.Close()
	var out strings.Builder
	for _, rev := range revs {
		for _, c := range v.Znodes().Visible(rev.Changes) {
			fmt.Fprintf(&out, "%d: %s", rev.Rev, showKV(c.KV))
			if c.Prev != nil {
				fmt.Fprintf(&out, " after %s", showKV(c.Prev))
			}
			out.WriteString("\n")
		}
	}
	return out.String()
}
