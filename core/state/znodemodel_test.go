package state

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/triglot/triglot/core"
)

// world is a naive model of keys, znodes and leases: what design.md 7 says, told
// once more, with no thought of cost. It is copied before every command, and the
// copy put back if the command fails.
type world struct {
	mount  string
	rev    core.Rev
	keys   map[string]keyModel
	znodes map[string]znodeModel
	// leases are the epochs of sessions, zero for plain leases.
	leases map[core.LeaseID]uint64

	// now, who, enforce, steps and before are of the command under way: before is what
	// quotas used that it has changed since.
	now     int64
	who     core.Identities
	enforce bool
	steps   []stepModel
	before  map[string]usageModel
	// touched says that a key or a znode has changed.
	touched bool
}

// znodeModel is a znode with all its Stat spelt out, but for the children.
type znodeModel struct {
	stat                   core.Stat
	data                   string
	null, implicit, pinned bool
	creates                int32
	kind                   core.ZnodeKind
	ttl                    time.Duration
	// acl is empty for the open one.
	acl  core.ACL
	used usageModel
}

// stepModel is a step with lists instead of their numbers.
type stepModel struct {
	event       core.ZnodeEvent
	path        string
	acl, parent core.ACL
}

// keyModel is a key, and the list that its version was written under.
type keyModel struct {
	core.KV
	acl core.ACL
}

var (
	openACL     = core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "world", ID: "anyone"})
	readOnlyACL = core.PackACL(core.ACLEntry{Perms: core.PermRead, Scheme: "world", ID: "anyone"})
)

func newWorld(mount string) *world {
	w := &world{mount: mount, rev: 1, keys: map[string]keyModel{}, znodes: map[string]znodeModel{}, leases: map[core.LeaseID]uint64{}}
	for _, path := range fixedPaths {
		w.znodes[path] = znodeModel{implicit: true, pinned: true}
	}
	// As ZooKeeper's, whose ACL was set once.
	w.znodes["/zookeeper/config"] = znodeModel{implicit: true, pinned: true, acl: readOnlyACL, stat: core.Stat{Aversion: -1}}
	return w
}

var fixedPaths = []string{"/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"}

func (w *world) clone() *world {
	c := *w
	c.keys, c.znodes, c.leases = maps.Clone(w.keys), maps.Clone(w.znodes), maps.Clone(w.leases)
	c.steps, c.before = nil, map[string]usageModel{}
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
	if z.used.counted && !z.implicit {
		s.DataLength = int32(len(z.used.text()))
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

// step notes what happens to a znode, which is there.
func (w *world) step(e core.ZnodeEvent, path string) {
	s := stepModel{event: e, path: path, acl: w.znodes[path].acl}
	if path != "/" {
		s.parent = w.znodes[parentPath(path)].acl
	}
	w.steps = append(w.steps, s)
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
	w.lease(&z, z.stat.EphemeralOwner)
	w.znodes[path] = z
	w.count(path)
	w.step(core.ZnodeCreated, path)
	w.touchParent(path, +1)
	if of, ok := quotaModelOf(path, "/zookeeper_limits"); ok {
		w.count("/zookeeper/quota" + of + "/zookeeper_stats")
	}
	w.charge(path, 1, len(z.data))
}

// lease makes a znode what the lease of its key makes it.
func (w *world) lease(z *znodeModel, lease core.LeaseID) {
	z.stat.EphemeralOwner = lease
	switch {
	case lease != 0:
		z.kind, z.ttl = core.ZnodeEphemeral, 0
	case z.kind == core.ZnodeEphemeral:
		z.kind = core.ZnodePersistent
	}
}

func (w *world) touchParent(path string, creates int32) {
	p := w.znodes[parentPath(path)]
	p.stat.Pzxid = w.rev + 1
	p.creates += creates
	w.znodes[parentPath(path)] = p
}

func (w *world) death(path string) {
	w.step(core.ZnodeDeleted, path)
	size := len(w.znodes[path].data)
	delete(w.znodes, path)
	w.charge(path, -1, -size)
	w.touchParent(path, 0)
	parent := parentPath(path)
	if p := w.znodes[parent]; p.implicit && !p.pinned && len(w.children(parent)) == 0 {
		w.death(parent)
	}
}

// data gives a znode other data and a lease.
func (w *world) change(path, data string, null bool, lease core.LeaseID) {
	z := w.znodes[path]
	was, grown := z.implicit, len(data)-len(z.data)
	z.data, z.null, z.implicit, z.pinned = data, null, false, false
	z.stat.Version++
	z.stat.Mzxid, z.stat.Mtime = w.rev+1, w.now
	w.lease(&z, lease)
	z.used.overwrite(data)
	w.znodes[path] = z
	if was {
		w.count(path)
	}
	w.step(core.ZnodeDataChanged, path)
	w.charge(path, 0, grown)
}

func (w *world) putKey(key, value string, lease core.LeaseID) {
	kv, ok := w.keys[key]
	if !ok {
		kv.KV = core.KV{Key: []byte(key), CreateRev: w.rev + 1}
	}
	kv.Value, kv.ModRev, kv.Version, kv.Lease = []byte(value), w.rev+1, kv.Version+1, lease
	if path, ok := w.znodeOf(key); ok {
		kv.Time, kv.acl = w.now, w.znodes[path].acl
	} else {
		kv.acl = w.opaqueACL(key)
	}
	w.keys[key] = kv
	w.touched = true
}

// opaqueACL is the list that an opaque key is given: that of its nearest ancestor, while
// anything is restricted.
func (w *world) opaqueACL(key string) core.ACL {
	path, ok := strings.CutPrefix(key, w.mount)
	if !ok || !strings.HasPrefix(path, "/") || len(w.restricted()) == 0 {
		return ""
	}
	if i := strings.Index(path, "//"); i >= 0 {
		path = path[:i+1]
	}
	for path = parentPath(path); !w.has(path); path = parentPath(path) {
	}
	return w.znodes[path].acl
}

// restricted are the paths of znodes and opaque keys whose ACL is not open, sorted.
func (w *world) restricted() (paths []string) {
	for path, z := range w.znodes {
		if z.acl != "" && path != "/zookeeper/config" {
			paths = append(paths, path)
		}
	}
	for key, kv := range w.keys {
		if _, ok := w.znodeOf(key); !ok && kv.acl != "" {
			paths = append(paths, strings.TrimPrefix(key, w.mount))
		}
	}
	slices.Sort(paths)
	return paths
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
	z.acl = w.znodes[parentPath(path)].acl
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
		z.implicit, z.pinned, z.kind, z.ttl, z.used = true, fixed, core.ZnodePersistent, 0, usageModel{}
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
func (w *world) apply(c core.Command, who core.Identities, now int64) (next *world, out *core.ZnodeOutcome, err error) {
	next = w.clone()
	next.now, next.who, next.touched = now, who, false
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
		next.enforce = c.EnforceQuota
		out, err = next.zk(c)
	case *core.ZnodeReap:
		next.reap(c.Paths[0], c.NeverUsed)
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
