package mvcc

import (
	"slices"

	"github.com/triglot/triglot/core"
)

// versions is the Writer's overlay of d: the versions written in the batch so
// far, in the order in which they were written, undoable from the end.
type versions struct {
	log []versionOp
	// newest is the place of each key's last entry in log, from 1; older leads from there
	// to the earlier ones.
	newest table[int32]
	// order is the keys of the first ordered entries of log.
	order   keyOrder
	ordered int
}

// versionOp is one version written. A batch has thousands, which are gone over several
// times: it is kept small.
type versionOp struct {
	kv *core.KV
	// prev is the version that it superseded, nil if there was none.
	prev *core.KV
	hash uint64
	sub  uint32
	// rowLen and prevLen are the lengths of the d rows of kv and prev.
	rowLen, prevLen int32
	// older is the place in the log of the key's next older version, -1 if there
	// is none in this batch.
	older int32
	// replaced is the place of a version of the same key and revision that this
	// one took the place of, -1 if there is none: a revision leaves one version.
	replaced int32
	// dead marks a version that has been replaced, newest the last one of its key.
	dead, newest bool
}

// change is the r row of the version.
func (op *versionOp) change() change {
	c := change{deleted: op.kv.Deleted(), len: int(op.rowLen), key: op.kv.Key}
	if op.prev != nil {
		c.prevRev, c.prevLen = op.prev.ModRev, int(op.prevLen)
	}
	return c
}

// sharedPrefix is the length of what all keys of the log begin with.
func (v *versions) sharedPrefix() int {
	if len(v.log) == 0 {
		return 0
	}
	shared := v.log[0].kv.Key
	for i := range v.log {
		key := v.log[i].kv.Key
		if shared = shared[:min(len(shared), len(key))]; string(key[:len(shared)]) == string(shared) {
			continue
		}
		n := 0
		for key[n] == shared[n] {
			n++
		}
		shared = shared[:n]
	}
	return len(shared)
}

// isFirst reports whether the version is the first one of its key in the batch.
func (op *versionOp) isFirst() bool { return op.older < 0 && op.replaced < 0 }

// cached is the version that a cache may have of the key of op: what its first version in
// this batch superseded.
func (v *versions) cached(op *versionOp) *core.KV {
	for op.older >= 0 {
		op = &v.log[op.older]
	}
	return op.prev
}

// find is the place in newest of a key, -1 if the batch does not have it.
func (v *versions) find(hash uint64, key []byte) int {
	i := v.newest.first(tagOf(hash))
	for i >= 0 && string(v.last(i).kv.Key) != string(key) {
		i = v.newest.after(i)
	}
	return i
}

// last is the last entry in log of the key at a place in newest.
func (v *versions) last(i int) *versionOp { return &v.log[v.newest.slots[i].entry-1] }

// at returns the version, or the tombstone, of a key as of a revision, nil if
// the batch has none.
func (v *versions) at(hash uint64, key []byte, rev core.Rev) *core.KV {
	i := v.find(hash, key)
	if i < 0 {
		return nil
	}
	op := v.last(i)
	for op.kv.ModRev > rev {
		if op.older < 0 {
			return nil
		}
		op = &v.log[op.older]
	}
	return op.kv
}

// push adds a version. If it replaces one of the same revision, it takes over
// what that one superseded.
func (v *versions) push(op versionOp) *versionOp {
	op.older, op.replaced, op.newest = -1, -1, true
	place := int32(len(v.log) + 1)
	if i := v.find(op.hash, op.kv.Key); i >= 0 {
		last := v.last(i)
		last.newest = false
		op.older = v.newest.slots[i].entry - 1
		if last.kv.ModRev == op.kv.ModRev {
			last.dead = true
			op.older, op.replaced = last.older, op.older
			op.prev, op.prevLen = last.prev, last.prevLen
		}
		v.newest.slots[i].entry = place
	} else {
		v.newest.add(tagOf(op.hash), place)
	}
	v.log = append(v.log, op)
	return &v.log[len(v.log)-1]
}

// pop takes the last version back and returns it.
func (v *versions) pop() versionOp {
	i := v.find(v.log[len(v.log)-1].hash, v.log[len(v.log)-1].kv.Key)
	op := v.log[len(v.log)-1]
	v.log[len(v.log)-1] = versionOp{}
	v.log = v.log[:len(v.log)-1]
	v.ordered = min(v.ordered, len(v.log))
	before := op.older
	if op.replaced >= 0 {
		before = op.replaced
		v.log[before].dead = false
	}
	if before < 0 {
		v.newest.remove(i) // the key stays in order, where a walk finds nothing for it
		return op
	}
	v.log[before].newest = true
	v.newest.slots[i].entry = before + 1
	return op
}

// from returns the keys of the batch at or after lower, as keyOrder does. Some may be gone.
func (v *versions) from(lower string) []string {
	for ; v.ordered < len(v.log); v.ordered++ {
		if op := &v.log[v.ordered]; op.isFirst() {
			v.order.add(stringOf(op.kv.Key))
		}
	}
	return v.order.from(lower)
}

func (v *versions) reset() {
	v.log = emptied(v.log)
	v.newest.reset(maxKept)
	v.order.reset()
	v.ordered = 0
}

// rows is the Writer's overlay of the other tables: each row's last state,
// undoable from the end.
type rows struct {
	// arena holds the bytes of all keys and values until reset. Appending may
	// move it; what was handed out stays where it was.
	arena  []byte
	places table[int32] // a row's place in states, from 1
	states []rowState
	undo   []rowUndo
	// order is the keys of the first ordered entries of states.
	order   keyOrder
	ordered int
}

// rowState is the state of a row in the overlay. A row whose only change was
// undone is unset: the engine's own state holds.
type rowState struct {
	key, value   []byte
	hash         uint64
	set, deleted bool
}

// rowUndo is a row's state before a change.
type rowUndo struct {
	place  int
	before rowState
}

// find is the place of a row in states, -1 if it has none.
func (r *rows) find(hash uint64, key []byte) int {
	for i := r.places.first(tagOf(hash)); i >= 0; i = r.places.after(i) {
		if place := int(r.places.slots[i].entry - 1); string(r.states[place].key) == string(key) {
			return place
		}
	}
	return -1
}

// put changes a row, whose key has that hash. It copies key and value.
func (r *rows) put(hash uint64, key, value []byte, deleted bool) {
	i := r.find(hash, key)
	if i < 0 {
		i = len(r.states)
		own := r.copy(key)
		r.states = append(r.states, rowState{key: own, hash: hash})
		r.places.add(tagOf(hash), int32(i+1))
	}
	s := &r.states[i]
	r.undo = append(r.undo, rowUndo{place: i, before: *s})
	s.set, s.deleted, s.value = true, deleted, nil
	if !deleted {
		s.value = r.copy(value)
	}
}

func (r *rows) copy(b []byte) []byte {
	n := len(r.arena)
	r.arena = append(r.arena, b...)
	return r.arena[n:len(r.arena):len(r.arena)]
}

// get returns a row's state in the overlay; the zero state if it has none.
func (r *rows) get(hash uint64, key []byte) rowState {
	if i := r.find(hash, key); i >= 0 {
		return r.states[i]
	}
	return rowState{}
}

// from returns the keys of the batch's rows at or after lower, as keyOrder does.
func (r *rows) from(lower string) []string {
	for ; r.ordered < len(r.states); r.ordered++ {
		r.order.add(stringOf(r.states[r.ordered].key))
	}
	return r.order.from(lower)
}

func (r *rows) rollback(mark int) {
	for i := len(r.undo) - 1; i >= mark; i-- {
		u := &r.undo[i]
		r.states[u.place] = u.before
	}
	r.undo = r.undo[:mark]
}

func (r *rows) reset() {
	r.places.reset(maxKept)
	r.states, r.undo = emptied(r.states), emptied(r.undo)
	if r.arena = r.arena[:0]; cap(r.arena) > maxKeptArena {
		r.arena = nil
	}
	r.order.reset()
	r.ordered = 0
}

// keyOrder keeps keys sorted for the scans of a batch. Most batches have none,
// so it sorts only when asked. The keys are never taken out: who walks them must
// pass over those that are gone.
type keyOrder struct {
	sorted []string
	fresh  []string
}

func (o *keyOrder) add(key string) { o.fresh = append(o.fresh, key) }

// from returns all keys at or after lower in order, each once. The slice is
// valid until the next add.
func (o *keyOrder) from(lower string) []string {
	if len(o.fresh) <= fewKeys {
		for _, key := range o.fresh {
			if i, found := slices.BinarySearch(o.sorted, key); !found {
				o.sorted = slices.Insert(o.sorted, i, key)
			}
		}
	} else {
		o.sorted = append(o.sorted, o.fresh...)
		slices.Sort(o.sorted)
		o.sorted = slices.Compact(o.sorted)
	}
	o.fresh = o.fresh[:0]
	i, _ := slices.BinarySearch(o.sorted, lower)
	return o.sorted[i:]
}

// fewKeys is how many keys are put in their places one by one, as between the
// scans of a batch that has many, rather than by sorting all.
const fewKeys = 16

func (o *keyOrder) reset() { o.sorted, o.fresh = emptied(o.sorted), emptied(o.fresh) }

// A batch reuses the memory of the one before, unless that was unusually large:
// it would be held for ever, and a table's is gone over every time it is cleared.
const (
	maxKept      = 16 << 10
	maxKeptArena = 1 << 20
)

func emptied[T any](s []T) []T {
	if cap(s) > maxKept {
		return nil
	}
	clear(s)
	return s[:0]
}
