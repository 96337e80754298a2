package zoocfg

import (
	"log/slog"
	"strings"
)

// numberProperties are those of the used ones that Java reads with Integer.getInteger or
// Long.getLong, for which any other text is as good as none.
var numberProperties = []string{
	"admin.serverPort", "admin.rateLimiterIntervalInMS", "jute.maxbuffer", "maxCnxns",
	"znode.container.checkIntervalMs", "znode.container.maxPerMinute", "znode.container.maxNeverUsedIntervalMs",
}

// flagProperties are those that Java reads with Boolean.parseBoolean, for which any other
// text than true is false.
var flagProperties = []string{
	"admin.enableServer", "admin.forceHttps", "admin.needClientAuth", "admin.restore.enabled", "admin.snapshot.enabled",
	"allowSaslFailedClients", "audit.enable", "client.portUnification", "datadir.autocreate",
	"DigestAuthenticationProvider.enabled", "emulate353TTLNodes", "enforce.auth.enabled", "enforceQuota",
	"extendedTypesEnabled", "readonlymode.enabled", "sessionRequireClientSASLAuth", "ssl.allowReverseDnsLookup",
	"ssl.clientHostnameVerification", "ssl.crl", "ssl.hostnameVerification", "ssl.ocsp",
}

// yesNoProperties have words of their own.
var yesNoProperties = []string{"forceSync", "skipACL"}

// noteValues says so when ZooKeeper passes over the value of a property in silence.
func (c *Config) noteValues() {
	for _, kind := range []struct {
		names      []string
		wanted     string
		understood func(text string) bool
	}{
		{numberProperties, "a number", func(text string) bool { return parseJavaInt(text, 0) == parseJavaInt(text, 1) }},
		{flagProperties, "true or false", func(text string) bool { return strings.EqualFold(text, "true") || strings.EqualFold(text, "false") }},
		{yesNoProperties, "yes or no", func(text string) bool { return text == "yes" || text == "no" }},
	} {
		for _, name := range kind.names {
			if text := c.System.Text(name); c.System.Has(name) && !kind.understood(text) {
				c.note(slog.LevelWarn, "the value of a property means nothing, to ZooKeeper neither, and is passed over",
					"property", name, "given", text, "wanted", kind.wanted)
			}
		}
	}
}
