package etcdv3

import (
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/mem"
)

// bufferClass is a pool of buffers of one size.
type bufferClass struct {
	size int
	pool sync.Pool
}

var _ mem.BufferPool = (*bufferClass)(nil)

func newBufferClass(size int) *bufferClass {
	c := &bufferClass{size: size}
	c.pool.New = func() any {
		b := make([]byte, size)
		return &b
	}
	return c
}

// Get implements mem.BufferPool. The length is at most the class's size.
func (c *bufferClass) Get(length int) *[]byte {
	b := c.pool.Get().(*[]byte)
	*b = (*b)[:length]
	return b
}

// Put implements mem.BufferPool.
func (c *bufferClass) Put(b *[]byte) { c.pool.Put(b) }

const (
	// smallBuffer is the size of the buffers for small messages, of which nearly all
	// replies are. It is above the size under which grpc-go never pools.
	smallBuffer = 2 << 10
	// midBuffer is that of what comes next, largeBuffer of all that follow: a long
	// answer takes a few of them, and wastes less than one.
	midBuffer, largeBuffer = 16 << 10, 64 << 10

	// maxWaste is what a buffer may lack of being full: a longer key is written in
	// parts.
	maxWaste = 4 << 10
	// maxPiece is more than what a message or a key has in one piece beside its bytes: at
	// most six numbers.
	maxPiece = 80
	// maxKeptRequest is what of a call's memory is kept for another one.
	maxKeptRequest = 4 << 10
)

// The buffers are used by all calls: grpc-go's own pool would allocate three times for a
// small one, and has none between 32 KiB and 1 MiB.
var small, mid, large = newBufferClass(smallBuffer), newBufferClass(midBuffer), newBufferClass(largeBuffer)

// rangeBuffers is an encoding in the making, in buffers of which each but the last is
// as good as full. The zero value is empty.
type rangeBuffers struct {
	// front precedes everything else; nil is nothing.
	front []byte
	full  mem.BufferSlice
	bytes int // in full
	// own is what is in the present buffer, of class.
	own    []byte
	buffer *[]byte
	class  *bufferClass
}

// room is how much the present buffer can take.
func (b *rangeBuffers) room() int { return cap(b.own) - len(b.own) }

// size is how many bytes there are, but for the front.
func (b *rangeBuffers) size() int { return b.bytes + len(b.own) }

func (b *rangeBuffers) nextClass() *bufferClass {
	switch b.class {
	case nil:
		return small
	case small:
		return mid
	default:
		return large
	}
}

// next begins another buffer.
func (b *rangeBuffers) next() {
	class := b.nextClass()
	b.cut(b.class)
	b.class = class
	b.buffer = class.Get(0)
	b.own = *b.buffer
}

// cut puts the present buffer to those that are full, to be freed into a pool.
func (b *rangeBuffers) cut(pool mem.BufferPool) {
	if b.buffer == nil {
		return
	}
	*b.buffer = b.own
	b.full = append(b.full, mem.NewBuffer(b.buffer, pool))
	b.bytes += len(b.own)
	b.own, b.buffer = nil, nil
}

// write appends p, in as many buffers as it takes.
func (b *rangeBuffers) write(p []byte) {
	for len(p) > 0 {
		if b.room() == 0 {
			b.next()
		}
		n := min(len(p), b.room())
		b.own = append(b.own, p[:n]...)
		p = p[n:]
	}
}

// share appends p, which never changes, as it is.
func (b *rangeBuffers) share(p []byte) {
	b.cut(b.class)
	b.class = nil // little follows
	b.full = append(b.full, mem.SliceBuffer(p))
	b.bytes += len(p)
}

// take gives away what was encoded. When the last buffer is freed, so is what the answer
// holds of the budget.
func (b *rangeBuffers) take(hold *rangeHold) mem.BufferSlice {
	if hold.large() {
		b.cut(heldPool{hold, b.class})
	} else {
		b.cut(b.class)
	}
	if b.front != nil {
		b.full = append(mem.BufferSlice{mem.SliceBuffer(b.front)}, b.full...)
	}
	out := b.full
	*b = rangeBuffers{}
	return out
}

// joined returns all bytes in one piece.
func (b *rangeBuffers) joined() []byte {
	all := append(make([]byte, 0, len(b.front)+b.size()), b.front...)
	for _, part := range b.full {
		all = append(all, part.ReadOnlyData()...)
	}
	return append(all, b.own...)
}

// rangeRequest is a RangeRequest that is used for call after call: a range keeps nothing
// of what it was asked.
type rangeRequest struct {
	pb.RangeRequest
	// wire is what the keys of the request lie in.
	wire []byte
}

var rangeRequests = sync.Pool{New: func() any { return new(rangeRequest) }}

func (r *rangeRequest) decode(data mem.BufferSlice) error {
	r.wire = r.wire[:0]
	for _, part := range data {
		r.wire = append(r.wire, part.ReadOnlyData()...)
	}
	return decodeRange(&r.RangeRequest, r.wire)
}

func (r *rangeRequest) recycle() {
	r.Reset()
	if cap(r.wire) > maxKeptRequest {
		r.wire = nil
	}
	rangeRequests.Put(r)
}
