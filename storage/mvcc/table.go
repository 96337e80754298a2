package mvcc

import (
	"hash/maphash"
	"unsafe"
)

// seed is that of all hashes, so that one serves all tables that a key is looked up in.
var seed = maphash.MakeSeed()

// hashOf is the hash of a key. Whoever puts or looks up a key makes it once and hands it
// on: its low bits choose a shard of a Cache, its high half is the tag in a table.
func hashOf(key []byte) uint64 { return maphash.Bytes(seed, key) }

func tagOf(hash uint64) uint32 { return uint32(hash >> 32) }

// table finds entries by the tags of their keys: open addressing with linear probing, in
// one piece of memory. It knows no keys: of the entries with a tag, whoever asks finds
// his by comparing. The zero E is no entry.
type table[E comparable] struct {
	slots []tableSlot[E] // none, or a power of two
	count int
}

type tableSlot[E comparable] struct {
	entry E
	tag   uint32
	// used is for the owner: a Cache marks what was looked up.
	used bool
}

const minTable = 16

// first is the place of the first entry with a tag, -1 if there is none.
func (t *table[E]) first(tag uint32) int {
	if t.count == 0 {
		return -1
	}
	return t.seek(tag, int(tag))
}

// after is the place of the next entry with the tag of the one at i, -1 if there is none.
func (t *table[E]) after(i int) int { return t.seek(t.slots[i].tag, i+1) }

func (t *table[E]) seek(tag uint32, i int) int {
	var none E
	mask := len(t.slots) - 1
	for i &= mask; t.slots[i].entry != none; i = (i + 1) & mask {
		if t.slots[i].tag == tag {
			return i
		}
	}
	return -1
}

// add adds an entry. The places of others may change.
func (t *table[E]) add(tag uint32, e E) {
	if 4*(t.count+1) > 3*len(t.slots) { // a quarter stays free: a search ends there
		t.grow()
	}
	t.count++
	t.insert(tableSlot[E]{entry: e, tag: tag})
}

func (t *table[E]) insert(s tableSlot[E]) {
	var none E
	mask := len(t.slots) - 1
	i := int(s.tag) & mask
	for t.slots[i].entry != none {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

func (t *table[E]) grow() {
	var none E
	old := t.slots
	t.slots = make([]tableSlot[E], max(minTable, 2*len(old)))
	for i := range old {
		if old[i].entry != none {
			t.insert(old[i])
		}
	}
}

// remove takes the entry at i out. What follows it moves up, so that searches find it:
// nothing that was behind i gets in front of it, unless it went around the end.
func (t *table[E]) remove(i int) {
	var none E
	mask := len(t.slots) - 1
	for j := (i + 1) & mask; t.slots[j].entry != none; j = (j + 1) & mask {
		home := int(t.slots[j].tag) & mask
		if (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = tableSlot[E]{}
	t.count--
}

// wideSlots is how many slots are cleared without a look at how many of them were used,
// and above that wideUse slots for each that was: the small batches after a large one must
// not go over all that it needed.
const wideSlots, wideUse = 1024, 16

// reset takes all out. It keeps the memory unless that is more than keep entries', or much
// more than was needed.
func (t *table[E]) reset(keep int) {
	if len(t.slots) > keep || len(t.slots) > max(wideSlots, wideUse*t.count) {
		t.slots = nil
	}
	clear(t.slots)
	t.count = 0
}

// stringOf is b as a string without a copy. b must never change again; a KV's
// key does not.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf is s without a copy, to be read only.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
