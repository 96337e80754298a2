//go:build unix

package server

import (
	"errors"
	"os"
	"syscall"
)

// LockFile takes an exclusive lock on a file, which it makes if need be. The kernel
// drops the lock if this process dies.
func LockFile(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(&os.PathError{Op: "lock", Path: path, Err: err}, f.Close())
	}
	return f.Close, nil
}
