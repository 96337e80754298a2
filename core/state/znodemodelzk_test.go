package state

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/triglot/triglot/core"
)

// What follows is ZooKeeper's part of the model: its operations, in its order of checks,
// rights, the reaper and quotas.

func (w *world) zkOp(session core.LeaseID, op *core.ZnodeOp) (out core.ZnodeOpOutcome, err error) {
	switch op.Type {
	case core.ZnodeCreate:
		return w.zkCreate(session, op)
	case core.ZnodeDelete:
		return out, w.zkDelete(op)
	}
	path := op.Path
	z := w.znodes[path]
	need := map[core.ZnodeOpType]core.Perms{
		core.ZnodeSetData: core.PermWrite, core.ZnodeSetACL: core.PermAdmin, core.ZnodeCheck: core.PermRead,
	}[op.Type]
	version := z.stat.Version
	if op.Type == core.ZnodeSetACL {
		version = z.stat.Aversion
	}
	switch {
	case !legal(path):
		return out, core.BadPath
	case op.Type == core.ZnodeSetACL && !op.OpenACL && op.ACL == "":
		return out, core.InvalidACL
	case !w.has(path):
		return out, core.NoNode
	case !w.allowed(z.acl, need), op.Type == core.ZnodeSetData && path == "/zookeeper/config":
		return out, core.NoAuth
	}
	if op.Type == core.ZnodeSetData {
		if err := w.exceeds(path, 0, len(op.Data)-len(z.data)); err != nil {
			return out, err
		}
	}
	if op.Version != -1 && op.Version != version {
		return out, core.BadVersion
	}
	switch op.Type {
	case core.ZnodeSetData:
		w.change(path, string(op.Data), op.Null, z.stat.EphemeralOwner)
		w.putKey(w.mount+path, string(op.Data), z.stat.EphemeralOwner)
	case core.ZnodeSetACL:
		z.acl, z.pinned = listOf(op), z.implicit
		if z.stat.Aversion++; z.stat.Aversion == -1 {
			z.stat.Aversion = 0
		}
		w.znodes[path] = z
		w.touched = true
	default:
		return out, nil
	}
	out.Stat = w.statOf(path)
	return out, nil
}

func (w *world) zkDelete(op *core.ZnodeOp) error {
	path, parent := op.Path, parentPath(op.Path)
	p := w.znodes[parent]
	switch {
	case slices.Contains(fixedPaths, path):
		return core.BadPath
	case !w.has(parent):
		return core.NoNode
	case !w.allowed(p.acl, core.PermDelete):
		return core.NoAuth
	case !w.has(path):
		return core.NoNode
	case op.Version != -1 && op.Version != w.znodes[path].stat.Version:
		return core.BadVersion
	case len(w.children(path)) > 0:
		return core.NotEmpty
	}
	p.pinned = p.pinned || p.implicit
	w.znodes[parent] = p
	delete(w.keys, w.mount+path)
	w.death(path)
	return nil
}

func (w *world) zkCreate(session core.LeaseID, op *core.ZnodeOp) (out core.ZnodeOpOutcome, err error) {
	parent := parentPath(op.Path)
	p := w.znodes[parent]
	switch {
	case !op.OpenACL && op.ACL == "":
		return out, core.InvalidACL
	case !w.has(parent):
		return out, core.NoNode
	case !w.allowed(p.acl, core.PermCreate), parent == "/zookeeper/config":
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
	if err := w.exceeds(path, 1, len(op.Data)); err != nil {
		return out, err
	}
	p.pinned = p.implicit
	w.znodes[parent] = p
	z := znodeModel{data: string(op.Data), null: op.Null, kind: op.Kind, ttl: op.TTL, acl: listOf(op)}
	if op.Kind == core.ZnodeEphemeral {
		z.stat.EphemeralOwner = session
	}
	w.birth(path, z)
	w.putKey(w.mount+path, string(op.Data), z.stat.EphemeralOwner)
	return core.ZnodeOpOutcome{Path: path, Stat: w.statOf(path)}, nil
}

// listOf is the list of an operation, empty if it is the open one.
func listOf(op *core.ZnodeOp) core.ACL {
	if op.ACL == openACL {
		return ""
	}
	return op.ACL
}

func (w *world) allowed(acl core.ACL, need core.Perms) bool {
	if acl == "" || w.who.Super() {
		return true
	}
	entries, err := acl.Entries()
	if err != nil {
		panic(err)
	}
	return slices.ContainsFunc(entries, func(e core.ACLEntry) bool {
		return e.Perms&need != 0 && (e.Scheme == "world" || w.who.Has(e.Scheme, e.ID))
	})
}

func (w *world) reap(path string, neverUsed time.Duration) {
	z, age := w.znodes[path], time.Duration(w.now)*time.Millisecond
	age -= time.Duration(w.znodes[path].stat.Mtime) * time.Millisecond
	switch {
	case !w.has(path) || len(w.children(path)) > 0:
	case z.kind == core.ZnodeContainer && (z.creates > 0 || neverUsed > 0 && age > neverUsed),
		z.kind == core.ZnodeTTL && age > z.ttl:
		delete(w.keys, w.mount+path)
		w.death(path)
	}
}

// usageModel is what a quota's znode of numbers shows.
type usageModel struct {
	counted      bool
	count, bytes int
}

func (u usageModel) text() string { return fmt.Sprintf("count=%d,bytes=%d", u.count, u.bytes) }

// overwrite is a write of one of the few texts that the test draws.
func (u *usageModel) overwrite(data string) {
	switch {
	case !u.counted:
	case data == "", data == "countHardLimit=3":
		u.count, u.bytes = -1, -1
	case data == "count=1,bytes=1=;byteHardLimit=9":
		u.count, u.bytes = 1, 1
	case data == "count=2,bytes=7":
		u.count, u.bytes = 2, 7
	}
}

func quotaModelOf(path, name string) (string, bool) {
	of, ok := strings.CutPrefix(path, "/zookeeper/quota/")
	if !ok {
		return "", false
	}
	of, ok = strings.CutSuffix("/"+of, name)
	return of, ok && of != ""
}

// count counts what a znode of numbers is to show, if it is one.
func (w *world) count(path string) {
	of, ok := quotaModelOf(path, "/zookeeper_stats")
	z, exists := w.znodes[path]
	if !ok || !exists {
		return
	}
	z.used = usageModel{counted: true}
	for p, other := range w.znodes {
		if p == of || strings.HasPrefix(p, of+"/") {
			z.used.count++
			z.used.bytes += len(other.data)
		}
	}
	w.znodes[path] = z
}

// nearest is the nearest quota at or above a path.
func (w *world) nearest(path string) (of string, ok bool) {
	for of = path; of != "/"; of = parentPath(of) {
		if w.has("/zookeeper/quota" + of + "/zookeeper_limits") {
			return of, true
		}
	}
	return "", false
}

func (w *world) charge(path string, count, bytes int) {
	of, ok := w.nearest(path)
	if !ok || count == 0 && bytes == 0 {
		return
	}
	stats := "/zookeeper/quota" + of + "/zookeeper_stats"
	z := w.znodes[stats]
	if !z.used.counted {
		return
	}
	if _, ok := w.before[of]; !ok {
		w.before[of] = z.used
	}
	z.used.count += count
	z.used.bytes += bytes
	w.znodes[stats] = z
}

// exceeds fails if more at a path is more than a hard limit, by what was used before the
// command.
func (w *world) exceeds(path string, count, bytes int) error {
	of, ok := w.nearest(path)
	if !ok || !w.enforce {
		return nil
	}
	limits := w.znodes["/zookeeper/quota"+of+"/zookeeper_limits"]
	stats := w.znodes["/zookeeper/quota"+of+"/zookeeper_stats"]
	if !limits.implicit && (limits.null || limits.data == "x" || limits.data == "data") {
		return core.BadQuota
	}
	used := stats.used
	if before, ok := w.before[of]; ok {
		used = before
	}
	switch {
	case !stats.used.counted:
	case limits.data == "countHardLimit=3" && count != 0 && used.count+count > 3,
		limits.data == "count=1,bytes=1=;byteHardLimit=9" && bytes != 0 && used.bytes+bytes > 9:
		return core.QuotaExceeded
	}
	return nil
}
