package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// portsInARow is the first of some ports that nobody uses.
func portsInARow(t *testing.T, n int) int {
	t.Helper()
next:
	for range 100 {
		first := freePorts(t, 1)[0]
		for i := range n {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+i))
			if err != nil {
				continue next
			}
			require.NoError(t, l.Close())
		}
		return first
	}
	require.Fail(t, "no ports in a row")
	return 0
}

// Three members on this host: one can be lost, all stop with the command, and go on where
// they were.
func TestCluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := portsInARow(t, 9)
	args := []string{"triglot", "cluster", "--data-dir=c", fmt.Sprintf("--port=%d", port)}
	client := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", port+3*i) }
	ready := func(r *running) {
		r.await(func() bool { return strings.Contains(r.stdout.String(), "Ctrl-C stops all") }, "all members serve")
	}
	env := []string{runChildrenToo + "=1"}
	r := start(t, dir, env, args...)
	ready(r)
	put(t, dial(t, client(0)), "k", "v")
	require.Contains(t, get(t, dial(t, client(2)), "k"), "v")
	status, out, _ := showStatus(t, nil, "--endpoints="+client(1))
	require.Zero(t, status, out)
	require.Contains(t, out, "3 of 3 members answer")

	pid := regexp.MustCompile(`kill -9 (\d+)`).FindStringSubmatch(r.stdout.String())
	require.NotNil(t, pid, r.stdout.String())
	var first int
	_, err := fmt.Sscan(pid[1], &first)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	r.await(func() bool {
		return strings.Contains(r.stdout.String(), "m1 has ended (signal: killed), the others go on")
	}, "it tells of the loss")
	r.await(func() bool {
		status, out, _ = showStatus(t, nil, "--endpoints="+client(1))
		return strings.Contains(out, "2 of 3 members answer")
	}, "the others go on")
	require.Equal(t, exitFailed, status)
	require.Contains(t, out, "(m1) does not answer: ")
	r.stop()

	r = start(t, dir, env, args...)
	ready(r)
	require.Contains(t, get(t, dial(t, client(0)), "k"), "v")
	r.stop()

	// A member that does not start is told of, and none is left behind.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "c", "m2", "stranger"), nil, 0o600))
	r = start(t, dir, env, args...)
	require.Equal(t, exitFailed, r.exit())
	require.Contains(t, r.stderr.String(), "m2 does not start: ")
	require.Contains(t, r.stderr.String(), "stranger")
	_, err = net.Dial("tcp", client(0))
	require.Error(t, err)

	for _, wrong := range []string{"--members=0", "--members=7", "--port=65530", "--port=-1"} {
		r = start(t, dir, nil, "triglot", "cluster", wrong)
		require.Equal(t, exitUsage, r.exit(), wrong)
	}
}

// A member whose cluster has no quorum yet waits, as etcd does: it is alive and not
// ready, and shows why, to ZooKeeper's clients, too.
func TestMemberWithoutQuorumWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ports := freePorts(t, 5)
	zooKeeper := fmt.Sprintf("127.0.0.1:%d", ports[4])
	peers := fmt.Sprintf("m1=http://127.0.0.1:%d,m2=http://127.0.0.1:%d,m3=http://127.0.0.1:%d", ports[0], ports[1], ports[2])
	metrics := fmt.Sprintf("http://127.0.0.1:%d", ports[3])
	args := func(i int) []string {
		url := fmt.Sprintf("http://127.0.0.1:%d", ports[i])
		return []string{
			"triglot", "serve", fmt.Sprintf("--name=m%d", i+1), fmt.Sprintf("--data-dir=d%d", i+1), "--listen-client-urls=http://127.0.0.1:0",
			"--listen-peer-urls=" + url, "--initial-advertise-peer-urls=" + url, "--initial-cluster=" + peers,
		}
	}
	first := append(args(0), "--listen-metrics-urls="+metrics, "--zk-listen="+zooKeeper, "--zk-4lw-whitelist=*")
	r := start(t, dir, nil, first...)
	socket := filepath.Join(dir, "d1", localSocket)
	r.await(func() bool { _, err := os.Stat(socket); return err == nil }, "it has its socket")
	status, body := httpGet(t, http.DefaultClient, metrics+"/health")
	require.Equal(t, 503, status)
	require.Contains(t, body, "RAFT NO LEADER")
	status, _ = httpGet(t, http.DefaultClient, metrics+"/livez")
	require.Equal(t, 200, status)
	shown, out, problems := showStatus(t, nil, "--endpoints=unix://"+socket)
	require.Equal(t, exitFailed, shown, problems)
	require.Contains(t, out, "leader nobody, 1 of 3 members answer")
	require.NotContains(t, r.stderr.String(), "ready to serve client requests")

	require.Equal(t, "imok", fourLetters(t, zooKeeper, "ruok"))
	const notServing = "This ZooKeeper instance is not currently serving requests\n"
	require.Equal(t, notServing, fourLetters(t, zooKeeper, "srvr"))
	r.signal(syscall.SIGKILL)
	r = start(t, dir, nil, append(first, "--zk-read-only")...)
	readOnly := func() bool { return strings.Contains(fourLetters(t, zooKeeper, "srvr"), "Mode: read-only") }
	r.await(func() bool { return answers(zooKeeper) }, "it answers")
	r.await(readOnly, "it serves those who only read")

	other, _ := serving(t, dir, nil, append(args(1), "--zk-listen=off")...)
	r.address()
	require.Contains(t, fourLetters(t, zooKeeper, "srvr"), "Mode: ", "what says that it serves does")
	status, body = httpGet(t, http.DefaultClient, metrics+"/health")
	require.Equal(t, 200, status, body)
	other.stop()
	r.stop()
}

// answers says whether somebody listens at an address.
func answers(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
