package backup

// What etcd has no bucket for goes into buckets of our own, which etcd carries along
// unread. Export writes them, import reads them.
//
//	triglotMeta    format    -> sidecarFormat
//	               revision  -> the store's revision, eight bytes: if etcd has moved on
//	                            since, the other buckets are out of date
//	triglotRows    key of the engine -> its row, both as they are: the n table, A, L (all
//	               leases: the times of sessions are in milliseconds), and of m the
//	               mount, the number of znodes and the policy of ACLs
//	triglotTimes   key of the version in the bucket "key" -> its time (core.KV.Time),
//	               eight bytes; versions without a time are left out
//	triglotACLs    key of the version, or tombstone, in the bucket "key" -> the number of
//	               its ACL (core.KV.ACL), eight bytes; open ones are left out
const (
	sidecarMeta  = "triglotMeta"
	sidecarRows  = "triglotRows"
	sidecarTimes = "triglotTimes"
	sidecarACLs  = "triglotACLs"

	sidecarFormat   = "1"
	metaFormat      = "format"
	metaRevision    = "revision"
	bytesOfRevision = 8
)
