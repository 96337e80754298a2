package config

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/triglot/triglot/cmd/triglot/config/zoocfg"
)

// takeSystem takes those of ZooKeeper's properties that no flag stands for: secrets,
// and what only one who comes from ZooKeeper asks for.
func (c *Config) takeSystem(z *zoocfg.Config) error {
	zk, system := &c.ZooKeeper, z.System
	zk.Features.Reconfig = z.Reconfig
	zk.given.jaasSection = system.Text("sasl.serverconfig")
	c.takeSecurity(system)
	zk.AdminServer = AdminServer{
		URL:          system.Text("admin.commandURL"),
		NoSnapshot:   isFalse(system.Text("admin.snapshot.enabled")),
		NoRestore:    isFalse(system.Text("admin.restore.enabled")),
		RestInterval: time.Duration(system.Number("admin.rateLimiterIntervalInMS", 0)) * time.Millisecond,
	}
	zk.Reaper = Reaper{
		Interval:  time.Duration(system.Number("znode.container.checkIntervalMs", 0)) * time.Millisecond,
		PerMinute: system.Number("znode.container.maxPerMinute", 0),
		NeverUsed: time.Duration(system.Number("znode.container.maxNeverUsedIntervalMs", 0)) * time.Millisecond,
	}
	if zk.Reaper.Interval < 0 || zk.Reaper.PerMinute < 0 || zk.Reaper.NeverUsed < 0 {
		return errors.New("znode.container.checkIntervalMs, maxPerMinute and maxNeverUsedIntervalMs must not be negative")
	}
	if system.Is("emulate353TTLNodes") {
		c.note(slog.LevelWarn, "znodes of ZooKeeper 3.5.3's kind with a time to live are not known here", "property", "zookeeper.emulate353TTLNodes")
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
	t := &c.ZooKeeper.TLS
	store := func(name string) Store {
		name = "ssl." + name + "."
		return Store{
			Location: system.Text(name + "location"),
			Password: system.Text(name + "password"), PasswordPath: system.Text(name + "passwordPath"),
			Type: system.Text(name + "type"),
		}
	}
	*t = ZKTLS{
		KeyStore: store("keyStore"), TrustStore: store("trustStore"),
		ClientAuth:  strings.ToLower(system.Text("ssl.clientAuth")),
		Protocols:   splitList(orText(system.Text("ssl.enabledProtocols"), system.Text("ssl.protocol"))),
		Suites:      splitList(system.Text("ssl.ciphersuites")),
		Unification: system.Is("client.portUnification"),
		VerifyHost:  system.Is("ssl.clientHostnameVerification"),
	}
	switch t.ClientAuth {
	case "", "none", "want", "need":
	default:
		return fmt.Errorf("ssl.clientAuth: No enum constant of NONE, WANT, NEED: %s", t.ClientAuth)
	}
	for _, name := range []string{"ssl.crl", "ssl.ocsp"} {
		if system.Is(name) { // to go on without it would let revoked certificates in
			return fmt.Errorf("zookeeper.%s cannot be honoured: certificates are not looked up at their issuers", name)
		}
	}
	if provider := orText(system.Text("ssl.authProvider"), "x509"); provider != "x509" {
		return fmt.Errorf("No auth provider configured for the SSL authentication scheme '%s'.", provider) //nolint:staticcheck // ZooKeeper's words
	}
	return nil
}
