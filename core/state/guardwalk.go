package state

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/znode"
	"github.com/triglot/triglot/storage/keys"
)

// maxAbove is how many znodes an interval may begin below, or beside, before it is taken
// for one that asks for what nobody may know: each costs a look at its row, and may at
// apply. maxLooks is how many all intervals of a request may. maxBegin is how much of its
// beginning can be that of a znode.
const (
	maxAbove = 1 << 10
	maxLooks = 1 << 13
	maxBegin = 64 << 10
)

// above returns the paths, in order, of znodes in front of an interval that it may list
// children of, be they there or not: it begins below them, as /a/b does below /a; or
// between them and their children, as /a-1 does, and what a page begins with, /a\x00. It
// fails with PermissionDenied if they are too many.
func (g *guard) above(in core.Interval) ([]string, error) {
	path, ok := g.mount.Inside(in.Key)
	if !ok || in.Single() || !in.Unbounded() && bytes.Compare(in.End, in.Key) <= 0 {
		return nil, nil
	}
	var all []string
	for i := range min(len(path), maxBegin) {
		switch {
		case path[i] == '/':
			// It lists children, unless it ends within the subtree of the one that it
			// begins below.
			next := strings.IndexByte(path[i+1:], '/')
			if next < 0 || reaches(in, g.mount.Below(path[:i+1+next]).End) {
				all = append(all, path[:max(i, 1)])
			}
		case path[i] < '/' && path[i-1] != '/' && reaches(in, g.mount.Below(path[:i]).Key):
			all = append(all, path[:i])
		}
		if len(all) > maxAbove || g.looks+len(all) > maxLooks {
			return nil, core.PermissionDenied
		}
	}
	g.looks += len(all)
	return all, nil
}

// protectedZnode is a znode, or an opaque key, whose ACL is not open.
type protectedZnode struct {
	path string
	acl  core.ZnodeACL
}

// protectedWalk goes over what is protected now and an interval shows something of, in
// the order of the paths: first what is in front of it, then what is in it.
type protectedWalk struct {
	protectedZnode
	err error

	g     *guard
	chunk []protectedZnode
	// lower and upper are the bounds of what was not read yet; lower is nil at the end.
	lower, upper []byte
	above        []string
	// begins says that the next of above is the first: the uppermost.
	begins bool
}

// walkChunk is how many rows of the index are read at a time: in between, other rows are.
const walkChunk = 256

// protected begins a walk. The interval is not a single key.
func (g *guard) protected(in core.Interval) *protectedWalk {
	w := &protectedWalk{g: g}
	if !g.restricted {
		return w
	}
	w.begins = true
	if w.above, w.err = g.above(in); w.err != nil {
		return w
	}
	all := g.mount.Below("/")
	from, to := all.Key, all.End
	if string(in.Key) > string(from) {
		from = in.Key
	}
	if !in.Unbounded() && string(in.End) < string(to) {
		to = in.End
	}
	if string(from) >= string(to) {
		return w
	}
	cut := len(g.mount.Key("/")) - 1
	w.lower = keys.AppendZnodeIndex(nil, keys.IndexRestricted, string(from[cut:]))
	w.upper = keys.AppendZnodeIndex(nil, keys.IndexRestricted, string(to[cut:]))
	return w
}

// next goes to the next one. It reports false at the end, and after an error.
func (w *protectedWalk) next() bool {
	for len(w.above) > 0 && w.err == nil {
		path := w.above[0]
		w.above = w.above[1:]
		r, ok, err := znode.ReadRights(w.g.source, path)
		if err == nil && !ok && w.begins {
			// What it lists children of need not be there: see guard.
			r.ACL, err = w.g.nearest(path)
		}
		w.begins = false
		if w.err = err; err == nil && r.ACL != core.ACLOpen {
			w.protectedZnode = protectedZnode{path, r.ACL}
			return true
		}
	}
	if len(w.chunk) == 0 && w.err == nil && w.lower != nil {
		w.err = w.read()
	}
	if len(w.chunk) == 0 || w.err != nil {
		return false
	}
	w.protectedZnode, w.chunk = w.chunk[0], w.chunk[1:]
	return true
}

func (w *protectedWalk) read() error {
	var bad error
	var last []byte
	chunk := make([]protectedZnode, 0, 8)
	err := w.g.ScanRows(w.lower, w.upper, func(key, value []byte) bool {
		if len(chunk) == walkChunk {
			last = append([]byte(nil), key...)
			return false
		}
		_, path, ok := keys.DecodeZnodeIndex(key)
		acl, known := znode.RestrictedACL(value)
		if !ok || !known {
			bad = fmt.Errorf("row %x of the index of znodes is malformed", key)
			return false
		}
		chunk = append(chunk, protectedZnode{string(path), acl})
		return true
	})
	w.chunk, w.lower = chunk, last
	if err == nil {
		err = bad
	}
	return err
}
