package mvcc

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// Writer gathers changes into one engine batch and sees them before they are
// committed. It is the only writer of all rows but the Collector's. It is for one
// goroutine, which is apply's.
type Writer struct {
	db     *storage.DB
	caches Caches

	versions versions
	rows     rows

	// lookup reads the engine as of the last commit, nil until it is needed. The
	// batch itself is not in the engine yet, so it stays right until Commit.
	lookup  *storage.Iter
	scratch []byte
	order   []placed // reused, see inKeyOrder
	// committed is the index of the last Commit, zero before the first.
	committed uint64
	// written is the logical size of all versions ever written, this batch's
	// included; saved is what the engine has of it.
	written, saved int64
	// size is about what the batch will take.
	size int
	// reads counts what was read from the engine and was there, until TakeReads.
	reads int
	// looked is what was looked up and was there, in a cache or in the engine.
	looked distinct
}

// NewWriter makes a Writer of db, of which there must be no other.
func NewWriter(db *storage.DB, caches Caches) (*Writer, error) {
	w := &Writer{db: db, caches: caches}
	written, err := counter(db, keys.MetaDataWritten)
	if err != nil {
		return nil, err
	}
	w.written, w.saved = written, written
	return w, nil
}

// newestRev reads the newest version, whatever its revision.
const newestRev = core.Rev(math.MaxInt64)

// Get returns the version of key as of revision at, the batch's own writes
// included; nil if it does not exist there. Zero or less is now.
func (w *Writer) Get(key []byte, at core.Rev) (*core.KV, error) {
	if at <= 0 {
		at = newestRev
	}
	hash := hashOf(key)
	if kv := w.versions.at(hash, key, at); kv != nil {
		return live(kv), nil
	}
	if kv := w.caches.Versions.get(hash, key, at); kv != nil {
		if !kv.Deleted() {
			w.looked.add(hash)
		}
		return live(kv), nil
	}
	if err := w.openLookup(); err != nil {
		return nil, err
	}
	kv, err := lookUpIn(w.lookup, &w.scratch, key, at)
	if err != nil || live(kv) == nil {
		return nil, err
	}
	w.reads++
	w.looked.add(hash)
	if at == newestRev {
		// An absence is not worth an entry: most often the key is written next.
		w.caches.Versions.fill(hash, kv, math.MaxUint64)
	}
	return kv, nil
}

// Put writes a version: kv's key, in kv's revision, as its change number sub.
// prev is what Get returned for the key just before, nil if it did not exist. A
// second write of a key in one revision replaces the first.
//
// kv is immutable from now on; it goes into the cache, which counts its Size, so
// its slices must not be small parts of large buffers.
func (w *Writer) Put(kv *core.KV, sub uint32, prev *core.KV) {
	made := versionOp{kv: kv, prev: prev, hash: hashOf(kv.Key), sub: sub, rowLen: int32(rowLen(kv))}
	if prev != nil {
		made.prevLen = int32(rowLen(prev))
	}
	op := w.versions.push(made)
	if op.replaced >= 0 {
		w.account(&w.versions.log[op.replaced], -1)
	}
	w.account(op, +1)
}

// Delete writes a tombstone with the ACL that the key had, as Put does a version, and
// returns it. It copies key.
func (w *Writer) Delete(key []byte, rev core.Rev, sub uint32, prev *core.KV, acl core.ZnodeACL) *core.KV {
	kv := absence(key, rev)
	kv.ACL = acl
	w.Put(kv, sub, prev)
	return kv
}

// account adds or removes what op brings to the batch.
func (w *Writer) account(op *versionOp, sign int) {
	n, c := int(op.rowLen), op.change()
	w.written += int64(sign) * logicalSize(len(op.kv.Key), n)
	w.size += sign * (keys.VersionLen(len(op.kv.Key)) + n + keys.ChangeLen + c.encodedLen() + 2*opOverhead)
}

// opOverhead is what an operation of an engine batch takes besides its key and
// value: a kind and two lengths.
const opOverhead = 1 + 2*binary.MaxVarintLen32

// Written is the logical size of all versions ever written to the store, those
// of the batch included.
func (w *Writer) Written() int64 { return w.written }

// SetRow writes a row of another table, by its key from package keys. It copies
// both.
func (w *Writer) SetRow(key, value []byte) {
	w.rows.put(hashOf(key), key, value, false)
	w.size += len(key) + len(value) + opOverhead
}

// DeleteRow removes a row of another table.
func (w *Writer) DeleteRow(key []byte) {
	w.rows.put(hashOf(key), key, nil, true)
	w.size += len(key) + opOverhead
}

// GetRow returns a row of another table, nil if there is none. The slice must
// not be written to and is valid until Commit.
func (w *Writer) GetRow(key []byte) ([]byte, error) {
	hash := hashOf(key)
	if s := w.rows.get(hash, key); s.set {
		return s.value, nil
	}
	if !keys.IsCached(key) {
		return w.db.Get(key)
	}
	return w.cachedRow(hash, key)
}

// TakeReads is how many versions, and rows of the n and the A table, were read from the
// engine because no cache had them, since the last call. What was not there is not counted:
// filters tell of most of that.
func (w *Writer) TakeReads() int {
	n := w.reads
	w.reads = 0
	return n
}

// TakeLooked is how many versions and rows have been looked up, and were there, since the
// last call, none of which had been since ForgetLooked: what applying the same entries would
// read from the engine if nothing was cached.
func (w *Writer) TakeLooked() int { return w.looked.take() }

// ForgetLooked has TakeLooked begin anew.
func (w *Writer) ForgetLooked() { w.looked = distinct{} }

// Mark is a point to go back to.
type Mark struct{ versions, rows int }

// Mark returns the present point of the batch.
func (w *Writer) Mark() Mark { return Mark{len(w.versions.log), len(w.rows.undo)} }

// Rollback undoes everything since the mark, which must be of this batch.
func (w *Writer) Rollback(m Mark) {
	for len(w.versions.log) > m.versions {
		op := w.versions.pop()
		w.account(&op, -1)
		if op.replaced >= 0 {
			w.account(&w.versions.log[op.replaced], +1)
		}
	}
	w.rows.rollback(m.rows)
}

// Size is about how many bytes the batch will take in the engine.
func (w *Writer) Size() int { return w.size }

// Commit applies the batch, whose last entry is that of index, and then brings
// the cache up to date; the new view may be published when it returns. After an
// error the state is unknown and the Writer must not be used.
func (w *Writer) Commit(index uint64) error {
	if err := w.commitEngine(); err != nil {
		return err
	}
	w.commitCache(index)
	return nil
}

func (w *Writer) commitEngine() error {
	if err := w.closeLookup(); err != nil {
		return err
	}
	if w.written != w.saved {
		w.SetRow(keys.AppendMeta(nil, keys.MetaDataWritten), binary.BigEndian.AppendUint64(nil, uint64(w.written)))
	}
	b := w.db.NewSizedBatch(w.size)
	w.encode(b)
	return errors.Join(b.Commit(), b.Close())
}

func (w *Writer) commitCache(index uint64) {
	for i := range w.versions.log {
		if op := &w.versions.log[i]; op.newest {
			w.caches.Versions.write(op.hash, op.kv, w.versions.cached(op), index)
		}
	}
	w.commitRows(index)
	w.committed = index
	w.versions.reset()
	w.rows.reset()
	w.saved, w.size, w.order = w.written, 0, emptied(w.order)
}

// encode writes the tables one after the other, each in order: the engine's memtable finds
// the place of a row from that of the one before, which is a fraction of the cost if they
// are close (BenchmarkPutScattered).
func (w *Writer) encode(b *storage.Batch) {
	for _, p := range w.inKeyOrder() {
		op := &w.versions.log[p.at]
		key, value := b.SetDeferred(keys.VersionLen(len(op.kv.Key)), int(op.rowLen))
		keys.AppendVersion(key[:0], op.kv.Key, op.kv.ModRev)
		appendRow(value[:0], op.kv)
	}
	for i := range w.versions.log {
		if op := &w.versions.log[i]; !op.dead {
			c := op.change()
			key, value := b.SetDeferred(keys.ChangeLen, c.encodedLen())
			keys.AppendChange(key[:0], op.kv.ModRev, op.sub)
			c.append(value[:0])
		}
	}
	for i := range w.rows.states {
		switch s := &w.rows.states[i]; {
		case !s.set:
		case s.deleted:
			b.Delete(s.key)
		default:
			b.Set(s.key, s.value)
		}
	}
}

// placed is where a version of the log is, and the sixteen bytes of its key that follow
// on what all keys of the batch begin with: they tell most keys apart without a look at them.
type placed struct {
	high, low uint64
	at        int32
}

// inKeyOrder is the versions of the log that leave a row, as their rows are ordered: by
// key, the newest first.
func (w *Writer) inKeyOrder() []placed {
	w.order = emptied(w.order)
	log := w.versions.log
	shared := w.versions.sharedPrefix()
	for i := range log {
		if op := &log[i]; !op.dead {
			rest := op.kv.Key[shared:]
			w.order = append(w.order, placed{firstBytes(rest), firstBytes(rest[min(8, len(rest)):]), int32(i)})
		}
	}
	slices.SortFunc(w.order, func(a, b placed) int {
		if a.high != b.high {
			return cmp.Compare(a.high, b.high)
		}
		if a.low != b.low {
			return cmp.Compare(a.low, b.low)
		}
		x, y := log[a.at].kv, log[b.at].kv
		if c := bytes.Compare(x.Key, y.Key); c != 0 {
			return c
		}
		return cmp.Compare(y.ModRev, x.ModRev)
	})
	return w.order
}

// firstBytes is the first eight bytes of b as a number that orders as they do. What b lacks
// is zero.
func firstBytes(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var full [8]byte
	copy(full[:], b)
	return binary.BigEndian.Uint64(full[:])
}

// Close gives up what has not been committed.
func (w *Writer) Close() error {
	w.versions.reset()
	w.rows.reset()
	return w.closeLookup()
}

func (w *Writer) openLookup() error {
	if w.lookup != nil {
		return nil
	}
	// What is about to be written and not in a cache is most often new.
	it, err := w.db.NewLookup(storage.ProbablyAbsent)
	if err != nil {
		return err
	}
	w.lookup = it
	return nil
}

func (w *Writer) closeLookup() error {
	if w.lookup == nil {
		return nil
	}
	it := w.lookup
	w.lookup = nil
	return it.Close()
}

// counter reads an m row that holds a number; zero if there is none.
func counter(source storage.Reader, name keys.Meta) (int64, error) {
	b, err := source.Get(keys.AppendMeta(nil, name))
	if err != nil || b == nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("mvcc: row %q has %d bytes, not 8", name, len(b))
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}
