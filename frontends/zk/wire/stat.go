package wire

import (
	"encoding/binary"

	"github.com/triglot/triglot/frontends/zk/jute"
)

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
	n := len(dst)
	dst = append(dst, make([]byte, statLen)...) // once; no slice is made for it
	b := dst[n:]
	binary.BigEndian.PutUint64(b[0:], uint64(m.Czxid))
	binary.BigEndian.PutUint64(b[8:], uint64(m.Mzxid))
	binary.BigEndian.PutUint64(b[16:], uint64(m.Ctime))
	binary.BigEndian.PutUint64(b[24:], uint64(m.Mtime))
	binary.BigEndian.PutUint32(b[32:], uint32(m.Version))
	binary.BigEndian.PutUint32(b[36:], uint32(m.Cversion))
	binary.BigEndian.PutUint32(b[40:], uint32(m.Aversion))
	binary.BigEndian.PutUint64(b[44:], uint64(m.EphemeralOwner))
	binary.BigEndian.PutUint32(b[52:], uint32(m.DataLength))
	binary.BigEndian.PutUint32(b[56:], uint32(m.NumChildren))
	binary.BigEndian.PutUint64(b[60:], uint64(m.Pzxid))
	return dst
}

// statLen is the length of a stat.
const statLen = 68

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
