package config

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core/member"
)

func etcd(t *testing.T, args, env []string) (*Config, error) {
	t.Helper()
	var stderr bytes.Buffer
	c, err := LoadEtcd(args, env, &stderr)
	require.NotNil(t, c)
	return c, err
}

// texts are what notes say and about what, without their levels.
func texts(notes []Note) [][2]any {
	var list [][2]any
	for _, n := range notes {
		about := [2]any{n.Text, nil}
		if len(n.Attrs) > 1 {
			about[1] = n.Attrs[1]
		}
		list = append(list, about)
	}
	return list
}

func TestEtcdDefaults(t *testing.T) {
	c, err := etcd(t, nil, nil)
	require.NoError(t, err)
	require.Equal(t, Etcd, c.Mode)
	require.Equal(t, "default.etcd", c.Member.DataDir)
	require.Equal(t, Compaction{}, c.Member.Compaction, "history is kept")
	require.Zero(t, c.Member.QuotaBytes)
	require.Equal(t, "json", c.Log.Format)
	require.Equal(t, "default=http://localhost:2380", c.Cluster.Initial)
	require.Zero(t, c.Requests.WatchProgress)
	require.Equal(t, []Note{{slog.LevelWarn, "'data-dir' was empty; using default", []any{"data-dir", "default.etcd"}}}, c.Notes)

	c, err = etcd(t, []string{"--name", "m1"}, nil)
	require.NoError(t, err)
	require.Equal(t, "m1.etcd", c.Member.DataDir)
	require.Equal(t, "m1=http://localhost:2380", c.Cluster.Initial, "follows the name")
}

// The Go style of flags: one dash or two, a bool with or without a value.
func TestEtcdFlagStyle(t *testing.T) {
	c, err := etcd(t, []string{
		"-name", "m1", "--data-dir=/d", "-pre-vote", "--strict-reconfig-check=true",
		"-heartbeat-interval=0x64", "--watch-progress-notify-interval", "5s", "--snapshot-count=10000",
	}, nil)
	require.NoError(t, err)
	require.Equal(t, "m1", c.Member.Name)
	require.Equal(t, "/d", c.Member.DataDir)
	require.Equal(t, 100*time.Millisecond, c.Member.Heartbeat)
	require.Equal(t, 5*time.Second, c.Requests.WatchProgress)
	require.Equal(t, uint64(10000), c.Member.FlushCommands)
	require.Empty(t, c.Notes)
}

func TestEtcdMistakesOfFlags(t *testing.T) {
	tests := []struct {
		args []string
		said string // first line on stderr, as etcd says it
	}{
		{[]string{"--nosuch"}, "flag provided but not defined: -nosuch\n"},
		{[]string{"--max-wals=abc"}, `invalid value "abc" for flag -max-wals: "abc" is not a whole number from 0` + "\n"},
		{[]string{"--initial-cluster-state=foo"}, `invalid value "foo" for flag -initial-cluster-state: "foo" is not one of new, existing` + "\n"},
		{[]string{"--experimental-max-learners=abc"}, `invalid value "abc" for flag -experimental-max-learners: "abc" is not a whole number` + "\n"},
		{[]string{"--auto-tls=maybe"}, `invalid boolean value "maybe" for -auto-tls: "maybe" is neither true nor false` + "\n"},
		{[]string{"--name"}, "flag needs an argument: -name\n"},
		{[]string{"--feature-gates=Nope=true"}, `invalid value "Nope=true" for flag -feature-gates: unrecognized feature gate: Nope` + "\n"},
		{[]string{"--feature-gates=LeaseCheckpoint"}, `invalid value "LeaseCheckpoint" for flag -feature-gates: missing bool value for LeaseCheckpoint` + "\n"},
		{[]string{"--listen-client-urls=ftp://a:1"}, `invalid value "ftp://a:1" for flag -listen-client-urls: URL scheme must be http, https, unix, or unixs: ftp://a:1` + "\n"},
		{[]string{"--cors=foo"}, `invalid value "foo" for flag -cors: URL scheme must be http, https, unix, or unixs: foo` + "\n"},
		{[]string{"--cors=http://a:1,*"}, `invalid value "http://a:1,*" for flag -cors: URL scheme must be http, https, unix, or unixs: *` + "\n"},
		{[]string{"--cors=https://a.example.com"}, `invalid value "https://a.example.com" for flag -cors: URL address does not have the form "host:port": https://a.example.com` + "\n"},
		{[]string{"--cors="}, `invalid value "" for flag -cors: URL scheme must be http, https, unix, or unixs: ` + "\n"},
		{[]string{"--max-concurrent-streams=4294967296"}, `invalid value "4294967296" for flag -max-concurrent-streams: "4294967296" is out of range` + "\n"},
	}
	for _, tt := range tests {
		var stderr bytes.Buffer
		_, err := LoadEtcd(tt.args, nil, &stderr)
		var usage *UsageError
		require.ErrorAs(t, err, &usage)
		require.Equal(t, tt.said+usageLines, stderr.String())
	}
}

func TestEtcdInsteadOfServing(t *testing.T) {
	for _, arg := range []string{"-h", "--help"} {
		_, err := etcd(t, []string{arg}, nil)
		require.ErrorIs(t, err, ErrHelp)
	}
	for _, arg := range []string{"--version", "-version", "--version=true"} {
		_, err := etcd(t, []string{"--name", "x", arg}, nil)
		require.ErrorIs(t, err, ErrVersion)
	}
	_, err := etcd(t, []string{"--version=false"}, nil)
	require.NoError(t, err)
	require.Contains(t, Help(), "--listen-client-urls 'http://localhost:2379'\n")
	require.Contains(t, Help(), "--cert-file")
	require.NotContains(t, Help(), "--max-wals")
}

func TestEtcdErrors(t *testing.T) {
	tests := []struct {
		name      string
		args, env []string
		want      string
	}{
		{"an argument", []string{"serve"}, nil, `"serve" is not a valid flag`},
		{
			"a variable against a flag",
			[]string{"--name", "a"},
			[]string{"ETCD_NAME=a"},
			"conflicting environment variable ETCD_NAME is shadowed by corresponding command-line flag (either unset environment variable or disable flag)",
		},
		{"a wrong variable", nil, []string{"ETCD_ELECTION_TIMEOUT=abc"}, `ETCD_ELECTION_TIMEOUT: "abc" is not a whole number from 0`},
		{
			"listening without advertising",
			[]string{"--listen-client-urls=http://127.0.0.1:1"},
			nil,
			"--advertise-client-urls is required when --listen-client-urls is set explicitly",
		},
		{"impatience", []string{"--election-timeout=400"}, nil, "--election-timeout[400ms] should be at least as 5 times as --heartbeat-interval[100ms]"},
		{"a host", []string{"--listen-metrics-urls=http://example.com:1"}, nil, "--listen-metrics-urls: expected IP in URL for binding (http://example.com:1): 0.0.0.0 is all of them"},
		{"https without a certificate", []string{"--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://a:1"}, nil, "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme"},
		{"https for metrics without a certificate", []string{"--listen-metrics-urls=https://127.0.0.1:1"}, nil, "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"},
		{"https for peers without a certificate", []string{"--listen-peer-urls=https://127.0.0.1:1", "--cert-file=a", "--key-file=b"}, nil, "cannot listen on TLS for 127.0.0.1:1: KeyFile and CertFile are not presented"},
		{"a version of TLS", []string{"--tls-min-version=TLS1.1"}, nil, `unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)`},
		{"versions in disorder", nil, []string{"ETCD_TLS_MIN_VERSION=TLS1.3", "ETCD_TLS_MAX_VERSION=TLS1.2"}, "min version (TLS1.3) is greater than max version (TLS1.2)"},
		{"suites for 1.3", []string{"--tls-min-version=TLS1.3", "--cipher-suites=TLS_AES_128_GCM_SHA256"}, nil, "cipher suites cannot be configured when only TLS1.3 is enabled"},
		{"a suite", []string{"--cipher-suites=TLS_NONE"}, nil, `unexpected TLS cipher suite "TLS_NONE"`},
		{"no validity", []string{"--peer-auto-tls", "--self-signed-cert-validity=0"}, nil, "--self-signed-cert-validity: selfSignedCertValidity is invalid,it should be greater than 0"},
		{"gates that need another", []string{"--feature-gates=LeaseCheckpointPersist=true"}, nil, "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint"},
		{"rotation without a file", []string{"--enable-log-rotation"}, nil, "--log-outputs requires a single file path when --log-rotate-config-json is defined"},
		{"rotation of two files", []string{"--enable-log-rotation", "--log-outputs=a,b"}, nil, "--log-outputs requires a single file path when --log-rotate-config-json is defined"},
		{"a way to rotate", []string{"--enable-log-rotation", "--log-outputs=a", "--log-rotation-config-json={"}, nil, "improperly formatted log rotation config: unexpected end of JSON input"},
		{"one address for two", []string{"--listen-client-urls=http://127.0.0.1:1", "--listen-client-http-urls=http://127.0.0.1:1", "--advertise-client-urls=http://a:1"}, nil, "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url http://127.0.0.1:1"},
		{"discovery", []string{"--discovery-srv=example.com"}, nil, "--discovery-srv cannot be honoured: " + noDiscovery},
		{"no file", []string{"--config-file=/nowhere.yaml"}, nil, "cannot read the configuration file: open /nowhere.yaml: no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := etcd(t, tt.args, tt.env)
			require.EqualError(t, err, tt.want)
			var usage *UsageError
			require.NotErrorAs(t, err, &usage, "etcd's status is 1")
		})
	}
}

// Empty addresses are the default ones, as in etcd; of a file so is an empty list.
func TestEtcdEmptyIsDefault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcd.yaml")
	require.NoError(t, os.WriteFile(path, []byte("listen-client-urls: ''\nadvertise-client-urls: ''\ncors: ''\n"), 0o600))
	for _, args := range [][]string{
		{"--listen-client-urls=", "--advertise-client-urls=", "--listen-peer-urls=", "--initial-advertise-peer-urls="},
		{"--config-file", path},
	} {
		c, err := etcd(t, args, nil)
		require.NoError(t, err)
		require.Equal(t, "http://localhost:2379", c.Listen.Client.String())
		require.Equal(t, "http://localhost:2379", c.Cluster.AdvertiseClient.String())
		require.Equal(t, "http://localhost:2380", c.Listen.Peer.String())
		require.Equal(t, "http://localhost:2380", c.Cluster.AdvertisePeer.String())
		require.Equal(t, []string{"*"}, c.Listen.Origins)
	}
	_, err := etcd(t, []string{"--listen-client-urls="}, nil)
	require.EqualError(t, err, "--advertise-client-urls is required when --listen-client-urls is set explicitly", "it counts as given")
}

// What concerns the store is honoured by its name and its older one.
func TestEtcdStorage(t *testing.T) {
	c, err := etcd(t, []string{
		"--data-dir=d", "--experimental-compaction-batch-limit=7", "--compaction-sleep-interval=3ms",
		"--bootstrap-defrag-threshold-megabytes=100", "--low-disk-bytes=-1",
	}, nil)
	require.NoError(t, err)
	require.Equal(t, Storage{BatchRows: 7, Pause: 3 * time.Millisecond, LowDiskBytes: -1, defragMegabytes: 100}, c.Member.Storage)
	require.Contains(t, texts(c.Notes), [2]any{"Skipping defragmentation", "there is nothing to defragment: the engine gives back space as it goes"})

	_, err = etcd(t, []string{"--compaction-batch-limit=-1"}, nil)
	require.ErrorContains(t, err, "must not be negative")
}

func TestEtcdTolerance(t *testing.T) {
	c, err := etcd(t, []string{
		"--data-dir=d", "--max-snapshots=3", "--enable-pprof", "--feature-gates=InitialCorruptCheck=true", "--snapshot", "-vv=3",
		"--unsafe-no-fsync", "--force-new-cluster", "--experimental-initial-corrupt-check=true", "--experimental-watch-progress-notify-interval=5s",
		"--auto-tls=false", "--auth-token=simple", "--socket-reuse-address", "--enable-grpc-gateway=false",
	}, []string{"ETCD_LOGGER=zap", "ETCD_FOO=secret", "ETCD_VERSION=3.5", "ETCD_FORCE=1", "TRIGLOT_NAME=other", "ETCD_MEMORY_MLOCK=true"})
	require.NoError(t, err)
	require.Equal(t, "default", c.Member.Name, "etcd knows no TRIGLOT_NAME")
	require.Equal(t, 5*time.Second, c.Requests.WatchProgress, "by its older name")
	require.ElementsMatch(t, [][2]any{
		{"cannot set special environment variable", "ETCD_VERSION"},
		{"recognized and used environment variable", "ETCD_LOGGER"},
		{"recognized and used environment variable", "ETCD_MEMORY_MLOCK"},
		{"unrecognized environment variable", "ETCD_FOO"},
		{"an option has a new name", "--experimental-watch-progress-notify-interval"},
		{"the raft log is not synced: a power failure may take what was acknowledged", "--unsafe-no-fsync"},
		{"this member is to go on alone: all others are removed from its cluster", "--force-new-cluster"},
		{"an option has no effect", "ETCD_MEMORY_MLOCK"},
		{"an option has no effect", "--max-snapshots"},
		{"an option has become a feature gate", "--experimental-initial-corrupt-check"},
	}, texts(c.Notes))
	for _, n := range c.Notes {
		require.NotContains(t, n.Attrs, "secret", "a value may be a secret")
	}
}

// The flags that kubeadm gives a member without TLS.
func TestEtcdKubeadm(t *testing.T) {
	c, err := etcd(t, []string{
		"--advertise-client-urls=http://10.0.0.1:2379", "--data-dir=/var/lib/etcd", "--feature-gates=InitialCorruptCheck=true",
		"--initial-advertise-peer-urls=http://10.0.0.1:2380", "--initial-cluster=cp=http://10.0.0.1:2380",
		"--listen-client-urls=http://127.0.0.1:2379,http://10.0.0.1:2379", "--listen-metrics-urls=http://127.0.0.1:2381",
		"--listen-peer-urls=http://10.0.0.1:2380", "--name=cp", "--snapshot-count=10000", "--watch-progress-notify-interval=5s",
	}, nil)
	require.NoError(t, err)
	require.Empty(t, texts(c.Notes))
	require.True(t, c.Gates["InitialCorruptCheck"])
	require.Equal(t, "http://127.0.0.1:2381", c.Listen.Metrics.String())
	require.Equal(t, "http://10.0.0.1:2379,http://127.0.0.1:2379", c.Listen.Client.String())
}

// A configuration file makes etcd blind to everything else.
func TestEtcdFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcd.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`
name: from-file
data-dir: d
listen-client-urls: http://127.0.0.1:1
watch-progress-notify-interval: 5000000000
auto-compaction-retention: "1"
log-outputs: [stderr]
max-wals: 3
no-such-key: {a: b}
client-transport-security: {auto-tls: false, cert-file: ""}
peer-transport-security:
`), 0o600))
	for _, tt := range []struct{ args, env []string }{
		{[]string{"--config-file", path, "--name=from-flag", "--cert-file=a.pem"}, []string{"ETCD_NAME=from-env", "ETCD_FOO=1"}},
		{[]string{"--name=from-flag"}, []string{"ETCD_CONFIG_FILE=" + path, "ETCD_NAME=from-env"}},
	} {
		c, err := etcd(t, tt.args, tt.env)
		require.NoError(t, err)
		require.Equal(t, "from-file", c.Member.Name)
		require.Equal(t, "http://127.0.0.1:1", c.Listen.Client.String())
		require.Equal(t, "http://localhost:2379", c.Cluster.AdvertiseClient.String(), "not asked for in a file")
		require.Equal(t, 5*time.Second, c.Requests.WatchProgress, "from nanoseconds")
		require.Equal(t, Compaction{Period: time.Hour}, c.Member.Compaction)
		require.Equal(t, [][2]any{
			{"an option has no effect", "etcd.yaml:8: max-wals"},
			{"loaded server configuration, other configuration command line flags and environment variables will be ignored if provided", path},
		}, texts(c.Notes))
	}

	for text, want := range map[string]string{
		"discovery-config: {client: {endpoints: [http://a:1]}, token: t}\n":          "a.yaml:1: endpoints cannot be honoured: " + noDiscovery,
		"client-transport-security: [a]\n":                                           "a.yaml:1: key: value pairs are expected here",
		"socket-options: {reuse-port: often}\n":                                      `a.yaml:1: reuse-port: "often" is neither true nor false`,
		"listen-client-urls: http://a:1\n":                                           "--listen-client-urls: expected IP in URL for binding (http://a:1): 0.0.0.0 is all of them",
		"auto-compaction-mode: revision\nauto-compaction-retention: 1h\nname: 'x'\n": `--auto-compaction-retention "1h" is not a number of revisions`,
	} {
		path := filepath.Join(t.TempDir(), "a.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := etcd(t, []string{"--config-file", path}, nil)
		require.EqualError(t, err, want, "%q", text)
	}
}

// The keys and values of the sample file in etcd's repository, which etcd starts
// with.
func TestEtcdSampleFile(t *testing.T) {
	c, err := etcd(t, []string{"--config-file", "testdata/etcd.conf.yml"}, nil)
	require.NoError(t, err)
	require.Equal(t, "default.etcd", c.Member.DataDir)
	require.Equal(t, uint64(10000), c.Member.FlushCommands)
	require.Equal(t, slog.LevelDebug, c.Log.Level)
	require.Equal(t, "default=http://localhost:2380", c.Cluster.Initial)
	require.Equal(t, Compaction{Period: time.Hour}, c.Member.Compaction)
}

// A default address of localhost becomes this host's where the member listens on
// all addresses, as in etcd.
func TestEtcdAdvertisesThisHost(t *testing.T) {
	host, ok := thisHost()
	c, err := etcd(t, []string{"--name=m1", "--data-dir=d", "--listen-peer-urls=http://0.0.0.0:7"}, nil)
	require.NoError(t, err)
	want := "http://localhost:2380" // a host without a network
	if ok {
		want = "http://" + host + ":7"
	}
	require.Equal(t, want, c.Cluster.AdvertisePeer.String())
	require.Equal(t, "m1="+want, c.Cluster.Initial)

	c, err = etcd(t, []string{"--data-dir=d", "--listen-peer-urls=http://0.0.0.0:7", "--initial-advertise-peer-urls=http://a:7"}, nil)
	require.NoError(t, err)
	require.Equal(t, "http://a:7", c.Cluster.AdvertisePeer.String())
}

// The TLS sections of a file, and the names that the flags have for their keys.
func TestEtcdFileTLS(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcd.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`
listen-client-urls: https://127.0.0.1:1,http://127.0.0.1:2
listen-metrics-urls: https://127.0.0.1:3
self-signed-cert-validity: 0
cipher-suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305]
client-transport-security:
  cert-file: a.pem
  key-file: a.key
  client-cert-auth: true
  trusted-ca-file: ca.pem
  auto-tls: true
  allowed-cn: [root, alice]
  skip-client-san-verification: true
peer-transport-security:
  cert-file: p.pem
  key-file: p.key
  allowed-hostname: [m1.example.com]
`), 0o600))
	c, err := etcd(t, []string{"--config-file", path}, nil)
	require.NoError(t, err)
	require.Equal(t, Certificates{
		CertFile: "a.pem", KeyFile: "a.key", ClientCertAuth: true, TrustedCAFile: "ca.pem",
		AllowedNames: []string{"root", "alice"}, AnyAddress: true,
	}, c.TLS.Client)
	require.Equal(t, Certificates{CertFile: "p.pem", KeyFile: "p.key", AllowedHosts: []string{"m1.example.com"}}, c.TLS.Peer)
	require.Equal(t, uint64(1), c.TLS.SelfSignedYears)
	require.Equal(t, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}, c.TLS.Suites)
	require.Equal(t, uint16(tls.VersionTLS12), c.TLS.Min)
	require.Subset(t, texts(c.Notes), [][2]any{
		{"ignoring client auto TLS since certs given", nil},
		{"scheme is http or unix while key and cert files are present; ignoring key and cert files", "http://127.0.0.1:2"},
		{"scheme is http or unix while --client-cert-auth is enabled; ignoring client cert auth for this URL", "http://127.0.0.1:2"},
		{"scheme is HTTP while key and cert files are present; ignoring key and cert files", "http://localhost:2380"},
	})
}

// Gates have defaults, collective names and older flags.
func TestGates(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string // that differ from the defaults
	}{
		{nil, ""},
		{[]string{"--feature-gates=LeaseCheckpoint=true,LeaseCheckpointPersist=true"}, "LeaseCheckpoint=true,LeaseCheckpointPersist=true"},
		{[]string{"--feature-gates=AllBeta=false"}, "FastLeaseKeepAlive=false,TxnModeWriteWithSharedBuffer=false"},
		{[]string{"--feature-gates=FastLeaseKeepAlive=true,AllBeta=false"}, "TxnModeWriteWithSharedBuffer=false"},
		{[]string{"--feature-gates=AllAlpha=true,PriorityRequest=false"}, "CompactHashCheck=true,InitialCorruptCheck=true,LeaseCheckpoint=true,LeaseCheckpointPersist=true,SetMemberLocalAddr=true,StopGRPCServiceOnDefrag=true"},
		{[]string{"--experimental-enable-lease-checkpoint", "--experimental-txn-mode-write-with-shared-buffer=false"}, "LeaseCheckpoint=true,TxnModeWriteWithSharedBuffer=false"},
		{[]string{"--experimental-enable-lease-checkpoint", "--feature-gates=LeaseCheckpoint=false"}, ""},
	} {
		c, err := etcd(t, tt.args, nil)
		require.NoError(t, err)
		require.Equal(t, tt.want, c.Gates.String(), "%v", tt.args)
		require.Len(t, c.Gates, len(knownGates))
	}
}

// What concerns the other members reaches the configuration; etcd raises the timeouts of
// their connections to 5 s.
func TestEtcdCluster(t *testing.T) {
	c, err := etcd(t, []string{
		"--data-dir=d", "--name=b", "--initial-cluster=a=http://h:1,b=http://h:2,b=http://h:3", "--initial-cluster-state=existing",
		"--initial-advertise-peer-urls=http://h:2,http://h:3", "--max-learners=3", "--strict-reconfig-check=false", "--observer",
		"--pre-vote=false", "--initial-election-tick-advance=false", "--raft-read-timeout=1s", "--raft-write-timeout=7s",
		"--snapshot-catchup-entries=9", "--snapshot-transfer-rate=-1", "--experimental-corrupt-check-time=4m", "--compact-hash-check-time=2m", "--force-new-cluster",
	}, nil)
	require.NoError(t, err)
	require.True(t, c.Cluster.Existing && c.Cluster.ForceNew && c.Cluster.Trust)
	require.Equal(t, Members{MaxLearners: 3, Observer: true}, c.Cluster.Members)
	require.Contains(t, texts(c.Notes), [2]any{"an option has no effect", "--pre-vote"})
	require.False(t, c.Cluster.Raft.EarlyElection)
	require.Equal(t, Raft{CatchUpEntries: 9, TransferRate: -1, ReadTimeout: 5 * time.Second, WriteTimeout: 7 * time.Second}, c.Cluster.Raft)
	require.Equal(t, Checks{Corrupt: 4 * time.Minute, CompactHash: 2 * time.Minute}, c.Cluster.Checks)
	founders, err := c.Founders()
	require.NoError(t, err)
	require.Equal(t, []member.Peer{{Name: "a", URLs: []string{"http://h:1"}}, {Name: "b", URLs: []string{"http://h:2", "http://h:3"}}}, founders)

	c, err = etcd(t, []string{"--data-dir=d", "--initial-cluster=default=http://h:1,b=http://h:1"}, nil)
	require.NoError(t, err, "etcd looks at it when the member starts")
	_, err = c.Founders()
	require.ErrorContains(t, err, "has duplicate url: http://h:1 is that of \"default\" and of \"b\"")
}
