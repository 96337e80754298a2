package raftlog

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
)

// damaged is a log on disk whose files are spoiled and mended in place.
type damaged struct {
	fs      *vfs.MemFS
	content map[string][]byte // the files themselves
	records map[string][]record
	// tail are the batches of the last segment, the last one first; without[n]
	// is what the log holds without n of them.
	tail    [][]record
	without []string
}

// makeDamaged makes a log of four segments; the last batch is an entry, unless
// the log is closed, then it is a mark.
func makeDamaged(t *testing.T, closed bool) *damaged {
	d := &damaged{fs: vfs.NewCrashableMem(), content: map[string][]byte{}, records: map[string][]record{}}
	l := mustOpen(t, d.fs)
	require.NoError(t, l.Reset(1, 1))
	index := uint64(2)
	for range 4 {
		require.NoError(t, l.Append(hard(1, 2, index-1), []*raftpb.Entry{entry(index, 1, "some data"), entry(index+1, 1, "")}, true))
		require.NoError(t, l.Append(nil, []*raftpb.Entry{entry(index+1, 2, strings.Repeat("d", 200))}, true))
		l.w.segment.size = l.w.end()
		index += 2
	}
	require.NoError(t, l.Truncate(3))
	l.waitIdle()
	require.NoError(t, l.Append(hard(2, 2, 3), []*raftpb.Entry{entry(index, 2, "more")}, true))
	require.NoError(t, l.Append(nil, []*raftpb.Entry{entry(index+1, 2, "last")}, true))
	if closed {
		require.NoError(t, l.Close())
	} else {
		require.NoError(t, l.abandon())
	}
	d.index(t)
	require.GreaterOrEqual(t, len(d.records), 4)
	whole := slices.Clone(d.content[d.lastFile()])
	for n := range len(d.tail) + 1 {
		var holds string
		require.NoError(t, d.read(&holds))
		d.without = append(d.without, holds)
		if n < len(d.tail) {
			clear(d.content[d.lastFile()][d.tail[n][0].off:])
		}
	}
	copy(d.content[d.lastFile()], whole)
	if closed {
		require.Equal(t, d.without[0], d.without[1])
	} else {
		require.NotEqual(t, d.without[0], d.without[1])
	}
	return d
}

func (d *damaged) lastFile() string { return slices.Max(slices.Collect(maps.Keys(d.records))) }

// index notes where the records are.
func (d *damaged) index(t *testing.T) {
	names, err := d.fs.List("log")
	require.NoError(t, err)
	slices.Sort(names)
	dir, err := openDirectory(d.fs, "log")
	require.NoError(t, err)
	defer func() { require.NoError(t, dir.close()) }()
	r, err := recoverLog(dir, mustList(t, dir))
	require.NoError(t, err)
	require.NoError(t, r.close())
	sc := scanner{}
	for _, s := range r.segments {
		d.tail = nil
		name := segmentName(s.number)
		d.content[name], err = d.fs.UnsafeGetFileDataBuffer("log/" + name)
		require.NoError(t, err)
		sc = scanner{
			data: d.content[name], seed: seedOf(dir.logID), segment: s.number, off: firstRecord,
			oldest: sc.seq == 0, seq: sc.seq, epoch: sc.epoch,
		}
		for sc.next() {
			d.records[name] = append(d.records[name], sc.batch...)
			d.tail = slices.Insert(d.tail, 0, slices.Clone(sc.batch))
		}
	}
}

func mustList(t *testing.T, d *directory) []uint32 {
	numbers, err := d.list()
	require.NoError(t, err)
	return numbers
}

// read recovers the log, reads all entries and describes it.
func (d *damaged) read(out *string) error {
	dir, err := openDirectory(d.fs, "log")
	if err != nil {
		return err
	}
	defer func() { _ = dir.close() }()
	numbers, err := dir.list()
	if err != nil {
		return err
	}
	r, err := recoverLog(dir, numbers)
	defer func() { _ = r.close() }()
	if err != nil {
		return err
	}
	l := &Log{dir: dir, index: r.index, state: r.state, keeper: &keeper{}}
	first, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	entries, err := l.Entries(first, last+1, math.MaxUint64)
	if err != nil {
		return err
	}
	*out = fmt.Sprintf("%+v %+v %v", r.state, r.index.terms, entries)
	return nil
}

// check reads the spoiled log, of which the bytes [from, to) of a file are
// damaged: it is what it was, or it is refused with the place, or it lacks the
// last batches, each of which is damaged.
func (d *damaged) check(t *testing.T, name string, from, to int64) {
	var got string
	err := d.read(&got)
	at := fmt.Sprintf("%s damaged in [%d, %d)", name, from, to)
	if err == nil {
		for n := range d.without {
			if got == d.without[n] {
				return
			}
			require.Equal(t, d.lastFile(), name, at)
			batch := d.tail[n]
			last := batch[len(batch)-1]
			require.True(t, from < last.off+last.size() && batch[0].off < to, "%s: batch %d is lost", at, last.seq)
		}
		t.Fatalf("%s: the log holds %s", at, got)
	}
	var corrupt *CorruptError
	require.True(t, errors.As(err, &corrupt), "%s: %v", at, err)
	require.Equal(t, "log/"+name, corrupt.Path, "%s: %v", at, err)
	if from < firstRecord {
		require.Less(t, corrupt.Offset, int64(headerBytes), "%s: %v", at, err)
		return
	}
	for _, r := range d.records[name] {
		if from < r.off+r.size() {
			require.Equal(t, r.off, corrupt.Offset, "%s: %v", at, err)
			return
		}
	}
	t.Fatalf("%s, where no record is: %v", at, err)
}

// TestEveryByte damages each byte of a log, one after the other; of those that
// say nothing, some.
func TestEveryByte(t *testing.T) {
	for _, closed := range []bool{true, false} {
		t.Run(fmt.Sprintf("closed=%v", closed), func(t *testing.T) {
			d := makeDamaged(t, closed)
			for name, data := range d.content {
				end := d.records[name][len(d.records[name])-1].off + 128
				for i := range int64(len(data)) {
					if (i >= headerBytes && i < firstRecord || i > end) && i%61 > 0 {
						continue
					}
					flip := byte(1) << (i % 8)
					data[i] ^= flip
					d.check(t, name, i, i+1)
					data[i] ^= flip
				}
			}
		})
	}
}

// TestEverySector loses each sector: zeros, or other bytes.
func TestEverySector(t *testing.T) {
	const sector = 512
	for _, closed := range []bool{true, false} {
		d := makeDamaged(t, closed)
		for name, data := range d.content {
			for from := 0; from < len(data); from += sector {
				part := data[from : from+sector]
				was := slices.Clone(part)
				for _, b := range []byte{0, 0xe5} {
					for i := range part {
						part[i] = b
					}
					d.check(t, name, int64(from), int64(from)+sector)
				}
				copy(part, was)
			}
		}
	}
}
