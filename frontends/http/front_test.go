package httpfront

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/triglot/triglot/core"
)

// get asks a member's client handler for a path.
func get(t *testing.T, m *fakeMember, path string) *httptest.ResponseRecorder {
	t.Helper()
	f := New(Config{Store: m, Cluster: m, Version: "3.7.3"})
	return do(f.ClientHandler(), http.MethodGet, path)
}

func do(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

// noSpace and corrupt are members with an alarm, silent ones without a leader.
func noSpace(m *fakeMember) {
	m.status.Alarms = []core.Alarm{{Member: 1, Type: core.AlarmNoSpace}}
}

func corrupt(m *fakeMember) {
	m.status.Alarms = []core.Alarm{{Member: 1, Type: core.AlarmCorrupt}}
}

func leaderless(m *fakeMember) {
	m.status.Leader = 0
	m.quorumErr = core.Errorf(core.NoLeader, "an election is under way")
}

// The expected bodies are what etcd 3.7.3 answered to the same requests, but for
// the order of the checks, which etcd leaves to chance.
func TestProbes(t *testing.T) {
	well := func(*fakeMember) {}
	tests := []struct {
		name   string
		member func(*fakeMember)
		path   string
		code   int
		body   string
	}{
		{"health", well, "/health", 200, `{"health":"true","reason":""}`},
		{"health, local", well, "/health?serializable=true", 200, `{"health":"true","reason":""}`},
		{"no space", noSpace, "/health", 503, `{"health":"false","reason":"ALARM NOSPACE"}` + "\n"},
		{"no space, excluded", noSpace, "/health?exclude=NOSPACE", 200, `{"health":"true","reason":""}`},
		{"no space, other excluded", noSpace, "/health?exclude=CORRUPT&exclude=", 503, `{"health":"false","reason":"ALARM NOSPACE"}` + "\n"},
		{"corrupt", corrupt, "/health?exclude=NOSPACE", 503, `{"health":"false","reason":"ALARM CORRUPT"}` + "\n"},
		{"no leader", leaderless, "/health", 503, `{"health":"false","reason":"RAFT NO LEADER"}` + "\n"},
		{"no leader, local", leaderless, "/health?serializable=true", 200, `{"health":"true","reason":""}`},
		{
			"no quorum", func(m *fakeMember) { m.quorumErr = core.Timeout }, "/health", 503,
			`{"health":"false","reason":"RANGE ERROR:etcdserver: request timed out"}` + "\n",
		},
		{
			"broken engine", func(m *fakeMember) { m.rangeErr = errors.New("bad block") }, "/health?serializable=true", 503,
			`{"health":"false","reason":"RANGE ERROR:bad block"}` + "\n",
		},

		{"livez", well, "/livez", 200, "ok\n"},
		{"livez, verbose", well, "/livez?verbose", 200, "[+]serializable_read ok\nok\n"},
		{"livez without a leader", leaderless, "/livez", 200, "ok\n"},
		{"livez, one check", well, "/livez/serializable_read", 200, "ok\n"},
		{"livez, no such check", well, "/livez/linearizable_read", 404, "404 page not found\n"},
		{
			"livez, broken engine", func(m *fakeMember) { m.localErr = core.Stopped }, "/livez", 503,
			"[-]serializable_read failed: etcdserver: server stopped\n\n",
		},

		{"readyz", well, "/readyz", 200, "ok\n"},
		{
			"readyz, verbose", well, "/readyz?verbose", 200,
			"[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n",
		},
		{
			"readyz without a leader", leaderless, "/readyz", 503,
			"[+]data_corruption ok\n[+]serializable_read ok\n[-]linearizable_read failed: etcdserver: no leader\n[+]non_learner ok\n\n",
		},
		{"readyz without a leader, excluded", leaderless, "/readyz?exclude=linearizable_read&exclude=no_such", 200, "ok\n"},
		{"readyz, one good check", leaderless, "/readyz/serializable_read?verbose", 200, "[+]serializable_read ok\nok\n"},
		{"readyz, one bad check", leaderless, "/readyz/linearizable_read", 503, "[-]linearizable_read failed: etcdserver: no leader\n\n"},
		{"readyz, corrupt", corrupt, "/readyz/data_corruption", 503, "[-]data_corruption failed: alarm activated: CORRUPT\n\n"},
		{"readyz, no space", noSpace, "/readyz", 200, "ok\n"},
		{
			"readyz, learner", func(m *fakeMember) { m.status.Learner = true }, "/readyz/non_learner", 503,
			"[-]non_learner failed: not supported for learner\n\n",
		},
		{
			"readyz, observer", func(m *fakeMember) { m.status.Learner, m.observer = true, true }, "/readyz/non_learner?verbose", 200,
			"[+]non_learner ok\nok\n",
		},

		{"version", well, "/version", 200, `{"etcdserver":"3.7.3","etcdcluster":"3.7.0","storage":"3.7.0"}`},
		{"elsewhere", well, "/v2/keys", 404, "404 page not found\n"},
		{"the root", well, "/", 404, "404 page not found\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newFakeMember()
			tt.member(m)
			w := get(t, m, tt.path)
			require.Equal(t, tt.code, w.Code)
			require.Equal(t, tt.body, w.Body.String())
			require.Zero(t, m.openViews.Load(), "views left open")
		})
	}
}

// What fails is logged in etcd's words and at its levels.
func TestFailedChecksAreLogged(t *testing.T) {
	for _, tt := range []struct {
		member func(*fakeMember)
		path   string
		want   []string
	}{
		{
			func(m *fakeMember) { m.quorumErr = core.NoLeader }, "/readyz/linearizable_read",
			[]string{`level=ERROR msg="Health check error" path=/readyz/linearizable_read reason="[-]linearizable_read failed: etcdserver: no leader\n" status-code=503`},
		},
		{func(*fakeMember) {}, "/readyz?exclude=non_learner&exclude=nope&exclude=no", []string{`level=WARN msg="some health checks cannot be excluded" missing-health-checks="\"nope\",\"no\""`}},
		{func(*fakeMember) {}, "/readyz?exclude=non_learner", nil},
		{
			func(m *fakeMember) { m.status.Alarms = []core.Alarm{{Member: 1, Type: core.AlarmNoSpace}} }, "/health",
			[]string{
				`level=WARN msg="serving /health false due to an alarm" alarm=NOSPACE`,
				`level=WARN msg="/health error" output="{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}" status-code=503`,
			},
		},
		{
			func(m *fakeMember) { m.status.Leader = 0 }, "/health",
			[]string{`level=WARN msg="serving /health false; no leader"`, `level=WARN msg="/health error" output="{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}" status-code=503`},
		},
	} {
		m, out := newFakeMember(), new(bytes.Buffer)
		tt.member(m)
		log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		do(New(Config{Store: m, Cluster: m, Logger: log}).ClientHandler(), http.MethodGet, tt.path)
		var lines []string
		for line := range strings.Lines(out.String()) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
		require.Equal(t, tt.want, lines, tt.path)
	}
}

func TestContentTypes(t *testing.T) {
	for path, want := range map[string]string{
		"/health":  "text/plain; charset=utf-8",
		"/livez":   "text/plain; charset=utf-8",
		"/version": "application/json",
	} {
		require.Equal(t, want, get(t, newFakeMember(), path).Result().Header.Get("Content-Type"), path)
	}
}

func TestOnlyGet(t *testing.T) {
	m := newFakeMember()
	h := New(Config{Store: m, Cluster: m, Version: "3.7.3"}).ClientHandler()
	for _, path := range []string{"/health", "/livez", "/readyz", "/readyz/non_learner", "/version"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodHead, http.MethodDelete} {
			w := do(h, method, path)
			require.Equal(t, http.StatusMethodNotAllowed, w.Code, "%s %s", method, path)
			require.Equal(t, "GET", w.Header().Get("Allow"), "%s %s", method, path)
			require.Equal(t, "Method Not Allowed\n", w.Body.String(), "%s %s", method, path)
		}
	}
}

func TestMetricsHandler(t *testing.T) {
	m := newFakeMember()
	h := New(Config{Store: m, Cluster: m, Version: "3.7.3"}).MetricsHandler()
	for path, code := range map[string]int{
		"/metrics": 200, "/health": 200, "/livez": 200, "/readyz": 200, "/version": 404,
	} {
		require.Equal(t, code, do(h, http.MethodGet, path).Code, path)
	}
}

func TestHealthMetrics(t *testing.T) {
	m := newFakeMember()
	h := New(Config{Store: m, Cluster: m, Version: "3.7.3"}).ClientHandler()
	do(h, http.MethodGet, "/health")
	do(h, http.MethodGet, "/livez")
	leaderless(m)
	do(h, http.MethodGet, "/health")
	do(h, http.MethodGet, "/health")
	do(h, http.MethodGet, "/readyz/linearizable_read")
	require.Equal(t, `# HELP etcd_server_health_failures Health checks at /health that found the member unhealthy.
# TYPE etcd_server_health_failures counter
etcd_server_health_failures 2
# HELP etcd_server_health_success Health checks at /health that found the member healthy.
# TYPE etcd_server_health_success counter
etcd_server_health_success 1
# HELP etcd_server_healthcheck The last result of each check of /livez and /readyz: 1 if it passed.
# TYPE etcd_server_healthcheck gauge
etcd_server_healthcheck{name="linearizable_read",type="readyz"} 0
etcd_server_healthcheck{name="serializable_read",type="livez"} 1
# HELP etcd_server_healthchecks_total Results of each check of /livez and /readyz.
# TYPE etcd_server_healthchecks_total counter
etcd_server_healthchecks_total{name="linearizable_read",status="error",type="readyz"} 1
etcd_server_healthchecks_total{name="serializable_read",status="success",type="livez"} 1
# HELP promhttp_metric_handler_requests_in_flight Current number of scrapes being served.
# TYPE promhttp_metric_handler_requests_in_flight gauge
promhttp_metric_handler_requests_in_flight 1
# HELP promhttp_metric_handler_requests_total Total number of scrapes by HTTP status code.
# TYPE promhttp_metric_handler_requests_total counter
promhttp_metric_handler_requests_total{code="200"} 0
promhttp_metric_handler_requests_total{code="500"} 0
promhttp_metric_handler_requests_total{code="503"} 0
`, do(h, http.MethodGet, "/metrics").Body.String())
}

func TestHostsAndOrigins(t *testing.T) {
	m := newFakeMember()
	ask := func(cfg Config, host, origin string) *httptest.ResponseRecorder {
		cfg.Store, cfg.Cluster, cfg.Version = m, m, "3.7.3"
		r := httptest.NewRequest(http.MethodGet, "/version", nil)
		r.Host = host
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		w := httptest.NewRecorder()
		New(cfg).ClientHandler().ServeHTTP(w, r)
		return w
	}
	const origin = "Access-Control-Allow-Origin"

	w := ask(Config{}, "anything:2379", "")
	require.Equal(t, 200, w.Code)
	require.Equal(t, "*", w.Header().Get(origin))
	require.Equal(t, "POST, GET, OPTIONS, PUT, DELETE", w.Header().Get("Access-Control-Allow-Methods"))

	strict := Config{Hosts: []string{"good"}, Origins: []string{"http://good"}}
	require.Equal(t, http.StatusMisdirectedRequest, ask(strict, "evil:2379", "").Code)
	w = ask(strict, "good:2379", "http://evil")
	require.Equal(t, 200, w.Code)
	require.Empty(t, w.Header().Get(origin))
	require.Equal(t, "http://good", ask(strict, "good", "http://good").Header().Get(origin))

	preflight := do(New(Config{Store: m, Cluster: m}).ClientHandler(), http.MethodOptions, "/health")
	require.Equal(t, 200, preflight.Code)
	require.Empty(t, preflight.Body.String())
}

// Every kind has a text of its own, and where etcd has an error for it the text
// is etcd's.
func TestClientErrors(t *testing.T) {
	etcd := map[core.Kind]error{
		core.KeyEmpty:         rpctypes.ErrEmptyKey,
		core.RequestTooLarge:  rpctypes.ErrRequestTooLarge,
		core.LeaseTTLTooLarge: rpctypes.ErrLeaseTTLTooLarge,
		core.KeyNotFound:      rpctypes.ErrKeyNotFound,
		core.Compacted:        rpctypes.ErrCompacted,
		core.FutureRev:        rpctypes.ErrFutureRev,
		core.LeaseNotFound:    rpctypes.ErrLeaseNotFound,
		core.LeaseExists:      rpctypes.ErrLeaseExist,
		core.MemberNotFound:   rpctypes.ErrMemberNotFound,
		core.NoSpace:          rpctypes.ErrNoSpace,
		core.Corrupt:          rpctypes.ErrCorrupt,
		core.NoLeader:         rpctypes.ErrNoLeader,
		core.LeaderChanged:    rpctypes.ErrLeaderChanged,
		core.Stopped:          rpctypes.ErrStopped,
		core.Timeout:          rpctypes.ErrTimeout,
		core.TooManyRequests:  rpctypes.ErrTooManyRequests,
	}
	seen := make(map[string]core.Kind)
	for _, kind := range core.Kinds() {
		text, ok := kindTexts[kind]
		require.True(t, ok, "no text for %v", kind)
		require.NotContains(t, seen, text, "shared with %v", seen[text])
		seen[text] = kind
		if want, ok := etcd[kind]; ok {
			require.Equal(t, want.Error(), text)
		}
		if kind != core.Internal {
			require.EqualError(t, clientError(core.Errorf(kind, "why")), text)
		}
	}
	require.EqualError(t, clientError(errors.New("disk on fire")), "disk on fire")
}
