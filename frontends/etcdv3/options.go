package etcdv3

import (
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// ServerConfig tunes grpc-go's server for the face. The zero value is etcd's
// defaults.
type ServerConfig struct {
	// MaxRequestBytes is the store's limit on an encoded command; gRPC refuses
	// messages of 512 KiB more. Zero is 1.5 MiB.
	MaxRequestBytes uint
	// MaxConcurrentStreams bounds the calls open on one connection; zero is no
	// bound.
	MaxConcurrentStreams uint32
	// KeepaliveMinTime is how often a client may ping, with a call open; one that
	// pings more is disconnected. Zero is 5 s.
	KeepaliveMinTime time.Duration
	// KeepaliveInterval is how often an idle client is pinged, and
	// KeepaliveTimeout how long it may take to answer. Zero is 2 h and 20 s.
	KeepaliveInterval, KeepaliveTimeout time.Duration
	// Metrics counts bytes; it should be that of Config. Nil counts nothing.
	Metrics *Metrics
}

const (
	defaultKeepaliveMinTime  = 5 * time.Second
	defaultKeepaliveInterval = 2 * time.Hour
	defaultKeepaliveTimeout  = 20 * time.Second

	// Fixed windows spare the pings by which grpc-go measures bandwidth; these
	// let a client send 40 MB/s over 100 ms. Data not yet read is held in memory,
	// so they are not larger.
	streamWindow = 1 << 20
	connWindow   = 4 << 20

	// Goroutines that stay, so that a call does not start on a small stack that
	// must grow: a tenth of a call's whole cost. Writes wait in them for the log,
	// so there are about as many as there are calls under way on a busy server;
	// idle, they take a few MiB. Further calls get a goroutine of their own.
	streamWorkers = 1024

	// headerLimit bounds what a client may have us hold as the headers of a call.
	headerLimit = 256 << 10

	// ioBuffer lets one system call carry the requests or replies of many calls.
	ioBuffer = 64 << 10
)

// ServerOptions are the options of a grpc.Server that Register is called with.
func ServerOptions(c ServerConfig) []grpc.ServerOption {
	if c.MaxRequestBytes == 0 {
		c.MaxRequestBytes = defaultMaxRequestBytes
	}
	if c.MaxConcurrentStreams == 0 {
		c.MaxConcurrentStreams = math.MaxUint32
	}
	if c.KeepaliveMinTime == 0 {
		c.KeepaliveMinTime = defaultKeepaliveMinTime
	}
	if c.KeepaliveInterval == 0 {
		c.KeepaliveInterval = defaultKeepaliveInterval
	}
	if c.KeepaliveTimeout == 0 {
		c.KeepaliveTimeout = defaultKeepaliveTimeout
	}
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{metrics: c.Metrics.orDiscard()}),
		grpc.MaxRecvMsgSize(int(c.MaxRequestBytes) + requestOverhead),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxHeaderListSize(headerLimit),
		grpc.MaxConcurrentStreams(c.MaxConcurrentStreams),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ReadBufferSize(ioBuffer),
		grpc.WriteBufferSize(ioBuffer),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime:             c.KeepaliveMinTime,
			PermitWithoutStream: false, // as in etcd
		}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time:    c.KeepaliveInterval,
			Timeout: c.KeepaliveTimeout,
		}),
	}
}
