// Package mvcc keeps every version of every key: it is etcd's multi-version map
// on the state engine, and the row cache in front of it.
//
// Two tables hold it. A row of d is one version of one key, found by key and
// revision; it is the only copy of a value. A row of r is one change, found by
// revision and sub-revision; it names the key and the revision of the version
// that it superseded. d answers reads, r drives watch catch-up and the collection
// of old versions, whose work therefore follows the changes and not the store.
//
// A Writer takes the rows of all other tables into its batch, too. Those of n, which
// every request of ZooKeeper reads, have a cache like that of d.
//
// Three parties work on them:
//
//   - The Writer, of the apply goroutine alone. It gathers one engine batch, sees
//     its own writes in an overlay, and can undo to a mark.
//   - Readers, one for each published view, safe for concurrent use.
//   - The Collector, on a goroutine of its own, with engine batches of its own. It
//     deletes only rows that no view at or above the compacted revision can see
//     and that nobody ever writes again; that is why it needs no lock.
//
// It never decides what a command may do: the rules of etcd are core/state's.
package mvcc
