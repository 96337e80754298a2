package command

import (
	"fmt"
	"slices"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
)

// A ZnodeWrite is to the ZooKeeper face what a Put is to etcd's, and has parts of
// its own, each of which would be an allocation or two in the generated code. So
// it is written and read by hand; tests hold both to the generated code.

// The field numbers of commandpb.ZnodeWrite, ZnodeOp and SessionRef.
const (
	fieldWriteSession protowire.Number = 1
	fieldWriteOps     protowire.Number = 2
	fieldWriteMulti   protowire.Number = 3
	fieldWriteQuota   protowire.Number = 4

	fieldOpType       protowire.Number = 1
	fieldOpPath       protowire.Number = 2
	fieldOpData       protowire.Number = 3
	fieldOpNull       protowire.Number = 4
	fieldOpVersion    protowire.Number = 5
	fieldOpKind       protowire.Number = 6
	fieldOpSequential protowire.Number = 7
	fieldOpOpenACL    protowire.Number = 8
	fieldOpACL        protowire.Number = 9
	fieldOpTTL        protowire.Number = 10

	fieldSessionID    protowire.Number = 1
	fieldSessionEpoch protowire.Number = 2
)

// tagLen is the length of the tag of every field above.
const tagLen = 1

func appendZnodeWrite(dst []byte, w *core.ZnodeWrite) []byte {
	session := sizeUint(uint64(w.Session.ID)) + sizeUint(w.Session.Epoch)
	size := tagLen + protowire.SizeBytes(session) + sizeBool(w.Multi) + sizeBool(w.EnforceQuota)
	for i := range w.Ops {
		size += tagLen + protowire.SizeBytes(sizeOp(&w.Ops[i]))
	}
	dst = appendHead(dst, fieldZnodeWrite, size)
	dst = slices.Grow(dst, size)
	dst = appendHead(dst, fieldWriteSession, session)
	dst = appendUint(dst, fieldSessionID, uint64(w.Session.ID))
	dst = appendUint(dst, fieldSessionEpoch, w.Session.Epoch)
	for i := range w.Ops {
		dst = appendHead(dst, fieldWriteOps, sizeOp(&w.Ops[i]))
		dst = appendOp(dst, &w.Ops[i])
	}
	dst = appendBool(dst, fieldWriteMulti, w.Multi)
	return appendBool(dst, fieldWriteQuota, w.EnforceQuota)
}

func sizeOp(op *core.ZnodeOp) int {
	return sizeUint(uint64(op.Type)) + sizeBytes(len(op.Path)) + sizeBytes(len(op.Data)) + sizeBool(op.Null) +
		sizeUint(protowire.EncodeZigZag(int64(op.Version))) + sizeUint(uint64(op.Kind)) +
		sizeBool(op.Sequential) + sizeBool(op.OpenACL) + sizeBytes(len(op.ACL)) + sizeUint(uint64(op.TTL.Milliseconds()))
}

func appendOp(dst []byte, op *core.ZnodeOp) []byte {
	dst = appendUint(dst, fieldOpType, uint64(op.Type))
	dst = appendBytes(dst, fieldOpPath, op.Path)
	dst = appendBytes(dst, fieldOpData, op.Data)
	dst = appendBool(dst, fieldOpNull, op.Null)
	dst = appendUint(dst, fieldOpVersion, protowire.EncodeZigZag(int64(op.Version)))
	dst = appendUint(dst, fieldOpKind, uint64(op.Kind))
	dst = appendBool(dst, fieldOpSequential, op.Sequential)
	dst = appendBool(dst, fieldOpOpenACL, op.OpenACL)
	dst = appendBytes(dst, fieldOpACL, op.ACL)
	return appendUint(dst, fieldOpTTL, uint64(op.TTL.Milliseconds()))
}

func sizeBytes(n int) int {
	if n == 0 {
		return 0
	}
	return tagLen + protowire.SizeBytes(n)
}

func sizeBool(b bool) int {
	if !b {
		return 0
	}
	return tagLen + 1
}

// appendHead appends a field's tag and the length of what follows.
func appendHead(dst []byte, field protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.BytesType), uint64(size))
}

// appendBytes appends a field that holds b, nothing if b is empty.
func appendBytes[B ~string | ~[]byte](dst []byte, field protowire.Number, b B) []byte {
	if len(b) == 0 {
		return dst
	}
	return append(appendHead(dst, field, len(b)), b...)
}

func appendBool(dst []byte, field protowire.Number, b bool) []byte {
	if !b {
		return dst
	}
	return appendUint(dst, field, 1)
}

// decodeZnodeWrite reads what appendZnodeWrite made. Its data and its paths alias body:
// whoever keeps one beyond the command copies it.
func decodeZnodeWrite(body []byte) (*core.ZnodeWrite, error) {
	ops := 0
	for s := (fields{rest: body}); s.next(); {
		if s.field == fieldWriteOps {
			ops++
		}
	}
	w := newZnodeWrite(ops)
	s := fields{rest: body}
	for s.next() {
		switch s.field {
		case fieldWriteSession:
			s.fail(decodeSessionRef(&w.Session, s.asBytes()))
		case fieldWriteOps:
			w.Ops = append(w.Ops, core.ZnodeOp{})
			s.fail(decodeOp(&w.Ops[len(w.Ops)-1], s.asBytes()))
		case fieldWriteMulti:
			w.Multi = s.asBool()
		case fieldWriteQuota:
			w.EnforceQuota = s.asBool()
		default:
			s.fail(unknownField(s.field))
		}
	}
	return w, s.err
}

// newZnodeWrite makes a command with room for so many operations. Most have one,
// which is made along with it.
func newZnodeWrite(ops int) *core.ZnodeWrite {
	if ops == 1 {
		one := &struct {
			core.ZnodeWrite
			op [1]core.ZnodeOp
		}{}
		one.Ops = one.op[:0]
		return &one.ZnodeWrite
	}
	return &core.ZnodeWrite{Ops: make([]core.ZnodeOp, 0, ops)}
}

func decodeSessionRef(ref *core.SessionRef, b []byte) error {
	s := fields{rest: b}
	for s.next() {
		switch s.field {
		case fieldSessionID:
			ref.ID = core.LeaseID(s.asNumber())
		case fieldSessionEpoch:
			ref.Epoch = s.asNumber()
		default:
			s.fail(unknownField(s.field))
		}
	}
	return s.err
}

func decodeOp(op *core.ZnodeOp, b []byte) error {
	s := fields{rest: b}
	for s.next() {
		switch s.field {
		case fieldOpType:
			op.Type = core.ZnodeOpType(s.asNumber())
		case fieldOpPath:
			path := s.asBytes()
			op.Path = unsafe.String(unsafe.SliceData(path), len(path))
		case fieldOpData:
			op.Data = s.asBytes()
		case fieldOpNull:
			op.Null = s.asBool()
		case fieldOpVersion:
			op.Version = int32(protowire.DecodeZigZag(uint64(uint32(s.asNumber()))))
		case fieldOpKind:
			op.Kind = core.ZnodeKind(s.asNumber())
		case fieldOpSequential:
			op.Sequential = s.asBool()
		case fieldOpOpenACL:
			op.OpenACL = s.asBool()
		case fieldOpACL:
			op.ACL = core.ACL(s.asBytes())
		case fieldOpTTL:
			op.TTL = milliseconds(int64(s.asNumber()))
		default:
			s.fail(unknownField(s.field))
		}
	}
	return s.err
}

// fields goes through the fields of a message.
type fields struct {
	rest     []byte
	field    protowire.Number
	wireType protowire.Type
	number   uint64
	bytes    []byte
	err      error
}

// next moves on to the next field; it reports false at the end, and once
// something has failed.
func (s *fields) next() bool {
	if s.err != nil || len(s.rest) == 0 {
		return false
	}
	var n int
	if tag := s.rest[0]; tag < 0x80 && tag>>3 > 0 { // as nearly all are
		s.field, s.wireType, s.rest = protowire.Number(tag>>3), protowire.Type(tag&7), s.rest[1:]
	} else if s.field, s.wireType, n = protowire.ConsumeTag(s.rest); !s.skip(n) {
		return false
	}
	if s.field > protowire.MaxValidNumber {
		s.err = fmt.Errorf("field %d", s.field)
		return false
	}
	switch s.wireType {
	case protowire.VarintType:
		s.number, n = protowire.ConsumeVarint(s.rest)
	case protowire.BytesType:
		s.bytes, n = protowire.ConsumeBytes(s.rest)
	default:
		n = protowire.ConsumeFieldValue(s.field, s.wireType, s.rest)
	}
	return s.skip(n)
}

// skip goes n bytes on, or fails with the parse error that n stands for.
func (s *fields) skip(n int) bool {
	if n < 0 {
		s.err = protowire.ParseError(n)
		return false
	}
	s.rest = s.rest[n:]
	return true
}

func (s *fields) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *fields) asNumber() uint64 {
	if s.wireType != protowire.VarintType {
		s.fail(fmt.Errorf("field %d has wire type %d", s.field, s.wireType))
		return 0
	}
	return s.number
}

func (s *fields) asBool() bool { return s.asNumber() != 0 }

func (s *fields) asBytes() []byte {
	if s.wireType != protowire.BytesType {
		s.fail(fmt.Errorf("field %d has wire type %d", s.field, s.wireType))
		return nil
	}
	return s.bytes
}
