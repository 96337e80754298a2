package zkoracle

import (
	"regexp"
	"slices"
	"strings"
)

// An allowance is a difference between ZooKeeper and Triglot that is no error.
type allowance struct {
	// why says what differs and why that is right.
	why string
	// command, zooKeeper and ours match, as a whole, the command and what each side
	// showed, the lines joined by newlines.
	command, zooKeeper, ours *regexp.Regexp
}

func allow(command, zooKeeper, ours, why string) allowance {
	whole := func(pattern string) *regexp.Regexp { return regexp.MustCompile(`\A(?s:` + pattern + `)\z`) }
	return allowance{why: why, command: whole(command), zooKeeper: whole(zooKeeper), ours: whole(ours)}
}

// Besides these, zxids are compared as relations (clock): Triglot takes none for a
// failed write, a session's beginning, or the end of one that has no ephemerals,
// and ZooKeeper does.
var allowances = []allowance{
	allow(`\S+ (op 20|deleteContainer) .*|\S+ op 20`, `.*`, `Unimplemented\n\S+: closed`,
		"ZooKeeper lets any client delete any empty znode by its internal deleteContainer, whatever the ACL"),
	allow(`\S+ op -10.*`, `.*`, `Unimplemented\n\S+: closed`,
		"createSession is the server's own: there is no such request"),
	allow(`\S+ (setData|create) /zookeeper/config.*`, `.*`, `NoAuth .*`,
		"what is at and below /zookeeper/config is the server's: no key, and nobody's to write"),
	allow(`\S+ reattach .*passwd=.*`, `(refused: [^\n]*)\n\S+: closed`, `refused: [^\n]*`,
		"ZooKeeper closes a session's connection before it looks at the password of who asks for it: anyone can cut it off"),
	allow(`\S+ multi .*acl=null.*`, `MarshallingError`, `\[.*InvalidACL.*\].*`,
		"ZooKeeper cannot decode a multi with a null ACL; Triglot answers as outside of multis"),
	allow(`\S+ (multi )?create \S+ seq.*`, `NodeExists .*|\[NodeExists; .*`, `/p/n-0000000002 .*|\[create /q/n-0000000003; .*`,
		"a sequential create skips numbers whose names are taken, as etcd's clients take any; ZooKeeper fails"),
	allow(`\S+ .*sync "/\\U.*`, `.*"/\\x.*`, `.*/[\x{10000}-\x{10ffff}].*`,
		"ZooKeeper writes a character beyond U+FFFF as two halves that are no UTF-8; no znode's path can hold one"),
	allow(`\S+ op 1 .*ffffffff ffffffff 00000000`, `MarshallingError`, `InvalidACL .*`,
		"an entry without a scheme is no ACL; ZooKeeper fails to compare it with the one ahead of it"),
	allow(`\S+ multiRead (create|check) .*`, `MarshallingError AND 9 BYTES MORE: .*`, `MarshallingError`,
		"ZooKeeper sends an empty list of results behind this error; no other error has a body"),
	allow(`\S+ (config|(exists|getACL) /zookeeper/config).*`, `.*mzxid z0\.1, pzxid 0, version -1, aversion -1.*`, `.*mzxid 0, pzxid 0, version -1, aversion -1.*`,
		"until somebody changes it the configuration is zoo.cfg's, version=0; a ZooKeeper's first leader writes it down in a zxid"),
	allow(`4lw envi`, `Environment:.*os.version.*`, `Environment:.*user.dir=...`,
		"envi has what clients parse, not what is Java's"),
}

// ofSeveral are the further allowances of -members: what a standalone ZooKeeper has not.
var ofSeveral = []allowance{
	allow(`4lw "?(srvr|stat).*`, `.*Mode: standalone.*`, `.*Mode: follower.*`, "one of several follows"),
	allow(`4lw conf`, `.*`, `.*\nserver.1=\.\.\.\nserver.2=.*`, "the configuration names the others"),
}

// configured is what /zookeeper/config shows if it names others: that of a standalone server
// is empty, and of version 0.
var configured = regexp.MustCompile(`(\(\d+ bytes\) )?(\{czxid 0, mzxid 0, pzxid 0), version -1((?:, aversion -?\d+)?), length \d+`)

// asOfOne is what a member shows, as one that is alone would.
func asOfOne(line string) string {
	return configured.ReplaceAllStringFunc(line, func(s string) string {
		m := configured.FindStringSubmatch(s)
		if m[1] != "" {
			return `"" ` + m[2] + m[3]
		}
		return m[2] + m[3]
	})
}

// allowed finds the allowance that covers a difference; nil if none does.
func allowed(command string, zooKeeper, ours []string) *allowance {
	all := allowances
	if *members > 1 {
		all = slices.Concat(allowances, ofSeveral)
		ours = slices.Clone(ours)
		for i := range ours {
			ours[i] = asOfOne(ours[i])
		}
		if slices.Equal(zooKeeper, ours) {
			return &allowance{why: "the configuration names the others"}
		}
	}
	for i := range all {
		a := &all[i]
		if a.command.MatchString(command) && a.zooKeeper.MatchString(strings.Join(zooKeeper, "\n")) && a.ours.MatchString(strings.Join(ours, "\n")) {
			return a
		}
	}
	return nil
}
