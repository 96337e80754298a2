package node

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/triglot/triglot/storage"
)

// walDir is where the raft log is if Config.WAL.Dir puts it elsewhere: a directory
// there, under the member's name, so that several members can share a disk. Which
// one a member was founded with is not written down: a log that is not there is
// empty, and a member that is not new refuses an empty log (disk.align).
type walDir struct {
	path string
	lock io.Closer
}

// openWALDir finds the member's directory below path, and locks it.
func openWALDir(fs storage.FS, path string, id identity) (*walDir, error) {
	if err := makeDir(fs, path); err != nil {
		return nil, fmt.Errorf("--wal-dir %s cannot be made: %w; give another", path, err)
	}
	w := &walDir{path: fs.PathJoin(path, fmt.Sprintf("triglot-%x-%x", id.cluster, uint64(id.member)))}
	lock, err := fs.Lock(w.path + "." + lockName)
	if err != nil {
		return nil, fmt.Errorf("the raft log %s is in use by another process (%w): stop that, or give another --wal-dir", w.path, err)
	}
	w.lock = lock
	return w, nil
}

// checkUnused refuses a log that a member of this name has left, when one is
// founded.
func (w *walDir) checkUnused(fs storage.FS) error {
	switch _, err := fs.Stat(w.path); {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%s is the raft log of a member that was founded before, but --data-dir is empty: "+
		"give the --data-dir of that member, or remove its log", w.path)
}
