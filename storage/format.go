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
// values it holds. It is the first file written to a new directory, with newborn
// behind the version until the engine has made its own files: a crash in between
// may leave any of those without the others, so a newborn directory is emptied
// and made again. No row is ever written to one.
const (
	formatFile    = "TRIGLOT"
	formatPrefix  = "triglot state, format "
	formatVersion = 1
	newborn       = " newborn"
	maxFormatFile = 256
)

// checkFormat makes sure that dir is a state directory of a format we know. An
// empty or missing directory becomes a newborn one, unless readOnly is set; the
// caller ends its birth with bear.
func checkFormat(fsys FS, dir string, readOnly bool) (isNewborn bool, err error) {
	text, err := readFormat(fsys, dir)
	if err == nil {
		if isNewborn, err = parseFormat(dir, text); err != nil || !isNewborn || readOnly {
			return isNewborn, err
		}
		return true, inDir(dir, removeFiles(fsys, dir))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, inDir(dir, err)
	}
	names, err := fsys.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, inDir(dir, err)
	}
	for _, name := range names {
		if name != formatFile+".tmp" {
			return false, fmt.Errorf("storage: %s is not a Triglot state directory: it holds %q but no %s file; give an empty directory or the right one", dir, name, formatFile)
		}
	}
	if readOnly {
		return false, fmt.Errorf("storage: %s is not a Triglot state directory: it has no %s file", dir, formatFile)
	}
	return true, inDir(dir, writeFormat(fsys, dir, newborn))
}

// bear ends the birth of dir: what is in it is durable and stays.
func bear(fsys FS, dir string) error {
	if err := syncDir(fsys, dir); err != nil {
		return inDir(dir, err)
	}
	return inDir(dir, writeFormat(fsys, dir, ""))
}

func inDir(dir string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("storage: %s: %w", dir, err)
}

// removeFiles empties a newborn directory, the format file aside.
func removeFiles(fsys FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != formatFile {
			if err := fsys.RemoveAll(fsys.PathJoin(dir, name)); err != nil {
				return err
			}
		}
	}
	return syncDir(fsys, dir)
}

func readFormat(fsys FS, dir string) (string, error) {
	f, err := fsys.Open(fsys.PathJoin(dir, formatFile))
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(f, maxFormatFile))
	return string(text), err
}

func parseFormat(dir, text string) (isNewborn bool, err error) {
	number, ours := strings.CutPrefix(strings.TrimSpace(text), formatPrefix)
	number, isNewborn = strings.CutSuffix(number, newborn)
	version, err := strconv.Atoi(number)
	if !ours || err != nil {
		return false, fmt.Errorf("storage: %s is not a Triglot state directory: its %s file says %q; give the right one, or restore that file", dir, formatFile, text)
	}
	if version != formatVersion {
		return false, fmt.Errorf("storage: %s has state format %d, this program knows %d; run the program version that wrote it", dir, version, formatVersion)
	}
	return isNewborn, nil
}

// writeFormat makes dir ours, durably and at once: a crash leaves the file as it
// was or as it is now.
func writeFormat(fsys FS, dir, suffix string) error {
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := fsys.PathJoin(dir, formatFile)
	f, err := fsys.Create(name+".tmp", "")
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, formatPrefix+strconv.Itoa(formatVersion)+suffix+"\n")
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
