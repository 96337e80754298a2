package etcdv3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/triglot/triglot/core"
)

// shownAuth notes what callers show. The token "bad" is not good.
type shownAuth struct {
	core.Auth
	off   bool
	shown *core.Credentials
}

func (a *shownAuth) Status() core.AuthStatus { return core.AuthStatus{Enabled: !a.off, Rev: 7} }

func (a *shownAuth) Resolve(_ context.Context, c core.Credentials) (core.Principal, error) {
	a.shown = &c
	if c.Token == "bad" {
		return core.Principal{}, core.InvalidAuthToken
	}
	return core.Principal{User: c.Token + c.CertificateSubject, AuthRev: 7}, nil
}

// withCertificate is a call over a connection with certificates of these names; the
// empty name is one of a chain without any.
func withCertificate(ctx context.Context, names ...string) context.Context {
	var state tls.ConnectionState
	for _, name := range names {
		chain := []*x509.Certificate{{Subject: pkix.Name{CommonName: name}}, {Subject: pkix.Name{CommonName: "the authority"}}}
		if name == "" {
			chain = nil
		}
		state.VerifiedChains = append(state.VerifiedChains, chain)
	}
	return peer.NewContext(ctx, &peer.Peer{AuthInfo: credentials.TLSInfo{State: state}})
}

func TestPrincipal(t *testing.T) {
	type md = metadata.MD
	for name, tc := range map[string]struct {
		md           md
		certificates []string
		noCert       bool
		want         string
		err          error
	}{
		"nothing":                  {want: ""},
		"token":                    {md: md{"token": {"t"}}, want: "t"},
		"authorization":            {md: md{"authorization": {"t"}}, want: "t"},
		"bearer":                   {md: md{"authorization": {"Bearer t"}}, want: "t"},
		"bearer, as a token":       {md: md{"token": {"Bearer t"}}, want: "t"},
		"bearer is spelt that way": {md: md{"authorization": {"bearer t"}}, want: "bearer t"},
		"token first":              {md: md{"authorization": {"a"}, "token": {"t"}}, want: "t"},
		"several":                  {md: md{"token": {"t", "u"}}, want: "t"},
		"empty":                    {md: md{"token": {""}}, certificates: []string{"c"}, err: core.InvalidAuthToken},
		"bad":                      {md: md{"token": {"bad"}}, certificates: []string{"c"}, err: core.InvalidAuthToken},
		"certificate":              {certificates: []string{"c", "d"}, want: "c"},
		"certificate after nobody": {certificates: []string{"", "d"}, want: "d"},
		"token and certificate":    {md: md{"token": {"t"}}, certificates: []string{"c"}, want: "t"},
		"certificates do not count": {
			certificates: []string{"c"}, noCert: true, want: "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &face{Config: Config{Auth: &shownAuth{}, ClientCertAuth: !tc.noCert}}
			ctx := metadata.NewIncomingContext(context.Background(), tc.md)
			who, err := f.principal(withCertificate(ctx, tc.certificates...))
			require.ErrorIs(t, err, tc.err)
			require.Equal(t, tc.want, who.User)
		})
	}
}

// While authentication is off, what callers show is not even looked at.
func TestPrincipalOff(t *testing.T) {
	auth := &shownAuth{off: true}
	f := &face{Config: Config{Auth: auth, ClientCertAuth: true}}
	ctx := withCertificate(metadata.NewIncomingContext(context.Background(), metadata.Pairs("token", "bad")), "c")
	who, err := f.principal(ctx)
	require.NoError(t, err)
	require.Zero(t, who)
	require.NoError(t, f.identified(who))
	require.NoError(t, f.administers(ctx, who))
	_, err = f.mayWatch(ctx, core.Interval{})
	require.NoError(t, err)
	require.Nil(t, auth.shown)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = f.principal(ctx) }))
}

// X11: who calls is somebody to ACLs whether authentication is on or not.
func TestIdentitiesOfCallers(t *testing.T) {
	f := &face{Config: Config{CertificateID: func(c *x509.Certificate) string { return "CN=" + c.Subject.CommonName }}}
	ids := core.Identities("")
	for _, tc := range []struct {
		addr net.Addr
		cert string
		want core.Identities
	}{
		{&net.TCPAddr{IP: net.ParseIP("10.1.2.3"), Port: 7}, "", ids.With("ip", "10.1.2.3")},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:10.1.2.3"), Port: 7}, "", ids.With("ip", "10.1.2.3")},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 7, Zone: "eth0"}, "a", ids.With("ip", "fe80::1").With("x509", "CN=a")},
		{textAddr("10.1.2.3:80"), "", ids.With("ip", "10.1.2.3")}, // of the gateway
		{textAddr("[::1]:80"), "", ids.With("ip", "::1")},
		{textAddr("@"), "", ids},
		{nil, "", ids},
	} {
		p := &peer.Peer{Addr: tc.addr}
		if tc.cert != "" {
			chain := []*x509.Certificate{{Subject: pkix.Name{CommonName: tc.cert}}}
			p.AuthInfo = credentials.TLSInfo{State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{chain}}}
		}
		who, err := f.principal(peer.NewContext(context.Background(), p))
		require.NoError(t, err)
		require.Equal(t, core.Principal{IDs: tc.want}, who)
	}
	f.AsMember = true
	who, err := f.principal(peer.NewContext(context.Background(), &peer.Peer{Addr: textAddr("10.1.2.3:80")}))
	require.NoError(t, err)
	require.Equal(t, core.Principal{Member: true}, who)
}

type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }

func TestIdentified(t *testing.T) {
	f := &face{Config: Config{Auth: &shownAuth{}}}
	require.ErrorIs(t, f.identified(core.Principal{}), core.UserEmpty)
	require.NoError(t, f.identified(core.Principal{User: "u"}))
	require.NoError(t, f.identified(core.Principal{Member: true}))
}

// What is wrong with a request is said before what is wrong with its token.
func TestMalformedBeforeIdentified(t *testing.T) {
	s := startServer(t, withAuth(&shownAuth{}))
	ctx := metadata.AppendToOutgoingContext(s.ctx(), "token", "bad")
	_, err := s.kv.Put(ctx, &pb.PutRequest{})
	requireStatus(t, codes.InvalidArgument, "etcdserver: key is not provided", err)
	_, err = s.kv.Range(ctx, &pb.RangeRequest{Key: []byte("k"), SortOrder: 9})
	requireStatus(t, codes.InvalidArgument, "etcdserver: invalid sort option", err)
	_, err = s.kv.DeleteRange(ctx, &pb.DeleteRangeRequest{})
	requireStatus(t, codes.InvalidArgument, "etcdserver: key is not provided", err)
	put := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k")}}}
	_, err = s.kv.Txn(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{put, put}})
	requireStatus(t, codes.InvalidArgument, "etcdserver: duplicate key given in txn request", err)
	_, err = s.kv.Txn(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{put}})
	requireStatus(t, codes.Unauthenticated, "etcdserver: invalid auth token", err)
	_, err = s.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{})
	requireStatus(t, codes.Unauthenticated, "etcdserver: invalid auth token", err)
}

func TestWatchRefusal(t *testing.T) {
	for kind, want := range map[core.Kind]string{
		core.PermissionDenied: "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
		core.InvalidAuthToken: "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
		core.AuthOldRevision:  "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old",
		core.UserEmpty:        "rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
		core.Stopped:          "",
		core.Internal:         "",
	} {
		require.Equal(t, want, watchRefusal(kind), kind)
	}
	require.Empty(t, watchRefusal(nil))
	require.Empty(t, watchRefusal(errors.New("something else")))
}

// Who a caller is to ACLs costs nothing while there are none, and lasts for a stream.
func TestRequester(t *testing.T) {
	auth := &statusAuth{}
	f := &face{Config: Config{Auth: auth}}
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP("10.1.2.3"), Port: 7}})
	local := core.Principal{IDs: core.Identities("").With("ip", "10.1.2.3")}
	for acls, want := range map[bool]core.Principal{false: {}, true: local} {
		auth.status.ACLs = acls
		who, err := f.requester(ctx)
		require.NoError(t, err)
		require.Equal(t, want, who)
		who, err = f.principal(ctx)
		require.NoError(t, err)
		require.Equal(t, local, who)
	}
	auth.status.ACLs = false
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = f.requester(ctx) }))
}

// statusAuth has a status and nothing else.
type statusAuth struct {
	core.Auth
	status core.AuthStatus
}

func (a *statusAuth) Status() core.AuthStatus { return a.status }
