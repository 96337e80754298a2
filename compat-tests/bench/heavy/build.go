package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/triglot/triglot/compat-tests/server"
)

// build is the binary of a server that is measured.
type build struct {
	path string
	// id is how results name it: by its version if it is etcd's, by its hash if it is
	// Triglot's.
	id string
	// commit is what it was built from, as git describes it; empty if nobody knows.
	commit string
}

func (b build) String() string {
	if b.commit == "" {
		return b.id
	}
	return fmt.Sprintf("%s (%s)", b.id, b.commit)
}

// Part of every result and filling. They change when this program measures or fills in
// another way, for instance with other flags of a server.
const (
	measureMethod = 1
	fillMethod    = 1
)

// origin is what made a result or a filling: another origin, another figure. Of a file that
// does not name it, nobody knows.
type origin struct {
	Method int    `json:"method"`
	Build  string `json:"build"`
	// Load is how long a steady load lasted; 0 for a filling.
	Load float64 `json:"load_seconds,omitempty"`
}

// measuredNow is the origin of what is measured now, filledNow that of a filling.
func (c *config) measuredNow(s storeKind) origin {
	return origin{Method: measureMethod, Build: c.builds[s.target].id, Load: c.load.Seconds()}
}

func (c *config) filledNow(s storeKind) origin {
	return origin{Method: fillMethod, Build: c.builds[s.target].id}
}

// fits reports whether a filling need not be made again.
func (c *config) fits(s storeKind, f filling) bool {
	now := c.filledNow(s)
	if c.reuseFills && s.target == server.Triglot {
		now.Build = f.Build
	}
	return f.origin == now && f.Revision == int64(s.revisions)
}

// findBuilds finds the servers, or builds them.
func (c *config) findBuilds(ctx context.Context) error {
	triglot, err := c.findTriglot(ctx)
	if err != nil {
		return err
	}
	etcd, err := findEtcd(ctx)
	c.builds = map[server.Target]build{server.Triglot: triglot, server.Etcd: etcd}
	return err
}

// findTriglot builds Triglot as bench does: without what changes with every commit, for a note
// that is committed is to make nothing old.
func (c *config) findTriglot(ctx context.Context) (b build, err error) {
	b.path = c.triglot
	if b.path == "" {
		root, err := server.Root()
		if err != nil {
			return b, err
		}
		b.path = filepath.Join(c.out, "triglot")
		if err := server.BuildMeasured(ctx, root, b.path); err != nil {
			return b, err
		}
		describe := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty")
		describe.Dir = root
		if out, err := describe.Output(); err == nil { // there may be no git here
			b.commit = strings.TrimSpace(string(out))
		}
	}
	hash, err := server.HashFile(b.path)
	b.id = "triglot " + hash
	return b, err
}

func findEtcd(ctx context.Context) (b build, err error) {
	if b.path, err = server.Binary(string(server.Etcd)); err != nil {
		return b, err
	}
	out, err := exec.CommandContext(ctx, b.path, "--version").Output()
	if err != nil {
		return b, fmt.Errorf("%s --version: %w", b.path, err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	version, found := strings.CutPrefix(strings.TrimSpace(first), "etcd Version: ")
	if !found {
		return b, fmt.Errorf("%s --version does not name a version of etcd: %q", b.path, first)
	}
	b.id = "etcd " + version
	return b, nil
}
