package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// zooCfg writes a zoo.cfg for a server on a free port into dir.
func zooCfg(t *testing.T, dir, lines string) {
	t.Helper()
	text := fmt.Sprintf("dataDir=%s\nclientPort=0\nclientPortAddress=127.0.0.1\ntickTime=2000\n%s", filepath.Join(dir, "data"), lines)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zoo.cfg"), []byte(text), 0o600))
}

func TestZooKeeperStartsFromZooCfg(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	zooCfg(t, dir, "4lw.commands.whitelist=ruok, conf\nmaxClientCnxns=7\nsnapCount=1\nno.such=sesame\n")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "data"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "myid"), []byte("1\n"), 0o600))
	r, address := serving(t, dir, []string{"JVMFLAGS=-Xmx1g -Dzookeeper.extendedTypesEnabled=true"}, "triglot", "zookeeper", "zoo.cfg")
	require.Equal(t, "imok", fourLetters(t, address, "ruok"))
	require.Contains(t, fourLetters(t, address, "conf"), "maxClientCnxns=7\n")
	require.Contains(t, fourLetters(t, address, "mntr"), "not in the whitelist")
	log := r.stderr.String()
	require.Equal(t, 1, strings.Count(log, "serving "), "nobody but ZooKeeper's clients is served: %s", log)
	require.Contains(t, log, "zookeeper.no.such")
	require.NotContains(t, log, "sesame")
	require.Empty(t, r.stdout.String())

	// What a ZooKeeper has of its own is not touched, and a killed member comes back.
	r.signal(syscall.SIGKILL)
	names, err := filepath.Glob(filepath.Join(dir, "data", "*"))
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(dir, "data", "myid"), filepath.Join(dir, "data", "triglot")}, names)
	r, address = serving(t, dir, nil, "triglot", "zookeeper", "zoo.cfg")
	require.Equal(t, "imok", fourLetters(t, address, "ruok"))
	r.stop()
}

// What etcd's clients see, the AdminServer and the metrics are there when asked for.
func TestZooKeeperWithMoreThanZooKeeper(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	zooCfg(t, dir, `triglot.listen-client-urls=http://127.0.0.1:0
admin.serverPort=0
admin.serverAddress=127.0.0.1
DigestAuthenticationProvider.superDigest=super:hidden
metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider
metricsProvider.httpHost=127.0.0.1
metricsProvider.httpPort=0
`)
	r := start(t, dir, nil, "triglot", "zookeeper", "zoo.cfg")
	addresses := r.addresses(4)
	status, body := httpGet(t, http.DefaultClient, "http://"+addresses[0]+"/health")
	require.Equal(t, 200, status)
	require.Equal(t, `{"health":"true","reason":""}`, body)
	require.Contains(t, fourLetters(t, addresses[1], "srvr"), "Mode: standalone")
	status, body = httpGet(t, http.DefaultClient, "http://"+addresses[2]+"/commands/ruok")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"command" : "ruok"`)
	_, body = httpGet(t, http.DefaultClient, "http://"+addresses[2]+"/commands/initial_configuration")
	require.Contains(t, body, "superDigest=***")
	require.NotContains(t, body, "hidden")
	status, body = httpGet(t, http.DefaultClient, "http://"+addresses[3])
	require.Equal(t, 200, status)
	require.Contains(t, body, "\nznode_count ")
	require.NotContains(t, r.stderr.String(), "hidden")
	r.stop()
}

// Who would find an empty tree where there was a full one is told, and has a way on.
func TestZooKeepersDataIsNotPassedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	zooCfg(t, dir, "dataLogDir="+filepath.Join(dir, "log")+"\n")
	old := filepath.Join(dir, "log", "version-2", "log.1")
	require.NoError(t, os.MkdirAll(filepath.Dir(old), 0o700))
	require.NoError(t, os.WriteFile(old, []byte("ZKLG"), 0o600))
	r := start(t, dir, nil, "triglot", "zookeeper", "zoo.cfg")
	require.Equal(t, exitDataDir, r.exit())
	require.Contains(t, r.stderr.String(), "Unable to access datadir, exiting abnormally: "+old+" is a ZooKeeper's data")
	require.Equal(t, 1, strings.Count(r.stderr.String(), "\n"), "one line says why")
	_, err := os.Stat(filepath.Join(dir, "data"))
	require.ErrorIs(t, err, fs.ErrNotExist, "nothing was written")

	r, _ = serving(t, dir, nil, "triglot", "zookeeper", "--start-empty", "zoo.cfg")
	r.stop()
	r, _ = serving(t, dir, nil, "triglot", "zookeeper", "zoo.cfg")
	r.stop()
	content, err := os.ReadFile(old)
	require.NoError(t, err)
	require.Equal(t, "ZKLG", string(content))
}

// So is who gives the directory of a triglot serve for dataDir.
func TestServesDataIsNotPassedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, _ := serving(t, dir, nil, anyPort...)
	r.stop()
	data := filepath.Join(dir, "data") // serve's default, and zooCfg's dataDir
	zooCfg(t, dir, "")
	r = start(t, dir, nil, "triglot", "zookeeper", "zoo.cfg")
	require.Equal(t, exitDataDir, r.exit())
	require.Contains(t, r.stderr.String(), data+" is itself the data of a triglot serve")
	_, err := os.Stat(filepath.Join(data, "triglot"))
	require.ErrorIs(t, err, fs.ErrNotExist, "nothing was written")
	r, _ = serving(t, dir, nil, "triglot", "zookeeper", "zoo.cfg", "--data-dir", data)
	r.stop()
}

// ZooKeeper's exit statuses.
func TestZooKeeperFailures(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	require.NoError(t, err)
	tests := []struct {
		lines  string
		args   []string
		status int
		err    string
	}{
		{"tickTime=0", nil, exitUsage, "triglot: Invalid config, exiting abnormally: Error processing zoo.cfg: tickTime is not set\n"},
		{"datadir.autocreate=false", nil, exitDataDir, "automatic data directory creation is disabled"},
		{"clientPort=" + port, nil, exitFailed, "clientPort 127.0.0.1:" + port + ": port " + port + " is in use by another process"},
		{"admin.serverAddress=127.0.0.1\nadmin.serverPort=" + port, nil, exitAdminServer, "admin.serverPort 127.0.0.1:" + port},
		{"secureClientPort=0", nil, exitUsage, "secureClientPort and client.portUnification need a certificate: give ssl.keyStore.location\n"},
		{"", []string{"--zk-tack=1s"}, exitUsage, "unknown flag --zk-tack: did you mean --zk-tick?"},
	}
	for _, test := range tests {
		dir := t.TempDir()
		zooCfg(t, dir, test.lines)
		r := start(t, dir, nil, append([]string{"triglot", "zookeeper", "zoo.cfg"}, test.args...)...)
		require.Equal(t, test.status, r.exit(), test.lines)
		require.Contains(t, r.stderr.String(), test.err)
	}
	r := start(t, t.TempDir(), nil, "triglot", "zookeeper")
	require.Equal(t, exitUsage, r.exit())
	require.Contains(t, r.stderr.String(), "name the configuration file")
}

// A dataDir that is of no use has ZooKeeper's status, and is called what zoo.cfg calls it.
func TestZooKeeperDataDirOfNoUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data"), nil, 0o600))
	for lines, key := range map[string]string{
		"":                           "dataDir",
		"dataDir=data/below":         "dataDir",
		"dataDir=.\ndataLogDir=data": "dataLogDir",
	} {
		zooCfg(t, dir, lines)
		r := start(t, dir, nil, "triglot", "zookeeper", "zoo.cfg")
		require.Equal(t, exitDataDir, r.exit(), lines)
		require.Regexp(t, `^triglot: Unable to access datadir, exiting abnormally: `+key+`: \S*data is not a directory\n$`, r.stderr.String())
	}
}

// What the member says of its directories is in the names that zoo.cfg has for them.
func TestZooKeeperDirectoriesAreNamedAsInTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	zooCfg(t, dir, "dataLogDir="+filepath.Join(dir, "log")+"\n")
	r, _ := serving(t, dir, nil, "triglot", "zookeeper", "zoo.cfg")
	r.stop()
	for _, lines := range []string{"dataLogDir=" + filepath.Join(dir, "moved"), ""} {
		zooCfg(t, dir, lines)
		r = start(t, dir, nil, "triglot", "zookeeper", "zoo.cfg")
		require.Equal(t, exitFailed, r.exit())
		require.Contains(t, r.stderr.String(), "give the dataLogDir that it was founded with")
	}

	// Who asks triglot serve for it is told where the member's data is.
	data := filepath.Join(dir, "data")
	r = start(t, dir, nil, "triglot", "serve", "--data-dir", data)
	require.Equal(t, exitFailed, r.exit())
	require.Contains(t, r.stderr.String(), "give --data-dir "+filepath.Join(data, "triglot"))
}

// The socket of the member's own calls is its owner's alone, and goes with the member.
func TestLocalSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, _ := serving(t, dir, nil, anyPort...)
	path := filepath.Join(dir, "data", localSocket)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o600, info.Mode())
	conn := dial(t, "unix:"+path)
	put(t, conn, "a", "over the socket")
	require.Contains(t, get(t, conn, "a"), "over the socket")

	r.signal(syscall.SIGKILL)
	r, _ = serving(t, dir, nil, anyPort...)
	require.Contains(t, get(t, dial(t, "unix:"+path), "a"), "over the socket")
	r.stop()
	_, err = os.Stat(path)
	require.ErrorIs(t, err, fs.ErrNotExist)

	r, _ = serving(t, dir, nil, append([]string{}, append(anyPort, "--admin-socket=off")...)...)
	_, err = os.Stat(path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	r.stop()
	r = start(t, dir, nil, append([]string{}, append(anyPort, "--admin-socket="+strings.Repeat("a", 200))...)...)
	require.Equal(t, exitFailed, r.exit())
	require.Contains(t, r.stderr.String(), "has room for 107 bytes")
}

// TLS without stores of ZooKeeper's has the certificates of etcd's clients, on a port of
// its own and on the one without.
func TestZooKeeperTLSWithOurCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	zooCfg(t, dir, "secureClientPort=0\nsecureClientPortAddress=127.0.0.1\nclient.portUnification=true\ntriglot.auto-tls=true\n")
	r := start(t, dir, nil, "triglot", "zookeeper", "zoo.cfg")
	addresses := r.addresses(3) // the first both ways
	require.Equal(t, addresses[0], addresses[1])
	require.Contains(t, fourLetters(t, addresses[0], "srvr"), "Mode: standalone")
	for _, address := range addresses[1:] {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte("srvr"))
		require.NoError(t, err)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Contains(t, string(answer), "Mode: standalone")
	}
	r.stop()
}
