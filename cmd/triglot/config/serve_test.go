package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// serve loads a configuration in serve mode. A file of the given text, if it is
// not empty, is named by --config-file.
func serve(t *testing.T, args, env []string, file string) (*Config, error) {
	t.Helper()
	if file != "" {
		args = append([]string{"--config-file", writeFile(t, file)}, args...)
	}
	f := NewServeFlags()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f.Define(fs)
	if err := fs.Parse(args); err != nil {
		return nil, FlagError(err)
	}
	return f.Load(env)
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "triglot.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestServeDefaults(t *testing.T) {
	c, err := serve(t, nil, []string{"PATH=/bin"}, "")
	require.NoError(t, err)
	require.Empty(t, c.Notes)
	require.Equal(t, Serve, c.Mode)
	require.Equal(t, "default", c.Member.Name)
	require.Equal(t, "./data", c.Member.DataDir)
	require.Equal(t, 100*time.Millisecond, c.Member.Heartbeat)
	require.Equal(t, time.Second, c.Member.Election)
	require.Zero(t, c.Member.QuotaBytes, "half of the disk")
	require.Zero(t, c.Member.FlushCommands, "the store's default")
	require.Equal(t, Compaction{Period: time.Hour}, c.Member.Compaction)
	require.Equal(t, "http://localhost:2379", c.Listen.Client.String())
	require.Equal(t, "http://localhost:2379", c.Cluster.AdvertiseClient.String())
	require.Equal(t, "default=http://localhost:2380", c.Cluster.Initial)
	require.Equal(t, "etcd-cluster", c.Cluster.Token)
	require.False(t, c.Cluster.Existing)
	require.Equal(t, uint64(128), c.Requests.MaxTxnOps)
	require.Equal(t, uint64(1536*1024), c.Requests.MaxRequestBytes)
	require.Equal(t, uint32(1<<32-1), c.Requests.MaxConcurrentStreams)
	require.Equal(t, 2*time.Hour, c.Requests.KeepAliveInterval)
	require.Equal(t, "text", c.Log.Format)
	require.Equal(t, []string{"stderr"}, c.Log.Outputs)
	require.Equal(t, slog.LevelInfo, c.Log.Level)
}

// A flag wins over the environment, the environment over the file, and each over
// the default.
func TestServePrecedence(t *testing.T) {
	const file = "name: from-file\n"
	ours, theirs := "TRIGLOT_NAME=from-triglot", "ETCD_NAME=from-etcd"
	tests := []struct {
		args, env []string
		file      string
		want      string
	}{
		{nil, nil, "", "default"},
		{nil, nil, file, "from-file"},
		{nil, []string{theirs}, file, "from-etcd"},
		{nil, []string{ours}, file, "from-triglot"},
		{nil, []string{ours, "TRIGLOT_NAME="}, file, "from-file"},
		{[]string{"--name", "from-flag"}, []string{ours}, file, "from-flag"},
		{[]string{"--name=a", "--name=b"}, nil, file, "b"},
		{nil, []string{"ETCD_NAME=same", "TRIGLOT_NAME=same"}, file, "same"},
	}
	for _, tt := range tests {
		c, err := serve(t, tt.args, tt.env, tt.file)
		require.NoError(t, err)
		require.Equal(t, tt.want, c.Member.Name, "%v", tt)
	}

	// The file itself may be named by the environment.
	c, err := serve(t, nil, []string{"TRIGLOT_CONFIG_FILE=" + writeFile(t, file)}, "")
	require.NoError(t, err)
	require.Equal(t, "from-file", c.Member.Name)
}

func TestServeEveryOptionFromEverySource(t *testing.T) {
	values := map[string]string{"bool": "true", "number": "7", "duration": "7s", "urls": "http://127.0.0.1:7", "list": "a,b", "string": "seven"}
	known(Serve, func(o *option) {
		if o.fate != honoured || o.name == "config-file" {
			return
		}
		text := values[o.typeName()]
		if o.oneOf != nil {
			text = o.oneOf[len(o.oneOf)-1]
		}
		if o.name == "feature-gates" {
			text = "LeaseCheckpoint=true"
		}
		if o.name == "cors" {
			text = "http://a.example.com,https://b.example.com:1"
		}
		want := new(Config)
		require.NoError(t, o.set(want, text), o.name)
		key := variable(triglotPrefix, o.name)
		file, err := parseFile(Serve, "a.yaml", []byte(o.name+": "+text+"\n"))
		require.NoError(t, err)
		env, err := parseEnvironment([]string{key + "=" + text}).both()
		require.NoError(t, err)
		flags := NewServeFlags()
		fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		flags.Define(fs)
		require.NoError(t, fs.Parse([]string{"--" + o.name + "=" + text}))
		for _, s := range []source{file, env, flags.given} {
			c, all, err := assemble(Serve, s)
			require.NoError(t, err, o.name)
			require.Contains(t, all, o.name)
			require.Equal(t, o.field(want), o.field(c), o.name)
		}
	})
}

func TestServeMistakes(t *testing.T) {
	tests := []struct {
		name      string
		args, env []string
		file      string
		want      string
	}{
		{
			name: "unknown flag", args: []string{"--listen-clients-urls=http://localhost:1"},
			want: "unknown flag --listen-clients-urls: did you mean --listen-client-urls?",
		},
		{name: "unknown flag, nothing near", args: []string{"--frobnicate"}, want: "unknown flag --frobnicate"},
		{name: "one dash", args: []string{"-name", "x"}, want: "unknown flag -name: did you mean --name, with two dashes?"},
		{name: "no value", args: []string{"--name"}, want: "--name needs a value"},
		{name: "no number", args: []string{"--heartbeat-interval=fast"}, want: `--heartbeat-interval: "fast" is not a whole number from 0`},
		{name: "negative", args: []string{"--max-txn-ops=-1"}, want: `--max-txn-ops: "-1" is not a whole number from 0`},
		{name: "out of range", args: []string{"--snapshot-count=99999999999999999999"}, want: `--snapshot-count: "99999999999999999999" is out of range`},
		{name: "no unit", args: []string{"--grpc-keepalive-timeout=20"}, want: `--grpc-keepalive-timeout: "20" is not a duration such as 100ms, 5s or 10m`},
		{name: "no URL", args: []string{"--listen-client-urls=localhost:2379"}, want: "--listen-client-urls: URL scheme must be http, https, unix, or unixs: localhost:2379"},
		{name: "no port", args: []string{"--listen-client-urls=http://localhost"}, want: `--listen-client-urls: URL address does not have the form "host:port": http://localhost`},
		{name: "no origin", args: []string{"--cors=https://a.example.com,https://b.example.com/"}, want: `--cors: "https://b.example.com/" is not an origin, such as https://example.com, nor is all of it *`},
		{name: "no choice", args: []string{"--log-level=loud"}, want: `--log-level: "loud" is not one of debug, info, warn, error, panic, fatal`},

		{name: "wrong variable", env: []string{"ETCD_ELECTION_TIMEOUT=soon"}, want: `ETCD_ELECTION_TIMEOUT: "soon" is not a whole number from 0`},
		{name: "a losing value is checked too", args: []string{"--election-timeout=1000"}, env: []string{"ETCD_ELECTION_TIMEOUT=soon"}, want: `ETCD_ELECTION_TIMEOUT: "soon" is not a whole number from 0`},
		{
			name: "variables that contradict", env: []string{"ETCD_NAME=a", "TRIGLOT_NAME=b"},
			want: "TRIGLOT_NAME and ETCD_NAME have different values: unset one of them",
		},

		{name: "unknown key", file: "# note\nnam: x\n", want: "triglot.yaml:2: unknown key nam: did you mean name?"},
		{name: "unknown key, underscores", file: "data_dir: x\n", want: "triglot.yaml:1: unknown key data_dir: did you mean data-dir?"},
		{name: "a section of etcd's", file: "client-transport-security:\n  cert-file: x\n", want: "triglot.yaml:1: unknown key client-transport-security"},
		{name: "a key that is none", file: "config-file: x\n", want: "triglot.yaml:1: unknown key config-file"},
		{name: "twice", file: "name: a\nname: b\n", want: "triglot.yaml:2: name is given a second time: the first is at line 1"},
		{name: "wrong value", file: "name: a\nheartbeat-interval: fast\n", want: `triglot.yaml:2: heartbeat-interval: "fast" is not a whole number from 0`},
		{name: "nanoseconds", file: "grpc-keepalive-timeout: 20000000000\n", want: `triglot.yaml:1: grpc-keepalive-timeout: "20000000000" is not a duration such as 100ms, 5s or 10m`},
		{name: "nested", file: "name:\n  first: a\n", want: "triglot.yaml:2: name: a plain value or a list is expected"},
		{name: "no mapping", file: "- name\n", want: "triglot.yaml:1: key: value pairs are expected here"},
		{name: "no YAML", file: "name: [\n", want: "triglot.yaml: line 1: did not find expected node content"},
		{name: "two documents", file: "name: a\n---\nname: b\n", want: "triglot.yaml: a second document begins at line 2: one file is one configuration"},
		{name: "no file", args: []string{"--config-file=/nowhere/a.yaml"}, want: "cannot read the configuration file: open /nowhere/a.yaml: no such file or directory"},

		{name: "no use for it", args: []string{"--max-wals=7"}, want: "--max-wals cannot be honoured: " + noEffect},

		{name: "https", args: []string{"--listen-client-urls=https://127.0.0.1:1"}, want: "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme"},
		{name: "a host", args: []string{"--listen-peer-urls=http://example.com:1"}, want: "--listen-peer-urls: expected IP in URL for binding (http://example.com:1): 0.0.0.0 is all of them"},
		{
			name: "all addresses", args: []string{"--listen-client-urls=http://0.0.0.0:4"},
			want: "--listen-client-urls http://0.0.0.0:4 needs --advertise-client-urls, such as http://<this host>:4: where clients find this member",
		},
		{name: "nowhere", args: []string{"--listen-client-urls="}, want: "--listen-client-urls is empty: there must be one address for clients"},
		{name: "no host", args: []string{"--advertise-client-urls=http://:1"}, want: `--advertise-client-urls "http://:1" must be in the format "host:port", "unix:/path/to/socket" or "unixs:/path/to/socket" (unexpected empty host (http://:1))`},
		{name: "impatient", args: []string{"--election-timeout=499"}, want: "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]"},
		{name: "too patient", args: []string{"--election-timeout=50001"}, want: "--election-timeout[50001ms] is too long, and should be set less than 50000ms"},
		{name: "no heartbeat", args: []string{"--heartbeat-interval=0"}, want: "--heartbeat-interval must be >0 (set to 0ms)"},
		{name: "overflowing heartbeat", args: []string{"--heartbeat-interval=3689348814741910324"}, want: "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[3689348814741910324ms]"},
		{name: "no revisions", args: []string{"--auto-compaction-mode=revision"}, want: "--auto-compaction-mode=revision needs --auto-compaction-retention, the number of revisions to keep"},
		{name: "no number of revisions", args: []string{"--auto-compaction-mode=revision", "--auto-compaction-retention=5m"}, want: `--auto-compaction-retention "5m" is not a number of revisions`},
		{name: "no retention", args: []string{"--auto-compaction-retention=long"}, want: `--auto-compaction-retention "long" is neither a number of hours nor a duration such as 30m`},
		{name: "metrics", args: []string{"--metrics=all"}, want: `--metrics "all" is not one of basic, extensive`},
		{name: "fewer learners than none", args: []string{"--max-learners=-1"}, want: "--max-learners must be between 0 and 2147483647 (set to -1)"},
		{name: "no operations", args: []string{"--max-txn-ops=0"}, want: "--max-txn-ops must be between 1 and 2147483647"},
		{name: "too many streams", args: []string{"--max-concurrent-streams=4294967296"}, want: `--max-concurrent-streams: "4294967296" is out of range`},
		{name: "unknown gate", args: []string{"--feature-gates=InitialCorruptChek=true"}, want: "--feature-gates: unrecognized feature gate: InitialCorruptChek: did you mean InitialCorruptCheck?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := serve(t, tt.args, tt.env, tt.file)
			require.EqualError(t, err, tt.want)
			var usage *UsageError
			require.ErrorAs(t, err, &usage)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestServeDerived(t *testing.T) {
	c, err := serve(t, []string{
		"--name=m1", "--listen-client-urls=http://127.0.0.1:1,unix:///tmp/a.sock", "--initial-advertise-peer-urls=http://b:2,http://a:2",
		"--logger=zap", "--auto-compaction-mode=revision", "--auto-compaction-retention=500", "--quota-backend-bytes=-1",
		"--log-outputs=stdout,x.log,stdout", "--metrics=extensive", "--initial-cluster-state=existing",
	}, nil, "")
	require.NoError(t, err)
	require.Equal(t, c.Listen.Client, c.Cluster.AdvertiseClient, "clients find the member where it listens")
	require.Equal(t, "m1=http://a:2,m1=http://b:2", c.Cluster.Initial, "a member alone")
	require.Equal(t, "json", c.Log.Format, "etcd's form if etcd's logger is named")
	require.Equal(t, []string{"stdout", "x.log"}, c.Log.Outputs)
	require.Equal(t, Compaction{Revisions: 500}, c.Member.Compaction)
	require.Equal(t, int64(-1), c.Member.QuotaBytes)
	require.True(t, c.Extensive)
	require.True(t, c.Cluster.Existing)
}

func TestServeFile(t *testing.T) {
	c, err := serve(t, nil, nil, `
# every kind of value
name: m1
data-dir: &dir /var/lib/triglot
initial-cluster-token: *dir
heartbeat-interval: 200
election-timeout: 2000
quota-backend-bytes: 8_589_934_592
grpc-keepalive-timeout: 30s
auto-compaction-retention: 8
listen-client-urls: [http://127.0.0.1:2379, http://127.0.0.1:4001]
advertise-client-urls: http://m1:2379
cors: ""
log-level:
`)
	require.NoError(t, err)
	require.Equal(t, "m1", c.Member.Name)
	require.Equal(t, "/var/lib/triglot", c.Member.DataDir)
	require.Equal(t, "/var/lib/triglot", c.Cluster.Token)
	require.Equal(t, 2*time.Second, c.Member.Election)
	require.Equal(t, int64(8<<30), c.Member.QuotaBytes)
	require.Equal(t, 30*time.Second, c.Requests.KeepAliveTimeout)
	require.Equal(t, Compaction{Period: 8 * time.Hour}, c.Member.Compaction)
	require.Equal(t, []string{"http://127.0.0.1:2379", "http://127.0.0.1:4001"}, c.Listen.Client.Strings())
	require.Empty(t, c.Listen.Origins)
	require.Equal(t, slog.LevelInfo, c.Log.Level, "a key without a value is not given")

	for _, nothing := range []string{"# a note\n", "---\n", "{}\n", "null\n"} {
		c, err := serve(t, nil, nil, nothing)
		require.NoError(t, err, "%q", nothing)
		require.Equal(t, "default", c.Member.Name)
	}
	_, err = serve(t, nil, nil, "# "+strings.Repeat("x", maxFileBytes))
	require.ErrorContains(t, err, "it is no configuration file")
}

func TestServeNotes(t *testing.T) {
	c, err := serve(t, nil, []string{"TRIGLOT_NAM=x", "ETCD_PORT=tcp://10.0.0.1:2379", "OTHER=1"}, "")
	require.NoError(t, err)
	require.Equal(t, []Note{
		{slog.LevelWarn, "an environment variable is not known", []any{"variable", "ETCD_PORT"}},
		{slog.LevelWarn, "an environment variable is not known: did you mean TRIGLOT_NAME?", []any{"variable", "TRIGLOT_NAM"}},
	}, c.Notes)

	// What asks for what happens anyway is no mistake.
	c, err = serve(t, []string{"--auto-tls=false", "--pre-vote", "--cert-file=", "--compact-hash-check-time=60s", "--feature-gates=LeaseCheckpoint=false"}, nil, "")
	require.NoError(t, err)
	require.Empty(t, c.Notes)
}

// A mistake in what was asked for is told before the member starts.
func TestInitialClusterMustNameTheMember(t *testing.T) {
	for text, want := range map[string]string{
		"other=http://localhost:2380": `--initial-cluster does not mention "default", the --name of this member: add default=URL to it`,
		"default":                     `--initial-cluster: "default" is not of the form name=URL`,
	} {
		_, err := serve(t, []string{"--initial-cluster", text}, nil, "")
		require.EqualError(t, err, want)
		var usage *UsageError
		require.ErrorAs(t, err, &usage)
	}
}
