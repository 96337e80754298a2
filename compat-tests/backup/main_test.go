package backup

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/server"
)

// patience is how long anything that is due may take.
const patience = 30 * time.Second

// peerURL is advertised by all members here: ids follow from it. Nobody dials it.
const peerURL = "http://127.0.0.1:2380"

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// start runs a server on a directory, which is a new one if empty, until the test
// ends.
func start(t *testing.T, target server.Target, dir string, args ...string) *server.Process {
	t.Helper()
	p, err := server.Start(deadline(t), server.Options{
		Target: target, Dir: dir, AdvertisePeerURL: peerURL, EtcdMode: len(args) == 0, Args: args,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	return p
}

func connect(t *testing.T, p *server.Process, user string) *clientv3.Client {
	t.Helper()
	cfg := clientv3.Config{Endpoints: []string{p.Endpoint()}, DialTimeout: patience, Logger: zap.NewNop()}
	if user != "" {
		cfg.Username, cfg.Password = user, user
	}
	client, err := clientv3.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// ran is how a command ended.
type ran struct {
	status      int
	out, errOut string
}

// run runs a tool to its end.
func run(t *testing.T, name string, args ...string) ran {
	t.Helper()
	path, err := server.Binary(name)
	require.NoError(t, err)
	cmd := exec.CommandContext(deadline(t), path, args...)
	cmd.Dir = t.TempDir()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
	}
	return ran{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	r := run(t, name, args...)
	require.Zero(t, r.status, "%s %v: %s%s", name, args, r.out, r.errOut)
	return r.out
}

// save takes a snapshot of a server, as an operator does.
func save(t *testing.T, p *server.Process, user string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backup.db")
	args := []string{"--endpoints", p.Endpoint(), "snapshot", "save", path}
	if user != "" {
		args = append(args, "--user", user+":"+user)
	}
	mustRun(t, "etcdctl", args...)
	return path
}

// restoreFlags describe the member that start runs.
func restoreFlags(dir string, more ...string) []string {
	return append([]string{
		"--data-dir", filepath.Join(dir, "data"), "--name", "m1",
		"--initial-cluster", "m1=" + peerURL, "--initial-advertise-peer-urls", peerURL,
	}, more...)
}

// restoreOurs makes a directory for start with `triglot restore`, restoreTheirs with
// `etcdutl snapshot restore`.
func restoreOurs(t *testing.T, file string, more ...string) string {
	t.Helper()
	dir := t.TempDir()
	mustRun(t, "triglot", append([]string{"restore", file}, restoreFlags(dir, more...)...)...)
	return dir
}

func restoreTheirs(t *testing.T, file string, more ...string) string {
	t.Helper()
	dir := t.TempDir()
	mustRun(t, "etcdutl", append([]string{"snapshot", "restore", file}, restoreFlags(dir, more...)...)...)
	return dir
}
