package observe

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// both are stock etcd and Triglot, in that order.
var both = []server.Target{server.Etcd, server.Triglot}

// start runs a server as etcd is run, with further flags.
func start(t *testing.T, target server.Target, args ...string) *server.Process {
	t.Helper()
	// An id follows from the peer URL: both have the same.
	return server.StartT(t, server.Options{
		Target: target, EtcdMode: true, AdvertisePeerURL: "http://127.0.0.1:2380", Args: args,
	})
}

// answer is a response, as far as both servers must agree on it.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// ask sends one request. Its answer is without what differs from one moment to the
// next.
func ask(t *testing.T, method, url string, header http.Header) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, http.NoBody)
	require.NoError(t, err)
	req.Header = header.Clone()
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	client := &http.Client{
		Transport: transport, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	require.NoError(t, err, "%s %s", method, url)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	for _, name := range []string{"Date", "Connection"} {
		resp.Header.Del(name)
	}
	return answer{resp.StatusCode, resp.Header, string(bytes.TrimSpace(body)) + strings.Repeat("\n", bytes.Count(body, []byte("\n")))}
}

// eventually waits until something holds.
func eventually(t *testing.T, holds func() bool, what string) {
	t.Helper()
	require.Eventually(t, holds, 20*time.Second, 20*time.Millisecond, what)
}

// awaitVersion waits until a server knows the version of its store: etcd comes to know
// it a little later than it serves.
func awaitVersion(t *testing.T, p *server.Process) {
	t.Helper()
	eventually(t, func() bool {
		return strings.Contains(ask(t, http.MethodGet, p.URL()+"/version", nil).Body, `"storage":"3.7.0"`)
	}, "no storage version")
}

// run runs a server with nothing but the given flags, until the test ends. It does not
// wait until it serves.
func run(t *testing.T, target server.Target, args ...string) (r *server.Run, logged func() string) {
	t.Helper()
	path, err := server.Binary(string(target))
	require.NoError(t, err)
	if target == server.Triglot {
		args = append([]string{"etcd"}, args...)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	r, err = server.NewRun(cmd)
	require.NoError(t, err)
	require.NoError(t, log.Close()) // the child has its own
	t.Cleanup(func() { require.NoError(t, r.Terminate()) })
	return r, func() string {
		text, err := os.ReadFile(log.Name())
		require.NoError(t, err)
		return string(text)
	}
}
