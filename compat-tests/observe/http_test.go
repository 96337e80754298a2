package observe

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// endpoints are asked of every listener with every method.
var endpoints = []string{
	"/health", "/health?exclude=NOSPACE", "/health?exclude=NOSPACE&exclude=CORRUPT", "/health?serializable=true", "/health?serializable=false",
	"/health?exclude=", "/health?exclude=nonsense", "/health/", "/health/x",
	"/livez", "/livez?verbose", "/livez?verbose=false", "/livez?exclude=serializable_read", "/livez?exclude=nonsense&verbose",
	"/livez/serializable_read", "/livez/serializable_read?verbose", "/livez/linearizable_read", "/livez/", "/livez/nonsense",
	"/readyz", "/readyz?verbose", "/readyz?exclude=data_corruption&exclude=non_learner&verbose", "/readyz?exclude=nonsense",
	"/readyz/data_corruption?verbose", "/readyz/serializable_read", "/readyz/linearizable_read", "/readyz/non_learner",
	"/readyz/linearizable_read?verbose&exclude=linearizable_read", "/readyz/nonsense", "/readyz/",
	"/version", "/version/", "/version?x=y",
	"/debug", "/debug/", "/debug/vars", "/debug/vars/", "/debug/pprof", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/symbol",
	"/debug/pprof/nonsense", "/debug/pprof/goroutine", "/debug/requests", "/debug/events",
	"/", "/nonsense", "/v2", "/v2/keys", "/v2/keys/a", "/v2/members", "/v2/stats/self", "/config/local/log",
	"/v3", "/v3beta", "/raft", "/members", "/leases", "/metrics/", "//health", "/health/../version",
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch, "NONSENSE",
}

// settled takes out of an answer what is of one process or moment: the variables, the
// profiles, and the order of the checks, which etcd takes from a map.
func settled(path string, a answer) answer {
	switch {
	case a.Status != http.StatusOK:
	case strings.HasPrefix(path, "/debug/vars"), strings.HasPrefix(path, "/debug/pprof/"), path == "/debug/requests", path == "/debug/events":
		a.Header.Del("Content-Length")
		a.Body = ""
	case strings.Contains(path, "verbose"):
		lines := strings.Split(a.Body, "\n")
		slices.Sort(lines)
		a.Body = strings.Join(lines, "\n")
	}
	return a
}

func compareAll(t *testing.T, urls map[server.Target]string, header http.Header) {
	t.Helper()
	for _, method := range methods {
		for _, path := range endpoints {
			got := make(map[server.Target]answer)
			for _, target := range both {
				got[target] = settled(path, ask(t, method, urls[target]+path, header))
			}
			require.Equal(t, got[server.Etcd], got[server.Triglot], "%s %s", method, path)
		}
	}
}

// TestEndpoints asks both servers for all paths, with all methods, on each kind of
// listener and with the flags that change the answers.
func TestEndpoints(t *testing.T) {
	for _, tt := range []struct {
		name     string
		listener string // a flag that takes a URL to listen on; empty is the client listener
		args     []string
		header   http.Header
	}{
		{name: "defaults"},
		{name: "pprof", args: []string{"--enable-pprof"}},
		{name: "debug", args: []string{"--log-level", "debug"}},
		{name: "no gateway", args: []string{"--enable-grpc-gateway=false"}},
		{name: "metrics listener", listener: "--listen-metrics-urls", args: []string{"--enable-pprof"}},
		{name: "other origin", args: []string{"--cors", "http://good.example:80"}, header: http.Header{"Origin": {"http://evil.example"}}},
		{name: "good origin", args: []string{"--cors", "http://good.example:80,http://x:80"}, header: http.Header{"Origin": {"http://good.example:80"}}},
		{name: "any origin", header: http.Header{"Origin": {"http://any.example"}}},
		{name: "unknown host", args: []string{"--host-whitelist", "good.example,127.0.0.1"}, header: http.Header{"Host": {"evil.example:80"}}},
		{name: "known host", args: []string{"--host-whitelist", "good.example,127.0.0.1"}, header: http.Header{"Host": {"good.example:80"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			urls := make(map[server.Target]string)
			for _, target := range both {
				args := tt.args
				if tt.listener != "" {
					port, err := server.FreePort()
					require.NoError(t, err)
					urls[target] = fmt.Sprintf("http://127.0.0.1:%d", port)
					args = append(slices.Clone(args), tt.listener, urls[target])
				}
				p := start(t, target, args...)
				awaitVersion(t, p)
				if tt.listener == "" {
					urls[target] = p.URL()
				}
			}
			compareAll(t, urls, tt.header)
		})
	}
}

// TestSeparateHTTP has HTTP on a listener of its own: all that is HTTP moves there,
// and on the client listener gRPC alone is left.
func TestSeparateHTTP(t *testing.T) {
	urls := make(map[server.Target]string)
	for _, target := range both {
		var addresses [3]string
		for i := range addresses {
			port, err := server.FreePort()
			require.NoError(t, err)
			addresses[i] = fmt.Sprintf("127.0.0.1:%d", port)
		}
		urls[target] = "http://" + addresses[1]
		run(t, target, "--data-dir", t.TempDir(), "--listen-client-urls", "http://"+addresses[0],
			"--advertise-client-urls", "http://"+addresses[0], "--listen-client-http-urls", urls[target],
			"--listen-peer-urls", "http://"+addresses[2])
		eventually(t, func() bool { return reachable(addresses[1]) }, "no listener")
		eventually(t, func() bool {
			return ask(t, http.MethodGet, urls[target]+"/health", nil).Status == http.StatusOK &&
				strings.Contains(ask(t, http.MethodGet, urls[target]+"/version", nil).Body, `"storage":"3.7.0"`)
		}, "not ready")
		require.Error(t, plainGet("http://"+addresses[0]+"/health"), "%s: HTTP on the client listener", target)
	}
	compareAll(t, urls, nil)
}

func plainGet(url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func reachable(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close() // it was only tried
	return true
}

// TestAlarms asks for health while alarms stand.
func TestAlarms(t *testing.T) {
	urls := make(map[server.Target]string)
	for _, target := range both {
		p := start(t, target)
		awaitVersion(t, p)
		urls[target] = p.URL()
	}
	for _, alarm := range []string{"NOSPACE", "CORRUPT"} {
		for _, target := range both {
			post(t, urls[target], "/v3/maintenance/alarm", `{"action":"ACTIVATE","memberID":"13195394291058371180","alarm":"`+alarm+`"}`)
		}
		for _, path := range endpoints {
			if !strings.Contains(path, "health") && !strings.Contains(path, "livez") && !strings.Contains(path, "readyz") {
				continue
			}
			got := make(map[server.Target]answer)
			for _, target := range both {
				a := settled(path, ask(t, http.MethodGet, urls[target]+path, nil))
				lines := strings.Split(a.Body, "\n") // of a failure etcd shows the checks in any order
				slices.Sort(lines)
				a.Body = strings.Join(lines, "\n")
				got[target] = a
			}
			require.Equal(t, got[server.Etcd], got[server.Triglot], "%s with %s", path, alarm)
		}
		for _, target := range both { // of two alarms etcd tells either
			post(t, urls[target], "/v3/maintenance/alarm", `{"action":"DEACTIVATE","memberID":"13195394291058371180","alarm":"`+alarm+`"}`)
		}
	}
}
