package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
)

// What a command line in etcd mode may ask for instead of a server.
var (
	// ErrHelp asks for Help.
	ErrHelp = errors.New("help was asked for")
	// ErrVersion asks for the version.
	ErrVersion = errors.New("the version was asked for")
)

// LoadEtcd makes the configuration of a command line and an environment as etcd
// would. Mistakes of the flags themselves are explained on stderr as etcd does
// and come back as a *UsageError; other errors stop etcd with status 1. The
// Config holds the notes gathered so far even if there is an error.
func LoadEtcd(args, environ []string, stderr io.Writer) (*Config, error) {
	flags := make(source)
	fs := flag.NewFlagSet("etcd", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { _, _ = io.WriteString(stderr, usageLines) }
	known(Etcd, func(o *option) { fs.Var(&flagValue{mode: Etcd, option: o, given: flags}, o.name, o.usage) })
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return &Config{}, ErrHelp
	case err != nil:
		return &Config{}, &UsageError{err}
	case fs.NArg() > 0:
		return &Config{}, fmt.Errorf("%q is not a valid flag", fs.Arg(0))
	case flags["version"].text != "" && flags["version"].text != "false":
		return &Config{}, ErrVersion
	}
	env := parseEnvironment(environ)
	path := flags["config-file"].text
	if path == "" {
		path = env[variable(etcdPrefix, "config-file")]
	}
	if path != "" {
		return loadEtcdFile(path)
	}
	return loadEtcdFlags(flags, env)
}

func loadEtcdFile(path string) (*Config, error) {
	file, err := readFile(Etcd, path)
	if err != nil {
		return &Config{}, err
	}
	c, all, err := assemble(Etcd, file)
	if err != nil {
		return c, err
	}
	c.note(slog.LevelInfo, "loaded server configuration, other configuration command line flags and environment variables will be ignored if provided",
		"path", path)
	c.TLS.SelfSignedYears = max(c.TLS.SelfSignedYears, 1) // zero is the default in a file
	c.deriveEtcd(all)
	return c, c.check()
}

func loadEtcdFlags(flags source, env environment) (*Config, error) {
	variables, notes, err := env.etcd(flags)
	if err != nil {
		return &Config{Notes: notes}, err
	}
	c, all, err := assemble(Etcd, variables, flags)
	c.Notes = append(notes, c.Notes...)
	if err != nil {
		return c, err
	}
	_, listen := all["listen-client-urls"]
	_, advertise := all["advertise-client-urls"]
	if listen && !advertise {
		return c, errors.New("--advertise-client-urls is required when --listen-client-urls is set explicitly")
	}
	c.deriveEtcd(all)
	return c, c.check()
}

// etcd reads the variables as etcd does: each must not contradict a flag, and
// each that is used or not known is worth a line.
func (env environment) etcd(flags source) (source, []Note, error) {
	s := make(source)
	var c Config
	var conflict string
	if env["ETCD_VERSION"] != "" {
		delete(env, "ETCD_VERSION")
		c.note(slog.LevelWarn, "cannot set special environment variable", "key", "ETCD_VERSION")
	}
	known(Etcd, func(o *option) {
		name := variable(etcdPrefix, o.name)
		_, byFlag := flags[o.name]
		switch value := env[name]; {
		case value == "":
		case byFlag:
			conflict = name
		case o.fate != legacy:
			s[o.name] = given{value, name}
			c.note(slog.LevelInfo, "recognized and used environment variable", "variable-name", name)
		}
	})
	env.unknown(Etcd, []string{etcdPrefix}, func(name, _ string) {
		c.note(slog.LevelWarn, "unrecognized environment variable", "environment-variable", name)
	})
	if conflict != "" {
		return nil, c.Notes, fmt.Errorf("conflicting environment variable %s is shadowed by corresponding command-line flag (either unset environment variable or disable flag)", conflict)
	}
	return s, c.Notes, nil
}

// deriveEtcd fills in what etcd derives from other values.
func (c *Config) deriveEtcd(all source) {
	isDefault := func(name string) bool { _, ok := all[name]; return !ok }
	c.takeMount(all)
	c.Cluster.Trust = true // as etcd does
	if c.Member.DataDir == "" {
		c.Member.DataDir = c.Member.Name + ".etcd"
		c.note(slog.LevelWarn, "'data-dir' was empty; using default", "data-dir", c.Member.DataDir)
	}
	advertiseThisHost(c, &c.Cluster.AdvertisePeer, c.Listen.Peer, "initial-advertise-peer-urls")
	advertiseThisHost(c, &c.Cluster.AdvertiseClient, c.Listen.Client, "advertise-client-urls")
	if o, _ := lookup(Etcd, "name"); isDefault("initial-cluster") && c.Member.Name != o.etcd {
		c.Cluster.Initial = initialCluster(c.Member.Name, c.Cluster.AdvertisePeer)
	}
}

// advertiseThisHost replaces a default address, which is localhost, by this
// host's if the member listens on all of them.
func advertiseThisHost(c *Config, advertised *URLs, listen URLs, name string) {
	o, _ := lookup(Etcd, name)
	if advertised.String() != o.etcd || len(listen) == 0 || listen[0].Hostname() != "0.0.0.0" {
		return
	}
	host, ok := thisHost()
	if !ok {
		return
	}
	c.note(slog.LevelInfo, "detected default host for advertise", "host", host)
	u := (*advertised)[0]
	u.Host = net.JoinHostPort(host, listen[0].Port())
	*advertised = URLs{u}
}

// thisHost is the address from which this host would speak to the world. No
// packet is sent to find out.
func thisHost() (string, bool) {
	conn, err := net.Dial("udp4", "192.0.2.1:9") // an address for documentation
	if err != nil {
		return "", false
	}
	defer conn.Close() //nolint:errcheck // nothing was written
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	return host, err == nil
}

const usageLines = `Usage:

  etcd [flags]
    Start a server.

  etcd --version
    Show the version.

  etcd -h | --help
    Show the flags.

  etcd --config-file
    Path to the configuration file. If there is one, all other flags and environment variables are ignored.
    Durations in the file are whole numbers of nanoseconds.
`

// Help is the text that etcd mode shows for --help: the flags that are honoured.
func Help() string {
	var b strings.Builder
	var groups []string
	known(Etcd, func(o *option) {
		if o.fate == honoured && o.group != "" && !slices.Contains(groups, o.group) {
			groups = append(groups, o.group)
		}
	})
	for _, group := range groups {
		fmt.Fprintf(&b, "%s:\n", group)
		known(Etcd, func(o *option) {
			if o.group == group && o.fate == honoured {
				fmt.Fprintf(&b, "  --%s '%s'\n    %s.\n", o.name, o.etcd, o.usage)
			}
		})
		b.WriteString("\n")
	}
	b.WriteString("Etcd's other flags are accepted with a warning, or refused where it would be unsafe to ignore them.\n")
	return b.String()
}
