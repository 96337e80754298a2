package mvcc

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/storage"
)

// A row that cannot be read is not taken for one that is not there: a put would
// make the key anew, and the next look-up have the error forgotten.
func TestWhatCannotBeReadIsNotAbsent(t *testing.T) {
	errRead := errors.New("the disk gave up")
	var broken atomic.Bool
	fs := storage.WithFaults(storage.NewMemFS(), func(f storage.Fault) error {
		if broken.Load() && !f.Write && strings.HasSuffix(f.Path, ".sst") {
			return errRead
		}
		return nil
	})
	znode, missing := []byte(znodeRow("/a")), []byte(znodeRow("/b"))
	key := []byte("key")
	value := make([]byte, 64<<10) // so that the rows do not share a block with others
	open := func() (*storage.DB, *Writer) {
		db, err := storage.Open("db", storage.Options{FS: fs, OnFatal: func(error) {}})
		require.NoError(t, err)
		return db, mustWriter(t, db, Caches{})
	}
	db, w := open()
	w.Put(next(nil, string(key), 2, string(value), 0), 0, nil)
	for _, name := range []string{"/", "/a", "/z"} {
		w.SetRow([]byte(znodeRow(name)), value)
	}
	require.NoError(t, w.Commit(1))
	require.NoError(t, db.Flush())
	require.NoError(t, w.Close())
	require.NoError(t, db.Close())

	db, w = open() // nothing is in the engine's cache
	broken.Store(true)
	_, err := w.Get(key, 0)
	require.ErrorIs(t, err, errRead)
	_, err = w.GetRow(znode)
	require.ErrorIs(t, err, errRead)
	broken.Store(false)
	row, err := w.GetRow(missing)
	require.NoError(t, err)
	require.Nil(t, row)
	kv, err := w.Get(key, 0)
	require.NoError(t, err)
	require.Equal(t, value, kv.Value)
	require.NoError(t, w.Close())
	require.NoError(t, db.Close())
}
