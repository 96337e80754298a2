package server

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPortTaken(t *testing.T) {
	for _, log := range []string{
		"listen tcp 127.0.0.1:2379: bind: address already in use",
		"java.net.BindException: Address already in use",
		"--listen-client-urls http://127.0.0.1:19942: port 19942 is in use by another process: stop it, or choose another port",
	} {
		require.True(t, PortTaken(log), log)
	}
	require.False(t, PortTaken("ready to serve client requests"))
}

// TestFreePortsDiffer shows that the ports of one server are not the same: of 500 drawn by
// chance alone some would be.
func TestFreePortsDiffer(t *testing.T) {
	seen := map[int]bool{}
	for range 500 {
		port, err := FreePort()
		require.NoError(t, err)
		require.False(t, seen[port], "port %d was drawn twice", port)
		seen[port] = true
	}
}
