package znode

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// Reader reads one moment of the state.
type Reader interface {
	// Row returns a znode's row, nil if there is none.
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
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = keys.AppendZnode((*buf)[:0], path)
	row, err := r.Row(*buf)
	switch {
	case err != nil:
		return core.Znode{}, err
	case row == nil:
		return core.Znode{}, core.NoNode
	}
	n, err := decodeNode(row)
	if err != nil {
		return core.Znode{}, err
	}
	z := core.Znode{Null: n.null, ACL: n.acl}
	if n.implicit {
		if n.servers != "" {
			z.Data = []byte(n.configuration())
		}
		z.Stat = n.stat(nil)
		return z, nil
	}
	*buf = m.appendKey((*buf)[:0], path)
	kv, err := r.Get(*buf, 0)
	switch {
	case err != nil:
		return core.Znode{}, err
	case kv == nil:
		return core.Znode{}, missingKey(path)
	}
	z.Data, z.Stat = kv.Value, n.stat(kv)
	if n.used.counted {
		z.Data, z.Null = []byte(n.used.text()), false
	}
	return z, nil
}

func missingKey(path string) error { return fmt.Errorf("there is no key of znode %q", path) }

// checkEvery is how many children are passed between looks at the context.
const checkEvery = 1024

// commonName is the longest name that all others are guessed to be as long as: one
// may be 32 KiB long, and there may be a million.
const commonName = 64

// Children returns the names of the children of the znode at a path, sorted, and
// the znode. It fails with NoNode. The caller owns the slice; the names share their
// memory.
func Children(ctx context.Context, r Reader, s Scanner, m Mount, path string) ([]string, core.Znode, error) {
	if path == "" {
		path = rootPath
	}
	z, err := Read(r, m, path)
	if err != nil || z.NumChildren == 0 {
		return nil, z, err
	}
	lower, upper, nameAt := keys.ChildBounds(path)
	var bad error
	var names strings.Builder
	ends := make([]int, 0, z.NumChildren)
	err = s.ScanRows(lower, upper, func(key, _ []byte) bool {
		name, ok := keys.ChildName(key, nameAt)
		if !ok {
			bad = fmt.Errorf("row %x is no znode", key)
			return false
		}
		if len(ends) == 0 {
			names.Grow(min(len(name), commonName) * cap(ends)) // names are much of a size
		}
		names.Write(name)
		if ends = append(ends, names.Len()); len(ends)%checkEvery == 0 && ctx.Err() != nil {
			bad = core.ContextError(ctx.Err())
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, core.Znode{}, err
	}
	all, list, start := names.String(), make([]string, len(ends)), 0
	for i, end := range ends {
		list[i] = all[start:end]
		start = end
	}
	return list, z, nil
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
