package state

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/state/lease"
	"github.com/triglot/triglot/core/state/znode"
	"github.com/triglot/triglot/storage/keys"
)

// znodeTranscript runs the commands of transcripts that are about znodes:
//
//	mount P        starts again, with a store whose znodes are below P
//	sessions       each line is the id of a session to open
//	zk [S]         each line is an operation of session S, 10 if not given, and a
//	               command of its own; prints the replies, and what followers are told
//	multi [S]      the same, but all lines are one command
//	stat           each line is a path; prints the znodes
//	ls             each line is a path; prints the children
//	walk           prints all znodes, after checking that they are in order
//	ids            each line is a scheme and an id of who makes the next requests; nobody
//	               if there are none
//	later D        lets time pass
//	reap [never=D] each line is a path; one command reaps those that are due
//	due [never=D]  prints what a reaper would find
//	below          each line is a path; prints the number of znodes below it
//	ephemerals S   each line is a prefix; prints the paths of a session's
//
// An operation is a name, a path, and
//
//	create         data, and any of: seq, ephemeral, container, ttl=D, null, ACL
//	set            data, and any of: null, v=VERSION
//	setacl         ACL, and v=VERSION
//	delete, check  v=VERSION if it matters
//
// ACL is acl=PERMS:SCHEME:ID,... or, of one that is malformed, acl. A path or data in
// quotes is unquoted. With "enforce" behind S, hard quotas hold. A znode is shown as
//
//	path = "data" [czxid mzxid pzxid, version cversion, times] and what else it is
func (r *rig) znodeTranscript(t *testing.T, d *datadriven.TestData) (string, bool) {
	var out strings.Builder
	each := func(fn func(string) string) {
		for line := range strings.Lines(d.Input) {
			out.WriteString(fn(strings.TrimSpace(line)) + "\n")
		}
	}
	session, enforce := core.SessionRef{ID: 10, Epoch: 1}, false
	for _, arg := range d.CmdArgs {
		if id, err := strconv.Atoi(arg.Key); err == nil {
			session.ID = core.LeaseID(id)
		}
		enforce = enforce || arg.Key == "enforce"
	}
	if r.keeperTranscript(t, d, session.ID, each) {
		return out.String(), true
	}
	switch d.Cmd {
	case "mount":
		r.close()
		*r = *newMountedRig(t, 1<<20, unquote(strings.TrimSpace(d.Input)))
	case "sessions":
		each(func(line string) string {
			id, err := strconv.Atoi(line)
			require.NoError(t, err)
			return r.run(&core.SessionOpen{ID: core.LeaseID(id), Timeout: time.Second})
		})
	case "zk":
		each(func(line string) string {
			return r.run(&core.ZnodeWrite{Session: session, Ops: []core.ZnodeOp{parseOp(t, line)}, EnforceQuota: enforce})
		})
	case "multi":
		w := &core.ZnodeWrite{Session: session, Multi: true, EnforceQuota: enforce}
		for line := range strings.Lines(d.Input) {
			w.Ops = append(w.Ops, parseOp(t, line))
		}
		out.WriteString(r.run(w))
	case "stat":
		each(func(line string) string { return r.showZnodeAt(unquote(line)) })
	case "ls":
		each(func(line string) string {
			names, z, err := r.seen().Znodes().Children(context.Background(), unquote(line))
			if err != nil {
				return err.Error()
			}
			require.EqualValues(t, z.NumChildren, names.Len())
			return fmt.Sprintf("%q", slices.Collect(names.All()))
		})
	case "walk":
		out.WriteString(r.walk())
	default:
		return "", false
	}
	return out.String(), true
}

// run applies a command of its own, and shows the reply and what followers are
// told.
func (r *rig) run(c core.Command) string {
	reply := r.apply(c)[0]
	return strings.TrimSuffix(showReply(reply)+"\n"+showDelta(r.commit()), "\n")
}

func unquote(s string) string {
	if u, err := strconv.Unquote(s); err == nil {
		return u
	}
	return s
}

func parseOp(t testing.TB, line string) core.ZnodeOp {
	words := strings.Fields(line)
	op := core.ZnodeOp{Path: unquote(words[1]), Version: core.AnyVersion, OpenACL: true}
	rest := words[2:]
	switch words[0] {
	case "create":
		op.Type = core.ZnodeCreate
	case "delete":
		op.Type = core.ZnodeDelete
	case "set":
		op.Type = core.ZnodeSetData
	case "check":
		op.Type = core.ZnodeCheck
	case "setacl":
		op.Type = core.ZnodeSetACL
	default:
		require.Fail(t, "unknown operation", line)
	}
	for _, w := range rest {
		version, isVersion := strings.CutPrefix(w, "v=")
		acl, isACL := strings.CutPrefix(w, "acl=")
		ttl, isTTL := strings.CutPrefix(w, "ttl=")
		switch {
		case isACL:
			op.OpenACL, op.ACL = false, parseACL(t, acl)
		case isTTL:
			var err error
			op.TTL, err = time.ParseDuration(ttl)
			require.NoError(t, err)
			op.Kind = core.ZnodeTTL
		case isVersion:
			n, err := strconv.Atoi(version)
			require.NoError(t, err)
			op.Version = int32(n)
		case w == "seq":
			op.Sequential = true
		case w == "ephemeral":
			op.Kind = core.ZnodeEphemeral
		case w == "container":
			op.Kind = core.ZnodeContainer
		case w == "acl":
			op.OpenACL = false
		case w == "null":
			op.Null = true
		default:
			op.Data = []byte(unquote(w))
		}
	}
	return op
}

func showStat(s core.Stat) string {
	out := fmt.Sprintf("[%d %d %d, v%d cv%d, %d %d]", s.Czxid, s.Mzxid, s.Pzxid, s.Version, s.Cversion, s.Ctime, s.Mtime)
	if s.NumChildren != 0 {
		out += fmt.Sprintf(" children %d", s.NumChildren)
	}
	if s.EphemeralOwner != 0 {
		out += fmt.Sprintf(" owner %d", s.EphemeralOwner)
	}
	if s.Aversion != 0 {
		out += fmt.Sprintf(" av%d", s.Aversion)
	}
	return out
}

func (r *rig) showZnodeAt(path string) string {
	z, err := r.seen().Znodes().Znode(path, 0)
	if err != nil {
		return fmt.Sprintf("%q: %v", path, err)
	}
	require.EqualValues(r.t, len(z.Data), z.DataLength)
	data := strconv.Quote(string(z.Data))
	if z.Null {
		require.Empty(r.t, z.Data)
		data = "null"
	}
	acl := ""
	switch z.ACL {
	case core.ACLOpen:
	case core.ACLReadOnly:
		acl = " read-only"
	default:
		acl = fmt.Sprintf(" acl %d", z.ACL)
	}
	return fmt.Sprintf("%s = %s %s%s", path, data, showStat(z.Stat), acl)
}

func showZnodeOutcome(o *core.ZnodeOutcome) string {
	if o.Err != core.Internal {
		return fmt.Sprintf("operation %d: %v", o.Failed, o.Err)
	}
	var ops []string
	for _, op := range o.Ops {
		if op.Stat == (core.Stat{}) {
			ops = append(ops, "done")
			continue
		}
		ops = append(ops, strings.TrimSpace(op.Path+" "+showStat(op.Stat)))
	}
	return strings.Join(ops, "; ")
}

func showSteps(steps []core.ZnodeStep) string {
	var b strings.Builder
	for i, s := range steps {
		sep := ", "
		if i == 0 {
			sep = " : "
		}
		fmt.Fprintf(&b, "%s%s %s", sep, [...]string{"created", "deleted", "changed"}[s.Event], s.Path)
		if s.ACL != core.ACLOpen || s.Parent != core.ACLOpen {
			fmt.Fprintf(&b, " (acl %d, parent's %d)", s.ACL, s.Parent)
		}
	}
	return b.String()
}

// walk shows all znodes with what they are, after checking that rows, keys,
// counters and children agree with one another.
func (r *rig) walk() string {
	v := r.view
	var out strings.Builder
	counts := core.ZnodeCounts{Znodes: 1, Sessions: v.ZnodeCounts().Sessions}
	children := map[string][]string{}
	isZnode := map[string]bool{} // by key
	var paths []string
	var rowBytes int64
	require.NoError(r.t, v.EachLease(func(core.LeaseID, lease.Lease) { rowBytes += 64 }))
	lower, upper := keys.ZnodeBounds()
	require.NoError(r.t, rowScanner{v.snap}.ScanRows(lower, upper, func(key, _ []byte) bool {
		path, ok := keys.DecodeZnode(key)
		require.True(r.t, ok, "%x", key)
		paths = append(paths, string(path))
		return true
	}))
	for _, path := range paths {
		require.True(r.t, znode.Legal(path), path)
		z, err := v.Znodes().Znode(path, 0)
		require.NoError(r.t, err, path)
		var kv *core.KV
		if path != "/zookeeper/config" { // a key of that name is opaque
			kv = r.key(r.mount + path)
			isZnode[r.mount+path] = true
		}
		counts.Znodes++
		counts.Bytes += int64(len(path))
		rowBytes += int64(len(path) + 64)
		implicit := ""
		if kv == nil {
			implicit = " implicit"
			require.Zero(r.t, z.DataLength)
			require.Zero(r.t, z.EphemeralOwner)
		} else {
			counts.Bytes += int64(len(kv.Value)) // what the numbers of a quota show is not stored
			require.Equal(r.t, kv.ModRev, z.Mzxid)
			require.LessOrEqual(r.t, z.Czxid, kv.CreateRev)
			require.Equal(r.t, kv.Lease, z.EphemeralOwner)
		}
		if z.EphemeralOwner != 0 {
			counts.Ephemerals++
		}
		if path != "/" {
			at := strings.LastIndexByte(path, '/')
			parent := max(at, 1)
			children[path[:parent]] = append(children[path[:parent]], path[at+1:])
		}
		fmt.Fprintf(&out, "%s%s\n", r.showZnodeAt(path), implicit)
	}
	for _, path := range paths {
		names, z, err := v.Znodes().Children(context.Background(), path)
		require.NoError(r.t, err)
		require.Equal(r.t, children[path], slices.Collect(names.All()), path)
		require.EqualValues(r.t, names.Len(), z.NumChildren, path)
		delete(children, path)
	}
	require.Empty(r.t, children, "znodes without a parent")
	r.checkOpaque(isZnode)
	r.checkIndex()
	require.Equal(r.t, counts, v.ZnodeCounts())
	require.Equal(r.t, rowBytes, v.RowBytes())
	fmt.Fprintf(&out, "%d znodes, %d ephemeral, %d bytes\n", counts.Znodes, counts.Ephemerals, counts.Bytes)
	return out.String()
}

// checkOpaque checks that every key below the mount that is none of the znodes'
// has no legal path, or one that belongs to ZooKeeper's configuration.
func (r *rig) checkOpaque(isZnode map[string]bool) {
	all := &core.Range{Interval: core.Interval{Key: []byte{0}, End: core.FromKey}, KeysOnly: true}
	res, err := r.view.Range(context.Background(), all)
	require.NoError(r.t, err)
	for _, kv := range res.KVs {
		path, ok := strings.CutPrefix(string(kv.Key), r.mount)
		if ok && !isZnode[string(kv.Key)] && znode.Legal(path) {
			require.Contains(r.t, path, "/zookeeper/config")
		}
	}
}

// key reads a key from the latest view, nil if it does not exist.
func (r *rig) key(key string) *core.KV {
	res, err := r.view.Range(context.Background(), &core.Range{Interval: core.Interval{Key: []byte(key)}})
	require.NoError(r.t, err)
	if len(res.KVs) == 0 {
		return nil
	}
	return res.KVs[0]
}

// TestStoreWithoutZnodes opens a store that was founded before there were any.
func TestStoreWithoutZnodes(t *testing.T) {
	r := newRig(t)
	r.apply(&core.SessionOpen{ID: 10, Timeout: time.Second})
	r.commit()
	b := r.db.NewBatch()
	b.Delete(keys.AppendMeta(nil, keys.MetaMount))
	lower, upper := keys.ZnodeBounds()
	b.DeleteRange(lower, upper)
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close())
	require.NoError(t, r.db.Flush())
	r.crash()

	_, err := r.view.Znodes().Znode("/", 0)
	require.ErrorIs(t, err, core.Unsupported)
	_, _, err = r.view.Znodes().Children(context.Background(), "/")
	require.ErrorIs(t, err, core.Unsupported)
	w := &core.ZnodeWrite{Session: core.SessionRef{ID: 10, Epoch: 1}, Ops: []core.ZnodeOp{{Path: "/a", OpenACL: true}}}
	require.Equal(t, core.Unsupported, r.apply(w)[0].Err)
	require.NoError(t, r.apply(&core.Put{Key: []byte("/zk/a")})[0].Err)
	delta := r.commit()
	require.Empty(t, delta.Revisions[0].Steps)
	require.Equal(t, core.ZnodeCounts{Sessions: 1}, r.view.ZnodeCounts())
}

// TestBootstrapRefusesAMount tries prefixes that are none.
func TestBootstrapRefusesAMount(t *testing.T) {
	r := newRig(t)
	for _, prefix := range []string{"/", "zk", "/zk/", "//", "/a//b", "/\x00", "/\xff", "/😀"} {
		require.ErrorContains(t, Bootstrap(r.db, 1, nil, prefix), "is no prefix for znodes", prefix)
	}
}

// TestDamagedTreeStopsTheMachine: a key without its row, a row without its key, and
// one without its parent's are faults of the store, and no answers.
func TestDamagedTreeStopsTheMachine(t *testing.T) {
	write := func(op core.ZnodeOp) core.Command {
		op.OpenACL, op.Version = true, core.AnyVersion
		return &core.ZnodeWrite{Session: core.SessionRef{ID: 10, Epoch: 1}, Ops: []core.ZnodeOp{op}, Multi: true}
	}
	row := func(path string) []byte { return keys.AppendZnode(nil, path) }
	for name, c := range map[string]struct {
		missing []byte
		cmd     core.Command
		want    string
	}{
		"put":     {row("/a"), &core.Put{Key: []byte("/zk/a")}, `no row of znode "/a"`},
		"delete":  {row("/a"), &core.DeleteRange{Interval: core.Interval{Key: []byte("/zk/a")}}, `no row of znode "/a"`},
		"setData": {keys.AppendVersion(nil, []byte("/zk/a"), 2), write(core.ZnodeOp{Type: core.ZnodeSetData, Path: "/a"}), `no key of znode "/a"`},
		"cascade": {row("/i"), &core.DeleteRange{Interval: core.Interval{Key: []byte("/zk/i/j")}}, `no row of znode "/i"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.apply(&core.SessionOpen{ID: 10, Timeout: time.Second}, &core.Put{Key: []byte("/zk/a")},
				&core.Put{Key: []byte("/zk/a/b")}, &core.Put{Key: []byte("/zk/i/j")})
			r.commit()
			b := r.db.NewBatch()
			b.Delete(c.missing)
			require.NoError(t, b.Commit())
			require.NoError(t, b.Close())
			require.NoError(t, r.db.Flush())
			r.damaged = true
			r.crash() // with empty caches

			index, _ := r.machine.Applied()
			frame := command.Entry{Batches: []command.Batch{{Commands: [][]byte{command.AppendCommand(nil, c.cmd)}}}}
			_, err := r.machine.Apply(Entry{Index: index + 1, Term: 2, Frame: frame}, nil)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// TestDeepPathsAreBounded: a put makes a znode of each ancestor, but of no more than
// a path may have.
func TestDeepPathsAreBounded(t *testing.T) {
	r := newRig(t)
	deepest, deeper := "/zk"+strings.Repeat("/a", 256), "/zk"+strings.Repeat("/a", 257)
	r.apply(&core.Put{Key: []byte(deepest)}, &core.Put{Key: []byte(deeper)}, &core.Put{Key: []byte("/zk/" + strings.Repeat("a", 32<<10))},
		&core.SessionOpen{ID: 10, Timeout: time.Second})
	revs := r.commit().Revisions
	require.Len(t, revs, 3)
	require.Len(t, revs[0].Steps, 256)
	require.Empty(t, revs[1].Steps)
	require.Empty(t, revs[2].Steps)
	require.EqualValues(t, 5+256, r.view.ZnodeCounts().Znodes)

	create := &core.ZnodeWrite{Session: core.SessionRef{ID: 10, Epoch: 1}, Ops: []core.ZnodeOp{{Path: deeper[3:], OpenACL: true}}}
	require.Equal(t, core.BadPath, r.apply(create)[0].Err)
	r.apply(&core.DeleteRange{Interval: core.Interval{Key: []byte("/zk"), End: []byte("/zl")}})
	require.Len(t, r.commit().Revisions[0].Steps, 256)
	require.EqualValues(t, 5, r.view.ZnodeCounts().Znodes)
}

// A transaction has many puts: the znodes that one of a megabyte and a half makes of
// their ancestors must not come to hundreds of megabytes. A batch of gigabytes would
// end the member, at each start anew.
func TestDeepPathsOfATransactionAreBounded(t *testing.T) {
	const requestBytes, puts = 3 << 19, 128              // the defaults
	for _, names := range []int{1, 7, 20, 22, 63, 255} { // and one
		r := newRig(t)
		name := strings.Repeat("x", requestBytes/puts/names-1)
		txn := &core.Txn{}
		for i := range puts {
			key := fmt.Sprintf("/zk/%03d", i) + strings.Repeat("/"+name, names)
			txn.Then = append(txn.Then, core.Op{Put: &core.Put{Key: []byte(key)}})
		}
		require.NoError(t, r.apply(txn)[0].Err)
		require.Less(t, r.machine.w.Size(), 48<<20, "paths of %d names", names)
		r.commit()
	}
}
