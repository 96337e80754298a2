package raftlog

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/storage"
)

const (
	// DefaultSegmentBytes is what Options.SegmentBytes is if it is zero.
	DefaultSegmentBytes = 16 << 20
	defaultCacheBytes   = 16 << 20
	// firstSegmentBytes is the size of a new log's first segment, which Open has
	// to wait for. It is small so that the wait is some milliseconds.
	firstSegmentBytes = 1 << 20
	minSegmentBytes   = 4 * pageBytes
)

// Options are the settings of a log. The zero value is usable.
type Options struct {
	// FS is where the log is; nil means the operating system's file system.
	FS storage.FS
	// SegmentBytes is the size of a segment file, rounded up to a page and at
	// least 16 KiB; 0 means 16 MiB. A log keeps up to two spare segments. It may
	// change between one Open and the next.
	SegmentBytes int64
	// CacheBytes bounds the newest entries that are kept in memory; 0 means 16
	// MiB. What is read often, by apply and by followers, should fit.
	CacheBytes int64
	// UnsafeNoSync leaves out the syncs of what is appended: a power failure, or a crash
	// of the operating system, may take what was acknowledged. That of the process does
	// not.
	UnsafeNoSync bool
	// Logger is told what an operator should know; nil means nobody is.
	Logger *slog.Logger
	// OnSync, if set, is called after each sync of the log with its duration and
	// the bytes written for it, page padding included. It must not call the log.
	OnSync func(d time.Duration, bytes int)
	// OnWrite, if set, is called after each write to the log with its duration, the
	// sync not included. It must not call the log.
	OnWrite func(d time.Duration)
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = storage.DefaultFS
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	o.SegmentBytes = pageUp(max(o.SegmentBytes, minSegmentBytes))
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Log is a durable raft log. It implements raft.Storage.
//
// One goroutine at a time appends; reading and Truncate are safe beside it. The
// lock order is appendMu, mu, keeper.mu.
type Log struct {
	dir     *directory
	keeper  *keeper
	logger  *slog.Logger
	onSync  func(time.Duration, int)
	onWrite func(time.Duration)
	noSync  bool

	// appendMu serialises what writes to the active segment, and guards w.
	appendMu sync.Mutex
	w        writer

	// mu guards the rest, and is never held over I/O.
	mu       sync.Mutex
	index    index
	ring     ring
	segments []*segment // started, in order; the last one is the writer's
	// state is the newest HardState, written or not. Writers change it, and may
	// read it without mu.
	state hardState
	conf  *raftpb.ConfState
	err   error // why nothing can be written any more; ErrClosed after Close
}

var _ raft.Storage = (*Log)(nil)

// Open opens the log in dir, or makes an empty one. What a crash has left
// incomplete is dropped; a *CorruptError says that the log is damaged. The
// caller must Close it.
func Open(dir string, o Options) (*Log, error) {
	o = o.withDefaults()
	d, err := openDirectory(o.FS, dir)
	if err != nil {
		return nil, fmt.Errorf("raft log: %w", err)
	}
	l, err := open(d, o)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return l, nil
}

func open(d *directory, o Options) (*Log, error) {
	numbers, err := d.list()
	if err != nil {
		return nil, err
	}
	r, err := recoverLog(d, numbers)
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	next := uint32(len(numbers) + 1)
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	} else {
		first, err := createFirst(d, o)
		if err != nil {
			return nil, fmt.Errorf("raft log %s: %w", d.path, err)
		}
		r.ready = []*segment{first}
		next++
	}
	l := &Log{
		dir: d, logger: o.Logger, onSync: o.OnSync, onWrite: o.OnWrite, noSync: o.UnsafeNoSync,
		index: r.index, ring: ring{limit: o.CacheBytes}, segments: r.segments, state: r.state,
		conf: &raftpb.ConfState{},
	}
	l.keeper = newKeeper(d, o, next, r.ready, l.fail)
	if err := l.resume(r); err != nil {
		return nil, errors.Join(err, l.closeFiles())
	}
	return l, nil
}

// createFirst prepares the first segment of a new log.
func createFirst(d *directory, o Options) (*segment, error) {
	var id [8]byte
	for d.logID == 0 {
		if _, err := rand.Read(id[:]); err != nil {
			return nil, err
		}
		d.logID = binary.LittleEndian.Uint64(id[:])
	}
	return d.create(1, min(o.SegmentBytes, firstSegmentBytes), func() bool { return false })
}

// resume makes what was recovered durable and begins a new epoch.
func (l *Log) resume(r *recovery) error {
	if r.torn {
		l.logger.Info("raft log: dropped an incomplete batch, which a crash has left at the end",
			"path", r.tailPath(), "offset", r.end, "last_index", r.index.last)
	}
	w := &l.w
	w.seed, w.seq, w.epoch, w.state = seedOf(l.dir.logID), r.seq, r.epoch+1, r.state
	if n := len(r.segments); n > 0 {
		w.segment, w.off, w.buf = r.segments[n-1], pageDown(r.unproven), r.pages
		// After a failed sync, and a restart of the process alone, the page cache
		// may hold batches that the disk does not have. They are written again
		// before the mark says that they are durable.
		if err := l.flush(true); err != nil {
			return err
		}
	}
	return l.write(&batch{mark: true, state: l.state}, true)
}

// Close makes durable what was appended and closes the log. Nothing may be in
// progress on it but background work of its own, which Close waits for.
func (l *Log) Close() error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	var err error
	switch failed := l.failure(); {
	case errors.Is(failed, ErrClosed):
		return nil
	case failed == nil:
		err = l.write(&batch{mark: true, state: l.state}, true)
	}
	l.mu.Lock()
	l.err = ErrClosed
	l.mu.Unlock()
	return errors.Join(err, l.closeFiles(), l.dir.close())
}

// closeFiles stops the keeper and closes all segments.
func (l *Log) closeFiles() error {
	err := l.keeper.close()
	for _, s := range l.segments {
		err = errors.Join(err, s.file.Close())
	}
	if s := l.w.segment; s != nil && !slices.Contains(l.segments, s) {
		// Its start could not be written.
		err = errors.Join(err, s.file.Close())
	}
	return err
}

// fail poisons the log. It returns err, or the first error if there was one.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	return l.err
}

// failure is why nothing can be written any more, nil if it can.
func (l *Log) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// SetConfState sets what InitialState returns. The log does not store it.
func (l *Log) SetConfState(cs *raftpb.ConfState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conf = raftpb.EnsureConfState(proto.Clone(cs).(*raftpb.ConfState))
}

// HardState is the newest HardState, nil if none was ever appended. The caller
// owns it.
func (l *Log) HardState() *raftpb.HardState {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == (hardState{}) {
		return nil
	}
	return &raftpb.HardState{
		Term: proto.Uint64(l.state.term), Vote: proto.Uint64(l.state.vote), Commit: proto.Uint64(l.state.commit),
	}
}

// InitialState implements raft.Storage. The caller owns the results.
func (l *Log) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	hs := l.HardState()
	l.mu.Lock()
	defer l.mu.Unlock()
	return hs, proto.Clone(l.conf).(*raftpb.ConfState), nil
}

// Snapshot implements raft.Storage: the position at which the log begins, with no data. It
// stands for the state that whoever owns it can give to a member that lacks what was
// before.
func (l *Log) Snapshot() (*raftpb.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	base := l.index.base()
	if base.index == 0 {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		ConfState: proto.Clone(l.conf).(*raftpb.ConfState), Index: new(base.index), Term: new(base.term),
	}}, nil
}

// FirstIndex implements raft.Storage.
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index.base().index + 1, nil
}

// LastIndex implements raft.Storage.
func (l *Log) LastIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index.last, nil
}

// Term implements raft.Storage. It never reads the disk.
func (l *Log) Term(i uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case i < l.index.base().index:
		return 0, raft.ErrCompacted
	case i > l.index.last:
		return 0, raft.ErrUnavailable
	}
	return l.index.term(i), nil
}

// BytesAfter is about how many bytes of log a restart reads to get from index
// to the end: never less than the entries take, and at most 64 KiB or one entry
// more.
func (l *Log) BytesAfter(index uint64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index.bytesAfter(index)
}

// Truncate lets the entries up to and including index go; their files are used
// again. It is not durable: after a reopening some of them may be back. An index
// that has gone already is no error, one beyond the last is.
func (l *Log) Truncate(index uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if index > l.index.last {
		return fmt.Errorf("raft log %s: truncating at %d, beyond the last entry %d", l.dir.path, index, l.index.last)
	}
	if index <= l.index.base().index {
		return nil
	}
	l.index.truncate(index)
	l.ring.truncate(index)
	// The entries before a segment's start are in the segments before it; those
	// that it has since replaced are not needed to read it.
	n := 0
	for n+1 < len(l.segments) && l.segments[n+1].start <= index {
		n++
	}
	l.retireLocked(n)
	return nil
}

// retireLocked hands the n oldest segments to the keeper.
func (l *Log) retireLocked(n int) {
	l.keeper.retire(l.segments[:n])
	kept := copy(l.segments, l.segments[n:])
	clear(l.segments[kept:])
	l.segments = l.segments[:kept]
}
