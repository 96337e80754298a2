package node

import (
	"bytes"
	"log/slog"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// The leader says how many sessions have run out: at once, and then once a minute. Those
// that their clients close, and leases, are none.
func TestExpiredSessionsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cfg := testConfig(t)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		n := startNode(t, cfg)
		require.NoError(t, n.Ready(testContext(t)))
		openSession(t, n, 7, time.Second)
		closed := openSession(t, n, 8, time.Second)
		_, err := n.Do(testContext(t), core.Principal{}, &core.SessionClose{Session: closed})
		require.NoError(t, err)
		_, err = n.Do(testContext(t), core.Principal{}, &core.LeaseGrant{ID: 9, TTL: time.Second})
		require.NoError(t, err)
		pass(5 * time.Second)
		openSession(t, n, 17, time.Second)
		openSession(t, n, 18, time.Second)
		pass(2 * time.Minute)
		stopNode(t, n)
		told := regexp.MustCompile(`level=INFO msg="sessions have expired: [^"]*" sessions=(\d+)`).FindAllStringSubmatch(log.String(), -1)
		require.Len(t, told, 2, log.String())
		require.Equal(t, "1", told[0][1])
		require.Equal(t, "2", told[1][1])
	})
}
