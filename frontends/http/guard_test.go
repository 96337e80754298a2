package httpfront

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// A call that comes over a connection for HTTP has the certificate of that connection,
// and no other: whose it is follows from it.
func TestCallsKnowTheirConnection(t *testing.T) {
	var seen *tls.ConnectionState
	calls := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.TLS })
	m := newFakeMember()
	front := New(Config{Store: m, Cluster: m, Calls: calls, ClientCertAuth: true})
	r := httptest.NewRequest(http.MethodPost, "/etcdserverpb.KV/Range", nil)
	r.ProtoMajor = 2
	r.Header.Set("Content-Type", "application/grpc")
	front.ClientHandler().ServeHTTP(httptest.NewRecorder(), r)
	require.Nil(t, seen)

	state := &tls.ConnectionState{ServerName: "of the connection"}
	front.ClientHandler().ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithValue(t.Context(), tlsKey{}, state)))
	require.Same(t, state, seen)
}
