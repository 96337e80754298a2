package etcdv3

import (
	"context"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/core"
)

const (
	// freeRangeBytes is what every answer may take without being counted: most are
	// far smaller, and cost nothing.
	freeRangeBytes = 1 << 20
	// maxRangeBytes is what the others may take together.
	maxRangeBytes = 1 << 30
	// rangePatience is how long an answer waits for room.
	rangePatience = 5 * time.Second
)

// errRangeTooLarge refuses a range whose answer alone exceeds what all may take. etcd
// would read and encode it, and gRPC refuse to send it from 2 GiB on, with this code.
var errRangeTooLarge = status.Error(codes.ResourceExhausted,
	"triglot: the answer takes more memory than a range may: use a limit and read on from the last key, or RangeStream")

// errTxnTooLarge is for a transaction of which only the answer is too large, as gRPC's
// own limit is in etcd.
var errTxnTooLarge = status.Error(codes.ResourceExhausted,
	"triglot: the transaction took effect, but what its ranges read is too large to be answered")

// rangeBudget bounds the memory of the answers of large unary ranges, from the moment
// that they are read until they are sent.
type rangeBudget struct {
	// total is immutable.
	total int64
	// turn is held by the one that waits with something in hand: two could wait for
	// each other.
	turn chan struct{}

	// mu guards the fields below.
	mu   sync.Mutex
	free int64
	// freed is closed, and replaced, when some is given back; nil while nobody waits.
	freed chan struct{}
}

func newRangeBudget(total int64) *rangeBudget {
	return &rangeBudget{total: total, free: total, turn: make(chan struct{}, 1)}
}

// take takes n bytes. It reports false, and how to wait for more, if there are not as
// many.
func (b *rangeBudget) take(n int64) (ok bool, freed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free >= n {
		b.free -= n
		return true, nil
	}
	if b.freed == nil {
		b.freed = make(chan struct{})
	}
	return false, b.freed
}

func (b *rangeBudget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}

// rangeHold is what one answer has of the budget. It belongs to one goroutine until
// the answer is encoded, and then to whoever frees the buffers. It is given back when
// it is released, or at the latest when nobody refers to it any more: gRPC does not
// free the buffers of a connection that breaks.
type rangeHold struct {
	ctx   context.Context //nolint:containedctx // of the call; grow is called deep below it
	share *rangeShare
	free  int64 // what is left of the memory that is not counted
	err   error // why grow refused
}

// rangeShare is the part of a hold that outlives it.
type rangeShare struct {
	budget *rangeBudget
	taken  int64
	once   sync.Once
}

func (s *rangeShare) release() {
	s.once.Do(func() { s.budget.give(s.taken) })
}

// hold begins an answer. The caller must release it, or hand it on with the reply.
func (b *rangeBudget) hold(ctx context.Context) *rangeHold {
	if b == nil {
		return nil
	}
	return &rangeHold{ctx: ctx, share: &rangeShare{budget: b}, free: freeRangeBytes}
}

// grow is core.Range.Grow.
func (h *rangeHold) grow(bytes int) error {
	if h == nil {
		return nil
	}
	n := int64(bytes)
	if n <= h.free {
		h.free -= n
		return nil
	}
	s := h.share
	if s.taken+n > s.budget.total {
		h.err = errRangeTooLarge
		return h.err
	}
	if s.taken == 0 {
		runtime.AddCleanup(h, (*rangeShare).release, s)
	}
	ok, freed := s.budget.take(n)
	if !ok {
		ok = h.wait(n, freed)
	}
	if !ok {
		h.err = core.TooManyRequests
		return h.err
	}
	s.taken += n
	return nil
}

// wait takes n bytes when there are as many. It waits for what others give back; if
// one with something in hand waits already, who has something too does not.
func (h *rangeHold) wait(n int64, freed <-chan struct{}) (ok bool) {
	b := h.share.budget
	if h.share.taken > 0 {
		select {
		case b.turn <- struct{}{}:
			defer func() { <-b.turn }()
		default:
			return false
		}
	}
	patience := time.NewTimer(rangePatience)
	defer patience.Stop()
	for !ok {
		select {
		case <-freed:
			ok, freed = b.take(n)
		case <-patience.C:
			return false
		case <-h.ctx.Done():
			return false
		}
	}
	return true
}

// refuse releases the hold of a read that has failed, and returns the reason.
func (h *rangeHold) refuse(err error) error {
	if h == nil {
		return err
	}
	h.share.release()
	switch {
	case h.ctx.Err() != nil:
		return core.ContextError(h.ctx.Err())
	case h.err != nil:
		return h.err
	}
	return err
}

// large reports whether the answer has some of the budget.
func (h *rangeHold) large() bool { return h != nil && h.share.taken > 0 }

// heldPool takes back a buffer for another pool, if there is one, and with it the hold of
// the answer that was in it. It gives none out.
type heldPool struct {
	hold *rangeHold
	pool *bufferClass
}

func (p heldPool) Get(length int) *[]byte {
	b := make([]byte, length)
	return &b
}

func (p heldPool) Put(b *[]byte) {
	if p.pool != nil {
		p.pool.Put(b)
	}
	p.hold.share.release()
}

var _ mem.BufferPool = heldPool{}

// heldBuffer is a last buffer of an answer: when it is freed, so is the hold.
func heldBuffer(b []byte, hold *rangeHold) mem.Buffer {
	if cap(b) < smallBuffer { // or gRPC would not give it back
		b = append(make([]byte, 0, smallBuffer), b...)
	}
	return mem.NewBuffer(&b, heldPool{hold: hold})
}
