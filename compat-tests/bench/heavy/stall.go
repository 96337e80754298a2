package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/triglot/triglot/compat-tests/bench/heavy/heavybars"
	"github.com/triglot/triglot/compat-tests/server"
)

// stall is what puts feel of the work in the background.
type stall struct {
	origin
	Store     string  `json:"store"`
	Face      string  `json:"face"`
	Keys      int     `json:"keys"`
	Revisions int     `json:"revisions"`
	Filled    filling `json:"filled"`
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
	compaction  = heavybars.Compaction
	quietAgain  = "quiet again"
	downloading = heavybars.Download
	quietLast   = "quiet at last"
)

// phaseNames are in the order in which they are measured.
var phaseNames = []string{quiet, compaction, quietAgain, downloading, quietLast}

// The steady load is this part of what the slowest server does: server and load share the
// processors, and at half there are none to spare beside anything else.
const steadyPart = 0.25

// of is a phase by its name, nil if there is none.
func (s *stall) of(name string) *phase {
	if i := slices.IndexFunc(s.Phases, func(p phase) bool { return p.Name == name }); i >= 0 {
		return &s.Phases[i]
	}
	return nil
}

// toQuiet is the p99 of a phase to that of the quiet ones, of which it takes the median: one
// by itself is as often twice another. There is none if a phase is missing, or had no puts.
func (s *stall) toQuiet(name string) (ratio float64, measured bool) {
	p99 := func(name string) float64 {
		p := s.of(name)
		if p == nil || p.Calls == 0 {
			return 0
		}
		return max(1, p.P99)
	}
	quiets := []float64{p99(quiet), p99(quietAgain), p99(quietLast)}
	if p99(name) == 0 || slices.Contains(quiets, 0) {
		return 0, false
	}
	return p99(name) / heavybars.SpreadOf(quiets...).Median, true
}

// most is the most memory that the server had at any time, the filling included.
func (s *stall) most() int64 {
	most := s.Filled.PeakRSS
	for _, p := range s.Phases {
		most = max(most, p.PeakRSS)
	}
	return most
}

// currentStall reports whether a run need not be measured again.
func (c *config) currentStall(s storeKind, rate float64, one *stall) bool {
	return one.origin == c.measuredNow(s) && one.Rate == rate && c.fits(s, one.Filled)
}

func stallName(s storeKind, run int) string { return fmt.Sprintf("stall-%v-run%d", s, run) }

// measureStalls measures the servers in turn, each so many times: what else happens on the
// machine meets all alike.
func measureStalls(ctx context.Context, c *config) error {
	if len(c.stallServers) == 0 {
		return nil
	}
	rate, err := c.commonRate(ctx)
	if err != nil {
		return err
	}
	for run := 1; run <= c.runs; run++ {
		for _, s := range c.stallServers {
			current := func(one *stall) bool { return c.currentStall(s, rate, one) }
			measure := func() (*stall, error) { return measureStall(ctx, c, s, rate) }
			if err := keep(c.out, stallName(s, run), current, measure); err != nil {
				return fmt.Errorf("stall of %v, run %d: %w", s, run, err)
			}
		}
	}
	return nil
}

// rate is a load that all servers can bear.
type rate struct {
	// Of is the origin by the name of the store.
	Of   map[string]origin `json:"of"`
	Puts float64           `json:"puts_per_second"`
}

// rateFile keeps the rate between runs, so that all servers with as large a store have the same.
func (c *config) rateFile(s storeKind) string {
	return filepath.Join(c.out, fmt.Sprintf("rate-%d-%d.json", s.keys, s.revisions))
}

// keptRate is a rate that need not be measured again, 0 if there is none: that of the command
// line, or one of these servers, as they are now, and perhaps others.
func (c *config) keptRate(servers ...storeKind) (float64, error) {
	if c.rate > 0 {
		return c.rate, nil
	}
	known, err := readJSON[rate](c.rateFile(servers[0]))
	if err != nil || known == nil {
		return 0, err
	}
	for _, s := range servers {
		if known.Of[s.String()] != c.measuredNow(s) {
			return 0, nil
		}
	}
	return known.Puts, nil
}

// commonRate is steadyPart of what the slowest server takes.
func (c *config) commonRate(ctx context.Context) (float64, error) {
	if puts, err := c.keptRate(c.stallServers...); err != nil || puts > 0 {
		return puts, err
	}
	found := rate{Of: map[string]origin{}}
	for _, s := range c.stallServers {
		full, err := c.capacityOf(ctx, s)
		if err != nil {
			return 0, fmt.Errorf("what %v can do: %w", s, err)
		}
		logf("%v takes %.0f puts a second", s, full)
		if puts := full * steadyPart; found.Puts == 0 || puts < found.Puts {
			found.Puts = puts
		}
		found.Of[s.String()] = c.measuredNow(s)
	}
	return found.Puts, writeJSON(c.rateFile(c.stallServers[0]), found)
}

func (c *config) capacityOf(ctx context.Context, s storeKind) (full float64, err error) {
	dir, _, remove, err := c.copied(ctx, s)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	p, err := c.start(ctx, s, dir)
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
	dir, filled, remove, err := c.copied(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	p, err := c.start(ctx, s, dir)
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
		origin: c.measuredNow(s), Filled: *filled,
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
