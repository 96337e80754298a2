package raftlog

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/cockroachdb/pebble/v2/vfs/vfstest"
	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core"
)

// TestFormat pins the bytes on disk: a change of them needs a new format version.
func TestFormat(t *testing.T) {
	fs := vfs.NewMem()
	d, err := openDirectory(fs, "log")
	require.NoError(t, err)
	d.logID = 0x0102030405060708
	l, err := open(d, testOptions(fs).withDefaults())
	require.NoError(t, err)
	require.NoError(t, l.Reset(1, 1))
	conf := entry(3, 2, "data")
	conf.Type = raftpb.EntryConfChangeV2.Enum()
	require.NoError(t, l.Append(hard(2, 3, 1), []*raftpb.Entry{entry(2, 2, ""), conf}, true))
	require.NoError(t, l.Close())
	data, err := fs.UnsafeGetFileDataBuffer("log/000001.seg")
	require.NoError(t, err)
	const path = "testdata/format.txt"
	got := hex.Dump(data[:headerBytes]) + hex.Dump(data[firstRecord:l.w.end()])
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
	require.Zero(t, len(bytes.Trim(data[headerBytes:firstRecord], "\x00")))
}

func TestNewerFormat(t *testing.T) {
	d := &directory{logID: 7}
	h := d.header(1, firstRecord)
	h[12] = formatVersion + 1
	fs := withFiles(t, map[string][]byte{"000001.seg": h})
	_, err := Open("log", testOptions(fs))
	require.ErrorContains(t, err, "checksum mismatch", "the version is covered by it")
	h = (&directory{logID: 7}).header(1, firstRecord)
	h[12] = formatVersion + 1
	h = signHeader(h)
	fs = withFiles(t, map[string][]byte{"000001.seg": h})
	_, err = Open("log", testOptions(fs))
	require.EqualError(t, err, "raft log log/000001.seg has format version 2, this program reads 1; run the version that wrote it")
	fs = withFiles(t, map[string][]byte{"000001.seg": d.header(1, firstRecord), "000002.seg": (&directory{logID: 8}).header(2, firstRecord)})
	_, err = Open("log", testOptions(fs))
	require.ErrorContains(t, err, "raft log log/000002.seg at offset 16: the file belongs to another log")
}

// TestReplacedBytesDoNotCount reads past what was replaced: it takes space in the
// files, and none of the size that raft allows.
func TestReplacedBytesDoNotCount(t *testing.T) {
	l := mustOpen(t, vfs.NewMem())
	l.ring.limit = 1
	for _, batch := range [][]*raftpb.Entry{
		{entry(1, 1, "a"), entry(2, 1, "b")},
		{entry(2, 2, "B"), entry(3, 2, strings.Repeat("x", 40000))},
		{entry(3, 3, "c")},
		{entry(4, 3, "d")},
	} {
		require.NoError(t, l.Append(nil, batch, true))
	}
	entries, err := l.Entries(1, 5, 300)
	require.NoError(t, err)
	require.Equal(t, "1/1 a\n2/2 B\n3/3 c\n4/3 d\n", describeEntries(entries))
	require.NoError(t, l.Close())
}

// TestInconsistent opens logs whose records are whole but contradict each other.
func TestInconsistent(t *testing.T) {
	state := appendState(nil, hardState{1, 1, 1})
	start := func(end uint64) []byte { return binary.LittleEndian.AppendUint64(slices.Clone(state), end) }
	const end = firstRecord + recordHeaderBytes + startBytes + recordHeaderBytes + 8
	whole := []record{
		{segment: 1, seq: 1, kind: kindStart, data: start(0)},
		{segment: 1, seq: 1, kind: kindEntry, index: 1, term: 1, data: []byte("x"), flags: flagLast},
		{segment: 2, seq: 2, kind: kindStart, index: 1, term: 1, data: start(end)},
		{segment: 2, seq: 2, kind: kindEntry, index: 2, term: 1, flags: flagLast},
		{segment: 2, seq: 3, kind: kindState, data: state, flags: flagLast},
	}
	for _, c := range []struct {
		want   string
		change func(r []record)
	}{
		{"", func([]record) {}},
		{"000001.seg at offset 4184: entry 2 follows entry 0", func(r []record) { r[1].index = 2 }},
		{"000001.seg at offset 4184: entry 0 follows entry 0", func(r []record) { r[1].index = 0 }},
		{"000001.seg at offset 4096: a start record of 31 bytes", func(r []record) { r[0].data = r[0].data[1:] }},
		{"000001.seg at offset 4240: checksum mismatch", func(r []record) { r[2].data = start(end - 8) }},
		{"000002.seg at offset 4096: the segment starts after entry 2 of term 1", func(r []record) { r[2].index = 2 }},
		{"000002.seg at offset 4096: the segment starts after entry 1 of term 2", func(r []record) { r[2].term = 2 }},
		{"000002.seg at offset 4184: entry 3 follows entry 1", func(r []record) { r[3].index = 3 }},
		{"000002.seg at offset 4184: unknown kind of record: 9", func(r []record) { r[3].kind = 9 }},
		{"000002.seg at offset 4240: a HardState of 23 bytes", func(r []record) { r[4].data = state[1:] }},
	} {
		records := slices.Clone(whole)
		c.change(records)
		d := &directory{logID: 7}
		content := map[string][]byte{"000001.seg": d.header(1, firstRecord), "000002.seg": d.header(2, firstRecord)}
		for i := range records {
			name := segmentName(records[i].segment)
			content[name] = appendRecord(content[name], seedOf(7), &records[i])
		}
		l, err := Open("log", testOptions(withFiles(t, content)))
		if c.want != "" {
			require.ErrorContains(t, err, c.want)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, uint64(2), contents(t, l).last())
		require.NoError(t, l.Close())
	}
}

// TestSnapshot shows that what raft calls a snapshot is where the log begins, with the
// members that it was told of.
func TestSnapshot(t *testing.T) {
	l := mustOpen(t, vfs.NewMem())
	defer func() { require.NoError(t, l.Close()) }()
	l.SetMembers([]core.MemberID{1, 2}, []core.MemberID{3})
	require.NoError(t, l.Reset(7, 3))
	require.Zero(t, l.BytesAfter(3), "who asks by an index of before the reset")
	at := func() *raftpb.SnapshotMetadata {
		s, err := l.Snapshot()
		require.NoError(t, err)
		require.Empty(t, s.GetData())
		return s.GetMetadata()
	}
	require.Equal(t, []uint64{7, 3}, []uint64{at().GetIndex(), at().GetTerm()})
	require.Equal(t, []uint64{1, 2}, at().GetConfState().GetVoters())
	require.Equal(t, []uint64{3}, at().GetConfState().GetLearners())
	require.NoError(t, l.Append(nil, []*raftpb.Entry{{Term: proto.Uint64(4), Index: proto.Uint64(8)}}, true))
	require.NoError(t, l.Truncate(8))
	require.Equal(t, []uint64{8, 4}, []uint64{at().GetIndex(), at().GetTerm()})
}

// TestEmpty shows a new log, and what raft asks of it.
func TestEmpty(t *testing.T) {
	l := mustOpen(t, vfs.NewMem())
	defer func() { require.NoError(t, l.Close()) }()
	hs, cs, err := l.InitialState()
	require.NoError(t, err)
	require.True(t, raft.IsEmptyHardState(hs))
	require.True(t, proto.Equal(&raftpb.ConfState{}, cs))
	_, err = l.Snapshot()
	require.Equal(t, raft.ErrSnapshotTemporarilyUnavailable, err)
	term, err := l.Term(0)
	require.NoError(t, err)
	require.Zero(t, term)
	require.Zero(t, l.BytesAfter(0))
	require.NoError(t, l.Append(nil, nil, true))

	given := &raftpb.ConfState{Voters: []uint64{1, 2}}
	l.SetConfState(given)
	require.Nil(t, given.AutoLeave, "it is the caller's")
	given.Voters[0] = 9
	_, cs, err = l.InitialState()
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 2}, cs.Voters)
	l.SetConfState(nil)
	_, cs, err = l.InitialState()
	require.NoError(t, err)
	require.Empty(t, cs.Voters)
}

// TestMember shows what the opening of a member tells the log.
func TestMember(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l := mustOpen(t, fs)
	require.NoError(t, l.Reset(1, 1))
	require.NoError(t, l.Append(hard(3, 2, 1), []*raftpb.Entry{entry(2, 3, "a")}, true))
	l.SetMembers([]core.MemberID{4, 5}, nil)
	_, cs, err := l.InitialState()
	require.NoError(t, err)
	require.Equal(t, []uint64{4, 5}, cs.Voters)
	require.NoError(t, l.RaiseCommit(2))
	require.NoError(t, l.RaiseCommit(1))
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, l.Close())
	l = mustOpen(t, clone)
	require.True(t, proto.Equal(hard(3, 2, 2), l.HardState()))
	require.NoError(t, l.Close())
}

// TestRaft starts raft itself on a log, as a new cluster does.
func TestRaft(t *testing.T) {
	l := mustOpen(t, vfs.NewMem())
	defer func() { require.NoError(t, l.Close()) }()
	require.NoError(t, l.Reset(1, 1))
	l.SetConfState(&raftpb.ConfState{Voters: []uint64{1}})
	node, err := raft.NewRawNode(&raft.Config{
		ID: 1, Applied: 1, ElectionTick: 10, HeartbeatTick: 1, Storage: l, MaxInflightMsgs: 8, MaxSizePerMsg: math.MaxUint64,
		Logger: &raft.DefaultLogger{Logger: discard},
	})
	require.NoError(t, err)
	require.NoError(t, node.Campaign())
	var committed []string
	for n := 0; len(committed) < 100; {
		for node.HasReady() {
			ready := node.Ready()
			require.NoError(t, l.Append(ready.HardState, ready.Entries, ready.MustSync))
			for _, e := range ready.CommittedEntries {
				if len(e.Data) > 0 {
					committed = append(committed, string(e.Data))
				}
			}
			node.Advance(ready)
		}
		require.NoError(t, node.Propose([]byte(fmt.Sprint(n))))
		n++
	}
	require.Equal(t, "99", committed[99])
	require.Equal(t, uint64(2), l.HardState().GetTerm())
}

func TestOpenTwice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "log")
	l, err := Open(dir, Options{SegmentBytes: testSegmentBytes})
	require.NoError(t, err)
	_, err = Open(dir, Options{})
	require.ErrorContains(t, err, "is it in use by another process?")
	require.NoError(t, l.Append(nil, []*raftpb.Entry{entry(1, 1, "a")}, true))
	require.NoError(t, l.Close())
	l, err = Open(dir, Options{})
	require.NoError(t, err)
	entries, err := l.Entries(1, 2, 0)
	require.NoError(t, err)
	require.Equal(t, "a", string(entries[0].Data))
	require.NoError(t, l.Close())
}

// TestNewDirectory loses power right after Open: the directory is there, with all
// above it that Open has made.
func TestNewDirectory(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l, err := Open("a/b/log", testOptions(fs))
	require.NoError(t, err)
	require.NoError(t, l.Append(nil, []*raftpb.Entry{entry(1, 1, "a")}, true))
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, l.Close())
	l, err = Open("a/b/log", testOptions(clone))
	require.NoError(t, err)
	last, err := l.LastIndex()
	require.NoError(t, err)
	require.Equal(t, uint64(1), last)
	require.NoError(t, l.Close())
}

// TestFilesClosed counts open files after opening, failing and closing.
func TestFilesClosed(t *testing.T) {
	fs, dump := vfstest.WithOpenFileTracking(vfs.NewMem())
	l := mustOpen(t, fs)
	for i := uint64(1); i < 60; i++ {
		require.NoError(t, l.Append(nil, []*raftpb.Entry{entry(i, 1, strings.Repeat("x", 3000))}, true))
		require.NoError(t, l.Truncate(i-1))
	}
	require.NoError(t, l.Close())
	l = mustOpen(t, fs)
	require.NoError(t, l.Close())
	f, err := fs.OpenReadWrite(l.w.segment.path, "test")
	require.NoError(t, err)
	var header [1]byte
	_, err = f.ReadAt(header[:], 20)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{^header[0]}, 20) // part of a random id: any fixed byte may be there already
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = Open("log", testOptions(fs))
	require.ErrorContains(t, err, "checksum mismatch")
	var open bytes.Buffer
	dump(&open)
	require.Empty(t, open.String())
}

// TestSteadyState shows that a log of stable length goes through a fixed set of
// files: segments are used again.
func TestSteadyState(t *testing.T) {
	watch := &watcher{describe: appends}
	fs := errorfs.Wrap(vfs.NewMem(), watch)
	o := testOptions(fs)
	var syncs, bytes int
	o.OnSync = func(d time.Duration, n int) {
		require.GreaterOrEqual(t, d, time.Duration(0))
		syncs++
		bytes += n
	}
	l, err := Open("log", o)
	require.NoError(t, err)
	syncs, bytes = 0, 0
	watch.take()
	const entries = 400
	for i := uint64(1); i <= entries; i++ {
		require.NoError(t, l.Append(hard(1, 1, i-1), []*raftpb.Entry{entry(i, 1, strings.Repeat("x", 1000))}, true))
		require.NoError(t, l.Truncate(max(i, 20)-20))
		l.waitIdle()
		names, err := fs.List("log")
		require.NoError(t, err)
		require.LessOrEqual(t, len(names), 2+maxReady+3, "%v", names)
	}
	ops := watch.take()
	require.Len(t, ops, 2*entries, "one write and one sync per Append")
	for i, op := range ops {
		require.Equal(t, i%2 == 1, op == "sync")
	}
	require.Equal(t, entries, syncs)
	require.Greater(t, bytes, entries*1000)
	require.NoError(t, l.Close())
	l = mustOpen(t, fs)
	first, err := l.FirstIndex()
	require.NoError(t, err)
	require.Greater(t, first, uint64(entries-60))
	got := contents(t, l)
	require.Equal(t, uint64(entries), got.last())
	require.Equal(t, hardState{1, 1, entries - 1}, got.state)
	require.NoError(t, l.Close())
}

// TestConcurrent reads, truncates and appends at the same time.
// TestUnsafeNoSync shows that nothing is synced, and all is there again, while the
// operating system goes on.
func TestUnsafeNoSync(t *testing.T) {
	watch := &watcher{describe: appends}
	o := testOptions(errorfs.Wrap(vfs.NewMem(), watch))
	o.UnsafeNoSync = true
	l, err := Open("log", o)
	require.NoError(t, err)
	for i := uint64(1); i <= 100; i++ { // several segments
		require.NoError(t, l.Append(hard(1, 1, i-1), []*raftpb.Entry{entry(i, 1, strings.Repeat("x", 1000))}, true))
	}
	require.NotContains(t, watch.take(), "sync")
	require.NoError(t, l.Close())
	l, err = Open("log", o)
	require.NoError(t, err)
	require.Equal(t, uint64(100), contents(t, l).last())
	require.NoError(t, l.Close())
}

func TestConcurrent(t *testing.T) {
	l := mustOpen(t, vfs.NewMem())
	const last = 3000
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					readSome(t, l)
				}
			}
		})
	}
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if n, _ := l.LastIndex(); n > 200 {
					require.NoError(t, l.Truncate(n-200))
				}
			}
		}
	})
	for i := uint64(1); i <= last; i++ {
		e := entry(i, 1, fmt.Sprintf("%d %0*d", i, int(i%700), 0))
		require.NoError(t, l.Append(hard(1, 1, i), []*raftpb.Entry{e}, i%2 == 0))
	}
	close(done)
	readers.Wait()
	require.NoError(t, l.Close())
}

func readSome(t *testing.T, l *Log) {
	first, err := l.FirstIndex()
	require.NoError(t, err)
	lastIndex, err := l.LastIndex()
	require.NoError(t, err)
	if lastIndex < first {
		return
	}
	entries, err := l.Entries(first, lastIndex+1, 100_000)
	if errors.Is(err, raft.ErrCompacted) {
		return
	}
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for i, e := range entries {
		require.Equal(t, first+uint64(i), e.GetIndex())
		require.True(t, strings.HasPrefix(string(e.Data), fmt.Sprintf("%d ", e.GetIndex())))
	}
	_, err = l.Term(lastIndex)
	if !errors.Is(err, raft.ErrCompacted) {
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, l.BytesAfter(first-1), int64(0))
}
