package certs

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// call makes a handshake between two members, and returns what the caller and the one who
// is called make of it.
func call(t *testing.T, caller, called *Keeper, host string) (callerErr, calledErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	result := make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err == nil {
			conn := tls.Server(raw, called.TLS())
			err = conn.HandshakeContext(context.Background())
			_ = conn.Close()
		}
		result <- err
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, callerErr := caller.Client(ctx, raw, host)
	if callerErr == nil {
		// A client is done before the server has looked at its certificate.
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	return callerErr, <-result
}
