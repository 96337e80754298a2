package zk

import "slices"

// add returns a subscriber's watch of a kind at a path, which is neither set nor armed
// if it is new.
func (t *watchTable) add(s *subscriber, kind watchKind, path string) *watch {
	if w := s.watched[kind][path]; w != nil {
		return w
	}
	list := t.lists[kind][path]
	if list == nil {
		list = &watchList{path: path, kind: kind}
		t.lists[kind][path] = list
	}
	w := &watch{sub: s, list: list, pos: len(list.watches)}
	list.watches = append(list.watches, w)
	if s.watched[kind] == nil {
		s.watched[kind] = map[string]*watch{}
	}
	s.watched[kind][list.path] = w
	t.weight += weight(list.path)
	return w
}

// watchOverhead is what a watch takes beside its path in bytes, in three maps and a list:
// measured with a path of its own each.
const watchOverhead = 350

// weight is what a watch at a path takes in bytes.
func weight(path string) int64 { return watchOverhead + int64(len(path)) }

// forget takes a watch that is neither set nor armed out of its list. It may be out.
func (t *watchTable) forget(w *watch) {
	list := w.list
	if list == nil || w.set || w.arming {
		return
	}
	delete(w.sub.watched[list.kind], list.path)
	t.weight -= weight(list.path)
	w.list = nil
	last := len(list.watches) - 1
	moved := list.watches[last]
	list.watches[last] = nil
	list.watches = list.watches[:last]
	if moved != w {
		list.watches[w.pos], moved.pos = moved, w.pos
	}
	if last == 0 {
		delete(t.lists[list.kind], list.path)
	}
}

// change sets a watch or no longer does, and keeps the books. ZooKeeper has a table for
// the data of znodes and one for their children, and counts what each connection has at
// each path of each; a persistent watch is in both (ZooKeeper 3.9
// DataTree.getWatchCount).
func (t *watchTable) change(w *watch, set bool) {
	if w.set == set {
		return
	}
	w.set = set
	one := 1
	if !set {
		one = -1
	}
	s, kind, path := w.sub, w.list.kind, w.list.path
	also := func(other watchKind) bool { return other != kind && s.set(other, path) }
	if kind != watchChild && !also(watchData) && !also(watchPersistent) && !also(watchRecursive) {
		t.count += one
		s.dataPaths += one
	}
	if (kind == watchChild || kind == watchPersistent) && !also(watchChild) && !also(watchPersistent) {
		t.count += one
	}
}

// set says whether a watch is set.
func (s *subscriber) set(kind watchKind, path string) bool {
	w := s.watched[kind][path]
	return w != nil && w.set
}

// has says whether a watch of one of the kinds is set.
func (t *watchTable) has(s *subscriber, path string, kinds []watchKind) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(kinds, func(kind watchKind) bool { return s.set(kind, path) })
}

// remove takes away the watches of some kinds; it reports whether there were any
// (W4).
func (t *watchTable) remove(s *subscriber, path string, kinds []watchKind) (removed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, kind := range kinds {
		if s.set(kind, path) {
			w := s.watched[kind][path]
			t.change(w, false)
			t.forget(w)
			removed = true
		}
	}
	return removed
}

// drop forgets a subscriber, which is told nothing any more. Its kick is not called
// after it.
func (t *watchTable) drop(s *subscriber) {
	for !t.dropSome(s) {
	}
}

// dropSome removes some of a subscriber's watches, and reports whether there are no
// more.
func (t *watchTable) dropSome(s *subscriber) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.gone = true
	s.holding, s.held = false, nil
	delete(t.subs, s)
	n := 0
	for kind := range s.watched {
		for _, w := range s.watched[kind] {
			if n++; n > watchChunk {
				return false
			}
			w.arming = false
			t.change(w, false)
			t.forget(w)
		}
	}
	s.watched = [watchKinds]map[string]*watch{}
	return true
}

// watches is the number of watches set.
func (t *watchTable) watches() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// watchSummary is how many watch how much. As in ZooKeeper, watches of children that fire
// once are not in it, and of several watches of a connection at one path one is (ZooKeeper
// 3.9 DataTree.dumpWatchesSummary).
type watchSummary struct {
	connections, paths, watches int
}

func (t *watchTable) summary() watchSummary {
	t.mu.Lock()
	defer t.mu.Unlock()
	var sum watchSummary
	for s := range t.subs {
		if s.dataPaths > 0 {
			sum.connections++
			sum.watches += s.dataPaths
		}
	}
	data, persistent := t.lists[watchData], t.lists[watchPersistent]
	sum.paths = len(data)
	for path := range persistent {
		if data[path] == nil {
			sum.paths++
		}
	}
	for path := range t.lists[watchRecursive] {
		if data[path] == nil && persistent[path] == nil {
			sum.paths++
		}
	}
	return sum
}

// watchedData is the paths that a subscriber watches, as watchSummary counts them, sorted.
// The table is locked for no more than one subscriber's.
func (t *watchTable) watchedData(s *subscriber) []string {
	t.mu.Lock()
	paths := make([]string, 0, s.dataPaths)
	for _, kind := range []watchKind{watchData, watchPersistent, watchRecursive} {
		for path, w := range s.watched[kind] {
			if w.set {
				paths = append(paths, path)
			}
		}
	}
	t.mu.Unlock()
	slices.Sort(paths)
	return slices.Compact(paths)
}
