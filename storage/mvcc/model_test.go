package mvcc

import (
	"bytes"
	"maps"
	"slices"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model is the package done naively: every version of every key in memory, and
// every change in order. It is what the engine, the overlay, the cache and the
// collector are compared with.
type model struct {
	versions map[string][]*core.KV // oldest first, tombstones included
	changes  []modelChange
}

type modelChange struct {
	kv *core.KV
	// prev is the version superseded, nil if the key did not exist.
	prev *core.KV
	sub  uint32
}

func newModel() *model { return &model{versions: make(map[string][]*core.KV)} }

func (m *model) clone() *model {
	c := &model{versions: maps.Clone(m.versions), changes: slices.Clone(m.changes)}
	for k, v := range c.versions {
		c.versions[k] = slices.Clone(v)
	}
	return c
}

// row is a key's newest version or tombstone up to at, nil if there is none.
func (m *model) row(key string, at core.Rev) *core.KV {
	for _, kv := range slices.Backward(m.versions[key]) {
		if kv.ModRev <= at {
			return kv
		}
	}
	return nil
}

func (m *model) get(key string, at core.Rev) *core.KV { return live(m.row(key, at)) }

func (m *model) scan(iv core.Interval, at core.Rev) []*core.KV {
	var out []*core.KV
	for _, key := range slices.Sorted(maps.Keys(m.versions)) {
		if kv := m.get(key, at); kv != nil && iv.Contains([]byte(key)) {
			out = append(out, kv)
		}
	}
	return out
}

// put adds a version or tombstone. A second one in the same revision replaces
// the first, and its change.
func (m *model) put(kv *core.KV, sub uint32) {
	key := string(kv.Key)
	prev := m.get(key, kv.ModRev)
	if n := len(m.versions[key]); n > 0 && m.versions[key][n-1].ModRev == kv.ModRev {
		m.versions[key] = m.versions[key][:n-1]
		i := slices.IndexFunc(m.changes, func(c modelChange) bool {
			return c.kv.ModRev == kv.ModRev && string(c.kv.Key) == key
		})
		prev = m.changes[i].prev
		m.changes = slices.Delete(m.changes, i, i+1)
	}
	m.versions[key] = append(m.versions[key], kv)
	m.changes = append(m.changes, modelChange{kv: kv, prev: prev, sub: sub})
}

// revisions is what Reader.Revisions must return for a view at rev compacted to
// compactRev, without a limit.
func (m *model) revisions(from, rev, compactRev core.Rev, want core.Interval, withPrev bool) []*core.Revision {
	var out []*core.Revision
	for _, c := range m.changes {
		if c.kv.ModRev < from || c.kv.ModRev > rev || !want.Contains(c.kv.Key) {
			continue
		}
		if len(out) == 0 || out[len(out)-1].Rev != c.kv.ModRev {
			out = append(out, &core.Revision{Rev: c.kv.ModRev})
		}
		change := core.Change{KV: c.kv}
		if withPrev && c.kv.ModRev > compactRev {
			change.Prev = c.prev
		}
		last := out[len(out)-1]
		last.Changes = append(last.Changes, change)
	}
	return out
}

// kept is what must be left of d when history has been collected up to rev.
func (m *model) kept(rev core.Rev) []string {
	var out []string
	for key, versions := range m.versions {
		base := m.row(key, rev)
		for _, kv := range versions {
			if kv.ModRev > rev || kv == base && (!kv.Deleted() || kv.ModRev == rev) {
				out = append(out, string(keys.AppendVersion(nil, []byte(key), kv.ModRev)))
			}
		}
	}
	sort.Strings(out)
	return out
}

// keptChanges is what must be left of r.
func (m *model) keptChanges(rev core.Rev) []string {
	var out []string
	for _, c := range m.changes {
		if c.kv.ModRev >= rev {
			out = append(out, string(keys.AppendChange(nil, c.kv.ModRev, c.sub)))
		}
	}
	sort.Strings(out)
	return out
}

// hash is Hash done on the model, as a list of what goes into it.
func (m *model) visible(at, compactRev core.Rev) []*core.KV {
	var out []*core.KV
	for _, key := range slices.Sorted(maps.Keys(m.versions)) {
		base := m.row(key, compactRev)
		for _, kv := range m.versions[key] {
			if kv.ModRev <= at && (kv.ModRev > compactRev || kv == base && !kv.Deleted()) {
				out = append(out, kv)
			}
		}
	}
	return out
}

// rawKeys lists the keys of a table, sorted as strings.
func rawKeys(t require.TestingT, r storage.Reader, lower, upper []byte) []string {
	it, err := r.NewIter(lower, upper)
	require.NoError(t, err)
	var out []string
	for ok := it.First(); ok; ok = it.Next() {
		out = append(out, string(it.Key()))
	}
	require.NoError(t, it.Close())
	sort.Strings(out)
	return out
}

// equalKVs compares versions, bytes by content.
func equalKVs(t require.TestingT, want, got []*core.KV, keysOnly bool, what ...any) {
	require.Len(t, got, len(want), what...)
	for i := range want {
		equalKV(t, want[i], got[i], keysOnly, what...)
	}
}

func equalKV(t require.TestingT, want, got *core.KV, keysOnly bool, what ...any) {
	if want == nil || got == nil {
		require.Equal(t, want, got, what...)
		return
	}
	w := *want
	if keysOnly {
		w.Value = nil
		require.Nil(t, got.Value, what...)
	}
	if !bytes.Equal(w.Key, got.Key) || !bytes.Equal(w.Value, got.Value) ||
		w.CreateRev != got.CreateRev || w.ModRev != got.ModRev || w.Version != got.Version || w.Lease != got.Lease || w.Time != got.Time || w.ACL != got.ACL {
		require.Equal(t, &w, got, what...)
	}
}

func equalRevisions(t require.TestingT, want, got []*core.Revision) {
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].Rev, got[i].Rev)
		require.Len(t, got[i].Changes, len(want[i].Changes), "revision %d", want[i].Rev)
		for j, c := range want[i].Changes {
			equalKV(t, c.KV, got[i].Changes[j].KV, false, "revision %d, change %d", want[i].Rev, j)
			equalKV(t, c.Prev, got[i].Changes[j].Prev, false, "revision %d, change %d, prev", want[i].Rev, j)
		}
	}
}

// everything is the interval of all keys.
var everything = core.Interval{Key: []byte{0}, End: core.FromKey}

func mustOpen(t testing.TB, o storage.Options) *storage.DB {
	t.Helper()
	if o.FS == nil {
		o.FS = storage.NewMemFS()
	}
	db, err := storage.Open("db", o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func mustWriter(t testing.TB, db *storage.DB, caches Caches) *Writer {
	t.Helper()
	w, err := NewWriter(db, caches)
	require.NoError(t, err)
	return w
}

// znodeRow is a row of the table that Caches.Rows is for. What is between its tag
// and its end does not matter here.
func znodeRow(name string) string { return "n\x00\x00\x00\x01" + name + "\x00" }

// next is the version that a put of value makes of prev.
func next(prev *core.KV, key string, rev core.Rev, value string, lease core.LeaseID) *core.KV {
	kv := &core.KV{Key: []byte(key), Value: []byte(value), CreateRev: rev, ModRev: rev, Version: 1, Lease: lease}
	if prev != nil {
		kv.CreateRev, kv.Version = prev.CreateRev, prev.Version+1
	}
	return kv
}
