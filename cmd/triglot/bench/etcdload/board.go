package etcdload

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"
)

// stamp is what begins the value of a watched key: who wrote it, his how manyth, and when
// the write began.
const (
	stampSize = 4 + 8 + 8
	// MinWatchedBytes is how long the values of watched keys are at least.
	MinWatchedBytes = stampSize
)

var (
	errNoStamp = errors.New("an event of a write that is not this load's")
	errExtra   = errors.New("an event was delivered too often, or after its write had failed")
)

// board has, for each client, the write whose deliveries it waits for.
type board struct {
	began time.Time // since when the stamps' times count
	slots []slot
}

// slot belongs to one client; those who receive its events count it down.
type slot struct {
	number atomic.Uint64
	left   atomic.Int64
	all    chan struct{} // has room for one
}

func newBoard(clients int) *board {
	b := &board{began: time.Now(), slots: make([]slot, clients)}
	for i := range b.slots {
		b.slots[i].all = make(chan struct{}, 1)
	}
	return b
}

// begin announces a write of the i-th client, and stamps its value.
func (b *board) begin(i int, deliveries int64, start time.Time, value []byte) {
	s := &b.slots[i]
	s.left.Store(deliveries)
	number := s.number.Add(1)
	binary.BigEndian.PutUint32(value, uint32(i))
	binary.BigEndian.PutUint64(value[4:], number)
	binary.BigEndian.PutUint64(value[12:], uint64(start.Sub(b.began)))
}

// abandon gives up a write that failed: nobody knows what will be delivered.
func (b *board) abandon(i int) {
	s := &b.slots[i]
	s.number.Add(1)
	select {
	case <-s.all:
	default:
	}
}

// await waits until the write is delivered to all.
func (b *board) await(ctx context.Context, i int) error {
	select {
	case <-b.slots[i].all:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// delivered takes note of an event, and returns how long after its write's start it came. If
// it was the write's last one, whole is not nil and is to be told once the event is counted:
// the load may end then.
func (b *board) delivered(value []byte) (latency time.Duration, whole *slot, err error) {
	if len(value) < stampSize || int(binary.BigEndian.Uint32(value)) >= len(b.slots) {
		return 0, nil, errNoStamp
	}
	s := &b.slots[binary.BigEndian.Uint32(value)]
	if binary.BigEndian.Uint64(value[4:]) != s.number.Load() {
		return 0, nil, errExtra
	}
	left := s.left.Add(-1)
	if left < 0 {
		return 0, nil, errExtra
	}
	latency = time.Since(b.began) - time.Duration(binary.BigEndian.Uint64(value[12:]))
	if left > 0 {
		s = nil
	}
	return latency, s, nil
}

// tell lets the client go on.
func (s *slot) tell() { s.all <- struct{}{} }
