package main

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whose rights do not suffice is told before anything is tried.
func TestDataDirOfSomebodyElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chmod(dir, 0o555))
	for _, path := range []string{dir, filepath.Join(dir, "data", "triglot")} {
		require.NoError(t, os.Chmod(dir, 0o755))
		require.NoError(t, writable(path), "its owner")
		require.NoError(t, os.Chmod(dir, 0o555))
		require.EqualError(t, asNobody(func() error { return writable(path) }), "cannot write to "+dir+": permission denied")
	}
}

// asNobody calls f in a thread of a user who has no rights; that thread ends.
func asNobody(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if os.Getuid() == 0 { // of this thread alone, unlike syscall.Setresuid
			const nobody = 65534
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				result <- errno
				return
			}
		}
		result <- f()
	}()
	return <-result
}
