package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/triglot/triglot/cmd/triglot/certs"
	"github.com/triglot/triglot/cmd/triglot/jaas"
	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/node"
	"github.com/triglot/triglot/frontends/zk"
)

// ZK is what concerns ZooKeeper's face.
type ZK struct {
	// Listen, Secure, Admin and Metrics are the host:port of the face without and with
	// TLS, of the AdminServer and of the metrics under ZooKeeper's names; empty if it
	// is not served.
	Listen, Secure, Admin, Metrics string
	// Mount is the prefix of the keys that are znodes, empty if none was asked for.
	Mount string
	// Ensemble is what zoo.cfg says of the servers; without any it is a server by itself.
	Ensemble zk.Ensemble
	// ACLOverEtcd is the policy of etcd's and HTTP's faces; nil leaves the cluster's as
	// it is.
	ACLOverEtcd *core.ZnodeACLPolicy

	Limits   zk.Limits
	Features zk.Features
	Security zk.Security
	// Words are the four-letter words that are answered; nil is ZooKeeper's default.
	Words       []string
	TLS         ZKTLS
	AdminServer zk.AdminConfig
	Reaper      node.Reaper

	given givenZK
}

// givenZK is what was given, before it is checked.
type givenZK struct {
	listen, secure, admin, metrics string
	prefix, aclOverEtcd            string
	superDigestFile                string
	jaas, jaasSection              string
	maxPerIP, maxConns, maxFrame   uint64
	// names are zoo.cfg's of flags, see Config.Named; nil in other modes.
	names map[string]string
}

// ZKTLS is how ZooKeeper's clients are served with TLS. Without a key store they get
// what etcd's clients get.
type ZKTLS struct {
	Stores certs.Stores
	// Unification serves TLS on the port without as well (client.portUnification).
	Unification bool
}

// off is the value of an address that is not served.
const off = "off"

// The bounds of --zk-tick. A session lives 2 to 20 ticks: shorter ones would
// expire at a pause of the disk, longer ones would keep locks for hours. A zoo.cfg
// may have others: ZooKeeper takes them.
const (
	minTick = 100 * time.Millisecond
	maxTick = time.Minute
)

// Served reports whether there is anything of ZooKeeper's face.
func (z *ZK) Served() bool {
	return z.Listen != "" || z.Secure != "" || z.Admin != "" || z.Metrics != ""
}

// Secured reports whether any of its clients are served with TLS.
func (z *ZK) Secured() bool { return z.Secure != "" || z.Listen != "" && z.TLS.Unification }

// SharesTLS reports whether any of its clients are served with the certificates of
// etcd's, for want of a key store.
func (z *ZK) SharesTLS() bool { return z.Secured() && z.TLS.Stores.Key.Path == "" }

// takeMount notes what the cluster has, not the member, if it was asked for. A cluster
// that has another prefix is refused then, one that was founded with another by default
// is not.
func (c *Config) takeMount(all source) {
	if _, given := all["zk-acl-over-etcd"]; given {
		policy := aclPolicies[c.ZooKeeper.given.aclOverEtcd]
		c.ZooKeeper.ACLOverEtcd = &policy
	}
	if _, given := all["zk-prefix"]; given {
		c.ZooKeeper.Mount = c.ZooKeeper.given.prefix
	}
}

func (c *Config) checkZooKeeper() error {
	z := &c.ZooKeeper
	for _, a := range []struct {
		flag, given string
		listen      *string
	}{
		{"--zk-listen", z.given.listen, &z.Listen},
		{"--zk-secure-listen", z.given.secure, &z.Secure},
		{"--zk-admin-listen", z.given.admin, &z.Admin},
		{"--zk-metrics-listen", z.given.metrics, &z.Metrics},
	} {
		var err error
		if *a.listen, err = parseListen(a.flag, a.given); err != nil {
			return err
		}
	}
	if c.Mode == ZooKeeper && z.Listen == "" && z.Secure == "" && len(c.Listen.Client) == 0 {
		return errors.New("neither clientPort nor secureClientPort is set: nobody could connect")
	}
	if err := c.checkPorts(); err != nil {
		return err
	}
	if !strings.HasPrefix(z.given.prefix, "/") {
		return fmt.Errorf("--zk-prefix %q must begin with a slash, as in /zk; / makes every key below it a znode", z.given.prefix)
	}
	for _, check := range []func() error{c.checkSessions, c.checkZKLimits, c.checkZKSecurity} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

var aclPolicies = map[string]core.ZnodeACLPolicy{
	"deny": core.ZnodeACLDeny, "hide": core.ZnodeACLHide, "off": core.ZnodeACLOff,
}

// parseListen reads an address; empty is none.
func parseListen(flag, text string) (string, error) {
	if text == off {
		return "", nil
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", fmt.Errorf("%s %q is no host:port, such as 127.0.0.1:2181, and not off", flag, text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%s %q: port %q is not a number from 0 to 65535", flag, text, port)
	}
	return text, nil
}

func (c *Config) checkSessions() error {
	l := &c.ZooKeeper.Limits
	outOfRange := l.Tick < minTick || l.Tick > maxTick
	switch {
	case outOfRange && c.Mode != ZooKeeper:
		return fmt.Errorf("--zk-tick %v is out of range: it must be between %v and %v", l.Tick, minTick, maxTick)
	case outOfRange && l.Tick < time.Millisecond:
		return fmt.Errorf("--zk-tick %v is out of range: it must be at least 1ms", l.Tick)
	case outOfRange:
		c.note(slog.LevelWarn, "sessions may end at a pause of the disk, or keep their locks for hours", "given", "tickTime", "value", l.Tick.String())
	}
	if l.MinSession < 0 || l.MaxSession < 0 {
		return errors.New("--zk-min-session-timeout and --zk-max-session-timeout must not be negative")
	}
	shortest, longest := orTicks(l.MinSession, l.Tick, 2), orTicks(l.MaxSession, l.Tick, 20)
	if shortest > longest {
		return fmt.Errorf("--zk-min-session-timeout %v must not be larger than --zk-max-session-timeout %v", shortest, longest)
	}
	return nil
}

// orTicks is d, or a number of ticks if it is not given.
func orTicks(d, tick time.Duration, n int) time.Duration {
	if d == 0 {
		return time.Duration(n) * tick
	}
	return d
}

func (c *Config) checkZKLimits() error {
	z := &c.ZooKeeper
	for _, limit := range []struct {
		flag  string
		given uint64
		field *int
	}{
		{"--zk-max-client-cnxns", z.given.maxPerIP, &z.Limits.MaxPerIP},
		{"--zk-max-cnxns", z.given.maxConns, &z.Limits.MaxConns},
		{"--zk-max-buffer", z.given.maxFrame, &z.Limits.MaxFrame},
	} {
		if limit.given > math.MaxInt32 {
			return fmt.Errorf("%s %d is out of range: it must be at most %d", limit.flag, limit.given, math.MaxInt32)
		}
		*limit.field = int(limit.given)
	}
	if len(z.Words) == 0 {
		z.Words = nil
	}
	for _, word := range z.Words { // ZooKeeper says nothing
		if word = strings.TrimSpace(word); word != "*" && !zk.IsWord(word) {
			c.note(slog.LevelWarn, "ZooKeeper has no such four-letter word: it changes nothing", "given", "4lw.commands.whitelist", "word", word)
		}
	}
	return nil
}

// checkZKSecurity reads the files that hold secrets.
func (c *Config) checkZKSecurity() error {
	s, g := &c.ZooKeeper.Security, &c.ZooKeeper.given
	s.X509 = s.X509 || c.ZooKeeper.Secured()         // as QuorumPeerConfig.configureSSLAuth
	if !zk.ValidDigestAlgorithm(s.DigestAlgorithm) { // ZooKeeper's words, and it does not start either
		return fmt.Errorf("don't support this ACL digest algorithm: %s in the current environment", s.DigestAlgorithm)
	}
	if g.superDigestFile != "" {
		digest, err := readSecret(g.superDigestFile)
		if err != nil {
			return fmt.Errorf("--zk-superdigest-file: %w", err)
		}
		if user, hash, ok := strings.Cut(digest, ":"); !ok || user == "" || hash == "" {
			return fmt.Errorf("--zk-superdigest-file: %s holds no user:digest, such as super:<base64>", g.superDigestFile)
		}
		s.SuperDigest = digest
	} else if s.SuperDigest != "" && !strings.Contains(s.SuperDigest, ":") { // ZooKeeper says nothing
		c.note(slog.LevelWarn, "the super digest is no user:digest: nobody can prove to be that user", "property", "zookeeper.DigestAuthenticationProvider.superDigest")
	}
	if g.jaas != "" {
		users, err := jaas.Load(g.jaas, orText(g.jaasSection, jaas.DefaultSection))
		if err != nil {
			return fmt.Errorf("--zk-jaas: %w", err)
		}
		s.Users = users
		s.SASL = s.SASL || len(users) > 0
	}
	switch {
	case s.RequireSASL && !s.SASL:
		return errors.New("--zk-require-sasl needs --zk-jaas: nobody could authenticate") // ZooKeeper: scheme sasl is not available
	case s.RequireAuth && len(s.AuthSchemes) == 0:
		return errors.New("zookeeper.enforce.auth.enabled is true zookeeper.enforce.auth.schemes must be configured") // ZooKeeper's words
	}
	if !s.RequireAuth {
		return nil
	}
	for _, scheme := range s.AuthSchemes {
		if !slices.Contains(c.ZooKeeper.schemes(), scheme) {
			return fmt.Errorf("Authentication scheme %s is not available.", scheme) //nolint:staticcheck // ZooKeeper's words
		}
	}
	return nil
}

// schemes are those by which clients can authenticate.
func (z *ZK) schemes() []string {
	list := []string{"ip", "digest"}
	if z.Security.X509 {
		list = append(list, "x509")
	}
	if z.Security.SASL {
		list = append(list, "sasl")
	}
	return list
}

func orText(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

// maxSecretBytes bounds a file that holds one: a larger one is some other file.
const maxSecretBytes = 4096

// readSecret reads a file that holds one line.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	secret := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", err
	case len(text) > maxSecretBytes || strings.ContainsAny(secret, "\r\n"):
		return "", fmt.Errorf("%s does not hold one line", path)
	case secret == "":
		return "", fmt.Errorf("%s is empty", path)
	}
	return secret, nil
}
