package httpfront

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/triglot/triglot/core"
)

func TestDebugVars(t *testing.T) {
	m := newFakeMember()
	m.status = core.Status{Member: 0xab, Leader: 0xab, Term: 3, Committed: 9, Applied: 8}
	w := get(t, m, "/debug/vars")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "application/json; charset=utf-8", w.Header().Get("Content-Type"))
	var vars map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &vars))
	require.Contains(t, vars, "cmdline")
	require.Contains(t, vars, "memstats")
	require.Equal(t, `{"id":"ab","term":3,"vote":"ab","commit":9,"lead":"ab","raftState":"StateLeader","applied":8,`+
		`"progress":{"ab":{"match":9,"next":10,"state":"StateReplicate"}},"leadtransferee":"0"}`, string(vars["raft.status"]))

	m.status.Leader = 0
	require.NoError(t, json.Unmarshal(get(t, m, "/debug/vars").Body.Bytes(), &vars))
	require.Contains(t, string(vars["raft.status"]), `"lead":"0","raftState":"StateCandidate","applied":8,"progress":{},"leadtransferee":"0"`)

	require.Equal(t, http.StatusMethodNotAllowed, do(New(Config{Store: m, Cluster: m}).ClientHandler(), http.MethodPost, "/debug/vars").Code)
}

func TestDebugPages(t *testing.T) {
	m := newFakeMember()
	base := Config{Store: m, Cluster: m}
	profiles, traces := base, base
	profiles.Debug.Pprof, traces.Debug.Traces = true, true
	for _, tt := range []struct {
		cfg  Config
		path string
		code int
	}{
		{base, "/debug/pprof/", 404},
		{base, "/debug/pprof/heap", 404},
		{base, "/debug/requests", 404},
		{profiles, "/debug/pprof/", 200},
		{profiles, "/debug/pprof/cmdline", 200},
		{profiles, "/debug/pprof/symbol", 200},
		{profiles, "/debug/pprof/heap?debug=1", 200},
		{profiles, "/debug/pprof/goroutine", 200},
		{profiles, "/debug/pprof/no-such", 404},
		{profiles, "/debug/requests", 404},
		{traces, "/debug/requests", 200},
		{traces, "/debug/events", 200},
		{traces, "/debug/pprof/", 404},
	} {
		w := do(New(tt.cfg).ClientHandler(), http.MethodGet, tt.path)
		require.Equal(t, tt.code, w.Code, tt.path)
		require.Equal(t, 404, do(New(tt.cfg).MetricsHandler(), http.MethodGet, tt.path).Code, tt.path)
	}
}

// fakeAuth says whether authentication is on, and no more.
type fakeAuth struct {
	core.Auth
	on bool
}

func (a fakeAuth) Status() core.AuthStatus { return core.AuthStatus{Enabled: a.on} }

// noGateway is there, and nobody calls it.
type noGateway struct{ grpc.ClientConnInterface }

func TestCertificateAtTheGateway(t *testing.T) {
	named := [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: "alice"}}}}
	unnamed := [][]*x509.Certificate{{{}}}
	on := Config{Auth: fakeAuth{on: true}, ClientCertAuth: true, Gateway: noGateway{}}
	with := func(change func(*Config)) Config {
		cfg := on
		change(&cfg)
		return cfg
	}
	const refused = "CommonName of client sending a request against gateway will be ignored and not used as expected\n"
	for _, tt := range []struct {
		name   string
		cfg    Config
		chains [][]*x509.Certificate
		path   string
		code   int
	}{
		{"named", on, named, "/v3/nowhere", 400},
		{"named, beta path", on, named, "/v3beta/nowhere", 400},
		{"named, not the gateway", on, named, "/version", 200},
		{"no name", on, unnamed, "/v3/nowhere", 404},
		{"no certificate", on, nil, "/v3/nowhere", 404},
		{"authentication off", with(func(c *Config) { c.Auth = fakeAuth{} }), named, "/v3/nowhere", 404},
		{"certificates not asked for", with(func(c *Config) { c.ClientCertAuth = false }), named, "/v3/nowhere", 404},
		{"no gateway", with(func(c *Config) { c.Gateway = nil }), named, "/v3/nowhere", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newFakeMember()
			tt.cfg.Store, tt.cfg.Cluster = m, m
			r := httptest.NewRequest(http.MethodGet, tt.path, nil)
			r.TLS = &tls.ConnectionState{VerifiedChains: tt.chains}
			w := httptest.NewRecorder()
			New(tt.cfg).ClientHandler().ServeHTTP(w, r)
			require.Equal(t, tt.code, w.Code)
			if tt.code == http.StatusBadRequest {
				require.Equal(t, refused, w.Body.String())
			}
		})
	}
}

func TestHostsWithTLS(t *testing.T) {
	m := newFakeMember()
	h := New(Config{Store: m, Cluster: m, Hosts: []string{"good"}}).ClientHandler()
	r := httptest.NewRequest(http.MethodGet, "/version", nil)
	r.Host, r.TLS = "evil", &tls.ConnectionState{}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code, "a host needs no allowing with TLS")
}

func TestClusterVersion(t *testing.T) {
	m := newFakeMember()
	m.status.ClusterVersion = "3.6.0"
	require.Equal(t, `{"etcdserver":"3.7.3","etcdcluster":"3.6.0","storage":"3.6.0"}`, get(t, m, "/version").Body.String())
}
