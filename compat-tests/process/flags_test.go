package process

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// patience is how long a process may take to serve or to give up.
const patience = 60 * time.Second

// slots bounds the processes that run at a time.
var slots = make(chan struct{}, 4)

// outcome is what became of a process.
type outcome struct {
	// status is the exit status; -1 if it served clients.
	status int
	// said is why it ended: the error of the last line of the log that has one, or
	// the first line if the log is none.
	said string
	all  string
}

// watched is the stderr of a process, in which a text is waited for.
type watched struct {
	mu    sync.Mutex // guards buf
	buf   bytes.Buffer
	text  string
	found chan struct{}
	once  sync.Once
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if strings.Contains(w.buf.String(), w.text) {
		w.once.Do(func() { close(w.found) })
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// begin runs a binary under the name etcd, in dir.
func begin(t *testing.T, name, dir string, env, args []string) (*exec.Cmd, *server.Run, *watched) {
	t.Helper()
	binary, err := server.Binary(name)
	require.NoError(t, err)
	stderr := &watched{text: "ready to serve client requests", found: make(chan struct{})}
	cmd := exec.Command(binary)
	cmd.Args = append([]string{"etcd"}, args...)
	cmd.Dir, cmd.Stderr = dir, stderr
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ETCD_") && !strings.HasPrefix(v, "TRIGLOT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	process, err := server.NewRun(cmd)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, process.Kill()) })
	return cmd, process, stderr
}

// run runs a binary until it serves or ends.
func run(t *testing.T, name string, files map[string]string, env, args []string) outcome {
	t.Helper()
	slots <- struct{}{}
	defer func() { <-slots }()
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	cmd, process, stderr := begin(t, name, dir, env, args)
	select {
	case <-stderr.found:
		// etcd says so before it looks at the certificates; let it end of that.
		select {
		case <-process.Done():
		case <-time.After(500 * time.Millisecond):
			require.NoError(t, process.Kill())
			return outcome{status: -1, all: stderr.String()}
		}
	case <-process.Done():
	case <-time.After(patience):
		require.Fail(t, "it neither served nor ended", "%s:\n%s", name, stderr)
	}
	return outcome{cmd.ProcessState.ExitCode(), reason(stderr.String()), stderr.String()}
}

// reason finds out of what was logged why a process ended.
func reason(log string) string {
	said := ""
	for line := range strings.Lines(log) {
		var entry struct{ Level, Error string }
		if json.Unmarshal([]byte(line), &entry) != nil {
			if said == "" {
				said = strings.TrimSpace(line)
			}
			continue
		}
		if entry.Error != "" && entry.Level != "info" {
			said = entry.Error
		}
	}
	return said
}

// flagCase is a command line. In its files, free ports are :0.
type flagCase struct {
	args, env []string
	files     map[string]string
	// status is what both end with; -1 is that both serve.
	status int
	// said is in what both say; "same" is that all of what etcd says is in what
	// Triglot says. Empty means that the words differ.
	said string
	// logs is what both log while they start.
	logs string
	// differs is why the two do not end alike; ours is Triglot's status then.
	differs string
	ours    int
}

var flagCases = []flagCase{
	{args: []string{"--nosuch"}, status: 2, said: "same"},
	{args: []string{"serve"}, status: 1, said: "same"},
	{args: []string{"--max-wals=abc"}, status: 2, said: `invalid value "abc" for flag -max-wals: `},
	{args: []string{"--auto-tls=maybe"}, status: 2, said: `invalid boolean value "maybe" for -auto-tls: `},
	{args: []string{"--initial-cluster-state=foo"}, status: 2, said: `invalid value "foo" for flag -initial-cluster-state: `},
	{args: []string{"--v2-deprecation=foo"}, status: 2, said: `invalid value "foo" for flag -v2-deprecation: `},
	{args: []string{"--discovery-fallback=foo"}, status: 2, said: `invalid value "foo" for flag -discovery-fallback: `},
	{args: []string{"--max-concurrent-streams=4294967296"}, status: 2, said: `invalid value "4294967296" for flag -max-concurrent-streams: `},
	{args: []string{"--unsafe-no-fsync=x"}, status: 2, said: `invalid boolean value "x" for -unsafe-no-fsync: `},
	{args: []string{"--name=a"}, env: []string{"ETCD_NAME=a"}, status: 1, said: "same"},
	{args: []string{"--config-file=nowhere.yaml"}, status: 1, said: "same"},
	{env: []string{"ETCD_CONFIG_FILE=nowhere.yaml"}, status: 1, said: "same"},
	{env: []string{"ETCD_FOO=1", "ETCD_PORT=tcp://1"}, status: -1},

	{args: []string{"--auto-compaction-mode=foo"}, status: 1, said: "same"},
	{args: []string{"--auto-compaction-mode="}, status: 1, said: "same"},
	{args: []string{"--auto-compaction-retention=abc"}, status: 1},
	{args: []string{"--auto-compaction-retention=-1"}, status: 1},
	{
		args: []string{"--auto-compaction-mode=revision", "--auto-compaction-retention=1h"}, status: -1, ours: 1,
		differs: "etcd takes one hour for 3 600 000 000 000 revisions",
	},
	{args: []string{"--election-timeout=400"}, status: 1, said: "same"},
	{args: []string{"--election-timeout=60000"}, status: 1, said: "same"},
	{args: []string{"--heartbeat-interval=0"}, status: 1, said: "same"},
	{args: []string{"--election-timeout=0"}, status: 1, said: "same"},
	{args: []string{"--compact-hash-check-time=0s"}, status: 1, said: "same"},
	{args: []string{"--snapshot-count=0", "--quota-backend-bytes=-1", "--max-concurrent-streams=0"}, status: -1},
	{args: []string{"--max-txn-ops=0"}, status: -1, ours: 1, differs: "no transaction could be made"},
	{args: []string{"--metrics=foo"}, status: -1},
	{args: []string{"--force-new-cluster", "--pre-vote=false", "--strict-reconfig-check=false", "--max-learners=3"}, status: -1},
	{args: []string{"--socket-reuse-port", "--socket-reuse-address", "--corrupt-check-time=1h"}, status: -1},

	{args: []string{"--cors=foo"}, status: 2, said: "same"},
	{args: []string{"--cors=https://a.example.com"}, status: 2, said: "same"},
	{args: []string{"--cors=http://a.example.com:80/"}, status: 2, said: "same"},
	{args: []string{"--cors=*,http://a.example.com:80"}, status: 2, said: "same"},
	{args: []string{"--cors="}, status: 2, said: "same"},
	{args: []string{"--cors=http://a.example.com:80,https://b.example.com:443"}, status: -1},
	{env: []string{"ETCD_CORS=foo"}, status: 1},
	{args: []string{"--advertise-client-urls="}, status: -1},
	{args: []string{"--initial-advertise-peer-urls="}, status: -1},
	{args: []string{"--compaction-batch-limit=10", "--compaction-sleep-interval=1ms", "--unsafe-no-fsync"}, status: -1},
	{args: []string{"--bootstrap-defrag-threshold-megabytes=100"}, status: -1, logs: `"msg":"Skipping defragmentation"`},

	{args: []string{"--logger=capnslog"}, status: 1, said: "same"},
	{args: []string{"--logger=foo"}, status: 1, said: "same"},
	{args: []string{"--log-level=foo"}, status: 2},
	{args: []string{"--log-format=foo"}, status: 1, said: "same"},
	{args: []string{"--log-outputs=default,stderr"}, status: 1, said: "same"},
	{args: []string{"--log-outputs=stderr", "--enable-log-rotation"}, status: 1, said: "same"},
	{args: []string{"--log-outputs=stderr,a.log,b.log", "--enable-log-rotation"}, status: 1, said: "same"},
	{args: []string{"--log-outputs=a.log", "--enable-log-rotation", "--log-rotation-config-json={"}, status: 1, said: "same"},
	{args: []string{"--log-outputs=stderr,a.log", "--enable-log-rotation", `--log-rotation-config-json={"maxsize":1}`}, status: -1},

	{args: []string{"--listen-client-urls=http://127.0.0.1:0"}, status: 1, said: "same"},
	{args: []string{"--listen-metrics-urls=http://example.com:1"}, status: 1, said: "same"},
	{args: []string{"--listen-metrics-urls=ftp://127.0.0.1:1"}, status: 2, said: "same"},
	{args: []string{"--listen-metrics-urls=http://127.0.0.1"}, status: 2, said: "same"},
	{args: []string{"--listen-metrics-urls=http://127.0.0.1:1/x"}, status: 2, said: "same"},
	{args: []string{"--initial-advertise-peer-urls=http://:2380"}, status: 1, said: "same"},
	{args: []string{"--advertise-client-urls=http://:2379"}, status: 1, said: "same"},
	{args: []string{"--initial-cluster=a=http://a:1"}, status: 1},
	{args: []string{"--initial-cluster=foo"}, status: 1},
	{args: []string{"--name="}, status: 1},

	{args: []string{"--tls-min-version=TLS1.1"}, status: 1, said: "same"},
	{args: []string{"--tls-max-version=foo"}, status: 1, said: "same"},
	{args: []string{"--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"}, status: 1, said: "same"},
	{args: []string{"--tls-min-version=TLS1.3", "--cipher-suites=TLS_AES_128_GCM_SHA256"}, status: 1, said: "same"},
	{args: []string{"--cipher-suites=FOO"}, status: 1, said: "same"},
	{args: []string{"--listen-client-urls=https://127.0.0.1:0", "--advertise-client-urls=https://a:1"}, status: 1, said: "same"},
	{args: []string{"--listen-metrics-urls=https://127.0.0.1:0"}, status: 1, said: "same"},
	{args: []string{"--listen-peer-urls=https://127.0.0.1:0"}, status: 1, said: "KeyFile and CertFile are not presented"},
	{args: []string{"--listen-client-urls=https://127.0.0.1:0", "--advertise-client-urls=https://a:1", "--cert-file=a"}, status: 1, said: "same"},
	{args: []string{"--listen-client-urls=https://127.0.0.1:0", "--advertise-client-urls=https://a:1", "--cert-file=a", "--key-file=b"}, status: 1, said: "same"},
	{
		args:   []string{"--listen-client-urls=https://127.0.0.1:0", "--advertise-client-urls=https://a:1", "--cert-file=a", "--key-file=b"},
		files:  map[string]string{"a": "x", "b": "y"},
		status: 1, said: "same",
	},
	{args: []string{"--listen-peer-urls=https://127.0.0.1:0", "--peer-cert-file=a", "--peer-key-file=b"}, status: 1, said: "same"},
	{args: []string{"--cert-file=a", "--key-file=b"}, status: -1}, // an address without TLS
	{args: []string{"--trusted-ca-file=a"}, status: -1},
	{args: []string{"--auto-tls", "--listen-client-urls=https://127.0.0.1:0", "--advertise-client-urls=https://a:1"}, status: -1},
	{args: []string{"--auto-tls", "--self-signed-cert-validity=0"}, status: 1, said: "same"},
	{
		args:   []string{"--listen-client-urls=http://127.0.0.1:23791", "--listen-client-http-urls=http://127.0.0.1:23791", "--advertise-client-urls=http://a:1"},
		status: 1, said: "same",
	},

	{args: []string{"--feature-gates=Nope=true"}, status: 2, said: "same"},
	{args: []string{"--feature-gates=LeaseCheckpoint"}, status: 2, said: "same"},
	{args: []string{"--feature-gates=LeaseCheckpoint=x"}, status: 2, said: "same"},
	{args: []string{"--feature-gates=LeaseCheckpointPersist=true"}, status: 1, said: "same"},
	{args: []string{"--feature-gates=AllAlpha=true"}, status: -1},
	{
		args: []string{"--experimental-initial-corrupt-check=true"}, status: 2, ours: -1,
		differs: "kubeadm and k3s still write what etcd 3.6 took",
	},
	{args: []string{"--discovery-token=x"}, status: 1},
	{args: []string{"--discovery-endpoints=http://127.0.0.1:1"}, status: 1},
	{args: []string{"--discovery-fallback=proxy"}, status: 1, said: "same"},

	{args: []string{"--auth-token=foo"}, status: 1},
	{args: []string{"--auth-token=jwt"}, status: 1},
	{args: []string{"--auth-token=jwt,sign-method=RS256,pub-key=/nowhere"}, status: 1},
	{args: []string{"--bcrypt-cost=1", "--auth-token-ttl=0"}, status: -1},

	{args: []string{"--config-file=a.yaml"}, files: map[string]string{"a.yaml": "name: [\n"}, status: 1},
	{args: []string{"--config-file=a.yaml"}, files: map[string]string{"a.yaml": "feature-gates: Nope=true\n"}, status: 1, said: "same"},
	{args: []string{"--config-file=a.yaml"}, files: map[string]string{"a.yaml": "election-timeout: 100\n"}, status: 1, said: "same"},
	{args: []string{"--config-file=a.yaml"}, files: map[string]string{"a.yaml": "tls-min-version: TLS1.3\ncipher-suites: [TLS_AES_128_GCM_SHA256]\n"}, status: 1, said: "same"},
	{
		args: []string{"--config-file=a.yaml", "--no-such-check"}, status: 2, said: "same",
		files: map[string]string{"a.yaml": "name: a\n"},
	},
	{
		args: []string{"--config-file=a.yaml", "--name=b"}, env: []string{"ETCD_NAME=c"}, status: -1,
		files: map[string]string{"a.yaml": `
data-dir: from-file
listen-client-urls: http://127.0.0.1:0
listen-peer-urls: http://127.0.0.1:0
advertise-client-urls: http://127.0.0.1:1
client-transport-security: {auto-tls: false, allowed-cn: [a]}
peer-transport-security:
  skip-client-san-verification: true
watch-progress-notify-interval: 5000000000
no-such-key: {a: b}
`},
	},
}

// What the flags contradict, or is no value of theirs, has the same end.
func TestFlags(t *testing.T) {
	for _, name := range []string{"etcd", "triglot"} {
		_, err := server.Binary(name) // once, and not within a test's time
		require.NoError(t, err)
	}
	for _, tt := range flagCases {
		t.Run(strings.Join(append(tt.env, tt.args...), " "), func(t *testing.T) {
			t.Parallel()
			args := append([]string{}, tt.args...)
			if _, file := tt.files["a.yaml"]; !file {
				args = withPorts(args)
			}
			theirs, ours := run(t, "etcd", tt.files, tt.env, args), run(t, "triglot", tt.files, tt.env, args)
			want := tt.status
			if tt.differs != "" {
				want = tt.ours
			}
			require.Equal(t, tt.status, theirs.status, "etcd:\n%s", theirs.all)
			require.Equal(t, want, ours.status, "Triglot:\n%s", ours.all)
			require.Contains(t, theirs.all, tt.logs)
			require.Contains(t, ours.all, tt.logs)
			switch tt.said {
			case "":
			case "same":
				require.Contains(t, ours.said, theirs.said)
			default:
				require.Contains(t, theirs.said, tt.said)
				require.Contains(t, ours.said, tt.said)
			}
		})
	}
}

// withPorts adds addresses that are free, as far as a command line has none.
func withPorts(args []string) []string {
	has := func(name string) bool {
		for _, a := range args {
			if strings.HasPrefix(a, "--"+name+"=") {
				return true
			}
		}
		return false
	}
	if !has("listen-client-urls") {
		args = append(args, "--listen-client-urls=http://127.0.0.1:0")
		if !has("advertise-client-urls") {
			args = append(args, "--advertise-client-urls=http://127.0.0.1:1")
		}
	}
	if !has("listen-peer-urls") {
		args = append(args, "--listen-peer-urls=http://127.0.0.1:0")
	}
	return args
}
