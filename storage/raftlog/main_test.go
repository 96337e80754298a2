package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Small segments and a small cache, so that few entries reach all of the code.
const testSegmentBytes = 16 << 10

func testOptions(fs storage.FS) Options {
	return Options{FS: fs, SegmentBytes: testSegmentBytes, CacheBytes: 1000}
}

func mustOpen(t require.TestingT, fs storage.FS) *Log {
	l, err := Open("log", testOptions(fs))
	require.NoError(t, err)
	return l
}

func entry(index, term uint64, data string) *raftpb.Entry {
	e := &raftpb.Entry{Index: proto.Uint64(index), Term: proto.Uint64(term)}
	if data != "" {
		e.Data = []byte(data)
	}
	return e
}

func hard(term, vote, commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: &term, Vote: &vote, Commit: &commit}
}

// waitIdle waits until the keeper has nothing to do.
func (l *Log) waitIdle() {
	k := l.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.busy || k.workLocked() != nil {
		k.changed.Wait()
	}
}

// abandon ends the log as a killed process does: nothing more is written.
func (l *Log) abandon() error {
	_ = l.fail(ErrClosed)
	return errors.Join(l.closeFiles(), l.dir.close())
}

// files copies what is in the log's directory.
func files(t require.TestingT, fs *vfs.MemFS) map[string][]byte {
	names, err := fs.List("log")
	require.NoError(t, err)
	content := map[string][]byte{}
	for _, name := range names {
		data, err := fs.UnsafeGetFileDataBuffer("log/" + name)
		require.NoError(t, err)
		content[name] = append([]byte{}, data...)
	}
	return content
}

// withFiles makes a file system that holds a log with these files.
func withFiles(t require.TestingT, content map[string][]byte) *vfs.MemFS {
	fs := vfs.NewCrashableMem()
	require.NoError(t, fs.MkdirAll("log", 0o755))
	for name, data := range content {
		f, err := fs.Create("log/"+name, "test")
		require.NoError(t, err)
		_, err = f.WriteAt(data, 0)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		require.NoError(t, f.Close())
	}
	for _, dir := range []string{"log", "/"} {
		d, err := fs.OpenDir(dir)
		require.NoError(t, err)
		require.NoError(t, d.Sync())
		require.NoError(t, d.Close())
	}
	return fs
}

var discard = log.New(io.Discard, "", 0)

// signHeader makes the checksum of a segment's header right.
func signHeader(h []byte) []byte {
	binary.LittleEndian.PutUint32(h[8:], crc32.Checksum(h[12:headerBytes], castagnoli))
	return h
}

// watcher notes operations on files, of all goroutines.
type watcher struct {
	describe func(errorfs.Op) string // empty: not noted

	mu  sync.Mutex
	ops []string
}

// MaybeError implements errorfs.Injector.
func (w *watcher) MaybeError(op errorfs.Op) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.describe(op); s != "" {
		w.ops = append(w.ops, s)
	}
	return nil
}

func (w *watcher) String() string { return "watcher" }

// take returns what was noted since the last time.
func (w *watcher) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ops := w.ops
	w.ops = nil
	return ops
}

// appends describes the writes and syncs of the writer. The keeper writes at
// offset 0 only, and calls Sync.
func appends(op errorfs.Op) string {
	switch {
	case op.Kind == errorfs.OpFileWriteAt && op.Offset > 0:
		return fmt.Sprintf("write page %d", op.Offset/pageBytes)
	case op.Kind == errorfs.OpFileSyncData:
		return "sync"
	}
	return ""
}
