package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// Expect is what a reader of a single key expects to find. It changes the cost
// of a lookup, never its result.
type Expect uint8

const (
	// ProbablyPresent goes to the bottom level's data without asking its filter,
	// which would say yes.
	ProbablyPresent Expect = iota
	// ProbablyAbsent asks every level's filter first: 2 us instead of 14 for a
	// key that is not there, a little more for one that is.
	ProbablyAbsent
)

// Reader reads one state of the engine. *DB is a Reader of the newest state at
// each call, *Snapshot of one moment. Both are safe for concurrent use.
type Reader interface {
	// Get returns a copy of a key's value that the caller owns, nil if there is no
	// such key. An empty value is not nil.
	Get(key []byte) ([]byte, error)
	// NewIter returns an iterator over [lower, upper), which the caller must
	// close before the Reader is. It keeps both slices.
	NewIter(lower, upper []byte) (*Iter, error)
	// NewLookup returns an iterator for SeekPrefixGE.
	NewLookup(e Expect) (*Iter, error)
}

// DB is an open state directory. Its methods are safe for concurrent use.
type DB struct {
	engine *pebble.DB
	fs     FS
	dir    string
	// memTableLimit is at what size of all memtables the engine stalls writes.
	memTableLimit uint64
}

// Open opens the state in dir, and makes an empty one if dir is missing or
// empty. It fails, changing nothing, if dir holds anything that is not ours, and
// if another process has it open.
func Open(dir string, o Options) (*DB, error) {
	o = o.withDefaults()
	isNewborn, err := checkFormat(o.FS, dir, o.ReadOnly)
	if err != nil {
		return nil, err
	}
	engine, err := openEngine(dir, &o, newReporter(&o))
	if err != nil {
		return nil, fmt.Errorf("storage: open %s: %w%s", dir, err, wayBack(err))
	}
	if isNewborn && !o.ReadOnly {
		if err := bear(o.FS, dir); err != nil {
			return nil, errors.Join(err, engine.Close())
		}
	}
	return &DB{engine: engine, fs: o.FS, dir: dir, memTableLimit: memTables * uint64(o.MemTableBytes)}, nil
}

// restoreMember is the way back from a damaged file.
const restoreMember = "; restore this member from a peer or a backup"

// wayBack is what an operator can do about an engine that does not open.
func wayBack(err error) string {
	switch {
	case strings.HasSuffix(err.Error(), restoreMember): // the reporter's
		return ""
	case pebble.IsCorruptionError(err):
		return restoreMember
	case errors.As(err, new(*fs.PathError)), errors.As(err, new(syscall.Errno)), errors.As(err, new(*os.SyscallError)):
		return "" // the disk is full, or in use
	}
	return ": if a file there was damaged" + strings.Replace(restoreMember, ";", ",", 1)
}

// openEngine opens the engine, or fails with what the engine calls fatal meanwhile:
// after that Pebble's Open may wait for ever, as for a flush on a full disk. What is
// left behind then is the process's to end, and is closed should it come to an end.
func openEngine(dir string, o *Options, r *reporter) (*pebble.DB, error) {
	type outcome struct {
		engine *pebble.DB
		err    error
	}
	opened := make(chan outcome, 1)
	go func() {
		compactions := newScheduler()
		engine, err := pebble.Open(dir, o.pebbleOptions(r, compactions))
		if err == nil {
			compactions.begin(o.Settled)
		}
		opened <- outcome{engine, err}
	}()
	select {
	case got := <-opened:
		return got.engine, got.err
	case err := <-r.first:
		go func() {
			if got := <-opened; got.err == nil {
				_ = got.engine.Close()
			}
		}()
		return nil, err
	}
}

// Get implements Reader.
func (d *DB) Get(key []byte) ([]byte, error) { return get(d.engine, key) }

// NewIter implements Reader.
func (d *DB) NewIter(lower, upper []byte) (*Iter, error) {
	return wrap(d.engine.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper}))
}

// NewLookup implements Reader.
func (d *DB) NewLookup(e Expect) (*Iter, error) { return wrap(d.engine.NewIter(lookups[e])) }

// DurableGet is Get of the state that a crash at this moment would leave: what
// has been flushed.
func (d *DB) DurableGet(key []byte) ([]byte, error) {
	it, err := wrap(d.engine.NewIter(&pebble.IterOptions{OnlyReadGuaranteedDurable: true}))
	if err != nil {
		return nil, err
	}
	var value []byte
	if it.SeekPrefixGE(key) && string(it.Key()) == string(key) {
		value, err = it.Value()
		value = append([]byte{}, value...)
	}
	if err := errors.Join(err, it.Close()); err != nil {
		return nil, err
	}
	return value, nil
}

// NewSnapshot fixes the present state for reading. The caller must close it: an
// open one keeps deleted rows on disk.
func (d *DB) NewSnapshot() *Snapshot { return &Snapshot{d.engine.NewSnapshot()} }

// NewBatch makes an empty batch.
func (d *DB) NewBatch() *Batch { return &Batch{d.engine.NewBatch()} }

// maxKeptBatch is the size of the largest batch whose memory goes to a later one: those of
// a busy member have some megabytes, and would be allocated and collected each time. What
// is not used again goes with the garbage. The engine takes no batch of less than minBatch
// for memory to keep.
const (
	maxKeptBatch = 8 << 20
	minBatch     = 1 << 10
)

// NewSizedBatch makes an empty batch with room for size bytes.
func (d *DB) NewSizedBatch(size int) *Batch {
	room := max(size, min(1<<bits.Len(uint(size)), maxKeptBatch)) // the next one may be a little larger
	return &Batch{d.engine.NewBatchWithSize(max(room, minBatch), pebble.WithMaxRetainedSizeBytes(maxKeptBatch))}
}

// Flush makes all batches committed so far durable.
func (d *DB) Flush() error {
	if err := d.engine.Flush(); err != nil {
		return fmt.Errorf("storage: flush: %w", err)
	}
	return nil
}

// FlushAsync starts a Flush; the channel is closed when it has ended.
func (d *DB) FlushAsync() (<-chan struct{}, error) {
	done, err := d.engine.AsyncFlush()
	if err != nil {
		return nil, fmt.Errorf("storage: flush: %w", err)
	}
	return done, nil
}

// Checkpoint writes a copy of the durable state to dir, which must not exist, as
// hard links where it can. What has not been flushed is not in it. If it fails,
// it removes what it has written.
func (d *DB) Checkpoint(dir string) error {
	if err := d.engine.Checkpoint(dir); err != nil {
		return fmt.Errorf("storage: checkpoint %s: %w", dir, err)
	}
	if err := writeFormat(d.fs, dir, ""); err != nil {
		return fmt.Errorf("storage: checkpoint %s: %w", dir, errors.Join(err, d.fs.RemoveAll(dir)))
	}
	return nil
}

// Dir is the directory that was opened, FS its file system.
func (d *DB) Dir() string { return d.dir }

// FS is the file system that the directory is on.
func (d *DB) FS() FS { return d.fs }

// Close ends the DB without a flush: what is not durable is lost. All
// iterators, snapshots and batches must be closed before.
func (d *DB) Close() error {
	if err := d.engine.Close(); err != nil {
		return fmt.Errorf("storage: close %s: %w", d.dir, err)
	}
	return nil
}

// Snapshot is the engine's state at one moment.
type Snapshot struct{ engine *pebble.Snapshot }

// Get implements Reader.
func (s *Snapshot) Get(key []byte) ([]byte, error) { return get(s.engine, key) }

// NewIter implements Reader.
func (s *Snapshot) NewIter(lower, upper []byte) (*Iter, error) {
	return wrap(s.engine.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper}))
}

// NewLookup implements Reader.
func (s *Snapshot) NewLookup(e Expect) (*Iter, error) { return wrap(s.engine.NewIter(lookups[e])) }

// Close lets the state go. It must be called once, after all iterators.
func (s *Snapshot) Close() error { return s.engine.Close() }

func get(r pebble.Reader, key []byte) ([]byte, error) {
	value, closer, err := r.Get(key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("storage: get: %w", err)
	}
	return append([]byte{}, value...), closeGet(closer)
}

func closeGet(c io.Closer) error {
	if err := c.Close(); err != nil {
		return fmt.Errorf("storage: get: %w", err)
	}
	return nil
}
