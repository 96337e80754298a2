package znode

import (
	"container/list"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/triglot/triglot/core"
)

// MaxListBytes bounds what Lists remembers: the children of 10 000 znodes that have a hundred
// each, with short names. A list that is longer than maxListShare is not remembered, as it
// would take the place of too many others.
const (
	MaxListBytes = 16 << 20
	maxListShare = MaxListBytes / 8
	// listOverhead is about what a list takes besides its bytes: it, and what finds it.
	listOverhead = 256
)

// Lists remembers the names of znodes' children, so that those who list the same znode time
// and again need not scan the engine. The zero value is ready; nil remembers nothing. It is
// safe for concurrent use.
//
// A list holds as long as the row of the parent is the very one that was read with it, told
// by where it lies in memory: each child that comes or goes has the parent's row written
// anew, and of the cache of rows (mvcc.Cache) a view gets an entry only if none of the writes
// between its reader's view and that of the list has replaced it. What the row says would not
// do: a restore gives a znode numbers that it may have had before, among other children.
type Lists struct {
	// mu guards all below.
	mu     sync.RWMutex
	byPath map[string]*childList
	// oldest has the lists in the order in which they are considered for eviction.
	oldest list.List
	bytes  int
}

// childList is the children of one znode. It is immutable but for used.
type childList struct {
	path string
	// row is the parent's. Held here, no other can come to lie in its place.
	row   []byte
	names core.Names
	place *list.Element
	// used says that it was asked for since it was last considered for eviction.
	used atomic.Bool
}

func (c *childList) size() int {
	return listOverhead + 2*len(c.path) + len(c.row) + cap(c.names.Packed())
}

// find returns the children of the znode at a path that has the row, if they are known.
func (l *Lists) find(path string, row []byte) (core.Names, bool) {
	if l == nil {
		return core.Names{}, false
	}
	l.mu.RLock()
	known := l.byPath[path]
	l.mu.RUnlock()
	if known == nil || &known.row[0] != &row[0] {
		return core.Names{}, false
	}
	if !known.used.Load() { // a store costs the other readers more
		known.used.Store(true)
	}
	return known.names, true
}

// keep remembers the children of the znode at a path, read from a view in which it has the
// row, instead of what was known of it. It copies the path.
func (l *Lists) keep(path string, row []byte, names core.Names) {
	if l == nil {
		return
	}
	c := &childList{path: strings.Clone(path), row: row, names: names}
	l.mu.Lock()
	defer l.mu.Unlock()
	if before := l.byPath[path]; before != nil {
		l.forget(before)
	}
	if c.size() > maxListShare {
		return
	}
	if l.byPath == nil {
		l.byPath = map[string]*childList{}
	}
	l.byPath[c.path], c.place = c, l.oldest.PushBack(c)
	for l.bytes += c.size(); l.bytes > MaxListBytes; {
		if first := l.oldest.Front().Value.(*childList); first.used.Swap(false) {
			l.oldest.MoveToBack(first.place)
		} else {
			l.forget(first)
		}
	}
}

// forget takes a list out. REQUIRES: mu.
func (l *Lists) forget(c *childList) {
	delete(l.byPath, c.path)
	l.oldest.Remove(c.place)
	l.bytes -= c.size()
}
