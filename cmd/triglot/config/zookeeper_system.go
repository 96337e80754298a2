package config

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/triglot/triglot/cmd/triglot/config/zoocfg"
	"github.com/triglot/triglot/core/node"
	"github.com/triglot/triglot/frontends/zk"
)

// takeSystem takes those of ZooKeeper's properties that no flag stands for: secrets,
// and what only one who comes from ZooKeeper asks for.
func (c *Config) takeSystem(z *zoocfg.Config) error {
	face, system := &c.ZooKeeper, z.System
	face.Features.Reconfig = z.Reconfig
	face.given.jaasSection = system.Text("sasl.serverconfig")
	c.takeSecurity(system)
	ms := func(name string) time.Duration { return time.Duration(system.Number(name, 0)) * time.Millisecond }
	face.AdminServer = zk.AdminConfig{
		CommandURL:    system.Text("admin.commandURL"),
		NoSnapshot:    isFalse(system.Text("admin.snapshot.enabled")),
		NoRestore:     isFalse(system.Text("admin.restore.enabled")),
		RateLimit:     ms("admin.rateLimiterIntervalInMS"),
		InitialConfig: z.Text,
	}
	for _, name := range []string{"admin.forceHttps", "admin.needClientAuth"} {
		if system.Is(name) { // who asks for it would be served without
			return fmt.Errorf("zookeeper.%s cannot be honoured: the AdminServer is served without TLS", name)
		}
	}
	face.Reaper = node.Reaper{
		CheckInterval: ms("znode.container.checkIntervalMs"),
		MaxPerMinute:  system.Number("znode.container.maxPerMinute", 0),
		NeverUsed:     ms("znode.container.maxNeverUsedIntervalMs"),
	}
	if r := face.Reaper; r.CheckInterval < 0 || r.MaxPerMinute < 0 || r.NeverUsed < 0 {
		return errors.New("znode.container.checkIntervalMs, maxPerMinute and maxNeverUsedIntervalMs must not be negative")
	}
	if system.Is("emulate353TTLNodes") {
		c.note(slog.LevelWarn, "znodes of ZooKeeper 3.5.3's kind with a time to live are not known here", "property", "zookeeper.emulate353TTLNodes")
	}
	if system.Is("audit.enable") {
		c.note(slog.LevelWarn, "no audit log is written here", "property", "zookeeper.audit.enable")
	}
	return c.takeZKTLS(system)
}

// isFalse is what Java's Boolean.parseBoolean makes of a property that is true by
// default.
func isFalse(text string) bool { return text != "" && !strings.EqualFold(text, "true") }

func (c *Config) takeSecurity(system zoocfg.System) {
	s := &c.ZooKeeper.Security
	s.SkipACL = system.Text("skipACL") == "yes"
	if s.SkipACL {
		c.note(slog.LevelWarn, `zookeeper.skipACL=="yes", ACL checks will be skipped`) // ZooKeeper's words
	}
	s.SuperDigest = system.Text("DigestAuthenticationProvider.superDigest")
	s.DigestAlgorithm = system.Text("DigestAuthenticationProvider.digestAlg")
	if isFalse(system.Text("DigestAuthenticationProvider.enabled")) {
		c.note(slog.LevelWarn, "the scheme digest cannot be turned off", "property", "zookeeper.DigestAuthenticationProvider.enabled")
	}
	s.X509Super = system.Text("X509AuthenticationProvider.superUser")
	s.SASLSuper = system.List("superUser")
	s.SASLSuperPassword = system.Text("SASLAuthenticationProvider.superPassword")
	s.AllowSASLFailed = system.Is("allowSaslFailedClients")
	s.RequireAuth = system.Is("enforce.auth.enabled") && !system.Is("sessionRequireClientSASLAuth")
	for scheme := range strings.SplitSeq(system.Text("enforce.auth.schemes"), ",") {
		if scheme = strings.TrimSpace(scheme); scheme != "" {
			s.AuthSchemes = append(s.AuthSchemes, scheme)
		}
	}
	for _, class := range system.List("authProvider.") {
		switch name := strings.TrimPrefix(class, "org.apache.zookeeper.server.auth."); name {
		case "SASLAuthenticationProvider":
			s.SASL = true
		case "X509AuthenticationProvider":
			s.X509 = true
		case "IPAuthenticationProvider", "DigestAuthenticationProvider": // always there
		default: // as ZooKeeper, which goes on without it
			c.note(slog.LevelWarn, "Problems loading an authentication provider: there is none of this name here", "class", class)
		}
	}
}

// takeZKTLS takes ssl.*.
func (c *Config) takeZKTLS(system zoocfg.System) error {
	stores := zkStores(system, "ssl.")
	stores.VerifyHosts = system.Is("ssl.clientHostnameVerification") && !isFalse(system.Text("ssl.hostnameVerification"))
	c.ZooKeeper.TLS = ZKTLS{Stores: stores, Unification: system.Is("client.portUnification")}
	if provider := orText(system.Text("ssl.authProvider"), "x509"); provider != "x509" {
		return fmt.Errorf("No auth provider configured for the SSL authentication scheme '%s'.", provider) //nolint:staticcheck // ZooKeeper's words
	}
	return nil
}
