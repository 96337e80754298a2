package httpfront

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pipeListener hands out in-memory connections, so that a test runs in a bubble
// with a clock of its own.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	errs  chan error // what Accept returns before anything else
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{}), errs: make(chan error, 8)}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case err := <-l.errs:
		return nil, err
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

// bubble is a running Splitter and the network in front of it, in a synctest
// bubble of its own.
type bubble struct {
	*testing.T
	*pipeListener
	*Splitter
}

// split runs a test in a bubble, and then checks that Close ends it.
func split(t *testing.T, test func(bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := NewSplitter(l)
		served := make(chan error, 1)
		go func() { served <- s.Serve() }()
		test(bubble{t, l, s})
		require.NoError(t, s.Close())
		require.NoError(t, <-served)
	})
}

const http2Start = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

func TestSplitByFirstBytes(t *testing.T) {
	tests := []struct {
		name, sent string
		isGRPC     bool
	}{
		{"http2", http2Start + "frames", true},
		{"http1", "GET /health HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"a method that starts alike", "PROPFIND / HTTP/1.1\r\n\r\n", false},
		{"an answer to HTTP/1 that starts alike", "PRI * HTTP/1.1\r\n\r\n", false},
		{"tls", "\x16\x03\x01\x02\x00\x01\x00", false},
		{"one byte", "G", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			split(t, func(b bubble) {
				t, l, s := b.T, b.pipeListener, b.Splitter
				client, accepted := l.dial(), make(chan struct{})
				go func() {
					_, _ = io.WriteString(client, tt.sent)
					<-accepted
					_ = client.Close()
				}()
				from, other := s.HTTP(), s.GRPC()
				if tt.isGRPC {
					from, other = other, from
				}
				conn, err := from.Accept()
				require.NoError(t, err)
				close(accepted)
				got, err := io.ReadAll(conn)
				require.NoError(t, err)
				require.Equal(t, tt.sent, string(got), "every byte arrives, once and in order")
				require.NoError(t, conn.Close())
				requireNothing(t, other)
			})
		})
	}
}

// requireNothing checks that no connection has been routed to l.
func requireNothing(t *testing.T, l net.Listener) {
	t.Helper()
	synctest.Wait()
	select {
	case <-l.(*branch).conns:
		require.Fail(t, "a connection was routed to both listeners")
	default:
	}
}

func TestSplitByteAtATime(t *testing.T) {
	split(t, func(b bubble) {
		t, l, s := b.T, b.pipeListener, b.Splitter
		client := l.dial()
		go func() {
			for i := range len(http2Start) {
				_, _ = client.Write([]byte{http2Start[i]})
				<-time.After(sniffTimeout / 20) // within the deadline as a whole
			}
			_ = client.Close()
		}()
		conn, err := s.GRPC().Accept()
		require.NoError(t, err)
		one := make([]byte, 1)
		var got bytes.Buffer
		for {
			n, err := conn.Read(one)
			got.Write(one[:n])
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, "the deadline of the sniff must not outlive it")
		}
		require.Equal(t, http2Start, got.String())
		require.NoError(t, conn.Close())
	})
}

func TestSplitSilentClients(t *testing.T) {
	split(t, func(b bubble) {
		t, l, s := b.T, b.pipeListener, b.Splitter
		start := time.Now()
		var silent []net.Conn
		for i := range 100 {
			c := l.dial()
			silent = append(silent, c)
			if i%2 == 0 { // half of them begin and stop
				_, err := io.WriteString(c, http2Start[:i%len(preface)])
				require.NoError(t, err)
			}
		}

		// They are in nobody's way.
		client := l.dial()
		go func() { _, _ = io.WriteString(client, http2Start) }()
		conn, err := s.GRPC().Accept()
		require.NoError(t, err)
		require.Zero(t, time.Since(start))
		require.NoError(t, conn.Close())

		// And they are cut off in the end.
		for _, c := range silent {
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		}
		require.Equal(t, sniffTimeout, time.Since(start))
	})
}

func TestSplitClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := NewSplitter(l)
		served := make(chan error, 1)
		go func() { served <- s.Serve() }()

		silent, waiting, taken := l.dial(), l.dial(), l.dial()
		go func() { _, _ = io.WriteString(taken, http2Start+"more") }()
		conn, err := s.GRPC().Accept()
		require.NoError(t, err)
		_, err = io.WriteString(waiting, "GET") // nobody accepts it
		require.NoError(t, err)
		synctest.Wait()

		require.NoError(t, s.Close())
		require.NoError(t, <-served, "Serve returns once every goroutine has")
		for _, c := range []net.Conn{silent, waiting} {
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		}
		for _, listener := range []net.Listener{s.GRPC(), s.HTTP()} {
			_, err := listener.Accept()
			require.ErrorIs(t, err, net.ErrClosed)
		}
		// What was handed over is its server's.
		got := make([]byte, len(http2Start)+4)
		_, err = io.ReadFull(conn, got)
		require.NoError(t, err)
		require.Equal(t, http2Start+"more", string(got))
		require.NoError(t, conn.Close())
		require.NoError(t, s.Close(), "closing twice is harmless")
	})
}

func TestSplitServerGone(t *testing.T) {
	split(t, func(b bubble) {
		t, l, s := b.T, b.pipeListener, b.Splitter
		require.NoError(t, s.HTTP().Close())
		client := l.dial()
		_, err := io.WriteString(client, "GET / ")
		require.NoError(t, err)
		_, err = client.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "the client is told")

		other := l.dial() // the other protocol goes on
		go func() { _, _ = io.WriteString(other, http2Start) }()
		conn, err := s.GRPC().Accept()
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	})
}

type passingError struct{ error }

func (passingError) Temporary() bool { return true }

func TestSplitAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		for range 3 {
			l.errs <- passingError{errors.New("too many open files")}
		}
		s := NewSplitter(l)
		served := make(chan error, 1)
		start := time.Now()
		go func() { served <- s.Serve() }()
		client := l.dial()
		require.Equal(t, (5+10+20)*time.Millisecond, time.Since(start), "it waits longer each time")
		go func() { _, _ = io.WriteString(client, http2Start) }()
		conn, err := s.GRPC().Accept()
		require.NoError(t, err)
		require.NoError(t, conn.Close())

		broken := errors.New("the network is gone")
		l.errs <- broken
		last := l.dial() // Accept comes round once more
		require.ErrorIs(t, <-served, broken)
		require.NoError(t, last.Close())
		_, err = s.GRPC().Accept()
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

// On real sockets: an http.Server behind the splitter answers, and ends.
func TestSplitServesHTTP(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := NewSplitter(NewSlots(4).Limit(tcp))
	m := newFakeMember()
	server := NewServer(New(Config{Store: m, Cluster: m, Version: "3.7.3"}).ClientHandler(), discard())
	errs := make(chan error, 2)
	go func() { errs <- s.Serve() }()
	go func() { errs <- server.Serve(s.HTTP()) }()

	for range 10 { // more than there are slots: they are given back
		conn, err := net.Dial("tcp", tcp.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, `{"health":"true","reason":""}`, string(body))
		require.NoError(t, conn.Close())
	}

	require.NoError(t, server.Shutdown(t.Context()))
	require.NoError(t, s.Close())
	for range 2 {
		if err := <-errs; err != nil {
			require.ErrorIs(t, err, http.ErrServerClosed)
		}
	}
}

func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := NewSlots(2)
		l := newPipeListener()
		limited := slots.Limit(l)
		accepted := make(chan net.Conn)
		var ended error
		go func() {
			defer close(accepted)
			for {
				conn, err := limited.Accept()
				if err != nil {
					ended = err
					return
				}
				accepted <- conn
			}
		}()
		clients := []net.Conn{l.dial()}
		first := <-accepted
		clients = append(clients, l.dial())
		second := <-accepted

		third := make(chan net.Conn)
		go func() { third <- l.dial() }()
		synctest.Wait()
		select {
		case <-third:
			require.Fail(t, "a third connection was accepted")
		default:
		}
		require.NoError(t, first.Close())
		require.NoError(t, first.Close(), "a slot is given back once")
		clients = append(clients, <-third)
		last := <-accepted

		// Every slot is taken; Close ends the wait for one.
		synctest.Wait()
		require.NoError(t, limited.Close())
		_, open := <-accepted
		require.False(t, open)
		require.ErrorIs(t, ended, net.ErrClosed)
		for _, c := range append(clients, second, last) {
			require.NoError(t, c.Close())
		}
		require.Empty(t, slots)
	})
}
