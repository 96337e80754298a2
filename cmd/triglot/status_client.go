package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/triglot/triglot/cmd/triglot/config"
	httpfront "github.com/triglot/triglot/frontends/http"
)

// statusClient asks a member over HTTP.
type statusClient struct {
	caFile, certFile, keyFile string
	trustAll                  bool
	user, password            string
}

// maxReport bounds an answer: that of a hundred members is far less.
const maxReport = 4 << 20

// errNoStatus says that a member does not know httpfront.StatusPath: it is of an older
// version, or an etcd.
var errNoStatus = errors.New("it does not know " + httpfront.StatusPath)

// report asks the member at an endpoint about the cluster.
func (c *statusClient) report(ctx context.Context, endpoint string) (*httpfront.StatusReport, error) {
	client, base, err := c.dial(endpoint)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	a := asker{client: client, base: base}
	if c.user != "" {
		if a.token, err = c.login(ctx, &a); err != nil {
			return nil, err
		}
	}
	var r httpfront.StatusReport
	err = a.ask(ctx, http.MethodGet, httpfront.StatusPath, nil, &r)
	if errors.Is(err, errNoStatus) {
		return reportOfOne(ctx, &a)
	}
	return &r, err
}

// dial makes a client for an endpoint, and the URL that its requests begin with.
func (c *statusClient) dial(endpoint string) (*http.Client, string, error) {
	if !strings.Contains(endpoint, "://") {
		scheme := "http://"
		if c.caFile != "" || c.certFile != "" || c.trustAll {
			scheme = "https://"
		}
		endpoint = scheme + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, "", &config.UsageError{Err: fmt.Errorf("%q is not a URL", endpoint)}
	}
	settings, err := c.tls()
	if err != nil {
		return nil, "", err
	}
	transport := &http.Transport{TLSClientConfig: settings}
	base := endpoint
	if network, address := config.Address(*u); network == "unix" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		}
		base = "http://localhost"
		if config.Secure(*u) {
			base = "https://localhost"
		}
	}
	return &http.Client{Transport: transport}, strings.TrimSuffix(base, "/"), nil
}

func (c *statusClient) tls() (*tls.Config, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.trustAll} //nolint:gosec // if asked for
	if c.caFile != "" {
		pem, err := os.ReadFile(c.caFile)
		if err != nil {
			return nil, fmt.Errorf("--cacert: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--cacert %s: there is no certificate in it", c.caFile)
		}
	}
	if c.certFile != "" || c.keyFile != "" {
		pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
		if err != nil {
			return nil, fmt.Errorf("--cert and --key: %w", err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return settings, nil
}

// login gets a token of the user.
func (c *statusClient) login(ctx context.Context, a *asker) (string, error) {
	name, password := c.user, c.password
	if password == "" {
		var ok bool
		if name, password, ok = strings.Cut(c.user, ":"); !ok {
			return "", &config.UsageError{Err: errors.New("--user has no password: give --user name:password, or --password")}
		}
	}
	var answer struct {
		Token string `json:"token"`
	}
	err := a.ask(ctx, http.MethodPost, "/v3/auth/authenticate", map[string]string{"name": name, "password": password}, &answer)
	if errors.Is(err, errNoStatus) {
		err = errors.New("the JSON gateway is off (--enable-grpc-gateway=false), so that nobody can log in: ask through admin.sock in the data directory")
	}
	return answer.Token, err
}

// asker makes requests of one member.
type asker struct {
	client      *http.Client
	base, token string
}

// ask makes a request and decodes its answer. It fails with errNoStatus if there is no such
// path.
func (a *asker) ask(ctx context.Context, method, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if a.token != "" {
		r.Header.Set("Authorization", a.token)
	}
	response, err := a.client.Do(r)
	if err != nil {
		return errors.Unwrap(err) // without the URL, which the caller names
	}
	defer response.Body.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(response.Body, maxReport))
	switch {
	case err != nil:
		return err
	case response.StatusCode == http.StatusNotFound:
		return errNoStatus
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", response.Status, firstLine(text))
	}
	return json.Unmarshal(text, answer)
}

// whyUnanswered says why an endpoint did not give a report.
func (f *statusFlags) whyUnanswered(err error) string {
	var certificate *tls.CertificateVerificationError
	switch text := err.Error(); {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %v", f.timeout)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "it closes the connection, as a port that is not for etcd's clients may"
	case strings.HasSuffix(text, "server gave HTTP response to HTTPS client"): // net/http has no kind for it
		return "it speaks HTTP, not HTTPS"
	case strings.HasSuffix(text, "Client sent an HTTP request to an HTTPS server."): // its server's words
		return "it speaks HTTPS, not HTTP"
	case errors.As(err, &certificate):
		return "its certificate is not to be trusted (--cacert names the authority): " + certificate.Err.Error()
	default:
		return text
	}
}

// firstLine is what an error has to say, which the gateway says in JSON.
func firstLine(text []byte) string {
	var e struct{ Message string }
	if json.Unmarshal(text, &e) == nil && e.Message != "" {
		return e.Message
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return line
}
