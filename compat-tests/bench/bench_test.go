package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// TestMain lets the test binary be the null server, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && isNull(os.Args[1]) {
		fail(serveNull(os.Args[1]))
		return
	}
	os.Exit(m.Run())
}

func TestNullServerIsMeasured(t *testing.T) {
	c, err := parseFlags([]string{"-servers", "null,null", "-kinds", "put,get", "-clients", "20", "-keys", "50", "-ops", "500"}, io.Discard)
	require.NoError(t, err)
	servers, stop, err := startAll(t.Context(), c)
	t.Cleanup(func() { require.NoError(t, stop()) })
	require.NoError(t, err)
	require.Len(t, servers, 2)
	require.Equal(t, "null", servers[0].name)
	require.Equal(t, "null#2", servers[1].name)

	first := servers[0]
	require.NoError(t, first.loader.fill(t.Context()))
	require.Equal(t, int64(50), revisionOf(t, first), "fill writes each key once")

	s, err := measure(t.Context(), first, cell{Op: opPut, Clients: 20, Ops: 500}, 3)
	require.NoError(t, err)
	require.Equal(t, int64(550), revisionOf(t, first), "exactly the calls asked for are made")
	require.Equal(t, "null", s.Server)
	require.Equal(t, 3, s.Round)
	require.Positive(t, s.OpsPerSecond)
	require.LessOrEqual(t, s.P50Micros, s.P99Micros)
	require.Positive(t, s.P50Micros)

	_, err = measure(t.Context(), first, cell{Op: opGet, Clients: 20, Ops: 500}, 0)
	require.NoError(t, err, "every key is there")
	_, err = measure(t.Context(), servers[1], cell{Op: opGet, Clients: 20, Ops: 500}, 0)
	require.ErrorContains(t, err, "got 0 rows", "a get that finds nothing must not count as one")
	_, err = measure(t.Context(), first, cell{Op: "dance", Clients: 1, Ops: 1}, 0)
	require.ErrorContains(t, err, "dance")
}

func TestZooKeeperNullServerIsMeasured(t *testing.T) {
	for _, face := range []string{"zk", "zk-stock"} {
		t.Run(face, func(t *testing.T) { measureNullZK(t, face) })
	}
}

func measureNullZK(t *testing.T, face string) {
	c, err := parseFlags([]string{"-face", face, "-servers", "null,null", "-clients", "20", "-conns", "3", "-keys", "50", "-ops", "500"}, io.Discard)
	require.NoError(t, err)
	servers, stop, err := startAll(t.Context(), c)
	t.Cleanup(func() { require.NoError(t, stop()) })
	require.NoError(t, err)
	first := servers[0]
	_, err = measure(t.Context(), first, cell{Op: opGet, Clients: 20, Ops: 500}, 0)
	require.Error(t, err, "a get that finds nothing must not count as one")

	require.NoError(t, first.loader.fill(t.Context()))
	for _, op := range []operation{opSet, opCreate, opGet} {
		s, err := measure(t.Context(), first, cell{Op: op, Clients: 20, Ops: 500}, 3)
		require.NoError(t, err, "%s", op)
		require.Positive(t, s.OpsPerSecond)
	}
	_, err = measure(t.Context(), first, cell{Op: opPut, Clients: 1, Ops: 1}, 0)
	require.ErrorContains(t, err, "put")
}

func TestZooKeeperConnectionThatBreaks(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	wg.Go(func() {
		nc, err := listener.Accept()
		if err != nil {
			return
		}
		frame := make([]byte, 49)
		_, _ = io.ReadFull(nc, frame)
		_, _ = nc.Write(append([]byte{0, 0, 0, 37}, make([]byte, 37)...))
		_ = nc.Close()
	})
	_, err = dialZK(t.Context(), listener.Addr().String())
	require.ErrorContains(t, err, "no session")
	_, err = newZKClient(t.Context(), "127.0.0.1:1", 2, newData(1, 1))
	require.ErrorContains(t, err, "refused")
}

func TestParseMntr(t *testing.T) {
	found, err := parseMntr("zk_version\t3.9\nzk_sum_fsynctime\t250\nzk_cnt_fsynctime\t50\nzk_max_fsynctime\t9\n")
	require.NoError(t, err)
	require.Equal(t, syncs{count: 50, total: 250 * time.Millisecond}, found)
	_, err = parseMntr("zk_cnt_fsynctime\tmany\n")
	require.ErrorContains(t, err, "many")
}

func revisionOf(t *testing.T, s *target) int64 {
	t.Helper()
	resp, err := etcdserverpb.NewKVClient(s.loader.client.(*etcdClient).conns[0]).Range(t.Context(), &etcdserverpb.RangeRequest{Key: []byte("x")})
	require.NoError(t, err)
	return resp.Header.Revision
}

func TestRunEndsAtTheFirstError(t *testing.T) {
	d := newData(10, 16)
	c, err := newEtcdClient(t.Context(), "127.0.0.1:1", 2, d) // nothing listens there
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.close()) })
	l := &loader{data: d, client: c}
	_, err = l.measure(t.Context(), opPut, 10, 1000)
	require.ErrorContains(t, err, "Unavailable")
}

func TestUsageOfThisProcess(t *testing.T) {
	before, err := usageOf(os.Getpid())
	require.NoError(t, err)
	require.Positive(t, before.residentBytes)
	require.Positive(t, before.switches)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, bytes.Repeat([]byte("x"), 1<<20), 0o600))
	for spent := time.Now(); time.Since(spent) < 50*time.Millisecond; { // burn CPU, to see it counted
	}
	after, err := usageOf(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, after.writeCalls, before.writeCalls)
	require.Greater(t, after.cpu(), before.cpu())
}

func TestParseStat(t *testing.T) {
	// The command's name is hostile: it holds spaces and a parenthesis.
	user, system, err := parseStat([]byte("42 (a b) c) S 1 42 42 0 -1 4194560 100 0 0 0 123 45 6 7 20 0 8 0 99 1 2"))
	require.NoError(t, err)
	require.Equal(t, 1230*time.Millisecond, user)
	require.Equal(t, 450*time.Millisecond, system)
	for _, bad := range []string{"", "42 (x", "42 (x) S 1 2", "42 (x) S 1 42 42 0 -1 4194560 100 0 0 0 many 45"} {
		_, _, err := parseStat([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
}

func TestField(t *testing.T) {
	text := []byte("VmRSSx:\t1 kB\nVmRSS:\t  2048 kB\nempty:\nword: some\n")
	require.Equal(t, int64(2048), field(text, "VmRSS"))
	require.Zero(t, field(text, "RSS"))
	require.Zero(t, field(text, "empty"))
	require.Zero(t, field(text, "word"))
}

func TestOrderAlternates(t *testing.T) {
	a, b := &target{name: "a"}, &target{name: "b"}
	require.Equal(t, []*target{a, b}, order([]*target{a, b}, 0))
	require.Equal(t, []*target{b, a}, order([]*target{a, b}, 1))
	require.Equal(t, []*target{a, b}, order([]*target{a, b}, 2))
}

func TestOpsOf(t *testing.T) {
	require.Equal(t, 3000, opsOf(60000, 1))
	require.Equal(t, 6000, opsOf(60000, 10))
	require.Equal(t, 60000, opsOf(60000, 100))
	require.Equal(t, 60000, opsOf(60000, 1000))
	require.Equal(t, 1, opsOf(1, 1))
}

func TestSpread(t *testing.T) {
	require.Equal(t, spread{}, spreadOf(nil))
	require.Equal(t, spread{Median: 2, Min: 1, Max: 9}, spreadOf([]float64{9, 1, 2}))
	require.Equal(t, spread{Median: 3, Min: 1, Max: 9}, spreadOf([]float64{9, 1, 2, 4}))
}

func TestComparisonsArePairedByRound(t *testing.T) {
	point := cell{Op: opPut, Clients: 10, Ops: 100}
	r := newReport(nil)
	// The machine is twice as slow in the second round: the ratio stays.
	r.Samples = []sample{
		{cell: point, Server: "a", Round: 0, CPUMicros: 100, LaterMicros: 100, OpsPerSecond: 10, P99Micros: 1},
		{cell: point, Server: "b", Round: 0, CPUMicros: 50, OpsPerSecond: 20, P99Micros: 3},
		{cell: point, Server: "null", Round: 0, CPUMicros: 20},
		{cell: point, Server: "null", Round: 1, CPUMicros: 40},
		{cell: point, Server: "b", Round: 1, CPUMicros: 100, OpsPerSecond: 10, P99Micros: 6},
		{cell: point, Server: "a", Round: 1, CPUMicros: 200, LaterMicros: 200, OpsPerSecond: 5, P99Micros: 2},
	}
	servers := []string{"a", "b", "null"}
	r.compare(servers, []cell{point})
	require.Len(t, r.Comparisons, 2)
	b := r.Comparisons[0]
	require.Equal(t, "b", b.Server)
	require.Equal(t, spread{Median: 0.5, Min: 0.5, Max: 0.5}, b.CPU)
	require.InDelta(t, 0.25, b.PooledCPU, 1e-9, "what was put off counts here")
	require.Equal(t, spread{Median: 2, Min: 2, Max: 2}, b.OpsPerSecond)
	require.Equal(t, spread{Median: 3, Min: 3, Max: 3}, b.P99)
	require.Len(t, r.Floors, 2)
	require.Equal(t, spread{Median: 120, Min: 80, Max: 160}, r.Floors[0].CPUMicros)
	require.Equal(t, spread{Median: 45, Min: 30, Max: 60}, r.Floors[1].CPUMicros)

	var printed bytes.Buffer
	require.NoError(t, r.print(&printed, servers, []cell{point}))
	require.Contains(t, printed.String(), "b : a")
	require.Contains(t, printed.String(), "0.50 [0.50-0.50]")
	path := filepath.Join(t.TempDir(), "report.json")
	require.NoError(t, r.write(path))
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(written), `"cpu_us_per_op": 50`)
}

func TestFlagsThatMakeNoSense(t *testing.T) {
	for _, args := range [][]string{
		{"-clients", "0"}, {"-clients", "a"}, {"-pairs", "0"}, {"-ops", "-1"}, {"-dance"}, {"extra"}, {"-face", "smb"},
	} {
		_, err := parseFlags(args, io.Discard)
		require.Error(t, err, "%v", args)
	}
	_, _, err := startEtcd(t.Context(), "zookeeper", "", t.TempDir())
	require.ErrorContains(t, err, "zookeeper")
	_, _, err = startZK(t.Context(), "etcd", "", t.TempDir())
	require.ErrorContains(t, err, "etcd")
}

func TestParseSyncs(t *testing.T) {
	text := syncMetric + `_bucket{le="0.1"} 7` + "\n" + syncMetric + "_sum 0.25\n" + syncMetric + "_count 50\nother 3\n"
	found, err := parseSyncs(strings.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, syncs{count: 50, total: 250 * time.Millisecond}, found)
	_, err = parseSyncs(strings.NewReader(syncMetric + "_count many\n"))
	require.ErrorContains(t, err, "many")
}
