package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/triglot/triglot/cmd/triglot/certs"
	"github.com/triglot/triglot/cmd/triglot/config/zoocfg"
	"github.com/triglot/triglot/frontends/zk"
)

// ensembleToken is the token of a cluster that a zoo.cfg founds: there is nothing in the
// file to tell two of the same servers apart.
const ensembleToken = "zookeeper"

// The times of raft that follow from tickTime. A ZooKeeper notices that its leader is gone
// when the connection breaks, or after syncLimit ticks of silence; half a tick is enough
// for a leader here, whose connections are watched all the time. initLimit and syncLimit
// have no counterpart: no member is given up because it is slow to catch up.
const (
	leastElection   = time.Second // etcd's default
	heartbeatsInOne = 10          // election timeout
)

// NotInEnsembleError says that myid names none of the servers: ZooKeeper ends with status
// 1 then.
type NotInEnsembleError struct{ ID int64 }

func (e *NotInEnsembleError) Error() string {
	return fmt.Sprintf("Unexpected exception, exiting abnormally: My id %d not in the peer list", e.ID)
}

// setServers sets the options that follow from the lines server.N: the server's number is
// the member's name, its first port the one of its peer URL.
func setServers(z *zoocfg.Config, set func(option, value, from string)) error {
	e := &z.Ensemble
	if e.Unsupported != "" {
		return fmt.Errorf("%s: %s cannot be honoured: an ensemble has no groups, weights, oracle or SASL among its servers here", z.Path, e.Unsupported)
	}
	self := e.Self()
	if self == nil {
		return &NotInEnsembleError{e.ID}
	}
	var founders []string
	for i := range e.Servers {
		s := &e.Servers[i]
		for _, a := range s.Addresses {
			if ip, err := netip.ParseAddr(a.Host); a.Host == "" || err == nil && ip.IsUnspecified() {
				return fmt.Errorf("%s: server.%d=%s names no host at which other servers find it: write one that is the same in every zoo.cfg; "+
					"to listen on all addresses there is quorumListenOnAllIPs=true", z.Path, s.ID, s.Text)
			}
		}
		for _, u := range peerURLs(e, s) {
			founders = append(founders, serverName(s)+"="+u)
		}
	}
	own := peerURLs(e, self)
	listen := own
	if e.Everywhere {
		listen = nil
		for _, a := range self.Addresses {
			listen = append(listen, peerURL(e, zoocfg.Address{Host: "0.0.0.0", Port: a.Port}))
		}
	}
	from := "server." + serverName(self)
	set("name", serverName(self), "myid")
	set("initial-cluster", strings.Join(founders, ","), "server.N")
	set("initial-cluster-token", ensembleToken, "server.N")
	set("initial-advertise-peer-urls", strings.Join(own, ","), from)
	set("listen-peer-urls", strings.Join(listen, ","), from)
	set("observer", strconv.FormatBool(self.Observer), from)
	election := min(max(z.Sessions.Tick/2, leastElection), maxElection*time.Millisecond)
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	set("election-timeout", ms(election), "tickTime")
	set("heartbeat-interval", ms(election/heartbeatsInOne), "tickTime")
	return nil
}

// serverName is the name of the member that a server is.
func serverName(s *zoocfg.Server) string { return strconv.FormatInt(s.ID, 10) }

func peerURLs(e *zoocfg.Ensemble, s *zoocfg.Server) []string {
	urls := make([]string, len(s.Addresses))
	for i, a := range s.Addresses {
		urls[i] = peerURL(e, a)
	}
	return urls
}

func peerURL(e *zoocfg.Ensemble, a zoocfg.Address) string {
	scheme := "http://"
	if e.TLS {
		scheme = "https://"
	}
	return scheme + a.String()
}

// takeEnsemble takes what no option stands for: who is an observer, and the certificates
// of the servers.
func (c *Config) takeEnsemble(z *zoocfg.Config) error {
	e := &z.Ensemble
	if !e.Distributed() {
		return nil
	}
	for i := range e.Servers {
		s := &e.Servers[i]
		c.ZooKeeper.Ensemble.Servers += s.Line + "\n"
		if s.Observer {
			c.Cluster.Learners = append(c.Cluster.Learners, serverName(s))
		}
	}
	c.ZooKeeper.Ensemble.Parse, c.ZooKeeper.Ensemble.Properties = parseServer, zoocfg.ParseProperties
	c.ZooKeeper.Ensemble.TLS, c.ZooKeeper.Ensemble.Sole = e.TLS, !e.Standalone
	// All of them are named in every file, so that many there may be, and one to come.
	c.Cluster.Members.MaxLearners = max(c.Cluster.Members.MaxLearners, int64(len(c.Cluster.Learners)+1))
	if z.Reconfig { // ZooKeeper has no limit
		c.Cluster.Members.MaxLearners = max(c.Cluster.Members.MaxLearners, maxObservers)
	}
	c.Cluster.Trust = true
	c.note(slog.LevelInfo, "initLimit and syncLimit have no counterpart: a server is not given up because it is slow to catch up",
		"election-timeout-ms", c.Member.electionMS)
	if !e.TLS {
		return nil
	}
	system := z.System
	stores := zkStores(system, "ssl.quorum.")
	stores.Quorum = true
	verify := !isFalse(system.Text("ssl.quorum.hostnameVerification"))
	stores.AnyServer = !verify
	stores.VerifyHosts = verify && !isFalse(system.Text("ssl.quorum.clientHostnameVerification"))
	if stores.Key.Path == "" && !c.TLS.Peer.Has() {
		return fmt.Errorf("%s: sslQuorum=true needs a certificate: give ssl.quorum.keyStore.location", z.Path)
	}
	c.TLS.Quorum = ZKTLS{Stores: stores, Unification: e.Unification}
	return nil
}

// maxObservers is --max-learners where reconfig is enabled: more than the leader would
// like to serve.
const maxObservers = 100

// parseServer reads a server as reconfig gives it.
func parseServer(id int64, text string) (zk.EnsembleServer, error) {
	s, err := zoocfg.ParseServer(id, text)
	if err != nil {
		return zk.EnsembleServer{}, err
	}
	e := zk.EnsembleServer{ID: id, Line: s.Line, Observer: s.Observer, Clients: s.Client.Given}
	for _, a := range s.Addresses {
		e.Peers = append(e.Peers, a.String())
	}
	for _, a := range s.All() {
		// ZooKeeper 3.9 QuorumServer.excludedSpecialAddresses
		if ip, err := netip.ParseAddr(a.Host); a.Host != "localhost" && (err != nil || !ip.IsLoopback() && !ip.IsUnspecified()) {
			e.Own = append(e.Own, a.String())
		}
	}
	return e, nil
}

// zkStores are the properties of certificates that begin with prefix.
func zkStores(system zoocfg.System, prefix string) certs.Stores {
	store := func(name string) certs.Store {
		name = prefix + name + "."
		return certs.Store{
			Path: system.Text(name + "location"), Type: system.Text(name + "type"),
			Password: system.Text(name + "password"), PasswordPath: system.Text(name + "passwordPath"),
		}
	}
	return certs.Stores{
		Key: store("keyStore"), Trust: store("trustStore"),
		ClientAuth:       system.Text(prefix + "clientAuth"),
		Protocol:         system.Text(prefix + "protocol"),
		EnabledProtocols: system.Text(prefix + "enabledProtocols"),
		CipherSuites:     system.Text(prefix + "ciphersuites"),
		ReverseLookup:    system.Is(prefix + "allowReverseDnsLookup"),
		CRL:              system.Is(prefix + "crl"), OCSP: system.Is(prefix + "ocsp"),
	}
}
