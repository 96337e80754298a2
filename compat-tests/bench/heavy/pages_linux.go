package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropPages has the kernel forget what it holds of the files of a directory.
func dropPages(dir string) error {
	return eachFile(dir, func(f *os.File) error {
		if err := f.Sync(); err != nil { // pages that are not on disk would stay
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}
