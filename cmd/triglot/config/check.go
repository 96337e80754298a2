package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/triglot/triglot/core/member"
)

// maxElection is etcd's bound on an election timeout, in milliseconds.
const maxElection = 50_000

// check turns what was given into the exported fields and refuses what cannot
// work. Each message says what to change.
func (c *Config) check() error {
	for _, check := range []func() error{
		c.checkMember, c.checkCompaction, c.checkListen, c.checkZooKeeper, c.checkCluster, c.checkRequests, c.checkLog,
		c.checkGates, c.checkTLS, c.checkAuth,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	c.Extensive = c.metrics == "extensive"
	switch {
	case c.Extensive || c.metrics == "basic":
	case c.Mode != Etcd:
		return fmt.Errorf("--metrics %q is not one of basic, extensive", c.metrics)
	default: // etcd takes it for basic
		c.note(slog.LevelWarn, "an option has no effect", "given", "--metrics "+c.metrics, "why", "it is neither basic nor extensive")
	}
	return nil
}

func (c *Config) checkMember() error {
	m := &c.Member
	switch {
	case m.Name == "":
		return errors.New("--name is empty: give the member a name")
	case m.DataDir == "":
		return errors.New("--data-dir is empty: name a directory")
	case m.heartbeatMS == 0:
		return errors.New("--heartbeat-interval must be >0 (set to 0ms)")
	case m.electionMS == 0:
		return errors.New("--election-timeout must be >0 (set to 0ms)")
	case 5*m.heartbeatMS > m.electionMS || m.heartbeatMS > m.electionMS:
		return fmt.Errorf("--election-timeout[%vms] should be at least as 5 times as --heartbeat-interval[%vms]", m.electionMS, m.heartbeatMS)
	case m.electionMS > maxElection:
		return fmt.Errorf("--election-timeout[%vms] is too long, and should be set less than %vms", m.electionMS, maxElection)
	}
	m.Heartbeat = time.Duration(m.heartbeatMS) * time.Millisecond
	m.Election = time.Duration(m.electionMS) * time.Millisecond
	m.FlushCommands = m.snapshotCount
	return c.checkStorage()
}

func (c *Config) checkStorage() error {
	s := &c.Member.Storage
	if s.BatchRows < 0 || s.BatchRows > math.MaxInt32 || s.Pause < 0 {
		return errors.New("--compaction-batch-limit and --compaction-sleep-interval must not be negative, nor the first beyond 2147483647")
	}
	if s.NoSync {
		c.note(slog.LevelWarn, "the raft log is not synced: a power failure may take what was acknowledged", "given", "--unsafe-no-fsync")
	}
	if s.defragMegabytes > 0 { // in etcd's words
		c.note(slog.LevelInfo, "Skipping defragmentation", "why", "there is nothing to defragment: the engine gives back space as it goes",
			"bootstrap-defrag-threshold-megabytes", s.defragMegabytes)
	}
	return nil
}

// checkOrigins refuses origins that no browser is from. etcd wants a port in each of
// them, which those of a scheme's own port do not have; serve mode does not.
func checkOrigins(m Mode, text string) error {
	if text == "*" || (text == "" && m != Etcd) {
		return nil
	}
	for origin := range strings.SplitSeq(text, ",") {
		origin = strings.TrimSpace(origin)
		if m == Etcd {
			if _, err := parseURL(origin); err != nil {
				return err
			}
			continue
		}
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || origin != u.Scheme+"://"+u.Host {
			return fmt.Errorf("%q is not an origin, such as https://example.com, nor is all of it *", origin)
		}
	}
	return nil
}

// checkCompaction reads --auto-compaction-retention: a bare number is hours, or
// revisions in that mode.
func (c *Config) checkCompaction() error {
	switch mode := c.Member.compactionMode; mode {
	case "periodic", "revision":
	case "":
		return errors.New("undefined auto-compaction-mode")
	default:
		return fmt.Errorf("unknown auto-compaction-mode %q", mode)
	}
	text := c.Member.compactionFor
	if text == "" {
		text = "0"
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		switch {
		case c.Member.compactionMode == "revision":
			c.Member.Compaction.Revisions = n
		case n > math.MaxInt64/int64(time.Hour):
			return fmt.Errorf("--auto-compaction-retention of %d hours is too long", n)
		default:
			c.Member.Compaction.Period = time.Duration(n) * time.Hour
		}
		return nil
	}
	if c.Member.compactionMode == "revision" {
		return fmt.Errorf("--auto-compaction-retention %q is not a number of revisions", text)
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("--auto-compaction-retention %q is neither a number of hours nor a duration such as 30m", text)
	}
	c.Member.Compaction.Period = d
	return nil
}

func (c *Config) checkListen() error {
	for _, l := range []struct {
		flag string
		urls URLs
	}{
		{"--listen-client-urls", c.Listen.Client},
		{"--listen-client-http-urls", c.Listen.HTTP},
		{"--listen-metrics-urls", c.Listen.Metrics},
		{"--listen-peer-urls", c.Listen.Peer},
	} {
		if err := checkListen(l.urls, c.Mode == ZooKeeper && l.flag == "--listen-peer-urls"); err != nil {
			return fmt.Errorf("%s: %w", l.flag, err)
		}
	}
	if c.Listen.AdminSocket == off {
		c.Listen.AdminSocket = ""
	}
	if len(c.Listen.Client) == 0 && c.Mode != ZooKeeper {
		return errors.New("--listen-client-urls is empty: there must be one address for clients")
	}
	for _, u := range c.Listen.HTTP {
		_, address := Address(u)
		same := func(client url.URL) bool { _, a := Address(client); return a == address && client.Port() != "0" }
		if slices.ContainsFunc(c.Listen.Client, same) {
			return fmt.Errorf("cannot bind both --listen-client-urls and --listen-client-http-urls on the same url %s", u.String())
		}
	}
	c.Listen.Traces = c.Log.level == "debug"
	c.Listen.Pprof = c.Listen.Pprof || c.Log.level == "debug"
	return nil
}

func (c *Config) checkAuth() error {
	a := &c.Auth
	const most = 100 * 365 * 24 * 3600 // seconds, in which a duration has room
	if a.ttlSeconds > most || a.bcryptCost > math.MaxInt32 {
		return errors.New("--auth-token-ttl or --bcrypt-cost is out of range")
	}
	a.TokenTTL, a.BcryptCost = time.Duration(a.ttlSeconds)*time.Second, int(a.bcryptCost)
	return nil
}

func (c *Config) checkCluster() error {
	c.Cluster.Existing = c.Cluster.state == "existing"
	if c.Cluster.ForceNew {
		c.note(slog.LevelWarn, "this member is to go on alone: all others are removed from its cluster", "given", "--force-new-cluster")
	}
	if err := c.checkInitial(); err != nil {
		return err
	}
	switch checks := c.Cluster.Checks; {
	case checks.CompactHash <= 0:
		return fmt.Errorf("--compact-hash-check-time must be >0 (set to %v)", checks.CompactHash)
	case checks.Corrupt < 0:
		return fmt.Errorf("--corrupt-check-time must not be negative (set to %v)", checks.Corrupt)
	}
	if err := c.checkRaft(); err != nil {
		return err
	}
	for _, a := range []struct {
		flag, form string
		urls       URLs
	}{
		{"--initial-advertise-peer-urls", `must be "host:port"`, c.Cluster.AdvertisePeer},
		{
			"--advertise-client-urls", `must be in the format "host:port", "unix:/path/to/socket" or "unixs:/path/to/socket"`,
			c.Cluster.AdvertiseClient,
		},
	} {
		if err := checkAdvertise(a.urls); err != nil {
			return fmt.Errorf("%s %q %s (%w)", a.flag, a.urls.String(), a.form, err)
		}
		if len(a.urls) == 0 && c.Mode != ZooKeeper {
			return fmt.Errorf("%s is empty: say where this member is found", a.flag)
		}
	}
	return nil
}

// leastRaftTimeout is etcd's: it raises what is shorter.
const leastRaftTimeout = 5 * time.Second

func (c *Config) checkRaft() error {
	r := &c.Cluster.Raft
	if n := c.Cluster.Members.MaxLearners; n < 0 || n > math.MaxInt32 {
		return fmt.Errorf("--max-learners must be between 0 and %d (set to %d)", math.MaxInt32, n)
	}
	if c.Mode == Etcd {
		for name, d := range map[string]*time.Duration{"read": &r.ReadTimeout, "write": &r.WriteTimeout} {
			if *d < leastRaftTimeout {
				*d = leastRaftTimeout
				c.note(slog.LevelInfo, "raft-"+name+"-timeout increased to minimum value: "+leastRaftTimeout.String())
			}
		}
	}
	if r.ReadTimeout <= 0 || r.WriteTimeout <= 0 {
		return errors.New("--raft-read-timeout and --raft-write-timeout must be >0")
	}
	return nil
}

// checkInitial refuses an --initial-cluster in which this member is not, or two are the
// same. etcd looks at it when the member starts.
func (c *Config) checkInitial() error {
	if c.Mode == Etcd {
		return nil
	}
	peers, err := c.Founders()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(peers, func(p member.Peer) bool { return p.Name == c.Member.Name }) {
		return fmt.Errorf("--initial-cluster does not mention %q, the --name of this member: add %s=URL to it", c.Member.Name, c.Member.Name)
	}
	return nil
}

// Founders reads --initial-cluster. Two members must not share a URL; a name that is
// there twice has two URLs, as with etcd.
func (c *Config) Founders() ([]member.Peer, error) {
	peers, err := member.ParsePeers(c.Cluster.Initial)
	if err != nil {
		return nil, fmt.Errorf("--initial-cluster: %w", err)
	}
	owner := make(map[string]string)
	for i := range peers {
		p := &peers[i]
		p.Learner = slices.Contains(c.Cluster.Learners, p.Name)
		for j, text := range p.URLs {
			urls, err := ParseURLs(text) // spelled as the advertised ones are
			if err != nil {
				return nil, fmt.Errorf("--initial-cluster: %w", err)
			}
			p.URLs[j] = urls.String()
			if other, ok := owner[p.URLs[j]]; ok {
				return nil, fmt.Errorf("--initial-cluster: initial cluster %s has duplicate url: %s is that of %q and of %q",
					c.Cluster.Initial, p.URLs[j], other, p.Name)
			}
			owner[p.URLs[j]] = p.Name
		}
	}
	return peers, nil
}

func (c *Config) checkRequests() error {
	r := &c.Requests
	const most = math.MaxInt32 // of what a request and a transaction may hold
	switch {
	case r.MaxTxnOps == 0 || r.MaxTxnOps > most:
		return fmt.Errorf("--max-txn-ops must be between 1 and %d", most)
	case r.MaxRequestBytes == 0 || r.MaxRequestBytes > most:
		return fmt.Errorf("--max-request-bytes must be between 1 and %d", most)
	case r.KeepAliveMinTime < 0 || r.KeepAliveInterval < 0 || r.KeepAliveTimeout < 0 || r.WatchProgress < 0,
		r.SlowApply < 0, r.SlowRequest < 0:
		return errors.New("--grpc-keepalive-*, --watch-progress-notify-interval and --warning-* must not be negative")
	}
	if r.MaxConcurrentStreams == 0 {
		r.MaxConcurrentStreams = math.MaxUint32 // as gRPC takes it
	}
	return nil
}

func (c *Config) checkLog() error {
	l := &c.Log
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
		// Beyond error there is only the line that says why the process ends.
		"panic": slog.LevelError + 1, "fatal": slog.LevelError + 1,
	}
	l.Level = levels[l.level]
	switch {
	case l.logger == "capnslog":
		return errors.New("--logger=capnslog is removed in v3.5")
	case l.logger != "zap":
		return fmt.Errorf("unknown logger option %q", l.logger)
	case l.Format != "json" && l.Format != "console" && l.Format != "text":
		return fmt.Errorf("unknown log format: %s, supported values json, console", l.Format)
	case len(l.Outputs) > 1 && slices.Contains(l.Outputs, "default"):
		return errors.New(`multi logoutput for "default" is not supported yet`)
	}
	if len(l.Outputs) == 0 {
		l.Outputs = []string{"default"}
	}
	for i, output := range l.Outputs {
		switch output {
		case "default":
			l.Outputs[i] = "stderr"
		case "systemd/journal":
			l.Outputs[i] = "stderr"
			c.note(slog.LevelWarn, "an option has no effect", "given", "--log-outputs systemd/journal",
				"why", "under systemd what is written to stderr reaches the journal")
		}
	}
	return l.checkRotation()
}

// errRotated is etcd's.
var errRotated = errors.New("--log-outputs requires a single file path when --log-rotate-config-json is defined")

// checkRotation reads how files are rotated: there must be one, and only one.
func (l *Log) checkRotation() error {
	if !l.rotate {
		return nil
	}
	files := 0
	for _, output := range l.Outputs {
		if output != "stderr" && output != "stdout" {
			files++
		}
	}
	if files != 1 {
		return errRotated
	}
	l.Rotation = new(Rotation)
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	err := json.Unmarshal([]byte(l.rotation), l.Rotation)
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("improperly formatted log rotation config: %w", err)
	case errors.As(err, &mistyped):
		return fmt.Errorf("invalid log rotation config: %w", err)
	case err != nil:
		return fmt.Errorf("fail to unmarshal log rotation config: %w", err)
	}
	return nil
}
