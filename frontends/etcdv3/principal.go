package etcdv3

import (
	"context"
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
// Config.ClientCertAuth, of the certificate of its connection (etcd T-81, T-85). It
// fails with InvalidAuthToken. While authentication is off it costs a load.
func (f *face) principal(ctx context.Context) (core.Principal, error) {
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
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	tls, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return ""
	}
	for _, chain := range tls.State.VerifiedChains {
		if len(chain) > 0 {
			return chain[0].Subject.CommonName
		}
	}
	return ""
}

// mayWatch fails if the caller may not read all keys of an interval. It takes the
// range_end as the client gave it: a permission is on exactly that. Who has begun to
// watch goes on, whatever is revoked (etcd T-43).
func (f *face) mayWatch(ctx context.Context, in core.Interval) error {
	if !f.authenticates() {
		return nil
	}
	who, err := f.principal(ctx)
	if err != nil {
		return err
	}
	view, err := f.Store.View(ctx, who, core.Consistency{})
	if err != nil {
		return err
	}
	defer view.Close()
	return view.Readable(in)
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
