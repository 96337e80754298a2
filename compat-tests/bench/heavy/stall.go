package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/triglot/triglot/compat-tests/server"
)

// stall is what puts feel of the work in the background.
type stall struct {
	Store     string  `json:"store"`
	Face      string  `json:"face"`
	Keys      int     `json:"keys"`
	Revisions int     `json:"revisions"`
	Rate      float64 `json:"puts_per_second"`
	Phases    []phase `json:"phases"`
}

// phase is a time in which something was done, or nothing.
type phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	latency
	PeakRSS int64 `json:"peak_rss_bytes"`
	// CPU is what the server used, in processors.
	CPU float64 `json:"cpus"`
	// Bytes is what was downloaded.
	Bytes int64 `json:"bytes,omitempty"`

	from, to time.Time
}

const (
	quiet       = "quiet"
	compaction  = "compaction"
	quietAgain  = "quiet again"
	downloading = "snapshot download"
	quietLast   = "quiet at last"
)

// The steady load is this part of what the slowest server does: server and load share the
// processors, and at half there are none to spare beside anything else.
const steadyPart = 0.25

// of is a phase by its name, the zero one if there is none.
func (s *stall) of(name string) phase {
	for _, p := range s.Phases {
		if p.Name == name {
			return p
		}
	}
	return phase{}
}

// toQuiet is the p99 of a phase to that of the quiet ones, of which it takes the median: one
// by itself is as often twice another.
func (s *stall) toQuiet(name string) float64 {
	var quiets []float64
	for _, p := range s.Phases {
		if p.quiet() {
			quiets = append(quiets, p.P99)
		}
	}
	if len(quiets) == 0 {
		return 0
	}
	slices.Sort(quiets)
	return s.of(name).P99 / max(1, quiets[len(quiets)/2])
}

// quiet reports whether nothing but the load went on.
func (p phase) quiet() bool { return p.Name == quiet || p.Name == quietAgain || p.Name == quietLast }

func measureStalls(ctx context.Context, c *config) error {
	var rate *float64
	for _, s := range c.stallServers {
		err := keep(c.out, "stall-"+s.String(), func() (*stall, error) {
			if rate == nil {
				r, err := c.commonRate(ctx)
				if err != nil {
					return nil, err
				}
				rate = &r
			}
			return measureStall(ctx, c, s, *rate)
		})
		if err != nil {
			return fmt.Errorf("stall of %v: %w", s, err)
		}
	}
	return nil
}

// rateFile keeps the rate between runs, so that all servers have the same.
const rateFile = "rate.json"

// commonRate is steadyPart of what the slowest server takes.
func (c *config) commonRate(ctx context.Context) (float64, error) {
	if c.rate > 0 {
		return c.rate, nil
	}
	path := filepath.Join(c.out, rateFile)
	known, err := readJSON[float64](path)
	if err != nil {
		return 0, err
	}
	if known != nil {
		return *known, nil
	}
	var least float64
	for _, s := range c.stallServers {
		full, err := c.capacityOf(ctx, s)
		if err != nil {
			return 0, fmt.Errorf("what %v can do: %w", s, err)
		}
		logf("%v takes %.0f puts a second", s, full)
		if least == 0 || full < least {
			least = full
		}
	}
	steady := least * steadyPart
	return steady, writeJSON(path, steady)
}

func (c *config) capacityOf(ctx context.Context, s storeKind) (full float64, err error) {
	dir, _, remove, err := c.copied(ctx, s)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	p, err := s.start(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	cl, err := s.dial(ctx, p)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, cl.close()) }()
	if _, err := capacity(ctx, cl, s.keys, c.load/10); err != nil { // the first seconds do not count
		return 0, err
	}
	return capacity(ctx, cl, s.keys, c.load/3)
}

// stallRun measures one server. It is for one goroutine.
type stallRun struct {
	*config
	p  *server.Process
	cl *etcdClient
	s  *stall
}

func measureStall(ctx context.Context, c *config, s storeKind, rate float64) (_ *stall, err error) {
	dir, _, remove, err := c.copied(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	p, err := s.start(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	cl, err := s.dial(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cl.close()) }()
	if err := c.settle(ctx, p.PID(), time.Minute); err != nil {
		return nil, err
	}
	logf("stall of %v at %.0f puts a second", s, rate)
	r := &stallRun{config: c, p: p, cl: cl.(*etcdClient), s: &stall{
		Store: s.String(), Face: s.name, Keys: s.keys, Revisions: s.revisions, Rate: rate,
	}}
	load := startSteady(ctx, cl, s.keys, rate)
	err = r.phases(ctx)
	calls, failed := load.end()
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	for i := range r.s.Phases {
		one := &r.s.Phases[i]
		one.latency = latencyWithin(calls, one.from, one.to)
		logf("%v: %s: %.1f s, p99 %.0f us, at most %.0f us", s, one.Name, one.Seconds, one.P99, one.Max)
	}
	return r.s, nil
}

func (r *stallRun) phases(ctx context.Context) error {
	wait := func(ctx context.Context) (int64, error) { return 0, sleep(ctx, r.load) }
	if err := sleep(ctx, r.load/3); err != nil { // it warms up
		return err
	}
	if err := r.phase(ctx, quiet, wait); err != nil {
		return err
	}
	compact := func(ctx context.Context) (int64, error) {
		revision, err := r.cl.revision(ctx)
		if err != nil {
			return 0, err
		}
		return 0, r.cl.compact(ctx, revision)
	}
	if err := r.phase(ctx, compaction, compact); err != nil {
		return err
	}
	if err := sleep(ctx, r.load/2); err != nil { // what it leaves to do is done
		return err
	}
	if err := r.phase(ctx, quietAgain, wait); err != nil {
		return err
	}
	if err := r.phase(ctx, downloading, r.cl.download); err != nil {
		return err
	}
	if err := sleep(ctx, r.load/2); err != nil {
		return err
	}
	return r.phase(ctx, quietLast, wait)
}

// phase does something while the load goes on.
func (r *stallRun) phase(ctx context.Context, name string, do func(ctx context.Context) (int64, error)) error {
	cpu, err := cpuTime(r.p.PID())
	if err != nil {
		return err
	}
	watched := watchRSS(r.p.PID())
	one := phase{Name: name, from: time.Now()}
	one.Bytes, err = do(ctx)
	one.to = time.Now()
	one.PeakRSS = watched.end()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	used, err := cpuTime(r.p.PID())
	if err != nil {
		return err
	}
	one.Seconds = one.to.Sub(one.from).Seconds()
	one.CPU = (used - cpu).Seconds() / one.Seconds
	r.s.Phases = append(r.s.Phases, one)
	return nil
}
