package zoocfg

import (
	"slices"
	"strings"
)

// effect is what becomes of a property.
type effect uint8

const (
	unknown effect = iota // to ZooKeeper too
	moot                  // ZooKeeper has it, it changes nothing here
	used
)

// effectOf says what a property, named without ZooKeeper's prefix, is good for.
func effectOf(name string) effect {
	has := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	switch {
	case slices.Contains(usedProperties, name), slices.Contains(bare, name):
		return used
	case has("authProvider."), has("superUser."), has("triglot."): // the last are ours
		return used
	case has("ssl.quorum.") && slices.Contains(usedProperties, strings.Replace(name, "quorum.", "", 1)):
		return used
	case slices.Contains(mootProperties, name), has("ssl.quorum."):
		return moot
	}
	return unknown
}

var usedProperties = []string{
	"4lw.commands.whitelist", "admin.commandURL", "admin.enableServer", "admin.forceHttps",
	"admin.rateLimiterIntervalInMS", "admin.restore.enabled", "admin.serverAddress", "admin.serverPort",
	"admin.snapshot.enabled", "admin.needClientAuth",
	"allowSaslFailedClients", "client.portUnification", "datadir.autocreate",
	"DigestAuthenticationProvider.digestAlg", "DigestAuthenticationProvider.enabled", "DigestAuthenticationProvider.superDigest",
	"enforce.auth.enabled", "enforce.auth.schemes", "enforceQuota", "extendedTypesEnabled", "forceSync",
	"audit.enable", "emulate353TTLNodes", "maxCnxns",
	"sasl.serverconfig", "SASLAuthenticationProvider.superPassword", "sessionRequireClientSASLAuth", "skipACL", "superUser",
	"ssl.authProvider", "ssl.ciphersuites", "ssl.clientAuth", "ssl.crl", "ssl.enabledProtocols", "ssl.ocsp", "ssl.protocol",
	"ssl.keyStore.location", "ssl.keyStore.password", "ssl.keyStore.passwordPath", "ssl.keyStore.type",
	"ssl.trustStore.location", "ssl.trustStore.password", "ssl.trustStore.passwordPath", "ssl.trustStore.type",
	"ssl.hostnameVerification", "ssl.clientHostnameVerification", "ssl.allowReverseDnsLookup",
	"X509AuthenticationProvider.superUser",
}

// mootProperties are ZooKeeper 3.9's others: they tune what is made otherwise here,
// concern ensembles of several servers, or clients.
var mootProperties = strings.Fields(`
	IPAuthenticationProvider.usexforwardedfor admin.httpVersion admin.idleTimeout admin.portUnification audit.impl.class bitHashCacheSize
	client.certReload clientTcpKeepAlive closeSessionTxn.enabled cnxTimeout commitLogCount commitProcessor.maxCommitBatchSize
	commitProcessor.maxReadBatchSize commitProcessor.numWorkerThreads commitProcessor.shutdownTimeout
	connection_throttle_decrease_ratio connection_throttle_drop_decrease connection_throttle_drop_increase
	connection_throttle_fill_count connection_throttle_fill_time connection_throttle_freeze_time
	connection_throttle_global_session_weight connection_throttle_local_session_weight
	connection_throttle_renew_session_weight connection_throttle_tokens connection_throttle_weight_enabled
	db.autocreate digest.enabled electionPortBindRetry enableEagerACLCheck ensembleAuthName fastleader.maxNotificationInterval
	fastleader.minNotificationInterval fips-mode flushDelay follower.skipLearnerRequestToNextProcessor forceSnapshotSync
	forward_learner_requests_to_commit_processor_disabled fsync.warningthresholdms intBufferStartingSizeBytes globalOutstandingLimit jmx.log4j.disable
	jmx.log4j.mbean kerberos.canonicalizeHostNames kerberos.minReLoginTimeMs kerberos.removeHostFromPrincipal
	kerberos.removeRealmFromPrincipal kinit largeRequestMaxBytes largeRequestThreshold leader.ackLoggingFrequency
	leader.closeSocketAsync leader.maxConcurrentDiffSyncs leader.maxConcurrentSnapSyncs leader.maxTimeToWaitForEpoch
	leaderConnectDelayDuringRetryMs leaderServes learner.asyncSending learner.closeSocketAsync letAnySaslUserDoX log.dir log.file
	maxBatchSize maxGetChildrenResponseCacheSize maxInProcessingDeadWatchers maxResponseCacheSize maxWriteQueuePollTime
	messageTracker.BufferSize messageTracker.Enabled netty.advancedFlowControl.enabled
	netty.server.earlyDropSecureConnectionHandshakes netty.server.outstandingHandshake.limit nio.directBufferBytes
	nio.numSelectorThreads nio.numWorkerThreads nio.sessionlessCnxnTimeout nio.shutdownTimeout observer.election.DelayMs
	observer.reconnectDelayMs observer.syncEnabled observerMaster.sizeLimit pathStats.delay pathStats.enabled
	pathStats.initialDelay pathStats.maxDepth pathStats.sampleRate pathStats.slotCapacity pathStats.slotDuration
	pathStats.topPathMax preAllocSize quorumCnxnTimeoutMs request.timeout request_stale_connection_check
	request_stale_latency_check request_throttle_drop_stale request_throttle_max_requests request_throttle_stall_time
	request_throttler.shutdownTimeout requireKerberosConfig root.logger security.auth_to_local serializeLastProcessedZxid.enabled
	server.principal server.realm serverCnxnFactory snapCount snapSizeLimitInKb snapshot.compression.method
	snapshot.trust.empty snapshotSizeFactor ssl.context.supplier.class
	ssl.handshakeDetectionTimeoutMillis ssl.sslProvider tcpKeepAlive throttled_op_wait_time txnLogSizeLimitInKb
	watchManagerName watcherCleanIntervalInSeconds watcherCleanThreadsNum watcherCleanThreshold`)
