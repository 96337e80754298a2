package raftlog

import (
	"errors"
	"log/slog"
	"sync"
)

// maxReady is how many prepared segments are kept: one is enough for the
// writer, the second takes the place of a segment that would have to be removed
// now and created again soon.
const maxReady = 2

// keeper prepares segments ahead of the writer and retires those that the log
// no longer needs, on a goroutine of its own.
type keeper struct {
	dir          *directory
	segmentBytes int64
	logger       *slog.Logger
	// poison is told of a failed sync.
	poison func(error) error
	done   chan struct{}
	next   uint32 // number of the next segment to prepare; the goroutine's own

	// mu guards the rest; it is not held over I/O. changed is signalled when
	// any of it changes.
	mu      sync.Mutex
	changed sync.Cond
	ready   []*segment // prepared, in the order of their numbers
	retired []*segment // the oldest first: they go in this order, lest a gap appears
	wanted  bool       // ready must not stay empty
	stuck   bool       // the oldest retired segment could not be removed; wait for more
	failure error      // why the last preparation failed
	busy    bool
	stopped bool // by close, or after a failed sync: nothing more is done
}

func newKeeper(dir *directory, o Options, next uint32, ready []*segment, poison func(error) error) *keeper {
	k := &keeper{
		dir: dir, segmentBytes: o.SegmentBytes, logger: o.Logger, poison: poison,
		done: make(chan struct{}), next: next, ready: ready,
	}
	k.changed.L = &k.mu
	go k.run()
	return k
}

// prepare asks for a segment to be made ready if none is.
func (k *keeper) prepare() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wantLocked()
}

func (k *keeper) wantLocked() {
	if len(k.ready) == 0 && !k.wanted && !k.stopped {
		k.wanted, k.failure = true, nil
		k.changed.Broadcast()
	}
}

// take returns a prepared segment. It waits only if none was prepared in time.
func (k *keeper) take() (*segment, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wantLocked()
	for len(k.ready) == 0 {
		if k.failure != nil {
			return nil, k.failure
		}
		if k.stopped {
			return nil, ErrClosed
		}
		k.changed.Wait()
	}
	s := k.ready[0]
	k.ready = append(k.ready[:0], k.ready[1:]...)
	return s, nil
}

// retire takes over segments that have left the log, older ones first. It keeps
// them until their readers are done.
func (k *keeper) retire(old []*segment) {
	if len(old) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retired = append(k.retired, old...)
	k.stuck = false
	k.changed.Broadcast()
}

// release ends a reader's use of s.
func (k *keeper) release(s *segment) {
	if s.refs.Add(-1) == 0 {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.changed.Broadcast()
	}
}

// close stops the goroutine and closes the files that the keeper still holds.
// They are found again by the next Open.
func (k *keeper) close() error {
	k.mu.Lock()
	k.stopped = true
	k.changed.Broadcast()
	k.mu.Unlock()
	<-k.done
	var err error
	for _, s := range append(k.ready, k.retired...) {
		err = errors.Join(err, s.file.Close())
	}
	return err
}

func (k *keeper) stopping() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped
}

func (k *keeper) run() {
	defer close(k.done)
	k.mu.Lock()
	defer k.mu.Unlock()
	for !k.stopped {
		work := k.workLocked()
		if work == nil {
			k.changed.Wait()
			continue
		}
		k.busy = true
		k.mu.Unlock()
		work()
		k.mu.Lock()
		k.busy = false
		k.changed.Broadcast()
	}
}

// workLocked is what to do next, nil if nothing.
func (k *keeper) workLocked() func() {
	if k.stopped {
		return nil
	}
	if len(k.retired) > 0 && !k.stuck && k.retired[0].refs.Load() == 0 {
		old := k.retired[0]
		if len(k.ready) < maxReady && old.size == k.segmentBytes {
			return func() { k.recycle(old) }
		}
		return func() { k.remove(old) }
	}
	if k.wanted && len(k.ready) == 0 {
		return func() { k.prepared(k.dir.create(k.next, k.segmentBytes, k.stopping)) }
	}
	return nil
}

func (k *keeper) recycle(old *segment) {
	if k.gone(k.dir.detach(old)) {
		k.prepared(k.dir.publish(old.file, k.next, old.size))
	}
}

func (k *keeper) remove(old *segment) {
	if k.gone(k.dir.remove(old)) {
		if err := old.file.Close(); err != nil {
			k.logger.Warn("closing a removed raft log segment failed", "path", old.path, "error", err)
		}
	}
}

// gone notes whether the oldest retired segment has left the directory. If it
// has not, it blocks the ones behind it: removing those would leave a gap.
func (k *keeper) gone(err error) bool {
	if err != nil {
		k.report("removing a raft log segment failed", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.stuck = true
		return false
	}
	k.retired = append(k.retired[:0], k.retired[1:]...)
	return true
}

// prepared takes the outcome of a preparation. If it failed, the number is used
// again: the next segment must leave no gap.
func (k *keeper) prepared(s *segment, err error) {
	if err != nil {
		k.report("preparing a raft log segment failed", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wanted = false
	if k.failure = err; err == nil {
		k.next++
		k.ready = append(k.ready, s)
	}
	k.changed.Broadcast()
}

// report hands a failed sync to the log, whose next Append returns it. Another
// failure costs nothing yet, and is logged.
func (k *keeper) report(what string, err error) {
	var failed *syncError
	switch {
	case errors.As(err, &failed):
		_ = k.poison(err)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.stopped, k.failure = true, err
		k.changed.Broadcast()
	case !errors.Is(err, ErrClosed):
		k.logger.Warn(what, "error", err)
	}
}
