package config

import "time"

// securityOptions protect a server: one that ignored them would let strangers in.
var securityOptions = []option{
	refusedOption[string]("cert-file", "", noTLS),
	refusedOption[string]("key-file", "", noTLS),
	refusedOption[string]("client-cert-file", "", noTLS),
	refusedOption[string]("client-key-file", "", noTLS),
	refusedOption[bool]("client-cert-auth", "false", noTLS),
	refusedOption[string]("client-crl-file", "", noTLS),
	refusedOption[[]string]("client-cert-allowed-hostname", "", noTLS),
	refusedOption[string]("trusted-ca-file", "", noTLS),
	refusedOption[bool]("auto-tls", "false", noTLS),
	refusedOption[string]("peer-cert-file", "", noTLS),
	refusedOption[string]("peer-key-file", "", noTLS),
	refusedOption[string]("peer-client-cert-file", "", noTLS),
	refusedOption[string]("peer-client-key-file", "", noTLS),
	refusedOption[bool]("peer-client-cert-auth", "false", noTLS),
	refusedOption[string]("peer-trusted-ca-file", "", noTLS),
	refusedOption[string]("peer-crl-file", "", noTLS),
	refusedOption[bool]("peer-auto-tls", "false", noTLS),
	refusedOption[[]string]("peer-cert-allowed-cn", "", noTLS),
	refusedOption[[]string]("peer-cert-allowed-hostname", "", noTLS),
	refusedOption[bool]("peer-skip-client-san-verification", "false", noTLS),
	refusedOption[string]("auth-token", "simple", noAuth),

	// Without a certificate these mean nothing, in etcd too.
	ignoredOption[uint64]("self-signed-cert-validity", "1", noTLS),
	ignoredOption[[]string]("cipher-suites", "", noTLS),
	ignoredOption[string]("tls-min-version", "TLS1.2", noTLS),
	ignoredOption[string]("tls-max-version", "", noTLS),
	ignoredOption[uint64]("auth-token-ttl", "300", noAuth),
	ignoredOption[uint64]("bcrypt-cost", "10", noAuth),
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
	ignoredOption[string]("discovery-fallback", "exit", noDiscovery),
}

// tuningOptions turn knobs that Triglot does not have, or not yet.
var tuningOptions = []option{
	refusedOption[string]("wal-dir", "", "a raft log outside of --data-dir is not supported yet"),
	refusedOption[bool]("force-new-cluster", "false", "recovery from the loss of a cluster is not supported yet"),
	ignoredOption[bool]("unsafe-no-fsync", "false", "Triglot always syncs what it acknowledges"),
	ignoredOption[gates]("feature-gates", "", "Triglot has none of etcd's feature gates"),
	ignoredOption[time.Duration]("corrupt-check-time", "0s", noPeers),
	ignoredOption[time.Duration]("compact-hash-check-time", "1m", noPeers),
	ignoredOption[time.Duration]("downgrade-check-time", "5s", noPeers),
	ignoredOption[int64]("compaction-batch-limit", "0", noEffect, "1000"),
	ignoredOption[time.Duration]("compaction-sleep-interval", "0s", noEffect),
	ignoredOption[time.Duration]("warning-apply-duration", "100ms", "slow requests are not logged yet"),
	ignoredOption[time.Duration]("warning-unary-request-duration", "300ms", "slow requests are not logged yet"),
	ignoredOption[string]("backend-bbolt-freelist-type", "", noEffect, "map"),
	ignoredOption[time.Duration]("backend-batch-interval", "0s", noEffect),
	ignoredOption[int64]("backend-batch-limit", "0", noEffect),
	ignoredOption[bool]("memory-mlock", "false", noEffect),
	ignoredOption[uint64]("bootstrap-defrag-threshold-megabytes", "0", noEffect),
	ignoredOption[uint64]("max-snapshots", "5", noEffect),
	ignoredOption[uint64]("max-wals", "5", noEffect),
	ignoredOption[bool]("enable-v2", "false", "etcd's v2 API is gone, in etcd too"),
	ignoredOption[string]("experimental-enable-v2v3", "", "etcd's v2 API is gone, in etcd too"),
	ignoredOption[string]("v2-deprecation", "", "etcd's v2 API is gone, in etcd too"),
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
		name: "experimental-" + name, etcd: etcd, field: discard[bool], fate: ignored, etcdOnly: true,
		why: "Triglot has none of etcd's feature gates, such as " + gate,
	}
}
