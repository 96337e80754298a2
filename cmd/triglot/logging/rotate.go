package logging

import (
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Rotation says when a RotatedFile begins a new file, and what becomes of the old
// ones.
type Rotation struct {
	MaxBytes   int64         // of a file; required
	MaxAge     time.Duration // of an old file; zero is for ever
	MaxBackups int           // old files that are kept; zero is all
	LocalTime  bool          // for the times in their names, else UTC
	Compress   bool          // old files with gzip
}

// backupTime is the time in the name of an old file: a.log becomes
// a-2006-01-02T15-04-05.000.log, as with the library that etcd uses.
const backupTime = "2006-01-02T15-04-05.000"

// RotatedFile appends to a file, and puts it aside when it is full. It is safe for
// concurrent use.
type RotatedFile struct {
	path     string
	rotation Rotation

	// mu guards what follows.
	mu   sync.Mutex
	file *os.File
	size int64

	tidying sync.WaitGroup
	tidyMu  sync.Mutex // held while old files are compressed and removed
}

// OpenRotated opens the file at path, or makes it.
func OpenRotated(path string, rotation Rotation) (*RotatedFile, error) {
	f := &RotatedFile{path: path, rotation: rotation}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *RotatedFile) open() error {
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.size = file, info.Size()
	return nil
}

// Write implements io.Writer. A write is never split over two files.
func (f *RotatedFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.size > 0 && f.size+int64(len(p)) > f.rotation.MaxBytes {
		if err := f.rotate(time.Now()); err != nil {
			return 0, err
		}
	}
	n, err := f.file.Write(p)
	f.size += int64(n)
	return n, err
}

// rotate puts the file aside and begins a new one. If that fails, the old one is
// written on.
func (f *RotatedFile) rotate(now time.Time) error {
	if !f.rotation.LocalTime {
		now = now.UTC()
	}
	stem, ext := f.nameParts()
	backup := stem + now.Format(backupTime) + ext
	for n := 2; exists(backup) || exists(backup+".gz"); n++ {
		backup = stem + now.Format(backupTime) + fmt.Sprintf(".%d", n) + ext
	}
	full := f.file
	if err := os.Rename(f.path, backup); err != nil {
		return err
	}
	if err := f.open(); err != nil {
		f.file = full
		return err
	}
	f.tidying.Go(func() { f.tidy(now) })
	return full.Close()
}

// nameParts are what stands before and behind the time in the name of an old
// file.
func (f *RotatedFile) nameParts() (stem, ext string) {
	ext = filepath.Ext(f.path)
	return strings.TrimSuffix(f.path, ext) + "-", ext
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Close waits for what is under way and closes the file.
func (f *RotatedFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tidying.Wait()
	return f.file.Close()
}

// tidy compresses old files and removes those that are too many or too old. What
// fails is tried again after the next rotation: there is no other place to say it.
func (f *RotatedFile) tidy(now time.Time) {
	f.tidyMu.Lock()
	defer f.tidyMu.Unlock()
	for i, old := range f.backups() {
		tooMany := f.rotation.MaxBackups > 0 && i >= f.rotation.MaxBackups
		tooOld := f.rotation.MaxAge > 0 && now.Sub(old.at) > f.rotation.MaxAge
		switch {
		case tooMany || tooOld:
			_ = os.Remove(old.path)
		case f.rotation.Compress && !strings.HasSuffix(old.path, ".gz"):
			_ = compress(old.path)
		}
	}
}

// backup is an old file.
type backup struct {
	path string
	at   time.Time
	nth  string // that of its millisecond: nothing, .2, .3
}

// backups are the old files, the newest first.
func (f *RotatedFile) backups() []backup {
	stem, ext := f.nameParts()
	zone := time.UTC
	if f.rotation.LocalTime {
		zone = time.Local
	}
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		return nil
	}
	var list []backup
	for _, entry := range entries {
		path := filepath.Join(filepath.Dir(f.path), entry.Name())
		rest, ok := strings.CutPrefix(strings.TrimSuffix(path, ".gz"), filepath.Clean(stem))
		rest, isOurs := strings.CutSuffix(rest, ext)
		if !ok || !isOurs || len(rest) < len(backupTime) {
			continue
		}
		at, err := time.ParseInLocation(backupTime, rest[:len(backupTime)], zone)
		if err == nil {
			list = append(list, backup{path, at, rest[len(backupTime):]})
		}
	}
	slices.SortFunc(list, func(a, b backup) int { return cmp.Or(b.at.Compare(a.at), strings.Compare(b.nth, a.nth)) })
	return list
}

// compress replaces a file by one that is compressed.
func compress(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	out, err := os.OpenFile(path+".gz", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(out)
	_, err = io.Copy(zip, in)
	if err = errors.Join(err, zip.Close(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".gz"))
	}
	return os.Remove(path)
}
