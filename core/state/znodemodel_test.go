package state

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/triglot/triglot/core"
)

// world is a naive model of keys, znodes and leases: what design.md 7 says, told
// once more, with no thought of cost. It is copied before every command, and the
// copy put back if the command fails.
type world struct {
	mount  string
	rev    core.Rev
	keys   map[string]core.KV
	znodes map[string]znodeModel
	// leases are the epochs of sessions, zero for plain leases.
	leases map[core.LeaseID]uint64

	// now and steps are of the command under way.
	now   int64
	steps []core.ZnodeStep
	// touched says that a key or a znode has changed.
	touched bool
}

// znodeModel is a znode with all its Stat spelt out, but for the children.
type znodeModel struct {
	stat                   core.Stat
	data                   string
	null, implicit, pinned bool
	readOnly               bool
	creates                int32
	container              bool
}

func newWorld(mount string) *world {
	w := &world{mount: mount, rev: 1, keys: map[string]core.KV{}, znodes: map[string]znodeModel{}, leases: map[core.LeaseID]uint64{}}
	for _, path := range fixedPaths {
		w.znodes[path] = znodeModel{implicit: true, pinned: true, readOnly: path == "/zookeeper/config"}
	}
	return w
}

var fixedPaths = []string{"/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"}

func (w *world) clone() *world {
	c := *w
	c.keys, c.znodes, c.leases = maps.Clone(w.keys), maps.Clone(w.znodes), maps.Clone(w.leases)
	c.steps = nil
	return &c
}

func parentPath(path string) string {
	if i := strings.LastIndex(path, "/"); i > 0 {
		return path[:i]
	}
	return "/"
}

func (w *world) children(path string) (names []string) {
	for p := range w.znodes {
		if p != "/" && parentPath(p) == path {
			names = append(names, p[strings.LastIndex(p, "/")+1:])
		}
	}
	slices.Sort(names)
	return names
}

// statOf is the Stat of a znode with what depends on its children.
func (w *world) statOf(path string) core.Stat {
	z := w.znodes[path]
	s := z.stat
	s.NumChildren = int32(len(w.children(path)))
	s.Cversion = 2*z.creates - s.NumChildren
	s.DataLength = int32(len(z.data))
	if z.readOnly {
		s.Aversion = -1 // as ZooKeeper's, whose ACL was set once
	}
	return s
}

func (w *world) counts() core.ZnodeCounts {
	c := core.ZnodeCounts{Znodes: 1}
	for path, z := range w.znodes {
		c.Znodes++
		c.Bytes += int64(len(path) + len(z.data))
		if z.stat.EphemeralOwner != 0 {
			c.Ephemerals++
		}
	}
	for _, epoch := range w.leases {
		if epoch > 0 {
			c.Sessions++
		}
	}
	return c
}

func (w *world) step(e core.ZnodeEvent, path string) {
	w.steps = append(w.steps, core.ZnodeStep{Event: e, Path: path})
	w.touched = true
}

// legal is the rule of paths, for the few that the test draws.
func legal(path string) bool {
	return path == "/" || strings.HasPrefix(path, "/") && !strings.HasSuffix(path, "/") && !strings.Contains(path, "//") && !strings.Contains(path, "/.")
}

// znodeOf is the path of the znode that a key is.
func (w *world) znodeOf(key string) (string, bool) {
	path, ok := strings.CutPrefix(key, w.mount)
	return path, ok && legal(path) && path != "/zookeeper/config" && !strings.HasPrefix(path, "/zookeeper/config/")
}

// birth makes a znode below an existing parent.
func (w *world) birth(path string, z znodeModel) {
	rev := w.rev + 1
	z.stat.Czxid, z.stat.Mzxid, z.stat.Pzxid = rev, rev, rev
	z.stat.Ctime, z.stat.Mtime = w.now, w.now
	w.znodes[path] = z
	w.step(core.ZnodeCreated, path)
	w.touchParent(path, +1)
}

func (w *world) touchParent(path string, creates int32) {
	p := w.znodes[parentPath(path)]
	p.stat.Pzxid = w.rev + 1
	p.creates += creates
	w.znodes[parentPath(path)] = p
}

func (w *world) death(path string) {
	delete(w.znodes, path)
	w.step(core.ZnodeDeleted, path)
	w.touchParent(path, 0)
	parent := parentPath(path)
	if p := w.znodes[parent]; p.implicit && !p.pinned && len(w.children(parent)) == 0 {
		w.death(parent)
	}
}

// data gives a znode other data and a lease.
func (w *world) change(path, data string, null bool, lease core.LeaseID) {
	z := w.znodes[path]
	z.data, z.null, z.implicit, z.pinned = data, null, false, false
	z.stat.Version++
	z.stat.Mzxid, z.stat.Mtime = w.rev+1, w.now
	z.stat.EphemeralOwner = lease
	w.znodes[path] = z
	w.step(core.ZnodeDataChanged, path)
}

func (w *world) putKey(key, value string, lease core.LeaseID) {
	kv, ok := w.keys[key]
	if !ok {
		kv = core.KV{Key: []byte(key), CreateRev: w.rev + 1}
	}
	kv.Value, kv.ModRev, kv.Version, kv.Lease = []byte(value), w.rev+1, kv.Version+1, lease
	if _, ok := w.znodeOf(key); ok {
		kv.Time = w.now
	}
	w.keys[key] = kv
	w.touched = true
}

// put is etcd's.
func (w *world) put(p *core.Put) error {
	key, lease := string(p.Key), p.Lease
	if _, ok := w.leases[p.Lease]; !ok && p.Lease != 0 {
		return core.LeaseNotFound
	}
	prev, exists := w.keys[key]
	if p.IgnoreLease {
		if !exists {
			return core.KeyNotFound
		}
		lease = prev.Lease
	}
	if path, ok := w.znodeOf(key); ok {
		if w.protects(path, lease, p.IgnoreLease) {
			return core.EphemeralProtected
		}
		if _, ok := w.znodes[path]; ok {
			w.change(path, string(p.Value), false, lease)
		} else {
			w.birthWithParents(path, znodeModel{data: string(p.Value), stat: core.Stat{EphemeralOwner: lease}})
		}
	}
	w.putKey(key, string(p.Value), lease)
	return nil
}

func (w *world) birthWithParents(path string, z znodeModel) {
	if parent := parentPath(path); !w.has(parent) {
		w.birthWithParents(parent, znodeModel{implicit: true})
	}
	w.birth(path, z)
}

func (w *world) has(path string) bool { _, ok := w.znodes[path]; return ok }

// protects reports whether a put would break the promise of a session's
// ephemeral.
func (w *world) protects(path string, lease core.LeaseID, keeps bool) bool {
	if z, ok := w.znodes[path]; ok && w.leases[z.stat.EphemeralOwner] > 0 && !keeps {
		return true
	}
	if w.leases[lease] > 0 && len(w.children(path)) > 0 {
		return true
	}
	if w.has(path) {
		return false
	}
	for p := path; p != "/"; {
		p = parentPath(p)
		if w.leases[w.znodes[p].stat.EphemeralOwner] > 0 {
			return true
		}
	}
	return false
}

// deleteKeys deletes keys, and then what they were as znodes, deepest first.
func (w *world) deleteKeys(keys []string) {
	slices.Sort(keys)
	for _, key := range keys {
		delete(w.keys, key)
		w.touched = true
	}
	slices.SortStableFunc(keys, func(a, b string) int { return cmp.Compare(strings.Count(b, "/"), strings.Count(a, "/")) })
	// The root is no deeper than what is below it, whatever its slash says.
	if i := slices.Index(keys, w.mount+"/"); i >= 0 {
		keys = append(slices.Delete(keys, i, i+1), w.mount+"/")
	}
	for _, key := range keys {
		path, ok := w.znodeOf(key)
		if !ok {
			continue
		}
		fixed := slices.Contains(fixedPaths, path)
		if !fixed && len(w.children(path)) == 0 {
			w.death(path)
			continue
		}
		w.change(path, "", false, 0)
		z := w.znodes[path]
		z.implicit, z.pinned, z.container = true, fixed, false
		w.znodes[path] = z
	}
}

func (w *world) deleteRange(in core.Interval) {
	var keys []string
	for key := range w.keys {
		if in.Contains([]byte(key)) {
			keys = append(keys, key)
		}
	}
	w.deleteKeys(keys)
}

func (w *world) revoke(id core.LeaseID) {
	var keys []string
	for key, kv := range w.keys {
		if kv.Lease == id {
			keys = append(keys, key)
		}
	}
	delete(w.leases, id)
	w.deleteKeys(keys)
}

// apply runs a command on a copy of w, which it returns, or w if it failed.
func (w *world) apply(c core.Command, now int64) (next *world, out *core.ZnodeOutcome, err error) {
	next = w.clone()
	next.now, next.touched = now, false
	switch c := c.(type) {
	case *core.Put:
		err = next.put(c)
	case *core.DeleteRange:
		next.deleteRange(c.Interval)
	case *core.Txn:
		err = next.txn(c)
	case *core.LeaseGrant:
		if _, ok := w.leases[c.ID]; ok {
			err = core.LeaseExists
		} else {
			next.leases[c.ID] = 0
		}
	case *core.SessionOpen:
		if _, ok := w.leases[c.ID]; ok {
			err = core.LeaseExists
		} else {
			next.leases[c.ID] = 1
		}
	case *core.LeaseRevoke:
		if _, ok := w.leases[c.ID]; !ok {
			err = core.LeaseNotFound
		} else {
			next.revoke(c.ID)
		}
	case *core.SessionClose:
		if err = w.session(c.Session); err == nil {
			next.revoke(c.Session.ID)
		}
	case *core.ZnodeWrite:
		out, err = next.zk(c)
	default:
		panic(fmt.Sprintf("%T", c))
	}
	if err != nil || out != nil && out.Err != core.Internal {
		undone := *w
		undone.steps, undone.touched = nil, false
		return &undone, out, err
	}
	if next.touched {
		next.rev++
	}
	return next, out, nil
}

func (w *world) txn(t *core.Txn) error {
	for _, op := range t.Then { // what fails for want of a lease or key fails before all else
		if op.Put != nil {
			if _, ok := w.leases[op.Put.Lease]; !ok && op.Put.Lease != 0 {
				return core.LeaseNotFound
			}
			if _, ok := w.keys[string(op.Put.Key)]; !ok && op.Put.IgnoreLease {
				return core.KeyNotFound
			}
		}
	}
	for _, op := range t.Then {
		if op.Delete != nil {
			w.deleteRange(op.Delete.Interval)
		} else if err := w.put(op.Put); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) session(ref core.SessionRef) error {
	switch epoch := w.leases[ref.ID]; {
	case epoch == 0:
		return core.SessionExpired
	case epoch != ref.Epoch:
		return core.SessionMoved
	}
	return nil
}

func (w *world) zk(c *core.ZnodeWrite) (*core.ZnodeOutcome, error) {
	if err := w.session(c.Session); err != nil {
		return nil, err
	}
	out := &core.ZnodeOutcome{Ops: []core.ZnodeOpOutcome{}}
	for i := range c.Ops {
		op, err := w.zkOp(c.Session.ID, &c.Ops[i])
		switch {
		case err != nil && c.Multi:
			return &core.ZnodeOutcome{Err: err.(core.Kind), Failed: i}, nil
		case err != nil:
			return nil, err
		}
		out.Ops = append(out.Ops, op)
	}
	return out, nil
}

func (w *world) zkOp(session core.LeaseID, op *core.ZnodeOp) (out core.ZnodeOpOutcome, err error) {
	if op.Type == core.ZnodeCreate {
		return w.zkCreate(session, op)
	}
	parent, path := parentPath(op.Path), op.Path
	if op.Type == core.ZnodeDelete {
		switch {
		case slices.Contains(fixedPaths, path):
			return out, core.BadPath
		case !w.has(parent):
			return out, core.NoNode
		case w.znodes[parent].readOnly:
			return out, core.NoAuth
		}
	} else if !legal(path) {
		return out, core.BadPath
	}
	z := w.znodes[path]
	switch {
	case !w.has(path):
		return out, core.NoNode
	case z.readOnly && op.Type == core.ZnodeSetData:
		return out, core.NoAuth
	case op.Version != -1 && op.Version != z.stat.Version:
		return out, core.BadVersion
	case op.Type == core.ZnodeCheck:
		return out, nil
	case op.Type == core.ZnodeSetData:
		w.change(path, string(op.Data), op.Null, z.stat.EphemeralOwner)
		w.putKey(w.mount+path, string(op.Data), z.stat.EphemeralOwner)
		out.Stat = w.statOf(path)
		return out, nil
	case len(w.children(path)) > 0:
		return out, core.NotEmpty
	}
	p := w.znodes[parent]
	p.pinned = p.pinned || p.implicit
	w.znodes[parent] = p
	delete(w.keys, w.mount+path)
	w.death(path)
	return out, nil
}

func (w *world) zkCreate(session core.LeaseID, op *core.ZnodeOp) (out core.ZnodeOpOutcome, err error) {
	parent := parentPath(op.Path)
	p := w.znodes[parent]
	switch {
	case !op.OpenACL:
		return out, core.InvalidACL
	case !w.has(parent):
		return out, core.NoNode
	case p.readOnly:
		return out, core.NoAuth
	}
	path := op.Path
	if op.Sequential {
		for {
			path = fmt.Sprintf("%s%010d", op.Path, p.creates)
			if !w.has(path) || !legal(path) {
				break
			}
			p.creates++
		}
	}
	switch {
	case !legal(path):
		return out, core.BadPath
	case w.has(path):
		return out, core.NodeExists
	case p.stat.EphemeralOwner != 0:
		return out, core.NoChildrenForEphemerals
	}
	p.pinned = p.implicit
	w.znodes[parent] = p
	z := znodeModel{data: string(op.Data), null: op.Null}
	if op.Kind == core.ZnodeEphemeral {
		z.stat.EphemeralOwner = session
	}
	w.birth(path, z)
	w.putKey(w.mount+path, string(op.Data), z.stat.EphemeralOwner)
	return core.ZnodeOpOutcome{Path: path, Stat: w.statOf(path)}, nil
}
