package main

import (
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/triglot/triglot/frontends/etcdv3"
	httpfront "github.com/triglot/triglot/frontends/http"
	"github.com/triglot/triglot/frontends/http/inproc"
	"github.com/triglot/triglot/frontends/zk"
)

// makeFaces makes the servers of each protocol.
func (s *server) makeFaces(registry *prometheus.Registry) {
	s.makeEtcd(registry)
	s.makeHTTP(registry)
	if s.cfg.ZooKeeper.Served() {
		s.makeZooKeeper(registry)
	}
}

// makeEtcd makes etcd's face, on sockets and for the gateway.
func (s *server) makeEtcd(registry *prometheus.Registry) {
	requests, metrics := s.cfg.Requests, etcdv3.NewMetrics(registry)
	if s.cfg.Extensive {
		metrics.TimeCalls(registry)
	}
	options := etcdv3.ServerOptions(etcdv3.ServerConfig{
		MaxRequestBytes:      uint(requests.MaxRequestBytes),
		MaxConcurrentStreams: requests.MaxConcurrentStreams,
		KeepaliveMinTime:     requests.KeepAliveMinTime,
		KeepaliveInterval:    orNever(requests.KeepAliveInterval),
		KeepaliveTimeout:     orNever(requests.KeepAliveTimeout),
		Metrics:              metrics,
	})
	s.grpc = grpc.NewServer(append(options, grpc.Creds(handshaken{}))...)
	face := etcdv3.Config{
		Store: s.node, Leases: s.node.Leases(), Cluster: s.node, Maintenance: s.node, Auth: s.node.Auth(), Membership: s.node.Membership(),
		Limits: etcdv3.Limits{
			TxnOps:       uint(requests.MaxTxnOps),
			RequestBytes: uint(requests.MaxRequestBytes),
			MinLeaseTTL:  minLeaseTTL(s.cfg.Member.Heartbeat, s.cfg.Member.Election),
		},
		ElectionTimeout:  s.cfg.Member.Election,
		ProgressInterval: requests.WatchProgress,
		Slow: etcdv3.Slow{
			Unary:  requests.SlowRequest,       // zero is the default, as with etcd
			Read:   max(requests.SlowApply, 1), // zero is for every one, as with etcd
			OnRead: s.node.CountSlowRead,
		},
		ServerVersion:  etcdVersion,
		ClientCertAuth: s.cfg.TLS.Client.ClientCertAuth,
		CertificateID:  zk.CertificateID,
		Metrics:        metrics,
		Logger:         s.log,
	}
	etcdv3.Register(s.grpc, face)
	if s.bound.local != nil {
		s.local = grpc.NewServer(options...)
		own := face
		own.AsMember = true
		etcdv3.Register(s.local, own)
	}
	if s.cfg.Listen.Gateway {
		s.gateway = inproc.New(inproc.Config{
			MaxRequestBytes: uint(requests.MaxRequestBytes),
			Transferred:     metrics.Transferred, // as etcd's, whose gateway dials its own port
			Logger:          s.log,
		})
		etcdv3.Register(s.gateway, face)
	}
}

func (s *server) makeHTTP(registry *prometheus.Registry) {
	var gateway grpc.ClientConnInterface // not one that holds nil
	if s.gateway != nil {
		gateway = s.gateway
	}
	var calls http.Handler
	if len(s.bound.http) == 0 {
		calls = s.grpc // the addresses are gRPC's too
	}
	front := httpfront.New(httpfront.Config{
		Store: s.node, Cluster: s.node,
		Calls:           calls,
		Gateway:         gateway,
		MaxRequestBytes: uint(s.cfg.Requests.MaxRequestBytes),
		Version:         etcdVersion,
		RequestTimeout:  5*time.Second + 2*s.cfg.Member.Election, // etcd T-04
		Metrics:         registry,
		Auth:            s.node.Auth(),
		ClientCertAuth:  s.cfg.TLS.Client.ClientCertAuth,
		Origins:         s.cfg.Listen.Origins,
		Hosts:           s.cfg.Listen.Hosts,
		Debug:           httpfront.Debug{Pprof: s.cfg.Listen.Pprof, Traces: s.cfg.Listen.Traces},
		Overview:        s.node,
		Logger:          s.log,
	})
	s.clients = httpfront.NewServer(front.ClientHandler(), s.log)
	s.metrics = httpfront.NewServer(front.MetricsHandler(), s.log)
	if s.local != nil {
		s.localHTTP = httpfront.NewServer(front.MemberHandler(), s.log)
	}
}

// orNever is how grpc-go spells an interval of zero, which is never.
func orNever(d time.Duration) time.Duration {
	if d == 0 {
		return math.MaxInt64
	}
	return d
}

// minLeaseTTL is the shortest lease: one and a half election timeouts in whole
// heartbeats, raised to whole seconds (etcd T-60).
func minLeaseTTL(heartbeat, election time.Duration) time.Duration {
	ttl := heartbeat * (3 * (election / heartbeat) / 2)
	return (ttl + time.Second - 1).Truncate(time.Second)
}
