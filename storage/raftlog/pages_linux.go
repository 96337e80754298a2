package raftlog

import (
	"golang.org/x/sys/unix"

	"github.com/triglot/triglot/storage"
)

// forgetPages has the system give up what it holds in memory of a file that was synced: a
// prepared segment is written once, whole pages at a time, long after. It is a hint, and
// what is not on the disk stays.
func forgetPages(f storage.File) {
	if fd := f.Fd(); fd != ^uintptr(0) { // which a file in memory says
		_ = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED)
	}
}
