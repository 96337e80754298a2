package certs

import (
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNobodyIsNotAllowed: whoever asks for names gets no connection without one, whatever
// the rest of the configuration lets through.
func TestNobodyIsNotAllowed(t *testing.T) {
	require.NoError(t, (&verifier{}).verify(tls.ConnectionState{}))
	require.Error(t, (&verifier{names: []string{"client"}}).verify(tls.ConnectionState{}))
	require.Error(t, (&verifier{hosts: []string{"client"}}).verify(tls.ConnectionState{}))
}
