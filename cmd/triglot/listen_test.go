package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A socket is removed only if nobody listens there: not if one who does is too busy.
func TestRemoveStaleSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	require.NoError(t, unix.Listen(fd, 0))
	require.ErrorContains(t, removeStaleSocket(path), "in use by another process")
	for { // until there is no room in its queue
		conn, err := net.Dial("unix", path)
		if err != nil {
			require.ErrorIs(t, err, unix.EAGAIN)
			break
		}
		defer conn.Close()
	}
	require.ErrorContains(t, removeStaleSocket(path), "in use by another process")
	require.FileExists(t, path)

	require.NoError(t, unix.Close(fd))
	require.NoError(t, removeStaleSocket(path))
	require.NoFileExists(t, path)
	require.NoError(t, removeStaleSocket(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.ErrorContains(t, removeStaleSocket(path), "is no socket")
}
