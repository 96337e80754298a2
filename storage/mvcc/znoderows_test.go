package mvcc

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/storage"
)

// What the Writer reads after an eviction is not shown to views of before it: an
// entry's index is then not the one at which the row was written, but a later one.
func TestRowsOfOlderViews(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	caches := Caches{Rows: NewCache(1 << 20)}
	w := mustWriter(t, db, caches)
	key := []byte(znodeRow("/a"))
	require.Equal(t, "", getRow(t, w, key))
	var views []*Reader
	for index, value := range []string{"", "1", "2", "", "4"} {
		switch value {
		case "":
			w.DeleteRow(key)
		default:
			w.SetRow(key, []byte(value))
		}
		require.Equal(t, value, getRow(t, w, key), "of the batch")
		require.NoError(t, w.Commit(uint64(index)))
		snapshot := db.NewSnapshot()
		t.Cleanup(func() { require.NoError(t, snapshot.Close()) })
		// No batch takes a revision.
		views = append(views, NewReader(snapshot, caches, uint64(index), 1, 0))
		for range 2 { // from the engine, from the cache
			caches.Rows.Clear(0)
			require.Equal(t, value, getRow(t, w, key), "of the writer, after batch %d", index)
			for i, want := range []string{"", "1", "2", "", "4"}[:index+1] {
				row, err := views[i].Row(key)
				require.NoError(t, err)
				require.Equal(t, want, string(row), "of view %d, after batch %d", i, index)
				require.Equal(t, want == "", row == nil)
			}
		}
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if row, err := views[4].Row(key); err != nil || len(row) != 1 {
			t.Fatal(row, err)
		}
		if row, err := w.GetRow(key); err != nil || len(row) != 1 {
			t.Fatal(row, err)
		}
	}))
	require.NoError(t, w.Close())
}

// A state that is installed comes with a Writer of its own, which has committed nothing yet.
// What it reads then is of the new state: views of the old one share the caches.
func TestRowsOfAnOlderState(t *testing.T) {
	caches := Caches{Rows: NewCache(1 << 20)}
	key := []byte(znodeRow("/a"))
	stateOf := func(value string, index uint64) (*storage.DB, *Writer) {
		db := mustOpen(t, storage.Options{})
		w := mustWriter(t, db, caches)
		w.SetRow(key, []byte(value))
		require.NoError(t, w.Commit(index))
		return db, w
	}
	old, w := stateOf("old", 5)
	require.NoError(t, w.Close())
	view := NewReader(old, caches, 5, 1, 0)
	installed, w := stateOf("new", 9)
	require.NoError(t, w.Close())
	caches.Rows.Clear(9)
	w = mustWriter(t, installed, caches)
	require.Equal(t, "new", getRow(t, w, key))
	row, err := view.Row(key)
	require.NoError(t, err)
	require.Equal(t, "old", string(row))
	require.NoError(t, w.Commit(9))
	require.Equal(t, "new", getRow(t, w, key))
	row, err = view.Row(key)
	require.NoError(t, err)
	require.Equal(t, "old", string(row))
	require.NoError(t, w.Close())
}

func getRow(t *testing.T, w *Writer, key []byte) string {
	row, err := w.GetRow(key)
	require.NoError(t, err)
	return string(row)
}

// A row may be empty, which is not the same as none.
func TestEmptyRow(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	for name, caches := range map[string]Caches{"no cache": {}, "cache": {Rows: NewCache(1 << 20)}} {
		w := mustWriter(t, db, caches)
		key := []byte(znodeRow(name))
		w.SetRow(key, nil)
		require.NoError(t, w.Commit(1))
		row, err := w.GetRow(key)
		require.NoError(t, err)
		require.NotNil(t, row, name)
		row, err = NewReader(db, caches, 1, 1, 0).Row(key)
		require.NoError(t, err)
		require.NotNil(t, row, name)
		require.NoError(t, w.Close())
	}
}
