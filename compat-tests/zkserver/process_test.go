package zkserver_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/zkserver"
)

type quiet struct{}

func (quiet) Printf(string, ...any) {}

func dial(t *testing.T, p *zkserver.Process) *zk.Conn {
	t.Helper()
	conn, _, err := zk.Connect([]string{p.Endpoint()}, 10*time.Second, zk.WithLogger(quiet{}))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

func TestKillAndRestartKeepTheData(t *testing.T) {
	for name, triglot := range map[string]bool{"ZooKeeper": false, "Triglot": true} {
		t.Run(name, func(t *testing.T) { killAndRestart(t, triglot) })
	}
}

func killAndRestart(t *testing.T, triglot bool) {
	p := zkserver.StartT(t, zkserver.Options{
		TickTime: 500 * time.Millisecond, NoSync: true, Config: []string{"globalOutstandingLimit=77"}, Triglot: triglot,
	})
	conn := dial(t, p)
	_, err := conn.Create("/a", []byte("x"), 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	conf, err := p.Ask("conf")
	require.NoError(t, err)
	require.Contains(t, conf, "tickTime=500\n")
	srvr, err := p.Ask("srvr")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(srvr, "Zookeeper version: "+zkserver.Version+"-"), srvr)

	for _, end := range []func() error{p.Kill, p.Terminate} {
		pid := p.PID()
		require.NoError(t, end())
		require.Zero(t, p.PID())
		require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
		require.NoError(t, p.Restart(context.Background()))
		data, stat, err := dial(t, p).Get("/a")
		require.NoError(t, err)
		require.Equal(t, "x", string(data))
		require.Zero(t, stat.Version)
	}
	dir, pid := p.DataDir(), p.PID()
	require.NoError(t, p.Stop())
	require.NoDirExists(t, dir)
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	require.NoError(t, p.Stop())
}

func TestAServerThatCannotStartShowsItsLog(t *testing.T) {
	_, err := zkserver.Start(context.Background(), zkserver.Options{Config: []string{"tickTime=x"}})
	require.ErrorContains(t, err, "ended at start")
	require.ErrorContains(t, err, "NumberFormatException")
}
