package process

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// freeAddress is an address of this host that nobody uses.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := server.FreePort()
	require.NoError(t, err)
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// The command line of kubeadm's static pod, on free ports.
func TestKubeadm(t *testing.T) {
	etcdctl, err := server.Binary("etcdctl")
	require.NoError(t, err)
	both(t, func(t *testing.T, target server.Target) {
		pki, err := server.NewPKI(t.TempDir())
		require.NoError(t, err)
		client, metrics := freeAddress(t), freeAddress(t)
		cert, key, ca := pki.Path("server.pem"), pki.Path("server-key.pem"), pki.Path("ca.pem")
		args := []string{
			"--advertise-client-urls=https://" + client, "--cert-file=" + cert, "--client-cert-auth=true", "--data-dir=data",
			"--feature-gates=InitialCorruptCheck=true", "--initial-advertise-peer-urls=https://127.0.0.1:2380",
			"--initial-cluster=cp=https://127.0.0.1:2380", "--key-file=" + key, "--listen-client-urls=https://" + client,
			"--listen-metrics-urls=http://" + metrics, "--listen-peer-urls=https://127.0.0.1:0", "--name=cp",
			"--peer-cert-file=" + cert, "--peer-client-cert-auth=true", "--peer-key-file=" + key, "--peer-trusted-ca-file=" + ca,
			"--snapshot-count=10000", "--trusted-ca-file=" + ca, "--watch-progress-notify-interval=5s",
		}
		if target == server.Triglot { // as kubeadm wrote it for etcd 3.5, which etcd 3.7 refuses
			args = append(args, "--experimental-initial-corrupt-check=true", "--experimental-watch-progress-notify-interval=5s")
		}
		_, process, stderr := begin(t, string(target), t.TempDir(), nil, args)
		select {
		case <-stderr.found:
		case <-process.Done():
		case <-time.After(patience):
		}
		require.Contains(t, stderr.String(), stderr.text)
		out, ok := tool(t, etcdctl, "--endpoints", "https://"+client, "--cacert", ca, "--cert", pki.Path("client.pem"), "--key", pki.Path("client-key.pem"), "put", "k", "v")
		require.True(t, ok, out)
		for _, path := range []string{"/livez", "/readyz", "/health?exclude=NOSPACE&serializable=true"} {
			out, ok = tool(t, "curl", "-s", "-f", "http://"+metrics+path)
			require.True(t, ok, "%s: %s", path, out)
		}
		require.NotContains(t, stderr.String(), `"level":"error"`)
	})
}

// The file of etcd's repository that shows every key, on free ports.
func TestSampleFile(t *testing.T) {
	text, err := os.ReadFile("../../cmd/triglot/config/testdata/etcd.conf.yml")
	require.NoError(t, err)
	sample := string(text)
	for _, name := range []string{"peer:2380", "client:2379"} {
		name, port, _ := strings.Cut(name, ":")
		old := "\nlisten-" + name + "-urls: http://localhost:" + port
		require.Contains(t, sample, old)
		sample = strings.Replace(sample, old, "\nlisten-"+name+"-urls: http://127.0.0.1:0", 1)
	}
	both(t, func(t *testing.T, target server.Target) {
		got := run(t, string(target), map[string]string{"etcd.conf.yml": sample}, nil, []string{"--config-file=etcd.conf.yml"})
		require.Equal(t, -1, got.status, got.all)
		if target == server.Triglot { // etcd has an error to tell
			require.NotContains(t, got.all, `"level":"error"`)
		}
	})
}
