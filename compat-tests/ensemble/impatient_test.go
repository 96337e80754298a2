package ensemble

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A server that takes a connection and says nothing is given up as ZooKeeper's own client
// gives it up; one that has answered has the session's time.
func TestImpatient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	conn, err := DialImpatient(time.Minute)("tcp", l.Addr().String(), time.Second)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	c := conn.(*impatient)
	spy := &deadlines{Conn: c.Conn}
	c.Conn = spy
	began := time.Now()
	for range 2 {
		require.NoError(t, c.SetReadDeadline(began.Add(time.Hour)))
	}
	require.WithinDuration(t, began.Add(time.Minute), spy.set[0], 10*time.Second)
	require.Equal(t, began.Add(time.Hour), spy.set[1])
}

type deadlines struct {
	net.Conn
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}
