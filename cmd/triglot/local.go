package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/triglot/triglot/cmd/triglot/config"
)

const (
	localSocket = "admin.sock"
	// socketPathLimit is the longest path that a socket's address has room for.
	socketPathLimit = len(unix.RawSockaddrUnix{}.Path) - 1
	socketMode      = 0o600
)

// listenLocal binds the socket where whoever may open the file calls as the member
// itself. It comes after the member's start: only then is the directory known to be
// the member's, and a socket in it a relic.
func listenLocal(cfg *config.Config, log *slog.Logger) (net.Listener, error) {
	path := cfg.Listen.AdminSocket
	automatic := path == config.AdminSocketInData
	switch {
	case path == "":
		return nil, nil
	case automatic:
		path = filepath.Join(cfg.Member.DataDir, localSocket)
	}
	if len(path) > socketPathLimit {
		err := fmt.Errorf("--admin-socket %s: a socket's path has room for %d bytes: name a shorter one", path, socketPathLimit)
		if !automatic {
			return nil, err
		}
		log.Warn("there is no socket for the member's own calls", "error", err)
		return nil, nil
	}
	if err := removeStaleSocket(path); err != nil {
		return nil, fmt.Errorf("--admin-socket: %w", err)
	}
	l, err := listenPrivately(path)
	if err != nil {
		return nil, fmt.Errorf("--admin-socket %s: %w", path, err)
	}
	return l, nil
}

// listenPrivately makes a socket that only this user may open, from its first moment
// where the system lets a socket's mode be set before it has a name.
func listenPrivately(path string) (net.Listener, error) {
	how := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		return conn.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), socketMode) }) // else below
	}}
	l, err := how.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
