package znode

import (
	"bytes"
	"context"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/kv"
	"github.com/triglot/triglot/storage/keys"
)

// due reports whether a znode may be reaped: a container without children that has had
// some, or is older than neverUsed, unless that is zero; a znode without children whose
// data is older than its time to live, whatever became of its children (ZooKeeper 3.9
// ContainerManager; E2, E3). Times are in milliseconds since 1970, but for neverUsed.
func (n *node) due(written, now int64, neverUsed time.Duration) bool {
	if n.children > 0 {
		return false
	}
	age := now - written
	switch n.kind {
	case core.ZnodeContainer:
		return n.creates > 0 || neverUsed > 0 && age > neverUsed.Milliseconds()
	case core.ZnodeTTL:
		return age > n.ttl
	default:
		return false
	}
}

// Reap deletes the znode at a path if it may be reaped. That it was found to be due
// before says nothing: it may be another by now.
func (t *Tree) Reap(tx *kv.Tx, path string, neverUsed time.Duration) error {
	n, ok, err := t.get(path)
	if err != nil || !ok || n.kind < core.ZnodeContainer {
		return err
	}
	prev, err := t.keyValue(path, &n)
	if err != nil || !n.due(prev.Time, t.now, neverUsed) {
		return err
	}
	return t.delete(tx, path, n, prev, false)
}

// Due is a page of the znodes that may be reaped.
type Due struct {
	Paths []string
	// More says that the index goes on: behind Last.
	More bool
	Last []byte
}

// maxLooked is how many znodes of the index are looked at for one page.
const maxLooked = 10_000

// FindDue looks for up to limit znodes that may be reaped at a time in milliseconds
// since 1970, in the order of the index, behind its row after, or from its beginning.
func FindDue(ctx context.Context, r Reader, s Scanner, m Mount, after []byte, limit int, now int64, neverUsed time.Duration) (Due, error) {
	lower, _ := keys.ZnodeIndexBounds(keys.IndexContainer)
	_, upper := keys.ZnodeIndexBounds(keys.IndexTTL)
	if after != nil {
		lower = after
	}
	var page Due
	var failed error
	looked := 0
	err := s.ScanRows(lower, upper, func(key, _ []byte) bool {
		if bytes.Equal(key, after) {
			return true
		}
		if len(page.Paths) == limit || looked == maxLooked {
			page.More = true
			return false
		}
		looked++
		page.Last = append(page.Last[:0], key...)
		kind, path, ok := keys.DecodeZnodeIndex(key)
		if !ok || kind != keys.IndexContainer && kind != keys.IndexTTL {
			return true
		}
		var is bool
		if is, failed = isDue(r, m, string(path), now, neverUsed); is {
			page.Paths = append(page.Paths, string(path))
		}
		if failed == nil && ctx.Err() != nil {
			failed = core.ContextError(ctx.Err())
		}
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	return page, err
}

func isDue(r Reader, m Mount, path string, now int64, neverUsed time.Duration) (bool, error) {
	row, err := r.Row(keys.AppendZnode(nil, path))
	if err != nil || row == nil {
		return false, err
	}
	n, err := decodeNode(row)
	if err != nil || n.implicit || n.children > 0 {
		return false, err
	}
	kv, err := r.Get(m.appendKey(nil, path), 0)
	if err != nil {
		return false, err
	}
	if kv == nil {
		return false, missingKey(path)
	}
	return n.due(kv.Time, now, neverUsed), nil
}
