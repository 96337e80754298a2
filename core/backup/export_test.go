package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/etcdfile"
	"github.com/triglot/triglot/storage/mvcc"
)

// TestSorterIsAStableSort compares it with the library's, in memory and through runs.
func TestSorterIsAStableSort(t *testing.T) {
	test := t
	rapid.Check(t, func(t *rapid.T) {
		s := sorter{dir: test.TempDir(), limit: rapid.SampledFrom([]int{1, 300, 1 << 20}).Draw(t, "limit"), pace: noPace}
		var want []record
		for i := range rapid.IntRange(0, 50).Draw(t, "records") {
			r := record{KV: core.KV{
				Key: fmt.Appendf(nil, "key %d", i), ModRev: core.Rev(rapid.IntRange(1, 9).Draw(t, "rev")),
				CreateRev: 1, Version: rapid.Int64Range(0, 3).Draw(t, "version"),
			}, puts: rapid.Uint64Range(0, 3).Draw(t, "puts"), deleted: rapid.Bool().Draw(t, "deleted")}
			if !r.Deleted() {
				r.Value, r.Lease, r.Time = rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "value"), core.LeaseID(-i), int64(i)
				// Some fill a block, or need one of their own.
				r.Value = slices.Repeat(r.Value, rapid.SampledFrom([]int{1, 1, 1, sortBlock / 150}).Draw(t, "repeated"))
			} else {
				r.Value = []byte{}
			}
			want = append(want, r)
			require.NoError(t, s.add(&r))
		}
		slices.SortStableFunc(want, func(a, b record) int { return int(a.ModRev - b.ModRev) })
		m, err := s.sorted()
		require.NoError(t, err)
		for i := range want {
			ok, err := m.next()
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, want[i], m.record)
		}
		ok, err := m.next()
		require.NoError(t, err)
		require.False(t, ok)
		require.NoError(t, m.Close())
	})
}

// However many runs there are, and however large a record is now and then, the blocks stay
// near the limit.
func TestSorterKeepsToItsLimit(t *testing.T) {
	const limit, runs = 4 << 20, 24
	s := sorter{dir: t.TempDir(), limit: limit, pace: noPace}
	for i := 0; len(s.runs) < runs; i++ {
		size := 200
		if i%2000 == 1999 { // larger than any before
			size = 2*sortBlock + i
		}
		kv := core.KV{Key: []byte("key"), Value: make([]byte, size), ModRev: core.Rev(i + 2), CreateRev: 1, Version: 1}
		require.NoError(t, s.add(&record{KV: kv}))
		held := 0
		for _, b := range s.blocks {
			held += cap(b)
		}
		require.Less(t, held, 2*limit, "after %d runs", len(s.runs))
	}
}

// Neither the sorting nor the writing of a run holds others up for long, and both end when
// they are told to.
func TestSorterGivesWay(t *testing.T) {
	const records = 20_000
	paced := 0
	s := sorter{dir: t.TempDir(), limit: 1 << 30, pace: func() error { paced++; return nil }}
	fill := func() {
		for i := range records {
			require.NoError(t, s.add(&record{KV: core.KV{Key: []byte("key"), ModRev: core.Rev(i * 7919 % records), CreateRev: 1, Version: 1}}))
		}
	}
	fill()
	require.Zero(t, paced)
	require.NoError(t, s.sort())
	require.Greater(t, paced, records/pacedComparisons)
	paced = 0
	require.NoError(t, s.spill())
	require.GreaterOrEqual(t, paced, records/pacedRows)

	stopped := errors.New("stopped")
	s.pace = func() error { return stopped }
	fill()
	require.ErrorIs(t, s.spill(), stopped)
	_, err := s.sorted()
	require.ErrorIs(t, err, stopped)
	s.runs = nil
	_, err = s.sorted()
	require.ErrorIs(t, err, stopped, "in memory, too")
}

func TestDamagedRunIsRefused(t *testing.T) {
	for cut := range int64(60) {
		s := sorter{dir: t.TempDir(), limit: 1, pace: noPace}
		require.NoError(t, s.add(&record{KV: core.KV{Key: []byte("key"), Value: make([]byte, 60), ModRev: 300, CreateRev: 2, Version: 1}}))
		require.NoError(t, os.Truncate(s.runs[0], cut+1))
		_, err := s.sorted()
		require.Error(t, err, "cut at %d", cut+1)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add((&record{KV: core.KV{Key: []byte("k"), Value: []byte("v"), CreateRev: 2, Version: 1}}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r record
		if err := r.decode(b, 5); err == nil {
			var again record
			require.NoError(t, again.decode(r.append(nil), 5))
			require.Equal(t, r, again)
		}
	})
}

func TestLongRows(t *testing.T) {
	key, value := longRow(3, []byte("n long"), []byte("row"))
	k, v, ok := sidecarRow(key, value)
	require.True(t, ok)
	require.Equal(t, "n long", string(k))
	require.Equal(t, "row", string(v))
	k, v, ok = sidecarRow([]byte("n short"), []byte("row"))
	require.True(t, ok)
	require.Equal(t, "n short", string(k))
	require.Equal(t, "row", string(v))
	for _, bad := range []string{"", "\x09ab", "\xff"} {
		_, _, ok = sidecarRow(key, []byte(bad))
		require.False(t, ok, "%q", bad)
	}
}

// rig is a state machine on a file system in memory.
type rig struct {
	t       testing.TB
	db      *storage.DB
	machine *state.Machine
	view    *state.View
}

func newRig(t testing.TB) *rig {
	db, err := storage.Open("state", storage.Options{FS: storage.NewMemFS()})
	require.NoError(t, err)
	require.NoError(t, state.Bootstrap(db, 1, []core.Member{{ID: 1, PeerURLs: []string{"http://localhost:2380"}}}, "/zk"))
	m, err := state.Open(db, mvcc.Caches{Versions: mvcc.NewCache(1 << 20), Rows: mvcc.NewCache(1 << 20)})
	require.NoError(t, err)
	r := &rig{t: t, db: db, machine: m}
	r.apply()
	t.Cleanup(func() {
		r.view.Close()
		require.NoError(t, errors.Join(m.Close(), db.Close()))
	})
	return r
}

// apply applies commands, each of which must succeed, in one entry.
func (r *rig) apply(cmds ...core.Command) {
	index, _ := r.machine.Applied()
	batch := command.Batch{Member: 1, Incarnation: 1}
	for _, c := range cmds {
		batch.Commands = append(batch.Commands, command.AppendCommandAs(nil, core.Principal{Member: true}, c))
	}
	replies, err := r.machine.Apply(state.Entry{
		Index: index + 1, Term: 2, Frame: command.Entry{TimeMS: 1000, Batches: []command.Batch{batch}},
		Own: func(core.MemberID, uint64) bool { return true },
	}, nil)
	require.NoError(r.t, err)
	for _, reply := range replies {
		require.NoError(r.t, reply.Err)
	}
	if r.view != nil {
		r.view.Close()
	}
	r.view, _, err = r.machine.Commit()
	require.NoError(r.t, err)
}

// export is the file as a whole.
func (r *rig) export(o ExportOptions) []byte {
	o.Dir = r.t.TempDir()
	require.True(r.t, r.view.Retain())
	out, err := Export(context.Background(), r.view, o)
	require.NoError(r.t, err)
	left, err := os.ReadDir(o.Dir)
	require.NoError(r.t, err)
	require.Len(r.t, left, 1, "the runs are gone")
	b, err := os.ReadFile(out.Path)
	require.NoError(r.t, err)
	require.Len(r.t, b, int(out.Size))
	return b
}

// TestExportInAnyMemory: where the records were sorted does not show, and the changes
// of a revision are in the order in which they were made, also where they are not held.
func TestExportInAnyMemory(t *testing.T) {
	r := newRig(t)
	random := rand.New(rand.NewPCG(1, 1))
	var want []string
	for range 50 {
		var ops []core.Op
		order := random.Perm(40)
		for _, i := range order {
			ops = append(ops, core.Op{Put: &core.Put{Key: fmt.Appendf(nil, "key %02d", i), Value: make([]byte, 200)}})
		}
		r.apply(&core.Txn{Then: ops})
		for sub, i := range order {
			want = append(want, fmt.Sprintf("%d.%d key %02d", r.view.Rev(), sub, i))
		}
	}
	read := func(b []byte) (got []string) {
		file, err := etcdfile.NewReader(bytes.NewReader(b), int64(len(b)), etcdfile.HashIgnored)
		require.NoError(t, err)
		require.NoError(t, file.Versions(func(v *etcdfile.Version) error {
			got = append(got, fmt.Sprintf("%d.%d %s", v.Main, v.Sub, v.Key))
			return nil
		}))
		return got
	}
	whole := r.export(ExportOptions{})
	require.Equal(t, want, read(whole))
	require.Equal(t, whole, r.export(ExportOptions{SortBytes: 20 << 10}), "through runs")
	require.Equal(t, whole, r.export(ExportOptions{SortBytes: 1}), "a run for every record, and nothing is held")
}

func TestExportEndsWithItsCaller(t *testing.T) {
	r := newRig(t)
	for i := range 12 {
		var ops []core.Op
		for j := range 100 {
			ops = append(ops, core.Op{Put: &core.Put{Key: fmt.Appendf(nil, "%d.%d", i, j)}})
		}
		r.apply(&core.Txn{Then: ops})
	}
	calls := 0
	for at := 1; ; at += 2 { // wherever it is by then
		calls = 0
		o := ExportOptions{Dir: t.TempDir(), SortBytes: 64 << 10, Pace: func() error {
			if calls++; calls == at {
				return core.Stopped
			}
			return nil
		}}
		require.True(t, r.view.Retain())
		_, err := Export(context.Background(), r.view, o)
		if err == nil {
			break
		}
		require.ErrorIs(t, err, core.Stopped)
		require.NoFileExists(t, o.Dir+"/"+fileName)
	}
	require.Greater(t, calls, 1)
}

// TestRevisionWithoutAKey: etcd goes on from the last row's revision, so there must be
// one, of a key that nobody has.
func TestRevisionWithoutAKey(t *testing.T) {
	r := newRig(t)
	r.apply(&core.SessionOpen{ID: 5, Timeout: 1e9}, &core.Put{Key: []byte(unusedKey)}, &core.Put{Key: []byte("/zk/parent/child")})
	remove := func(path string) core.Command {
		return &core.ZnodeWrite{Session: core.SessionRef{ID: 5, Epoch: 1}, Ops: []core.ZnodeOp{
			{Type: core.ZnodeDelete, Path: path, Version: core.AnyVersion},
		}}
	}
	r.apply(remove("/parent/child"))
	rev := r.view.Rev()
	r.apply(remove("/parent")) // which has no key
	require.Equal(t, rev+1, r.view.Rev())

	b := r.export(ExportOptions{})
	file, err := etcdfile.NewReader(bytes.NewReader(b), int64(len(b)), etcdfile.HashIgnored)
	require.NoError(t, err)
	var last etcdfile.Version
	require.NoError(t, file.Versions(func(v *etcdfile.Version) error {
		last = *v
		last.Key = bytes.Clone(v.Key)
		return nil
	}))
	require.Equal(t, etcdfile.Version{Main: int64(rev + 1), Tombstone: true, Key: []byte(unusedKey + "+")}, last)
}

// BenchmarkExport is of small versions; figures per version.
func BenchmarkExport(b *testing.B) {
	r := newRig(b)
	const versions = 200_000
	for i := 0; i < versions; i += 100 {
		var ops []core.Op
		for j := range 100 {
			ops = append(ops, core.Op{Put: &core.Put{Key: fmt.Appendf(nil, "key/%08d", (i+j)*7919%versions), Value: make([]byte, 64)}})
		}
		r.apply(&core.Txn{Then: ops})
	}
	b.ReportAllocs()
	for b.Loop() {
		o := ExportOptions{Dir: b.TempDir()}
		require.True(b, r.view.Retain())
		_, err := Export(context.Background(), r.view, o)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/versions, "ns/version")
}
