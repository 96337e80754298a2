package command

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
)

// entryVersion is the encoding that this version writes, and the newest that it
// reads.
const entryVersion = 1

// The field numbers of commandpb.Entry and commandpb.Batch.
const (
	fieldEntryVersion protowire.Number = 1
	fieldEntryTime    protowire.Number = 2
	fieldEntryBatch   protowire.Number = 3

	fieldBatchMember      protowire.Number = 1
	fieldBatchIncarnation protowire.Number = 2
	fieldBatchSequence    protowire.Number = 3
	fieldBatchCommand     protowire.Number = 4
)

// Entry is the data of one raft entry.
type Entry struct {
	// TimeMS is the leader's clock when it appended the entry, in milliseconds
	// since 1970.
	TimeMS  int64
	Batches []Batch
}

// Batch is a run of encoded commands of one proposer, in the order in which it
// proposed them.
type Batch struct {
	Member      core.MemberID
	Incarnation uint64
	Sequence    uint64
	Commands    [][]byte
}

// AppendEntry appends the encoding of an entry to dst and returns it.
func AppendEntry(dst []byte, timeMS int64, batches []Batch) []byte {
	dst = appendUint(dst, fieldEntryVersion, entryVersion)
	dst = appendUint(dst, fieldEntryTime, uint64(timeMS))
	for i := range batches {
		b := &batches[i]
		dst = protowire.AppendTag(dst, fieldEntryBatch, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(b.size()))
		dst = appendUint(dst, fieldBatchMember, uint64(b.Member))
		dst = appendUint(dst, fieldBatchIncarnation, b.Incarnation)
		dst = appendUint(dst, fieldBatchSequence, b.Sequence)
		for _, c := range b.Commands {
			dst = protowire.AppendTag(dst, fieldBatchCommand, protowire.BytesType)
			dst = protowire.AppendBytes(dst, c)
		}
	}
	return dst
}

func (b *Batch) size() int {
	const tag = 1 // every field number of a batch is below 16
	n := sizeUint(uint64(b.Member)) + sizeUint(b.Incarnation) + sizeUint(b.Sequence)
	for _, c := range b.Commands {
		n += tag + protowire.SizeBytes(len(c))
	}
	return n
}

// appendUint appends a varint field, nothing for the zero value, as proto3 does.
func appendUint(dst []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, v)
}

func sizeUint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

// DecodeEntry decodes an entry's frame; the commands stay encoded and alias b.
func DecodeEntry(b []byte) (Entry, error) {
	var e Entry
	var version uint64
	for len(b) > 0 {
		field, n, value, body, err := consume(b, fieldEntryBatch)
		if err != nil {
			return Entry{}, err
		}
		b = b[n:]
		switch field {
		case fieldEntryVersion:
			version = value
		case fieldEntryTime:
			e.TimeMS = int64(value)
		case fieldEntryBatch:
			batch, err := decodeBatch(body)
			if err != nil {
				return Entry{}, err
			}
			e.Batches = append(e.Batches, batch)
		default:
			return Entry{}, fmt.Errorf("%w: an entry has no field %d", ErrMalformed, field)
		}
	}
	if version != entryVersion {
		return Entry{}, fmt.Errorf("%w: entry version %d, this is version %d", ErrMalformed, version, entryVersion)
	}
	return e, nil
}

func decodeBatch(b []byte) (Batch, error) {
	var batch Batch
	for len(b) > 0 {
		field, n, value, body, err := consume(b, fieldBatchCommand)
		if err != nil {
			return Batch{}, err
		}
		b = b[n:]
		switch field {
		case fieldBatchMember:
			batch.Member = core.MemberID(value)
		case fieldBatchIncarnation:
			batch.Incarnation = value
		case fieldBatchSequence:
			batch.Sequence = value
		case fieldBatchCommand:
			if batch.Commands == nil {
				// Most commands are of one size: a first guess saves the growing.
				batch.Commands = make([][]byte, 0, 1+len(b)/(len(body)+2))
			}
			batch.Commands = append(batch.Commands, body)
		default:
			return Batch{}, fmt.Errorf("%w: a batch has no field %d", ErrMalformed, field)
		}
	}
	return batch, nil
}

// consume reads one field: the body of bytesField, the value of any other, which
// is a varint. n is what it takes in all.
func consume(b []byte, bytesField protowire.Number) (field protowire.Number, n int, value uint64, body []byte, err error) {
	field, wireType, n := protowire.ConsumeTag(b)
	if n < 0 {
		return 0, 0, 0, nil, fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n))
	}
	m := 0
	switch {
	case wireType == protowire.VarintType && field != bytesField:
		value, m = protowire.ConsumeVarint(b[n:])
	case wireType == protowire.BytesType && field == bytesField:
		body, m = protowire.ConsumeBytes(b[n:])
	default:
		return 0, 0, 0, nil, fmt.Errorf("%w: field %d has wire type %d", ErrMalformed, field, wireType)
	}
	if m < 0 {
		return 0, 0, 0, nil, fmt.Errorf("%w: field %d: %w", ErrMalformed, field, protowire.ParseError(m))
	}
	return field, n + m, value, body, nil
}
