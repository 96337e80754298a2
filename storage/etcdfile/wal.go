package etcdfile

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// WAL is what the write-ahead log of an etcd member says that has been restored
// from a snapshot and never run: who it is, and who founds the cluster.
type WAL struct {
	Cluster, Member uint64
	Founders        []Founder
}

// Founder is a founding member, as the log's changes of the configuration have it.
type Founder struct {
	ID       uint64   `json:"id"`
	Name     string   `json:"name"`
	PeerURLs []string `json:"peerURLs"`
}

// ErrUsed says that a log goes on behind what a restored member begins with: what
// it holds is in no snapshot.
var ErrUsed = errors.New("etcd has run on it since it was restored")

// ReadWAL reads the segments of a log, in order. It fails with ErrUsed if there is
// more than `etcdutl snapshot restore` leaves.
func ReadWAL(segments ...io.Reader) (*WAL, error) {
	r := walReader{}
	for _, s := range segments {
		if err := r.segment(bufio.NewReader(s)); err != nil {
			return nil, err
		}
	}
	switch {
	case r.wal.Cluster == 0 || r.wal.Member == 0:
		return nil, errors.New("the log does not say whose it is")
	case len(r.wal.Founders) == 0:
		return nil, errors.New("the log names no founding member")
	case r.commit != r.last || r.snapshot != r.last:
		return nil, ErrUsed
	}
	return &r.wal, nil
}

type walReader struct {
	wal WAL
	crc uint32
	// last is the index of the last entry, commit that of the last one committed,
	// snapshot that of the last snapshot.
	last, commit, snapshot uint64
}

// The kinds of record.
const (
	recordMetadata = 1 + iota
	recordEntry
	recordState
	recordCRC
	recordSnapshot
)

// maxRecord bounds a record: a freshly restored log has none of a kilobyte for a
// member.
const maxRecord = 1 << 20

// segment reads the records of a file. Each is a length in eight bytes, whose
// highest byte says by how many the record is padded, and the record; the file is
// filled up with zeros.
func (r *walReader) segment(in *bufio.Reader) error {
	for {
		var head [8]byte
		if _, err := io.ReadFull(in, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return cutShort(err)
		}
		field := binary.LittleEndian.Uint64(head[:])
		if field == 0 {
			return nil
		}
		size, pad := field&(1<<56-1), uint64(0)
		if field>>63 != 0 {
			pad = field >> 56 & 7
		}
		if size > maxRecord {
			return ErrUsed
		}
		b := make([]byte, size+pad)
		if _, err := io.ReadFull(in, b); err != nil {
			return cutShort(err)
		}
		if err := r.record(b[:size]); err != nil {
			return err
		}
	}
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the log is cut short")
	}
	return fmt.Errorf("the log cannot be read: %w", err)
}

var errWAL = errors.New("the log is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (r *walReader) record(b []byte) error {
	var kind, sum uint64
	var data []byte
	if !eachField(b, func(num int, n uint64, bytes []byte) {
		switch num {
		case 1:
			kind = n
		case 2:
			sum = n
		case 3:
			data = bytes
		}
	}) {
		return errWAL
	}
	if kind == recordCRC {
		if r.crc != 0 && uint32(sum) != r.crc {
			return errWAL
		}
		r.crc = uint32(sum)
		return nil
	}
	r.crc = crc32.Update(r.crc, castagnoli, data)
	if uint32(sum) != r.crc {
		return errWAL
	}
	switch kind {
	case recordMetadata:
		return numbers(data, map[int]*uint64{1: &r.wal.Member, 2: &r.wal.Cluster})
	case recordEntry:
		return r.entry(data)
	case recordState:
		return numbers(data, map[int]*uint64{3: &r.commit})
	case recordSnapshot:
		return numbers(data, map[int]*uint64{1: &r.snapshot})
	}
	return fmt.Errorf("%w: a record of kind %d", errWAL, kind)
}

// entry reads an entry of the log, which adds a founding member.
func (r *walReader) entry(b []byte) error {
	const confChange, addNode = 1, 0
	var kind, index, change uint64
	var data, context []byte
	ok := eachField(b, func(num int, n uint64, bytes []byte) {
		switch num {
		case 1:
			kind = n
		case 3:
			index = n
		case 4:
			data = bytes
		}
	})
	if ok && kind == confChange {
		ok = eachField(data, func(num int, n uint64, bytes []byte) {
			switch num {
			case 2:
				change = n
			case 4:
				context = bytes
			}
		})
	}
	switch {
	case !ok:
		return errWAL
	case kind != confChange || change != addNode:
		return ErrUsed
	case index != r.last+1:
		return fmt.Errorf("%w: entry %d follows entry %d", errWAL, index, r.last)
	}
	var f Founder
	if err := json.Unmarshal(context, &f); err != nil || f.ID == 0 {
		return fmt.Errorf("%w: entry %d adds no member", errWAL, index)
	}
	r.last = index
	r.wal.Founders = append(r.wal.Founders, f)
	return nil
}

// numbers reads numeric fields of a message.
func numbers(b []byte, into map[int]*uint64) error {
	ok := eachField(b, func(num int, n uint64, _ []byte) {
		if p := into[num]; p != nil {
			*p = n
		}
	})
	if !ok {
		return errWAL
	}
	return nil
}

// eachField calls fn for the fields of a protobuf message, with their number or
// their bytes. It reports whether b is one.
func eachField(b []byte, fn func(num int, n uint64, bytes []byte)) bool {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		var value uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return false
		}
		fn(int(num), value, bytes)
		b = b[n:]
	}
	return true
}
