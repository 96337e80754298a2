package main

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/triglot/triglot/compat-tests/bench/heavy/heavybars"
	"github.com/triglot/triglot/compat-tests/server"
)

// TestSmall measures all of it with little, without peers, and again: then nothing is left
// to measure.
func TestSmall(t *testing.T) {
	fakeEtcd(t, "9.9.9")
	dir := t.TempDir()
	args := []string{
		"-out", filepath.Join(dir, "out"), "-filled", filepath.Join(dir, "filled"), "-faces", "triglot,znodes",
		"-keys", "1000,10000", "-revisions", "6000", "-stall-keys", "2000", "-load", "300ms", "-runs", "3",
	}
	c, err := parseFlags(args, new(bytes.Buffer))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	require.NoError(t, run(ctx, c))

	m, err := readJSON[memory](filepath.Join(dir, "out", "memory-znodes-10000.json"))
	require.NoError(t, err)
	require.Equal(t, 10_000, m.Keys)
	require.Contains(t, m.Build, "triglot ")
	require.Equal(t, m.Build, m.Filled.Build)
	require.Positive(t, m.IdleRSS)
	require.GreaterOrEqual(t, m.LoadedRSS, m.IdleRSS/2)
	require.Greater(t, m.Filled.DiskBytes, int64(10_000*valueBytes))
	require.Len(t, m.Starts, len(heavybars.Starts))
	require.Positive(t, m.Puts.Calls)
	require.Zero(t, m.Puts.Failed)

	f, err := readJSON[filling](filepath.Join(dir, "filled", "triglot-2000-6000.json"))
	require.NoError(t, err)
	require.EqualValues(t, 6000, f.Revision, "as many revisions as were asked for")

	s, err := readJSON[stall](filepath.Join(dir, "out", "stall-triglot-2000-6000-run3.json"))
	require.NoError(t, err)
	require.Len(t, s.Phases, 5)
	require.Greater(t, s.of(downloading).Bytes, int64(2000*valueBytes))
	require.Positive(t, s.of(quiet).P99)
	ratio, measured := s.toQuiet(compaction)
	require.True(t, measured)
	require.Positive(t, ratio)

	text, err := os.ReadFile(filepath.Join(dir, "out", "heavy.md"))
	require.NoError(t, err)
	require.Contains(t, string(text), m.Build, "the page names the build")
	require.Contains(t, string(text), "etcd 9.9.9")
	require.Contains(t, string(text), "| triglot | 6000 | 3 |")
	require.Equal(t, len(heavybars.All()), strings.Count(string(text), heavybars.Unmeasured), "the bars are about larger stores")

	before := modified(t, dir)
	require.NoError(t, run(ctx, c))
	require.Equal(t, before, modified(t, dir), "all results were kept")
}

// modified are the times of all results and fillings, without the reports.
func modified(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	times := map[string]time.Time{}
	for _, pattern := range []string{"out/*-*.json", "filled/*.json"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, paths)
		for _, path := range paths {
			info, err := os.Stat(path)
			require.NoError(t, err)
			times[path] = info.ModTime()
		}
	}
	return times
}

// fakeEtcd has a program that tells a version stand for etcd.
func fakeEtcd(t *testing.T, version string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "etcd")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\necho 'etcd Version: "+version+"'\n"), 0o755))
	t.Setenv("ETCD_BIN", path)
}

// TestAlone shows that a measurement waits for the lock of make bench, and has it until its end.
func TestAlone(t *testing.T) {
	fakeEtcd(t, "9.9.9")
	dir := t.TempDir()
	c, err := parseFlags([]string{"-out", filepath.Join(dir, "out"), "-filled", filepath.Join(dir, "filled"), "-only", "report"}, new(bytes.Buffer))
	require.NoError(t, err)
	fifo := filepath.Join(dir, "etcd") // the run reads its binary, and so waits for the test
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	c.triglot = fifo
	ended := make(chan error, 1)
	go func() { ended <- runAlone(c) }()
	var w *os.File
	require.Eventually(t, func() bool {
		var err error
		w, err = os.OpenFile(fifo, os.O_WRONLY|unix.O_NONBLOCK, 0) // fails as long as nobody reads
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	lock, err := os.Open(filepath.Join(dir, "lock"))
	require.NoError(t, err)
	defer func() { require.NoError(t, lock.Close()) }()
	require.ErrorIs(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK, "it holds the lock")
	require.NoError(t, w.Close())
	require.NoError(t, <-ended)
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB), "no longer")
}

// withBuilds makes a config whose builds are these.
func withBuilds(t *testing.T, triglot, etcd string, args ...string) *config {
	t.Helper()
	c, err := parseFlags(append([]string{"-out", t.TempDir()}, args...), new(bytes.Buffer))
	require.NoError(t, err)
	c.builds = map[server.Target]build{server.Triglot: {id: triglot}, server.Etcd: {id: etcd}}
	return c
}

var (
	big      = storeKind{face: faceByName["triglot"], keys: 10_000_000}
	history  = storeKind{face: faceByName["triglot"], keys: 1_000_000, revisions: 5_000_000}
	etcdsBig = storeKind{face: faceByName["etcd"], keys: 10_000_000}
)

// TestWhatIsKept shows that what another build, or other flags, made is made again.
func TestWhatIsKept(t *testing.T) {
	c := withBuilds(t, "triglot new", "etcd 3.7.3")
	m := &memory{origin: c.measuredNow(big), Filled: filling{origin: c.filledNow(big)}, Starts: map[string]float64{heavybars.ColdAfterKill: 1}}
	require.True(t, c.currentMemory(big, m))
	require.True(t, withBuilds(t, "triglot new", "etcd 4").currentMemory(big, m), "the peer's build does not matter")
	for _, other := range []*config{
		withBuilds(t, "triglot newer", "etcd 3.7.3"),
		withBuilds(t, "triglot newer", "etcd 3.7.3", "-reuse-fills"),
		withBuilds(t, "triglot new", "etcd 3.7.3", "-load", "10s"),
	} {
		require.False(t, other.currentMemory(big, m))
	}
	m.Starts = nil
	require.False(t, c.currentMemory(big, m), "the cold starts are missing")
	require.True(t, withBuilds(t, "triglot new", "etcd 3.7.3", "-cold=false").currentMemory(big, m))

	one := &stall{origin: c.measuredNow(history), Rate: 4000, Filled: filling{origin: c.filledNow(history), Revision: 5_000_000}}
	require.True(t, c.currentStall(history, 4000, one))
	require.False(t, c.currentStall(history, 3000, one))
	one.Filled.Revision = 4_007_814
	require.False(t, c.currentStall(history, 4000, one), "too few revisions")
}

func TestWhichFillingsFit(t *testing.T) {
	c, reuse := withBuilds(t, "triglot new", "etcd 3.7.3"), withBuilds(t, "triglot new", "etcd 3.7.3", "-reuse-fills")
	old := filling{origin: origin{Method: fillMethod, Build: "triglot old"}}
	require.False(t, c.fits(big, old))
	require.True(t, reuse.fits(big, old))
	require.False(t, reuse.fits(history, old), "not with so many revisions")
	require.False(t, reuse.fits(etcdsBig, filling{origin: origin{Method: fillMethod, Build: "etcd 3.6.0"}}))
	require.True(t, c.fits(etcdsBig, filling{origin: origin{Method: fillMethod, Build: "etcd 3.7.3"}}))
	require.False(t, c.fits(etcdsBig, filling{}), "nobody knows who filled it")
}

// TestRateOfOtherBuilds shows that a rate is of the builds that it was measured with; one of
// more servers will do.
func TestRateOfOtherBuilds(t *testing.T) {
	c := withBuilds(t, "triglot new", "etcd 3.7.3")
	of := map[string]origin{}
	for _, s := range c.stallServers {
		of[s.String()] = c.measuredNow(s)
	}
	require.NoError(t, writeJSON(c.rateFile(history), rate{Of: of, Puts: 4000}))
	for want, other := range map[float64]*config{
		4000: withBuilds(t, "triglot new", "etcd 9", "-faces", "triglot"), 0: withBuilds(t, "triglot newer", "etcd 3.7.3"),
		5: withBuilds(t, "triglot newer", "etcd 3.7.3", "-rate", "5"),
	} {
		other.out = c.out
		puts, err := other.keptRate(other.stallServers...)
		require.NoError(t, err)
		require.Equal(t, want, puts)
	}
	require.NoError(t, writeJSON(c.rateFile(history), 4015.8))
	puts, err := c.keptRate(history)
	require.NoError(t, err)
	require.Zero(t, puts, "an older shape is as good as none")
}

// deaf is a client of a server that takes nothing.
type deaf struct{}

var errDeaf = errors.New("no")

func (deaf) fill(context.Context, int) error        { return errDeaf }
func (deaf) put(context.Context, int, []byte) error { return errDeaf }
func (deaf) close() error                           { return nil }

// TestFailedFillIsNoFilling shows that a store is not kept if filling it failed.
func TestFailedFillIsNoFilling(t *testing.T) {
	kind := storeKind{face: faceByName["triglot"], keys: 10}
	kind.dial = func(context.Context, *server.Process) (client, error) { return deaf{}, nil }
	c := &config{filled: t.TempDir(), load: 300 * time.Millisecond} // builds none: the default one is started
	_, _, err := c.filledStore(t.Context(), kind)
	require.ErrorIs(t, err, errDeaf)
	require.NoFileExists(t, filepath.Join(c.filled, "triglot-10.json"))
}

func TestRateThatCannotBeRead(t *testing.T) {
	c := withBuilds(t, "triglot new", "etcd 3.7.3")
	require.NoError(t, os.Mkdir(c.rateFile(history), 0o755))
	_, err := c.commonRate(t.Context())
	require.Error(t, err)
}

// stallOf is a run with the p99 of these phases, in microseconds.
func stallOf(c *config, p99 map[string]float64) *stall {
	s := &stall{
		origin: c.measuredNow(history), Store: history.String(), Face: "triglot", Revisions: history.revisions, Rate: c.rate,
		Filled: filling{origin: c.filledNow(history), Revision: int64(history.revisions)},
	}
	for _, name := range phaseNames {
		if took, found := p99[name]; found {
			s.Phases = append(s.Phases, phase{Name: name, latency: latency{Calls: 1, P99: took}, PeakRSS: 512 << 20})
		}
	}
	return s
}

func TestToQuietIsToTheMedian(t *testing.T) {
	c := withBuilds(t, "triglot new", "etcd 3.7.3")
	p99 := map[string]float64{quiet: 900, compaction: 600, quietAgain: 400, downloading: 200, quietLast: 100}
	s := stallOf(c, p99)
	ratio, measured := s.toQuiet(compaction)
	require.True(t, measured)
	require.Equal(t, 1.5, ratio)
	ratio, _ = s.toQuiet(downloading)
	require.Equal(t, 0.5, ratio)
	for _, missing := range []string{quietAgain, compaction} {
		rest := maps.Clone(p99)
		delete(rest, missing)
		_, measured := stallOf(c, rest).toQuiet(compaction)
		require.False(t, measured, "without %s", missing)
	}
	s.of(quiet).Calls = 0
	_, measured = s.toQuiet(compaction)
	require.False(t, measured, "no put was made in the quiet")
}

// verdicts are the bars of a report by name.
func verdicts(t *testing.T, c *config) map[string]found {
	t.Helper()
	require.NoError(t, writeReport(c))
	all, err := readJSON[[]found](filepath.Join(c.out, "found.json"))
	require.NoError(t, err)
	require.Len(t, *all, len(heavybars.All()))
	byName := map[string]found{}
	for _, one := range *all {
		byName[one.Bar] = one
	}
	return byName
}

// TestStallsAreJudgedByThree shows that the median of at least three runs counts, of memory
// the most, and that what is not measured is not met.
func TestStallsAreJudgedByThree(t *testing.T) {
	c := withBuilds(t, "triglot new", "etcd 3.7.3", "-rate", "4000")
	compacted, downloaded, resident := heavybars.Stall(history.String(), compaction), heavybars.Stall(history.String(), downloading), heavybars.Resident(history.String())
	for run, p99 := range []float64{100, 200, 900} {
		require.Equal(t, heavybars.Unmeasured, verdicts(t, c)[compacted].Verdict)
		s := stallOf(c, map[string]float64{quiet: 100, quietAgain: 100, quietLast: 100, compaction: p99})
		if run == 1 {
			s.Phases[1].PeakRSS = 2 << 30
		}
		require.NoError(t, writeJSON(filepath.Join(c.out, stallName(history, run+1)+".json"), s))
	}
	now := verdicts(t, c)
	require.Equal(t, found{Bar: compacted, Limit: 1.5, Verdict: heavybars.NotMet, Value: &heavybars.Spread{Median: 2, Least: 1, Most: 9}}, now[compacted])
	require.Equal(t, heavybars.Unmeasured, now[downloaded].Verdict, "there is no such phase")
	require.Equal(t, heavybars.NotMet, now[resident].Verdict, "memory beside a compaction counts")
	require.Equal(t, 2048.0, now[resident].Value.Median)
	c.builds[server.Triglot] = build{id: "triglot newer"}
	require.Equal(t, heavybars.Unmeasured, verdicts(t, c)[compacted].Verdict, "of another build")
}

// TestMemoryIsJudgedAtItsMost shows that the filling counts too, that etcd's disk of ten
// million keys is beside Triglot's, and that the report names a borrowed filling.
func TestMemoryIsJudgedAtItsMost(t *testing.T) {
	c := withBuilds(t, "triglot new", "etcd 3.7.3", "-reuse-fills", "-cold=false", "-keys", "5")
	for s, disk := range map[*storeKind]int64{&big: 60, &etcdsBig: 100} {
		m := &memory{origin: c.measuredNow(*s), Store: s.String(), Face: s.name, Keys: s.keys, IdleRSS: 1, LoadedRSS: 1}
		m.Filled = filling{origin: c.filledNow(*s), PeakRSS: 2 << 30, DiskBytes: disk}
		if s == &big {
			m.Filled.Build = "triglot old"
		}
		require.NoError(t, writeJSON(filepath.Join(c.out, memoryName(*s)+".json"), m))
	}
	now := verdicts(t, c)
	require.Equal(t, heavybars.NotMet, now[heavybars.Resident(big.String())].Verdict)
	require.Equal(t, 0.6, now[heavybars.Disk(big.String())].Value.Median)
	text, err := os.ReadFile(filepath.Join(c.out, "heavy.md"))
	require.NoError(t, err)
	require.Contains(t, string(text), "- triglot-10000000 was filled by another build, triglot old")
	require.Contains(t, string(text), "triglot new beside etcd 3.7.3")
}

func TestScattered(t *testing.T) {
	for _, keys := range []int{1, 2, 1000, 20_000} {
		seen := map[int]bool{}
		for i := range 2 * keys {
			seen[scattered(i, keys)] = true
		}
		require.Len(t, seen, keys)
	}
}

func TestLatencyWithin(t *testing.T) {
	begin := time.Now()
	var calls []call
	for i := range 1000 {
		calls = append(calls, call{at: begin.Add(time.Duration(i) * time.Millisecond), took: time.Duration(i) * time.Microsecond, failed: i == 150})
	}
	l := latencyWithin(calls, begin.Add(100*time.Millisecond), begin.Add(200*time.Millisecond))
	require.Equal(t, latency{Calls: 100, Failed: 1, P50: 150, P99: 199, P999: 199, Max: 199}, l)
}

func TestFlags(t *testing.T) {
	for _, wrong := range [][]string{{"-only", "nothing"}, {"-keys", "0"}, {"-runs", "0"}, {"-rate", "-1"}, {"-rate", "Inf"}, {"-rate", "NaN"}, {"-faces", "zookeeper"}, {"-load", "0s"}, {"more"}, {"-revisions", "10", "-stall-keys", "11"}} {
		_, err := parseFlags(wrong, new(bytes.Buffer))
		require.Error(t, err, "%v", wrong)
	}
	c, err := parseFlags([]string{"-keys", "1000,10000000"}, new(bytes.Buffer))
	require.NoError(t, err)
	require.Len(t, c.stores, 6, "etcd of ten million, too")
	require.Len(t, c.stallServers, 2)
}
