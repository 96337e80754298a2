package ensemble

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// mountDisk makes a file system of that size at a directory, in memory.
func mountDisk(dir string, bytes int64) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.NewSyscallError("mount", syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("mode=0700,size=%d", bytes)))
}

// unmountDisk is the end of mountDisk, however busy the file system is.
func unmountDisk(dir string) error {
	return os.NewSyscallError("unmount", syscall.Unmount(dir, syscall.MNT_DETACH))
}

// MayMount is nil if this process may give members disks of their own (Options.DiskBytes),
// which takes root.
func MayMount() error {
	dir, err := os.MkdirTemp("", "disk-")
	if err != nil {
		return err
	}
	if err = mountDisk(dir, 1<<20); err == nil {
		err = unmountDisk(dir)
	}
	return errors.Join(err, os.Remove(dir))
}

// ResizeDisk changes the size of the member's disk.
func (m *Member) ResizeDisk(bytes int64) error {
	return os.NewSyscallError("mount", syscall.Mount("tmpfs", m.DataDir(), "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", bytes)))
}

// FillDisk leaves about so many bytes of the member's disk, in place of a former FillDisk:
// a file has the rest.
func (m *Member) FillDisk(leave int64) (err error) {
	if err := m.ClearDisk(); err != nil {
		return err
	}
	f, err := os.Create(m.ballast())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	const page = 4096
	for at := int64(0); ; {
		var now syscall.Statfs_t
		if err := syscall.Statfs(m.DataDir(), &now); err != nil {
			return os.NewSyscallError("statfs", err)
		}
		more := int64(now.Bavail)*now.Bsize - leave
		if more < page {
			return nil
		}
		if more > 16*page {
			more -= more / 16 // the member takes room meanwhile
		} else {
			more = page
		}
		switch err := syscall.Fallocate(int(f.Fd()), 0, at, more); {
		case err == nil:
			at += more
		case !errors.Is(err, syscall.ENOSPC):
			return os.NewSyscallError("fallocate", err)
		}
	}
}

// ClearDisk gives back what FillDisk took.
func (m *Member) ClearDisk() error {
	if err := os.Remove(m.ballast()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (m *Member) ballast() string { return filepath.Join(m.DataDir(), "ballast") }
