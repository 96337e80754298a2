package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/config"
)

func TestQuota(t *testing.T) {
	dir := t.TempDir()
	size, err := diskSize(dir)
	require.NoError(t, err)
	require.Greater(t, size, int64(1<<20))
	tests := []struct {
		mode  config.Mode
		given int64
		want  int64
	}{
		{config.Serve, 0, size / 2},
		{config.Serve, 7, 7},
		{config.Serve, -5, -1},
		{config.Etcd, 0, 2 << 30},
		{config.Etcd, 7, 7},
		{config.Etcd, -5, -1},
	}
	for _, tt := range tests {
		got, err := quota(tt.mode, tt.given, filepath.Join(dir, "not", "there", "yet"))
		require.NoError(t, err)
		require.Equal(t, tt.want, got, "%v", tt)
	}

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = quota(config.Serve, 0, filepath.Join(file, "data"))
	require.ErrorContains(t, err, "set --quota-backend-bytes")
}

// The shortest lease is 2 s with the default intervals.
func TestMinLeaseTTL(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct{ heartbeat, election, want time.Duration }{
		{100 * ms, 1000 * ms, 2 * time.Second},
		{10 * ms, 100 * ms, time.Second},
		{100 * ms, 700 * ms, time.Second}, // 10 heartbeats
		{100 * ms, 1399 * ms, 2 * time.Second},
		{500 * ms, 50_000 * ms, 75 * time.Second},
	} {
		require.Equal(t, tt.want, minLeaseTTL(tt.heartbeat, tt.election), "%v", tt)
	}
}

func TestOneLine(t *testing.T) {
	err := errors.Join(errors.New("one"), errors.New("two\r\nthree"))
	require.Equal(t, "one; two; three", oneLine(err))
}

func TestListenBindsAllOrNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())

	urls := func(text string) config.URLs {
		us, err := config.ParseURLs(text)
		require.NoError(t, err)
		return us
	}
	_, err = listen(&config.Config{Listen: config.Listen{Client: urls("http://" + address), Metrics: urls("http://" + taken.Addr().String())}}, nil)
	require.ErrorContains(t, err, "--listen-metrics-urls http://"+taken.Addr().String())
	again, err := net.Listen("tcp", address)
	require.NoError(t, err, "the address that was free is free again")
	require.NoError(t, again.Close())

	_, err = listen(&config.Config{
		Listen:    config.Listen{Client: urls("http://" + address)},
		ZooKeeper: config.ZK{Listen: taken.Addr().String()},
	}, nil)
	require.ErrorContains(t, err, "--zk-listen "+taken.Addr().String())
	require.ErrorContains(t, err, "is in use by another process")
	require.ErrorContains(t, err, "--zk-listen=off")

	l, err := listen(&config.Config{Listen: config.Listen{Client: urls("http://127.0.0.1:0,http://localhost:0"), HTTP: urls("http://" + address)}}, nil)
	require.NoError(t, err)
	defer l.close()
	bound := withBoundPorts(urls("http://127.0.0.1:0,http://localhost:0"), l.client)
	require.Equal(t, "http://"+l.client[0].Addr().String(), bound[0].String())
	require.Equal(t, "localhost", bound[1].Hostname())
	require.NotEqual(t, "0", bound[1].Port())
	require.Equal(t, "http://"+address, withBoundPorts(urls("http://"+address), l.http).String())
}
