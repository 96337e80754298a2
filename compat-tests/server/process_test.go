package server_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/server"
)

func dial(t *testing.T, p *server.Process) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{p.Endpoint()}, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func TestKillAndRestartKeepTheData(t *testing.T) {
	p := server.StartT(t, server.Options{})
	client := dial(t, p)
	ctx := context.Background()
	put, err := client.Put(ctx, "k", "v")
	require.NoError(t, err)

	pid := p.PID()
	require.NoError(t, p.Kill())
	require.Zero(t, p.PID())
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)

	require.NoError(t, p.Restart(ctx))
	require.NotEqual(t, pid, p.PID())
	got, err := client.Get(ctx, "k")
	require.NoError(t, err)
	require.Len(t, got.Kvs, 1)
	require.Equal(t, "v", string(got.Kvs[0].Value))
	require.Equal(t, put.Header.Revision, got.Kvs[0].ModRevision)
	require.Equal(t, put.Header.Revision, got.Header.Revision)
}

func TestStopLeavesNothingBehind(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	p, err := server.Start(context.Background(), server.Options{Target: target})
	require.NoError(t, err)
	pid, dir := p.PID(), p.DataDir()
	require.DirExists(t, dir)

	require.NoError(t, p.Stop())
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	require.NoDirExists(t, dir)
	require.NoError(t, p.Stop())
}

func TestAnUnexpectedEndIsAnError(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	p, err := server.Start(context.Background(), server.Options{Target: target})
	require.NoError(t, err)
	require.NoError(t, p.Signal(syscall.SIGKILL))
	<-p.Done()
	require.ErrorContains(t, p.Stop(), "has ended")
}

func TestAServerThatCannotStartShowsItsLog(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/data", []byte("not a directory"), 0o600))
	_, err = server.Start(context.Background(), server.Options{Target: target, Dir: dir})
	require.ErrorContains(t, err, "ended at start")
	require.True(t, strings.Contains(err.Error(), "director"), "no hint in: %v", err)
}

func TestStartGivesUpWhenTheContextEnds(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = server.Start(ctx, server.Options{Target: target})
	require.True(t, errors.Is(err, context.Canceled), "got %v", err)
}
