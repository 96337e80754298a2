package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/certs/certstest"
)

// server are the settings of a server with the certificate of that name.
func server(a *certstest.Authority, name string) Config {
	return Config{CertFile: a.Path(name + ".pem"), KeyFile: a.Path(name + ".key")}
}

// load is Load for a Config that is right, with a log.
func load(t *testing.T, c Config) (*Keeper, *logBuffer) {
	t.Helper()
	log := new(logBuffer)
	c.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	k, err := Load(c)
	require.NoError(t, err)
	t.Cleanup(k.Close)
	return k, log
}

// shake makes a handshake in memory and returns the server's certificate as the
// client saw it, and why either failed.
func shake(server, client *tls.Config) (seen *x509.Certificate, err error) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	serverErr := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.HandshakeContext(ctx)
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		serverErr <- err
		_ = a.Close()
	}()
	c := tls.Client(b, client)
	err = c.HandshakeContext(ctx)
	if err == nil {
		seen = c.ConnectionState().PeerCertificates[0]
		_, _ = c.Read(make([]byte, 1)) // TLS 1.3: the server may yet refuse
	}
	_ = b.Close()
	if refused := <-serverErr; refused != nil {
		err = refused
	}
	return seen, err
}

// logBuffer is a log that goroutines share.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// take returns what was logged since the last time.
func (b *logBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.buf.String()
	b.buf.Reset()
	return text
}

// pass lets time pass, in a bubble with a clock of its own.
func pass(d time.Duration) { <-time.After(d) }
