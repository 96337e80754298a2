package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// larder keeps the data directories of servers with a million keys, so that each is filled
// once. A cell gets a copy: what a cell writes must not be there for the next one, and a run
// that was stopped must not have spoilt what is kept. (Served in place, a second run would
// find ten times the history of the first. Hard links would do for Pebble's tables alone.)
type larder struct{ dir string }

// filledMark is a file in a directory that has all its keys.
const filledMark = "FILLED"

// place is the directory of a role's data: named for the server, too, because another build
// may lay out another way.
func (l larder) place(role, identity string, c cell) string {
	return filepath.Join(l.dir, fmt.Sprintf("%s-%s-%s-%d", role, identity, c.Fill, c.Keys))
}

// fetch copies a filled directory to dir. fill makes it in place if it is not there yet.
func (l larder) fetch(ctx context.Context, place, dir string, fill func(ctx context.Context, dir string) error) error {
	mark := filepath.Join(place, filledMark)
	if _, err := os.Stat(mark); errors.Is(err, os.ErrNotExist) {
		if err := errors.Join(os.RemoveAll(place), os.MkdirAll(place, 0o755)); err != nil {
			return err
		}
		if err := fill(ctx, place); err != nil {
			return errors.Join(err, os.RemoveAll(place))
		}
		if err := os.WriteFile(mark, nil, 0o644); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return copyTree(ctx, place, dir)
}

// prune removes what other builds of Triglot have left: a gigabyte for each.
func (l larder) prune(keep ...string) error {
	entries, err := os.ReadDir(l.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		old := strings.HasPrefix(entry.Name(), roleTriglot)
		for _, identity := range keep {
			old = old && !strings.Contains(entry.Name(), identity)
		}
		if old {
			if err := os.RemoveAll(filepath.Join(l.dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyTree copies a directory and syncs each file, so that writing it out does not fall into
// a measurement. The kernel copies, by reference where the file system can.
func copyTree(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir():
			info, err := entry.Info()
			if err != nil {
				return err
			}
			return os.MkdirAll(filepath.Join(to, rel), info.Mode().Perm())
		case entry.Type().IsRegular() && entry.Name() != "log":
			return copyFile(path, filepath.Join(to, rel))
		}
		return nil // a socket, or the log of the server's output
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil { // copy_file_range on Linux
		return err
	}
	return out.Sync()
}
