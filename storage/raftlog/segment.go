package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/triglot/triglot/storage"
)

const (
	magic         = "TRIRAFTL"
	formatVersion = 1
	// headerBytes of the first page are used.
	headerBytes = 64

	segmentSuffix = ".seg"
	// preparing is the name of a file that is not yet, or no longer, a segment.
	preparing = "preparing.tmp"
	lockName  = "LOCK"
)

const writeCategory storage.WriteCategory = "raft-log"

// segment is one file of the log. Only refs changes.
type segment struct {
	number uint32
	path   string
	file   storage.File
	size   int64 // in bytes; a batch larger than a segment makes it grow
	// start is the log's last index when the segment was started: if no entry up
	// to it is needed, no segment before this one is. Set before it is published.
	start uint64
	// refs counts the readers. It rises only while the segment is in the log.
	refs atomic.Int32
}

// directory is the log's directory: it makes, lists and removes segment files.
// Its methods change files in an order in which no crash leaves a segment
// without its header or a gap in the numbers.
type directory struct {
	fs    storage.FS
	path  string
	file  storage.File // open for syncing
	lock  io.Closer
	logID uint64
}

// openDirectory makes the directory if it is not there, and locks it.
func openDirectory(fsys storage.FS, path string) (*directory, error) {
	d := &directory{fs: fsys, path: path}
	if err := d.make(); err != nil {
		return nil, err
	}
	lock, err := fsys.Lock(fsys.PathJoin(path, lockName))
	if err != nil {
		return nil, fmt.Errorf("locking %s (is it in use by another process?): %w", path, err)
	}
	d.lock = lock
	if d.file, err = fsys.OpenDir(path); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return d, nil
}

// make makes the directory and those above it that are missing, durably.
func (d *directory) make() error {
	var missing []string
	for path := d.path; ; path = d.fs.PathDir(path) {
		if _, err := d.fs.Stat(path); err == nil || path == d.fs.PathDir(path) {
			break
		}
		missing = append(missing, path)
	}
	if len(missing) == 0 {
		return nil
	}
	if err := d.fs.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	for _, path := range slices.Backward(missing) {
		parent, err := d.fs.OpenDir(d.fs.PathDir(path))
		if err != nil {
			return err
		}
		if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (d *directory) close() error {
	return errors.Join(d.file.Close(), d.lock.Close())
}

func (d *directory) join(name string) string { return d.fs.PathJoin(d.path, name) }

func segmentName(number uint32) string { return fmt.Sprintf("%06d%s", number, segmentSuffix) }

// list returns the numbers of the segments there are, ascending, and removes
// what a crash has left of a segment in preparation. Other files are not ours
// and are left alone.
func (d *directory) list() ([]uint32, error) {
	names, err := d.fs.List(d.path)
	if err != nil {
		return nil, err
	}
	var numbers []uint32
	for _, name := range names {
		if name == preparing {
			if err := d.fs.Remove(d.join(name)); err != nil {
				return nil, err
			}
			continue
		}
		digits, ok := strings.CutSuffix(name, segmentSuffix)
		if !ok {
			continue
		}
		number, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || number == 0 || segmentName(uint32(number)) != name {
			return nil, fmt.Errorf("raft log %s: not a segment's name; move the file away", d.join(name))
		}
		numbers = append(numbers, uint32(number))
	}
	slices.Sort(numbers)
	for i := 1; i < len(numbers); i++ {
		if missing := numbers[i-1] + 1; numbers[i] != missing {
			return nil, fmt.Errorf("raft log %s is missing, but %s is there; put it back, or restore this member from a peer or a backup",
				d.join(segmentName(missing)), segmentName(numbers[i]))
		}
	}
	return numbers, nil
}

// open opens an existing segment and checks its header. The first one opened
// tells the log id.
func (d *directory) open(number uint32) (*segment, error) {
	s := &segment{number: number, path: d.join(segmentName(number))}
	var err error
	if s.file, err = d.fs.OpenReadWrite(s.path, writeCategory); err != nil {
		return nil, err
	}
	if err := d.check(s); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return s, nil
}

func (d *directory) check(s *segment) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	s.size = info.Size()
	var h [headerBytes]byte
	n, err := s.file.ReadAt(h[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("raft log %s: %w", s.path, err)
	}
	if n < headerBytes || string(h[:len(magic)]) != magic {
		return &CorruptError{s.path, 0, "this is not a segment of a raft log"}
	}
	if binary.LittleEndian.Uint32(h[8:]) != crc32.Checksum(h[12:], castagnoli) {
		return &CorruptError{s.path, 8, "checksum mismatch in the file's header"}
	}
	if v := binary.LittleEndian.Uint32(h[12:]); v != formatVersion {
		return fmt.Errorf("raft log %s has format version %d, this program reads %d; run the version that wrote it",
			s.path, v, formatVersion)
	}
	if want := binary.LittleEndian.Uint64(h[32:]); uint64(s.size) < want {
		return &CorruptError{s.path, s.size, fmt.Sprintf("the file is cut short, it had %d bytes", want)}
	}
	if id := binary.LittleEndian.Uint64(h[16:]); d.logID == 0 {
		d.logID = id
	} else if id != d.logID {
		return &CorruptError{s.path, 16, "the file belongs to another log"}
	}
	if n := binary.LittleEndian.Uint32(h[24:]); n != s.number {
		return &CorruptError{s.path, 24, fmt.Sprintf("the file is segment %d under another name", n)}
	}
	return nil
}

// create prepares a new segment of size bytes, a multiple of a page: all zeros
// but for the header. stop is asked now and then whether to give up.
func (d *directory) create(number uint32, size int64, stop func() bool) (*segment, error) {
	tmp := d.join(preparing)
	f, err := d.fs.OpenReadWrite(tmp, writeCategory)
	if err != nil {
		return nil, err
	}
	// A hint only: it keeps the file in one piece.
	_ = f.Preallocate(0, size)
	for off := int64(0); off < size && err == nil; off += int64(len(zeros)) {
		if stop() {
			err = ErrClosed
			break
		}
		_, err = f.WriteAt(zeros[:min(size-off, int64(len(zeros)))], off)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), d.fs.Remove(tmp))
	}
	return d.publish(f, number, size)
}

// detach takes the oldest segment's file out of the log, to be published under
// another number. What it holds stays in it, and is dead because its segment
// number is another. The old name is gone for good before the header changes.
func (d *directory) detach(old *segment) error {
	if err := d.fs.Rename(old.path, d.join(preparing)); err != nil {
		return err
	}
	return d.sync()
}

// publish writes and syncs the header of the file in preparation, then gives it
// its name. It closes f if it fails.
func (d *directory) publish(f storage.File, number uint32, size int64) (*segment, error) {
	s := &segment{number: number, path: d.join(segmentName(number)), file: f, size: size}
	_, err := f.WriteAt(d.header(number, size), 0)
	if err == nil {
		if err = f.Sync(); err != nil {
			err = &syncError{d.join(preparing), err}
		}
		forgetPages(f)
	}
	if err == nil {
		err = d.fs.Rename(d.join(preparing), s.path)
	}
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// header is the first page of a segment.
func (d *directory) header(number uint32, size int64) []byte {
	h := make([]byte, pageBytes)
	copy(h, magic)
	binary.LittleEndian.PutUint32(h[12:], formatVersion)
	binary.LittleEndian.PutUint64(h[16:], d.logID)
	binary.LittleEndian.PutUint32(h[24:], number)
	binary.LittleEndian.PutUint64(h[32:], uint64(size))
	binary.LittleEndian.PutUint32(h[8:], crc32.Checksum(h[12:headerBytes], castagnoli))
	return h
}

// remove deletes the file of the oldest segment, and leaves it open.
func (d *directory) remove(s *segment) error {
	if err := d.fs.Remove(s.path); err != nil {
		return err
	}
	return d.sync()
}

func (d *directory) sync() error {
	if err := d.file.Sync(); err != nil {
		return &syncError{d.path, err}
	}
	return nil
}

// syncError is the failure of an fsync, after which nothing can be trusted.
type syncError struct {
	path string
	err  error
}

func (e *syncError) Error() string { return fmt.Sprintf("raft log %s: sync failed: %v", e.path, e.err) }
func (e *syncError) Unwrap() error { return e.err }
