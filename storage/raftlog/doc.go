// Package raftlog is the durable log of raft: the one file format of this
// program whose fsync stands between a client's request and its answer.
//
// It owns the directory it is given, the segment files in it, and one goroutine
// that prepares the next segment and retires old ones. It implements
// raft.Storage; it never decides what is committed, never interprets an entry,
// and never acknowledges anything that is not on disk.
//
// # Files
//
// A log is a chain of segments 000001.seg, 000002.seg, ... A segment is
// prepared ahead, in the background: its space is filled with zeros, so that
// appending changes no metadata of the file system, or it is a retired segment
// under a new name. The name appears only when the prepared file is on disk, so
// every .seg file has a valid header. The header fills the first page:
//
//	 0  magic "TRIRAFTL"
//	 8  CRC-32C of bytes 12 to 64
//	12  format version; these 64 bytes keep their layout in every version
//	16  log id: random, the same in every segment; it seeds all other checksums
//	24  segment number
//	32  size of the file when it was prepared
//
// From the second page on there are records, aligned to 8 bytes, little endian:
//
//	 0  CRC-32C of bytes 4 to 56        24  batch sequence
//	 4  CRC-32C of the data             32  term
//	 8  length of the data              40  index
//	12  segment number                  48  kind, entry type, flags
//	16  epoch                           56  data
//	20  behind
//
// A segment opens with a start record, which holds the position of the log, the
// HardState, and the offset at which the segment before it ends; so any suffix
// of the chain is a log by itself. What one Append writes is a batch: its
// records share a sequence number and the last one is flagged. A batch counts
// only as a whole. It is one write of whole pages (the last page of the batch
// before is written again, with the same bytes, so that no page has to be read
// first), and one fdatasync.
//
// # What is current
//
// A record is the next one if its checksums hold and
//
//  1. its segment number is the file's. Numbers are never used twice, so what a
//     recycled file held before is not taken for new;
//  2. its sequence is one more than that of the batch before;
//  3. its epoch is that of the batch before, or one more at the first batch that
//     an Open wrote. That batch is synced before another is written, so what was
//     torn under one epoch is never followed under the next: bytes left behind a
//     torn tail stay dead even if a later batch ends exactly where they begin.
//
// # Torn or corrupt
//
// A crash may lose or keep any sector of the batches that were not synced, and
// no sector of those that were. A batch may be written while the one before is
// not yet synced (sync=false), so a damaged batch with an intact one behind it
// proves nothing by itself. Each record therefore carries how many batches
// before its own were not known to be durable when it was written: behind. A
// record of sequence s proves that all batches up to s-1-behind were durable.
// So, with n the first batch that cannot be read:
//
//   - if a record of the current epoch or a later one, anywhere behind it, proves
//     that n was durable, n was damaged afterwards: corruption, and Open fails;
//   - otherwise no later batch was written after a sync that covered n, no Append
//     that was asked to sync n or anything behind it is known to have returned,
//     and the tail from n on is dropped as torn.
//
// The proof needs a valid record header only, not its data, and is looked for at
// each aligned offset, since the length of a damaged record cannot be trusted.
// A client cannot put a forged proof into a value: it does not know the log id.
// A segment is synced before the next one starts, and its end is written in the
// next one's start record, so only the last segment can have a torn tail.
//
// One case is left that no log can decide: damage, after the sync, to the very
// last batch, or to all batches from some point to the end, looks like batches
// that were never synced. Open and Close write a batch of their own (a mark), so
// for one batch this window ends at the next Open or Close; and whoever owns the
// state knows the index that it has applied.
//
// # Failures
//
// A write or sync that fails poisons the log: all later Appends fail, and no
// sync is tried again, because after a failed fsync the page cache may show what
// the disk does not have. For the same reason Open writes the last batches again
// before it trusts them.
package raftlog
