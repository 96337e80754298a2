package checkpoint

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/triglot/triglot/storage"
)

// File is a file of a checkpoint, which has no directories in it.
type File struct {
	Name string
	Size int64
}

// Piece is the beginning of a file: so many bytes, and their CRC-32C.
type Piece struct {
	Bytes int64
	Sum   uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maxNameBytes is the longest name that file systems take.
const maxNameBytes = 255

// ValidName reports whether a name can be that of a file of a checkpoint: one that
// comes from elsewhere must not lead anywhere else.
func ValidName(name string) bool {
	if name == "" || len(name) > maxNameBytes || name == "." || name == ".." {
		return false
	}
	return !strings.ContainsFunc(name, func(c rune) bool {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		return !letter && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
	})
}

// List returns the files of the checkpoint in dir, by name.
func List(fs storage.FS, dir string) ([]File, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	slices.Sort(names)
	files := make([]File, len(names))
	for i, name := range names {
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			return nil, fmt.Errorf("checkpoint: %w", err)
		}
		if info.IsDir() || !ValidName(name) {
			return nil, fmt.Errorf("checkpoint: %s holds %q, which is no file of the engine", dir, name)
		}
		files[i] = File{Name: name, Size: info.Size()}
	}
	return files, nil
}

// Reader reads a file of a checkpoint from its beginning, and sums up what it has read.
type Reader struct {
	file storage.File
	at   Piece
}

// Read opens a file.
func Read(fs storage.FS, dir, name string) (*Reader, error) {
	f, err := fs.Open(fs.PathJoin(dir, name))
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return &Reader{file: f}, nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.file.Read(p)
	r.at.Bytes += int64(n)
	r.at.Sum = crc32.Update(r.at.Sum, castagnoli, p[:n])
	return n, err
}

// Piece is what has been read.
func (r *Reader) Piece() Piece { return r.at }

// Skip reads up to a number of bytes of the file, or its end.
func (r *Reader) Skip(to int64) error {
	_, err := io.Copy(io.Discard, io.LimitReader(onlyReader{r}, to-r.at.Bytes))
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

type onlyReader struct{ io.Reader }

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// measure sums up all of a file.
func measure(fs storage.FS, dir, name string, size int64) (Piece, error) {
	r, err := Read(fs, dir, name)
	if err != nil {
		return Piece{}, err
	}
	err = r.Skip(size)
	return r.at, errors.Join(err, r.Close())
}
