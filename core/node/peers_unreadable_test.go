package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A peer that sends what cannot be read does not fill the log.
func TestUnreadableMessagesAreSpared(t *testing.T) {
	var log bytes.Buffer
	p := &peers{n: &Node{cfg: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}}}
	for range 3 {
		p.Message(1, []byte("nonsense"))
		p.Message(2, []byte("nonsense"))
	}
	require.Equal(t, 1, strings.Count(log.String(), "from=1"))
	require.Equal(t, 2, strings.Count(log.String(), "\n"))
}
