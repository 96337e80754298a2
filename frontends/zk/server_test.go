package zk

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/wire"
)

func TestShutdownClosesAllAndIsFinal(t *testing.T) {
	s := startServer(t)
	silent, idle, busy := s.dial(), s.connect(), s.connect()
	busy.create("/a", "", wire.Persistent)
	busy.exists("/a", true)
	busy.send(wire.OpSetData, &wire.SetDataRequest{Path: "/a", Version: -1})
	require.NoError(t, s.face.Shutdown(s.ctx()))
	silent.gone()
	idle.gone()
	for err := error(nil); err == nil; {
		_, err = busy.frame()
	}
	require.Zero(t, s.face.stats.connections.Load())
	require.Zero(t, s.face.stats.outstanding.Load())
	require.Zero(t, s.face.watches.watches())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, s.face.Serve(l), "it is shut down")
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestShutdownGivesUpWaiting(t *testing.T) {
	s := startServer(t)
	release := make(chan struct{})
	s.face.handlers.Go(func() { <-release })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, s.face.Shutdown(ctx), context.Canceled)
	close(release)
}

// flaky is a listener that fails with each of its errors in turn.
type flaky struct {
	net.Listener
	errs []error
}

func (f *flaky) Accept() (net.Conn, error) {
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, err
}

type outOfFiles struct{ error }

func (outOfFiles) Temporary() bool { return true }

// What passes is waited for; what does not ends Serve.
func TestServeSurvivesWhatPasses(t *testing.T) {
	s := startServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	final := errors.New("broken")
	f := &flaky{Listener: l, errs: []error{outOfFiles{errors.New("too many open files")}, final}}
	require.Equal(t, final, s.face.Serve(f))
	require.Empty(t, f.errs)
}
