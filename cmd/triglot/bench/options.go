package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/cmd/triglot/bench/etcdload"
	"github.com/triglot/triglot/cmd/triglot/config"
)

// options are the command line of triglot bench.
type options struct {
	load, protocol string
	endpoints      []string
	pace           drive.Pace
	connections    int
	keys           int
	keyPrefix      string
	valueBytes     int
	readShare      float64
	limit          int64
	fill           bool
	giveUp         time.Duration
	watch          watchOptions
	servers        serverOptions
	out            outputOptions
	// given are the flags as they are in force, for the report, and notes say what of them is not.
	given map[string]string
	notes []string
}

type watchOptions struct {
	watchers, streams    int
	fromRevision, behind int64
}

type serverOptions struct {
	pids  []int
	grace time.Duration
}

type outputOptions struct {
	json, html string
	quiet      bool
}

func (o *options) define(fs *pflag.FlagSet) {
	fs.StringVar(&o.protocol, "protocol", "", "etcd, zookeeper or http (the JSON gateway); if empty, the first of them that has the load")
	fs.StringSliceVar(&o.endpoints, "endpoints", nil, "host:port of servers; connections are spread over them in turn (default 127.0.0.1 with the protocol's usual port)")
	fs.IntVar(&o.pace.Clients, "clients", 1, "how many calls are under way at once, at most")
	fs.IntVar(&o.connections, "connections", 0, "connections, or ZooKeeper sessions (default 10, or as many as clients if those are fewer; http: as many as clients; watch-storm: one more than watchers, always)")
	fs.Int64Var(&o.pace.Ops, "ops", 0, "how many calls to make; of watches, how many writes, or catch-ups")
	fs.DurationVar(&o.pace.Duration, "duration", 0, "how long to make calls, instead of --ops (default 10s)")
	fs.Float64Var(&o.pace.Rate, "rate", 0, "open loop: begin so many calls a second at random times, and count latencies from then; 0 is a closed loop")
	fs.DurationVar(&o.giveUp, "give-up", usualPatience, "end the load when nothing was answered for so long; a single call may take longer if it reads many millions of keys")
	fs.Uint64Var(&o.pace.Seed, "seed", 1, "what chance begins with: the same seed makes the same calls")
	fs.IntVar(&o.keys, "keys", 10_000, "how many keys, or znodes, there are")
	fs.StringVar(&o.keyPrefix, "key-prefix", "bench/", "what keys begin with; of ZooKeeper, the znode that has them")
	fs.IntVar(&o.valueBytes, "value-bytes", 256, "length of a value")
	fs.BoolVar(&o.fill, "fill", false, "only write all keys once, with many callers; --ops, --duration and --rate do not count then")
	fs.Float64Var(&o.readShare, "read-share", 0.9, "mix: the share of reads, 0 to 1")
	fs.Int64Var(&o.limit, "limit", defaultLimit, "range, range-stream: rows of an answer, 0 for all keys (range-stream: default 0)")
	fs.IntVar(&o.watch.watchers, "watchers", 100, "watch-fanout, watch-keys, watch-storm: how many watch")
	fs.IntVar(&o.watch.streams, "streams", 10, "watch-latency, watch-fanout, watch-keys: streams, over which the watches are spread")
	fs.Int64Var(&o.watch.behind, "behind", 0, "watch-catchup: how many revisions a watch has to catch up with (default as many as keys)")
	fs.Int64Var(&o.watch.fromRevision, "from-revision", 0, "watch-catchup: the revision to begin with, instead of --behind")
	fs.IntSliceVar(&o.servers.pids, "pids", nil, "server processes of this host, whose CPU, memory and disk are measured")
	fs.DurationVar(&o.servers.grace, "grace", 5*time.Second, "how long to wait at most for those to be quiet after the load: what they use until then is counted as later")
	fs.StringVar(&o.out.json, "json", "", "write the result to this file as JSON; - is standard output, instead of the table")
	fs.StringVar(&o.out.html, "html", "", "write a report with charts to this file")
	fs.BoolVar(&o.out.quiet, "quiet", false, "show no progress")
	fs.SortFlags = false
}

const (
	// defaultLimit is the page of Kubernetes' lists.
	defaultLimit     = 500
	defaultDuration  = 10 * time.Second
	usualConnections = 10
	// fillers is how many callers write all keys.
	fillers = 500
	// minRate is a call in a quarter of an hour. Of much smaller rates the gaps between
	// calls are longer than a time.Duration holds.
	minRate = 1e-3
	// maxRate is a call in a tenth of a microsecond, more than one client begins. Of much
	// larger rates the gaps are rounded to nothing, and a load for a time never ends.
	maxRate = 1e7
	// longestGap is how many times the mean gap between the calls of an open loop none is
	// longer than, in e^20 calls.
	longestGap = 20
)

// onlyFor says which loads a flag is for, if it is not for all.
var onlyFor = map[string][]string{
	"read-share":    {"mix"},
	"limit":         {"range", "range-stream"},
	"watchers":      {"watch-fanout", "watch-keys", "watch-storm"},
	"streams":       {"watch-latency", "watch-fanout", "watch-keys"},
	"behind":        {"watch-catchup"},
	"from-revision": {"watch-catchup"},
}

func usageError(format string, args ...any) error {
	return &config.UsageError{Err: fmt.Errorf(format, args...)}
}

// complete checks what was asked for, and decides what was not.
func (o *options) complete(fs *pflag.FlagSet, load string) error {
	o.load = load
	if err := o.findLoad(); err != nil {
		return err
	}
	var errs []error
	fs.Visit(func(f *pflag.Flag) {
		if loads := onlyFor[f.Name]; loads != nil && !slices.Contains(loads, load) {
			errs = append(errs, usageError("--%s is for %s, not for %s", f.Name, strings.Join(loads, ", "), load))
		}
	})
	if err := errors.Join(append(errs, o.check())...); err != nil {
		return &config.UsageError{Err: err}
	}
	if load == "range-stream" && !fs.Changed("limit") {
		o.limit = 0
	}
	o.decide()
	if err := o.checkLoad(); err != nil {
		return err
	}
	o.given = map[string]string{}
	fs.VisitAll(func(f *pflag.Flag) { o.given[f.Name] = f.Value.String() })
	return nil
}

// findLoad finds the protocol of the load.
func (o *options) findLoad() error {
	if o.protocol == "" {
		for i := range protocols {
			if slices.Contains(protocols[i].loads, o.load) {
				o.protocol = protocols[i].name
				return nil
			}
		}
		return usageError("there is no load %q%s", o.load, config.DidYouMean(o.load, allLoads(), "triglot bench "))
	}
	p := protocolOf(o.protocol)
	if p == nil {
		return usageError("--protocol %q is not one of etcd, zookeeper, http", o.protocol)
	}
	if !slices.Contains(p.loads, o.load) {
		return usageError("--protocol %s has no load %q: it has %s", o.protocol, o.load, strings.Join(p.loads, ", "))
	}
	return nil
}

// check refuses what is wrong for any load.
func (o *options) check() error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	atLeast := func(flag string, value, least int64) {
		refuse(value < least, "--%s %d is less than %d", flag, value, least)
	}
	atLeast("clients", int64(o.pace.Clients), 1)
	atLeast("connections", int64(o.connections), 0)
	atLeast("ops", o.pace.Ops, 0)
	atLeast("keys", int64(o.keys), 1)
	atLeast("value-bytes", int64(o.valueBytes), 0)
	atLeast("limit", o.limit, 0)
	atLeast("watchers", int64(o.watch.watchers), 1)
	atLeast("streams", int64(o.watch.streams), 1)
	atLeast("behind", o.watch.behind, 0)
	atLeast("from-revision", o.watch.fromRevision, 0)
	refuse(o.pace.Duration < 0, "--duration %v is negative", o.pace.Duration)
	refuse(o.giveUp < lookEvery, "--give-up %v is less than %v", o.giveUp, lookEvery)
	refuse(o.servers.grace < 0, "--grace %v is negative", o.servers.grace)
	refuse(o.pace.Rate != 0 && !(o.pace.Rate >= minRate && o.pace.Rate <= maxRate),
		"--rate %v is neither 0 nor between %v and %v", o.pace.Rate, minRate, maxRate)
	refuse(!(o.readShare >= 0 && o.readShare <= 1), "--read-share %v is not between 0 and 1", o.readShare)
	refuse(o.pace.Ops > 0 && o.pace.Duration > 0, "--ops and --duration exclude each other")
	refuse(o.watch.behind > 0 && o.watch.fromRevision > 0, "--behind and --from-revision exclude each other")
	refuse(strings.Trim(o.keyPrefix, "/") == "", "--key-prefix %q names nothing", o.keyPrefix)
	for _, pid := range o.servers.pids {
		atLeast("pids", int64(pid), 1)
	}
	for i, endpoint := range o.endpoints {
		endpoint = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(endpoint), "http://"), "/")
		refuse(!strings.Contains(endpoint, ":") || strings.Contains(endpoint, "://"), "--endpoints %q is not host:port", endpoint)
		o.endpoints[i] = endpoint
	}
	return errors.Join(errs...)
}

// decide sets what was not given.
func (o *options) decide() {
	if len(o.endpoints) == 0 {
		o.endpoints = []string{"127.0.0.1:" + protocolOf(o.protocol).port}
	}
	if o.pace.Ops == 0 && o.pace.Duration == 0 {
		o.pace.Duration = defaultDuration
	}
	if o.fill {
		o.pace = drive.Pace{Clients: max(o.pace.Clients, fillers), Ops: int64(o.keys), Seed: o.pace.Seed}
	}
	if o.load == "watch-storm" && !o.fill {
		o.decideSessions()
	}
	if o.connections == 0 {
		o.connections = o.pace.Clients
		if o.protocol != "http" || o.fill {
			o.connections = min(o.connections, usualConnections)
		}
	}
	if o.watch.behind == 0 && o.watch.fromRevision == 0 {
		o.watch.behind = int64(o.keys)
	}
}

// decideSessions gives each watcher of a watch storm a session, and one to the client that sets.
func (o *options) decideSessions() {
	sessions := 1 + o.watch.watchers
	if o.connections != 0 && o.connections != sessions {
		o.notes = append(o.notes, fmt.Sprintf("watch-storm has %d sessions instead of %d --connections: one for each watcher, and one that sets",
			sessions, o.connections))
	}
	o.connections = sessions
}

// patience is how long nothing may be answered. Of an open loop there may be nothing to answer.
func (o *options) patience() time.Duration {
	if o.pace.Rate == 0 {
		return o.giveUp
	}
	return max(o.giveUp, time.Duration(longestGap/o.pace.Rate*float64(time.Second)))
}

// checkLoad refuses what the load cannot do.
func (o *options) checkLoad() error {
	switch {
	case o.fill:
	case o.load == "txn" && o.pace.Clients > o.keys:
		return usageError("--clients %d: txn has each key written by one client, so there are to be as many --keys", o.pace.Clients)
	case o.load == "watch-storm" && o.pace.Clients > 1:
		return usageError("--clients %d: watch-storm has one, which sets the znode when all watch it again", o.pace.Clients)
	case slices.Contains(stamped, o.load) && o.valueBytes < etcdload.MinWatchedBytes:
		return usageError("--value-bytes %d: %s writes the time into the value, which takes %d", o.valueBytes, o.load, etcdload.MinWatchedBytes)
	}
	return nil
}
