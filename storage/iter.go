package storage

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// lookups are the options of NewLookup. Shared: Pebble copies them.
var lookups = [2]*pebble.IterOptions{
	ProbablyPresent: {},
	ProbablyAbsent:  {UseL6Filters: true},
}

// Iter walks keys in order. It is for one goroutine. It starts unpositioned; the
// positioning methods report whether it stands on a key, and if not, Err and Close
// tell whether that is the end or an error.
//
// It is Pebble's iterator under another name, so that wrapping costs nothing.
type Iter pebble.Iterator

func wrap(it *pebble.Iterator, err error) (*Iter, error) {
	if err != nil {
		return nil, fmt.Errorf("storage: iterate: %w", err)
	}
	return (*Iter)(it), nil
}

func (i *Iter) engine() *pebble.Iterator { return (*pebble.Iterator)(i) }

// First goes to the first key.
func (i *Iter) First() bool { return i.engine().First() }

// SeekGE goes to the first key at or after key.
func (i *Iter) SeekGE(key []byte) bool { return i.engine().SeekGE(key) }

// SeekPrefixGE goes to the first key at or after key that differs from it in
// nothing but its version. Ahead of it, only Next may follow.
func (i *Iter) SeekPrefixGE(key []byte) bool { return i.engine().SeekPrefixGE(key) }

// Next goes to the next key.
func (i *Iter) Next() bool { return i.engine().Next() }

// NextPrefix goes to the next key that differs in more than its version.
func (i *Iter) NextPrefix() bool { return i.engine().NextPrefix() }

// Valid reports whether the iterator stands on a key.
func (i *Iter) Valid() bool { return i.engine().Valid() }

// Key is the present key, valid until the iterator moves.
func (i *Iter) Key() []byte { return i.engine().Key() }

// Value is the present value, valid until the iterator moves.
func (i *Iter) Value() ([]byte, error) {
	value, err := i.engine().ValueAndErr()
	if err != nil {
		return nil, fmt.Errorf("storage: iterate: %w", err)
	}
	return value, nil
}

// Err is why the iterator stands on no key, nil if there is none. One that is
// positioned again must be asked before: it forgets.
func (i *Iter) Err() error {
	if err := i.engine().Error(); err != nil {
		return fmt.Errorf("storage: iterate: %w", err)
	}
	return nil
}

// Close ends the iterator and returns the error that it met since it was last
// positioned.
func (i *Iter) Close() error {
	if err := i.engine().Close(); err != nil {
		return fmt.Errorf("storage: iterate: %w", err)
	}
	return nil
}
