package config

// zkOptions are Triglot's own: in etcd mode there is no ZooKeeper listener unless
// one is asked for. What ZooKeeper calls each is named, for those who look for it.
var zkOptions = []option{
	{
		name: "zk-listen", group: "ZooKeeper", etcd: off, serve: "127.0.0.1:2181",
		usage: "host:port where ZooKeeper clients are served, or off",
		field: func(c *Config) any { return &c.ZooKeeper.given.listen },
	},
	{
		name: "zk-secure-listen", group: "ZooKeeper", etcd: off,
		usage: "host:port where ZooKeeper clients are served with TLS, or off (secureClientPort)",
		field: func(c *Config) any { return &c.ZooKeeper.given.secure },
	},
	{
		name: "zk-prefix", group: "ZooKeeper", etcd: "/zk",
		usage: "prefix of the keys that are znodes: znode /a is key /zk/a; / makes every key below it one; fixed when the cluster is founded",
		field: func(c *Config) any { return &c.ZooKeeper.given.prefix },
	},
	{
		name: "zk-tick", group: "ZooKeeper", etcd: "2s",
		usage: "ZooKeeper's tickTime: a session's timeout is 2 to 20 ticks",
		field: func(c *Config) any { return &c.ZooKeeper.Limits.Tick },
	},
	{
		name: "zk-min-session-timeout", group: "ZooKeeper", etcd: "0s",
		usage: "shortest timeout of a session; 0 is 2 ticks (minSessionTimeout)",
		field: func(c *Config) any { return &c.ZooKeeper.Limits.MinSession },
	},
	{
		name: "zk-max-session-timeout", group: "ZooKeeper", etcd: "0s",
		usage: "longest timeout of a session; 0 is 20 ticks (maxSessionTimeout)",
		field: func(c *Config) any { return &c.ZooKeeper.Limits.MaxSession },
	},
	{
		name: "zk-max-client-cnxns", group: "ZooKeeper", etcd: "0",
		usage: "connections that one address may have; 0 is no limit (maxClientCnxns)",
		field: func(c *Config) any { return &c.ZooKeeper.given.maxPerIP },
	},
	{
		name: "zk-max-cnxns", group: "ZooKeeper", etcd: "0",
		usage: "connections of all addresses; 0 is no limit (maxCnxns)",
		field: func(c *Config) any { return &c.ZooKeeper.given.maxConns },
	},
	{
		name: "zk-max-buffer", group: "ZooKeeper", etcd: "0",
		usage: "bytes of the largest request; 0 is 1048575 (jute.maxbuffer)",
		field: func(c *Config) any { return &c.ZooKeeper.given.maxFrame },
	},
	{
		name: "zk-4lw-whitelist", group: "ZooKeeper",
		usage: "four-letter words that are answered, or *; by default srvr alone (4lw.commands.whitelist)",
		field: func(c *Config) any { return &c.ZooKeeper.Words },
	},
	{
		name: "zk-extended-types", group: "ZooKeeper", etcd: "false",
		usage: "allow znodes with a time to live (extendedTypesEnabled)",
		field: func(c *Config) any { return &c.ZooKeeper.Features.ExtendedTypes },
	},
	{
		name: "zk-enforce-quota", group: "ZooKeeper", etcd: "false",
		usage: "refuse what exceeds a hard quota (enforceQuota)",
		field: func(c *Config) any { return &c.ZooKeeper.Features.EnforceQuota },
	},
	{
		name: "zk-read-only", group: "ZooKeeper", etcd: "false",
		usage: "serve clients that ask for it while there is no quorum (readonlymode.enabled)",
		field: func(c *Config) any { return &c.ZooKeeper.Features.ReadOnly },
	},
	{
		name: "zk-superdigest-file", group: "ZooKeeper",
		usage: "file with the digest of the user that may do everything, such as super:<base64> (DigestAuthenticationProvider.superDigest)",
		field: func(c *Config) any { return &c.ZooKeeper.given.superDigestFile },
	},
	{
		name: "zk-jaas", group: "ZooKeeper",
		usage: "file with the users of SASL: a login configuration of Java's (java.security.auth.login.config), or YAML with users: {NAME: PASSWORD}",
		field: func(c *Config) any { return &c.ZooKeeper.given.jaas },
	},
	{
		name: "zk-require-sasl", group: "ZooKeeper", etcd: "false",
		usage: "turn away clients that do not authenticate by SASL (sessionRequireClientSASLAuth)",
		field: func(c *Config) any { return &c.ZooKeeper.Security.RequireSASL },
	},
	{
		name: "zk-acl-over-etcd", group: "ZooKeeper", etcd: "deny", oneOf: []string{"deny", "hide", "off"},
		usage: "what etcd's and HTTP's clients get of znodes that their ACLs keep from them: deny is an error, hide is nothing, off is everything; the cluster keeps it until one is given",
		field: func(c *Config) any { return &c.ZooKeeper.given.aclOverEtcd },
	},
	{
		name: "zk-admin-listen", group: "ZooKeeper", etcd: off,
		usage: "host:port where ZooKeeper's AdminServer is served, or off (admin.serverPort)",
		field: func(c *Config) any { return &c.ZooKeeper.given.admin },
	},
	{
		name: "zk-metrics-listen", group: "ZooKeeper", etcd: off,
		usage: "host:port where metrics are served under ZooKeeper's names, or off (metricsProvider.httpPort)",
		field: func(c *Config) any { return &c.ZooKeeper.given.metrics },
	},
	{
		name: "admin-socket", group: "Listeners", etcd: AdminSocketInData,
		usage: "socket where gRPC is served as the member itself, to whoever may open the file; auto is admin.sock in the data directory, off is none",
		field: func(c *Config) any { return &c.Listen.AdminSocket },
	},
}
