package wire

import "github.com/triglot/triglot/frontends/zk/jute"

// ConnectRequest is the first frame of a connection. No header precedes it.
type ConnectRequest struct {
	// ProtocolVersion is 0; servers ignore it.
	ProtocolVersion int32
	// LastZxidSeen is the highest zxid that the client has had from any server.
	LastZxidSeen int64
	// TimeOut is the session timeout that the client asks for, in milliseconds.
	TimeOut int32
	// SessionID and Password name the session to go on with; 0 asks for a new one.
	SessionID int64
	Password  []byte
	// ReadOnly says that the client will do with a server that only reads. Clients
	// before 3.4 and some others do not send it: then HasReadOnly is false, and the
	// response must not have it either (ZooKeeper ProtocolManager).
	ReadOnly, HasReadOnly bool
}

// Decode reads the request.
func (m *ConnectRequest) Decode(r *jute.Reader) {
	m.ProtocolVersion = r.Int32()
	m.LastZxidSeen = r.Int64()
	m.TimeOut = r.Int32()
	m.SessionID = r.Int64()
	m.Password = r.Buffer()
	m.ReadOnly, m.HasReadOnly = optionalBool(r)
}

// Append writes the request.
func (m *ConnectRequest) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, m.ProtocolVersion)
	dst = jute.AppendInt64(dst, m.LastZxidSeen)
	dst = jute.AppendInt32(dst, m.TimeOut)
	dst = jute.AppendInt64(dst, m.SessionID)
	dst = jute.AppendBuffer(dst, m.Password)
	if m.HasReadOnly {
		dst = jute.AppendBool(dst, m.ReadOnly)
	}
	return dst
}

// ConnectResponse answers ConnectRequest, without a header. A session that is no
// more is answered with TimeOut and SessionID 0 and a password of zeros, and the
// connection is closed behind it.
type ConnectResponse struct {
	ProtocolVersion int32
	// TimeOut is the session's timeout in milliseconds as the server grants it.
	TimeOut   int32
	SessionID int64
	Password  []byte
	// ReadOnly says that the server only reads. It is sent if HasReadOnly, which is
	// the request's.
	ReadOnly, HasReadOnly bool
}

// Decode reads the response.
func (m *ConnectResponse) Decode(r *jute.Reader) {
	m.ProtocolVersion = r.Int32()
	m.TimeOut = r.Int32()
	m.SessionID = r.Int64()
	m.Password = r.Buffer()
	m.ReadOnly, m.HasReadOnly = optionalBool(r)
}

// Append writes the response.
func (m *ConnectResponse) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, m.ProtocolVersion)
	dst = jute.AppendInt32(dst, m.TimeOut)
	dst = jute.AppendInt64(dst, m.SessionID)
	dst = jute.AppendBuffer(dst, m.Password)
	if m.HasReadOnly {
		dst = jute.AppendBool(dst, m.ReadOnly)
	}
	return dst
}

// optionalBool reads a bool if there is anything left to read.
func optionalBool(r *jute.Reader) (v, has bool) {
	if len(r.Rest()) == 0 {
		return false, false
	}
	return r.Bool(), true
}

// AuthPacket is the body of an auth request, under XidAuth. The reply is a header
// alone.
type AuthPacket struct {
	// Type is not used by anyone; clients send 0.
	Type   int32
	Scheme string
	Auth   []byte
}

// Decode reads the packet.
func (m *AuthPacket) Decode(r *jute.Reader) {
	m.Type = r.Int32()
	m.Scheme = r.Ustring()
	m.Auth = r.Buffer()
}

// Append writes the packet.
func (m *AuthPacket) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, m.Type)
	dst = jute.AppendUstring(dst, m.Scheme)
	return jute.AppendBuffer(dst, m.Auth)
}

// SASLMessage is a step of a SASL exchange, in either direction (ZooKeeper's
// GetSASLRequest and SetSASLResponse).
type SASLMessage struct{ Token []byte }

// Decode reads the message.
func (m *SASLMessage) Decode(r *jute.Reader) { m.Token = r.Buffer() }

// Append writes the message.
func (m *SASLMessage) Append(dst []byte) []byte { return jute.AppendBuffer(dst, m.Token) }

// ClientInfo is one identity of a connection.
type ClientInfo struct{ Scheme, User string }

// clientInfoSize is the least number of bytes that a ClientInfo takes.
const clientInfoSize = 8

// WhoAmIResponse answers whoAmI, a request without a body.
type WhoAmIResponse struct{ ClientInfo []ClientInfo }

// Decode reads the response.
func (m *WhoAmIResponse) Decode(r *jute.Reader) {
	m.ClientInfo = vector(r, clientInfoSize, func(i *ClientInfo) {
		i.Scheme = r.Ustring()
		i.User = r.Ustring()
	})
}

// Append writes the response.
func (m *WhoAmIResponse) Append(dst []byte) []byte {
	if m.ClientInfo == nil {
		return jute.AppendNull(dst)
	}
	dst = jute.AppendCount(dst, len(m.ClientInfo))
	for _, i := range m.ClientInfo {
		dst = jute.AppendUstring(dst, i.Scheme)
		dst = jute.AppendUstring(dst, i.User)
	}
	return dst
}

// vector reads a vector whose elements take at least size bytes each: nil for
// null and after an error.
func vector[T any](r *jute.Reader, size int, decode func(*T)) []T {
	n := r.Count(size)
	if n < 0 || r.Err() != nil {
		return nil
	}
	v := make([]T, n)
	for i := range v {
		decode(&v[i])
	}
	if r.Err() != nil {
		return nil
	}
	return v
}
