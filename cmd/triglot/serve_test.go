package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/triglot/triglot/cmd/triglot/config"
)

// anyPort are the arguments of a member on a port that the kernel chooses.
var anyPort = []string{"triglot", "serve", "--listen-client-urls=http://127.0.0.1:0", "--zk-listen=127.0.0.1:0"}

func TestServe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, address := serving(t, dir, nil, anyPort...)
	require.Contains(t, r.stderr.String(), "ready to serve client requests")
	url := "http://" + address
	r.await(func() bool { return strings.HasSuffix(r.stdout.String(), "'\n") }, "it tells how to talk to it")
	require.Regexp(t, `^Triglot `+regexp.QuoteMeta(version)+`, data in ./data

  etcd +`+url+` +etcdctl --endpoints=`+url+` put /zk/hello world
  ZooKeeper +(127.0.0.1:\d+) +zkCli.sh -server 127.0.0.1:\d+ get /hello
  HTTP +`+url+` +curl `+url+`/v3/kv/range -d '{"key":"L3prL2hlbGxv"}'
$`, r.stdout.String())
	zkAddress := regexp.MustCompile(`ZooKeeper +(\S+)`).FindStringSubmatch(r.stdout.String())[1]
	require.Contains(t, fourLetters(t, zkAddress, "srvr"), "Mode: standalone")
	require.Contains(t, fourLetters(t, zkAddress, "ruok"), "not in the whitelist", "as with ZooKeeper, unless asked for")

	// Both protocols on the one port.
	status, body := httpGet(t, http.DefaultClient, url+"/health")
	require.Equal(t, 200, status)
	require.Equal(t, `{"health":"true","reason":""}`, body)
	conn := dial(t, address)
	put(t, conn, "greeting", "hello")
	require.Contains(t, get(t, conn, "greeting"), "hello")

	_, metrics := httpGet(t, http.DefaultClient, url+"/metrics")
	for _, name := range []string{
		`etcd_server_version{server_version="3.7.3"} 1`, `etcd_server_id{server_id="8e9e05c52164694d"} 1`,
		"etcd_server_has_leader 1", "os_fd_limit ", "os_fd_used ", "go_goroutines ", "process_resident_memory_bytes ",
		"etcd_server_health_success 1", "etcd_network_client_grpc_received_bytes_total ",
	} {
		require.Contains(t, metrics, "\n"+name)
	}
	require.DirExists(t, filepath.Join(dir, "data"))
	r.stop()
}

// fourLetters asks ZooKeeper's face for one of its words.
func fourLetters(t *testing.T, address, word string) string {
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte(word))
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(answer)
}

// The three faces are there or not as they are asked for.
func TestServeWithoutZooKeeperAndGateway(t *testing.T) {
	t.Parallel()
	r, address := serving(t, t.TempDir(), nil, "triglot", "serve", "--listen-client-urls=http://127.0.0.1:0",
		"--zk-listen=off", "--enable-grpc-gateway=false")
	r.await(func() bool { return strings.HasSuffix(r.stdout.String(), "/health\n") }, "it tells how to talk to it")
	require.NotContains(t, r.stdout.String(), "ZooKeeper")
	status, body := httpGet(t, http.DefaultClient, "http://"+address+"/v3/kv/range")
	require.Equal(t, 404, status)
	require.Equal(t, "404 page not found\n", body)
	r.stop()
}

// The mount is fixed when the cluster is founded.
func TestServeRefusesAnotherMount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, _ := serving(t, dir, nil, append(anyPort, "--zk-prefix=/other")...)
	r.stop()
	r, _ = serving(t, dir, nil, anyPort...)
	r.await(func() bool { return strings.Contains(r.stdout.String(), "put /other/hello") }, "nothing asked for is what it was")
	r.stop()
	r = start(t, dir, nil, append(anyPort, "--zk-prefix=/zk")...)
	require.NotZero(t, r.exit())
	require.Contains(t, r.stderr.String(), "/other")
	require.Contains(t, r.stderr.String(), "--zk-prefix")
}

// atOnce is more than a stop takes on a busy machine: one that waits for what clients hold
// open does not end by itself.
const atOnce = 10 * time.Second

// A stop is prompt whatever clients hold open.
func TestStopWithClients(t *testing.T) {
	t.Parallel()
	r, address := serving(t, t.TempDir(), nil, anyPort...)
	silent, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer silent.Close()
	_, _ = httpGet(t, http.DefaultClient, "http://"+address+"/version")

	conn := dial(t, address)
	watch, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/etcdserverpb.Watch/Watch")
	require.NoError(t, err)
	create := []byte{0x0a, 0x03, 0x0a, 0x01, 'k'} // create_request { key: "k" }
	require.NoError(t, watch.SendMsg(&create))
	var created []byte
	require.NoError(t, watch.RecvMsg(&created))

	took := r.signal(syscall.SIGTERM)
	require.Zero(t, r.cmd.ProcessState.ExitCode())
	require.Less(t, took, atOnce)
	require.Contains(t, r.stderr.String(), "stopped")
	require.Error(t, watch.RecvMsg(&created))
	_, err = silent.Read(make([]byte, 1))
	require.Error(t, err)
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	r, _ := serving(t, t.TempDir(), nil, anyPort...)
	require.Less(t, r.signal(syscall.SIGINT), atOnce)
	require.Zero(t, r.cmd.ProcessState.ExitCode())
}

// What was acknowledged is there after the process was killed, under the same
// flags on the same data.
func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, address := serving(t, dir, nil, anyPort...)
	put(t, dial(t, address), "k", "survives")
	r.signal(syscall.SIGKILL)
	require.Equal(t, -1, r.cmd.ProcessState.ExitCode())

	r, address = serving(t, dir, nil, anyPort...)
	require.Contains(t, get(t, dial(t, address), "k"), "survives")
	r.stop()

	r, address = serving(t, dir, nil, anyPort...)
	require.Contains(t, get(t, dial(t, address), "k"), "survives", "after a clean stop, too")
	r.stop()
}

// Each mistake ends the program with one line that says what to do, and with the
// right status.
func TestRefusals(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := taken.Addr().String()[len("127.0.0.1:"):]

	tests := []struct {
		name   string
		files  map[string]string // in the working directory
		args   []string
		status int
		want   string
	}{
		{"no such command", nil, []string{"srve"}, 2, `unknown command "srve": did you mean triglot serve?`},
		{"no such flag", nil, []string{"serve", "--nam=x"}, 2, "unknown flag --nam: did you mean --name?"},
		{"an argument", nil, []string{"serve", "data"}, 2, `triglot serve takes flags only, not "data"`},
		{"no such key", map[string]string{"a.yaml": "nam: x\n"}, []string{"serve", "--config-file=a.yaml"}, 2, "a.yaml:1: unknown key nam: did you mean name?"},
		{"TLS without a certificate", nil, []string{"serve", "--listen-client-urls=https://127.0.0.1:0"}, 2, "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:0 with HTTPS scheme"},
		{"no such certificate", nil, []string{"serve", "--listen-client-urls=https://127.0.0.1:0", "--cert-file=a", "--key-file=b"}, 1, "--cert-file: open a: no such file or directory"},
		{"no certificate", map[string]string{"a": "x", "b": "y"}, []string{"serve", "--listen-client-urls=https://127.0.0.1:0", "--cert-file=a", "--key-file=b"}, 1, "--cert-file a and --key-file b: tls: failed to find any PEM data in certificate input"},
		{"no key", nil, []string{"serve", "--peer-cert-file=a", "--listen-peer-urls=https://127.0.0.1:0"}, 1, "--peer-cert-file and --peer-key-file: KeyFile and CertFile must both be present[key: , cert: a]"},
		{"no such directory", nil, []string{"serve", "--log-outputs=none/a.log"}, 1, "--log-outputs: open none/a.log: no such file or directory"},
		{
			"a port in use", nil,
			[]string{"serve", "--listen-client-urls=http://127.0.0.1:" + port},
			1,
			"--listen-client-urls http://127.0.0.1:" + port + ": port " + port + " is in use by another process: stop it, or choose another port",
		},
		{
			"a foreign address", nil,
			[]string{"serve", "--listen-client-urls=http://192.0.2.1:0"},
			1,
			"--listen-client-urls http://192.0.2.1:0: this host has no address 192.0.2.1: use one that it has, or 0.0.0.0 for all",
		},
		{"etcd's data", map[string]string{"data/member/wal/0.wal": ""}, anyPort[1:], 1, "data directory ./data is etcd's, and has no member/snap/db: it is older than etcd 3, or not whole. Triglot takes over only what `etcdutl snapshot restore` has just made: take a backup of that etcd (etcdctl snapshot save FILE), then `triglot restore FILE --data-dir` an empty directory"},
		{"ZooKeeper's data", map[string]string{"data/version-2/log.1": ""}, anyPort[1:], 1, `data directory ./data is ZooKeeper's (it holds "version-2"): give another --data-dir`},
		{"somebody's data", map[string]string{"data/thesis.tex": ""}, anyPort[1:], 1, `data directory ./data holds "thesis.tex", which is not Triglot's: give an empty --data-dir`},
		{
			"no member of ours",
			map[string]string{"data/member.json": "{}"},
			anyPort[1:], 1,
			"data/member.json: this is not the mark of a Triglot member: give another --data-dir, or restore the file",
		},
		{
			"a later format",
			map[string]string{"data/member.json": `{"product":"triglot","format":99}`},
			anyPort[1:], 1,
			"data/member.json: the data directory has format 99, this version reads format 1: use the version that wrote it",
		},
		{"one URL twice", nil, append(anyPort[1:], "--initial-cluster=default=http://a:1,b=http://a:1"), 2, `--initial-cluster: initial cluster default=http://a:1,b=http://a:1 has duplicate url: http://a:1 is that of "default" and of "b"`},
		{"somebody else's cluster", nil, append(anyPort[1:], "--initial-cluster=a=http://a:1"), 2, `--initial-cluster does not mention "default", the --name of this member: add default=URL to it`},
		{"no cluster", nil, append(anyPort[1:], "--initial-cluster=default"), 2, `--initial-cluster: "default" is not of the form name=URL`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.files {
				path := filepath.Join(dir, name)
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			}
			r := start(t, dir, nil, append([]string{"triglot"}, tt.args...)...)
			require.Equal(t, tt.status, r.exit())
			require.Empty(t, r.stdout.String())
			lines := strings.Split(strings.TrimSuffix(r.stderr.String(), "\n"), "\n")
			require.Equal(t, "triglot: "+tt.want, lines[len(lines)-1])
			for _, l := range lines[:len(lines)-1] {
				require.Contains(t, l, " info  ", "nothing else is wrong")
			}
		})
	}
}

func TestDataDirInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, _ := serving(t, dir, nil, anyPort...)
	second := start(t, dir, nil, anyPort...)
	require.Equal(t, exitFailed, second.exit())
	require.Contains(t, second.stderr.String(), "triglot: data directory ./data is in use by another process")
	r.stop()

	third := start(t, dir, nil, append(anyPort, "--initial-cluster-token=other")...)
	require.Equal(t, exitFailed, third.exit())
	require.Contains(t, third.stderr.String(), "triglot: data directory ./data belongs to member 8e9e05c52164694d of cluster cdf818194e3a8c32, but ")
}

// Every source of the configuration reaches the member.
func TestConfigReachesTheMember(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("name: m1\ndata-dir: from-file\nlog-format: json\nlog-outputs: [stderr, a.log]\n"), 0o600))
	r, _ := serving(t, dir, []string{"TRIGLOT_QUOTA_BACKEND_BYTES=12345678", "GOMEMLIMIT=1GiB", "GOGC=77", "ETCD_METRICS=extensive", "TRIGLOT_LOG_FORMAT=text"},
		append(anyPort, "--config-file=a.yaml", "--listen-metrics-urls=http://127.0.0.1:0", "--listen-client-http-urls=http://127.0.0.1:0", "--initial-cluster-token=t")...)
	require.DirExists(t, filepath.Join(dir, "from-file"))
	require.Regexp(t, `(?m)^\S+ \S+ info  starting Triglot .* name=m1 data-dir=from-file$`, r.stderr.String())

	require.Regexp(t, `info  memory  limit-bytes=1073741824 caches-bytes=\d+ requests-bytes=\d+ gc-percent=77`, r.stderr.String())

	addresses := r.addresses(4) // ZooKeeper's is the last
	client, plain, metrics := addresses[0], addresses[1], addresses[2]
	r.await(func() bool { return strings.Contains(r.stdout.String(), "curl http://"+plain+"/v3/kv/range ") }, "it names the HTTP address")
	status, text := httpGet(t, http.DefaultClient, "http://"+metrics+"/metrics")
	require.Equal(t, 200, status)
	require.Contains(t, text, "\netcd_server_quota_backend_bytes 1.2345678e+07\n")
	require.Contains(t, text, "\ngo_sched_latencies_seconds_count", "an extensive metric")
	status, _ = httpGet(t, http.DefaultClient, "http://"+plain+"/version")
	require.Equal(t, 200, status)
	status, _ = httpGet(t, http.DefaultClient, "http://"+metrics+"/version")
	require.Equal(t, 404, status, "the metrics and the health checks only")
	put(t, dial(t, client), "k", "v")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+client+"/version", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(request)
	if err == nil {
		_ = resp.Body.Close()
	}
	require.Error(t, err, "HTTP has moved to an address of its own")
	r.stop()

	log, err := os.ReadFile(filepath.Join(dir, "a.log"))
	require.NoError(t, err)
	require.Equal(t, r.stderr.String(), string(log), "both outputs get the whole log")
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"triglot", "serve", "--listen-client-urls=unix://a.sock", "--zk-listen=127.0.0.1:0"}
	r, address := serving(t, dir, nil, args...)
	require.Equal(t, "a.sock", address)
	path := filepath.Join(dir, "a.sock")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	status, _ := httpGet(t, client, "http://localhost/health")
	require.Equal(t, 200, status)
	r.await(func() bool {
		return strings.Contains(r.stdout.String(), "curl --unix-socket a.sock http://localhost/v3/kv/range -d ")
	}, "it says how to call it")

	second := start(t, dir, nil, append(args, "--data-dir=other")...)
	require.Equal(t, exitFailed, second.exit())
	require.Contains(t, second.stderr.String(), "socket a.sock is in use by another process")

	r.signal(syscall.SIGKILL) // leaves the socket behind
	require.FileExists(t, path)
	r, _ = serving(t, dir, nil, args...)
	r.stop()
	require.NoFileExists(t, path)
}

func TestSystemdIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	require.NoError(t, err)
	defer socket.Close()
	r := start(t, dir, []string{"NOTIFY_SOCKET=" + filepath.Join(dir, "notify")}, anyPort...)
	require.NoError(t, socket.SetReadDeadline(time.Now().Add(patience)))
	message := make([]byte, 64)
	n, err := socket.Read(message)
	require.NoError(t, err)
	require.Equal(t, "READY=1", string(message[:n]))
	r.await(func() bool { return strings.Contains(r.stderr.String(), "ready to serve client requests") }, "it says that it serves")
	r.stop()
}

// The line that says why a program cannot run is JSON if the log is.
func TestFatalLineFollowsTheLog(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), nil, append(anyPort, "--logger=zap", "--initial-cluster-state=existing")...)
	require.Equal(t, exitFailed, r.exit())
	lines := strings.Split(strings.TrimSpace(r.stderr.String()), "\n")
	var last struct{ Level, Msg, Error string }
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	require.Equal(t, "fatal", last.Level)
	require.Contains(t, last.Error, "names no other member")
}

// Nothing follows the line that says why a program cannot run, whoever has something to say.
func TestFatalLineIsTheLast(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var stderr lockedBuffer
		p := &process{stderr: &stderr}
		log, err := p.newJournal(&config.Log{Format: format, Outputs: []string{"stderr"}})
		require.NoError(t, err)
		log.Info("before")
		log.fatal(p, errors.New("the reason"))
		log.Warn("after")
		require.Contains(t, stderr.String(), "before")
		require.Contains(t, stderr.String(), "the reason")
		require.NotContains(t, stderr.String(), "after")
		require.NoError(t, log.close())
	}
}

func TestStopHasAnEnd(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	tests := []struct {
		name    string
		signals []time.Duration // after the first one
		end     time.Duration   // that a stop in good order takes
		want    time.Duration
	}{
		{"in good order", nil, 300 * time.Millisecond, 300 * time.Millisecond},
		{"too slow", nil, time.Hour, stopTime},
		{"a second signal", []time.Duration{700 * time.Millisecond}, time.Hour, 700 * time.Millisecond},
		{"an echo of the first", []time.Duration{20 * time.Millisecond}, 300 * time.Millisecond, 300 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals := make(chan os.Signal, 2)
				begin := time.Now()
				for _, after := range tt.signals {
					time.AfterFunc(after, func() { signals <- syscall.SIGTERM })
				}
				require.NoError(t, stop(log, func() error { <-time.After(tt.end); return nil }, signals))
				require.Equal(t, tt.want, time.Since(begin))
				<-time.After(tt.end) // what was left behind ends too
			})
		})
	}
}
