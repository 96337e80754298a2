package main

import (
	"fmt"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triglot/triglot/cmd/triglot/certs"
	"github.com/triglot/triglot/cmd/triglot/config"
	httpfront "github.com/triglot/triglot/frontends/http"
	"github.com/triglot/triglot/frontends/zk"
)

// zkListeners are the bound addresses of ZooKeeper's face; nil where there is none.
type zkListeners struct {
	client, secure net.Listener // of clients without and with TLS
	admin, metrics net.Listener // of HTTP
}

// listen binds what is asked for. After an error the caller closes the rest.
func (l *zkListeners) listen(cfg *config.Config, slots httpfront.Slots) error {
	z := &cfg.ZooKeeper
	for _, a := range []struct {
		flag, key, address string
		slots              httpfront.Slots
		into               *net.Listener
		status             int
	}{
		{"--zk-listen", "clientPort", z.Listen, slots, &l.client, exitFailed},
		{"--zk-secure-listen", "secureClientPort", z.Secure, slots, &l.secure, exitFailed},
		// These must get through when clients have taken every slot.
		{"--zk-admin-listen", "admin.serverPort", z.Admin, nil, &l.admin, exitAdminServer},
		{"--zk-metrics-listen", "metricsProvider.httpPort", z.Metrics, nil, &l.metrics, exitFailed},
	} {
		if a.address == "" {
			continue
		}
		bound, err := bind("tcp", a.address, cfg.Listen.ReusePort)
		switch {
		case err == nil:
			*a.into = a.slots.Limit(bound)
		case cfg.Mode == config.ZooKeeper:
			return &statusError{a.status, fmt.Errorf("%s %s: %w", a.key, a.address, err)}
		default:
			return fmt.Errorf("%s %s: %w, or %s=off", a.flag, a.address, err, a.flag)
		}
	}
	return nil
}

func (l *zkListeners) close() {
	for _, one := range []net.Listener{l.client, l.secure, l.admin, l.metrics} {
		if one != nil {
			_ = one.Close() // nothing was accepted, or what was has its owner
		}
	}
}

// zkFace are the servers of ZooKeeper's face; nil where there is none.
type zkFace struct {
	server         *zk.Server
	admin, metrics *http.Server
}

// pages are its servers of HTTP.
func (f *zkFace) pages() []*http.Server {
	var list []*http.Server
	for _, s := range []*http.Server{f.admin, f.metrics} {
		if s != nil {
			list = append(list, s)
		}
	}
	return list
}

func (s *server) makeZooKeeper(registry *prometheus.Registry) {
	cfg := &s.cfg.ZooKeeper
	s.zk.server = zk.New(zk.Config{
		Store: s.node, Sessions: s.node.Sessions(), Znodes: s.node.Znodes(), Cluster: s.node, Auth: s.node.Auth(),
		Ensemble: s.zkEnsemble(),
		Limits:   cfg.Limits,
		Features: cfg.Features,
		Security: cfg.Security,
		Words:    cfg.Words,
		About:    zk.About{Build: commit(), Built: builtAt(), DataDir: s.cfg.Member.DataDir},
		Process:  registry,
		Metrics:  registry,
		Logger:   s.log,
	})
	if s.bound.zk.admin != nil {
		s.zk.admin = httpfront.NewServer(zk.NewAdmin(s.zk.server, cfg.AdminServer), s.log)
	}
	if s.bound.zk.metrics != nil {
		mux := http.NewServeMux()
		mux.Handle("/metrics", s.zk.server.MetricsHandler())
		s.zk.metrics = httpfront.NewServer(mux, s.log)
	}
}

// zkEnsemble is what ZooKeeper's face knows of the other members.
func (s *server) zkEnsemble() zk.Ensemble {
	e := s.cfg.ZooKeeper.Ensemble
	e.Overview, e.Membership = s.node, s.node.Membership()
	return e
}

// secureZooKeeper puts TLS on ZooKeeper's listeners that are to have it.
func (s *server) secureZooKeeper() {
	z := &s.bound.zk
	wrap := func(l net.Listener, plain bool) net.Listener {
		return certs.NewListener(l, s.certs.zooKeeper().TLS(), certs.ListenOptions{
			Plain:    plain,
			Rejected: "rejected connection of a ZooKeeper client",
			Logger:   s.log,
		})
	}
	if z.secure != nil {
		z.secure = wrap(z.secure, false)
	}
	if z.client != nil && s.cfg.ZooKeeper.TLS.Unification {
		z.client = wrap(z.client, true)
	}
}

func (s *server) serveZooKeeper() {
	for _, l := range []net.Listener{s.bound.zk.client, s.bound.zk.secure} {
		if l != nil {
			s.goServe(func() error { return s.zk.server.Serve(l) })
		}
	}
	if s.zk.admin != nil {
		s.goServe(func() error { return s.zk.admin.Serve(s.bound.zk.admin) })
	}
	if s.zk.metrics != nil {
		s.goServe(func() error { return s.zk.metrics.Serve(s.bound.zk.metrics) })
	}
}

// announceZooKeeper says where what is served.
func (s *server) announceZooKeeper() {
	z := &s.bound.zk
	const insecurely = "serving client traffic insecurely; this is strongly discouraged!"
	if z.client != nil {
		s.log.Info(insecurely, "traffic", "zookeeper", "address", z.client.Addr().String())
	}
	if z.client != nil && s.cfg.ZooKeeper.TLS.Unification {
		s.log.Info("serving client traffic securely", "traffic", "zookeeper", "address", z.client.Addr().String())
	}
	if z.secure != nil {
		s.log.Info("serving client traffic securely", "traffic", "zookeeper", "address", z.secure.Addr().String())
	}
	if z.admin != nil {
		s.log.Info("serving ZooKeeper's AdminServer", "address", z.admin.Addr().String(), "command-url", s.cfg.ZooKeeper.AdminServer.CommandURL)
	}
	if z.metrics != nil {
		s.log.Info("serving metrics", "address", "http://"+z.metrics.Addr().String()+"/metrics")
	}
}
