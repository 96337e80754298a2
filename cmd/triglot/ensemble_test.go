package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// freePorts are ports of this host that nobody uses, each another.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// zooEnsemble starts an ensemble of three and an observer, with lines in every zoo.cfg, and
// returns the addresses for clients as well.
func zooEnsemble(t *testing.T, lines string) (servers []*running, dirs, addresses []string) {
	t.Helper()
	const n = 4
	ports := freePorts(t, 2*n)
	var ensemble strings.Builder
	for i := range n {
		role := ""
		if i == n-1 {
			role = ":observer"
		}
		fmt.Fprintf(&ensemble, "server.%d=127.0.0.1:%d:1%s;127.0.0.1:%d\n", i+1, ports[i], role, ports[n+i])
	}
	for i := range n {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "data"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "myid"), fmt.Appendf(nil, "%d\n", i+1), 0o600))
		text := "dataDir=" + filepath.Join(dir, "data") + "\ninitLimit=10\nsyncLimit=5\n4lw.commands.whitelist=*\n" + ensemble.String() + lines
		require.NoError(t, os.WriteFile(filepath.Join(dir, "zoo.cfg"), []byte(text), 0o600))
		dirs = append(dirs, dir)
		servers = append(servers, start(t, dir, nil, "triglot", "zookeeper", "zoo.cfg"))
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", ports[n+i]))
	}
	return servers, dirs, addresses
}

// modes are what servers say they are, once all say something.
func modes(t *testing.T, servers []*running, addresses []string) map[string]int {
	t.Helper()
	found := make(map[string]int)
	for i, r := range servers {
		r.address()
		var answer string
		r.await(func() bool {
			answer = fourLetters(t, addresses[i], "srvr")
			return strings.Contains(answer, "Mode: ")
		}, "it serves ZooKeeper's clients")
		_, mode, _ := strings.Cut(answer, "Mode: ")
		mode, _, _ = strings.Cut(mode, "\n")
		found[mode]++
	}
	return found
}

// The lines server.N of a zoo.cfg make an ensemble, which goes on after a restart; the
// observer serves and has no vote.
func TestEnsembleOfAZooCfg(t *testing.T) {
	t.Parallel()
	servers, dirs, addresses := zooEnsemble(t, "")
	want := map[string]int{"leader": 1, "follower": 2, "observer": 1}
	require.Equal(t, want, modes(t, servers, addresses))
	status, out, problems := showStatus(t, nil, "--endpoints=unix://"+filepath.Join(dirs[3], "data", "triglot", localSocket))
	require.Zero(t, status, out+problems)
	require.Contains(t, out, "4 of 4 members answer")

	for _, r := range servers {
		r.signal(syscall.SIGKILL)
	}
	for i := range servers {
		servers[i] = start(t, dirs[i], nil, "triglot", "zookeeper", "zoo.cfg")
	}
	require.Equal(t, want, modes(t, servers, addresses))
	for _, r := range servers {
		r.stop()
	}
}

// sslQuorum has the servers show each other certificates.
func TestEnsembleWithTLS(t *testing.T) {
	t.Parallel()
	servers, _, addresses := zooEnsemble(t, "sslQuorum=true\n"+
		"ssl.quorum.keyStore.location="+zkStore(t, "server.jks")+"\nssl.quorum.keyStore.password=password\n"+
		"ssl.quorum.trustStore.location="+zkStore(t, "trust.p12")+"\nssl.quorum.trustStore.password=password\n")
	require.Equal(t, map[string]int{"leader": 1, "follower": 2, "observer": 1}, modes(t, servers, addresses))
	for _, r := range servers {
		require.NotContains(t, r.stderr.String(), "password")
		r.stop()
	}
}

// Who is in no line of the file ends with ZooKeeper's status and words.
func TestNotInTheEnsemble(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "myid"), []byte("9\n"), 0o600))
	text := "dataDir=" + dir + "\nclientPort=0\ninitLimit=1\nsyncLimit=1\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zoo.cfg"), []byte(text), 0o600))
	r := start(t, dir, nil, "triglot", "zookeeper", "zoo.cfg")
	require.Equal(t, exitFailed, r.exit())
	require.Equal(t, "triglot: Unexpected exception, exiting abnormally: My id 9 not in the peer list\n", r.stderr.String())
}
