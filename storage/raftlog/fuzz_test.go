package raftlog

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

const fuzzSeed = 0x5eed

// segmentBytes makes what is on disk of a segment from its batches.
func segmentBytes(batches ...[]record) []byte {
	data := make([]byte, firstRecord)
	for _, batch := range batches {
		for i := range batch {
			if i == len(batch)-1 {
				batch[i].flags |= flagLast
			}
			data = appendRecord(data, fuzzSeed, &batch[i])
		}
	}
	return data
}

func fuzzBatches() [][]record {
	start := appendState(nil, hardState{1, 2, 3})
	start = append(start, make([]byte, startBytes-len(start))...)
	return [][]record{
		{
			{segment: 3, epoch: 2, seq: 9, kind: kindStart, index: 4, term: 1, data: start},
			{segment: 3, epoch: 2, seq: 9, kind: kindEntry, index: 5, term: 1, flags: flagHasData, data: []byte("data")},
		},
		{{segment: 3, epoch: 2, seq: 10, kind: kindState, data: appendState(nil, hardState{2, 2, 4})}},
		{{segment: 3, epoch: 3, seq: 11, kind: kindMark}},
		{
			{segment: 3, epoch: 3, seq: 12, behind: 1, kind: kindReset, index: 20, term: 2},
			{segment: 3, epoch: 3, seq: 12, behind: 1, kind: kindEntry, index: 21, term: 2, entryType: 2},
		},
	}
}

// FuzzSegment scans arbitrary bytes as a segment: nothing panics, and the batches
// found are those that are there, byte for byte.
func FuzzSegment(f *testing.F) {
	whole := segmentBytes(fuzzBatches()...)
	f.Add(whole[firstRecord:], uint32(3), true)
	f.Add(whole[firstRecord:len(whole)-3], uint32(3), false)
	f.Add([]byte{}, uint32(0), true)
	f.Add(make([]byte, 200), uint32(0), true)
	f.Fuzz(func(t *testing.T, records []byte, number uint32, oldest bool) {
		data := append(make([]byte, firstRecord), records...)
		sc := scanner{data: data, seed: fuzzSeed, segment: number, oldest: oldest, off: firstRecord}
		var again []byte
		for sc.next() {
			seq := sc.batch[0].seq
			for i := range sc.batch {
				r := sc.batch[i]
				require.Equal(t, number, r.segment)
				require.Equal(t, seq, r.seq)
				require.Equal(t, int64(firstRecord+len(again)), r.off)
				again = appendRecord(again, fuzzSeed, &r)
			}
		}
		require.LessOrEqual(t, sc.off, sc.bad)
		// Padding is not part of what a checksum covers.
		if len(again) <= len(records) {
			for _, r := range scanAll(again, number, oldest) {
				from := r.off - firstRecord
				to := from + recordHeaderBytes + int64(len(r.data))
				require.True(t, bytes.Equal(records[from:to], again[from:to]))
			}
		}
		if found := sc.behind(); found == traceProof {
			require.Greater(t, int64(len(data)), sc.off)
		}
	})
}

func scanAll(records []byte, number uint32, oldest bool) []record {
	sc := scanner{data: append(make([]byte, firstRecord), records...), seed: fuzzSeed, segment: number, oldest: oldest, off: firstRecord}
	var all []record
	for sc.next() {
		all = append(all, sc.batch...)
	}
	return all
}

// TestScan shows which batches count and what lies behind them.
func TestScan(t *testing.T) {
	scan := func(batches ...[]record) (uint64, trace) {
		sc := scanner{data: segmentBytes(batches...), seed: fuzzSeed, segment: 3, off: firstRecord, oldest: true}
		for sc.next() {
		}
		return sc.seq, sc.behind()
	}
	change := func(batch int, f func(*record)) [][]record {
		all := fuzzBatches()
		for i := range all[batch] {
			f(&all[batch][i])
		}
		return all
	}
	for _, c := range []struct {
		name    string
		batches [][]record
		seq     uint64
		behind  trace
	}{
		{"whole", fuzzBatches(), 12, traceNone},
		{"another segment's", change(1, func(r *record) { r.segment = 2 }), 9, traceProof},
		{"the last one another segment's", change(3, func(r *record) { r.segment = 2 }), 11, traceNone},
		{"an older epoch", change(3, func(r *record) { r.epoch = 2 }), 11, traceNone},
		{"a later epoch without a mark", change(3, func(r *record) { r.epoch = 4 }), 11, traceTorn},
		{"two epochs on", change(2, func(r *record) { r.epoch = 4 }), 10, traceTorn},
		{"a gap in the sequence", change(3, func(r *record) { r.seq = 13 }), 11, traceTorn},
		{"a gap in the sequence that was durable", change(3, func(r *record) { r.seq, r.behind = 13, 0 }), 11, traceProof},
		{"a sequence again", change(3, func(r *record) { r.seq = 11 }), 11, traceNone},
		{"a start in the middle", change(2, func(r *record) { r.kind = kindStart }), 10, traceTorn},
		{"no start", change(0, func(r *record) { r.kind = kindMark }), 0, traceProof},
	} {
		seq, behind := scan(c.batches...)
		require.Equal(t, c.seq, seq, c.name)
		require.Equal(t, c.behind, behind, c.name)
	}
}

// FuzzOpen opens logs whose records have valid checksums but say anything: that
// is refused or understood, never a panic, and what is understood stays so.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 1, 0, 0, 0, 1, 0})
	f.Add([]byte{0, 1, 0, 1, 1, 0, 4, 1, 32, 0, 0, 2, 1, 0, 0, 0, 5, 1, 9, 0, 0, 2, 0, 1, 0, 0, 6, 1, 9, 0, 0, 5, 1, 1, 1, 0, 0, 0, 0, 0})
	f.Add([]byte{
		0, 1, 1, 1, 1, 0, 4, 1, 32, 0, 0, 3, 1, 1, 0, 0, 0, 0, 24, 0, 0, 4, 1, 1, 0, 0, 30, 2, 0, 0,
		1, 1, 0, 1, 0, 0, 30, 2, 32, 0, 0, 2, 1, 0, 0, 0, 31, 2, 9, 0, 0, 2, 1, 1, 0, 0, 30, 2, 9, 0,
	})
	f.Fuzz(func(t *testing.T, program []byte) {
		d := &directory{logID: 7}
		content := map[string][]byte{"000001.seg": d.header(1, firstRecord)}
		r := record{segment: 1, off: firstRecord}
		for ; len(program) >= 10; program = program[10:] {
			p := program[:10]
			if p[0] == 1 && r.segment < 4 {
				r.segment++
				content[segmentName(r.segment)] = d.header(r.segment, firstRecord)
			}
			name := segmentName(r.segment)
			r.kind, r.flags = kind(p[1]), p[2]
			r.seq, r.epoch, r.behind = r.seq+uint64(p[3]), r.epoch+uint32(p[4]), uint32(p[5])
			r.index, r.term, r.data = uint64(p[6]), uint64(p[7]), bytes.Repeat(p[9:], int(p[8]))
			if r.kind == kindStart && len(r.data) == startBytes {
				// The end of the segment before it, as it should be.
				end := len(content[segmentName(r.segment-1)])
				r.data = binary.LittleEndian.AppendUint64(r.data[:stateBytes], uint64(end))
			}
			content[name] = appendRecord(content[name], seedOf(7), &r)
		}
		fs := withFiles(t, content)
		l, err := Open("log", testOptions(fs))
		if err != nil {
			require.Contains(t, err.Error(), "raft log log/")
			return
		}
		found := contents(t, l)
		found.entries = append(found.entries, entry(found.last()+1, 3, "more"))
		require.NoError(t, l.Append(nil, found.entries[len(found.entries)-1:], true))
		require.NoError(t, l.Close())
		l = mustOpen(t, fs)
		requireOneOf(t, l, []logState{found})
		require.NoError(t, l.Close())
	})
}
