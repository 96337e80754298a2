package zk

import (
	"cmp"
	"log/slog"
	"math"
	"runtime/debug"
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
	// Ensemble is what there is of the other members.
	Ensemble Ensemble

	Limits   Limits
	Features Features
	Security Security
	// Words are the four-letter words that are answered (4lw.commands.whitelist), "*"
	// standing for all; nil is srvr alone, and isro in read-only mode.
	Words []string
	// About is what clients are told of this server.
	About About
	// Process has the metrics of the rest of the process, of which ZooKeeper's page and
	// `mntr` show some; nil is none.
	Process prometheus.Gatherer
	// Metrics is where the face's metrics are registered; nil is nowhere.
	Metrics prometheus.Registerer
	// Logger is slog.Default if nil.
	Logger *slog.Logger

	forTests
}

// forTests is what only tests change.
type forTests struct {
	// handshake is handshakeTimeout.
	handshake time.Duration
	// readOnlyGrace is as long as a tick, or the constant of that name.
	readOnlyGrace time.Duration
}

// About is what a server says of itself.
type About struct {
	// Version is the version of ZooKeeper that clients are told, Build the hash
	// behind it; empty are 3.9.5 and "triglot".
	Version, Build string
	// Built is when this program was built; the zero time is 1970.
	Built time.Time
	// DataDir is what `conf` says.
	DataDir string
}

// Ensemble is what the face knows of the other members, and how it changes them.
type Ensemble struct {
	// Overview has the other members say who they follow; nil is that none does.
	Overview core.Overview
	// Membership changes the members, as reconfig asks for it.
	Membership core.Membership
	// Servers is what zoo.cfg says of the servers: a line for each. It is what
	// /zookeeper/config says until the ensemble is reconfigured, which one without it,
	// that no zoo.cfg made, cannot be. Empty is a standalone server, too.
	Servers string
	// Parse reads a server as zoo.cfg has it behind "server.N="; required with Servers.
	Parse func(id int64, text string) (EnsembleServer, error)
	// Properties reads text in the format of zoo.cfg, as keys and values; required with
	// Servers.
	Properties func(text string) ([][2]string, error)
	// TLS says that members speak TLS to each other (sslQuorum).
	TLS bool
	// Sole allows a configuration with one server that votes (standaloneEnabled=false).
	Sole bool
}

// EnsembleServer is a server of an ensemble.
type EnsembleServer struct {
	ID int64
	// Line is the server's line as ZooKeeper writes it, without its end.
	Line     string
	Observer bool
	// Peers are the host:port at which other members call it.
	Peers []string
	// Own are all host:port of it that no other server may have: none of those that
	// mean another host on each, such as localhost.
	Own []string
	// Clients says that the line has an address for clients.
	Clients bool
}

// Limits bounds what clients may ask for. A zero is the default of that part.
type Limits struct {
	// Tick is ZooKeeper's tickTime; zero is 2 s.
	Tick time.Duration
	// MinSession and MaxSession are the shortest and the longest timeout of a session
	// (minSessionTimeout, maxSessionTimeout); zero are 2 and 20 ticks.
	MinSession, MaxSession time.Duration
	// MaxFrame is the largest request in bytes (jute.maxbuffer); zero is 1 MiB less
	// one byte.
	MaxFrame int
	// MaxPerIP is the number of connections that an address may have
	// (maxClientCnxns), MaxConns that of all (maxCnxns). Zero is no limit.
	MaxPerIP, MaxConns int
	// Memory bounds, in bytes, what waits for clients to read it, and as much what their
	// watches take; zero is a quarter of the memory that the process may take (GOMEMLIMIT),
	// at least 64 MiB, or 256 MiB if that is not limited.
	Memory int64
}

// Features are what is off by default in ZooKeeper, too.
type Features struct {
	// ExtendedTypes allows znodes with a time to live (extendedTypesEnabled).
	ExtendedTypes bool
	// EnforceQuota has writes beyond a hard quota fail (enforceQuota).
	EnforceQuota bool
	// ReadOnly serves clients that ask for it while there is no quorum
	// (readonlymode.enabled).
	ReadOnly bool
	// Reconfig allows reconfig (reconfigEnabled).
	Reconfig bool
}

// Security is how clients prove who they are, and what becomes of those who do not.
type Security struct {
	// SkipACL has all clients do everything (skipACL).
	SkipACL bool
	// SuperDigest is the digest id that may do everything, such as "super:<base64>"
	// (DigestAuthenticationProvider.superDigest); empty is none.
	SuperDigest string
	// DigestAlgorithm is Java's name of what passwords are hashed with
	// (DigestAuthenticationProvider.digestAlg); empty is SHA1.
	DigestAlgorithm string
	// X509 registers the scheme of client certificates (authProvider.x509); X509Super
	// is the subject that may do everything (X509AuthenticationProvider.superUser).
	X509      bool
	X509Super string
	// SASL registers the scheme of SASL; Users are the passwords of DIGEST-MD5, nil if
	// nobody can authenticate by it.
	SASL  bool
	Users map[string]string
	// SASLSuperPassword, unless it is empty, is the password of the user super instead of
	// the one in Users (SASLAuthenticationProvider.superPassword).
	SASLSuperPassword string
	// AllowSASLFailed lets clients that fail to authenticate by SASL go on as nobody,
	// unless SASL is required (allowSaslFailedClients).
	AllowSASLFailed bool
	// SASLSuper are the sasl ids that may do everything (superUser).
	SASLSuper []string
	// RequireSASL turns away clients that do not authenticate by SASL
	// (sessionRequireClientSASLAuth).
	RequireSASL bool
	// RequireAuth turns away clients that have not authenticated by one of AuthSchemes
	// (enforce.auth.enabled, enforce.auth.schemes).
	RequireAuth bool
	AuthSchemes []string
}

// The defaults.
const (
	defaultTick    = 2 * time.Second
	defaultVersion = "3.9.5"
	defaultBuild   = "triglot"
)

func (c Config) withDefaults() Config {
	if c.Limits.Tick <= 0 {
		c.Limits.Tick = defaultTick
	}
	if c.Limits.MaxFrame <= 0 {
		c.Limits.MaxFrame = wire.MaxFrame
	}
	c.handshake = cmp.Or(c.handshake, handshakeTimeout)
	c.readOnlyGrace = cmp.Or(c.readOnlyGrace, max(readOnlyGrace, c.Limits.Tick))
	c.Limits.Memory = cmp.Or(c.Limits.Memory, defaultMemory(debug.SetMemoryLimit(-1)))
	c.About = c.About.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func (a About) withDefaults() About {
	a.Version = cmp.Or(a.Version, defaultVersion)
	a.Build = cmp.Or(a.Build, defaultBuild)
	if a.Built.IsZero() {
		a.Built = time.Unix(0, 0)
	}
	return a
}

// defaultMemory is Limits.Memory of a process that may take limit bytes.
func defaultMemory(limit int64) int64 {
	if limit == math.MaxInt64 {
		return 256 << 20
	}
	return max(limit/4, 64<<20)
}

// timeout is what a session gets that asks for want (ZooKeeper 3.9
// ZooKeeperServer: between 2 and 20 ticks unless told otherwise).
func (c *Config) timeout(want time.Duration) time.Duration {
	l := &c.Limits
	return min(max(want, cmp.Or(l.MinSession, 2*l.Tick)), cmp.Or(l.MaxSession, 20*l.Tick))
}
