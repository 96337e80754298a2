package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// The format file says that a directory is ours, and which layout of keys and
// values it holds. It is the first file written to a new directory.
const (
	formatFile    = "TRIGLOT"
	formatPrefix  = "triglot state, format "
	formatVersion = 1
	maxFormatFile = 256
)

// checkFormat makes sure that dir is a state directory of a format we know. An
// empty or missing directory becomes one, unless readOnly is set.
func checkFormat(fsys FS, dir string, readOnly bool) error {
	text, err := readFormat(fsys, dir)
	if err == nil {
		return parseFormat(dir, text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("storage: %s: %w", dir, err)
	}
	names, err := fsys.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("storage: %s: %w", dir, err)
	}
	for _, name := range names {
		if name != formatFile+".tmp" {
			return fmt.Errorf("storage: %s is not a Triglot state directory: it holds %q but no %s file; give an empty directory or the right one", dir, name, formatFile)
		}
	}
	if readOnly {
		return fmt.Errorf("storage: %s is not a Triglot state directory: it has no %s file", dir, formatFile)
	}
	if err := writeFormat(fsys, dir); err != nil {
		return fmt.Errorf("storage: %s: %w", dir, err)
	}
	return nil
}

func readFormat(fsys FS, dir string) (string, error) {
	f, err := fsys.Open(fsys.PathJoin(dir, formatFile))
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFormatFile))
	return string(text), err
}

func parseFormat(dir, text string) error {
	number, ours := strings.CutPrefix(strings.TrimSpace(text), formatPrefix)
	version, err := strconv.Atoi(number)
	if !ours || err != nil {
		return fmt.Errorf("storage: %s is not a Triglot state directory: its %s file says %q", dir, formatFile, text)
	}
	if version != formatVersion {
		return fmt.Errorf("storage: %s has state format %d, this program knows %d; run the program version that wrote it", dir, version, formatVersion)
	}
	return nil
}

// writeFormat makes dir ours, durably and at once: a crash leaves the whole file
// or none.
func writeFormat(fsys FS, dir string) error {
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := fsys.PathJoin(dir, formatFile)
	f, err := fsys.Create(name+".tmp", "")
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, formatPrefix+strconv.Itoa(formatVersion)+"\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(name+".tmp", name); err != nil {
		return err
	}
	if err := syncDir(fsys, dir); err != nil {
		return err
	}
	return syncDir(fsys, fsys.PathDir(dir))
}

func syncDir(fsys FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
