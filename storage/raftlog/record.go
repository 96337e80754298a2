package raftlog

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	// pageBytes is the unit of writing: what the page cache and the disk replace
	// as a whole.
	pageBytes = 4096
	// firstRecord is the offset of a segment's start record.
	firstRecord = pageBytes

	recordHeaderBytes = 56
	recordAlign       = 8
	// maxDataBytes bounds one record. raft's own limits are far below.
	maxDataBytes = 1 << 30
)

func pageDown(off int64) int64 { return off &^ (pageBytes - 1) }
func pageUp(off int64) int64   { return pageDown(off + pageBytes - 1) }

// kind is what a record says. The numbers are on disk.
type kind uint8

const (
	// kindStart is the first record of a segment and of nothing else.
	kindStart kind = 1
	// kindEntry is one raft entry; one at or below the last index replaces all
	// from there on.
	kindEntry kind = 2
	// kindState is a changed HardState.
	kindState kind = 3
	// kindReset empties the log; it goes on after the record's index.
	kindReset kind = 4
	// kindMark says nothing; being there, it proves that what precedes it is
	// durable.
	kindMark kind = 5
)

const (
	flagLast    uint8 = 1 << iota // the last record of its batch
	flagHasType                   // the entry's Type was set
	flagHasData                   // the entry's Data was not nil
)

// record is a decoded record. data aliases what it was decoded from.
type record struct {
	segment   uint32
	epoch     uint32
	behind    uint32
	seq       uint64
	term      uint64
	index     uint64
	kind      kind
	entryType uint8
	flags     uint8
	data      []byte
	off       int64 // where it was found
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seedOf is the start value of all record checksums of a log.
func seedOf(logID uint64) uint32 {
	return crc32.Checksum(binary.LittleEndian.AppendUint64(nil, logID), castagnoli)
}

// recordBytes is the space that a record with so much data takes.
func recordBytes(data int) int64 {
	return int64(recordHeaderBytes+data+recordAlign-1) &^ (recordAlign - 1)
}

// appendRecord encodes r.
func appendRecord(dst []byte, seed uint32, r *record) []byte {
	at := len(dst)
	dst = append(dst, zeros[:recordHeaderBytes]...)
	dst = append(dst, r.data...)
	dst = append(dst, zeros[:recordBytes(len(r.data))-int64(recordHeaderBytes+len(r.data))]...)
	h := dst[at : at+recordHeaderBytes]
	binary.LittleEndian.PutUint32(h[4:], crc32.Update(seed, castagnoli, r.data))
	binary.LittleEndian.PutUint32(h[8:], uint32(len(r.data)))
	binary.LittleEndian.PutUint32(h[12:], r.segment)
	binary.LittleEndian.PutUint32(h[16:], r.epoch)
	binary.LittleEndian.PutUint32(h[20:], r.behind)
	binary.LittleEndian.PutUint64(h[24:], r.seq)
	binary.LittleEndian.PutUint64(h[32:], r.term)
	binary.LittleEndian.PutUint64(h[40:], r.index)
	h[48], h[49], h[50] = byte(r.kind), r.entryType, r.flags
	binary.LittleEndian.PutUint32(h, crc32.Update(seed, castagnoli, h[4:]))
	return dst
}

// decodeHeader decodes the header of the record of the given segment that b
// starts with, and the length of its data. It does not look at the data.
func decodeHeader(b []byte, seed, segment uint32) (r record, length int, ok bool) {
	// The segment number comes first: it is cheap and fails for most of what is
	// not a record.
	if len(b) < recordHeaderBytes || binary.LittleEndian.Uint32(b[12:]) != segment ||
		binary.LittleEndian.Uint32(b) != crc32.Update(seed, castagnoli, b[4:recordHeaderBytes]) {
		return record{}, 0, false
	}
	return record{
		segment:   segment,
		epoch:     binary.LittleEndian.Uint32(b[16:]),
		behind:    binary.LittleEndian.Uint32(b[20:]),
		seq:       binary.LittleEndian.Uint64(b[24:]),
		term:      binary.LittleEndian.Uint64(b[32:]),
		index:     binary.LittleEndian.Uint64(b[40:]),
		kind:      kind(b[48]),
		entryType: b[49],
		flags:     b[50],
	}, int(binary.LittleEndian.Uint32(b[8:])), true
}

// decodeRecord decodes the record of the given segment that b starts with.
func decodeRecord(b []byte, seed, segment uint32) (r record, ok bool) {
	r, length, ok := decodeHeader(b, seed, segment)
	if !ok || length > maxDataBytes || length > len(b)-recordHeaderBytes {
		return record{}, false
	}
	data := b[recordHeaderBytes : recordHeaderBytes+length : recordHeaderBytes+length]
	if binary.LittleEndian.Uint32(b[4:]) != crc32.Update(seed, castagnoli, data) {
		return record{}, false
	}
	r.data = data
	return r, true
}

// durableSeq is the last batch that r proves durable.
func (r *record) durableSeq() uint64 {
	if r.seq <= uint64(r.behind) {
		return 0
	}
	return r.seq - 1 - uint64(r.behind)
}

// size is the space that r takes on disk.
func (r *record) size() int64 { return recordBytes(len(r.data)) }

// hardState is raft's HardState as a value. The zero value is the empty one.
type hardState struct{ term, vote, commit uint64 }

// startBytes is the length of a start record's data, stateBytes of a state's.
const (
	startBytes = 32
	stateBytes = 24
)

func appendState(dst []byte, s hardState) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, s.term)
	dst = binary.LittleEndian.AppendUint64(dst, s.vote)
	return binary.LittleEndian.AppendUint64(dst, s.commit)
}

func decodeState(b []byte) hardState {
	return hardState{
		term:   binary.LittleEndian.Uint64(b),
		vote:   binary.LittleEndian.Uint64(b[8:]),
		commit: binary.LittleEndian.Uint64(b[16:]),
	}
}

// zeros fills what is written but not yet used.
var zeros [256 << 10]byte
