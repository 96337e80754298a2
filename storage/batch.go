package storage

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Batch is a set of changes that take effect together. It is for one goroutine.
// Its methods copy what they are given; they fail only when the batch has
// outgrown 4 GiB, which panics: no caller gets near.
type Batch struct{ engine *pebble.Batch }

// Set gives key a value.
func (b *Batch) Set(key, value []byte) { must(b.engine.Set(key, value, nil)) }

// SetDeferred gives a key a value that the caller writes itself, at once and in
// full, into the two slices returned. The next call on b ends their life.
func (b *Batch) SetDeferred(keyLen, valueLen int) (key, value []byte) {
	op := b.engine.SetDeferred(keyLen, valueLen)
	must(op.Finish()) // an unindexed batch does not look at the key
	return op.Key, op.Value
}

// Delete removes a key.
func (b *Batch) Delete(key []byte) { must(b.engine.Delete(key, nil)) }

// DeleteSized is Delete of a key whose value is known to have valueLen bytes,
// which tells the engine what there is to gain.
func (b *Batch) DeleteSized(key []byte, valueLen int) {
	must(b.engine.DeleteSized(key, uint32(valueLen), nil))
}

// DeleteRange removes the keys of [start, end). Use it sparingly: it slows reads
// across the range until it is compacted away.
func (b *Batch) DeleteRange(start, end []byte) { must(b.engine.DeleteRange(start, end, nil)) }

// Len is the size of the batch in bytes.
func (b *Batch) Len() int { return b.engine.Len() }

// Empty reports whether nothing has been put into the batch.
func (b *Batch) Empty() bool { return b.engine.Empty() }

// Commit applies the batch: atomic, visible when it returns, not yet durable.
func (b *Batch) Commit() error {
	if err := b.engine.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("storage: commit: %w", err)
	}
	return nil
}

// Close gives the batch back, committed or not. It must not be used again.
func (b *Batch) Close() error { return b.engine.Close() }

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("storage: batch: %v", err))
	}
}
