package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// pollInterval is how often the files are looked at.
const pollInterval = 10 * time.Second

// Keeper keeps the certificates of one side, clients' or peers', up to date. It
// is safe for concurrent use.
type Keeper struct {
	source  source
	log     *slog.Logger
	current atomic.Pointer[loaded]

	// mu is held while the files are looked at, and guards what follows.
	mu     sync.Mutex
	sum    [sha256.Size]byte // of the files as they were last seen, good or bad
	warned map[[sha256.Size]byte]stage

	stop    context.CancelFunc
	polling sync.WaitGroup
}

// source is where the certificates are from: what etcd's flags name (Config), or what
// ZooKeeper's properties do (Stores).
type source interface {
	// read reads the files. The sum tells contents, and failures to read, apart.
	read() (f files, sum [sha256.Size]byte, err error)
	// parse makes sense of them. The first certificate that is watched is the server's.
	parse(f files) (*loaded, error)
}

// Load reads the certificates and watches them until Close. What etcd would
// refuse is an error that names the flags.
func Load(cfg Config) (*Keeper, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	log := orDiscard(cfg.Logger)
	if !cfg.verifiesClients() && (len(cfg.AllowedNames) > 0 || len(cfg.AllowedHosts) > 0 || cfg.CRLFile != "") {
		log.Warn("clients are not asked for a certificate: what is said of theirs has no effect",
			"without", cfg.flag("client-cert-auth")+" or "+cfg.flag("trusted-ca-file"))
	}
	return keep(&cfg, log)
}

// keep loads the certificates of a source, and watches them.
func keep(source source, log *slog.Logger) (*Keeper, error) {
	k := &Keeper{source: source, log: log, warned: make(map[[sha256.Size]byte]stage)}
	files, sum, err := source.read()
	if err != nil {
		return nil, err
	}
	l, err := source.parse(files)
	if err != nil {
		return nil, err
	}
	k.sum = sum
	k.current.Store(l)
	k.warn(l)
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.polling.Go(func() { k.poll(ctx) })
	return k, nil
}

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// Close ends the watching.
func (k *Keeper) Close() {
	k.stop()
	k.polling.Wait()
}

// TLS returns the settings for a server, which follow the certificates.
func (k *Keeper) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, // what counts is in the current one
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			current := k.current.Load().server
			if current.GetConfigForClient != nil {
				return current.GetConfigForClient(hello)
			}
			return current, nil
		},
	}
}

// Reload looks at the files now, and says anew which certificates end soon or have ended.
func (k *Keeper) Reload() {
	k.look()
	k.mu.Lock()
	clear(k.warned)
	k.mu.Unlock()
	k.warn(k.current.Load())
}

// look takes the files into use if they have changed.
func (k *Keeper) look() {
	k.mu.Lock()
	defer k.mu.Unlock()
	files, sum, err := k.source.read()
	if sum == k.sum {
		return // and what was wrong with them has been said
	}
	k.sum = sum
	var l *loaded
	if err == nil {
		l, err = k.source.parse(files)
	}
	if err != nil {
		k.log.Warn("certificates have changed and cannot be used; the last good ones stay", "error", err)
		return
	}
	k.current.Store(l)
	leaf := l.watched[0].cert
	k.log.Info("certificates have changed and are in use", "cert-file", l.watched[0].path,
		"subject", leaf.Subject.String(), "serial", leaf.SerialNumber.Text(16), "not-after", leaf.NotAfter)
}

func (k *Keeper) poll(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			k.look()
			k.warn(k.current.Load())
		case <-ctx.Done():
			return
		}
	}
}
