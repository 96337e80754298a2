package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"time"
)

// maxElection is etcd's bound on an election timeout, in milliseconds.
const maxElection = 50_000

// check turns what was given into the exported fields and refuses what cannot
// work. Each message says what to change.
func (c *Config) check() error {
	for _, check := range []func() error{
		c.checkMember, c.checkCompaction, c.checkListen, c.checkZooKeeper, c.checkCluster, c.checkRequests, c.checkLog,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	c.Extensive = c.metrics == "extensive"
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
		return errors.New("--heartbeat-interval is 0: it must be at least 1 ms")
	case m.electionMS == 0:
		return errors.New("--election-timeout is 0: it must be at least 5 ms")
	case m.electionMS > maxElection:
		return fmt.Errorf("--election-timeout of %d ms is too long: the most is %d ms", m.electionMS, maxElection)
	case 5*m.heartbeatMS > m.electionMS || m.heartbeatMS > maxElection:
		return fmt.Errorf("--election-timeout of %d ms is too short for --heartbeat-interval of %d ms: it must be at least 5 times as long",
			m.electionMS, m.heartbeatMS)
	}
	m.Heartbeat = time.Duration(m.heartbeatMS) * time.Millisecond
	m.Election = time.Duration(m.electionMS) * time.Millisecond
	m.FlushCommands = m.snapshotCount
	return nil
}

// checkCompaction reads --auto-compaction-retention: a bare number is hours, or
// revisions in that mode.
func (c *Config) checkCompaction() error {
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
		if err := checkListen(l.urls); err != nil {
			return fmt.Errorf("%s: %w", l.flag, err)
		}
	}
	if len(c.Listen.Client) == 0 {
		return errors.New("--listen-client-urls is empty: there must be one address for clients")
	}
	return nil
}

func (c *Config) checkCluster() error {
	c.Cluster.Existing = c.Cluster.state == "existing"
	for _, a := range []struct {
		flag string
		urls URLs
	}{
		{"--initial-advertise-peer-urls", c.Cluster.AdvertisePeer},
		{"--advertise-client-urls", c.Cluster.AdvertiseClient},
	} {
		if err := checkAdvertise(a.urls); err != nil {
			return fmt.Errorf("%s %s: %w", a.flag, a.urls, err)
		}
		if len(a.urls) == 0 {
			return fmt.Errorf("%s is empty: say where this member is found", a.flag)
		}
	}
	return nil
}

func (c *Config) checkRequests() error {
	r := &c.Requests
	const most = math.MaxInt32 // of what a request and a transaction may hold
	switch {
	case r.MaxTxnOps == 0 || r.MaxTxnOps > most:
		return fmt.Errorf("--max-txn-ops must be between 1 and %d", most)
	case r.MaxRequestBytes == 0 || r.MaxRequestBytes > most:
		return fmt.Errorf("--max-request-bytes must be between 1 and %d", most)
	case r.maxConcurrentStreams == 0 || r.maxConcurrentStreams > math.MaxUint32:
		return fmt.Errorf("--max-concurrent-streams must be between 1 and %d", uint32(math.MaxUint32))
	case r.KeepAliveMinTime < 0 || r.KeepAliveInterval < 0 || r.KeepAliveTimeout < 0 || r.WatchProgress < 0:
		return errors.New("--grpc-keepalive-* and --watch-progress-notify-interval must not be negative")
	}
	r.MaxConcurrentStreams = uint32(r.maxConcurrentStreams)
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
	return nil
}
