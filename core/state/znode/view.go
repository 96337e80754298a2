package znode

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// Reader reads one moment of the state.
type Reader interface {
	// Row returns a znode's row, nil if there is none: one that was written anew, be it
	// with the same bytes, is another slice (see Lists).
	Row(key []byte) ([]byte, error)
	// Get returns the version of a key at a revision, nil if it does not exist;
	// zero is the newest.
	Get(key []byte, at core.Rev) (*core.KV, error)
}

// Scanner scans rows.
type Scanner interface {
	// ScanRows calls fn for the rows in [lower, upper), in order, until it
	// returns false. The slices are valid during the call only.
	ScanRows(lower, upper []byte, fn func(key, value []byte) bool) error
}

// buffers holds buffers for keys.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Read returns the znode at a path; the empty path is the root's. It fails with
// NoNode.
func Read(r Reader, m Mount, path string) (core.Znode, error) {
	if path == "" {
		path = rootPath
	}
	z, _, err := read(r, m, path)
	return z, err
}

// read is Read, and the znode's row.
func read(r Reader, m Mount, path string) (core.Znode, []byte, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = keys.AppendZnode((*buf)[:0], path)
	row, err := r.Row(*buf)
	switch {
	case err != nil:
		return core.Znode{}, nil, err
	case row == nil:
		return core.Znode{}, nil, core.NoNode
	}
	n, err := decodeNode(row)
	if err != nil {
		return core.Znode{}, nil, err
	}
	z := core.Znode{Null: n.null, ACL: n.acl}
	if n.implicit {
		if n.servers != "" {
			z.Data = []byte(n.configuration())
		}
		z.Stat = n.stat(nil)
		return z, row, nil
	}
	*buf = m.appendKey((*buf)[:0], path)
	kv, err := r.Get(*buf, 0)
	switch {
	case err != nil:
		return core.Znode{}, nil, err
	case kv == nil:
		return core.Znode{}, nil, missingKey(path)
	}
	z.Data, z.Stat = kv.Value, n.stat(kv)
	if n.used.counted {
		z.Data, z.Null = []byte(n.used.text()), false
	}
	return z, row, nil
}

func missingKey(path string) error { return fmt.Errorf("there is no key of znode %q", path) }

// checkEvery is how many children are passed between looks at the context.
const checkEvery = 1024

// commonName is the longest name that all others are guessed to be as long as: one
// may be 32 KiB long, and there may be a million.
const commonName = 64

// Children returns the names of the children of the znode at a path, sorted, and
// the znode. It fails with NoNode. What known remembers is not looked for again.
func Children(ctx context.Context, r Reader, s Scanner, known *Lists, m Mount, path string) (core.Names, core.Znode, error) {
	if path == "" {
		path = rootPath
	}
	z, row, err := read(r, m, path)
	if err != nil || z.NumChildren == 0 {
		return core.Names{}, z, err
	}
	names, ok := known.find(path, row)
	if ok {
		return names, z, nil
	}
	if names, err = scanChildren(ctx, s, path, int(z.NumChildren)); err != nil {
		return core.Names{}, core.Znode{}, err
	}
	known.keep(path, row, names)
	return names, z, nil
}

// scanChildren reads the names of the children of a znode, which has so many.
func scanChildren(ctx context.Context, s Scanner, path string, count int) (core.Names, error) {
	lower, upper, nameAt := keys.ChildBounds(path)
	var bad error
	var packed []byte
	n := 0
	err := s.ScanRows(lower, upper, func(key, _ []byte) bool {
		name, ok := keys.ChildName(key, nameAt)
		if !ok {
			bad = fmt.Errorf("row %x is no znode", key)
			return false
		}
		if n == 0 {
			packed = make([]byte, 0, (min(len(name), commonName)+core.NameOverhead)*count) // names are much of a size
		}
		packed = core.AppendName(packed, name)
		if n++; n%checkEvery == 0 && ctx.Err() != nil {
			bad = core.ContextError(ctx.Err())
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if cap(packed) > len(packed)+len(packed)/4 { // it may be kept
		packed = slices.Clone(packed)
	}
	return core.NewNames(packed, n), err
}

// Descendants is the number of all znodes below the one at a path, which exists; of is
// that of all znodes. It is ZooKeeper's getAllChildrenNumber (ZooKeeper 3.9 DataTree),
// which knows the root by two names and counts the other one below the empty one.
func Descendants(ctx context.Context, s Scanner, path string, all int64) (int64, error) {
	switch path {
	case rootPath:
		return all - 2, nil
	case "":
		return all - 1, nil
	}
	return countBelow(ctx, s, path)
}

// PathOf returns the path of the znode whose key it is; ok is false if it is none's.
func (m Mount) PathOf(key []byte) (path string, ok bool) { return m.path(key) }

// countBelow is the number of rows below a znode: a level after the other, each of which
// lies together.
func countBelow(ctx context.Context, s Scanner, path string) (total int64, err error) {
	for level := uint32(1); level <= maxPathDepth; level++ {
		lower, upper, _ := keys.LevelBounds(path, level)
		before := total
		err := s.ScanRows(lower, upper, func(_, _ []byte) bool {
			total++
			return total%checkEvery != 0 || ctx.Err() == nil
		})
		switch {
		case err != nil:
			return 0, err
		case ctx.Err() != nil:
			return 0, core.ContextError(ctx.Err())
		case total == before:
			return total, nil
		}
	}
	return total, nil
}
