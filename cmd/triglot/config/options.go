package config

import "time"

// options is the table of every option, by the group that help shows it under.
var options = [][]option{
	memberOptions, listenOptions, zkOptions, clusterOptions, requestOptions, logOptions,
	securityOptions, discoveryOptions, tuningOptions, retiredOptions, renamedOptions,
}

// Reasons that several rows share.
const (
	noTLS       = "TLS is not supported yet; put a TLS proxy in front, or leave the flag out"
	noDiscovery = "discovery is not supported yet; name this member in --initial-cluster"
	noAuth      = "authentication is not supported yet"
	noEffect    = "it has no counterpart in Triglot's storage"
	noPeers     = "it matters to clusters of several members, which are not supported yet"
	noTracing   = "tracing is not supported yet"
)

var memberOptions = []option{
	{
		name: "name", group: "Member", etcd: "default",
		usage: "name of this member",
		field: func(c *Config) any { return &c.Member.Name },
	},
	{
		name: "data-dir", group: "Member", etcd: "", serve: "./data",
		usage: "directory of the data (in etcd mode by default the name with .etcd behind it)",
		field: func(c *Config) any { return &c.Member.DataDir },
	},
	{
		name: "config-file", group: "Member",
		usage: "YAML file with the same keys as the flags; flags and environment win over it (in etcd mode it replaces them)",
		field: func(c *Config) any { return &c.configFile },
	},
	{
		name: "snapshot-count", group: "Member", etcd: "0",
		usage: "commands that a restart may have to replay; 0 lets the store choose",
		field: func(c *Config) any { return &c.Member.snapshotCount },
	},
	{
		name: "heartbeat-interval", group: "Member", etcd: "100",
		usage: "milliseconds between heartbeats",
		field: func(c *Config) any { return &c.Member.heartbeatMS },
	},
	{
		name: "election-timeout", group: "Member", etcd: "1000",
		usage: "milliseconds without a leader after which one is elected",
		field: func(c *Config) any { return &c.Member.electionMS },
	},
	{
		name: "quota-backend-bytes", group: "Member", etcd: "0",
		usage: "size of the store at which it takes no more; 0 is half of the disk (2 GiB in etcd mode), less than 0 is no limit",
		field: func(c *Config) any { return &c.Member.QuotaBytes },
	},
	{
		name: "auto-compaction-mode", group: "Member", etcd: "periodic", oneOf: []string{"periodic", "revision"},
		usage: "what auto-compaction-retention counts: periodic (time) or revision",
		field: func(c *Config) any { return &c.Member.compactionMode },
	},
	{
		name: "auto-compaction-retention", group: "Member", etcd: "0", serve: "1h",
		usage: "history to keep: a duration (a bare number is hours) or a number of revisions; 0 keeps all of it",
		field: func(c *Config) any { return &c.Member.compactionFor },
	},
}

var listenOptions = []option{
	{
		name: "listen-client-urls", group: "Listeners", etcd: "http://localhost:2379",
		usage: "where clients are served",
		field: func(c *Config) any { return &c.Listen.Client },
	},
	{
		name: "listen-client-http-urls", group: "Listeners",
		usage: "where plain HTTP is served, if not where gRPC is",
		field: func(c *Config) any { return &c.Listen.HTTP },
	},
	{
		name: "listen-metrics-urls", group: "Listeners",
		usage: "where the metrics and the health checks are served as well",
		field: func(c *Config) any { return &c.Listen.Metrics },
	},
	{
		name: "listen-peer-urls", group: "Listeners", etcd: "http://localhost:2380",
		usage: "where other members are served; checked, and not bound while there are none",
		field: func(c *Config) any { return &c.Listen.Peer },
	},
	{
		name: "cors", group: "Listeners", etcd: "*",
		usage: "origins from which a browser may call; * is all",
		field: func(c *Config) any { return &c.Listen.Origins },
	},
	{
		name: "host-whitelist", group: "Listeners", etcd: "*",
		usage: "host names that an HTTP request may be for; * is all",
		field: func(c *Config) any { return &c.Listen.Hosts },
	},
	{
		name: "metrics", group: "Listeners", etcd: "basic", oneOf: []string{"basic", "extensive"},
		usage: "basic, or extensive to add the runtime's own",
		field: func(c *Config) any { return &c.metrics },
	},
	{
		name: "enable-grpc-gateway", group: "Listeners", etcd: "true",
		usage: "serve JSON below /v3 where HTTP is served",
		field: func(c *Config) any { return &c.Listen.Gateway },
	},
	ignoredOption[bool]("socket-reuse-port", "false", "a port belongs to one process"),
	ignoredOption[bool]("socket-reuse-address", "false", "it is always on", "true"),
	ignoredOption[bool]("enable-pprof", "false", "profiles are not served"),
}

// zkOptions are Triglot's own: in etcd mode there is no ZooKeeper listener unless
// one is asked for.
var zkOptions = []option{
	{
		name: "zk-listen", group: "ZooKeeper", etcd: off, serve: "127.0.0.1:2181",
		usage: "host:port where ZooKeeper clients are served, or off",
		field: func(c *Config) any { return &c.ZooKeeper.listen },
	},
	{
		name: "zk-prefix", group: "ZooKeeper", etcd: "/zk",
		usage: "prefix of the keys that are znodes: znode /a is key /zk/a; / makes every key below it one; fixed when the cluster is founded",
		field: func(c *Config) any { return &c.ZooKeeper.prefix },
	},
	{
		name: "zk-tick", group: "ZooKeeper", etcd: "2s",
		usage: "ZooKeeper's tickTime: a session's timeout is 2 to 20 ticks",
		field: func(c *Config) any { return &c.ZooKeeper.Tick },
	},
}

var clusterOptions = []option{
	{
		name: "initial-advertise-peer-urls", group: "Cluster", etcd: "http://localhost:2380",
		usage: "where other members find this one; the member's id follows from it",
		field: func(c *Config) any { return &c.Cluster.AdvertisePeer },
	},
	{
		name: "advertise-client-urls", group: "Cluster", etcd: "http://localhost:2379",
		usage: "where clients find this member (by default where it listens)",
		field: func(c *Config) any { return &c.Cluster.AdvertiseClient },
	},
	{
		name: "initial-cluster", group: "Cluster", etcd: "default=http://localhost:2380",
		usage: "founding members as name=URL,… (by default this member alone)",
		field: func(c *Config) any { return &c.Cluster.Initial },
	},
	{
		name: "initial-cluster-state", group: "Cluster", etcd: "new", oneOf: []string{"new", "existing"},
		usage: "new to found a cluster, existing to join one; only the first start looks at it",
		field: func(c *Config) any { return &c.Cluster.state },
	},
	{
		name: "initial-cluster-token", group: "Cluster", etcd: "etcd-cluster",
		usage: "tells clusters with the same members apart",
		field: func(c *Config) any { return &c.Cluster.Token },
	},
	ignoredOption[bool]("strict-reconfig-check", "true", noPeers),
	ignoredOption[bool]("pre-vote", "true", noPeers),
	ignoredOption[bool]("initial-election-tick-advance", "true", noPeers),
	ignoredOption[int64]("max-learners", "1", noPeers),
	ignoredOption[time.Duration]("raft-read-timeout", "5s", noPeers),
	ignoredOption[time.Duration]("raft-write-timeout", "5s", noPeers),
	ignoredOption[uint64]("snapshot-catchup-entries", "5000", noPeers),
}

var requestOptions = []option{
	{
		name: "max-txn-ops", group: "Requests", etcd: "128",
		usage: "operations in one transaction",
		field: func(c *Config) any { return &c.Requests.MaxTxnOps },
	},
	{
		name: "max-request-bytes", group: "Requests", etcd: "1572864",
		usage: "size of one request",
		field: func(c *Config) any { return &c.Requests.MaxRequestBytes },
	},
	{
		name: "max-concurrent-streams", group: "Requests", etcd: "4294967295",
		usage: "calls at a time on one connection",
		field: func(c *Config) any { return &c.Requests.maxConcurrentStreams },
	},
	{
		name: "grpc-keepalive-min-time", group: "Requests", etcd: "5s",
		usage: "shortest time between a client's pings",
		field: func(c *Config) any { return &c.Requests.KeepAliveMinTime },
	},
	{
		name: "grpc-keepalive-interval", group: "Requests", etcd: "2h",
		usage: "silence after which a client is pinged; 0 is never",
		field: func(c *Config) any { return &c.Requests.KeepAliveInterval },
	},
	{
		name: "grpc-keepalive-timeout", group: "Requests", etcd: "20s",
		usage: "time that a pinged client has to answer; 0 is for ever",
		field: func(c *Config) any { return &c.Requests.KeepAliveTimeout },
	},
	{
		name: "watch-progress-notify-interval", group: "Requests", etcd: "0s", serve: "10m",
		usage: "time between the progress notifications of a quiet watch",
		field: func(c *Config) any { return &c.Requests.WatchProgress },
	},
}

var logOptions = []option{
	{
		name: "log-level", group: "Log", etcd: "info", oneOf: []string{"debug", "info", "warn", "error", "panic", "fatal"},
		usage: "least level that is logged: debug, info, warn, error",
		field: func(c *Config) any { return &c.Log.level },
	},
	{
		name: "log-format", group: "Log", etcd: "json", serve: "text", oneOf: []string{"json", "console", "text"},
		usage: "text, json (etcd's) or console (etcd's)",
		field: func(c *Config) any { return &c.Log.Format },
	},
	{
		name: "log-outputs", group: "Log", etcd: "default",
		usage: "stderr, stdout or files to append to",
		field: func(c *Config) any { return &c.Log.Outputs },
	},
	{
		name: "logger", group: "Log", etcd: "zap", oneOf: []string{"zap"},
		usage: "zap: with --log-format, the form of etcd's log",
		field: func(c *Config) any { return &c.Log.logger },
	},
	ignoredOption[bool]("enable-log-rotation", "false", "rotate the files with logrotate"),
	ignoredOption[string]("log-rotation-config-json",
		`{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}`, "rotate the files with logrotate"),
	ignoredOption[string]("log-package-levels", "", "--log-level is for the whole process"),
}

func ignoredOption[T any](name, etcd, why string, same ...string) option {
	return option{name: name, etcd: etcd, field: discard[T], fate: ignored, why: why, same: same}
}

func refusedOption[T any](name, etcd, why string) option {
	return option{name: name, etcd: etcd, field: discard[T], fate: refused, why: why}
}
