// Package zksnap reads and writes the snapshots of ZooKeeper 3.9, the files
// snapshot.<zxid> of its data directory (persistence.FileSnap, SnapStream).
//
// It owns the format: jute records, the Adler-32 seals, the table of ACLs. It knows
// no store, opens no file, and does not judge what it reads beyond its form.
//
//	file    = header, sessions, ACLs, znodes, seal, digest, seal, zxid, seal
//	header  = int 'ZKSN', int 2, long id of the database
//	sessions= int n, n × {long id, int timeout in ms}
//	ACLs    = int n, n × {long id, vector of {int perms, string scheme, string id}}
//	znodes  = {string path, buffer data, long id of the ACL, stat}..., string "/"
//	stat    = long czxid mzxid ctime mtime, int version cversion aversion, long owner pzxid
//	digest  = long zxid, int version, long digest       (since 3.6; may be missing)
//	zxid    = long, the last that the file shows          (since 3.9; may be missing)
//	seal    = long Adler-32 of all before it, string "/"
//
// The path of the root is empty. A snapshot that a running ZooKeeper writes is
// fuzzy: what its log has behind the snapshot's zxid must be applied to it.
package zksnap
