package config

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/triglot/triglot/cmd/triglot/config/zoocfg"
)

// zooKeeperDefaults are the defaults of triglot zookeeper that are not serve's: what
// zoo.cfg does not ask for is not served.
var zooKeeperDefaults = map[string]string{
	"data-dir":              "", // zoo.cfg says which
	"zk-listen":             off,
	"listen-client-urls":    "",
	"advertise-client-urls": "",
	"listen-peer-urls":      "",
}

// ZooKeeperFlags are the flags of triglot zookeeper: serve's, and those of java that
// ZooKeeper's users know.
type ZooKeeperFlags struct {
	ServeFlags
	properties []string
	startEmpty bool
}

// NewZooKeeperFlags returns flags that nobody has given.
func NewZooKeeperFlags() *ZooKeeperFlags {
	return &ZooKeeperFlags{ServeFlags: ServeFlags{mode: ZooKeeper, given: make(source)}}
}

// Define adds the flags to fs.
func (f *ZooKeeperFlags) Define(fs *pflag.FlagSet) {
	fs.StringArrayVarP(&f.properties, "property", "D", nil,
		"a system property, as java takes it: -Dzookeeper.4lw.commands.whitelist=*; zoo.cfg wins over it")
	fs.BoolVar(&f.startEmpty, "start-empty", false,
		"start with no znodes although dataDir holds those of a ZooKeeper, which stay where they are")
	f.ServeFlags.Define(fs)
}

// Legacy is what a directory may hold of a ZooKeeper that was there before.
type Legacy struct {
	// Dirs are dataDir and dataLogDir, Member the directory of the member's data.
	Dirs   []string
	Member string
	// NoCreate has dataDir exist already (zookeeper.datadir.autocreate).
	NoCreate bool
	// StartEmpty passes over a ZooKeeper's data.
	StartEmpty bool
}

// Begun reports whether a member has started here before: whatever a ZooKeeper left is
// the past then.
func (l *Legacy) Begun() bool {
	entries, err := os.ReadDir(l.Member)
	return err == nil && len(entries) > 0
}

// triglotDir is the directory in dataDir and dataLogDir that is Triglot's: ZooKeeper's
// are version-2 and the file myid.
const triglotDir = "triglot"

// Load reads zoo.cfg, or a port, a directory and so on, which ZooKeeper takes as well,
// and combines it with the environment and the flags. A mistake is a *UsageError.
func (f *ZooKeeperFlags) Load(args, environ []string) (*Config, *Legacy, error) {
	c, z, err := f.load(args, environ)
	if err != nil {
		return nil, nil, &UsageError{err}
	}
	legacy := &Legacy{Dirs: []string{z.DataDir}, Member: c.Member.DataDir, StartEmpty: f.startEmpty, NoCreate: z.System.Text("datadir.autocreate") == "false"}
	if z.LogDir != z.DataDir {
		legacy.Dirs = append(legacy.Dirs, z.LogDir)
	}
	return c, legacy, nil
}

func (f *ZooKeeperFlags) load(args, environ []string) (*Config, *zoocfg.Config, error) {
	var system zoocfg.System
	system.TakeEnvironment(environ)
	for _, p := range f.properties {
		system.Define(p)
	}
	z, err := readZoo(args, system)
	if err != nil {
		return nil, nil, err
	}
	env := parseEnvironment(environ)
	file, err := zooSource(z)
	if err != nil {
		return nil, nil, err
	}
	c, all, err := assemble(ZooKeeper, file, env.ours(), f.given)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range z.Notes {
		c.note(n.Level, n.Text, n.Attrs...)
	}
	env.unknown(ZooKeeper, []string{triglotPrefix}, func(name, hint string) {
		c.note(slog.LevelWarn, "an environment variable is not known"+hint, "variable", name)
	})
	c.ZooKeeper.given.takeNames(all)
	if err := c.takeSystem(z); err != nil {
		return nil, nil, err
	}
	if err := c.takeEnsemble(z); err != nil {
		return nil, nil, err
	}
	if err := c.deriveServe(all); err != nil {
		return nil, nil, c.Named(err)
	}
	return c, z, c.Named(c.check())
}

func readZoo(args []string, system zoocfg.System) (*zoocfg.Config, error) {
	var z *zoocfg.Config
	var err error
	if len(args) == 1 {
		z, err = zoocfg.Load(args[0], system)
	} else {
		z, err = zoocfg.Arguments(args, system)
	}
	return z, err
}

// ours are the variables of Triglot's own. etcd's are not looked at: they belong to
// another server.
func (env environment) ours() source {
	s := make(source)
	known(ZooKeeper, func(o *option) {
		name := variable(triglotPrefix, o.name)
		if value := env[name]; value != "" {
			s[o.name] = given{value, name}
		}
	})
	return s
}

// zooSource are the options that a zoo.cfg sets.
func zooSource(z *zoocfg.Config) (source, error) {
	s := make(source)
	set := func(option, value, from string) { s[option] = given{value, from} }
	set("data-dir", filepath.Join(z.DataDir, triglotDir), "dataDir")
	if z.LogDir != z.DataDir {
		set("wal-dir", filepath.Join(z.LogDir, triglotDir), "dataLogDir")
	}
	set("zk-listen", zooAddress(z.Client), "clientPort")
	set("zk-secure-listen", zooAddress(z.Secure), "secureClientPort")
	set("zk-tick", z.Sessions.Tick.String(), "tickTime")
	set("zk-min-session-timeout", max(z.Sessions.Min, time.Millisecond).String(), "minSessionTimeout")
	set("zk-max-session-timeout", max(z.Sessions.Max, time.Millisecond).String(), "maxSessionTimeout")
	set("zk-max-client-cnxns", strconv.Itoa(max(z.MaxPerIP, 0)), "maxClientCnxns")
	for _, p := range []struct{ option, name string }{
		{"zk-max-cnxns", "maxCnxns"},
		{"zk-max-buffer", "jute.maxbuffer"},
	} {
		if n := z.System.Number(p.name, 0); n > 0 {
			set(p.option, strconv.Itoa(n), p.name)
		}
	}
	for _, p := range []struct{ option, name string }{
		{"zk-extended-types", "extendedTypesEnabled"},
		{"zk-enforce-quota", "enforceQuota"},
		{"zk-read-only", "readonlymode.enabled"},
		{"zk-require-sasl", "sessionRequireClientSASLAuth"},
	} {
		set(p.option, strconv.FormatBool(z.System.Is(p.name)), p.name)
	}
	for _, p := range []struct{ option, name string }{
		{"zk-4lw-whitelist", "4lw.commands.whitelist"},
		{"zk-jaas", "java.security.auth.login.config"},
	} {
		if text := z.System.Text(p.name); text != "" {
			set(p.option, text, p.name)
		}
	}
	if z.System.Text("forceSync") == "no" {
		set("unsafe-no-fsync", "true", "forceSync=no")
	}
	set("zk-admin-listen", adminAddress(z), "admin.serverPort")
	if err := setMetrics(z, set); err != nil {
		return nil, err
	}
	if z.Ensemble.Distributed() {
		if err := setServers(z, set); err != nil {
			return nil, err
		}
	}
	return s, takeOwnKeys(z, s)
}

func zooAddress(a zoocfg.Address) string {
	if !a.Given {
		return off
	}
	return a.String()
}

// adminAddress is where the AdminServer is asked for. ZooKeeper 3.9 starts it unless
// told not to; here whoever wants it says so, by turning it on or by naming its port.
func adminAddress(z *zoocfg.Config) string {
	enable := z.System.Text("admin.enableServer")
	asked := strings.EqualFold(enable, "true") || z.System.Has("admin.serverPort") || z.System.Has("admin.serverAddress")
	if enable == "false" || !asked {
		return off
	}
	host := orText(z.System.Text("admin.serverAddress"), "0.0.0.0")
	return net.JoinHostPort(host, strconv.Itoa(z.System.Number("admin.serverPort", 8080)))
}

// setMetrics has metrics served if the file names ZooKeeper's class for it.
func setMetrics(z *zoocfg.Config, set func(option, value, from string)) error {
	if z.Metrics.Class != zoocfg.Prometheus {
		return nil
	}
	setting := func(name, fallback string) string { return orText(z.Metrics.Settings[name], fallback) }
	if _, secure := z.Metrics.Settings["httpsPort"]; secure {
		return fmt.Errorf("metricsProvider.httpsPort is not supported: metrics are served without TLS at metricsProvider.httpPort")
	}
	set("zk-metrics-listen", net.JoinHostPort(setting("httpHost", "0.0.0.0"), setting("httpPort", "7000")), "metricsProvider.httpPort")
	return nil
}

// ownKey is the prefix of keys in zoo.cfg that are Triglot's options; to ZooKeeper
// they are properties at which it does not look.
const ownKey = "triglot."

// takeOwnKeys takes options of Triglot's from zoo.cfg: triglot.listen-client-urls.
func takeOwnKeys(z *zoocfg.Config, s source) error {
	var names []string
	known(ZooKeeper, func(o *option) {
		if o.fate == honoured {
			names = append(names, o.name)
		}
	})
	for _, name := range z.System.Own(ownKey) {
		if _, ok := lookup(ZooKeeper, name); !ok {
			return fmt.Errorf("%s: unknown key %s%s%s", z.Path, ownKey, name, DidYouMean(name, names, ownKey))
		}
		s[name] = given{z.System.Text(ownKey + name), ownKey + name}
	}
	return nil
}
