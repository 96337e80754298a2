package backup

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/mvcc"
)

// record is a version on its way from the order of keys to that of revisions.
type record struct {
	core.KV
	// puts is how many writes of the key by the same revision the version has taken
	// the place of, deleted that a deletion of the version before it was among them.
	puts    uint64
	deleted bool
}

const (
	recordTombstone = 1 << iota
	recordDeleted
)

// recordHead is what append adds to key and value at most.
const recordHead = 1 + 7*binary.MaxVarintLen64

// append appends r without its revision.
func (r *record) append(dst []byte) []byte {
	var flags byte
	if r.Deleted() {
		flags |= recordTombstone
	}
	if r.deleted {
		flags |= recordDeleted
	}
	dst = append(dst, flags)
	for _, n := range [...]uint64{
		uint64(r.CreateRev), uint64(r.Version), uint64(r.Lease), uint64(r.Time), uint64(r.ACL), r.puts, uint64(len(r.Key)),
	} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst = append(dst, r.Key...)
	return append(dst, r.Value...)
}

// decode reads what append wrote; r aliases b.
func (r *record) decode(b []byte, rev core.Rev) error {
	if len(b) == 0 {
		return errRecord
	}
	flags, rest := b[0], b[1:]
	var numbers [7]uint64
	for i := range numbers {
		v, n := binary.Uvarint(rest)
		if n <= 0 {
			return errRecord
		}
		numbers[i], rest = v, rest[n:]
	}
	if numbers[6] > uint64(len(rest)) || (flags&recordTombstone != 0) != (numbers[1] == 0) {
		return errRecord
	}
	r.KV = core.KV{
		Key: rest[:numbers[6]], Value: rest[numbers[6]:],
		CreateRev: core.Rev(numbers[0]), ModRev: rev,
		Version: int64(numbers[1]), Lease: core.LeaseID(numbers[2]), Time: int64(numbers[3]), ACL: core.ZnodeACL(numbers[4]),
	}
	r.puts, r.deleted = numbers[5], flags&recordDeleted != 0
	return nil
}

var errRecord = errors.New("a temporary file of the backup is damaged")

// sorter orders records by revision, those of one revision as they came. What does
// not fit in its memory goes to sorted runs in dir, which its owner removes. It is for
// one goroutine.
type sorter struct {
	dir   string
	limit int
	pace  mvcc.Pace

	// blocks hold the records in the order of arrival, filling is the one that takes the
	// next, bytes what they have in all. One slice that grows would be copied again and
	// again, which takes milliseconds in which nothing else runs.
	blocks  [][]byte
	filling int
	bytes   int
	entries []sortEntry
	runs    []string
}

// sortEntry is where a record is in the blocks.
type sortEntry struct {
	rev             core.Rev
	block, from, to uint32
}

const (
	sortEntrySize = 24
	// sortBlock is the size of a block, unless a record needs more.
	sortBlock = 256 << 10
)

// add takes a copy of r.
func (s *sorter) add(r *record) error {
	b := s.room(recordHead + len(r.Key) + len(r.Value))
	from := len(*b)
	*b = r.append(*b)
	s.bytes += len(*b) - from
	s.entries = append(s.entries, sortEntry{
		rev: r.ModRev, block: uint32(s.filling), from: uint32(from), to: uint32(len(*b)),
	})
	if s.bytes+sortEntrySize*len(s.entries) < s.limit {
		return nil
	}
	return s.spill()
}

// room is a block that has room for so many bytes. Blocks behind the one that is filled are
// empty: one of an unusual size goes in front of them, which serve what comes after it.
func (s *sorter) room(bytes int) *[]byte {
	if s.filling < len(s.blocks) {
		if b := &s.blocks[s.filling]; cap(*b)-len(*b) >= bytes {
			return b
		}
		s.filling++
	}
	if s.filling == len(s.blocks) || cap(s.blocks[s.filling]) < bytes {
		s.blocks = slices.Insert(s.blocks, s.filling, make([]byte, 0, max(bytes, sortBlock)))
	}
	return &s.blocks[s.filling]
}

// clear forgets what is in memory, and keeps the room, but for blocks of an unusual size:
// each run would add its own.
func (s *sorter) clear() {
	s.blocks = slices.DeleteFunc(s.blocks, func(b []byte) bool { return cap(b) > sortBlock })
	for i := range s.blocks {
		s.blocks[i] = s.blocks[i][:0]
	}
	s.entries, s.filling, s.bytes = s.entries[:0], 0, 0
}

func (s *sorter) record(e sortEntry) []byte { return s.blocks[e.block][e.from:e.to] }

// sort orders what is in memory. Places in the blocks are in the order of arrival.
func (s *sorter) sort() error {
	var err error
	compared := 0
	slices.SortFunc(s.entries, func(a, b sortEntry) int {
		if compared++; compared%pacedComparisons == 0 && err == nil {
			err = s.pace()
		}
		return cmp.Or(cmp.Compare(a.rev, b.rev), cmp.Compare(a.block, b.block), cmp.Compare(a.from, b.from))
	})
	return err
}

// pacedComparisons is how many comparisons are between two calls of a Pace: about a tenth
// of a millisecond.
const pacedComparisons = 8192

// spill writes what is in memory to a run: of each record the revision, the length
// and the record.
func (s *sorter) spill() (err error) {
	if err := s.sort(); err != nil {
		return err
	}
	path := filepath.Join(s.dir, fmt.Sprintf("run-%05d", len(s.runs)))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, path)
	w := bufio.NewWriterSize(f, runBuffer)
	var head []byte
	for i, e := range s.entries {
		if i%pacedRows == 0 {
			if err = s.pace(); err != nil {
				break
			}
		}
		head = binary.AppendUvarint(head[:0], uint64(e.rev))
		head = binary.AppendUvarint(head, uint64(e.to-e.from))
		if _, err = w.Write(head); err == nil {
			_, err = w.Write(s.record(e))
		}
		if err != nil {
			break // the writer keeps the error, too
		}
	}
	s.clear()
	return errors.Join(err, w.Flush(), f.Close())
}

// runBuffer is the buffer of a run, while it is written and while it is read.
const runBuffer = 64 << 10

// sorted ends the adding and returns all records in order. The caller must close it.
func (s *sorter) sorted() (*merge, error) {
	m := &merge{}
	if len(s.runs) == 0 {
		m.memory = s
		return m, s.sort()
	}
	if len(s.entries) > 0 {
		if err := s.spill(); err != nil {
			return nil, err
		}
	}
	s.blocks, s.entries = nil, nil
	for i, path := range s.runs {
		f, err := os.Open(path)
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		r := &run{file: f, in: bufio.NewReaderSize(f, runBuffer), number: i}
		m.files = append(m.files, f)
		ok, err := r.next()
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		if ok {
			m.runs = append(m.runs, r)
		}
	}
	heap.Init(&m.runs)
	return m, nil
}

// merge walks the records of a sorter in order.
type merge struct {
	memory *sorter // if all is in memory
	at     int

	files   []*os.File
	runs    runHeap
	started bool

	record record
}

// next goes to the next record, which is valid until the next call.
func (m *merge) next() (bool, error) {
	if m.memory != nil {
		if m.at == len(m.memory.entries) {
			return false, nil
		}
		e := m.memory.entries[m.at]
		m.at++
		return true, m.record.decode(m.memory.record(e), e.rev)
	}
	if m.started { // the record that was shown still lies at the top
		ok, err := m.runs[0].next()
		if err != nil {
			return false, err
		}
		if ok {
			heap.Fix(&m.runs, 0)
		} else {
			heap.Pop(&m.runs)
		}
	}
	if m.started = len(m.runs) > 0; !m.started {
		return false, nil
	}
	return true, m.record.decode(m.runs[0].buf, m.runs[0].rev)
}

// Close closes the runs.
func (m *merge) Close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// run reads one run.
type run struct {
	file   *os.File
	in     *bufio.Reader
	number int

	rev core.Rev
	buf []byte
}

func (r *run) next() (bool, error) {
	rev, err := binary.ReadUvarint(r.in)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	size, err := binary.ReadUvarint(r.in)
	if err != nil {
		return false, errors.Join(errRecord, err)
	}
	r.rev, r.buf = core.Rev(rev), slices.Grow(r.buf[:0], int(size))[:size]
	if _, err := io.ReadFull(r.in, r.buf); err != nil {
		return false, errors.Join(errRecord, err)
	}
	return true, nil
}

// runHeap is ordered by revision; of one revision the earlier run first, which has
// the records that came earlier.
type runHeap []*run

func (h runHeap) Len() int { return len(h) }

func (h runHeap) Less(i, j int) bool {
	if h[i].rev != h[j].rev {
		return h[i].rev < h[j].rev
	}
	return h[i].number < h[j].number
}

func (h runHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)   { *h = append(*h, x.(*run)) }

func (h *runHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
