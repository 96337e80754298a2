package config

import "time"

// authOptions say how users show who they are.
var authOptions = []option{
	{
		name: "auth-token", group: "Authentication", etcd: "simple",
		usage: "kind of token: simple, or jwt,sign-method=…,priv-key=…,pub-key=…,ttl=…",
		field: func(c *Config) any { return &c.Auth.Token },
	},
	{
		name: "auth-token-ttl", group: "Authentication", etcd: "300",
		usage: "seconds that a simple token lasts without being used",
		field: func(c *Config) any { return &c.Auth.ttlSeconds },
	},
	{
		name: "bcrypt-cost", group: "Authentication", etcd: "10",
		usage: "cost of hashing a password: each step doubles it",
		field: func(c *Config) any { return &c.Auth.bcryptCost },
	},
}

// discoveryOptions find the other members. A member that ignored them would found
// a cluster of its own beside the one it was meant for.
var discoveryOptions = []option{
	refusedOption[string]("discovery", "", noDiscovery),
	refusedOption[[]string]("discovery-endpoints", "", noDiscovery),
	refusedOption[string]("discovery-token", "", noDiscovery),
	refusedOption[string]("discovery-srv", "", noDiscovery),
	refusedOption[string]("discovery-srv-name", "", noDiscovery),
	ignoredOption[time.Duration]("discovery-dial-timeout", "2s", noDiscovery),
	ignoredOption[time.Duration]("discovery-request-timeout", "5s", noDiscovery),
	ignoredOption[time.Duration]("discovery-keepalive-time", "2s", noDiscovery),
	ignoredOption[time.Duration]("discovery-keepalive-timeout", "6s", noDiscovery),
	ignoredOption[bool]("discovery-insecure-transport", "true", noDiscovery),
	ignoredOption[bool]("discovery-insecure-skip-tls-verify", "false", noDiscovery),
	ignoredOption[string]("discovery-cert", "", noDiscovery),
	ignoredOption[string]("discovery-key", "", noDiscovery),
	ignoredOption[string]("discovery-cacert", "", noDiscovery),
	ignoredOption[string]("discovery-user", "", noDiscovery),
	ignoredOption[string]("discovery-password", "", noDiscovery),
	ignoredOption[string]("discovery-proxy", "", noDiscovery),
	{
		name: "discovery-fallback", etcd: "exit", oneOf: []string{"exit", "proxy"}, field: discard[string], fate: refused,
		why: `v2 proxy is deprecated, and --discovery-fallback can't be configured as "proxy"`,
	},
}

// tuningOptions turn knobs that Triglot does not have, or not yet.
var tuningOptions = []option{
	{
		name: "feature-gates", group: "Member",
		usage: "etcd's feature gates as Gate=true,…: LeaseCheckpoint, LeaseCheckpointPersist, InitialCorruptCheck and CompactHashCheck are honoured, the others change nothing",
		field: func(c *Config) any { return &c.Gates },
	},
	ignoredOption[string]("backend-bbolt-freelist-type", "", noEffect, "map"),
	ignoredOption[time.Duration]("backend-batch-interval", "0s", noEffect),
	ignoredOption[int64]("backend-batch-limit", "0", noEffect),
	ignoredOption[bool]("memory-mlock", "false", noEffect),
	ignoredOption[uint64]("max-snapshots", "5", noEffect),
	ignoredOption[uint64]("max-wals", "5", noEffect),
	ignoredOption[bool]("enable-v2", "false", "etcd's v2 API is gone, in etcd too"),
	ignoredOption[string]("experimental-enable-v2v3", "", "etcd's v2 API is gone, in etcd too"),
	{
		name: "v2-deprecation", etcd: "write-only", field: discard[string], fate: ignored, why: "etcd's v2 API is gone, in etcd too",
		oneOf: []string{"write-only", "write-only-skip-check", "write-only-drop-data", "gone"},
	},
	ignoredOption[bool]("enable-distributed-tracing", "false", noTracing),
	ignoredOption[string]("distributed-tracing-address", "localhost:4317", noTracing),
	ignoredOption[string]("distributed-tracing-service-name", "etcd", noTracing),
	ignoredOption[string]("distributed-tracing-instance-id", "", noTracing),
	ignoredOption[int64]("distributed-tracing-sampling-rate", "0", noTracing),
	{
		name: "version", etcd: "false", etcdOnly: true,
		usage: "print the version and exit",
		field: func(c *Config) any { return &c.version },
	},
}

// retiredOptions are flags that etcd 3.7 takes and has not looked at for years.
var retiredOptions = retired("cluster-active-size", "cluster-remove-delay", "cluster-sync-interval", "config", "force",
	"max-result-buffer", "max-retry-attempts", "peer-heartbeat-interval", "peer-election-timeout", "retry-interval",
	"snapshot", "v", "vv", "test.coverprofile", "test.outputdir")

func retired(names ...string) []option {
	var list []option
	for _, name := range names {
		list = append(list, option{
			name: name, field: discard[string], fate: legacy, etcdOnly: true, why: "etcd ignores it too",
		})
	}
	return list
}

// renamedOptions are the names that options had while they were experimental.
// etcd 3.7 stops at them; kubeadm and k3s have written them for years.
var renamedOptions = []option{
	renamed("bootstrap-defrag-threshold-megabytes"),
	renamed("backend-bbolt-freelist-type"),
	renamed("compact-hash-check-time"),
	renamed("compaction-batch-limit"),
	renamed("compaction-sleep-interval"),
	renamed("corrupt-check-time"),
	renamed("distributed-tracing-address"),
	renamed("distributed-tracing-instance-id"),
	renamed("distributed-tracing-sampling-rate"),
	renamed("distributed-tracing-service-name"),
	renamed("downgrade-check-time"),
	renamed("enable-distributed-tracing"),
	renamed("max-learners"),
	renamed("memory-mlock"),
	renamed("peer-skip-client-san-verification"),
	renamed("snapshot-catchup-entries"),
	renamed("warning-apply-duration"),
	renamed("warning-unary-request-duration"),
	renamed("watch-progress-notify-interval"),
	formerGate("compact-hash-check-enabled", "false", "CompactHashCheck"),
	formerGate("enable-lease-checkpoint", "false", "LeaseCheckpoint"),
	formerGate("enable-lease-checkpoint-persist", "false", "LeaseCheckpointPersist"),
	formerGate("initial-corrupt-check", "false", "InitialCorruptCheck"),
	formerGate("set-member-localaddr", "false", "SetMemberLocalAddr"),
	formerGate("stop-grpc-service-on-defrag", "false", "StopGRPCServiceOnDefrag"),
	formerGate("txn-mode-write-with-shared-buffer", "true", "TxnModeWriteWithSharedBuffer"),
}

// renamed is --experimental-name for --name.
func renamed(name string) option {
	return option{name: "experimental-" + name, aliasOf: name, etcdOnly: true}
}

// formerGate is a flag that became a feature gate.
func formerGate(name, etcd, gate string) option {
	return option{
		name: "experimental-" + name, etcd: etcd, field: discard[bool], etcdOnly: true, gate: gate,
		usage: "feature gate " + gate,
	}
}
