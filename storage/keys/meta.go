package keys

// Meta names a fact about the whole store: a row of the m table.
type Meta string

// The m rows. Numbers in them are eight bytes, big-endian. Who may write a row
// is said with it: two writers never share one, so that the collector's batches
// run beside those of apply.
const (
	// Written by apply.

	MetaApplied     Meta = "applied"      // index and term of the last entry applied, the revision, the largest entry time
	MetaCompacted   Meta = "compacted"    // the revision compacted to: reads below it fail
	MetaAlarms      Meta = "alarms"       // the alarms that stand
	MetaDowngrade   Meta = "downgrade"    // the version of etcd that a downgrade goes to; there is none without one
	MetaMembers     Meta = "members"      // the members
	MetaRemoved     Meta = "removed"      // the ids of the members that were removed; there is none by default
	MetaACLPolicy   Meta = "acl-policy"   // what becomes of etcd's requests that touch what ACLs forbid; there is none by default
	MetaIdentity    Meta = "identity"     // the cluster's id
	MetaDataWritten Meta = "data-written" // logical bytes ever written to d; mvcc.Writer
	MetaMount       Meta = "mount"        // the prefix of the keys that are znodes; there is none in a store without znodes
	MetaRestore     Meta = "restore"      // the restore of the znodes that is under way, or was cut off; there is none by default
	MetaZnodes      Meta = "znodes"       // how many znodes and ephemerals there are, and the bytes in their paths and data

	// Written by the collector of history.

	MetaCollected  Meta = "collected"  // the revision up to which history is gone
	MetaCollecting Meta = "collecting" // how far the run under way has come
	MetaDataFreed  Meta = "data-freed" // logical bytes ever removed from d
)

// AppendMeta appends the m key of a fact.
func AppendMeta(dst []byte, name Meta) []byte {
	dst = append(dst, tagMeta)
	dst = append(dst, name...)
	return append(dst, sentinel)
}

// DecodeMeta splits an m key.
func DecodeMeta(b []byte) (name Meta, ok bool) {
	if len(b) < 2 || b[0] != tagMeta || b[len(b)-1] != sentinel {
		return "", false
	}
	return Meta(b[1 : len(b)-1]), true
}

// MetaBounds are the bounds of the m table.
func MetaBounds() (lower, upper []byte) { return table(tagMeta) }
