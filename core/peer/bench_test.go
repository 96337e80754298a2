package peer

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/triglot/triglot/core"
)

// sink is a Handler that makes room for more with each message.
type sink struct {
	recorder
	window chan struct{}
}

func (s *sink) Message(core.MemberID, []byte) { <-s.window }

// benchmarkSend has so much on its way as raft has at most.
func benchmarkSend(b *testing.B, size int) {
	s := &sink{window: make(chan struct{}, min(4096, 32<<20/size))}
	discard := slog.New(slog.DiscardHandler)
	to := newTestPeer(b, 2, func(c *Config) { c.Handler, c.Logger = s, discard })
	from := newTestPeer(b, 1)
	from.SetMembers([]core.Member{to.member()})
	from.awaitUp(b)
	m := wrapperspb.Bytes(bytes.Repeat([]byte("x"), size))
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		s.window <- struct{}{}
		from.Send(2, m)
	}
	for range cap(s.window) {
		s.window <- struct{}{} // the last one is there
	}
}

func BenchmarkSend100B(b *testing.B) { benchmarkSend(b, 100) }
func BenchmarkSend4KiB(b *testing.B) { benchmarkSend(b, 4<<10) }
func BenchmarkSend1MiB(b *testing.B) { benchmarkSend(b, 1<<20) }

// BenchmarkRoundTrip is a message there and one back, one at a time: what a lone write
// waits for.
func BenchmarkRoundTrip(b *testing.B) {
	echo, back := new(echoHandler), &echoHandler{got: make(chan struct{}, 1)}
	a := newTestPeer(b, 1, func(c *Config) { c.Handler = back })
	z := newTestPeer(b, 2, func(c *Config) { c.Handler = echo })
	echo.t = z.Transport
	members := []core.Member{a.member(), z.member()}
	a.SetMembers(members)
	z.SetMembers(members)
	a.awaitUp(b)
	z.awaitUp(b)
	m := wrapperspb.String("a heartbeat's size")
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		a.Send(2, m)
		<-back.got
	}
}

type echoHandler struct {
	recorder
	t   *Transport
	got chan struct{}
}

func (e *echoHandler) Message(from core.MemberID, _ []byte) {
	if e.t != nil {
		e.t.Send(from, wrapperspb.String("an answer"))
		return
	}
	e.got <- struct{}{}
}

func BenchmarkAsk(b *testing.B) {
	a, z := pair(b)
	z.r.answer = func(_ context.Context, _ uint8, body []byte) ([]byte, error) { return body, nil }
	body := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Ask(b.Context(), 2, 1, body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRawRoundTrip is what the kernel takes for the same.
func BenchmarkRawRoundTrip(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 64)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if _, err := conn.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 32)
	for b.Loop() {
		if _, err := conn.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}
