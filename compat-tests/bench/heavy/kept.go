package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// keep measures something unless its result is there, and writes the result down.
func keep[T any](dir, name string, measure func() (*T, error)) error {
	path := filepath.Join(dir, name+".json")
	if _, err := os.Stat(path); err == nil {
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

// readJSON reads a result; there may be none.
func readJSON[T any](path string) (*T, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// results are those of a kind, in the order of their names.
func results[T any](dir, prefix string) (list []*T, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, prefix+"*.json"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if strings.HasSuffix(path, ".tmp") {
			continue
		}
		one, err := readJSON[T](path)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}
