package httpfront

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
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

// frames encodes HTTP/2 frames.
func frames(write func(*http2.Framer)) string {
	var buf bytes.Buffer
	write(http2.NewFramer(&buf, nil))
	return buf.String()
}

func settings(f *http2.Framer) { _ = f.WriteSettings() } // a buffer never fails
func ack(f *http2.Framer)      { _ = f.WriteSettingsAck() }

// request begins a request with the content type, which may be empty.
func request(contentType string) func(*http2.Framer) {
	return func(f *http2.Framer) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{
			StreamID: 1, BlockFragment: headerBlock(contentType), EndHeaders: true,
		})
	}
}

func headerBlock(contentType string) []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, field := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: "/v3/kv/put"},
		{Name: ":authority", Value: "a"},
		{Name: "content-type", Value: contentType},
	} {
		if field.Value != "" {
			_ = e.WriteField(field) // a buffer never fails
		}
	}
	return block.Bytes()
}

var (
	// http2Start is how a connection begins whose client does not wait.
	http2Start = preface + frames(settings)
	grpcStart  = http2Start + frames(request("application/grpc"))
	curlStart  = http2Start + frames(request("application/json"))
)

func TestSplitByFirstBytes(t *testing.T) {
	tests := []struct {
		name, sent string
		isGRPC     bool
	}{
		{"grpc", grpcStart + "more", true},
		{"grpc with a codec", http2Start + frames(request("application/grpc+proto")) + "more", true},
		{"grpc with a parameter", http2Start + frames(request("application/grpc;x")) + "more", true},
		{"http2", curlStart + "more", false},
		{"http2 of another type", http2Start + frames(request("application/grpc-web")), false},
		{"http2 without a type", http2Start + frames(request("")), false},
		{"http2 with other frames first", http2Start + frames(func(f *http2.Framer) {
			_ = f.WriteWindowUpdate(0, 1<<20)
			_ = f.WritePriority(3, http2.PriorityParam{Weight: 1})
			request("")(f)
		}), false},
		{"http2 with headers in two frames", http2Start + frames(func(f *http2.Framer) {
			block := headerBlock("application/grpc")
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:5]})
			_ = f.WriteContinuation(1, true, block[5:])
		}), true},
		{"a ping first", http2Start + frames(func(f *http2.Framer) { _ = f.WritePing(false, [8]byte{}) }), true},
		{"a broken header block", http2Start + "\x00\x00\x01\x01\x04\x00\x00\x00\x01\xff", true},
		{"a frame that is too long", http2Start + "\xff\xff\xff\x04\x00\x00\x00\x00\x00", true},
		{"endless settings", preface + strings.Repeat(frames(settings), maxHead/9+9), true},
		{"no frames", preface + "no frames at all", true},
		{"almost the preface", preface[:20] + "no", false},
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
				start := time.Now()
				client, accepted := l.dial(), make(chan struct{})
				go func() { _, _ = io.Copy(io.Discard, client) }()
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
				require.Zero(t, time.Since(start), "nothing is waited for")
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
		client, accepted := l.dial(), make(chan struct{})
		go func() { _, _ = io.Copy(io.Discard, client) }()
		go func() {
			for i := range len(grpcStart) {
				_, _ = client.Write([]byte{grpcStart[i]})
				<-time.After(sniffTimeout / 100) // within the deadline as a whole
			}
			<-accepted
			_ = client.Close()
		}()
		conn, err := s.GRPC().Accept()
		require.NoError(t, err)
		close(accepted)
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
		require.Equal(t, grpcStart, got.String())
		require.NoError(t, conn.Close())
	})
}

// gRPC clients, and some others, make no request before they have the server's
// SETTINGS.
func TestSplitGreets(t *testing.T) {
	tests := []struct {
		name   string
		answer string // to the greeting
		want   string // what the server is to read after http2Start
		isGRPC bool
	}{
		{
			name:   "grpc",
			answer: frames(ack) + frames(request("application/grpc")) + "more",
			want:   frames(ack) + frames(request("application/grpc")) + "more",
			isGRPC: true,
		},
		{
			name:   "http, acknowledged first",
			answer: frames(ack) + frames(request("")) + frames(ack),
			want:   frames(request("")) + frames(ack),
		},
		{
			name:   "http, acknowledged later",
			answer: frames(request("")) + frames(settings) + frames(ack) + frames(ack) + "more",
			want:   frames(request("")) + frames(settings) + frames(ack) + "more",
		},
		{
			name:   "http, never acknowledged",
			answer: frames(request("")) + "\x00\x00",
			want:   frames(request("")),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			split(t, func(b bubble) {
				t, l, s := b.T, b.pipeListener, b.Splitter
				start := time.Now()
				client := l.dial()
				_, err := io.WriteString(client, http2Start)
				require.NoError(t, err)
				got := make([]byte, greetingSize)
				_, err = io.ReadFull(client, got)
				require.NoError(t, err)
				require.Equal(t, frames(settings), string(got))
				accepted := make(chan struct{})
				go func() {
					_, _ = io.WriteString(client, tt.answer)
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
				require.Zero(t, time.Since(start))
				requireNothing(t, other)
				all, err := io.ReadAll(iotest.OneByteReader(conn))
				require.NoError(t, err)
				require.Equal(t, http2Start+tt.want, string(all))
				require.NoError(t, conn.Close())
			})
		})
	}
}

// A client that connects ahead of need is taken for a gRPC client.
func TestSplitIdleClient(t *testing.T) {
	split(t, func(b bubble) {
		t, l, s := b.T, b.pipeListener, b.Splitter
		client := l.dial()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		_, err := io.WriteString(client, http2Start)
		require.NoError(t, err)
		start := time.Now()
		conn, err := s.GRPC().Accept()
		require.NoError(t, err)
		require.Equal(t, firstCallTimeout, time.Since(start))
		go func() {
			<-time.After(time.Hour)
			_, _ = io.WriteString(client, "more")
			_ = client.Close()
		}()
		got, err := io.ReadAll(conn)
		require.NoError(t, err, "the deadline of the sniff must not outlive it")
		require.Equal(t, http2Start+"more", string(got))
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
		go func() { _, _ = io.WriteString(client, grpcStart) }()
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
		go func() { _, _ = io.WriteString(taken, grpcStart+"more") }()
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
		got := make([]byte, len(grpcStart)+4)
		_, err = io.ReadFull(conn, got)
		require.NoError(t, err)
		require.Equal(t, grpcStart+"more", string(got))
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
		go func() { _, _ = io.WriteString(other, grpcStart) }()
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
		go func() { _, _ = io.WriteString(client, grpcStart) }()
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
