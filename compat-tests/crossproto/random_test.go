package crossproto

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/server"
)

var (
	seed  = flag.Uint64("seed", 0, "seed of the random test; 0 draws one")
	steps = flag.Int("steps", 300, "steps of the random test")
)

// TestRandom makes random writes of all faces to a few paths that are each other's
// parents, and compares after each what every face shows:
//
//   - etcd's keys are those that a map would have;
//   - the znodes are the keys, what is above them, and what ZooKeeper pinned; each has
//     its key's data, revision and lease;
//   - versions and counters move by what happened, and never go back;
//   - the events are the difference between the trees before and after, in an order
//     in which no child is without its parent, all with the write's revision.
//
// Now and then the server is killed, and must come back with all of it.
//
// A transaction or a multi may make a znode twice, so that only the first three hold,
// the third less strictly, and that no watch of what has changed is silent.
func TestRandom(t *testing.T) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", s)
	p := server.StartT(t, server.Options{Target: server.Triglot})
	r := &random{
		server: p,
		faces:  newFaces(t, p, 3*patience+time.Duration(*steps)*time.Second),
		rand:   rand.New(rand.NewPCG(s, 0)),
		keys:   map[string]entry{},
		pinned: map[string]bool{},
	}
	r.other = dialZK(t, p)
	defer func() { r.other.Close() }()
	before := r.trees()
	for n := range *steps {
		r.arm(before)
		compound := r.rand.IntN(6) == 0
		write := r.write
		if compound {
			write = r.writeMany
		}
		what, err := write(n)
		t.Logf("%d, at %d: %s: %v", n, before.rev, what, err)
		events, zxids := r.zk.told(), r.zk.line.eventZxids()
		after := r.trees()
		require.LessOrEqual(t, after.rev, before.rev+1)
		require.True(t, err == nil || after.rev == before.rev, "a failed write took a revision")
		r.checkKeys(after)
		for p := range after.znodes {
			checkKeyOf(t, p, after)
			checkHistory(t, p, before, after, compound)
		}
		checkEvents(t, before, after, events, compound)
		for _, zxid := range zxids[len(zxids)-len(events):] {
			require.Equal(t, after.rev, zxid)
		}
		before = after
		if n%killEvery == killEvery-1 {
			r.kill()
			require.Equal(t, before.znodes, r.trees().znodes)
		}
	}
}

// killEvery is after how many steps the server is killed.
const killEvery = 80

// kill kills the server, and has it and the sessions back.
func (r *random) kill() {
	r.t.Helper()
	count := r.nodeCount()
	require.NoError(r.t, r.server.Kill())
	require.NoError(r.t, r.server.Restart(r.ctx))
	for _, c := range []*zkClient{r.zk, r.other} {
		require.Eventually(r.t, func() bool { return c.State() == zk.StateHasSession }, patience, pollEvery)
	}
	require.Empty(r.t, r.zk.told(), "nothing has happened meanwhile")
	require.Equal(r.t, count, r.nodeCount())
	// ZooKeeper counts a node without a name, too.
	require.Equal(r.t, fmt.Sprintf("Node count: %d", len(r.walk("/"))+1), count)
}

// nodeCount is the line of srvr.
func (r *random) nodeCount() string {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.server.ZKEndpoint())
	require.NoError(r.t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "srvr")
	require.NoError(r.t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(r.t, err)
	for line := range strings.Lines(string(answer)) {
		if strings.HasPrefix(line, "Node count") {
			return strings.TrimSpace(line)
		}
	}
	return string(answer)
}

// randomPaths are under a parent that is implicit unless something makes it real.
var randomPaths = []string{"/r", "/r/a", "/r/a/b", "/r/a/b/c", "/r/a/d", "/r/a-b", "/r/e", "/r/e/f"}

type random struct {
	*faces
	server *server.Process
	rand   *rand.Rand
	other  *zkClient // its session ends now and then
	lease  clientv3.LeaseID
	// keys are what etcd must have, pinned the znodes without a key below which
	// ZooKeeper created or deleted something: they stay.
	keys   map[string]entry
	pinned map[string]bool
}

type entry struct {
	value string
	lease int64
}

// write makes one write, and tells the model if it succeeds.
func (r *random) write(n int) (what string, err error) {
	p, value := randomPaths[r.rand.IntN(len(randomPaths))], fmt.Sprint(n)
	put := func() { r.put(p, entry{value, 0}) }
	switch r.rand.IntN(11) {
	case 0, 1:
		_, err = r.etcd.Put(r.ctx, key(p), value)
		return "etcd put " + p, r.note(err, put)
	case 2:
		_, err = r.http.try("/v3/kv/put", object{"key": text(key(p)), "value": text(value)})
		return "http put " + p, r.note(err, put)
	case 3:
		return r.putLeased(p, value)
	case 4:
		_, err = r.etcd.Delete(r.ctx, key(p))
		return "etcd delete " + p, r.note(err, func() { delete(r.keys, p) })
	case 5:
		_, err = r.http.try("/v3/kv/deleterange", object{"key": text(key(p)), "range_end": text(key(p) + "\xff")})
		return "http delete prefix " + p, r.note(err, func() {
			maps.DeleteFunc(r.keys, func(k string, _ entry) bool { return strings.HasPrefix(k, p) })
		})
	case 6, 7:
		_, err = r.zk.Create(p, []byte(value), 0, open)
		return "zk create " + p, r.note(err, func() { r.created(p, entry{value, 0}) })
	case 8:
		_, err = r.other.Create(p, []byte(value), zk.FlagEphemeral, open)
		return "zk create ephemeral " + p, r.note(err, func() { r.created(p, entry{value, r.other.SessionID()}) })
	case 9:
		_, err = r.zk.Set(p, []byte(value), -1)
		return "zk set " + p, r.note(err, func() { r.put(p, entry{value, r.keys[p].lease}) })
	default:
		if r.rand.IntN(4) == 0 {
			return r.end()
		}
		err = r.zk.Delete(p, -1)
		return "zk delete " + p, r.note(err, func() { delete(r.keys, p); delete(r.pinned, p); r.pin(path.Dir(p)) })
	}
}

func (r *random) note(err error, succeeded func()) error {
	if err == nil {
		succeeded()
	}
	return err
}

func (r *random) put(p string, e entry) {
	r.keys[p] = e
	delete(r.pinned, p) // it has a key
}

func (r *random) created(p string, e entry) {
	r.put(p, e)
	r.pin(path.Dir(p))
}

// pin notes that a client of ZooKeeper had to do with the children of p.
func (r *random) pin(p string) {
	if p != "/" && r.keys[p] == (entry{}) {
		r.pinned[p] = true
	}
}

func (r *random) putLeased(p, value string) (string, error) {
	if r.lease == 0 {
		grant, err := r.etcd.Grant(r.ctx, 600)
		require.NoError(r.t, err)
		r.lease = grant.ID
	}
	_, err := r.etcd.Put(r.ctx, key(p), value, clientv3.WithLease(r.lease))
	return "etcd put leased " + p, r.note(err, func() { r.put(p, entry{value, int64(r.lease)}) })
}

// writeMany makes a few writes as one, through etcd or ZooKeeper.
func (r *random) writeMany(n int) (what string, err error) {
	value := fmt.Sprint(n)
	var then []clientv3.Op
	var ops []any
	var model []func()
	for _, i := range r.rand.Perm(len(randomPaths))[:3] {
		p := randomPaths[i]
		kind := r.rand.IntN(3)
		if !r.exists(p) && r.rand.IntN(8) > 0 { // else hardly any would succeed
			kind = 0
		} else if kind == 0 {
			kind = 1
		}
		switch kind {
		case 0:
			then = append(then, clientv3.OpPut(key(p), value))
			ops = append(ops, &zk.CreateRequest{Path: p, Data: []byte(value), Acl: open})
			model = append(model, func() { r.created(p, entry{value, 0}) }, func() { r.put(p, entry{value, 0}) })
		case 1:
			then = append(then, clientv3.OpPut(key(p), value))
			ops = append(ops, &zk.SetDataRequest{Path: p, Data: []byte(value), Version: -1})
			model = append(model, func() { r.put(p, entry{value, r.keys[p].lease}) }, func() { r.put(p, entry{value, 0}) })
		case 2:
			then = append(then, clientv3.OpDelete(key(p)))
			ops = append(ops, &zk.DeleteRequest{Path: p, Version: -1})
			model = append(model, func() { delete(r.keys, p); delete(r.pinned, p); r.pin(path.Dir(p)) }, func() { delete(r.keys, p) })
		}
		what += " " + p
	}
	first := r.rand.IntN(2)
	if first == 0 {
		_, err = r.zk.Multi(ops...)
		what = "zk multi" + what
	} else {
		_, err = r.etcd.Txn(r.ctx).Then(then...).Commit()
		what = "etcd txn" + what
	}
	return what, r.note(err, func() {
		for i := first; i < len(model); i += 2 {
			model[i]()
		}
	})
}

func (r *random) exists(p string) bool {
	for k := range r.keys {
		if k == p || strings.HasPrefix(k, p+"/") {
			return true
		}
	}
	return r.pinned[p]
}

// end ends the plain lease or the other session.
func (r *random) end() (what string, err error) {
	id := int64(r.lease)
	if id != 0 && r.rand.IntN(2) == 0 {
		what, r.lease = "revoke", 0
		_, err = r.etcd.Revoke(r.ctx, clientv3.LeaseID(id))
	} else {
		what, id = "close session", r.other.SessionID()
		r.other.Close()
		r.other = dialZK(r.t, r.server)
	}
	maps.DeleteFunc(r.keys, func(_ string, e entry) bool { return e.lease == id })
	return what, err
}

// arm sets every watch that there is.
func (r *random) arm(now trees) {
	r.t.Helper()
	for _, p := range randomPaths {
		r.zk.watchExists(p)
		if _, exists := now.znodes[p]; exists {
			r.zk.watchChildren(p)
		}
	}
}

// trees are what the faces show.
type trees struct {
	rev    int64
	kvs    map[string]*mvccpb.KeyValue
	znodes map[string]znode
}

func (r *random) trees() trees {
	r.t.Helper()
	now := trees{kvs: map[string]*mvccpb.KeyValue{}, znodes: map[string]znode{}}
	got, err := r.etcd.Get(r.ctx, key("/r"), clientv3.WithPrefix())
	require.NoError(r.t, err)
	now.rev = got.Header.Revision
	for _, kv := range got.Kvs {
		now.kvs[string(kv.Key)[len(mount):]] = kv
	}
	exists, _, err := r.zk.Exists("/r")
	require.NoError(r.t, err)
	if exists {
		now.znodes = r.walk("/r")
	}
	return now
}

// children are the names of the children of p, sorted.
func (w trees) children(p string) []string {
	var names []string
	for child := range w.znodes {
		if path.Dir(child) == p {
			names = append(names, child)
		}
	}
	slices.Sort(names)
	return names
}

// checkKeys compares the keys, and which znodes there are, with the model.
func (r *random) checkKeys(now trees) {
	r.t.Helper()
	got := map[string]entry{}
	for p, kv := range now.kvs {
		got[p] = entry{string(kv.Value), kv.Lease}
	}
	require.Equal(r.t, r.keys, got)
	want := map[string]bool{}
	for _, p := range slices.Concat(slices.Collect(maps.Keys(r.keys)), slices.Collect(maps.Keys(r.pinned))) {
		for ; p != "/"; p = path.Dir(p) {
			want[p] = true
		}
	}
	exist := slices.Sorted(maps.Keys(now.znodes))
	require.Equal(r.t, slices.Sorted(maps.Keys(want)), exist)
	maps.DeleteFunc(r.pinned, func(p string, _ bool) bool { return !want[p] })
}

// checkKeyOf compares a znode with its key.
func checkKeyOf(t *testing.T, p string, after trees) {
	t.Helper()
	z, kv := after.znodes[p], after.kvs[p]
	if kv == nil {
		require.Empty(t, z.data, p)
		require.Zero(t, z.stat.EphemeralOwner, p)
	} else {
		require.Equal(t, string(kv.Value), z.data, p)
		require.Equal(t, kv.ModRevision, z.stat.Mzxid, p)
		require.Equal(t, kv.Lease, z.stat.EphemeralOwner, p)
		require.LessOrEqual(t, z.stat.Czxid, kv.CreateRevision, p)
	}
	require.EqualValues(t, len(z.data), z.stat.DataLength, p)
}

// checkHistory compares a znode with what it was.
func checkHistory(t *testing.T, p string, before, after trees, compound bool) {
	t.Helper()
	z, names := after.znodes[p], after.children(p)
	was, existed := before.znodes[p]
	switch {
	case !existed && compound:
		require.Equal(t, after.rev, z.stat.Czxid, p)
		return
	case compound:
		again := z.stat.Czxid == after.rev
		require.True(t, again || z.stat.Czxid == was.stat.Czxid, p)
		require.True(t, again || z.stat.Version >= was.stat.Version, p)
		require.True(t, again || z.stat.Cversion >= was.stat.Cversion, p)
		return
	case !existed:
		require.Equal(t, [3]int64{after.rev, after.rev, after.rev}, [3]int64{z.stat.Czxid, z.stat.Mzxid, z.stat.Pzxid}, p)
		require.Zero(t, z.stat.Version, p)
		require.EqualValues(t, len(names), z.stat.Cversion, p)
		return
	}
	require.Equal(t, was.stat.Czxid, z.stat.Czxid, p)
	require.Equal(t, was.stat.Ctime, z.stat.Ctime, p)
	if dataChanged(p, before, after) {
		require.Equal(t, was.stat.Version+1, z.stat.Version, p)
		require.Equal(t, after.rev, z.stat.Mzxid, p)
		require.GreaterOrEqual(t, z.stat.Mtime, was.stat.Mtime, p)
	} else {
		require.Equal(t, was.stat.Version, z.stat.Version, p)
		require.Equal(t, was.stat.Mzxid, z.stat.Mzxid, p)
		require.Equal(t, was.stat.Mtime, z.stat.Mtime, p)
	}
	moved := difference(before.children(p), names)
	require.Equal(t, was.stat.Cversion+int32(moved), z.stat.Cversion, p)
	if moved > 0 {
		require.Equal(t, after.rev, z.stat.Pzxid, p)
	} else {
		require.Equal(t, was.stat.Pzxid, z.stat.Pzxid, p)
	}
}

// dataChanged reports whether the data of a znode that stays was written.
func dataChanged(p string, before, after trees) bool {
	old, now := before.kvs[p], after.kvs[p]
	return (old == nil) != (now == nil) || old != nil && old.ModRevision != now.ModRevision
}

// difference is the number of names that are in one list only.
func difference(a, b []string) int {
	n := len(b)
	for _, name := range a {
		if slices.Contains(b, name) {
			n--
		} else {
			n++
		}
	}
	return n
}

// checkEvents compares the events of a write with the difference of the trees.
func checkEvents(t *testing.T, before, after trees, events []event, compound bool) {
	t.Helper()
	if compound {
		for _, p := range randomPaths {
			was, existed := before.znodes[p]
			now, exists := after.znodes[p]
			if existed != exists || was.stat.Mzxid != now.stat.Mzxid {
				require.True(t, slices.ContainsFunc(events, func(e event) bool { return e.path == p && e.kind != children }), p)
			}
			if existed && was.stat.Pzxid != now.stat.Pzxid {
				require.True(t, slices.ContainsFunc(events, func(e event) bool {
					return e.path == p && (e.kind == children || e.kind == deleted)
				}), p)
			}
		}
		return
	}
	var want []event
	for _, p := range randomPaths {
		_, existed := before.znodes[p]
		_, exists := after.znodes[p]
		switch {
		case !existed && exists:
			want = append(want, event{created, p})
		case existed && !exists:
			want = append(want, event{deleted, p})
		case existed && dataChanged(p, before, after):
			want = append(want, event{changed, p})
		}
		if existed && difference(before.children(p), after.children(p)) > 0 {
			want = append(want, event{children, p})
		}
	}
	require.ElementsMatch(t, want, events)
	for i, e := range events {
		for _, later := range events[i+1:] {
			below := strings.HasPrefix(later.path, e.path+"/")
			above := strings.HasPrefix(e.path, later.path+"/")
			require.False(t, below && e.kind == deleted && later.kind == deleted, "%v then %v", e, later)
			require.False(t, above && e.kind == created && later.kind == created, "%v then %v", e, later)
		}
	}
}
