package etcdv3

import (
	"context"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/triglot/triglot/core"
)

// principal says who makes a call. It fails with InvalidAuthToken.
func (f *face) principal(ctx context.Context) (core.Principal, error) {
	if f.Auth == nil || !f.Auth.Status().Enabled {
		return core.Principal{}, nil
	}
	return f.Auth.Resolve(ctx, core.Credentials{CertificateSubject: certificateSubject(ctx)})
}

// certificateSubject is the common name of the certificate that the connection was
// verified with, or empty.
func certificateSubject(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	tls, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(tls.State.VerifiedChains) == 0 || len(tls.State.VerifiedChains[0]) == 0 {
		return ""
	}
	return tls.State.VerifiedChains[0][0].Subject.CommonName
}
