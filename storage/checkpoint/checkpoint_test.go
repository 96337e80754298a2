package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var appliedKey = keys.AppendMeta(nil, keys.MetaApplied)

func applied(r storage.Reader) (uint64, error) {
	b, err := r.Get(appliedKey)
	if err != nil || len(b) != 8 {
		return 0, errors.Join(err, fmt.Errorf("%d bytes", len(b)))
	}
	return binary.BigEndian.Uint64(b), nil
}

// apply commits the batch of an index, which writes two rows that must agree.
func apply(t *testing.T, db *storage.DB, index uint64) {
	t.Helper()
	value := binary.BigEndian.AppendUint64(nil, index)
	b := db.NewBatch()
	b.Set(appliedKey, value)
	b.Set(keys.AppendVersion(nil, []byte("key"), 1), value)
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close())
}

// check opens a checkpoint and finds the state of index in it.
func check(t *testing.T, o storage.Options, dir string, index uint64) {
	t.Helper()
	db, err := storage.Open(dir, o)
	require.NoError(t, err)
	got, err := applied(db)
	require.NoError(t, err)
	require.Equal(t, index, got)
	value, err := db.Get(keys.AppendVersion(nil, []byte("key"), 1))
	require.NoError(t, err)
	require.Equal(t, index, binary.BigEndian.Uint64(value))
	require.NoError(t, db.Close())
}

// What was committed and never flushed is in the checkpoint, on a real disk.
func TestCheckpointOfUnflushedState(t *testing.T) {
	dir := t.TempDir()
	db, err := storage.Open(dir+"/state", storage.Options{})
	require.NoError(t, err)
	for index := uint64(1); index <= 7; index++ {
		apply(t, db, index)
	}
	durable, err := db.DurableGet(appliedKey)
	require.NoError(t, err)
	require.Nil(t, durable)

	index, err := Create(db, dir+"/copy", applied)
	require.NoError(t, err)
	require.EqualValues(t, 7, index)
	apply(t, db, 8)
	require.NoError(t, db.Close())
	check(t, storage.Options{}, dir+"/copy", 7)
	check(t, storage.Options{}, dir+"/state", 7) // 8 was never flushed
}

// While batches are committed, the index is that of the copy, whatever the
// store has come to meanwhile; and a crash right after loses nothing of it.
func TestCheckpointsOfARunningStore(t *testing.T) {
	mem := storage.NewCrashableMemFS()
	db, err := storage.Open("state", storage.Options{FS: mem, MemTableBytes: 64 << 10})
	require.NoError(t, err)
	apply(t, db, 1)
	var last atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for index := uint64(2); ; index++ {
			select {
			case <-stop:
				return
			default:
				apply(t, db, index)
				last.Store(index)
			}
		}
	}()
	for i := range 10 {
		before := last.Load()
		dir := fmt.Sprint("copy", i)
		index, err := Create(db, dir, applied)
		require.NoError(t, err)
		require.GreaterOrEqual(t, index, before)
		check(t, storage.Options{FS: storage.CrashClone(mem, 0, 1)}, dir, index)
	}
	close(stop)
	<-stopped
	require.NoError(t, db.Close())
}

func TestFailedCheckpointLeavesNothing(t *testing.T) {
	mem := storage.NewMemFS()
	var broken atomic.Bool
	errDisk := errors.New("no more room")
	faulty := storage.WithFaults(mem, func(f storage.Fault) error {
		if broken.Load() && f.Write && strings.HasPrefix(f.Path, "copy") {
			return errDisk
		}
		return nil
	})
	db, err := storage.Open("state", storage.Options{FS: faulty})
	require.NoError(t, err)
	apply(t, db, 1)

	broken.Store(true)
	_, err = Create(db, "copy", applied)
	require.ErrorIs(t, err, errDisk)
	broken.Store(false)
	require.NoError(t, mem.RemoveAll("copy")) // nothing could be removed while broken

	errIndex := errors.New("no index in it")
	_, err = Create(db, "copy", func(storage.Reader) (uint64, error) { return 0, errIndex })
	require.ErrorIs(t, err, errIndex)
	require.ErrorContains(t, err, "checkpoint: copy")
	_, err = mem.Stat("copy")
	require.ErrorIs(t, err, fs.ErrNotExist)

	_, err = Create(db, "copy", applied)
	require.NoError(t, err)
	_, err = Create(db, "copy", applied)
	require.ErrorIs(t, err, fs.ErrExist)
	check(t, storage.Options{FS: mem}, "copy", 1)
	require.NoError(t, db.Close())
}
