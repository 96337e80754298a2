package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/triglot/triglot/cmd/triglot/config"
	"github.com/triglot/triglot/core/node"
)

const (
	// drainTime is how long calls under way may take when the process stops.
	drainTime = 500 * time.Millisecond
	// stopTime is how long stopping may take in all.
	stopTime = 1900 * time.Millisecond
	// echoTime is how soon after a signal another one is its echo: timeout(1), and
	// a terminal with a wrapper between, send each signal twice.
	echoTime = 100 * time.Millisecond
)

// serve runs a member until it is told to stop or cannot go on, and returns the
// exit status.
func (p *process) serve(cfg *config.Config) int {
	log, err := p.openJournal(&cfg.Log)
	if err != nil {
		return p.complain(cfg.Named(err))
	}
	defer log.close() //nolint:errcheck // the process ends
	logNotes(log.Logger, cfg.Notes)
	log.Info("starting Triglot", "triglot-version", version, "etcd-version", etcdVersion, "git-sha", commit(),
		"go-version", runtime.Version(), "name", cfg.Member.Name, "data-dir", cfg.Member.DataDir)

	// Two: the first stops the member, the second the process.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	return p.start(cfg, log, signals, hangups)
}

// start starts the member and attends to it. A signal during the start, which
// may take as long as there is log to replay, ends the process: it would be
// replayed the next time.
func (p *process) start(cfg *config.Config, log *journal, signals, hangups <-chan os.Signal) int {
	type result struct {
		server *server
		err    error
	}
	started := make(chan result, 1)
	go func() {
		s, err := startServer(cfg, log.Logger)
		started <- result{s, err}
	}()
	select {
	case r := <-started:
		if r.err != nil {
			log.fatal(p, cfg.Named(r.err))
			return statusOf(r.err)
		}
		r.server.hangups = hangups
		return p.attend(cfg, log, r.server, signals)
	case sig := <-signals:
		log.Info("received signal while starting", "signal", sig.String())
		return exitOK
	}
}

// attend serves once the member is ready, waits for what ends it, and ends it.
func (p *process) attend(cfg *config.Config, log *journal, s *server, signals <-chan os.Signal) int {
	s.serveEarly()
	starting, giveUp := context.WithCancel(context.Background())
	ready := make(chan error, 1)
	go func() { ready <- s.waitReady(starting) }()

	end := s.wait(signals, ready)
	served := end == nil
	if served {
		p.announce(cfg, log.Logger, s)
		end = s.wait(signals, nil)
	}
	giveUp()

	var sig signalled
	if !errors.As(end, &sig) {
		// There is nothing to save: what was acknowledged is in the log.
		log.fatal(p, cfg.Named(end))
		if served && cfg.Mode == config.Etcd && errors.Is(end, node.ErrRemoved) {
			return exitOK // as etcd: it has done what was asked for
		}
		return exitFailed
	}
	log.Info("received signal; shutting down", "signal", sig.String())
	if err := stop(log.Logger, s.stop, signals); err != nil {
		log.fatal(p, err)
		return exitFailed
	}
	return exitOK
}

// signalled is the wish of the operator that the process end.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return s.String() }

// wait returns nil once ready delivers nil, or else what ends the server: a
// signalled or a fault.
func (s *server) wait(signals <-chan os.Signal, ready <-chan error) error {
	for {
		select {
		case <-s.hangups:
			s.log.Info("received SIGHUP: looking at the certificates")
			s.certs.reload()
		case err := <-ready:
			return err
		case sig := <-signals:
			return signalled{sig}
		case err := <-s.node.Failed():
			return err
		case err := <-s.broken:
			return err
		}
	}
}

// waitReady returns once all that was ever acknowledged can be read, and the
// member list says where this member serves.
func (s *server) waitReady(ctx context.Context) error {
	if err := s.node.Ready(ctx); err != nil {
		return fmt.Errorf("the member did not become ready: %w", err)
	}
	if s.zk.server != nil {
		s.awaitContact(ctx)
	}
	return nil
}

// contactPoll is the pause between two looks whether there is contact.
const contactPoll = 5 * time.Millisecond

// awaitContact waits until sessions are served here, or says after an election timeout
// that they are not: etcd's clients can do without.
func (s *server) awaitContact(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Member.Election)
	defer cancel()
	tick := time.NewTicker(contactPoll)
	defer tick.Stop()
	for {
		err := s.node.Sessions().Contact()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.log.Info("sessions of ZooKeeper clients are not served for now", "why", err)
			return
		}
	}
}

// announce serves clients and says so.
func (p *process) announce(cfg *config.Config, log *slog.Logger, s *server) {
	s.serve()
	log.Info("ready to serve client requests")
	s.announceEndpoints()
	if err := notifySystemd(); err != nil {
		log.Warn("systemd could not be told that the member serves", "error", err)
	}
	if cfg.Mode != config.Serve {
		return
	}
	say(p.stdout, s.welcome())
}

// announceEndpoints says where what is served, in etcd's words.
func (s *server) announceEndpoints() {
	if s.bound.local != nil {
		s.log.Info("the member's own calls are taken", "socket", s.bound.local.Addr().String())
	}
	grpcTraffic := "grpc+http"
	if len(s.bound.http) > 0 {
		grpcTraffic = "grpc"
	}
	for _, group := range []struct {
		traffic   string
		endpoints []*endpoint
	}{{grpcTraffic, s.bound.client}, {"http", s.bound.http}} {
		for _, e := range group.endpoints {
			about := []any{"traffic", group.traffic, "address", e.Addr().String()}
			if e.plain {
				s.log.Info("serving client traffic insecurely; this is strongly discouraged!", about...)
			}
			if e.secure {
				s.log.Info("serving client traffic securely", about...)
			}
		}
	}
	for _, u := range withBoundPorts(s.cfg.Listen.Metrics, s.bound.metrics) {
		s.log.Info("serving metrics", "address", u.String())
	}
	s.announceZooKeeper()
}

// stop runs end, which ends a member in good order. It returns early if that takes
// too long, or at a further signal: nothing that was acknowledged is lost when the
// process ends then.
func stop(log *slog.Logger, end func() error, signals <-chan os.Signal) error {
	start := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- end() }()
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	for {
		select {
		case err := <-stopped:
			if err == nil {
				log.Info("stopped")
			}
			return err
		case sig := <-signals:
			if time.Since(start) < echoTime {
				continue
			}
			log.Warn("received a second signal; the next start replays the log", "signal", sig.String())
		case <-timer.C:
			log.Warn("stopping takes too long; the next start replays the log", "limit", stopTime)
		}
		return nil
	}
}
