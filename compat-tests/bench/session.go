package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// graceLimit bounds how long a run waits until its server is quiet. What that puts off must
	// not fall into another one's turn: a compaction of what a run leaves takes some seconds, and
	// a server that is quiet before is not waited for.
	graceLimit = 30 * time.Second
	// warmGrace is that of a warm-up, after which the same server goes on.
	warmGrace = time.Second
)

// warmSeed is added to the seed of a warm-up: it is not to touch what the run then touches, in
// the same order.
const warmSeed = 1000

// rig opens sessions on real servers.
type rig struct {
	starter starter
	tool    tool
	larder  larder
	ids     identity
	// dir is where data directories are made: on a real disk.
	dir string
}

// realSession is the servers of a cell.
type realSession struct {
	tool    tool
	cell    cell
	dir     string
	targets map[string]*target
}

// open starts the servers of a cell, writes its keys, warms the Java machine and runs the load
// once on each server, unmeasured.
func (r *rig) open(ctx context.Context, c cell, roles []string) (_ session, err error) {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(r.dir, "run-")
	if err != nil {
		return nil, err
	}
	s := &realSession{tool: r.tool, cell: c, dir: dir, targets: map[string]*target{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for _, role := range roles {
		t, err := r.ready(ctx, c, role, filepath.Join(dir, role))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", role, err)
		}
		s.targets[role] = t
	}
	for _, role := range roles {
		if err := s.warm(ctx, role); err != nil {
			return nil, fmt.Errorf("%s: %w", role, err)
		}
	}
	return s, nil
}

// warm brings a server to where it is after the first minutes of its life. All run the whole
// load once; ZooKeeper has more before, until its Java machine has compiled what is hot.
func (s *realSession) warm(ctx context.Context, role string) error {
	t, p := s.targets[role], phase{ops: s.cell.Ops, seed: warmSeed, grace: graceLimit}
	if role == roleZooKeeper && s.cell.Warm > 0 {
		longer := s.cell
		longer.Load = s.cell.warmLoad()
		if _, _, err := s.tool.run(ctx, longer.args(t, phase{lasting: s.cell.Warm, seed: warmSeed, grace: warmGrace})); err != nil {
			return err
		}
	}
	_, err := s.run(ctx, t, p)
	return err
}

// ready starts a server with the cell's keys in it.
func (r *rig) ready(ctx context.Context, c cell, role, dir string) (*target, error) {
	kept := c.Kept && !isNull(role)
	if kept {
		identity := r.ids.Peers[role]
		if role == roleTriglot {
			identity = r.ids.Triglot
		}
		if err := r.larder.fetch(ctx, r.larder.place(role, identity, c), dir, func(ctx context.Context, dir string) error {
			t, err := r.filled(ctx, c, role, dir)
			if err != nil {
				return err
			}
			return t.stop()
		}); err != nil {
			return nil, err
		}
		return r.starter.start(ctx, role, dir, c.Members)
	}
	return r.filled(ctx, c, role, dir)
}

// filled starts a server on an empty directory and writes the cell's keys.
func (r *rig) filled(ctx context.Context, c cell, role, dir string) (*target, error) {
	t, err := r.starter.start(ctx, role, dir, c.Members)
	if err != nil || c.Fill == "" {
		return t, err
	}
	if _, _, err := r.tool.run(ctx, c.fillArgs(t)); err != nil {
		return nil, errors.Join(fmt.Errorf("fill: %w", err), t.stop())
	}
	return t, nil
}

// run runs the tool once.
func (s *realSession) run(ctx context.Context, t *target, p phase) (loadResult, error) {
	result, _, err := s.tool.run(ctx, s.cell.args(t, p))
	return result, err
}

func (s *realSession) measure(ctx context.Context, role string, seed int) (sample, error) {
	t := s.targets[role]
	if !s.cell.Cold {
		if _, err := s.run(ctx, t, phase{ops: s.cell.warmOps(), seed: warmSeed + seed, grace: warmGrace}); err != nil {
			return sample{}, err
		}
	}
	before, err := t.syncs(ctx)
	if err != nil {
		return sample{}, err
	}
	others, err := look(t.pids)
	if err != nil {
		return sample{}, err
	}
	result, client, err := s.tool.run(ctx, s.cell.args(t, phase{ops: s.cell.Ops, seed: seed, grace: graceLimit}))
	if err != nil {
		return sample{}, err
	}
	foreign, err := others.foreign(client)
	if err != nil {
		return sample{}, err
	}
	after, err := t.syncs(ctx)
	if err != nil {
		return sample{}, err
	}
	measured, err := result.sample()
	if err != nil {
		return sample{}, err
	}
	measured.Foreign = foreign
	if waitedOut(time.Since(others.began), result.Seconds) {
		measured.Notes = append(measured.Notes, fmt.Sprintf("not quiet after %s: what it does later is not counted", graceLimit))
	}
	n := after.count - before.count
	if n == 0 && s.cell.writes() && !t.null {
		return sample{}, fmt.Errorf("%d operations that write, and the log was not synced once: this is no measure of durable writes", result.Ops)
	}
	if n > 0 {
		measured.PerSync = float64(result.Ops) / n
		measured.SyncMicros = float64((after.total - before.total).Microseconds()) / n
	}
	return measured, nil
}

// waitedOut says whether a run of the tool, which took so long in all and so many seconds for the
// load, reached the limit of its wait until the server was quiet. The rest of what it does takes
// much less than that.
func waitedOut(took time.Duration, load float64) bool {
	return took.Seconds()-load >= graceLimit.Seconds()
}

// close stops the servers and removes their data.
func (s *realSession) close() error {
	var errs []error
	for _, t := range s.targets {
		errs = append(errs, t.stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
