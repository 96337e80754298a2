package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// kept is what was measured so far, in a file of a line each: a run that is cut short
// goes on from there. It is for one goroutine.
type kept struct {
	file *os.File // nil if nothing is written down
	have map[string]figures
}

// line is one of the file.
type line struct {
	Measured string
	Figures  figures // in nanoseconds
}

// openKept reads the file, which need not exist; "" is none.
func openKept(path string) (*kept, error) {
	k := &kept{have: map[string]figures{}}
	if path == "" {
		return k, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(file)
	for one := range bytes.Lines(text) {
		var l line
		if err == nil {
			err = json.Unmarshal(one, &l)
			k.have[l.Measured] = l.Figures
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	k.file = file
	return k, nil
}

// of is what was measured under a name, nil if nothing was.
func (k *kept) of(name string) figures { return k.have[name] }

// add keeps a measurement.
func (k *kept) add(name string, f figures) error {
	k.have[name] = f
	if k.file == nil {
		return nil
	}
	text, err := json.Marshal(line{name, f})
	if err != nil {
		return err
	}
	_, err = k.file.Write(append(text, '\n'))
	return err
}

func (k *kept) close() error {
	if k.file == nil {
		return nil
	}
	return k.file.Close()
}
