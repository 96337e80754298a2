package mvcc

import (
	"slices"

	"github.com/triglot/triglot/core"
)

// versions is the Writer's overlay of d: the versions written in the batch so
// far, in the order in which they were written, undoable from the end.
type versions struct {
	log []versionOp
	// newest is each key's last entry in log, from which older leads to the
	// earlier ones.
	newest map[string]int
	order  keyOrder
}

// versionOp is one version written.
type versionOp struct {
	kv     *core.KV
	sub    uint32
	change change
	// older is the place in the log of the key's next older version, -1 if there
	// is none in this batch.
	older int
	// replaced is the place of a version of the same key and revision that this
	// one took the place of, -1 if there is none: a revision leaves one version.
	replaced int
	// dead marks a version that has been replaced.
	dead bool
}

// at returns the version, or the tombstone, of a key as of a revision, nil if
// the batch has none.
func (v *versions) at(key string, rev core.Rev) *core.KV {
	i, ok := v.newest[key]
	if !ok {
		return nil
	}
	for ; i >= 0; i = v.log[i].older {
		if kv := v.log[i].kv; kv.ModRev <= rev {
			return kv
		}
	}
	return nil
}

// push adds a version. If it replaces one of the same revision, it takes over
// what that one superseded.
func (v *versions) push(op versionOp) *versionOp {
	key := stringOf(op.kv.Key)
	op.older, op.replaced = -1, -1
	if i, ok := v.newest[key]; ok {
		last := &v.log[i]
		op.older = i
		if last.kv.ModRev == op.kv.ModRev {
			last.dead = true
			op.older, op.replaced = last.older, i
			op.change.prevRev, op.change.prevLen = last.change.prevRev, last.change.prevLen
		}
	} else {
		v.order.add(key)
	}
	v.newest[key] = len(v.log)
	v.log = append(v.log, op)
	return &v.log[len(v.log)-1]
}

// pop takes the last version back and returns it.
func (v *versions) pop() versionOp {
	op := v.log[len(v.log)-1]
	v.log[len(v.log)-1] = versionOp{}
	v.log = v.log[:len(v.log)-1]
	key := stringOf(op.kv.Key)
	switch {
	case op.replaced >= 0:
		before := &v.log[op.replaced]
		before.dead = false
		v.newest[stringOf(before.kv.Key)] = op.replaced
	case op.older >= 0:
		v.newest[stringOf(v.log[op.older].kv.Key)] = op.older
	default:
		delete(v.newest, key) // it stays in order, where a walk finds nothing for it
	}
	return op
}

func (v *versions) reset() {
	v.log = emptied(v.log)
	v.newest = emptiedMap(v.newest)
	v.order.reset()
}

// rows is the Writer's overlay of the other tables: each row's last state,
// undoable from the end.
type rows struct {
	// arena holds the bytes of all keys and values until reset. Appending may
	// move it; what was handed out stays where it was.
	arena  []byte
	places map[string]int // a row's place in states
	states []rowState
	undo   []rowUndo
	order  keyOrder
}

// rowState is the state of a row in the overlay. A row whose only change was
// undone is unset: the engine's own state holds.
type rowState struct {
	key, value   []byte
	set, deleted bool
}

// rowUndo is a row's state before a change.
type rowUndo struct {
	place  int
	before rowState
}

// put changes a row. It copies key and value.
func (r *rows) put(key, value []byte, deleted bool) {
	i, ok := r.places[string(key)]
	if !ok {
		i = len(r.states)
		own := r.copy(key)
		r.states = append(r.states, rowState{key: own})
		r.places[stringOf(own)] = i
		r.order.add(stringOf(own))
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
func (r *rows) get(key string) rowState {
	if i, ok := r.places[key]; ok {
		return r.states[i]
	}
	return rowState{}
}

func (r *rows) rollback(mark int) {
	for i := len(r.undo) - 1; i >= mark; i-- {
		u := &r.undo[i]
		r.states[u.place] = u.before
	}
	r.undo = r.undo[:mark]
}

func (r *rows) reset() {
	r.places = emptiedMap(r.places)
	r.states, r.undo = emptied(r.states), emptied(r.undo)
	if r.arena = r.arena[:0]; cap(r.arena) > maxKeptArena {
		r.arena = nil
	}
	r.order.reset()
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
// it would be held for ever, and a map's is gone over every time it is cleared.
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

func emptiedMap(m map[string]int) map[string]int {
	if len(m) > maxKept {
		return make(map[string]int)
	}
	clear(m)
	return m
}
