package zkclients

import (
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
)

// quiet keeps the client's log out of the test's.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// connectGo returns a go-zookeeper client with a session, closed when the test ends.
func connectGo(t *testing.T, endpoint string) *zk.Conn {
	t.Helper()
	conn, events, err := zk.Connect([]string{endpoint}, survivorTimeout, zk.WithLogger(quiet{}))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	deadline := time.After(patience)
	for {
		select {
		case event := <-events:
			if event.State == zk.StateHasSession {
				return conn
			}
		case <-deadline:
			require.Fail(t, "no session")
		}
	}
}
