package main

import (
	"net"
	"os"
)

// notifySystemd tells systemd that the member serves, if it asked to be told
// (Type=notify).
func notifySystemd() error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // a datagram is sent or not
	_, err = conn.Write([]byte("READY=1"))
	return err
}
