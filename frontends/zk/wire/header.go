package wire

import "github.com/triglot/triglot/frontends/zk/jute"

// RequestHeader begins every request but the first of a connection.
type RequestHeader struct {
	// Xid is the client's number of the request, which the reply repeats.
	Xid int32
	Op  OpCode
}

// Decode reads the header; see the package comment.
func (m *RequestHeader) Decode(r *jute.Reader) {
	m.Xid = r.Int32()
	m.Op = OpCode(r.Int32())
}

// Append writes the header.
func (m *RequestHeader) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, m.Xid)
	return jute.AppendInt32(dst, int32(m.Op))
}

// ReplyHeader begins every reply and event but the answer to ConnectRequest. A
// body follows if Err is OK, as it is for a multi of which an operation failed.
type ReplyHeader struct {
	Xid int32
	// Zxid is the revision that the server has reached; of an event, the one that
	// caused it.
	Zxid int64
	Err  ErrorCode
}

// Decode reads the header.
func (m *ReplyHeader) Decode(r *jute.Reader) {
	m.Xid = r.Int32()
	m.Zxid = r.Int64()
	m.Err = ErrorCode(r.Int32())
}

// Append writes the header.
func (m *ReplyHeader) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, m.Xid)
	dst = jute.AppendInt64(dst, m.Zxid)
	return jute.AppendInt32(dst, int32(m.Err))
}

// ErrorResponse is the body of a reply that says OK twice (to addWatch), and
// what an operation of a multi failed with.
type ErrorResponse struct{ Err ErrorCode }

// Decode reads the response.
func (m *ErrorResponse) Decode(r *jute.Reader) { m.Err = ErrorCode(r.Int32()) }

// Append writes the response.
func (m *ErrorResponse) Append(dst []byte) []byte { return jute.AppendInt32(dst, int32(m.Err)) }
