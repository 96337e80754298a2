package ensemble

import (
	"net"
	"time"
)

// DialImpatient is a dialer for clients of ZooKeeper's protocol that gives a server so long
// to agree to a session. go-zookeeper waits for ten times its timeout, and so for a server
// that is paused until its session has expired; ZooKeeper's own clients divide the session's
// timeout by the number of servers.
func DialImpatient(handshake time.Duration) func(network, address string, timeout time.Duration) (net.Conn, error) {
	return func(network, address string, timeout time.Duration) (net.Conn, error) {
		conn, err := net.DialTimeout(network, address, timeout)
		if err != nil {
			return nil, err
		}
		return &impatient{Conn: conn, handshake: handshake}, nil
	}
}

// impatient is a connection whose first read has to be over soon: that of the handshake.
type impatient struct {
	net.Conn
	handshake time.Duration
	agreed    bool
}

// SetReadDeadline is called before the handshake is read, and before what follows.
func (c *impatient) SetReadDeadline(t time.Time) error {
	if latest := time.Now().Add(c.handshake); !c.agreed && t.After(latest) {
		t = latest
	}
	c.agreed = true
	return c.Conn.SetReadDeadline(t)
}
