package mvcc

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// machine drives a Writer, its cache and its engine beside the model.
type machine struct {
	t      *testing.T
	db     *storage.DB
	caches Caches
	writer *Writer

	model *model
	rows  map[string]string
	rev   core.Rev
	sub   uint32
	index uint64
	value int

	marks []machineMark
	views []machineView
	// collected is what the collector has done; reads below it are off.
	collected core.Rev
	collector *Collector
}

type machineMark struct {
	mark  Mark
	model *model
	rows  map[string]string
	rev   core.Rev
	sub   uint32
}

type machineView struct {
	snapshot        *storage.Snapshot
	reader          *Reader
	model           *model
	rows            map[string]string
	rev, compactRev core.Rev
}

func newMachine(t *testing.T, cacheBytes int64) *machine {
	db, err := storage.Open("db", storage.Options{FS: storage.NewMemFS(), MemTableBytes: 256 << 10, CacheBytes: 1 << 20})
	require.NoError(t, err)
	m := &machine{
		t: t, db: db, caches: Caches{Versions: NewCache(cacheBytes), Rows: NewCache(cacheBytes / 5)}, model: newModel(), rev: 1, rows: make(map[string]string),
	}
	m.writer = mustWriter(t, db, m.caches)
	m.collector, err = NewCollector(db, CollectorOptions{ChunkRows: 3, Share: 1})
	require.NoError(t, err)
	return m
}

func (m *machine) close() {
	for _, v := range m.views {
		require.NoError(m.t, v.snapshot.Close())
	}
	require.NoError(m.t, m.writer.Close())
	require.NoError(m.t, m.db.Close())
}

var machineKeys = []string{"a", "a\x00", "a\x00b", "ab", "b", "c", "c\xff", "d"}

func drawMachineKey(t *rapid.T) string { return rapid.SampledFrom(machineKeys).Draw(t, "key") }

func drawInterval(t *rapid.T) core.Interval {
	iv := core.Interval{Key: []byte(drawMachineKey(t))}
	switch rapid.IntRange(0, 3).Draw(t, "interval") {
	case 0:
		iv.End = core.FromKey
	case 1, 2:
		iv.End = []byte(rapid.SampledFrom(append([]string{"\xff"}, machineKeys...)).Draw(t, "end"))
	}
	return iv
}

func (m *machine) put(t *rapid.T) {
	key := drawMachineKey(t)
	prev, err := m.writer.Get([]byte(key), 0)
	require.NoError(t, err)
	equalKV(t, m.model.get(key, newestRev), prev, false)
	if prev != nil && prev.ModRev == m.rev && rapid.Bool().Draw(t, "spare") {
		return
	}
	m.value++
	kv := next(prev, key, m.rev, fmt.Sprint("value", m.value), core.LeaseID(rapid.IntRange(0, 2).Draw(t, "lease")))
	if prev != nil && prev.ModRev == m.rev {
		kv.CreateRev, kv.Version = prev.CreateRev, prev.Version // one version a revision
	}
	kv.ACL = drawACL(t)
	m.writer.Put(kv, m.sub, prev)
	m.model.put(kv, m.sub)
	m.sub++
}

func drawACL(t *rapid.T) core.ZnodeACL {
	return core.ZnodeACL(rapid.SampledFrom([]uint32{0, 0, 1, 300, math.MaxUint32}).Draw(t, "acl"))
}

func (m *machine) delete(t *rapid.T) {
	key := drawMachineKey(t)
	prev, err := m.writer.Get([]byte(key), 0)
	require.NoError(t, err)
	if prev == nil {
		return
	}
	kv := m.writer.Delete([]byte(key), m.rev, m.sub, prev, drawACL(t))
	require.True(t, kv.Deleted())
	m.model.put(kv, m.sub)
	m.sub++
}

func (m *machine) nextRev() { m.rev, m.sub = m.rev+1, 0 }

func (m *machine) mark() {
	m.marks = append(m.marks, machineMark{m.writer.Mark(), m.model.clone(), maps.Clone(m.rows), m.rev, m.sub})
}

func (m *machine) rollback(t *rapid.T) {
	if len(m.marks) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.marks)-1).Draw(t, "mark")
	k := m.marks[i]
	m.writer.Rollback(k.mark)
	m.model, m.rows, m.rev, m.sub = k.model, k.rows, k.rev, k.sub
	m.marks = m.marks[:i]
}

func (m *machine) setRow(t *rapid.T) {
	key, value := drawRow(t), fmt.Sprint(m.value)
	m.value++
	m.writer.SetRow([]byte(key), []byte(value))
	m.rows[key] = value
}

func (m *machine) deleteRow(t *rapid.T) {
	key := drawRow(t)
	m.writer.DeleteRow([]byte(key))
	delete(m.rows, key)
}

func drawRow(t *rapid.T) string {
	key := drawMachineKey(t)
	if rapid.Bool().Draw(t, "znode") {
		return znodeRow(key)
	}
	return string(keys.AppendAttachment(nil, core.LeaseID(rapid.IntRange(1, 2).Draw(t, "lease")), []byte(key)))
}

func (m *machine) commit(t *rapid.T) {
	m.index++
	require.NoError(t, m.writer.Commit(m.index))
	m.marks = nil
	m.nextRev()
}

// publish commits and takes a view.
func (m *machine) publish(t *rapid.T) {
	reached := m.rev
	m.commit(t)
	snapshot := m.db.NewSnapshot()
	m.views = append(m.views, machineView{
		snapshot: snapshot,
		reader:   NewReader(snapshot, m.caches, m.index, reached, m.collected),
		model:    m.model.clone(), rows: maps.Clone(m.rows), rev: reached, compactRev: m.collected,
	})
	if len(m.views) > 4 {
		require.NoError(t, m.views[0].snapshot.Close())
		m.views = m.views[1:]
	}
}

func (m *machine) flush(t *rapid.T) { require.NoError(t, m.db.Flush()) }

// collect compacts to some revision reached.
func (m *machine) collect(t *rapid.T) {
	m.commit(t)
	m.collected = max(m.collected, core.Rev(rapid.Int64Range(1, int64(m.rev)-1).Draw(t, "to")))
	require.NoError(t, m.collector.Collect(t.Context(), m.collected))
}

// read compares everything that can be read through the Writer with the model.
func (m *machine) read(t *rapid.T) {
	at := core.Rev(rapid.Int64Range(int64(m.collected)-1, int64(m.rev)).Draw(t, "at"))
	iv, keysOnly := drawInterval(t), rapid.Bool().Draw(t, "keys only")
	seen := at
	if at < m.collected || at <= 0 {
		at, seen = 0, newestRev
	}
	for _, key := range machineKeys {
		got, err := m.writer.Get([]byte(key), at)
		require.NoError(t, err)
		equalKV(t, m.model.get(key, seen), got, false, "%q at %d", key, at)
	}
	checkScan(t, m.writer, m.model, iv, at, seen, keysOnly)

	require.Equal(t, m.rowsIn("k", "l"), m.scanRows(t, []byte{'k', 0}, []byte{'l', 0}))
	require.Equal(t, m.rowsIn("n", "o"), m.scanRows(t, []byte{'n', 0}, []byte{'o', 0}))
	lower, upper := keys.AttachmentBounds(2)
	require.Equal(t, m.rowsIn(string(lower), string(upper)), m.scanRows(t, lower, upper))
	key := drawRow(t)
	value, err := m.writer.GetRow([]byte(key))
	checkRow(t, m.rows, key, value, err)
}

func checkRow(t *rapid.T, rows map[string]string, key string, value []byte, err error) {
	require.NoError(t, err)
	want, ok := rows[key]
	require.Equal(t, ok, value != nil)
	require.Equal(t, want, string(value))
}

func (m *machine) rowsIn(lower, upper string) [][2]string {
	out := [][2]string{}
	for k, v := range m.rows {
		if k >= lower && k < upper {
			out = append(out, [2]string{k, v})
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int { return cmp.Compare(a[0], b[0]) })
	return out
}

func (m *machine) scanRows(t *rapid.T, lower, upper []byte) [][2]string {
	out := [][2]string{}
	require.NoError(t, m.writer.ScanRows(lower, upper, func(key, value []byte) bool {
		out = append(out, [2]string{string(key), string(value)})
		return true
	}))
	return out
}

type scanner interface {
	Scan(iv core.Interval, at core.Rev, keysOnly bool, fn func(*core.KV) bool) error
	Count(ctx context.Context, iv core.Interval, at core.Rev) (int64, error)
}

func checkScan(t *rapid.T, s scanner, m *model, iv core.Interval, at, seen core.Rev, keysOnly bool) {
	want := m.scan(iv, seen)
	limit := rapid.IntRange(1, len(want)+1).Draw(t, "limit")
	var got []*core.KV
	require.NoError(t, s.Scan(iv, at, keysOnly, func(kv *core.KV) bool {
		got = append(got, kv)
		return len(got) < limit
	}))
	equalKVs(t, want[:min(limit, len(want))], got, keysOnly, "%q at %d", iv, at)
	n, err := s.Count(context.Background(), iv, at)
	require.NoError(t, err)
	require.EqualValues(t, len(want), n)
}

// readView compares what a view shows with the model of its moment.
func (m *machine) readView(t *rapid.T) {
	if len(m.views) == 0 {
		return
	}
	v := m.views[rapid.IntRange(0, len(m.views)-1).Draw(t, "view")]
	at := core.Rev(rapid.Int64Range(int64(max(1, v.compactRev)), int64(v.rev)).Draw(t, "at"))
	seen := at
	if at == v.rev && rapid.Bool().Draw(t, "now") {
		at = 0
	}
	for _, key := range machineKeys {
		got, err := v.reader.Get([]byte(key), at)
		require.NoError(t, err)
		equalKV(t, v.model.get(key, seen), got, false, "%q at %d of view %d", key, at, v.rev)
	}
	for _, key := range machineKeys {
		key = znodeRow(key)
		value, err := v.reader.Row([]byte(key))
		checkRow(t, v.rows, key, value, err)
	}
	iv, keysOnly := drawInterval(t), rapid.Bool().Draw(t, "keys only")
	checkScan(t, v.reader, v.model, iv, at, seen, keysOnly)

	from, withPrev := seen, rapid.Bool().Draw(t, "prev")
	limit := rapid.SampledFrom([]int{0, 200, 1 << 20}).Draw(t, "max bytes")
	var got []*core.Revision
	for from <= v.rev {
		revs, next, err := v.reader.Revisions(t.Context(), from, iv, withPrev, limit)
		require.NoError(t, err)
		require.Greater(t, next, from)
		got = append(got, revs...)
		from = next
	}
	require.Equal(t, v.rev+1, from)
	equalRevisions(t, v.model.revisions(seen, v.rev, v.compactRev, iv, withPrev), got)

	sum, err := Hash(v.snapshot, noPace, seen, v.compactRev)
	require.NoError(t, err)
	require.Equal(t, sumOf(v.model.visible(seen, v.compactRev)), sum)
}

// sumOf is Hash of versions, by its definition.
func sumOf(kvs []*core.KV) uint64 {
	h := hasher{at: newestRev}
	for _, kv := range kvs {
		if err := h.add(keys.AppendVersion(nil, kv.Key, kv.ModRev), appendRow(nil, kv)); err != nil {
			panic(err)
		}
	}
	return h.sum
}

// check holds after every step: the logical size is that of the rows.
func (m *machine) check(t *rapid.T) {
	var written int64
	for _, versions := range m.model.versions {
		for _, kv := range versions {
			written += logicalSize(len(kv.Key), rowLen(kv))
		}
	}
	require.Equal(t, written, m.writer.Written())
}

// Whatever is written, undone, committed, flushed and collected, the Writer, all
// open views and the cache agree with the model.
func TestAgainstModel(t *testing.T) {
	for i := range 3 {
		cacheBytes := []int64{0, 4000, 1 << 20}[i%3]
		t.Run(fmt.Sprintf("%d, cache %d", i, cacheBytes), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				m := newMachine(t, cacheBytes)
				defer m.close()
				rt.Repeat(map[string]func(*rapid.T){
					"put":       m.put,
					"put 2":     m.put,
					"put 3":     m.put,
					"delete":    m.delete,
					"next":      func(*rapid.T) { m.nextRev() },
					"next 2":    func(*rapid.T) { m.nextRev() },
					"mark":      func(*rapid.T) { m.mark() },
					"rollback":  m.rollback,
					"setRow":    m.setRow,
					"deleteRow": m.deleteRow,
					"publish":   m.publish,
					"flush":     m.flush,
					"collect":   m.collect,
					"read":      m.read,
					"readView":  m.readView,
					"":          m.check,
				})
			})
		})
	}
}

// What a Writer has committed is what the next one finds.
func TestWrittenIsPersisted(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	w := mustWriter(t, db, Caches{})
	require.Zero(t, w.Written())
	w.Put(next(nil, "key", 2, "value", 0), 0, nil)
	want := w.Written()
	require.Positive(t, want)
	require.Positive(t, w.Size())
	require.NoError(t, w.Commit(1))
	require.Zero(t, w.Size())
	require.Equal(t, want, mustWriter(t, db, Caches{}).Written())
	w.Put(next(nil, "lost", 3, "value", 0), 0, nil)
	require.NoError(t, w.Close())
	require.Equal(t, want, mustWriter(t, db, Caches{}).Written())
}

// The size that the engine's batch is made with is enough and not far off.
func TestSizeIsClose(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	w := mustWriter(t, db, Caches{})
	for i := range 100 {
		w.Put(next(nil, fmt.Sprint("key", i), core.Rev(i+2), "a value of some length", 5), 0, nil)
		w.SetRow(keys.AppendMeta(nil, keys.MetaApplied), []byte("12345678"))
	}
	b := db.NewBatch()
	w.encode(b)
	require.GreaterOrEqual(t, w.Size(), b.Len()-12) // the engine's header
	require.Less(t, w.Size(), 2*b.Len())
	require.NoError(t, b.Close())
	require.NoError(t, w.Close())
}

// A batch far larger than most leaves no memory behind.
func TestLargeBatchIsLetGo(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	w := mustWriter(t, db, Caches{})
	for i := range uint32(2 * maxKept) {
		w.Put(next(nil, fmt.Sprint("key", i), 2, "value", 0), i, nil)
		w.SetRow(keys.AppendLease(nil, core.LeaseID(i)), make([]byte, 100))
	}
	n, err := w.Count(context.Background(), everything, 0)
	require.NoError(t, err)
	require.EqualValues(t, 2*maxKept, n)
	require.NoError(t, w.Commit(1))
	require.LessOrEqual(t, cap(w.versions.log), maxKept)
	require.LessOrEqual(t, cap(w.versions.order.sorted), maxKept)
	require.LessOrEqual(t, cap(w.rows.states), maxKept)
	require.LessOrEqual(t, cap(w.rows.arena), maxKeptArena)
	n, err = w.Count(context.Background(), everything, 0)
	require.NoError(t, err)
	require.EqualValues(t, 2*maxKept, n)
}

// Versions are written in the order of their rows, whatever their keys begin with and
// however short they are.
func TestInKeyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &Writer{}
		prefix := rapid.SampledFrom([]string{"", "/zk/a", "/a prefix that takes more than sixteen bytes/"}).Draw(t, "prefix")
		var want []*core.KV
		for i, key := range rapid.SliceOf(rapid.StringOfN(rapid.SampledFrom([]rune("\x00ab")), 0, 20, -1)).Draw(t, "keys") {
			kv := next(nil, prefix+key, core.Rev(2+i), "", 0)
			w.Put(kv, 0, nil)
			if i%3 == 0 { // which leaves nothing of the first
				kv = next(nil, prefix+key, core.Rev(2+i), "again", 0)
				w.Put(kv, 0, nil)
			}
			want = append(want, kv)
		}
		slices.SortFunc(want, func(a, b *core.KV) int {
			return cmp.Or(cmp.Compare(string(a.Key), string(b.Key)), cmp.Compare(b.ModRev, a.ModRev))
		})
		placed := w.inKeyOrder()
		require.Len(t, placed, len(want))
		for i, p := range placed {
			require.Same(t, want[i], w.versions.log[p.at].kv)
		}
	})
}
