package zk

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// Config is what the face serves and how. Store, Sessions, Znodes and Cluster are
// required; every other field has a default.
type Config struct {
	Store    core.Store
	Sessions core.Sessions
	Znodes   core.Znodes
	Cluster  core.Cluster
	// Auth says whether etcd's authentication is on, and then who ZooKeeper clients are
	// to it; without it they are nobody.
	Auth core.Auth

	// Tick is ZooKeeper's tickTime: a session's timeout is between 2 and 20 of
	// them. Zero is 2 s.
	Tick time.Duration
	// MaxFrame is the largest request in bytes (jute.maxbuffer); zero is 1 MiB less
	// one byte.
	MaxFrame int
	// MaxPerIP is the number of connections that an address may have
	// (maxClientCnxns). Zero is no limit.
	MaxPerIP int
	// Version is the version of ZooKeeper that clients are told, Build the hash
	// behind it; empty are 3.9.5 and "triglot".
	Version, Build string
	// Built is when this program was built; the zero time is 1970.
	Built time.Time
	// DataDir is what `conf` says.
	DataDir string
	// Metrics is where the face's metrics are registered; nil is nowhere.
	Metrics prometheus.Registerer
	// Logger is slog.Default if nil.
	Logger *slog.Logger

	// handshake is handshakeTimeout but in tests.
	handshake time.Duration
}

// The defaults.
const (
	defaultTick    = 2 * time.Second
	defaultVersion = "3.9.5"
	defaultBuild   = "triglot"
)

func (c Config) withDefaults() Config {
	if c.Tick <= 0 {
		c.Tick = defaultTick
	}
	if c.MaxFrame <= 0 {
		c.MaxFrame = wire.MaxFrame
	}
	c.handshake = cmp.Or(c.handshake, handshakeTimeout)
	c.Version = cmp.Or(c.Version, defaultVersion)
	c.Build = cmp.Or(c.Build, defaultBuild)
	if c.Built.IsZero() {
		c.Built = time.Unix(0, 0)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// timeout is what a session gets that asks for want (ZooKeeper 3.9
// ZooKeeperServer: between 2 and 20 ticks).
func (c *Config) timeout(want time.Duration) time.Duration {
	return min(max(want, 2*c.Tick), 20*c.Tick)
}
