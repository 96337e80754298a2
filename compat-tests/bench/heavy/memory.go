package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/triglot/triglot/compat-tests/bench/heavy/heavybars"
	"github.com/triglot/triglot/compat-tests/server"
)

// memory is what a store of a size takes, and how it starts.
type memory struct {
	origin
	Store  string `json:"store"`
	Face   string `json:"face"`
	Keys   int    `json:"keys"`
	Filled filling

	// IdleRSS is what the process has in memory when it has started and is quiet,
	// LoadedRSS the most it had under puts of random keys, AfterRSS what it had when it
	// was quiet again.
	IdleRSS   int64 `json:"idle_rss_bytes"`
	LoadedRSS int64 `json:"loaded_rss_bytes"`
	AfterRSS  int64 `json:"after_rss_bytes"`
	// Rate is the puts a second of that load.
	Rate float64 `json:"puts_per_second"`
	Puts latency `json:"puts"`

	// Starts are the times from the start of the process to its first linearizable
	// answer, by what was before.
	Starts map[string]float64 `json:"start_seconds"`
}

// currentMemory reports whether a store need not be measured again.
func (c *config) currentMemory(s storeKind, m *memory) bool {
	_, cold := m.Starts[heavybars.ColdAfterKill]
	return m.origin == c.measuredNow(s) && c.fits(s, m.Filled) && (cold || !c.cold)
}

// most is the most memory that the server had at any time, the filling included.
func (m *memory) most() int64 { return max(m.Filled.PeakRSS, m.IdleRSS, m.LoadedRSS, m.AfterRSS) }

// memoryRun measures one store. It is for one goroutine.
type memoryRun struct {
	*config
	kind storeKind
	p    *server.Process
	m    *memory
}

func measureMemories(ctx context.Context, c *config) error {
	for _, s := range c.stores {
		current := func(m *memory) bool { return c.currentMemory(s, m) }
		measure := func() (*memory, error) { return measureMemory(ctx, c, s) }
		if err := keep(c.out, memoryName(s), current, measure); err != nil {
			return fmt.Errorf("memory of %v: %w", s, err)
		}
	}
	return nil
}

func memoryName(s storeKind) string { return "memory-" + s.String() }

func measureMemory(ctx context.Context, c *config, s storeKind) (_ *memory, err error) {
	dir, filled, remove, err := c.copied(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	logf("memory of %v", s)
	r := &memoryRun{config: c, kind: s, m: &memory{
		origin: c.measuredNow(s),
		Store:  s.String(), Face: s.name, Keys: s.keys, Filled: *filled, Starts: map[string]float64{},
	}}
	begin := time.Now()
	if r.p, err = c.start(ctx, s, dir); err != nil {
		return nil, err
	}
	r.m.Starts[heavybars.AfterStop] = time.Since(begin).Seconds()
	defer func() { err = errors.Join(err, r.p.Stop()) }()
	if err := r.resident(ctx); err != nil {
		return nil, err
	}
	return r.m, r.starts(ctx)
}

// resident measures the memory: quiet, under a load of half of what the server does, and
// quiet again.
func (r *memoryRun) resident(ctx context.Context) (err error) {
	if err := r.settle(ctx, r.p.PID(), time.Minute); err != nil {
		return err
	}
	if r.m.IdleRSS, err = residentBytes(r.p.PID()); err != nil {
		return err
	}
	cl, err := r.kind.dial(ctx, r.p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.close()) }()
	watched := watchRSS(r.p.PID())
	full, err := capacity(ctx, cl, r.kind.keys, r.load/6)
	if err == nil {
		r.m.Rate = full / 2
		begin := time.Now()
		load := startSteady(ctx, cl, r.kind.keys, r.m.Rate)
		err = sleep(ctx, r.load)
		calls, failed := load.end()
		err = errors.Join(err, failed)
		r.m.Puts = latencyWithin(calls, begin, time.Now())
	}
	r.m.LoadedRSS = watched.end()
	if err != nil {
		return err
	}
	if err := r.settle(ctx, r.p.PID(), time.Minute); err != nil {
		return err
	}
	r.m.AfterRSS, err = residentBytes(r.p.PID())
	return err
}

// starts measures the times of the starts but the first.
func (r *memoryRun) starts(ctx context.Context) error {
	if err := r.restart(ctx, heavybars.AfterKill, r.killUnderPuts, false); err != nil || !r.cold {
		return err
	}
	stop := func(context.Context) error { return r.p.Terminate() }
	if err := r.restart(ctx, heavybars.ColdAfterStop, stop, true); err != nil {
		return err
	}
	return r.restart(ctx, heavybars.ColdAfterKill, r.killUnderPuts, true)
}

func (r *memoryRun) restart(ctx context.Context, name string, end func(ctx context.Context) error, cold bool) error {
	if err := end(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if cold {
		if err := dropPages(r.p.DataDir()); err != nil {
			return err
		}
	}
	begin := time.Now()
	if err := r.p.Restart(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r.m.Starts[name] = time.Since(begin).Seconds()
	logf("%v: a start %s takes %.2f s", r.kind, name, r.m.Starts[name])
	return nil
}

// killUnderPuts loads the server at its half, and ends it with SIGKILL.
func (r *memoryRun) killUnderPuts(ctx context.Context) error {
	cl, err := r.kind.dial(ctx, r.p)
	if err != nil {
		return err
	}
	load := startSteady(ctx, cl, r.kind.keys, r.m.Rate)
	// The client is closed before the load ends, as the library of ZooKeeper's clients would
	// try to reconnect: those under way fail, as they should.
	err = errors.Join(sleep(ctx, r.load/3), r.p.Kill(), cl.close())
	_, _ = load.end()
	return err
}
