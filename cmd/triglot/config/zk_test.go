package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk"
)

func TestZooKeeperDefaults(t *testing.T) {
	c, err := serve(t, nil, nil, "")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:2181", c.ZooKeeper.Listen)
	require.Empty(t, c.ZooKeeper.Mount, "a default is no demand")
	require.Equal(t, 2*time.Second, c.ZooKeeper.Limits.Tick)
	require.True(t, c.Listen.Gateway)

	c, err = etcd(t, nil, nil)
	require.NoError(t, err)
	require.Empty(t, c.ZooKeeper.Listen, "etcd mode has no ZooKeeper listener unless asked for")
	require.True(t, c.Listen.Gateway)

	c, err = etcd(t, []string{"--zk-listen", "127.0.0.1:0", "--zk-prefix=/zk"}, nil)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:0", c.ZooKeeper.Listen)
	require.Equal(t, "/zk", c.ZooKeeper.Mount)
}

func TestZooKeeperFlags(t *testing.T) {
	tests := []struct {
		args []string
		want ZK // its exported fields
		err  string
	}{
		{args: []string{"--zk-listen=off"}, want: ZK{Limits: tick(2 * time.Second)}},
		{args: []string{"--zk-listen=:2182"}, want: ZK{Listen: ":2182", Limits: tick(2 * time.Second)}},
		{args: []string{"--zk-listen=[::1]:2182"}, want: ZK{Listen: "[::1]:2182", Limits: tick(2 * time.Second)}},
		{
			args: []string{"--zk-prefix=/", "--zk-tick=500ms", "--zk-listen=off"},
			want: ZK{Mount: "/", Limits: tick(500 * time.Millisecond)},
		},
		{args: []string{"--zk-listen=2181"}, err: `--zk-listen "2181" is no host:port, such as 127.0.0.1:2181, and not off`},
		{args: []string{"--zk-listen=localhost:http"}, err: `port "http" is not a number`},
		{args: []string{"--zk-listen="}, err: "is no host:port"},
		{args: []string{"--zk-tick=1ms"}, err: "--zk-tick 1ms is out of range: it must be between 100ms and 1m0s"},
		{args: []string{"--zk-tick=2000"}, err: "not a duration"},
		{args: []string{"--zk-prefix=zk"}, err: `--zk-prefix "zk" must begin with a slash`},
		{args: []string{"--zk-prefix="}, err: "must begin with a slash"},
	}
	for _, test := range tests {
		t.Run(test.args[0], func(t *testing.T) {
			c, err := serve(t, test.args, nil, "")
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			c.ZooKeeper.given = givenZK{}
			require.Equal(t, test.want, c.ZooKeeper)
		})
	}
}

func tick(d time.Duration) zk.Limits { return zk.Limits{Tick: d} }
