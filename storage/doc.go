// Package storage is the state engine: an ordered map of bytes with atomic
// batches, snapshots and explicit flushes. It is Pebble, set up for this store,
// behind concrete types of our own; outside storage/... nobody imports Pebble.
//
// It owns the files of one directory. It has no write-ahead log: what a batch
// wrote is durable once a flush that began after it has ended, and a crash takes
// the directory back to a prefix of the batches, each whole or absent. The log
// that makes up for it is storage/raftlog; a batch carries the index it applies.
//
// Every key must come from storage/keys: the engine's comparer, block layout and
// filters know that schema and corrupt nothing but misplace any other key.
//
// It never interprets a key or a value, never retries, and never ends the
// process: an engine that cannot go on says so once through Options.OnFatal.
package storage
