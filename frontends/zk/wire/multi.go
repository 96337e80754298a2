package wire

import (
	"errors"

	"github.com/triglot/triglot/frontends/zk/jute"
)

// MultiHeader precedes each operation of a multi and each of its results, and
// ends them.
type MultiHeader struct {
	Op   OpCode
	Done bool
	// Err is −1 in requests and in the header that ends.
	Err ErrorCode
}

// multiEnd is the header that ends a multi.
var multiEnd = MultiHeader{Op: OpError, Done: true, Err: -1}

// Decode reads the header.
func (m *MultiHeader) Decode(r *jute.Reader) {
	m.Op = OpCode(r.Int32())
	m.Done = r.Bool()
	m.Err = ErrorCode(r.Int32())
}

// Append writes the header.
func (m *MultiHeader) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, int32(m.Op))
	dst = jute.AppendBool(dst, m.Done)
	return jute.AppendInt32(dst, int32(m.Err))
}

// ErrMulti is the error of a multi that ZooKeeper refuses while it reads it: an
// operation that no multi may have, a create whose ACL is null or whose flags are none
// or want a time to live that it does not have, or writes together with reads
// (ZooKeeper MultiOperationRecord).
var ErrMulti = errors.New("bad operation in a multi")

// MultiOp is one operation of a multi. Which fields it has is as in the request
// of its own name.
type MultiOp struct {
	// Op is create, create2, createContainer, createTTL, delete, setData or check;
	// or else getData or getChildren.
	Op      OpCode
	Path    string
	Data    []byte
	ACL     []ACL
	Flags   CreateMode
	TTL     int64
	Version int32
	Watch   bool
}

// Runs is the operation that ZooKeeper takes m for. In a multi the flags of a
// create overrule its number (ZooKeeper Op.Create).
func (m *MultiOp) Runs() OpCode {
	switch m.Op {
	case OpCreate, OpCreate2, OpCreateContainer, OpCreateTTL:
	default:
		return m.Op
	}
	switch {
	case m.Flags.TTL():
		return OpCreateTTL
	case m.Flags == Container:
		return OpCreateContainer
	case m.Op == OpCreateTTL:
		return OpCreate
	}
	return m.Op
}

// Reads says whether m is an operation of multiRead rather than of multi.
func (m *MultiOp) Reads() bool { return m.Op == OpGetData || m.Op == OpGetChildren }

// Decode reads the operation whose header has said that it is a m.Op. A multi
// must not have a null path, whatever may be with the operation by itself.
func (m *MultiOp) Decode(r *jute.Reader) {
	switch m.Op {
	case OpCreate, OpCreate2, OpCreateContainer:
		m.decodeCreate(r)
		if !m.Flags.Valid() || m.Flags.TTL() || m.ACL == nil {
			r.Fail(ErrMulti)
		}
	case OpCreateTTL:
		m.decodeCreate(r)
		m.TTL = r.Int64()
	case OpDelete, OpCheck:
		m.Path = r.NonNull()
		m.Version = r.Int32()
	case OpSetData:
		m.Path = r.NonNull()
		m.Data = r.Buffer()
		m.Version = r.Int32()
	case OpGetData, OpGetChildren:
		m.Path = r.NonNull()
		m.Watch = r.Bool()
	default:
		r.Fail(ErrMulti)
	}
}

func (m *MultiOp) decodeCreate(r *jute.Reader) {
	var create CreateRequest
	create.Decode(r)
	m.Path, m.Data, m.ACL, m.Flags = create.Path, create.Data, create.ACL, create.Flags
}

// Append writes the operation with its header.
func (m *MultiOp) Append(dst []byte) []byte {
	dst = (&MultiHeader{Op: m.Op, Err: -1}).Append(dst)
	dst = jute.AppendUstring(dst, m.Path)
	switch m.Op {
	case OpCreate, OpCreate2, OpCreateContainer, OpCreateTTL:
		dst = jute.AppendBuffer(dst, m.Data)
		dst = appendACL(dst, m.ACL)
		dst = jute.AppendInt32(dst, int32(m.Flags))
		if m.Op == OpCreateTTL {
			dst = jute.AppendInt64(dst, m.TTL)
		}
	case OpSetData:
		dst = jute.AppendBuffer(dst, m.Data)
		dst = jute.AppendInt32(dst, m.Version)
	case OpDelete, OpCheck:
		dst = jute.AppendInt32(dst, m.Version)
	case OpGetData, OpGetChildren:
		dst = jute.AppendBool(dst, m.Watch)
	default: // no multi has it
	}
	return dst
}

// MultiRequest is the body of multi and multiRead.
type MultiRequest struct{ Ops []MultiOp }

// Decode reads the request, into the memory that m.Ops has. A MultiOp takes some seven
// times the bytes of the shortest operation that there is.
func (m *MultiRequest) Decode(r *jute.Reader) {
	m.Ops = m.Ops[:0]
	for r.Err() == nil {
		var header MultiHeader
		if header.Decode(r); header.Done {
			return
		}
		n := len(m.Ops)
		m.Ops = append(m.Ops, MultiOp{Op: header.Op})
		if m.Ops[n].Decode(r); r.Err() == nil && m.Ops[n].Reads() != m.Ops[0].Reads() {
			r.Fail(ErrMulti)
		}
		if r.Err() != nil {
			m.Ops[n] = MultiOp{}
			m.Ops = m.Ops[:n]
		}
	}
}

// Append writes the request.
func (m *MultiRequest) Append(dst []byte) []byte {
	for i := range m.Ops {
		dst = m.Ops[i].Append(dst)
	}
	return multiEnd.Append(dst)
}

// MultiResult is what became of one operation of a multi.
type MultiResult struct {
	// Op is create, create2 (for every other kind of create too), delete, setData,
	// check, getData or getChildren, and OpError if Err is meant.
	Op OpCode
	// Err is the error of the operation: that of the first that failed,
	// RuntimeInconsistency behind it, OK before it.
	Err ErrorCode
	// Path is that of the znode that was made.
	Path     string
	Stat     Stat
	Data     []byte
	Children []string
}

// Append writes the result with its header.
func (m *MultiResult) Append(dst []byte) []byte {
	header := MultiHeader{Op: m.Op}
	if m.Op == OpError {
		header.Err = m.Err
	}
	dst = header.Append(dst)
	switch m.Op {
	case OpCreate:
		return jute.AppendUstring(dst, m.Path)
	case OpCreate2:
		dst = jute.AppendUstring(dst, m.Path)
		return m.Stat.Append(dst)
	case OpSetData:
		return m.Stat.Append(dst)
	case OpGetData:
		dst = jute.AppendBuffer(dst, m.Data)
		return m.Stat.Append(dst)
	case OpGetChildren:
		return jute.AppendUstrings(dst, m.Children)
	case OpError:
		return jute.AppendInt32(dst, int32(m.Err))
	default: // nothing but the header
		return dst
	}
}

// Decode reads the result whose header has said that it is a m.Op.
func (m *MultiResult) Decode(r *jute.Reader) {
	switch m.Op {
	case OpCreate:
		m.Path = r.Ustring()
	case OpCreate2:
		m.Path = r.Ustring()
		m.Stat.Decode(r)
	case OpSetData:
		m.Stat.Decode(r)
	case OpGetData:
		m.Data = r.Buffer()
		m.Stat.Decode(r)
	case OpGetChildren:
		m.Children = r.Ustrings()
	case OpError:
		m.Err = ErrorCode(r.Int32())
	case OpDelete, OpCheck:
	default:
		r.Fail(ErrMulti)
	}
}

// MultiResponse answers MultiRequest, result by result.
type MultiResponse struct{ Results []MultiResult }

// Decode reads the response.
func (m *MultiResponse) Decode(r *jute.Reader) {
	m.Results = nil
	for r.Err() == nil {
		var header MultiHeader
		if header.Decode(r); header.Done {
			return
		}
		result := MultiResult{Op: header.Op}
		result.Decode(r)
		m.Results = append(m.Results, result)
	}
}

// Append writes the response.
func (m *MultiResponse) Append(dst []byte) []byte {
	for i := range m.Results {
		dst = m.Results[i].Append(dst)
	}
	return multiEnd.Append(dst)
}
