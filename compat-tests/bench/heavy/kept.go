package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// kept is a result that need not be measured again, nil if there is none. An older one, of
// another build or other flags, is none.
func kept[T any](dir, name string, current func(*T) bool) (*T, error) {
	result, err := readJSON[T](filepath.Join(dir, name+".json"))
	if err != nil || result == nil || !current(result) {
		return nil, err
	}
	return result, nil
}

// keep measures something unless its result is kept, and writes the result down.
func keep[T any](dir, name string, current func(*T) bool, measure func() (*T, error)) error {
	path := filepath.Join(dir, name+".json")
	known, err := kept(dir, name, current)
	if err != nil {
		return err
	}
	if known != nil {
		logf("%s was measured before; remove %s to measure it again", name, path)
		return nil
	}
	result, err := measure()
	if err != nil {
		return err
	}
	return writeJSON(path, result)
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(path, append(text, '\n'))
}

// writeWhole leaves either the old file or the new one.
func writeWhole(path string, text []byte) error {
	if err := os.WriteFile(path+".tmp", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// readJSON reads a result; there may be none. One of another shape is of an older version of
// this program, and counts as none.
func readJSON[T any](path string) (*T, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v := new(T)
	err = json.Unmarshal(text, v)
	if shape := (*json.UnmarshalTypeError)(nil); errors.As(err, &shape) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}
