package wire

import "github.com/triglot/triglot/frontends/zk/jute"

// WatcherEvent tells that a watch has fired. It follows a ReplyHeader with
// XidEvent.
type WatcherEvent struct {
	Type  EventType
	State KeeperState
	Path  string
}

// Decode reads the event.
func (m *WatcherEvent) Decode(r *jute.Reader) {
	m.Type = EventType(r.Int32())
	m.State = KeeperState(r.Int32())
	m.Path = r.Ustring()
}

// Append writes the event.
func (m *WatcherEvent) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, int32(m.Type))
	dst = jute.AppendInt32(dst, int32(m.State))
	return jute.AppendUstring(dst, m.Path)
}

// SetWatches sets again the watches that a client had on its last connection:
// under XidSetWatches, or under a usual xid, as the Java client of ZooKeeper 3.9
// does. The reply is a header alone, behind the events for what has changed since
// RelativeZxid.
type SetWatches struct {
	RelativeZxid                            int64
	DataWatches, ExistWatches, ChildWatches []string
}

// Decode reads the request.
func (m *SetWatches) Decode(r *jute.Reader) {
	m.RelativeZxid = r.Int64()
	m.DataWatches = paths(r)
	m.ExistWatches = paths(r)
	m.ChildWatches = paths(r)
}

// Append writes the request.
func (m *SetWatches) Append(dst []byte) []byte {
	dst = jute.AppendInt64(dst, m.RelativeZxid)
	dst = jute.AppendUstrings(dst, m.DataWatches)
	dst = jute.AppendUstrings(dst, m.ExistWatches)
	return jute.AppendUstrings(dst, m.ChildWatches)
}

// SetWatches2 is SetWatches with the watches that stay.
type SetWatches2 struct {
	SetWatches
	PersistentWatches, PersistentRecursiveWatches []string
}

// Decode reads the request.
func (m *SetWatches2) Decode(r *jute.Reader) {
	m.SetWatches.Decode(r)
	m.PersistentWatches = paths(r)
	m.PersistentRecursiveWatches = paths(r)
}

// Append writes the request.
func (m *SetWatches2) Append(dst []byte) []byte {
	dst = m.SetWatches.Append(dst)
	dst = jute.AppendUstrings(dst, m.PersistentWatches)
	return jute.AppendUstrings(dst, m.PersistentRecursiveWatches)
}

// paths reads a vector that must not be null: ZooKeeper trips over one.
func paths(r *jute.Reader) []string {
	v := r.Ustrings()
	if v == nil {
		r.Fail(jute.ErrNull)
	}
	return v
}

// WatchesRequest asks whether the connection has a watch, or removes it; the
// reply is a header alone.
type WatchesRequest struct {
	Path string
	Type WatcherType
}

type (
	// CheckWatchesRequest is a WatchesRequest that asks.
	CheckWatchesRequest = WatchesRequest
	// RemoveWatchesRequest is a WatchesRequest that removes.
	RemoveWatchesRequest = WatchesRequest
)

// Decode reads the request.
func (m *WatchesRequest) Decode(r *jute.Reader) {
	m.Path = r.Ustring()
	m.Type = WatcherType(r.Int32())
}

// Append writes the request.
func (m *WatchesRequest) Append(dst []byte) []byte {
	dst = jute.AppendUstring(dst, m.Path)
	return jute.AppendInt32(dst, int32(m.Type))
}

// AddWatchRequest adds a watch that stays. ErrorResponse answers it, with OK.
type AddWatchRequest struct {
	Path string
	Mode AddWatchMode
}

// Decode reads the request.
func (m *AddWatchRequest) Decode(r *jute.Reader) {
	m.Path = r.Ustring()
	m.Mode = AddWatchMode(r.Int32())
}

// Append writes the request.
func (m *AddWatchRequest) Append(dst []byte) []byte {
	dst = jute.AppendUstring(dst, m.Path)
	return jute.AppendInt32(dst, int32(m.Mode))
}
