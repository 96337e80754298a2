package config

import "time"

// options is the table of every option, by the group that help shows it under.
var options = [][]option{
	memberOptions, listenOptions, zkOptions, clusterOptions, requestOptions, logOptions,
	tlsOptions, peerTLSOptions, authOptions, discoveryOptions, tuningOptions, retiredOptions, renamedOptions,
}

// Reasons that several rows share.
const (
	noDiscovery = "discovery is not supported yet; name this member in --initial-cluster"
	noEffect    = "it has no counterpart in Triglot's storage"
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
		name: "wal-dir", group: "Member",
		usage: "directory of the raft log, if it is not to be in the data directory; the same for as long as the member lives",
		field: func(c *Config) any { return &c.Member.WALDir },
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
		name: "auto-compaction-mode", group: "Member", etcd: "periodic",
		usage: "what auto-compaction-retention counts: periodic (time) or revision",
		field: func(c *Config) any { return &c.Member.compactionMode },
	},
	{
		name: "auto-compaction-retention", group: "Member", etcd: "0", serve: "1h",
		usage: "history to keep: a duration (a bare number is hours) or a number of revisions; 0 keeps all of it",
		field: func(c *Config) any { return &c.Member.compactionFor },
	},
	{
		name: "compaction-batch-limit", group: "Member", etcd: "0",
		usage: "rows of compacted history that are removed at a time; 0 is 40",
		field: func(c *Config) any { return &c.Member.Storage.BatchRows },
	},
	{
		name: "compaction-sleep-interval", group: "Member", etcd: "0s",
		usage: "pause after each of them; 0 is three times what they took, after half a millisecond of them",
		field: func(c *Config) any { return &c.Member.Storage.Pause },
	},
	{
		name: "unsafe-no-fsync", group: "Member", etcd: "false",
		usage: "do not sync the raft log: a power failure may take what was acknowledged",
		field: func(c *Config) any { return &c.Member.Storage.NoSync },
	},
	{
		name: "bootstrap-defrag-threshold-megabytes", group: "Member", etcd: "0",
		usage: "space to be won from which etcd defragments at the start; Triglot has nothing to defragment, and its log says so",
		field: func(c *Config) any { return &c.Member.Storage.defragMegabytes },
	},
	{
		name: "low-disk-bytes", group: "Member", etcd: "0",
		usage: "room on the disk below which the NOSPACE alarm is raised; 0 is a twentieth of the disk, between 48 and 256 MiB, and less than 0 never (Triglot's own)",
		field: func(c *Config) any { return &c.Member.Storage.LowDiskBytes },
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
		usage: "where other members are served",
		field: func(c *Config) any { return &c.Listen.Peer },
	},
	{
		name: "cors", group: "Listeners", etcd: "*",
		usage: "origins from which a browser may call; * is all",
		field: func(c *Config) any { return &c.Listen.Origins }, valid: checkOrigins,
	},
	{
		name: "host-whitelist", group: "Listeners", etcd: "*",
		usage: "host names that an HTTP request may be for; * is all",
		field: func(c *Config) any { return &c.Listen.Hosts },
	},
	{
		name: "metrics", group: "Listeners", etcd: "basic",
		usage: "basic, or extensive to add the runtime's own",
		field: func(c *Config) any { return &c.metrics },
	},
	{
		name: "enable-grpc-gateway", group: "Listeners", etcd: "true",
		usage: "serve JSON below /v3 where HTTP is served",
		field: func(c *Config) any { return &c.Listen.Gateway },
	},
	{
		name: "socket-reuse-port", group: "Listeners", etcd: "false",
		usage: "let other processes listen on the same ports (SO_REUSEPORT)",
		field: func(c *Config) any { return &c.Listen.ReusePort },
	},
	{
		name: "socket-reuse-address", group: "Listeners", etcd: "false",
		usage: "listen on ports that connections of the past still use (SO_REUSEADDR); always on",
		field: discard[bool],
	},
	{
		name: "enable-pprof", group: "Listeners", etcd: "false",
		usage: "serve profiles below /debug/pprof/ where HTTP is served",
		field: func(c *Config) any { return &c.Listen.Pprof },
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
	{
		name: "force-new-cluster", group: "Cluster", etcd: "false",
		usage: "go on as a cluster of this member alone, with all that it has: for when the others are lost",
		field: func(c *Config) any { return &c.Cluster.ForceNew },
	},
	{
		name: "strict-reconfig-check", group: "Cluster", etcd: "true",
		usage: "refuse changes of the membership that would lose the quorum",
		field: func(c *Config) any { return &c.Cluster.Members.Strict },
	},
	{
		name: "max-learners", group: "Cluster", etcd: "1",
		usage: "members that learn at a time; 0 is none",
		field: func(c *Config) any { return &c.Cluster.Members.MaxLearners },
	},
	{
		name: "observer", group: "Cluster", etcd: "false",
		usage: "serve clients although this member is a learner: reads that need not be the latest, watches, ZooKeeper's sessions (Triglot's own)",
		field: func(c *Config) any { return &c.Cluster.Members.Observer },
	},
	ignoredOption[bool]("pre-vote", "true", "whether an election could be won is always asked before it is held: a member that was cut off must not disturb the others"),
	{
		name: "initial-election-tick-advance", group: "Cluster", etcd: "true",
		usage: "hold the first election early",
		field: func(c *Config) any { return &c.Cluster.Raft.EarlyElection },
	},
	{
		name: "raft-read-timeout", group: "Cluster", etcd: "5s",
		usage: "silence of a peer's connection after which it is closed",
		field: func(c *Config) any { return &c.Cluster.Raft.ReadTimeout },
	},
	{
		name: "raft-write-timeout", group: "Cluster", etcd: "5s",
		usage: "time that a message to a peer may take",
		field: func(c *Config) any { return &c.Cluster.Raft.WriteTimeout },
	},
	{
		name: "snapshot-catchup-entries", group: "Cluster", etcd: "5000", serve: "0",
		usage: "entries of the log kept for members that are behind; 0 is 5000, and more while they are small",
		field: func(c *Config) any { return &c.Cluster.Raft.CatchUpEntries },
	},
	{
		name: "snapshot-transfer-rate", group: "Cluster", etcd: "0",
		usage: "bytes a second with which the state is sent to members that are far behind; 0 is 64 MiB, negative is no limit (Triglot's own)",
		field: func(c *Config) any { return &c.Cluster.Raft.TransferRate },
	},
	{
		name: "corrupt-check-time", group: "Cluster", etcd: "0s",
		usage: "time between comparisons with the other members; 0 is never",
		field: func(c *Config) any { return &c.Cluster.Checks.Corrupt },
	},
	{
		name: "compact-hash-check-time", group: "Cluster", etcd: "1m",
		usage: "time between comparisons of compacted history with the other members, if the gate CompactHashCheck is on",
		field: func(c *Config) any { return &c.Cluster.Checks.CompactHash },
	},
	{
		name: "downgrade-check-time", group: "Cluster", etcd: "5s",
		usage: "time between looks at the progress of a downgrade; it is looked at when a member starts here",
		field: discard[time.Duration],
	},
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
		usage: "calls at a time on one connection; 0 is no limit",
		field: func(c *Config) any { return &c.Requests.MaxConcurrentStreams },
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
	{
		name: "warning-apply-duration", group: "Requests", etcd: "100ms",
		usage: "time that applying requests may take before the log says so; 0 is any",
		field: func(c *Config) any { return &c.Requests.SlowApply },
	},
	{
		name: "warning-unary-request-duration", group: "Requests", etcd: "300ms",
		usage: "time that a request may take before the log says so; 0 is 300ms",
		field: func(c *Config) any { return &c.Requests.SlowRequest },
	},
}

var logOptions = []option{
	{
		name: "log-level", group: "Log", etcd: "info", oneOf: []string{"debug", "info", "warn", "error", "panic", "fatal"},
		usage: "least level that is logged: debug, info, warn, error",
		field: func(c *Config) any { return &c.Log.level },
	},
	{
		name: "log-format", group: "Log", etcd: "json", serve: "text",
		usage: "text, json (etcd's) or console (etcd's)",
		field: func(c *Config) any { return &c.Log.Format },
	},
	{
		name: "log-outputs", group: "Log", etcd: "default",
		usage: "stderr, stdout or files to append to",
		field: func(c *Config) any { return &c.Log.Outputs },
	},
	{
		name: "logger", group: "Log", etcd: "zap",
		usage: "zap: with --log-format, the form of etcd's log",
		field: func(c *Config) any { return &c.Log.logger },
	},
	{
		name: "enable-log-rotation", group: "Log", etcd: "false",
		usage: "begin a new file when the one of log-outputs is large",
		field: func(c *Config) any { return &c.Log.rotate },
	},
	{
		name: "log-rotation-config-json", group: "Log",
		etcd:  `{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}`,
		usage: "how log files are rotated: maxsize in MB, maxage in days, maxbackups, localtime, compress",
		field: func(c *Config) any { return &c.Log.rotation },
	},
	ignoredOption[string]("log-package-levels", "", "--log-level is for the whole process"),
}

func ignoredOption[T any](name, etcd, why string, same ...string) option {
	return option{name: name, etcd: etcd, field: discard[T], fate: ignored, why: why, same: same}
}

func refusedOption[T any](name, etcd, why string) option {
	return option{name: name, etcd: etcd, field: discard[T], fate: refused, why: why}
}
