package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestSmall measures all of it with little, without peers, and again: then nothing is left
// to measure.
func TestSmall(t *testing.T) {
	dir := t.TempDir()
	args := []string{
		"-out", filepath.Join(dir, "out"), "-filled", filepath.Join(dir, "filled"), "-faces", "triglot,znodes",
		"-keys", "1000,10000", "-revisions", "6000", "-stall-keys", "2000", "-load", "300ms",
	}
	c, err := parseFlags(args, new(bytes.Buffer))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	require.NoError(t, run(ctx, c))

	m, err := readJSON[memory](filepath.Join(dir, "out", "memory-znodes-10000.json"))
	require.NoError(t, err)
	require.Equal(t, 10_000, m.Keys)
	require.Positive(t, m.IdleRSS)
	require.GreaterOrEqual(t, m.LoadedRSS, m.IdleRSS/2)
	require.Greater(t, m.Filled.DiskBytes, int64(10_000*valueBytes))
	require.Len(t, m.Starts, len(startNames))
	require.Positive(t, m.Puts.Calls)
	require.Zero(t, m.Puts.Failed)

	f, err := readJSON[filling](filepath.Join(dir, "filled", "triglot-2000-6000.json"))
	require.NoError(t, err)
	require.EqualValues(t, 6000, f.Revision, "as many revisions as were asked for")

	s, err := readJSON[stall](filepath.Join(dir, "out", "stall-triglot-2000-6000.json"))
	require.NoError(t, err)
	require.Len(t, s.Phases, 5)
	require.Greater(t, s.of(downloading).Bytes, int64(2000*valueBytes))
	require.Positive(t, s.of(quiet).P99)
	require.Positive(t, s.toQuiet(compaction))

	text, err := os.ReadFile(filepath.Join(dir, "out", "found.json"))
	require.NoError(t, err)
	var all []found
	require.NoError(t, json.Unmarshal(text, &all))
	require.Len(t, all, 2*2*(1+len(startNames))+2+2, "memory and starts of two sizes of two stores, flatness, stalls")

	began := time.Now()
	require.NoError(t, run(ctx, c))
	require.Less(t, time.Since(began), time.Second, "all results were kept")
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
	c := &config{filled: t.TempDir(), load: 300 * time.Millisecond}
	_, _, err := c.filledStore(t.Context(), kind)
	require.ErrorIs(t, err, errDeaf)
	require.NoFileExists(t, filepath.Join(c.filled, "triglot-10.json"))
}

func TestRateThatCannotBeRead(t *testing.T) {
	c := &config{out: t.TempDir()}
	require.NoError(t, os.Mkdir(filepath.Join(c.out, rateFile), 0o755))
	_, err := c.commonRate(t.Context())
	require.Error(t, err)
}

func TestToQuietIsToTheMedian(t *testing.T) {
	s := &stall{}
	for name, p99 := range map[string]float64{quiet: 900, compaction: 600, quietAgain: 400, downloading: 200, quietLast: 100} {
		s.Phases = append(s.Phases, phase{Name: name, latency: latency{P99: p99}})
	}
	require.Equal(t, 1.5, s.toQuiet(compaction))
	require.Equal(t, 0.5, s.toQuiet(downloading))
	require.Zero(t, (&stall{}).toQuiet(compaction))
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
	for _, wrong := range [][]string{{"-only", "nothing"}, {"-keys", "0"}, {"-faces", "zookeeper"}, {"-load", "0s"}, {"more"}, {"-revisions", "10", "-stall-keys", "11"}} {
		_, err := parseFlags(wrong, new(bytes.Buffer))
		require.Error(t, err, "%v", wrong)
	}
	c, err := parseFlags([]string{"-keys", "1000,10000000"}, new(bytes.Buffer))
	require.NoError(t, err)
	require.Len(t, c.stores, 5, "no etcd of ten million")
	require.Len(t, c.stallServers, 2)
}
