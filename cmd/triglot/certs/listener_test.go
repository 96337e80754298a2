package certs

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/triglot/triglot/cmd/triglot/certs/certstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testLog is a log and where it goes.
type testLog struct {
	logBuffer
	logger *slog.Logger
}

func newTestLog() *testLog {
	l := new(testLog)
	l.logger = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return l
}

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	errs  chan error
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), done: make(chan struct{}), errs: make(chan error)}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case err := <-p.errs:
		return nil, err
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// accepted is what Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

// listening runs test with a Listener that is being accepted from.
func listening(t *testing.T, options ListenOptions, test func(*testing.T, *certstest.Authority, *pipes, <-chan accepted, *testLog)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := certstest.New(t)
		a.Issue("server", certstest.Localhost)
		k, _ := load(t, server(a, "server"))
		log := newTestLog()
		inner := newPipes()
		options.Logger, options.Rejected = log.logger, "rejected connection on client endpoint"
		l := NewListener(inner, k.TLS(), options)
		out := make(chan accepted)
		go func() {
			for {
				conn, err := l.Accept()
				out <- accepted{conn, err}
				if errors.Is(err, net.ErrClosed) {
					return
				}
			}
		}()
		test(t, a, inner, out, log)
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
		require.ErrorIs(t, (<-out).err, net.ErrClosed)
		_, err := l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		k.Close()
	})
}

// A client that takes its time holds up nobody, and not for ever.
func TestSlowHandshake(t *testing.T) {
	listening(t, ListenOptions{}, func(t *testing.T, a *certstest.Authority, p *pipes, out <-chan accepted, log *testLog) {
		slow := p.dial()
		quick := tls.Client(p.dial(), a.Client(""))
		go func() { _, _ = quick.Write([]byte("x")) }()
		got := <-out
		require.NoError(t, got.err)
		require.IsType(t, &tls.Conn{}, got.conn)
		require.Empty(t, log.take())
		began := time.Now()
		_, err := slow.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, handshakeTimeout, time.Since(began))
		synctest.Wait()
		require.Contains(t, log.take(), "rejected connection on client endpoint")

		// Those that have shaken hands may be silent for as long as they like.
		_, err = io.ReadFull(got.conn, make([]byte, 1))
		require.NoError(t, err)
		pass(time.Hour)
		go func() { _, _ = quick.Write([]byte("y")) }()
		_, err = io.ReadFull(got.conn, make([]byte, 1))
		require.NoError(t, err)
		_ = got.conn.Close()
		_ = quick.Close()
	})
}

// However many begin a handshake, the oldest make way.
func TestHandshakesAreBounded(t *testing.T) {
	listening(t, ListenOptions{}, func(t *testing.T, a *certstest.Authority, p *pipes, out <-chan accepted, _ *testLog) {
		first := p.dial()
		for range maxHandshakes - 1 {
			defer p.dial().Close()
		}
		synctest.Wait()
		began := time.Now()
		client := tls.Client(p.dial(), a.Client(""))
		go func() { _ = client.Handshake() }()
		_, err := first.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		got := <-out
		require.NoError(t, got.err)
		require.Zero(t, time.Since(began))
		_ = got.conn.Close()
	})
}

// One address for both schemes tells them apart by the first byte.
func TestPlainAndSecure(t *testing.T) {
	listening(t, ListenOptions{Plain: true}, func(t *testing.T, a *certstest.Authority, p *pipes, out <-chan accepted, log *testLog) {
		plain := p.dial()
		go func() { _, _ = plain.Write([]byte("GET / HTTP/1.1\r\n")) }()
		got := <-out
		require.NoError(t, got.err)
		text := make([]byte, 5)
		_, err := io.ReadFull(got.conn, text)
		require.NoError(t, err)
		require.Equal(t, "GET /", string(text))
		_ = plain.Close()

		secure := tls.Client(p.dial(), a.Client(""))
		go func() { _, _ = secure.Write([]byte("hello")) }()
		got = <-out
		require.NoError(t, got.err)
		require.IsType(t, &tls.Conn{}, got.conn)
		_, err = io.ReadFull(got.conn, text)
		require.NoError(t, err)
		require.Equal(t, "hello", string(text))
		_ = secure.Close()

		probe := p.dial()
		synctest.Wait()
		_ = probe.Close()
		synctest.Wait()
		require.Regexp(t, `level=DEBUG msg="rejected connection`, log.take())
	})
}

// What the inner listener fails with reaches whoever accepts, who may go on.
func TestErrorsOfAccept(t *testing.T) {
	listening(t, ListenOptions{}, func(t *testing.T, a *certstest.Authority, p *pipes, out <-chan accepted, log *testLog) {
		scarce := errors.New("too many open files")
		p.errs <- scarce
		require.ErrorIs(t, (<-out).err, scarce)
		client := tls.Client(p.dial(), a.Client(""))
		go func() { _ = client.Handshake() }()
		got := <-out
		require.NoError(t, got.err)
		_ = got.conn.Close()

		// Handshakes that are under way when it is closed, and one that is done.
		defer p.dial().Close()
		late := tls.Client(p.dial(), a.Client(""))
		require.NoError(t, late.Handshake())
		got = <-out
		_ = got.conn.Close()
	})
}

// A client of the metrics must come from where its certificate says.
func TestAddressIsChecked(t *testing.T) {
	a := certstest.New(t)
	a.Issue("server", certstest.Localhost)
	a.Issue("here", certstest.Localhost)
	a.Issue("there", certstest.Subject{Name: "there", IPs: []net.IP{net.IPv4(192, 0, 2, 1)}})
	c := server(a, "server")
	c.TrustedCAFile = a.Path("ca.pem")
	k, _ := load(t, c)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	log := newTestLog()
	l := NewListener(inner, k.TLS(), ListenOptions{CheckAddress: true, Rejected: "no", Logger: log.logger})
	defer l.Close()
	conns := make(chan net.Conn)
	go func() {
		defer close(conns)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	logged := func(line string) {
		t.Helper()
		var text string
		require.Eventually(t, func() bool {
			text += log.take()
			return regexp.MustCompile(line).MatchString(text)
		}, 10*time.Second, time.Millisecond, "%s", line)
	}
	there, err := tls.Dial("tcp", inner.Addr().String(), a.Client("there"))
	require.NoError(t, err)
	_, err = there.Read(make([]byte, 1))
	require.Error(t, err)
	here, err := tls.Dial("tcp", inner.Addr().String(), a.Client("here"))
	require.NoError(t, err)
	require.NoError(t, (<-conns).Close())
	_ = here.Close()
	logged(`level=WARN msg=no .*ip-addresses=\[192.0.2.1\].*error="x509: certificate is valid for 192.0.2.1, not 127.0.0.1"`)

	_, err = tls.Dial("tcp", inner.Addr().String(), &tls.Config{ServerName: "localhost"})
	require.Error(t, err, "someone who distrusts the server")
	logged(`level=WARN msg=no remote-addr=\S+ server-name=localhost error="remote error: tls: bad certificate"`)
	require.NoError(t, l.Close())
	for range conns {
		require.Fail(t, "only one was let in")
	}
}

// However many handshakes fail, the log has a line a minute for each reason, and none for
// connections that are closed without a byte.
func TestRejectionsAreSpared(t *testing.T) {
	listening(t, ListenOptions{}, func(t *testing.T, a *certstest.Authority, p *pipes, out <-chan accepted, log *testLog) {
		warnings := func() (lines []string) {
			synctest.Wait()
			for line := range strings.Lines(log.take()) {
				if strings.Contains(line, "level=WARN") {
					lines = append(lines, line)
				}
			}
			return lines
		}
		for range 500 { // a load balancer's checks
			probe := p.dial()
			synctest.Wait()
			_ = probe.Close()
		}
		require.Empty(t, warnings())
		plain := func() {
			c := p.dial()
			go func() { _, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n")) }()
			_, _ = io.ReadAll(c)
			_ = c.Close()
		}
		for range 500 {
			plain()
		}
		half := p.dial()
		_, _ = half.Write([]byte{handshakeRecord, 3})
		_ = half.Close()
		lines := warnings()
		require.Len(t, lines, 2)
		require.Contains(t, lines[0], "first record does not look like a TLS handshake")
		require.Contains(t, lines[1], "unexpected EOF")
		pass(sparingPause)
		plain()
		lines = warnings()
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], "left-out=499")
	})
}

func TestSparingIsBounded(t *testing.T) {
	var s sparing
	now := time.Now()
	for i := range 2 * maxSpared {
		_, ok := s.due(rejection{reason: strconv.Itoa(i)}, now)
		require.Equal(t, i < maxSpared, ok)
	}
	require.Len(t, s.told, maxSpared)
	left, ok := s.due(rejection{reason: "late"}, now.Add(sparingPause))
	require.True(t, ok)
	require.Equal(t, maxSpared, left)
	require.Len(t, s.told, 1)
}
