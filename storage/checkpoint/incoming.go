package checkpoint

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/triglot/triglot/storage"
)

// ErrSync is that of a file that could not be made durable. It was removed: what the
// file system shows of it need not be on the disk.
var ErrSync = errors.New("checkpoint: sync failed")

// ErrDamaged is that of a file whose sum is not the one that it should have. It was
// removed.
var ErrDamaged = errors.New("checkpoint: damaged file")

// syncBytes is how much of a file is made durable at a time: what a power failure
// takes of it, and for how long the disk is busy with it.
const syncBytes = 16 << 20

// incomingCategory labels the writes in the engine's statistics.
const incomingCategory storage.WriteCategory = "triglot-incoming"

// Incoming is a directory that a checkpoint is written to from elsewhere, file by file.
// What is in it when it is opened may be used again, as far as it is right; that is for
// who sends the files to say. It is for one goroutine.
type Incoming struct {
	fs    storage.FS
	dir   string
	files []File
	// have is what is there of each file; a file is finished when it is all there, with
	// the right sum, and durable.
	have     []Piece
	finished []bool

	// The file that is being written.
	file    storage.File
	current int
	// unsynced are its bytes that are not known to be durable.
	unsynced int64
}

// OpenIncoming makes dir, unless it is there, to receive files. It removes from it what
// is none of them.
func OpenIncoming(fs storage.FS, dir string, files []File) (*Incoming, error) {
	in := &Incoming{fs: fs, dir: dir, files: files, have: make([]Piece, len(files)), finished: make([]bool, len(files))}
	if err := in.open(); err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return in, nil
}

func (in *Incoming) open() error {
	if err := in.fs.MkdirAll(in.dir, 0o700); err != nil {
		return err
	}
	if err := in.syncDir(in.fs.PathDir(in.dir)); err != nil {
		return err
	}
	sizes := make(map[string]int64, len(in.files))
	for _, f := range in.files {
		sizes[f.Name] = f.Size
	}
	names, err := in.fs.List(in.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := in.fs.PathJoin(in.dir, name)
		info, err := in.fs.Stat(path)
		if err != nil {
			return err
		}
		if size, ok := sizes[name]; !ok || info.IsDir() || info.Size() > size {
			if err := in.fs.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// Have reads what is there of a file: a Piece of nothing if that is nothing.
func (in *Incoming) Have(i int) (Piece, error) {
	f := in.files[i]
	info, err := in.fs.Stat(in.fs.PathJoin(in.dir, f.Name))
	if errors.Is(err, os.ErrNotExist) {
		return Piece{}, nil
	}
	if err != nil {
		return Piece{}, fmt.Errorf("checkpoint: %w", err)
	}
	in.have[i], err = measure(in.fs, in.dir, f.Name, info.Size())
	return in.have[i], err
}

// Missing is how many bytes must still be written, if all that is there is right.
func (in *Incoming) Missing() (n int64) {
	for i, f := range in.files {
		n += f.Size - in.have[i].Bytes
	}
	return n
}

// Begin goes on with a file at an offset: where it ends now, or at its beginning.
func (in *Incoming) Begin(i int, offset int64) error {
	if err := in.Close(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if i < 0 || i >= len(in.files) || offset != 0 && offset != in.have[i].Bytes {
		return fmt.Errorf("checkpoint: file %d cannot go on at byte %d", i, offset)
	}
	path := in.fs.PathJoin(in.dir, in.files[i].Name)
	var err error
	if offset > 0 {
		in.file, err = in.fs.OpenReadWrite(path, incomingCategory)
	} else {
		in.have[i] = Piece{}
		if err = in.fs.Remove(path); err == nil || errors.Is(err, os.ErrNotExist) {
			in.file, err = in.fs.Create(path, incomingCategory)
		}
	}
	if err != nil {
		in.file = nil
		return fmt.Errorf("checkpoint: %w", err)
	}
	// What was there before may never have been synced.
	in.current, in.unsynced, in.finished[i] = i, offset, false
	return nil
}

// Write writes what comes next of the file that was begun.
func (in *Incoming) Write(p []byte) error {
	if in.file == nil {
		return errors.New("checkpoint: no file was begun")
	}
	f, have := in.files[in.current], &in.have[in.current]
	if have.Bytes+int64(len(p)) > f.Size {
		return fmt.Errorf("checkpoint: %s has more than %d bytes", f.Name, f.Size)
	}
	if _, err := in.file.WriteAt(p, have.Bytes); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	have.Bytes += int64(len(p))
	have.Sum = crc32.Update(have.Sum, castagnoli, p)
	if in.unsynced += int64(len(p)); in.unsynced >= syncBytes {
		return in.sync(in.file.SyncData)
	}
	return nil
}

// Finish ends the file that was begun, whose sum is to be sum. It is durable then, but
// for its name.
func (in *Incoming) Finish(sum uint32) error {
	if in.file == nil {
		return errors.New("checkpoint: no file was begun")
	}
	f, have := in.files[in.current], in.have[in.current]
	if have != (Piece{Bytes: f.Size, Sum: sum}) {
		return errors.Join(fmt.Errorf("%w: %s has %d bytes of %d, with sum %08x instead of %08x", ErrDamaged, f.Name, have.Bytes, f.Size, have.Sum, sum),
			in.discard())
	}
	if err := in.sync(in.file.Sync); err != nil {
		return err
	}
	in.finished[in.current] = true
	return in.Close()
}

func (in *Incoming) sync(sync func() error) error {
	if err := sync(); err != nil {
		return errors.Join(fmt.Errorf("%w: %s: %w", ErrSync, in.files[in.current].Name, err), in.discard())
	}
	in.unsynced = 0
	return nil
}

// discard removes the file that was begun.
func (in *Incoming) discard() error {
	return errors.Join(in.Close(), in.fs.Remove(in.fs.PathJoin(in.dir, in.files[in.current].Name)))
}

// Complete makes the directory durable. It fails if not all files are finished.
func (in *Incoming) Complete() error {
	for i, done := range in.finished {
		if !done {
			return fmt.Errorf("checkpoint: %s is missing", in.files[i].Name)
		}
	}
	if err := in.syncDir(in.dir); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrSync, in.dir, err)
	}
	return nil
}

func (in *Incoming) syncDir(path string) error {
	d, err := in.fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close closes the file that was begun, if there is one.
func (in *Incoming) Close() error {
	f := in.file
	in.file = nil
	if f == nil {
		return nil
	}
	return f.Close()
}
