package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// watched is two members that are connected, the first of which notes who is gone; what it
// dials goes through dial, if that is not nil.
func watched(t testing.TB, dial *atomic.Pointer[func(ctx context.Context, url string) (net.Conn, error)]) (*testPeer, *testPeer) {
	return pair(t, func(c *Config) {
		if c.Self != 1 {
			return
		}
		handler := c.Handler.(*recorder)
		c.OnGone = func(id core.MemberID) { handler.note(fmt.Sprintf("gone %x", uint64(id))) }
		c.Dial = func(ctx context.Context, url string) (net.Conn, error) {
			if dial != nil && dial.Load() != nil {
				return (*dial.Load())(ctx, url)
			}
			return dialTCP(ctx, url)
		}
	})
}

func (p *testPeer) saysGone() bool { return strings.Contains(strings.Join(p.r.heard(), ","), "gone 2") }

// TestGone: that a process has ended is told at once, behind all that it has sent.
func TestGone(t *testing.T) {
	a, b := watched(t, nil)
	for range 100 {
		b.Send(1, text("x"))
	}
	eventually(t, "all there", func() bool { return len(a.r.heard()) > 100 })
	require.False(t, a.saysGone())
	b.Stop()
	began := time.Now()
	eventually(t, "gone", a.saysGone)
	t.Logf("after %s", time.Since(began))
	eventually(t, "told again", func() bool { return strings.Count(strings.Join(a.r.heard(), ","), "gone 2") > 2 })
}

// TestNotGone: what is no sign that a process has ended.
func TestNotGone(t *testing.T) {
	for name, fails := range map[string]error{
		"it does not answer in time":   context.DeadlineExceeded,
		"there is no way to its host":  &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)},
		"there is no way to its net":   &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)},
		"its name is not found":        &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}},
		"a file of this member lacks":  &os.PathError{Op: "open", Path: "key.pem", Err: syscall.ENOENT},
		"the packets get no answer":    &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ETIMEDOUT)},
		"its certificate is not right": errors.New("tls: bad certificate"),
	} {
		t.Run(name, func(t *testing.T) {
			var dial atomic.Pointer[func(ctx context.Context, url string) (net.Conn, error)]
			a, b := watched(t, &dial)
			tried := make(chan struct{}, 1000)
			dial.Store(new(func(context.Context, string) (net.Conn, error) {
				tried <- struct{}{}
				return nil, fails
			}))
			b.Stop()
			for range 4 {
				<-tried
			}
			require.False(t, a.saysGone())
		})
	}
}

// TestNotGoneWhileItSpeaks: a member whose listener refuses, and that is connected to this
// one, is there. It is gone when that connection ends.
func TestNotGoneWhileItSpeaks(t *testing.T) {
	var dial atomic.Pointer[func(ctx context.Context, url string) (net.Conn, error)]
	a, b := watched(t, &dial)
	tried := make(chan struct{}, 1000)
	dial.Store(new(func(context.Context, string) (net.Conn, error) {
		tried <- struct{}{}
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}))
	a.link(2).end()
	for range 4 {
		<-tried
	}
	require.False(t, a.saysGone())
	b.Send(1, text("here"))
	eventually(t, "heard", func() bool { return strings.Contains(strings.Join(a.r.heard(), ","), "here") })
	b.Stop()
	eventually(t, "gone", a.saysGone)
}

// end ends the connection, as if it had broken.
func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(errors.New("broken by a test"))
}

// TestGoneAtAllURLs: of several URLs all must be refused.
func TestGoneAtAllURLs(t *testing.T) {
	var silent atomic.Bool
	silent.Store(true)
	var dial atomic.Pointer[func(ctx context.Context, url string) (net.Conn, error)]
	tried := make(chan struct{}, 1000)
	dial.Store(new(func(ctx context.Context, url string) (net.Conn, error) {
		tried <- struct{}{}
		if url == "silent" && silent.Load() {
			return nil, context.DeadlineExceeded
		}
		return dialTCP(ctx, "127.0.0.1:1")
	}))
	a := newTestPeer(t, 1, func(c *Config) {
		handler := c.Handler.(*recorder)
		c.OnGone = func(id core.MemberID) { handler.note(fmt.Sprintf("gone %x", uint64(id))) }
		c.Dial = func(ctx context.Context, url string) (net.Conn, error) { return (*dial.Load())(ctx, url) }
	})
	a.SetMembers([]core.Member{{ID: 2, PeerURLs: []string{"refuses", "silent"}}})
	for range 6 {
		<-tried
	}
	require.False(t, a.saysGone())
	silent.Store(false)
	eventually(t, "gone", a.saysGone)
}

// TestAbsent: how it looks that nobody is there, on real connections.
func TestAbsent(t *testing.T) {
	c := caller{timeout: 200 * time.Millisecond}
	greet := func(network, address string) error {
		c.dial = func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		_, err := c.enter(t.Context(), address, &greeting{min: minVersion, max: maxVersion, purpose: forStream})
		require.Error(t, err)
		return err
	}
	var nobody absent
	socket := filepath.Join(t.TempDir(), "socket")
	require.ErrorAs(t, greet("unix", socket), &nobody, "a socket without a file")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	require.ErrorAs(t, greet("unix", socket), &nobody, "a file without a listener, as a kill leaves it")

	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := tcp.Addr().String()
	served := make(chan func(net.Conn), 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for serve := range served {
			conn, err := tcp.Accept()
			if err == nil {
				serve(conn)
				_ = conn.Close()
			}
		}
	}()
	served <- func(net.Conn) {} // a proxy without a target
	require.ErrorAs(t, greet("tcp", address), &nobody)
	served <- func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)); <-t.Context().Done() }
	close(served)
	require.NotErrorAs(t, greet("tcp", address), &nobody, "it keeps silent")
	require.NoError(t, tcp.Close())
	require.ErrorAs(t, greet("tcp", address), &nobody, "nobody listens")
	t.Cleanup(func() { <-done })
}
