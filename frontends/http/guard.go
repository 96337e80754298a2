package httpfront

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
)

// guard stands before all that is served to clients: it refuses hosts that are not
// allowed and certificates that the gateway could not honour, and answers browsers
// that ask whether they may call.
func (f *Front) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if state, ok := r.Context().Value(tlsKey{}).(*tls.ConnectionState); ok && r.TLS == nil {
			r.TLS = state
		}
		switch {
		case f.isCall(r):
			f.cfg.Calls.ServeHTTP(w, r)
			return
		case r.TLS == nil:
			if host := hostname(r); !allows(f.cfg.Hosts, host) {
				f.cfg.Logger.Warn("rejecting HTTP request to prevent DNS rebinding attacks", "host", host)
				http.Error(w, unknownHost(host), http.StatusMisdirectedRequest)
				return
			}
		case f.ignoresCertificate(r):
			http.Error(w, ignoredCommonName, http.StatusBadRequest)
			return
		}
		switch origin := r.Header.Get("Origin"); {
		case allows(f.cfg.Origins, "*"):
			allowOrigin(w.Header(), "*")
		case allows(f.cfg.Origins, origin):
			allowOrigin(w.Header(), origin)
		}
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusOK)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isCall reports whether a request is a gRPC call. A connection goes to one server by
// its first request; that one speaks HTTP does not keep a client from calls.
func (f *Front) isCall(r *http.Request) bool {
	return f.cfg.Calls != nil && r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// ignoredCommonName is etcd's sentence; APISIX looks for it.
const ignoredCommonName = "CommonName of client sending a request against gateway will be ignored and not used as expected"

// ignoresCertificate reports whether a request to the gateway names a user by a
// certificate. etcd's gateway is a gRPC client with no certificate of the caller's,
// and refuses what it would have to carry out as somebody else.
func (f *Front) ignoresCertificate(r *http.Request) bool {
	if !f.cfg.ClientCertAuth || f.cfg.Gateway == nil || !strings.HasPrefix(betaPath(r.URL.Path), "/v3/") {
		return false
	}
	named := slices.ContainsFunc(r.TLS.VerifiedChains, func(chain []*x509.Certificate) bool {
		return len(chain) > 0 && chain[0].Subject.CommonName != ""
	})
	return named && f.cfg.Auth != nil && f.cfg.Auth.Status().Enabled
}

// unknownHost is what etcd tells one whose Host header is not allowed (DNS
// rebinding, CVE-2018-5702).
func unknownHost(host string) string {
	return fmt.Sprintf(`
etcd received your request, but the Host header was unrecognized.

To fix this, choose one of the following options:
- Enable TLS, then any HTTPS request will be allowed.
- Add the hostname you want to use to the whitelist in settings.
  - e.g. etcd --host-whitelist %q

This requirement has been added to help prevent "DNS Rebinding" attacks (CVE-2018-5702).
`, host)
}

func allows(list []string, name string) bool {
	return len(list) == 0 || slices.Contains(list, "*") || slices.Contains(list, name)
}

func allowOrigin(h http.Header, origin string) {
	h.Add("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE")
	h.Add("Access-Control-Allow-Origin", origin)
	h.Add("Access-Control-Allow-Headers", "accept, content-type, authorization")
}

// hostname is the Host header without its port.
func hostname(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return r.Host
}
