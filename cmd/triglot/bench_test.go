package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/bench/report"
)

// runBench runs triglot bench, and returns its exit status and what it says.
func runBench(args ...string) (status int, stdout, stderr string) {
	var out, problems bytes.Buffer
	p := &process{args: append([]string{"triglot", "bench"}, args...), stdout: &out, stderr: &problems}
	status = p.run()
	return status, out.String(), problems.String()
}

// benchResult runs a load that is to succeed.
func benchResult(t *testing.T, args ...string) *report.Result {
	t.Helper()
	status, out, problems := runBench(append(args, "--json=-", "--quiet")...)
	require.Zero(t, status, "%s%s", out, problems)
	require.Empty(t, problems)
	var r report.Result
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Zero(t, r.Errors)
	require.Positive(t, r.OpsPerSecond)
	require.LessOrEqual(t, r.Latency.P50, r.Latency.Max)
	require.Positive(t, r.Latency.P50)
	require.NotEmpty(t, r.Timeline)
	return &r
}

// benched starts a member, and returns its addresses for etcd's clients and for ZooKeeper's.
func benched(t *testing.T) (r *running, etcd, zk string) {
	t.Helper()
	r, etcd = serving(t, t.TempDir(), nil, anyPort...)
	address := regexp.MustCompile(`ZooKeeper +(\S+)`)
	r.await(func() bool { return address.MatchString(r.stdout.String()) }, "it says where ZooKeeper's clients are served")
	return r, etcd, address.FindStringSubmatch(r.stdout.String())[1]
}

// Every load does as many operations as it is asked for, and every event is delivered to
// each watcher, once.
func TestBenchLoads(t *testing.T) {
	t.Parallel()
	_, etcd, zk := benched(t)

	// Alone, as it counts revisions: the 49 last of the 120 keys, and the one it writes.
	r := benchResult(t, "watch-catchup", "--endpoints", etcd, "--key-prefix=late/", "--keys=120", "--behind=50", "--clients=2", "--ops=6")
	require.Equal(t, int64(6*50), r.Delivered)
	require.Equal(t, int64(6*50), r.Ops)

	for _, c := range []struct {
		load, protocol string // without a protocol, the first that has the load
		zk             bool
		args           []string
		ops, delivered int64
	}{
		{load: "put", ops: 300},
		{load: "get", ops: 300},
		{load: "sget", ops: 300},
		{load: "mix", args: []string{"--read-share=0.5"}, ops: 300},
		{load: "delete", ops: 300},
		{load: "txn", ops: 300},
		{load: "count", ops: 300},
		{load: "range", args: []string{"--limit=20"}, ops: 300},
		{load: "range-stream", ops: 300},
		{load: "lease-keepalive", ops: 300},
		{load: "watch-latency", args: []string{"--streams=3"}, ops: 300, delivered: 300},
		{load: "watch-keys", args: []string{"--watchers=30", "--streams=7"}, ops: 300, delivered: 300},
		{load: "watch-fanout", args: []string{"--watchers=30", "--streams=7"}, ops: 300 * 30, delivered: 300 * 30},
		{load: "create", zk: true, ops: 300},
		{load: "set", zk: true, ops: 300},
		{load: "get", protocol: "zookeeper", zk: true, ops: 300},
		{load: "mix", protocol: "zookeeper", zk: true, ops: 300},
		{load: "get-children", zk: true, ops: 300},
		{load: "multi", zk: true, ops: 300},
		{load: "ephemeral-churn", zk: true, ops: 300},
		{load: "session-storm", zk: true, ops: 300},
		{load: "watch-storm", zk: true, args: []string{"--watchers=30", "--clients=1"}, ops: 300 * 30, delivered: 300 * 30},
		{load: "put", protocol: "http", ops: 300},
		{load: "get", protocol: "http", ops: 300},
		{load: "mix", protocol: "http", ops: 300},
	} {
		t.Run(c.load+c.protocol, func(t *testing.T) {
			t.Parallel()
			args := []string{c.load, "--key-prefix=" + c.protocol + "/" + c.load + "/", "--keys=150", "--clients=20", "--ops=300"}
			if c.load != "watch-storm" { // which has a session for each watcher
				args = append(args, "--connections=3")
			}
			if c.protocol != "" {
				args = append(args, "--protocol="+c.protocol)
			}
			endpoints := etcd
			if c.zk {
				endpoints = zk
			}
			r := benchResult(t, append(append(args, "--endpoints="+endpoints), c.args...)...)
			require.Equal(t, c.ops, r.Ops)
			require.Equal(t, c.delivered, r.Delivered)
			require.Equal(t, c.load, r.Load)
			require.Empty(t, r.Notes)
		})
	}
}

// The keys are filled once; what is asked for in an open loop, or for a time, is done.
func TestBenchFillsAndPaces(t *testing.T) {
	t.Parallel()
	_, etcd, zk := benched(t)
	for protocol, endpoint := range map[string]string{"etcd": etcd, "zookeeper": zk, "http": etcd} {
		common := []string{"--protocol=" + protocol, "--endpoints=" + endpoint + "," + strings.Replace(endpoint, "127.0.0.1", "localhost", 1), "--keys=250", "--key-prefix=p/" + protocol}
		r := benchResult(t, append([]string{"get", "--fill", "--clients=3", "--duration=1h"}, common...)...)
		require.Equal(t, "fill", r.Load)
		require.Equal(t, int64(250), r.Ops)
		_, _, problems := runBench(append([]string{"get", "--ops=50"}, common...)...)
		require.NotContains(t, problems, "writing", "they are there")
		_, _, problems = runBench(append([]string{"get", "--ops=50", "--key-prefix=p/other" + protocol}, common[:3]...)...)
		require.Contains(t, problems, "writing 250 keys first")

		_, _, problems = runBench(append([]string{"get", "--ops=50", "--value-bytes=100"}, common...)...)
		require.Contains(t, problems, "writing 250 keys first", "those that are there have 256 bytes")
		status, _, problems := runBench(append([]string{"get", "--ops=50", "--value-bytes=100"}, common...)...)
		require.Zero(t, status)
		require.NotContains(t, problems, "writing")
		benchResult(t, append([]string{"get", "--ops=50"}, common...)...)

		r = benchResult(t, append([]string{"get", "--rate=2000", "--ops=200", "--clients=5"}, common...)...)
		require.Equal(t, int64(200), r.Ops)
		require.Greater(t, r.Seconds, 0.05, "the calls are spread over a tenth of a second")
		r = benchResult(t, append([]string{"get", "--rate=1e7", "--ops=2000"}, common...)...)
		require.Regexp(t, `the open loop began \d+% of its calls late, by up to .*s: `, r.Notes, "nobody keeps that rate")
		r = benchResult(t, append([]string{"get", "--duration=50ms", "--clients=2"}, common...)...)
		require.GreaterOrEqual(t, r.Seconds, 0.05)
	}
}

// What a server process uses is measured, and the report is written.
func TestBenchMeasuresServers(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has /proc")
	}
	member, etcd, _ := benched(t)
	page := filepath.Join(t.TempDir(), "report.html")
	pid := strconv.Itoa(member.cmd.Process.Pid)
	r := benchResult(t, "put", "--endpoints", etcd, "--clients=20", "--duration=1500ms", "--pids", pid, "--grace=300ms", "--html", page)
	require.Len(t, r.Servers, 1)
	s := r.Servers[0]
	require.Equal(t, member.cmd.Process.Pid, s.PID)
	require.Positive(t, s.User+s.System)
	require.Positive(t, r.Server)
	require.Positive(t, s.ResidentBytes)
	require.GreaterOrEqual(t, s.PeakResident, s.ResidentBytes)
	require.Positive(t, s.Voluntary)
	require.Positive(t, r.Client)
	require.GreaterOrEqual(t, len(r.Timeline), 2, "a point for each second")
	var ops int64
	for _, p := range r.Timeline {
		ops += p.Ops
	}
	require.Equal(t, r.Ops, ops)
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, 5, strings.Count(string(text), "<svg"))

	status, out, problems := runBench("get", "--endpoints", etcd, "--ops=100", "--pids", pid, "--grace=0s")
	require.Zero(t, status, problems)
	require.Contains(t, out, "operations   100 in ")
	require.Contains(t, out, "process "+pid)
	require.Regexp(t, `(?m)^ +\d+ s +100 done .* cores, \d+ MiB$`, problems)
}

// What fails is counted by its text, and leaves a status that says so.
func TestBenchErrors(t *testing.T) {
	t.Parallel()
	_, etcd, zk := benched(t)
	status, out, _ := runBench("put", "--endpoints", etcd, "--value-bytes=2000000", "--ops=5", "--quiet")
	require.Equal(t, exitFailed, status)
	require.Contains(t, out, "0 in ")
	require.Regexp(t, `error +5 times: .*request is too large`, out)

	status, out, _ = runBench("create", "--endpoints", zk, "--value-bytes=2000000", "--ops=5", "--quiet", "--json=-")
	require.Equal(t, exitFailed, status)
	require.Contains(t, out, `"errors":5`)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := listener.Addr().String()
	require.NoError(t, listener.Close())
	for _, args := range [][]string{{"put"}, {"set"}, {"put", "--protocol=http"}} {
		status, out, problems := runBench(append(args, "--endpoints", gone, "--ops=1", "--quiet")...)
		require.Equal(t, exitFailed, status)
		require.Empty(t, out)
		require.Contains(t, problems, "triglot: "+args[0]+": ")
		require.Contains(t, problems, gone)
		require.Contains(t, problems, "refused")
	}
	status, _, problems := runBench("put", "--endpoints", etcd, "--pids=1073741824", "--ops=1")
	require.Equal(t, exitUsage, status)
	require.Contains(t, problems, "--pids: process 1073741824")
}
