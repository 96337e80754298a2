// Package backup takes Triglot's store out into a file that etcd's tools read, and
// brings such a file, or etcd's own, in.
//
// It owns the way from the rows of the one (storage/keys, storage/mvcc) to those of
// the other (storage/etcdfile), the sorted runs on disk that it takes to order
// versions by revision in bounded memory, and the buckets for what etcd has none for.
// It never changes a store that runs: Export reads a view, writes go on meanwhile.
package backup
