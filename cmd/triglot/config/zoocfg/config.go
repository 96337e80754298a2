package zoocfg

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Config is a ZooKeeper server's configuration, checked as ZooKeeper 3.9 checks it
// (QuorumPeerConfig).
type Config struct {
	// Path is the file; empty if the arguments were a port and a directory.
	Path string
	// Text is the file without the secrets in it.
	Text string
	// DataDir and LogDir are dataDir and dataLogDir, which is the former by default.
	DataDir, LogDir string
	// Client and Secure are where clients are served, without and with TLS.
	Client, Secure Address
	Sessions       Sessions
	// MaxPerIP is maxClientCnxns: 60 unless given, none if not positive.
	MaxPerIP int
	Ensemble Ensemble
	Metrics  Metrics
	Reconfig bool // reconfigEnabled
	System   System
	Notes    []Note

	raw raw
}

// raw is what is known of the file before all of it is read.
type raw struct {
	dynamic        string // dynamicConfigFile
	client, secure rawAddress
	snapRetain     int
	oracle         string // oraclePath
	marked         bool   // byteOrderMark is at the start of the file
	quorumSASL     quorumSASL
}

// Address is a host and a port. The zero value is none; an empty host is all.
type Address struct {
	Host  string
	Port  int
	Given bool
}

type rawAddress struct {
	host string
	port *int
}

// Sessions are the times of sessions. ZooKeeper takes any minimum and maximum that
// are not the wrong way round.
type Sessions struct {
	Tick, Min, Max time.Duration

	tickMS, minMS, maxMS int
}

// Ensemble is what the file says of the servers.
type Ensemble struct {
	Servers []Server
	// ID is what the file myid says, -1 if there is none.
	ID int64
	// Standalone is standaloneEnabled: a sole participant is a server by itself.
	Standalone bool
	// Everywhere is quorumListenOnAllIPs.
	Everywhere bool
	// TLS is sslQuorum; Unification serves it on a port that is served without as well
	// (portUnification).
	TLS, Unification bool
	// Unsupported is the first key that a server by itself can do without, and an ensemble
	// here cannot have; empty if there is none.
	Unsupported string

	initLimit, syncLimit int
	observer             bool // peerType
}

// Server is a line server.ID=….
type Server struct {
	ID   int64
	Text string // as written
	// Line is the line as ZooKeeper writes it, in /zookeeper/config.
	Line     string
	Observer bool
	// Addresses are those at which other servers call this one, with the first of the two
	// ports; the other one is for elections.
	Addresses []Address
	// Elections are the same with the other port.
	Elections []Address
	// Client is where the line says that clients are served.
	Client Address
}

// Metrics is metricsProvider.*.
type Metrics struct {
	// Class is metricsProvider.className; empty is ZooKeeper's default, which serves
	// none.
	Class string
	// Settings are the others, without metricsProvider.
	Settings map[string]string
}

// Prometheus is the class that serves metrics on a port of its own.
const Prometheus = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"

// Note is something that the operator should read in the log.
type Note struct {
	Level slog.Level
	Text  string
	Attrs []any // as for slog
}

func (c *Config) note(level slog.Level, text string, attrs ...any) {
	c.Notes = append(c.Notes, Note{level, text, attrs})
}

// InvalidError says that ZooKeeper would not start with the configuration either: it
// exits with status 2.
type InvalidError struct {
	Path string // the file, empty for arguments
	Err  error
}

func (e *InvalidError) Error() string {
	if e.Path == "" {
		return "Invalid arguments, exiting abnormally: " + e.Err.Error()
	}
	return fmt.Sprintf("Invalid config, exiting abnormally: Error processing %s: %v", e.Path, e.Err)
}

// Unwrap returns the mistake.
func (e *InvalidError) Unwrap() error { return e.Err }

const (
	defaultTick     = 3000 // milliseconds, ZooKeeperServer.DEFAULT_TICK_TIME
	defaultMaxPerIP = 60
	minSnapRetain   = 3
)

func newConfig(system System) *Config {
	return &Config{
		MaxPerIP: defaultMaxPerIP,
		Sessions: Sessions{tickMS: defaultTick, minMS: -1, maxMS: -1},
		Ensemble: Ensemble{ID: -1, Standalone: true},
		Metrics:  Metrics{Settings: make(map[string]string)},
		System:   system.clone(),
		raw:      raw{snapRetain: minSnapRetain},
	}
}

// byteOrderMark is what some editors put at the start of UTF-8. Java reads it as three
// characters.
const byteOrderMark = "\xef\xbb\xbf"

const hasMark = "the file begins with a byte order mark, which is part of its first key, to ZooKeeper too: save it as UTF-8 without one"

// maxFileBytes bounds a file: a larger one is some other file.
const maxFileBytes = 1 << 20

// Load reads a configuration file. System are the properties that were given
// otherwise: the file's win over them, as in ZooKeeper. Every error is an
// *InvalidError.
func Load(path string, system System) (*Config, error) {
	c := newConfig(system)
	c.Path = path
	if err := c.load(path); err != nil {
		if c.raw.marked {
			err = fmt.Errorf("%w (%s)", err, hasMark)
		}
		return nil, &InvalidError{path, err}
	}
	if c.raw.marked {
		c.note(slog.LevelWarn, hasMark)
	}
	return c, nil
}

func (c *Config) load(path string) error {
	list, err := c.readFile(path)
	if err != nil {
		return err
	}
	if err := c.take(list); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	if c.raw.dynamic != "" {
		list, err := c.readDynamic()
		if err != nil {
			return fmt.Errorf("Error processing %s: %w", c.raw.dynamic, err)
		}
		return c.takeEnsemble(list)
	}
	return c.takeEnsemble(list)
}

// readFile reads a file of properties, keys and values trimmed as QuorumPeerConfig
// does, of equal keys the last.
func (c *Config) readFile(path string) ([]Property, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s file is missing", path)
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s (Is a directory)", path)
	case info.Size() > maxFileBytes:
		return nil, fmt.Errorf("%s is larger than %d bytes: it is no configuration file", path, maxFileBytes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if path == c.Path {
		c.Text = withoutSecrets(text)
		c.raw.marked = strings.HasPrefix(string(text), byteOrderMark)
	}
	return lastOfEach(text)
}

func lastOfEach(text []byte) ([]Property, error) {
	all, err := parseProperties(text)
	if err != nil {
		return nil, err
	}
	last := make(map[string]int)
	for i := range all {
		all[i] = Property{trim(all[i].Key), trim(all[i].Value)}
		last[all[i].Key] = i
	}
	var list []Property
	for i, p := range all {
		if last[p.Key] == i {
			list = append(list, p)
		}
	}
	return list, nil
}

// Arguments reads what ZooKeeper takes instead of a file: a port, a directory, and
// perhaps a tick time and a number of connections. Every error is an *InvalidError.
func Arguments(args []string, system System) (*Config, error) {
	c := newConfig(system)
	if err := c.arguments(args); err != nil {
		return nil, &InvalidError{"", err}
	}
	return c, nil
}

func (c *Config) arguments(args []string) error {
	if len(args) < 2 || len(args) > 4 {
		return fmt.Errorf("Invalid number of arguments:[%s]", strings.Join(args, ", ")) //nolint:staticcheck // ZooKeeper's words
	}
	list := []Property{{"clientPort", args[0]}, {"dataDir", args[1]}}
	for i, key := range []string{"tickTime", "maxClientCnxns"} {
		if len(args) > i+2 {
			list = append(list, Property{key, args[i+2]})
		}
	}
	if err := c.take(list); err != nil {
		return err
	}
	return c.check()
}

// take puts every property where it belongs.
func (c *Config) take(list []Property) error {
	for _, p := range list {
		if p.Key == "dynamicConfigFile" { // others depend on it
			c.raw.dynamic = p.Value
		}
	}
	for _, p := range list {
		if err := c.takeOne(p); err != nil {
			return err
		}
	}
	for _, name := range c.System.Own("") {
		c.noteProperty(name)
	}
	c.noteValues()
	return nil
}

func (c *Config) takeOne(p Property) error {
	if set, ok := quorumKeys[p.Key]; ok {
		return set(c, p.Key, p.Value)
	}
	ofEnsemble := strings.HasPrefix(p.Key, "server.") || isHierarchy(p.Key)
	setting, ofMetrics := strings.CutPrefix(p.Key, "metricsProvider.")
	switch {
	case ofEnsemble && c.raw.dynamic != "":
		return fmt.Errorf("parameter: %s must be in a separate dynamic config file", p.Key)
	case ofEnsemble: // takeEnsemble's
	case ofMetrics:
		c.Metrics.Settings[setting] = p.Value
	default:
		c.System.Set("zookeeper."+p.Key, p.Value)
	}
	return nil
}

// check does what parseProperties does once all is read.
func (c *Config) check() error {
	if err := c.raw.quorumSASL.check(); err != nil {
		return err
	}
	if c.raw.snapRetain < minSnapRetain {
		c.note(slog.LevelWarn, "Invalid autopurge.snapRetainCount. Defaulting to 3", "given", c.raw.snapRetain)
	}
	if c.DataDir == "" {
		return errors.New("dataDir is not set")
	}
	if c.LogDir == "" {
		c.LogDir = c.DataDir
	}
	var err error
	if c.Client, err = c.raw.client.join("clientPort"); err != nil {
		return err
	}
	if c.Secure, err = c.raw.secure.join("secureClientPort"); err != nil {
		return err
	}
	if err := c.Sessions.check(); err != nil {
		return err
	}
	switch c.Metrics.Class {
	case "", Prometheus, "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider", "org.apache.zookeeper.metrics.impl.NullMetricsProvider":
	default:
		return fmt.Errorf("metrics provider class was not found: %s", c.Metrics.Class)
	}
	return nil
}

func (a rawAddress) join(key string) (Address, error) {
	switch {
	case a.port == nil && a.host != "":
		return Address{}, fmt.Errorf("%sAddress is set but %s is not set", key, key)
	case a.port == nil:
		return Address{}, nil
	case *a.port < 0 || *a.port > 65535:
		return Address{}, fmt.Errorf("port out of range:%d", *a.port)
	}
	return Address{a.host, *a.port, true}, nil
}

func (s *Sessions) check() error {
	switch {
	case s.tickMS == 0:
		return errors.New("tickTime is not set")
	case s.tickMS < 0: // ZooKeeper starts, and no client ever gets a session
		return fmt.Errorf("tickTime %d is not positive", s.tickMS)
	}
	if s.minMS == -1 {
		s.minMS = 2 * s.tickMS
	}
	if s.maxMS == -1 {
		s.maxMS = 20 * s.tickMS
	}
	if s.minMS > s.maxMS {
		return errors.New("minSessionTimeout must not be larger than maxSessionTimeout")
	}
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	s.Tick, s.Min, s.Max = ms(s.tickMS), ms(s.minMS), ms(s.maxMS)
	return nil
}

// noteRelative is ZooKeeper's warning about a directory.
func (c *Config) noteRelative(path string) {
	if !filepath.IsAbs(path) && !strings.HasPrefix(path, "./") {
		c.note(slog.LevelWarn, path+" is relative. Prepend ./ to indicate that you're sure!")
	}
}
