package wire

import "github.com/triglot/triglot/frontends/zk/jute"

// ReadRequest reads a znode, and sets a watch on what it read if Watch.
type ReadRequest struct {
	Path  string
	Watch bool
}

type (
	// ExistsRequest is a ReadRequest; StatResponse answers it.
	ExistsRequest = ReadRequest
	// GetDataRequest is a ReadRequest.
	GetDataRequest = ReadRequest
	// GetChildrenRequest is a ReadRequest.
	GetChildrenRequest = ReadRequest
	// GetChildren2Request is a ReadRequest.
	GetChildren2Request = ReadRequest
)

// Decode reads the request.
func (m *ReadRequest) Decode(r *jute.Reader) {
	m.Path = r.NonNull()
	m.Watch = r.Bool()
}

// Append writes the request.
func (m *ReadRequest) Append(dst []byte) []byte {
	dst = jute.AppendUstring(dst, m.Path)
	return jute.AppendBool(dst, m.Watch)
}

// GetDataResponse answers GetDataRequest.
type GetDataResponse struct {
	// Data is nil for null.
	Data []byte
	Stat Stat
}

// Decode reads the response.
func (m *GetDataResponse) Decode(r *jute.Reader) {
	m.Data = r.Buffer()
	m.Stat.Decode(r)
}

// Append writes the response.
func (m *GetDataResponse) Append(dst []byte) []byte {
	dst = jute.AppendBuffer(dst, m.Data)
	return m.Stat.Append(dst)
}

// GetChildrenResponse answers GetChildrenRequest with the children's names.
type GetChildrenResponse struct{ Children []string }

// Decode reads the response.
func (m *GetChildrenResponse) Decode(r *jute.Reader) { m.Children = r.Ustrings() }

// Append writes the response.
func (m *GetChildrenResponse) Append(dst []byte) []byte {
	return jute.AppendUstrings(dst, m.Children)
}

// GetChildren2Response answers GetChildren2Request.
type GetChildren2Response struct {
	Children []string
	Stat     Stat
}

// Decode reads the response.
func (m *GetChildren2Response) Decode(r *jute.Reader) {
	m.Children = r.Ustrings()
	m.Stat.Decode(r)
}

// Append writes the response.
func (m *GetChildren2Response) Append(dst []byte) []byte {
	dst = jute.AppendUstrings(dst, m.Children)
	return m.Stat.Append(dst)
}

// GetAllChildrenNumberRequest asks how many znodes are below Path.
type GetAllChildrenNumberRequest struct{ Path string }

// Decode reads the request.
func (m *GetAllChildrenNumberRequest) Decode(r *jute.Reader) { m.Path = r.NonNull() }

// Append writes the request.
func (m *GetAllChildrenNumberRequest) Append(dst []byte) []byte {
	return jute.AppendUstring(dst, m.Path)
}

// GetAllChildrenNumberResponse answers GetAllChildrenNumberRequest.
type GetAllChildrenNumberResponse struct{ TotalNumber int32 }

// Decode reads the response.
func (m *GetAllChildrenNumberResponse) Decode(r *jute.Reader) { m.TotalNumber = r.Int32() }

// Append writes the response.
func (m *GetAllChildrenNumberResponse) Append(dst []byte) []byte {
	return jute.AppendInt32(dst, m.TotalNumber)
}

// GetEphemeralsRequest asks for the session's ephemerals whose paths begin with
// PrefixPath, which need not end where a name does.
type GetEphemeralsRequest struct{ PrefixPath string }

// Decode reads the request.
func (m *GetEphemeralsRequest) Decode(r *jute.Reader) { m.PrefixPath = r.Ustring() }

// Append writes the request.
func (m *GetEphemeralsRequest) Append(dst []byte) []byte {
	return jute.AppendUstring(dst, m.PrefixPath)
}

// GetEphemeralsResponse answers GetEphemeralsRequest with paths.
type GetEphemeralsResponse struct{ Ephemerals []string }

// Decode reads the response.
func (m *GetEphemeralsResponse) Decode(r *jute.Reader) { m.Ephemerals = r.Ustrings() }

// Append writes the response.
func (m *GetEphemeralsResponse) Append(dst []byte) []byte {
	return jute.AppendUstrings(dst, m.Ephemerals)
}
