package etcdv3

import (
	"context"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/triglot/triglot/core"
)

// encodedRange is a RangeResponse, or the RangeStreamResponse with one, that is encoded
// key by key as the store reads it: what lies in the engine is copied once, into the
// buffers that are sent. To whoever needs the message itself, as the JSON gateway does,
// it is one. It belongs to the goroutine of its call, and when it has been marshaled to
// another call.
type encodedRange struct {
	// query is what is asked for. Its Each and Grow are the methods below.
	query  core.Range
	header pb.ResponseHeader
	// stream says that it goes into a RangeStreamResponse, whose head is written last.
	stream bool

	out rangeBuffers
	// keys is how many keys there are in it, last the last one of a stream's.
	keys  int64
	last  []byte
	count int64

	memory rangeMemory
	// message is the response itself, once somebody needed it.
	message proto.Message
}

// rangeMemory is what an answer has taken of the memory for all of them.
type rangeMemory struct {
	ctx    context.Context //nolint:containedctx // of the call; what grows is far below it
	budget *rangeBudget
	// hold is nil as long as the answer is small.
	hold *rangeHold
	// gathered is what was read in front of what is encoded: while that is less, it is
	// counted already.
	gathered, encoded, small int
}

var encodedRanges = sync.Pool{New: func() any {
	e := new(encodedRange)
	e.query.Each, e.query.Grow = e.add, e.memory.gather
	return e
}}

// newEncodedRange begins an answer to r. One that is not marshaled must be dropped.
func newEncodedRange(ctx context.Context, r *pb.RangeRequest, budget *rangeBudget) *encodedRange {
	e := encodedRanges.Get().(*encodedRange)
	setRange(&e.query, r)
	e.memory.ctx, e.memory.budget = ctx, budget
	return e
}

// recycle gives e to another call.
func (e *encodedRange) recycle() {
	each, grow, last := e.query.Each, e.query.Grow, e.last[:0]
	e.query = core.Range{Each: each, Grow: grow}
	e.stream, e.keys, e.count, e.message = false, 0, 0, nil
	e.out, e.memory = rangeBuffers{}, rangeMemory{}
	if e.last = last; cap(last) > maxKeptRequest {
		e.last = nil
	}
	encodedRanges.Put(e)
}

// drop ends an answer that comes to nothing, and says why.
func (e *encodedRange) drop(err error) error {
	err = e.memory.hold.refuse(err)
	e.out.take(nil).Free()
	e.recycle()
	return err
}

// begin writes what precedes the keys, of which a stream does not know yet whether it is
// there: see end.
func (e *encodedRange) begin() {
	if !e.stream {
		var scratch [maxPiece]byte
		e.out.write(appendHeader(appendLength(scratch[:0], 1, sizeHeader(&e.header)), &e.header))
	}
}

// add is core.Range.Each.
func (e *encodedRange) add(kv *core.KV) error {
	e.keys++
	if e.stream {
		e.last = append(e.last[:0], kv.Key...)
	}
	size := sizeVersion(kv)
	if whole := sizeNested(size); whole <= e.out.room() {
		e.out.own = appendVersion(appendLength(e.out.own, 2, size), kv)
		return nil
	}
	return e.addSlowly(kv, size)
}

// addSlowly adds a key that does not fit into the present buffer.
func (e *encodedRange) addSlowly(kv *core.KV, size int) error {
	whole, class := sizeNested(size), e.out.nextClass()
	// Of a single key the value is the store's own.
	shared := e.query.Single() && len(kv.Value) >= sharedValue
	if !shared {
		if err := e.memory.encode(max(whole, class.size)); err != nil {
			return err
		}
	}
	if whole <= min(maxWaste, class.size) {
		e.out.next()
		e.out.own = appendVersion(appendLength(e.out.own, 2, size), kv)
		return nil
	}
	var scratch [maxPiece]byte
	e.out.write(appendLength(appendLength(scratch[:0], 2, size), 1, len(kv.Key)))
	e.out.write(kv.Key)
	head := appendVarint(scratch[:0], 2, uint64(kv.CreateRev))
	head = appendVarint(head, 3, uint64(kv.ModRev))
	head = appendVarint(head, 4, uint64(kv.Version))
	if len(kv.Value) > 0 {
		head = appendLength(head, 5, len(kv.Value))
	}
	e.out.write(head)
	if shared {
		e.out.share(kv.Value)
	} else {
		e.out.write(kv.Value)
	}
	e.out.write(appendVersionTail(scratch[:0], kv))
	return nil
}

// end writes what follows the keys. A message of a stream has a header, more and count
// only if it is the last one; then header is not nil.
func (e *encodedRange) end(more bool, count int64, header *pb.ResponseHeader) {
	e.count = count
	var scratch [maxPiece]byte
	if header != nil {
		e.out.write(appendVarint(appendBool(scratch[:0], 3, more), 4, uint64(count)))
	}
	if !e.stream {
		return
	}
	size := e.out.size()
	head := make([]byte, 0, maxPiece)
	if header == nil {
		e.out.front = appendLength(head, 1, size)
		return
	}
	n := sizeHeader(header)
	e.out.front = appendHeader(appendLength(appendLength(head, 1, size+sizeNested(n)), 1, n), header)
}

// marshal returns the encoding and gives e away.
func (e *encodedRange) marshal() mem.BufferSlice {
	hold := e.memory.hold
	if e.message == nil {
		out := e.out.take(hold)
		e.recycle()
		return out
	}
	data, err := proto.Marshal(e.message)
	if err != nil {
		panic("etcdv3: what an encoded range stands for does not encode: " + err.Error())
	}
	e.recycle()
	if hold.large() {
		return mem.BufferSlice{heldBuffer(data, hold)}
	}
	return mem.BufferSlice{mem.SliceBuffer(data)}
}

// ProtoReflect makes the message that e stands for, and gives up the encoding: who needs the
// one most often has no use for the other, and an answer may be large.
func (e *encodedRange) ProtoReflect() protoreflect.Message {
	if e == nil {
		return (*pb.RangeResponse)(nil).ProtoReflect()
	}
	if e.message == nil {
		e.message = &pb.RangeResponse{}
		if e.stream {
			e.message = &pb.RangeStreamResponse{}
		}
		encoded := e.out.joined()
		e.out.take(nil).Free()
		if err := proto.Unmarshal(encoded, e.message); err != nil {
			panic("etcdv3: an encoded range does not decode: " + err.Error())
		}
	}
	return e.message.ProtoReflect()
}

// gather is core.Range.Grow: for what is read before any of it is encoded.
func (m *rangeMemory) gather(bytes int) error {
	m.gathered += bytes
	return m.grow(bytes)
}

// encode asks for what the encoding is to take.
func (m *rangeMemory) encode(bytes int) error {
	if m.encoded += bytes; m.encoded <= m.gathered {
		return nil
	}
	return m.grow(bytes)
}

func (m *rangeMemory) grow(bytes int) error {
	if m.hold == nil {
		if m.small += bytes; m.small <= freeRangeBytes || m.budget == nil {
			return nil
		}
		m.hold, bytes = m.budget.hold(m.ctx), m.small
		m.hold.free = 0
	}
	return m.hold.grow(bytes)
}
