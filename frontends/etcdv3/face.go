package etcdv3

import (
	"crypto/x509"
	"log/slog"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/triglot/triglot/core"
)

// Config is what the face serves and how. Store, Leases, Cluster, Maintenance, Auth
// and Membership are required; every other field has a default.
type Config struct {
	Store       core.Store
	Leases      core.Leases
	Cluster     core.Cluster
	Maintenance core.Maintenance
	Auth        core.Auth
	Membership  core.Membership

	// ClientCertAuth lets the common name of a verified client certificate stand for
	// a token (--client-cert-auth).
	ClientCertAuth bool
	// CertificateID is who a verified client certificate says that its owner is to ACLs
	// of the scheme "x509", as ZooKeeper's face has it; nil, and an empty one, is nobody.
	CertificateID func(*x509.Certificate) string
	// AsMember has every call made by the member itself, whoever calls: for a socket that
	// only its owner may open.
	AsMember bool
	Limits   Limits
	// ElectionTimeout paces the check for a leader on streams that require one:
	// three without a leader end such a stream (etcd T-50). Zero is 1 s.
	ElectionTimeout time.Duration
	// ProgressInterval is the time between the progress notifications of a quiet
	// watch that asked for them; zero is 10 min, less than 100 ms is 100 ms. Up to
	// a tenth is added at random.
	ProgressInterval time.Duration
	// ServerVersion is the etcd version that clients are told; empty is 3.7.3.
	ServerVersion string
	Slow          Slow
	// Metrics counts calls and bytes; nil counts nothing.
	Metrics *Metrics
	// Logger is slog.Default if nil.
	Logger *slog.Logger
}

// Limits bound what clients may ask for.
type Limits struct {
	// TxnOps bounds the operations of a transaction (etcd T-30); zero is 128.
	TxnOps uint
	// RequestBytes is the store's limit on an encoded command, from which the sizes of
	// watch fragments follow; zero is 1.5 MiB.
	RequestBytes uint
	// MinLeaseTTL is what a shorter lease TTL is raised to (etcd T-60); zero is 2 s.
	MinLeaseTTL time.Duration
}

// Slow says which requests are slow enough for a line in the log; less than zero is
// none of them.
type Slow struct {
	// Unary is for all unary requests (--warning-unary-request-duration); zero is
	// 300 ms.
	Unary time.Duration
	// Read is for ranges and transactions that only read, which etcd counts as slow to
	// be applied (--warning-apply-duration); zero is 100 ms. OnRead is called for each;
	// nil is not.
	Read   time.Duration
	OnRead func()
}

// The defaults, etcd's.
const (
	defaultMaxTxnOps        = 128
	defaultMaxRequestBytes  = 1536 * 1024
	defaultMinLeaseTTL      = 2 * time.Second
	defaultElectionTimeout  = time.Second
	defaultProgressInterval = 10 * time.Minute
	minProgressInterval     = 100 * time.Millisecond
	defaultServerVersion    = "3.7.3"

	// requestOverhead is what a message may exceed the request limit by before
	// gRPC itself refuses it (etcd T-02).
	requestOverhead = 512 * 1024
)

func (l *Limits) setDefaults() {
	if l.TxnOps == 0 {
		l.TxnOps = defaultMaxTxnOps
	}
	if l.RequestBytes == 0 {
		l.RequestBytes = defaultMaxRequestBytes
	}
	if l.MinLeaseTTL <= 0 {
		l.MinLeaseTTL = defaultMinLeaseTTL
	}
}

func (s *Slow) setDefaults() {
	if s.Unary == 0 {
		s.Unary = defaultSlowUnary
	}
	if s.Read == 0 {
		s.Read = defaultSlowRead
	}
	if s.OnRead == nil {
		s.OnRead = func() {}
	}
}

func (c Config) withDefaults() Config {
	c.Limits.setDefaults()
	c.Slow.setDefaults()
	if c.ElectionTimeout <= 0 {
		c.ElectionTimeout = defaultElectionTimeout
	}
	if c.ServerVersion == "" {
		c.ServerVersion = defaultServerVersion
	}
	c.Metrics = c.Metrics.orDiscard()
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	switch {
	case c.ProgressInterval <= 0:
		c.ProgressInterval = defaultProgressInterval
	case c.ProgressInterval < minProgressInterval:
		c.Logger.Warn("watch progress notify interval raised to the minimum",
			"interval", c.ProgressInterval, "minimum", minProgressInterval)
		c.ProgressInterval = minProgressInterval
	}
	return c
}

// Register offers every service of etcd's API on s: the methods that there is
// no handler for answer Unimplemented by name.
func Register(s grpc.ServiceRegistrar, cfg Config) {
	f := &face{Config: cfg.withDefaults(), ranges: newRangeBudget(maxRangeBytes)}
	for _, svc := range f.services() {
		desc := f.Metrics.instrument(svc.describe())
		s.RegisterService(&desc, nil)
	}
	desc := f.Metrics.instrument(healthpb.Health_ServiceDesc)
	s.RegisterService(&desc, health.NewServer()) // says "serving" of the server as a whole
}

func (f *face) services() []service {
	return []service{f.kv(), f.watch(), f.lease(), f.cluster(), f.maintenance(), f.auth(), f.lock(), f.election()}
}

// face is what the services share. It is immutable.
type face struct {
	Config
	// ranges bounds the answers of ranges; nil, as tests have it, bounds nothing.
	ranges *rangeBudget
}

// fill sets the header of a reply as of rev (etcd T-90).
func (f *face) fill(h *pb.ResponseHeader, rev core.Rev) {
	self := f.Cluster.Self()
	h.ClusterId = self.ClusterID
	h.MemberId = uint64(self.Member)
	h.Revision = int64(rev)
	h.RaftTerm = self.Term
}

// header makes the header of a reply as of rev.
func (f *face) header(rev core.Rev) *pb.ResponseHeader {
	h := new(pb.ResponseHeader)
	f.fill(h, rev)
	return h
}
