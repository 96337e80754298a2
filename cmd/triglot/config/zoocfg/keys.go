package zoocfg

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// setter takes the value of a key.
type setter func(c *Config, key, value string) error

// quorumKeys are the keys that ZooKeeper's QuorumPeerConfig knows by themselves; all
// others are system properties. What has no effect here is checked all the same: a
// file that ZooKeeper refuses is refused.
var quorumKeys = map[string]setter{
	"dataDir":    directory(func(c *Config) *string { return &c.DataDir }),
	"dataLogDir": directory(func(c *Config) *string { return &c.LogDir }),

	"clientPort":              port(func(c *Config) *rawAddress { return &c.raw.client }),
	"clientPortAddress":       text(func(c *Config) *string { return &c.raw.client.host }),
	"secureClientPort":        port(func(c *Config) *rawAddress { return &c.raw.secure }),
	"secureClientPortAddress": text(func(c *Config) *string { return &c.raw.secure.host }),
	"clientPortListenBacklog": ignoredNumber,

	"tickTime":          number(func(c *Config) *int { return &c.Sessions.tickMS }),
	"minSessionTimeout": number(func(c *Config) *int { return &c.Sessions.minMS }),
	"maxSessionTimeout": number(func(c *Config) *int { return &c.Sessions.maxMS }),
	"maxClientCnxns":    number(func(c *Config) *int { return &c.MaxPerIP }),

	"metricsProvider.className": text(func(c *Config) *string { return &c.Metrics.Class }),

	"dynamicConfigFile": ignoredText, // take looks at it first
	"standaloneEnabled": boolean(func(c *Config) *bool { return &c.Ensemble.Standalone }),
	"reconfigEnabled":   boolean(func(c *Config) *bool { return &c.Reconfig }),
	"initLimit":         number(func(c *Config) *int { return &c.Ensemble.initLimit }),
	"syncLimit":         number(func(c *Config) *int { return &c.Ensemble.syncLimit }),
	"electionAlg":       electionAlg,
	"peerType":          peerType,

	// Every session is one of the whole cluster here, which is what they become once
	// they need to be.
	"localSessionsEnabled":          ignoredBool,
	"localSessionsUpgradingEnabled": ignoredBool,

	// The log and the history are kept as long as they are needed, and no longer.
	"autopurge.snapRetainCount": number(func(c *Config) *int { return &c.raw.snapRetain }),
	"autopurge.purgeInterval":   ignoredNumber,

	// They matter to ensembles of several servers.
	"observerMasterPort":                      ignoredNumber,
	"connectToLearnerMasterLimit":             ignoredNumber,
	"quorumListenOnAllIPs":                    boolean(func(c *Config) *bool { return &c.Ensemble.Everywhere }),
	"syncEnabled":                             ignoredBool,
	"sslQuorum":                               boolean(func(c *Config) *bool { return &c.Ensemble.TLS }),
	"portUnification":                         boolean(func(c *Config) *bool { return &c.Ensemble.Unification }),
	"sslQuorumReloadCertFiles":                ignoredBool,
	"quorum.auth.enableSasl":                  boolean(func(c *Config) *bool { return &c.raw.quorumSASL.enabled }),
	"quorum.auth.serverRequireSasl":           boolean(func(c *Config) *bool { return &c.raw.quorumSASL.server }),
	"quorum.auth.learnerRequireSasl":          boolean(func(c *Config) *bool { return &c.raw.quorumSASL.learner }),
	"quorum.auth.learner.saslLoginContext":    ignoredText,
	"quorum.auth.server.saslLoginContext":     ignoredText,
	"quorum.auth.kerberos.servicePrincipal":   ignoredText,
	"quorum.cnxn.threads.size":                ignoredNumber,
	"multiAddress.enabled":                    ignoredBool,
	"multiAddress.reachabilityCheckTimeoutMs": ignoredNumber,
	"multiAddress.reachabilityCheckEnabled":   ignoredBool,
	"oraclePath":                              text(func(c *Config) *string { return &c.raw.oracle }),
	"jvm.pause.info-threshold.ms":             ignoredLong,
	"jvm.pause.warn-threshold.ms":             ignoredLong,
	"jvm.pause.sleep.time.ms":                 ignoredLong,
	"jvm.pause.monitor":                       ignoredBool,
}

func ignoredText(*Config, string, string) error { return nil }

func ignoredNumber(_ *Config, key, value string) error {
	_, err := parseInt(key, value, 32)
	return err
}

func ignoredLong(_ *Config, key, value string) error {
	_, err := parseInt(key, value, 64)
	return err
}

func ignoredBool(_ *Config, key, value string) error {
	_, err := parseBool(key, value)
	return err
}

func text(field func(*Config) *string) setter {
	return func(c *Config, _, value string) error {
		*field(c) = value
		return nil
	}
}

func directory(field func(*Config) *string) setter {
	return func(c *Config, key, value string) error {
		if value == "" {
			return fmt.Errorf("%s is empty", key)
		}
		c.noteRelative(value)
		*field(c) = value
		return nil
	}
}

func number(field func(*Config) *int) setter {
	return func(c *Config, key, value string) error {
		n, err := parseInt(key, value, 32)
		*field(c) = int(n)
		return err
	}
}

func boolean(field func(*Config) *bool) setter {
	return func(c *Config, key, value string) (err error) {
		*field(c), err = parseBool(key, value)
		return err
	}
}

func port(field func(*Config) *rawAddress) setter {
	return func(c *Config, key, value string) error {
		n, err := parseInt(key, value, 32)
		at := int(n)
		field(c).port = &at
		return err
	}
}

func electionAlg(_ *Config, key, value string) error {
	n, err := parseInt(key, value, 32)
	if err == nil && n != 3 {
		return errors.New("Invalid electionAlg value. Only 3 is supported.") //nolint:staticcheck // ZooKeeper's words
	}
	return err
}

func peerType(c *Config, _, value string) (err error) {
	c.Ensemble.observer, err = observer(value)
	return err
}

// observer reads the kind of a server.
func observer(value string) (bool, error) {
	switch strings.ToLower(trim(value)) {
	case "observer":
		return true, nil
	case "participant":
		return false, nil
	}
	return false, fmt.Errorf("Unrecognised peertype: %s", value) //nolint:staticcheck // ZooKeeper's words
}

// parseInt is Integer.parseInt and Long.parseLong.
func parseInt(key, value string, bits int) (int64, error) {
	n, err := strconv.ParseInt(value, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%s: For input string: %q", key, value)
	}
	return n, nil
}

func parseBool(key, value string) (bool, error) {
	switch {
	case strings.EqualFold(value, "true"):
		return true, nil
	case strings.EqualFold(value, "false"):
		return false, nil
	}
	return false, fmt.Errorf("Invalid option %s for %s. Choose 'true' or 'false.'", value, key) //nolint:staticcheck // ZooKeeper's words
}

// quorumSASL is how servers show each other who they are.
type quorumSASL struct{ enabled, server, learner bool }

func (q quorumSASL) check() error {
	const name = "quorum.auth."
	switch {
	case !q.enabled && q.server:
		return errors.New(name + "enableSasl is disabled, so cannot enable " + name + "serverRequireSasl")
	case !q.enabled && q.learner:
		return errors.New(name + "enableSasl is disabled, so cannot enable " + name + "learnerRequireSasl")
	case !q.learner && q.server:
		return errors.New(name + "learnerRequireSasl is disabled, so cannot enable " + name + "serverRequireSasl")
	}
	return nil
}

// noteProperty says so when nobody looks at a property.
func (c *Config) noteProperty(key string) {
	switch effectOf(key) {
	case unknown:
		c.note(slog.LevelWarn, "ZooKeeper has no such property: it changes nothing", "property", "zookeeper."+key)
	case used:
	case moot:
		c.note(slog.LevelInfo, "a property of ZooKeeper changes nothing here", "property", "zookeeper."+key)
	}
}
