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
	"github.com/triglot/triglot/core"
)

const (
	// drainTime is how long calls under way may take when the process stops.
	drainTime = 500 * time.Millisecond
	// stopTime is how long stopping may take in all.
	stopTime = 1900 * time.Millisecond
)

// serve runs a member until it is told to stop or cannot go on, and returns the
// exit status.
func (p *process) serve(cfg *config.Config) int {
	log, err := p.openJournal(&cfg.Log)
	if err != nil {
		return p.complain(err)
	}
	defer log.close() //nolint:errcheck // the process ends
	logNotes(log.Logger, cfg.Notes)
	log.Info("starting Triglot", "triglot-version", version, "etcd-version", etcdVersion, "git-sha", commit(),
		"go-version", runtime.Version(), "name", cfg.Member.Name, "data-dir", cfg.Member.DataDir)

	// Two: the first stops the member, the second the process.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	s, err := startServer(cfg, log.Logger)
	if err != nil {
		log.fatal(p, err)
		return exitFailed
	}
	return p.attend(cfg, log, s, signals)
}

// attend serves once the member is ready, waits for what ends it, and ends it.
func (p *process) attend(cfg *config.Config, log *journal, s *server, signals <-chan os.Signal) int {
	starting, giveUp := context.WithCancel(context.Background())
	ready := make(chan error, 1)
	go func() { ready <- s.waitReady(starting) }()

	end := s.wait(signals, ready)
	if end == nil {
		p.announce(cfg, log.Logger, s)
		end = s.wait(signals, nil)
	}
	giveUp()

	var sig signalled
	if !errors.As(end, &sig) {
		// There is nothing to save: what was acknowledged is in the log.
		log.fatal(p, end)
		return exitFailed
	}
	log.Info("received signal; shutting down", "signal", sig.String())
	if err := p.stop(log.Logger, s, signals); err != nil {
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
	select {
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

// waitReady returns once the member has applied an entry of its own term, so that
// all that was ever acknowledged can be read.
func (s *server) waitReady(ctx context.Context) error {
	view, err := s.node.View(ctx, core.Consistency{Linearizable: true})
	if err != nil {
		return fmt.Errorf("the member did not become ready: %w", err)
	}
	view.Close()
	return nil
}

// announce serves clients and says so.
func (p *process) announce(cfg *config.Config, log *slog.Logger, s *server) {
	s.serve()
	log.Info("ready to serve client requests")
	for _, l := range s.bound.all() {
		log.Info("serving client traffic insecurely; whoever reaches the address has every right", "address", l.Addr().String())
	}
	if err := notifySystemd(); err != nil {
		log.Warn("systemd could not be told that the member serves", "error", err)
	}
	if cfg.Mode != config.Serve {
		return
	}
	url := s.clientURLs.Strings()[0]
	fmt.Fprintf(p.stdout, `Triglot %s serves %s from %s

  etcdctl --endpoints=%s put hello world
  curl %s/health
`, version, s.clientURLs, cfg.Member.DataDir, url, s.httpURL())
}

// stop ends a member in good order. It returns early if that takes too long, or
// at a further signal: nothing that was acknowledged is lost when the process ends
// then.
func (p *process) stop(log *slog.Logger, s *server, signals <-chan os.Signal) error {
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case err := <-stopped:
		if err == nil {
			log.Info("stopped")
		}
		return err
	case sig := <-signals:
		log.Warn("received a second signal; the next start replays the log", "signal", sig.String())
	case <-timer.C:
		log.Warn("stopping takes too long; the next start replays the log", "limit", stopTime)
	}
	return nil
}
