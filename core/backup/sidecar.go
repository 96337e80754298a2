package backup

// What etcd has no bucket for goes into buckets of our own, which etcd carries along
// unread. Export writes them, import reads them.
//
//	triglotMeta    format    -> sidecarFormat
//	               revision  -> the store's revision, eight bytes: if etcd has moved on
//	                            since, the other buckets are out of date
//	triglotRows    key of the engine -> its row, both as they are: the n table, L (all
//	               leases: the times of sessions are in milliseconds), and of m the
//	               mount and the number of znodes
//	triglotTimes   key of the version in the bucket "key" -> its time (core.KV.Time),
//	               eight bytes; versions without a time are left out
const (
	sidecarMeta  = "triglotMeta"
	sidecarRows  = "triglotRows"
	sidecarTimes = "triglotTimes"

	sidecarFormat   = "1"
	metaFormat      = "format"
	metaRevision    = "revision"
	bytesOfRevision = 8
)
