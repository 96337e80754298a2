package httpfront

import (
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

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
