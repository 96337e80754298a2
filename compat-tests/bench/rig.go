package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// rig finds or builds the binaries. Nothing that a bench which runs at the same time may be using
// is changed.
func (c *config) rig(ctx context.Context, root string) (*rig, error) {
	binaries := map[string]string{roleTriglot: c.triglot, roleAgainst: c.against}
	if c.triglot == "" {
		var err error
		if binaries[roleTriglot], err = buildTriglot(ctx, root, c.dir); err != nil {
			return nil, err
		}
	}
	ids := identity{Peers: map[string]string{roleZooKeeper: zkserver.Version}, Java: javaVersion()}
	etcd, err := server.Binary(string(server.Etcd))
	if err != nil {
		return nil, err
	}
	binaries[roleEtcd] = etcd
	for role, path := range binaries {
		if path == "" {
			continue
		}
		if binaries[role], err = filepath.Abs(path); err != nil {
			return nil, err
		}
		if ids.Peers[role], err = server.HashFile(path); err != nil {
			return nil, err
		}
	}
	ids.Triglot = ids.Peers[roleTriglot]
	client := cmp.Or(c.client, binaries[roleTriglot])
	if c.client != "" {
		if ids.Client, err = server.HashFile(c.client); err != nil {
			return nil, err
		}
	}
	if ids.Bench, err = hashOfSelf(); err != nil {
		return nil, err
	}
	return &rig{
		starter: starter{binaries: binaries}, tool: tool{binary: client, prefix: []string{"bench"}},
		larder: larder{dir: filepath.Join(c.dir, "filled")}, ids: ids, dir: c.dir,
	}, nil
}

// builtPrefix begins the names of the binaries that are built here; the rest is their hash.
const builtPrefix = "triglot-"

// buildTriglot builds the binary that is measured.
func buildTriglot(ctx context.Context, root, dir string) (_ string, err error) {
	temp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	path := filepath.Join(temp, "triglot")
	if err := server.BuildMeasured(ctx, root, path); err != nil {
		return "", err
	}
	return adopt(path, dir)
}

// adopt moves a binary into a folder, under a name that no other build has: one that is being
// measured stays as it is.
func adopt(path, dir string) (string, error) {
	hash, err := server.HashFile(path)
	if err != nil {
		return "", err
	}
	place := filepath.Join(dir, builtPrefix+hash)
	return place, os.Rename(path, place)
}

// prune removes what other builds of Triglot have left. Only who has the lock may.
func (r *rig) prune() error {
	built, err := filepath.Glob(filepath.Join(r.dir, builtPrefix+"*"))
	if err != nil {
		return err
	}
	used := []string{r.tool.binary, r.starter.binaries[roleTriglot], r.starter.binaries[roleAgainst]}
	for _, path := range built {
		if !slices.Contains(used, path) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return errors.Join(err, r.larder.prune(r.ids.Triglot, cmp.Or(r.ids.Peers[roleAgainst], r.ids.Triglot)))
}

// sweep removes the data of runs that were killed.
func (r *rig) sweep() error {
	left, err := filepath.Glob(filepath.Join(r.dir, "run-*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}
