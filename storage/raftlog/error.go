package raftlog

import (
	"errors"
	"fmt"
)

// ErrClosed is returned by what is called after Close.
var ErrClosed = errors.New("raft log is closed")

// CorruptError says that the log on disk is damaged: something that had reached
// the disk cannot be read. It is never returned for what a crash leaves behind.
type CorruptError struct {
	Path   string // of the segment
	Offset int64  // in bytes, of the first record that cannot be read
	Reason string
}

// Error names the file, the offset and the way back.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("raft log %s at offset %d: %s; restore this member from a peer or a backup",
		e.Path, e.Offset, e.Reason)
}
