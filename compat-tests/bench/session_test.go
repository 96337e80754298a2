package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func self(t *testing.T) tool {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return tool{binary: path, prefix: []string{"fake-bench"}}
}

func TestTool(t *testing.T) {
	result, client, err := self(t).run(t.Context(), []string{"put", "--ops", "30"})
	require.NoError(t, err)
	require.Equal(t, 30, result.Ops)
	require.InDelta(t, 900.0, result.Latency.P99, 1e-9)
	require.Len(t, result.Servers, 1)
	require.Positive(t, client, "its own CPU is known, to tell it from others'")

	_, _, err = self(t).run(t.Context(), []string{"fail"})
	require.ErrorContains(t, err, "no such server")
	_, _, err = self(t).run(t.Context(), []string{"garble"})
	require.ErrorContains(t, err, "hello")
	_, _, err = tool{binary: "/nonexistent"}.run(t.Context(), nil)
	require.Error(t, err)
	_, _, err = self(t).run(t.Context(), []string{"put", "--ops", "x"})
	require.Error(t, err, "what is no JSON is no result")
}

func TestAToolThatIsStopped(t *testing.T) {
	log := filepath.Join(t.TempDir(), "asked")
	t.Setenv("FAKE_BENCH_LOG", log)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	hanging := self(t)
	go func() {
		_, _, err := hanging.run(ctx, []string{"hang", "--ops", "1"})
		ended <- err
	}()
	require.Eventually(t, func() bool {
		_, err := os.Stat(log)
		return err == nil
	}, 10*time.Second, time.Millisecond, "it runs")
	cancel(errBroken)
	require.ErrorIs(t, <-ended, errBroken)
}

// TestSession runs a cell on null servers with a fake tool, the whole way from the start of
// the servers to their end.
func TestSession(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "asked")
	t.Setenv("FAKE_BENCH_LOG", log)
	c := etcdCell("get", 20, 50, 1).keys(300)
	r := &rig{tool: self(t), dir: dir}
	s, err := r.open(t.Context(), c, []string{nullName, nullTuned})
	require.NoError(t, err)
	measured, err := s.measure(t.Context(), nullTuned, 4)
	require.NoError(t, err)
	require.Equal(t, 50, measured.Ops)
	require.InDelta(t, 600.0, measured.CPU, 1e-9)
	real := s.(*realSession)
	require.Len(t, real.targets, 2)
	target := real.targets[nullTuned]
	require.NoError(t, s.close())
	_, err = cpuOf(target.pids[0])
	require.ErrorIs(t, err, os.ErrNotExist, "the servers are gone")
	left, err := filepath.Glob(filepath.Join(dir, "run-*"))
	require.NoError(t, err)
	require.Empty(t, left, "and their data")

	text, err := os.ReadFile(log)
	require.NoError(t, err)
	asked := strings.Split(strings.TrimSpace(string(text)), "\n")
	require.Len(t, asked, 6, "each is filled and runs it all once; then a warm-up and the run")
	require.Contains(t, asked[0], "put --protocol etcd")
	require.Contains(t, asked[0], "--fill")
	require.Contains(t, asked[0], "--keys 300 ")
	require.Contains(t, asked[2], "--ops 50 ")
	require.Contains(t, asked[4], "--ops 10 --seed 1004 --grace 1s")
	require.Contains(t, asked[5], "--ops 50 --seed 4 --grace 30s")
	require.Contains(t, asked[5], "--pids "+target.pidList())
	require.Contains(t, asked[5], "--endpoints "+target.addresses[etcdProtocol][0])
}

// TestABusyNeighbourIsForeign has another server of the session work while one is measured: with
// what it put off, it takes the machine from that one.
func TestABusyNeighbourIsForeign(t *testing.T) {
	r := &rig{tool: self(t), dir: t.TempDir()}
	s, err := r.open(t.Context(), etcdCell("get", 1, 1, 1).bare().cold(), []string{nullName, zkNullName})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.close()) }()
	other := s.(*realSession).targets[zkNullName]
	t.Setenv("FAKE_BENCH_NEIGHBOUR", other.pidList()+" "+other.endpoints(zkProtocol))
	rest, err := look(append(other.pids, s.(*realSession).targets[nullName].pids...)) // what the machine has to do besides
	require.NoError(t, err)
	client := cpuOfChildren(t)
	measured, err := s.measure(t.Context(), nullName, 1)
	require.NoError(t, err)
	usual, err := rest.foreign(cpuOfChildren(t) - client)
	require.NoError(t, err)
	neighbour := 0.5 / time.Since(rest.began).Seconds()
	require.Greater(t, measured.Foreign-usual, neighbour/2)
}

// cpuOfChildren is what the children took that have ended: of the test above, the tools.
func cpuOfChildren(t *testing.T) time.Duration {
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_CHILDREN, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func TestAWriteMustBeSynced(t *testing.T) {
	count := 0.0
	syncing := func(n float64) syncSource {
		return func(context.Context) (syncs, error) {
			count += n
			return syncs{count: count}, nil
		}
	}
	own := &target{role: roleEtcd, pids: []int{os.Getpid()}, syncs: syncing(0)}
	s := &realSession{tool: self(t), cell: etcdCell("put", 1, 40, 1), targets: map[string]*target{roleEtcd: own}}
	_, err := s.measure(t.Context(), roleEtcd, 1)
	require.ErrorContains(t, err, "not synced once")
	own.syncs = syncing(4)
	measured, err := s.measure(t.Context(), roleEtcd, 1)
	require.NoError(t, err)
	require.InDelta(t, 10.0, measured.PerSync, 1e-9)
	own.syncs, s.cell.Load = syncing(0), "get"
	_, err = s.measure(t.Context(), roleEtcd, 1)
	require.NoError(t, err, "a read need not be")
	own.null, s.cell.Load = true, "put"
	_, err = s.measure(t.Context(), roleEtcd, 1)
	require.NoError(t, err, "nor what a null server is told")
}

func TestARunThatDoesNotBecomeQuiet(t *testing.T) {
	require.False(t, waitedOut(40*time.Second, 12))
	require.True(t, waitedOut(40*time.Second, 9.9))
}

// TestTheJavaMachineIsWarm shows that ZooKeeper, and it alone, is loaded by time before all run
// the load once.
func TestTheJavaMachineIsWarm(t *testing.T) {
	log := filepath.Join(t.TempDir(), "asked")
	t.Setenv("FAKE_BENCH_LOG", log)
	s := &realSession{tool: self(t), targets: map[string]*target{}}
	asked := func(c cell, role string) []string {
		s.cell, s.targets[role] = c, &target{role: role}
		require.NoError(t, s.warm(t.Context(), role))
		text, err := os.ReadFile(log)
		require.NoError(t, err)
		require.NoError(t, os.Remove(log))
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	lines := asked(zkCell("multi", 1000, 700, 1), roleZooKeeper)
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], "multi --protocol zookeeper")
	require.Contains(t, lines[0], "--duration 1m0s ")
	require.NotContains(t, lines[0], "--ops")
	require.Contains(t, lines[1], "--ops 700 ")
	lines = asked(zkCell("create", 1000, 700, 1), roleZooKeeper)
	require.True(t, strings.HasPrefix(lines[0], "set "), "millions of new znodes would make it another store")
	require.Len(t, asked(zkCell("multi", 1000, 700, 1), roleTriglot), 1)
	require.Len(t, asked(etcdCell("put", 1000, 700, 1), roleEtcd), 1)

	c := zkCell("multi", 1, 700, 1)
	require.Equal(t, time.Second, c.scaled(0.01).Warm)
	require.Greater(t, c.forecast(1, []string{roleTriglot, roleZooKeeper}), c.forecast(1, []string{roleTriglot, roleAgainst})+50*time.Second)
}

func TestASessionThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	c := etcdCell("fail", 1, 1, 1).bare()
	r := &rig{tool: self(t), dir: dir}
	_, err := r.open(t.Context(), c, []string{nullName})
	require.ErrorContains(t, err, "no such server")
	left, err := filepath.Glob(filepath.Join(dir, "run-*"))
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "run-killed"), 0o755))
	require.NoError(t, r.sweep())
	require.NoDirExists(t, filepath.Join(dir, "run-killed"))
}

func TestArguments(t *testing.T) {
	at := &target{addresses: map[string][]string{etcdProtocol: {"a:1", "b:2"}, zkProtocol: {"z:1"}}, pids: []int{3, 4}}
	c := etcdCell("watch-catchup", 1, 5, 1).behind("ring", 77)
	got := strings.Join(c.args(at, phase{ops: 9, seed: 2}), " ")
	require.Equal(t, "watch-catchup --protocol etcd --endpoints a:1,b:2 --pids 3,4 --clients 1 --connections 1 --keys 10000"+
		" --value-bytes 256 --quiet --json - --ops 9 --seed 2 --grace 0s --behind 77", got)
	filling := strings.Join(zkCell("set", 1, 5, 1).many().fillArgs(at), " ")
	require.Contains(t, filling, "create --protocol zookeeper --endpoints z:1")
	require.Contains(t, filling, "--keys 1000000")
	require.Contains(t, filling, "--connections 10 ", "one connection fills slowly")
	at.null = true
	require.Contains(t, strings.Join(zkCell("set", 1, 5, 1).many().fillArgs(at), " "), "--keys 10000 ", "a null server is no store")
	require.Contains(t, strings.Join(httpCell("get", 1, 5, 1).fillArgs(at), " "), "put --protocol etcd", "the gateway's keys are etcd's")
}

func TestACellSaysWhatItIs(t *testing.T) {
	require.Equal(t, "range-stream, 1 client, 100000 keys", etcdCell("range-stream", 1, 10, 3).keys(100_000).describe())
	require.Equal(t, "get, 1000 clients, 1M keys", etcdCell("get", 1000, 10, 3).many().describe())
	require.Equal(t, "range, 1 client, 500 limit", etcdCell("range", 1, 10, 3).with("--limit", "500").describe())
}

func TestLarder(t *testing.T) {
	l := larder{dir: filepath.Join(t.TempDir(), "filled")}
	c := etcdCell("get", 1, 1, 1).many()
	place := l.place(roleTriglot, "abc", c)
	fills := 0
	fill := func(_ context.Context, dir string) error {
		fills++
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "m1", "data"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "m1", "log"), []byte("log"), 0o600))
		return os.WriteFile(filepath.Join(dir, "m1", "data", "rows"), []byte("a million"), 0o600)
	}
	failing := func(context.Context, string) error { return errBroken }
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	require.ErrorIs(t, l.fetch(t.Context(), place, first, failing), errBroken)
	require.NoDirExists(t, place, "half a filling is none")
	require.NoError(t, l.fetch(t.Context(), place, first, fill))
	require.NoError(t, os.WriteFile(filepath.Join(first, "m1", "data", "rows"), []byte("spoilt"), 0o600))
	require.NoError(t, l.fetch(t.Context(), place, second, fill))
	require.Equal(t, 1, fills)
	text, err := os.ReadFile(filepath.Join(second, "m1", "data", "rows"))
	require.NoError(t, err)
	require.Equal(t, "a million", string(text), "what a cell does to its copy stays there")
	require.NoFileExists(t, filepath.Join(second, "m1", "log"))
	info, err := os.Stat(filepath.Join(second, "m1", "data"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	other := l.place(roleEtcd, "3.7", c)
	require.NoError(t, os.MkdirAll(other, 0o755))
	require.NoError(t, l.prune("abc"))
	require.DirExists(t, place)
	require.NoError(t, l.prune("def", "ghi"))
	require.NoDirExists(t, place, "an older build's")
	require.DirExists(t, other)
}
