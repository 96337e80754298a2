package wire

import "github.com/triglot/triglot/frontends/zk/jute"

// Stat is what ZooKeeper tells of a znode besides its data. Times are in
// milliseconds since 1970.
type Stat struct {
	Czxid, Mzxid                int64
	Ctime, Mtime                int64
	Version, Cversion, Aversion int32
	// EphemeralOwner is the session that the znode goes with, 0 if none.
	EphemeralOwner          int64
	DataLength, NumChildren int32
	Pzxid                   int64
}

// Decode reads the stat.
func (m *Stat) Decode(r *jute.Reader) {
	m.Czxid, m.Mzxid = r.Int64(), r.Int64()
	m.Ctime, m.Mtime = r.Int64(), r.Int64()
	m.Version, m.Cversion, m.Aversion = r.Int32(), r.Int32(), r.Int32()
	m.EphemeralOwner = r.Int64()
	m.DataLength, m.NumChildren = r.Int32(), r.Int32()
	m.Pzxid = r.Int64()
}

// Append writes the stat.
func (m *Stat) Append(dst []byte) []byte {
	dst = jute.AppendInt64(dst, m.Czxid)
	dst = jute.AppendInt64(dst, m.Mzxid)
	dst = jute.AppendInt64(dst, m.Ctime)
	dst = jute.AppendInt64(dst, m.Mtime)
	dst = jute.AppendInt32(dst, m.Version)
	dst = jute.AppendInt32(dst, m.Cversion)
	dst = jute.AppendInt32(dst, m.Aversion)
	dst = jute.AppendInt64(dst, m.EphemeralOwner)
	dst = jute.AppendInt32(dst, m.DataLength)
	dst = jute.AppendInt32(dst, m.NumChildren)
	return jute.AppendInt64(dst, m.Pzxid)
}

// StatResponse is a stat alone, the answer to exists, setData and setACL.
type StatResponse struct{ Stat Stat }

type (
	// ExistsResponse is a StatResponse.
	ExistsResponse = StatResponse
	// SetDataResponse is a StatResponse.
	SetDataResponse = StatResponse
	// SetACLResponse is a StatResponse.
	SetACLResponse = StatResponse
)

// Decode reads the response.
func (m *StatResponse) Decode(r *jute.Reader) { m.Stat.Decode(r) }

// Append writes the response.
func (m *StatResponse) Append(dst []byte) []byte { return m.Stat.Append(dst) }
