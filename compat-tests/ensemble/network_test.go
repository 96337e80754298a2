//go:build linux

package ensemble

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// A way that is cut holds bytes back, the other way goes on, and what was held back
// arrives once it is healed.
func TestOneWay(t *testing.T) {
	behind, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, behind.Close()) }()
	n := NewNetwork(func() []int { return []int{os.Getpid(), 0} }) // whoever dials here is member 0
	defer func() { require.NoError(t, n.Close()) }()
	port, err := server.FreePort()
	require.NoError(t, err)
	at := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String()
	require.NoError(t, n.Listen(1, at, behind.Addr().String(), nil))

	dialer, err := net.Dial("tcp", at)
	require.NoError(t, err)
	defer func() { _ = dialer.Close() }() // Heal may have closed it
	accepted, err := behind.Accept()
	require.NoError(t, err)
	defer func() { _ = accepted.Close() }()
	left, right := bufio.NewReader(dialer), bufio.NewReader(accepted)
	say := func(to net.Conn, from *bufio.Reader, text string) {
		_, err := to.Write([]byte(text))
		require.NoError(t, err)
		got, err := from.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, text, got)
	}
	say(dialer, right, "there\n")
	say(accepted, left, "back\n")

	n.Cut(0, 1)
	_, err = dialer.Write([]byte("late\n"))
	require.NoError(t, err)
	say(accepted, left, "back again\n")
	require.NoError(t, accepted.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = right.ReadString('\n')
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, accepted.SetReadDeadline(time.Time{}))
	n.Heal(false)
	got, err := right.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "late\n", got)

	n.Cut(1, 0)
	n.Heal(true)
	_, err = left.ReadString('\n')
	require.Error(t, err, "its connection is gone")
}

// Who dials a member that does not listen is refused, before and after it does.
func TestGate(t *testing.T) {
	n := NewNetwork(func() []int { return []int{os.Getpid(), 0} })
	defer func() { require.NoError(t, n.Close()) }()
	at, behind := freeAddress(t), freeAddress(t)
	require.NoError(t, n.Listen(1, at, behind, nil))
	for range 3 {
		_, err := net.Dial("tcp", at)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		l, err := net.Listen("tcp", behind)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			conn, err := net.Dial("tcp", at)
			return err == nil && conn.Close() == nil
		}, 10*time.Second, time.Millisecond)
		require.NoError(t, l.Close())
		require.Eventually(t, func() bool {
			conn, err := net.Dial("tcp", at)
			return errors.Is(err, syscall.ECONNREFUSED) || err == nil && conn.Close() != nil
		}, 10*time.Second, time.Millisecond)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := server.FreePort()
	require.NoError(t, err)
	return local(port)
}

func BenchmarkListening(b *testing.B) {
	for b.Loop() {
		_, err := listening()
		require.NoError(b, err)
	}
}

// Who is not a member gets nothing through: nobody could cut it.
func TestStranger(t *testing.T) {
	behind, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, behind.Close()) }()
	n := NewNetwork(func() []int { return []int{0, 0} })
	defer func() { require.NoError(t, n.Close()) }()
	at := freeAddress(t)
	require.NoError(t, n.Listen(1, at, behind.Addr().String(), nil))
	conn, err := net.Dial("tcp", at)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}
