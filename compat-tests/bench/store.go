package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/triglot/triglot/compat-tests/server"
)

// method is part of every key. It changes when a change of this program makes what was
// measured before something else, and settings does not show it.
const method = 2

// settings are the constants, and what is found on the machine, that make other figures.
type settings struct {
	Method           int
	Room, Heap       []string
	ValueBytes       int
	WarmPart         int
	Grace, WarmGrace time.Duration
	Foreign          float64
	Bench            string // hash of this program, if a null server is measured
	Java             string // if ZooKeeper is
}

func (id identity) settings(c cell, peer string) settings {
	s := settings{
		Method: method, Room: roomFlags, Heap: heap, ValueBytes: valueBytes, WarmPart: warmPart,
		Grace: graceLimit, WarmGrace: warmGrace, Foreign: foreignLimit,
	}
	if c.Null != "" {
		s.Bench = id.Bench
	}
	if peer == roleZooKeeper {
		s.Java = id.Java
	}
	return s
}

// record is a cell that was measured.
type record struct {
	Key  string `json:"key"`
	Cell cell   `json:"cell"`
	// Peer is the server that Triglot was measured beside.
	Peer  string    `json:"peer"`
	Pairs []pair    `json:"pairs"`
	Ended time.Time `json:"ended"`
	// Took is how long the cell took in all.
	Took time.Duration `json:"took_ns"`
	// Machine says what it was measured on.
	Machine machine `json:"machine"`
}

// identity says which servers are measured.
type identity struct {
	Triglot string // hash of the binary
	Client  string // hash of another one that makes the load, if it is another
	// Peers are the versions or hashes of the peers by role.
	Peers map[string]string
	Bench string // hash of this program, which is the null servers
	Java  string // what runs ZooKeeper
}

// key names a cell's results: whatever would make another figure is in it.
func (id identity) key(c cell, peer string) (string, error) {
	encoded, err := json.Marshal(struct {
		Settings              settings
		Triglot, Client, Peer string
		Cell                  cell
	}{id.settings(c, peer), id.Triglot, id.Client, peer + " " + id.Peers[peer], c})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(encoded))[:16], nil
}

// store keeps records as JSON files in a directory.
type store struct{ dir string }

func (s store) path(c cell, key string) string {
	return filepath.Join(s.dir, strings.ReplaceAll(c.Name, "/", "-")+"."+key+".json")
}

// load returns the record of a cell, nil if there is none.
func (s store) load(c cell, key string) (*record, error) {
	text, err := os.ReadFile(s.path(c, key))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(c, key), err)
	}
	return r, nil
}

// save keeps a record, unless there is one of more pairs, which is worth more; a file that has
// its name is complete.
func (s store) save(r *record) (kept bool, err error) {
	old, err := s.load(r.Cell, r.Key)
	if err != nil || old != nil && len(old.Pairs) > len(r.Pairs) {
		return false, err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return false, err
	}
	path := s.path(r.Cell, r.Key)
	partial := path + ".partial"
	if err := os.WriteFile(partial, append(text, '\n'), 0o644); err != nil {
		return false, err
	}
	return true, os.Rename(partial, path)
}

// hashOfSelf is the hash of this program.
func hashOfSelf() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	return server.HashFile(path)
}
