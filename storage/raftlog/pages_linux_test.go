package raftlog

import (
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/sys/unix"
)

// residentPages is how many pages of a file the system holds in memory.
func residentPages(t *testing.T, path string) (n int) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	info, err := f.Stat()
	require.NoError(t, err)
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Munmap(mapped)) }()
	pages := make([]byte, len(mapped)/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(len(mapped)), uintptr(unsafe.Pointer(&pages[0])))
	require.Zero(t, errno)
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}

// TestPreparedSegmentsTakeNoMemory: neither one that was filled with zeros nor one that is
// used again stays in the page cache until it is written.
func TestPreparedSegmentsTakeNoMemory(t *testing.T) {
	dir := t.TempDir()
	var fs unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &fs))
	if fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC {
		t.Skip("this file system has nothing but memory")
	}
	const segmentBytes = 1 << 20
	l, err := Open(dir, Options{SegmentBytes: segmentBytes})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()

	ready := func() {
		t.Helper()
		l.waitIdle()
		require.NotEmpty(t, l.keeper.ready)
		for _, s := range l.keeper.ready {
			require.Less(t, residentPages(t, s.path), 64, "%s: a page or two may be read ahead", s.path)
		}
	}
	data := make([]byte, 300<<10)
	require.NoError(t, l.Append(hard(1, 1, 0), []*raftpb.Entry{entry(1, 1, string(data))}, true))
	ready() // prepared
	for index := uint64(2); index <= 8; index++ {
		require.NoError(t, l.Append(hard(1, 1, index-1), []*raftpb.Entry{entry(index, 1, string(data))}, true))
	}
	require.NoError(t, l.Truncate(7))
	ready() // used again
	require.Greater(t, l.keeper.next, uint32(4))
}
