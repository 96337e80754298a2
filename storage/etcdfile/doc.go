// Package etcdfile is the format of the file that etcd keeps its store in, and
// sends as a snapshot: a bbolt file with a bucket for each kind of row
// (etcd storage/schema, T-71, section 2.10 of the reference).
//
// It owns the names of the buckets and rows, and how a row is coded: the protocol
// buffers and the JSON of etcd, by hand, so that no package of etcd is linked. It
// knows nothing of Triglot's own store: core/backup goes from one to the other.
//
//	key              revision, sub-revision, 't' on a tombstone -> mvccpb.KeyValue
//	meta             consistent_index, term, confState, storageVersion,
//	                 scheduledCompactRev, finishedCompactRev
//	lease            id -> leasepb.Lease
//	alarm            etcdserverpb.AlarmMember -> nothing
//	cluster          clusterVersion, downgrade
//	members          id in hexadecimal -> JSON
//	members_removed  id in hexadecimal -> "removed"
//	auth             authEnabled, authRevision
//	authUsers        name -> authpb.User
//	authRoles        name -> authpb.Role
//	triglot*         rows that etcd has no place for; it carries them along unread
package etcdfile
