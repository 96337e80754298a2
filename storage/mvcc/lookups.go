package mvcc

import (
	"errors"
	"sync"

	"github.com/triglot/triglot/storage"
)

// lookup is an iterator for lookups, with a buffer for the keys to seek.
type lookup struct {
	it      *storage.Iter
	scratch []byte
}

// maxIdleLookups is how many iterators a Reader keeps: about as many as lookups run at a
// time. Each may hold on to a block of every level of the engine.
const maxIdleLookups = 4

// lookups are the iterators that a Reader keeps between lookups: making one costs more
// than most lookups do. They hold on to the engine's files and memtables as they were,
// so nobody else has them and they end with their Reader, if not before.
type lookups struct {
	mu   sync.Mutex
	keep int
	idle []*lookup
}

// take returns an iterator of source for the caller alone.
func (l *lookups) take(source storage.Reader) (*lookup, error) {
	l.mu.Lock()
	if n := len(l.idle); n > 0 {
		one := l.idle[n-1]
		l.idle = l.idle[:n-1]
		l.mu.Unlock()
		return one, nil
	}
	l.mu.Unlock()
	it, err := source.NewLookup(storage.ProbablyPresent)
	if err != nil {
		return nil, err
	}
	return &lookup{it: it}, nil
}

// give takes an iterator back, for which a lookup has returned err, and returns that. One
// that has failed is not used again.
func (l *lookups) give(one *lookup, err error) error {
	if err == nil {
		l.mu.Lock()
		if len(l.idle) < l.keep {
			l.idle = append(l.idle, one)
			one = nil
		}
		l.mu.Unlock()
		if one == nil {
			return nil
		}
	}
	return errors.Join(err, one.it.Close())
}

// drop closes the iterators that nobody uses.
func (l *lookups) drop() error {
	l.mu.Lock()
	idle := l.idle
	l.idle = nil
	l.mu.Unlock()
	var errs []error
	for _, one := range idle {
		errs = append(errs, one.it.Close())
	}
	return errors.Join(errs...)
}

// stop is drop, and has none kept from now on.
func (l *lookups) stop() error {
	l.mu.Lock()
	l.keep = 0
	l.mu.Unlock()
	return l.drop()
}

// KeepLookups has r, before it is shared, keep iterators for its lookups, and returns it.
// It must be closed then, before its source is.
func (r *Reader) KeepLookups() *Reader {
	r.lookups.keep = maxIdleLookups
	return r
}

// Trim closes the iterators that are kept and not in use, and so lets go of files and
// memory that the engine has replaced since. The next lookups make others.
func (r *Reader) Trim() error { return r.lookups.drop() }

// Close is Trim for good: who reads on pays for iterators of his own. After it, and the last
// lookup, nothing is held any more.
func (r *Reader) Close() error { return r.lookups.stop() }
