package storage

import (
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// The file systems that a store may lie on.
type (
	// FS is a file system.
	FS = vfs.FS
	// File is an open file of an FS.
	File = vfs.File
	// MemFS is a file system in memory, for tests.
	MemFS = vfs.MemFS
	// DiskUsage is how much room there is on an FS's disk.
	DiskUsage = vfs.DiskUsage
	// WriteCategory labels the writes to a file, for statistics.
	WriteCategory = vfs.DiskWriteCategory
)

// DefaultFS is the operating system's file system.
var DefaultFS FS = vfs.Default

// ErrUnsupported is what an FS fails with that does not know how much room it has.
var ErrUnsupported = vfs.ErrUnsupported

// NewMemFS makes an empty file system in memory, for tests.
func NewMemFS() *MemFS { return vfs.NewMem() }

// NewCrashableMemFS makes an empty file system in memory that CrashClone can
// copy as a crash would leave it.
func NewCrashableMemFS() *MemFS { return vfs.NewCrashableMem() }

// CrashClone returns fs, made by NewCrashableMemFS, as a machine that loses its
// power now could find it: all that was synced, and of each block and directory
// entry that was not, unsyncedPercent of 100, chosen by seed. fs goes on.
func CrashClone(fs *MemFS, unsyncedPercent int, seed uint64) *MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: unsyncedPercent,
		RNG:                 rand.New(rand.NewPCG(seed, seed)),
	})
}

// Fault describes an operation on a file system that is about to be done.
type Fault struct {
	Path string
	// Write says that the operation changes something; a sync does.
	Write bool
	// Sync says that it is a sync of a file or directory.
	Sync bool
}

// WithFaults wraps fs for a test: inject is asked before each operation, and an
// error it returns is the operation's. It is called by many goroutines.
func WithFaults(fs FS, inject func(Fault) error) FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		return inject(Fault{
			Path:  op.Path,
			Write: sync || op.Kind.ReadOrWrite() == errorfs.OpIsWrite,
			Sync:  sync,
		})
	}))
}
