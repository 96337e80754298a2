package httpfront

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// fakeOverview shows three members to root.
type fakeOverview struct{ who core.Principal }

func (o *fakeOverview) Overview(_ context.Context, who core.Principal) ([]core.MemberStatus, error) {
	o.who = who
	if who.User != "" && who.User != core.RootUser {
		return nil, core.PermissionDenied
	}
	return []core.MemberStatus{
		{
			Member: core.Member{ID: 0xa, Name: "m1", PeerURLs: []string{"http://h:1"}, ClientURLs: []string{"http://h:2"}},
			Status: core.Status{
				Member: 0xa, Leader: 0xa, Term: 2, Committed: 9, Applied: 9, Rev: 5, CompactRev: -1,
				Alarms: []core.Alarm{{Member: 0xb, Type: core.AlarmNoSpace}},
			},
			Sessions: 3,
		},
		{Member: core.Member{ID: 0xb, Name: "m2"}, Err: core.Errorf(core.Timeout, "no connection")},
		{Member: core.Member{ID: 0xc, Name: "m3", Learner: true}, Observer: true, Lag: 4, RTT: time.Millisecond, Status: core.Status{Leader: 0xa, Applied: 5}},
	}, nil
}

// fakeTokens resolves a token to the user of that name.
type fakeTokens struct{ core.Auth }

func (fakeTokens) Status() core.AuthStatus { return core.AuthStatus{Enabled: true} }

func (fakeTokens) Resolve(_ context.Context, c core.Credentials) (core.Principal, error) {
	if c.Token == "bad" {
		return core.Principal{}, core.InvalidAuthToken
	}
	return core.Principal{User: c.Token + c.CertificateSubject}, nil
}

func getStatus(h http.Handler, method, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, StatusPath, nil)
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestStatusShowsAllMembers(t *testing.T) {
	overview := &fakeOverview{}
	f := New(Config{Store: newFakeMember(), Cluster: newFakeMember(), Overview: overview})
	w := getStatus(f.ClientHandler(), http.MethodGet, "")
	require.Equal(t, 200, w.Code)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	var got StatusReport
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	require.Len(t, got.Members, 3)
	require.Equal(t, MemberReport{
		ID: "a", Name: "m1", PeerURLs: []string{"http://h:1"}, ClientURLs: []string{"http://h:2"}, Role: "leader",
		State: &StateReport{
			Leader: "a", Term: 2, Committed: 9, Applied: 9, Rev: 5, CompactRev: -1, Sessions: 3,
			Alarms: []AlarmReport{{"b", "NOSPACE"}},
		},
	}, got.Members[0])
	require.Equal(t, "unknown", got.Members[1].Role)
	require.Equal(t, "no connection", got.Members[1].Error)
	require.Nil(t, got.Members[1].State)
	require.Equal(t, "observer", got.Members[2].Role)
	require.Equal(t, uint64(4), got.Members[2].State.Lag)

	require.Equal(t, 405, getStatus(f.ClientHandler(), http.MethodPost, "").Code)
	require.Equal(t, 404, getStatus(f.MetricsHandler(), http.MethodGet, "").Code, "where anybody may look")
	require.Equal(t, 404, getStatus(New(Config{Store: newFakeMember(), Cluster: newFakeMember()}).ClientHandler(), http.MethodGet, "").Code)
}

func TestStatusIsForRoot(t *testing.T) {
	overview := &fakeOverview{}
	f := New(Config{Store: newFakeMember(), Cluster: newFakeMember(), Overview: overview, Auth: fakeTokens{}})
	require.Equal(t, 200, getStatus(f.ClientHandler(), http.MethodGet, "root").Code)
	require.Equal(t, 200, getStatus(f.ClientHandler(), http.MethodGet, "Bearer root").Code)
	require.Equal(t, 403, getStatus(f.ClientHandler(), http.MethodGet, "alice").Code)
	require.Equal(t, 401, getStatus(f.ClientHandler(), http.MethodGet, "bad").Code)
	require.Equal(t, 200, getStatus(f.MemberHandler(), http.MethodGet, "").Code)
	require.True(t, overview.who.Member)
}
