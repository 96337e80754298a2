package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/triglot/triglot/cmd/triglot/config"
	"github.com/triglot/triglot/core/node"
	httpfront "github.com/triglot/triglot/frontends/http"
	"github.com/triglot/triglot/frontends/http/inproc"
)

// server is a member and its faces. It owns the goroutines that serve; stop waits
// for them.
type server struct {
	cfg   *config.Config
	log   *slog.Logger
	bound *listeners
	certs keepers
	// hangups get SIGHUP: the certificates are to be looked at.
	hangups <-chan os.Signal
	// clientURLs are cfg.Listen.Client with the ports that were bound.
	clientURLs config.URLs
	node       *node.Node

	calls
	clients, metrics *http.Server
	zk               zkFace
	splitters        []*httpfront.Splitter

	broken  chan error // a listener that failed for good
	serving sync.WaitGroup
}

// calls are the servers of etcd's calls.
type calls struct {
	grpc *grpc.Server
	// local serves the member's own calls, localHTTP what it says over HTTP on the same
	// socket; nil if there is none.
	local     *grpc.Server
	localHTTP *http.Server
	// gateway carries the calls of the JSON gateway; nil if there is none.
	gateway *inproc.Channel
}

// startServer binds the addresses and starts the member. It does not serve yet.
func startServer(cfg *config.Config, log *slog.Logger) (*server, error) {
	var memory node.Memory
	limitMemory(log, memory.Budget())
	s := &server{cfg: cfg, log: log, broken: make(chan error, 1)}
	if err := s.start(memory); err != nil {
		s.certs.close()
		if s.bound != nil {
			s.bound.close()
		}
		return nil, err
	}
	return s, nil
}

// start does what startServer does; what it leaves behind when it fails is the
// caller's to close, but for the member.
func (s *server) start(memory node.Memory) error {
	cfg, log := s.cfg, s.log
	var err error
	if s.certs, err = loadCertificates(cfg, log); err != nil {
		return err
	}
	bound, err := listen(cfg, connectionSlots(log))
	if err != nil {
		return err
	}
	s.bound = bound
	s.clientURLs = withBoundPorts(cfg.Listen.Client, bound.client)
	if err := s.certs.makePeer(cfg, log); err != nil {
		return err
	}
	s.securePeers()
	registry := newRegistry(cfg)
	member, err := s.memberConfig(memory, registry)
	if err == nil {
		s.node, err = node.Start(member)
	}
	if err != nil {
		return err
	}
	if _, ok := s.node.Mount(); !ok && cfg.ZooKeeper.Served() {
		return errors.Join(errors.New("this cluster was founded by a version without znodes and has none: start it with --zk-listen=off, or found a new one"),
			s.node.Stop(context.Background()))
	}
	// Only now is the directory known to be the member's.
	if err := s.certs.makeClient(cfg, log); err != nil {
		return errors.Join(err, s.node.Stop(context.Background()))
	}
	s.secure()
	if bound.local, err = listenLocal(cfg, log); err != nil {
		return errors.Join(err, s.node.Stop(context.Background()))
	}
	registerID(registry, s.node.Status().Member)
	s.makeFaces(registry)
	return nil
}

// memberConfig is the member's part of the configuration.
func (s *server) memberConfig(memory node.Memory, registry *prometheus.Registry) (node.Config, error) {
	cfg := s.cfg
	founders, err := cfg.Founders()
	if err != nil {
		return node.Config{}, err
	}
	quotaBytes, err := quota(cfg.Mode, cfg.Member.QuotaBytes, cfg.Member.DataDir)
	if err != nil {
		return node.Config{}, err
	}
	advertise := cfg.Cluster.AdvertiseClient
	if advertise.String() == cfg.Listen.Client.String() {
		advertise = s.clientURLs
	}
	return node.Config{
		Name:    cfg.Member.Name,
		DataDir: cfg.Member.DataDir,
		WAL:     node.WAL{Dir: cfg.Member.WALDir, UnsafeNoSync: cfg.Member.Storage.NoSync},
		Cluster: node.Founding{
			Peers:             founders,
			Token:             cfg.Cluster.Token,
			AdvertisePeerURLs: cfg.Cluster.AdvertisePeer.Strings(),
			Mount:             cfg.ZooKeeper.Mount,
			Existing:          cfg.Cluster.Existing,
			ForceNew:          cfg.Cluster.ForceNew,
			TrustDataDir:      cfg.Cluster.Trust,
		},
		Peers: s.peerConfig(),
		Members: node.MemberRules{
			MaxLearners: orNone(int(cfg.Cluster.Members.MaxLearners)),
			Loose:       !cfg.Cluster.Members.Strict,
			Observer:    cfg.Cluster.Members.Observer,
		},
		AdvertiseClientURLs: advertise.Strings(),
		Timing:              node.Timing{Heartbeat: cfg.Member.Heartbeat, Election: cfg.Member.Election, LateElection: !cfg.Cluster.Raft.EarlyElection},
		Limits: node.Limits{
			QuotaBytes:    quotaBytes,
			RequestBytes:  int(cfg.Requests.MaxRequestBytes),
			FlushCommands: cfg.Member.FlushCommands,
			ApplyTime:     max(cfg.Requests.SlowApply, 1), // zero is for every one, as with etcd
			LowDiskBytes:  cfg.Member.Storage.LowDiskBytes,

			CatchUpEntries:         cfg.Cluster.Raft.CatchUpEntries,
			TransferBytesPerSecond: cfg.Cluster.Raft.TransferRate,
		},
		Upkeep: s.upkeep(),
		Auth: node.AuthConfig{
			Token:      cfg.Auth.Token,
			TokenTTL:   cfg.Auth.TokenTTL,
			BcryptCost: cfg.Auth.BcryptCost,
		},
		Leases: node.Leases{
			Checkpoint:        cfg.Gates["LeaseCheckpoint"],
			CheckpointPersist: cfg.Gates["LeaseCheckpointPersist"],
		},
		ACLPolicy: cfg.ZooKeeper.ACLOverEtcd,
		Memory:    memory,
		Logger:    s.log,
		Metrics:   registry,
	}, nil
}

// upkeep is what the member does by itself, from the configuration.
func (s *server) upkeep() node.Upkeep {
	cfg := s.cfg
	return node.Upkeep{
		AutoCompaction: node.AutoCompaction{
			Period:    cfg.Member.Compaction.Period,
			Revisions: cfg.Member.Compaction.Revisions,
		},
		Reaper:    cfg.ZooKeeper.Reaper,
		Collector: node.Collector{BatchRows: int(cfg.Member.Storage.BatchRows), Pause: cfg.Member.Storage.Pause},
		Corruption: node.Corruption{
			Interval:           cfg.Cluster.Checks.Corrupt,
			CompactionInterval: cfg.Cluster.Checks.CompactHash,
			AfterCompaction:    cfg.Gates["CompactHashCheck"],
			AtStart:            cfg.Gates["InitialCorruptCheck"],
		},
	}
}

// serve starts the goroutines that serve clients.
func (s *server) serve() {
	for _, e := range s.bound.client {
		l := e.Listener
		if len(s.bound.http) > 0 {
			s.goServe(func() error { return s.grpc.Serve(l) })
			continue
		}
		s.serveSplit(l, s.grpc, s.clients)
	}
	for _, e := range s.bound.http {
		s.goServe(func() error { return s.clients.Serve(e) })
	}
}

// serveEarly starts those that serve whether the member is ready or not: who looks after
// it must be able to see why it is not. A ZooKeeper answers four-letter words then, and
// clients that only read if it is told to; it turns away the others.
func (s *server) serveEarly() {
	if s.local != nil {
		s.serveSplit(s.bound.local, s.local, s.localHTTP)
	}
	for _, e := range s.bound.metrics {
		s.goServe(func() error { return s.metrics.Serve(e) })
	}
	s.serveZooKeeper()
}

// serveSplit serves calls and HTTP on one listener.
func (s *server) serveSplit(l net.Listener, calls *grpc.Server, pages *http.Server) {
	splitter := httpfront.NewSplitter(l)
	s.splitters = append(s.splitters, splitter)
	s.goServe(splitter.Serve)
	s.goServe(func() error { return calls.Serve(splitter.GRPC()) })
	s.goServe(func() error { return pages.Serve(splitter.HTTP()) })
}

// goServe runs a server's loop. If it ends other than by being stopped, the
// process has to end.
func (s *server) goServe(loop func() error) {
	s.serving.Go(func() {
		err := loop()
		if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) || errors.Is(err, grpc.ErrServerStopped) {
			return
		}
		select {
		case s.broken <- fmt.Errorf("clients can no longer connect: %w", err):
		default: // one reason is enough
		}
	})
}

// stop drains the servers, stops the member and waits for every goroutine.
func (s *server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	var drains sync.WaitGroup
	drains.Go(func() { drainGRPC(ctx, s.grpc) })
	if s.local != nil {
		drains.Go(func() { drainGRPC(ctx, s.local) })
	}
	if s.gateway != nil {
		drains.Go(s.gateway.Close) // its watches end with a line that says why
	}
	pages := append(s.zk.pages(), s.clients, s.metrics)
	if s.localHTTP != nil {
		pages = append(pages, s.localHTTP)
	}
	for _, h := range pages {
		drains.Go(func() {
			if h.Shutdown(ctx) != nil {
				_ = h.Close() // cut off what did not finish
			}
		})
	}
	if s.zk.server != nil {
		drains.Go(func() {
			if err := s.zk.server.Shutdown(ctx); err != nil {
				s.log.Warn("ZooKeeper connections were not closed in time", "error", err)
			}
		})
	}
	drains.Wait()
	for _, splitter := range s.splitters {
		_ = splitter.Close() // closed for good, whatever it says
	}
	s.bound.closeClients()
	s.serving.Wait()
	err := s.node.Stop(context.Background())
	s.certs.close() // peers are called to the end
	return err
}

// drainGRPC lets calls finish until ctx ends, and cuts off the rest.
func drainGRPC(ctx context.Context, g *grpc.Server) {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		g.GracefulStop()
	}()
	select {
	case <-drained:
	case <-ctx.Done():
		g.Stop()
		<-drained
	}
}

// orNone is how core/node spells a limit of zero, which is none of them.
func orNone(n int) int {
	if n == 0 {
		return -1
	}
	return n
}
