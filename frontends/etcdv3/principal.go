package etcdv3

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/triglot/triglot/core"
)

// bearer may precede a token, as in an Authorization header.
const bearer = "Bearer "

// principal says who makes a call: the owner of the token that it carries or, with
// Config.ClientCertAuth, of the certificate of its connection (etcd T-81, T-85); and who
// that is to the ACLs of znodes. It fails with InvalidAuthToken.
func (f *face) principal(ctx context.Context) (core.Principal, error) {
	if f.AsMember {
		return core.Principal{Member: true}, nil
	}
	who, err := f.user(ctx)
	who.IDs = f.identities(ctx)
	return who, err
}

// requester is principal for a request that is answered at once: who that is to ACLs is
// found out only if there are any. The first ones may come while the request is under
// way; then it is refused what they forbid to strangers.
func (f *face) requester(ctx context.Context) (core.Principal, error) {
	if f.AsMember || f.Auth == nil || f.Auth.Status().ACLs {
		return f.principal(ctx)
	}
	return f.user(ctx)
}

// user says who makes a call as etcd's users and roles know it.
func (f *face) user(ctx context.Context) (core.Principal, error) {
	if !f.authenticates() {
		return core.Principal{}, nil
	}
	token, shown := tokenOf(ctx)
	switch {
	case shown && token == "":
		return core.Principal{}, core.InvalidAuthToken
	case shown || !f.ClientCertAuth:
		return f.Auth.Resolve(ctx, core.Credentials{Token: token})
	default:
		return f.Auth.Resolve(ctx, core.Credentials{CertificateSubject: certificateSubject(ctx)})
	}
}

// identities says who makes a call to the ACLs of znodes: the address that the call
// comes from, and the subject of the certificate that its connection was verified with.
func (f *face) identities(ctx context.Context) core.Identities {
	var ids core.Identities
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ids
	}
	if ip := addressOf(p.Addr); ip.IsValid() {
		var text [64]byte
		ids = ids.With(core.SchemeIP, string(ip.Unmap().WithZone("").AppendTo(text[:0])))
	}
	if cert := verifiedCertificate(p); cert != nil && f.CertificateID != nil {
		if subject := f.CertificateID(cert); subject != "" {
			ids = ids.With(schemeX509, subject)
		}
	}
	return ids
}

// schemeX509 has the subjects of certificates, as ZooKeeper's does.
const schemeX509 = "x509"

// addressOf is the address that a call comes from, invalid if it has none.
func addressOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case nil:
		return netip.Addr{}
	case *net.TCPAddr:
		return a.AddrPort().Addr()
	}
	from, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr()
}

// authenticates reports whether it matters who makes a call.
func (f *face) authenticates() bool { return f.Auth != nil && f.Auth.Status().Enabled }

// identified fails with UserEmpty, while authentication is on, if nobody in
// particular makes the call. It is for what any user may do (etcd T-83).
func (f *face) identified(who core.Principal) error {
	if who.User == "" && !who.Member && f.authenticates() {
		return core.UserEmpty
	}
	return nil
}

// administers fails unless who may do what only root may: those may list the users. It
// is for what is not a command, or costs something before it is.
func (f *face) administers(ctx context.Context, who core.Principal) error {
	if !f.authenticates() {
		return nil
	}
	_, _, err := f.Auth.Users(ctx, who)
	return err
}

// tokenOf is the token in a call's metadata, and whether there is any.
func tokenOf(ctx context.Context) (token string, shown bool) {
	for _, key := range []string{rpctypes.TokenFieldNameGRPC, rpctypes.TokenFieldNameSwagger} {
		if vs := metadata.ValueFromIncomingContext(ctx, key); len(vs) > 0 {
			return strings.TrimPrefix(vs[0], bearer), true
		}
	}
	return "", false
}

// certificateSubject is the common name of the certificate that the connection was
// verified with, or empty.
func certificateSubject(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		if cert := verifiedCertificate(p); cert != nil {
			return cert.Subject.CommonName
		}
	}
	return ""
}

// verifiedCertificate is the certificate that a connection was verified with, or nil.
func verifiedCertificate(p *peer.Peer) *x509.Certificate {
	tls, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil
	}
	for _, chain := range tls.State.VerifiedChains {
		if len(chain) > 0 {
			return chain[0]
		}
	}
	return nil
}

// mayWatch says who the caller is that wants to watch, and fails if it may not read all
// keys of an interval. It takes the range_end as the client gave it: a permission is on
// exactly that. Who has begun to watch goes on, whatever is revoked (etcd T-43). What
// ACLs forbid is left out of the events one by one.
func (f *face) mayWatch(ctx context.Context, in core.Interval) (core.Principal, error) {
	who, err := f.principal(ctx)
	if err != nil || !f.authenticates() {
		return who, err
	}
	view, err := f.Store.View(ctx, who, core.Consistency{})
	if err != nil {
		return who, err
	}
	defer view.Close()
	return who, view.Readable(in)
}

// watchRefusal is the reason that etcd gives for a watch that the caller may not
// have. It is empty for an error of another kind.
func watchRefusal(err error) string {
	switch kind := core.KindOf(err); kind {
	case core.InvalidAuthToken, core.AuthOldRevision, core.UserEmpty, core.PermissionDenied:
		return kindErrors[kind].err.Error() // code and all
	default:
		return ""
	}
}
