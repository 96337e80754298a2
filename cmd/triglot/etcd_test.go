package main

import (
	"encoding/json"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// asEtcd are the arguments of a binary called etcd.
var asEtcd = []string{"/usr/local/bin/etcd", "--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://127.0.0.1:0"}

func TestEtcdVersion(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"etcd", "--version"}, {"./etcd", "-version"}, {"triglot", "etcd", "--version"}} {
		r := start(t, t.TempDir(), nil, args...)
		require.Zero(t, r.exit())
		lines := strings.Split(r.stdout.String(), "\n")
		require.Len(t, lines, 5)
		require.Equal(t, "etcd Version: 3.7.3", lines[0])
		require.Regexp(t, `^Git SHA: \w+$`, lines[1])
		require.Equal(t, "Go Version: "+runtime.Version(), lines[2])
		require.Equal(t, "Go OS/Arch: "+runtime.GOOS+"/"+runtime.GOARCH, lines[3])
		require.Empty(t, r.stderr.String())
	}
	r := start(t, t.TempDir(), nil, "triglot", "version")
	require.Zero(t, r.exit())
	require.True(t, strings.HasPrefix(r.stdout.String(), "Triglot Version: "+version+"\nSpeaks etcd: 3.7.3\n"))
}

// logLine is a line of etcd's log.
type logLine struct {
	Level, TS, Caller, Msg string
	Error                  string
}

// logLines checks that every line on stderr has etcd's form.
func (r *running) logLines() []logLine {
	r.t.Helper()
	form := regexp.MustCompile(`^{"level":"[a-z]+","ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d{4})","caller":"[^"]+\.go:\d+","msg":"`)
	var lines []logLine
	for text := range strings.Lines(r.stderr.String()) {
		require.Regexp(r.t, form, text)
		var l logLine
		require.NoError(r.t, json.Unmarshal([]byte(text), &l), "%s", text)
		lines = append(lines, l)
	}
	return lines
}

func TestEtcdServes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, address := serving(t, dir, []string{"ETCD_LOGGER=zap", "ETCD_FOO=1"}, asEtcd...)
	require.DirExists(t, dir+"/default.etcd")
	require.Empty(t, r.stdout.String())
	status, body := httpGet(t, http.DefaultClient, "http://"+address+"/version")
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"etcdserver":"3.7.3","etcdcluster":"3.7.0","storage":"3.7.0"}`, body)
	_, metrics := httpGet(t, http.DefaultClient, "http://"+address+"/metrics")
	require.Contains(t, metrics, "\netcd_server_quota_backend_bytes 2.147483648e+09\n", "etcd's 2 GiB")
	put(t, dial(t, address), "k", "v")
	require.Less(t, r.signal(syscall.SIGTERM), atOnce)
	require.Zero(t, r.cmd.ProcessState.ExitCode())

	var messages []string
	for _, l := range r.logLines() {
		require.Contains(t, []string{"debug", "info", "warn"}, l.Level, "%v", l)
		messages = append(messages, l.Msg)
	}
	require.Contains(t, messages, "ready to serve client requests")
	require.Contains(t, messages, "recognized and used environment variable")
	require.Contains(t, messages, "unrecognized environment variable")

	// Once it has data, etcd does not care which cluster the flags describe.
	r, address = serving(t, dir, nil, append(asEtcd, "--initial-cluster=other=http://a:1,more=http://b:1", "--initial-cluster-token=x", "--initial-cluster-state=existing")...)
	require.Contains(t, get(t, dial(t, address), "k"), "v")
	r.stop()
}

func TestEtcdRefusals(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), nil, "etcd", "--nosuch")
	require.Equal(t, 2, r.exit())
	require.True(t, strings.HasPrefix(r.stderr.String(), "flag provided but not defined: -nosuch\nUsage:\n"))

	r = start(t, t.TempDir(), nil, "etcd", "--help")
	require.Zero(t, r.exit())
	require.Contains(t, r.stdout.String(), "--data-dir")

	for _, tt := range []struct {
		args, env []string
		want      string
	}{
		{[]string{"--name=a"}, []string{"ETCD_NAME=b"}, "conflicting environment variable ETCD_NAME is shadowed by corresponding command-line flag"},
		{[]string{"--listen-client-urls=http://127.0.0.1:0"}, nil, "--advertise-client-urls is required when --listen-client-urls is set explicitly"},
		{[]string{"--listen-metrics-urls=https://127.0.0.1:0"}, nil, "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"},
		{append(asEtcd[1:], "--initial-cluster=a=http://localhost:2380"), nil, `--initial-cluster does not mention "default", the --name of this member`},
	} {
		r := start(t, t.TempDir(), tt.env, append([]string{"etcd"}, tt.args...)...)
		require.Equal(t, 1, r.exit())
		lines := r.logLines()
		last := lines[len(lines)-1]
		require.Contains(t, []string{"warn", "fatal"}, last.Level, "as etcd: of a flag, of what comes after")
		require.Contains(t, last.Error, tt.want)
	}
}
