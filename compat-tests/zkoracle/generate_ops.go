package zkoracle

import (
	"fmt"
	"strings"
)

// The space of paths is small, so that requests meet.
var paths = []string{"/a", "/b", "/a/a", "/a/b", "/a/b/c", "/b/a", "/b/c"}

// oddPaths are illegal, reserved or special.
var oddPaths = []string{
	`""`, "/", "a", "/a/", "//", "/a//b", "/a/.", "/a/../b", `"/a/\x00"`, `"/\u0001"`, `"/\ue000"`, `"/\U0001F600"`,
	"/zookeeper", "/zookeeper/config", "/zookeeper/quota", "/zookeeper/quota/a", "/nosuch/a",
}

// seqPaths are what a number is appended to.
var seqPaths = []string{"/a/n-", "/a/", "/b/n", "/n-", "/nosuch/n-"}

var values = []string{"", `"x"`, `"yy"`, `""`, "null", "fill=5000"}

// rightACLs are well formed; the first ones let most in, so that the tree stays in use.
var rightACLs = []string{
	"open", "u", "u|v", "u|read", "v|read", "creator", "creator|read", "twice", "parts", "read", "ip", "cdrwa:ip:127.0.0.0/8",
	"u|r:ip:127.0.0.1", "cdrwa:ip:10.0.0.1", "rwcd:world:anyone", "cdwa:world:anyone", "ra:world:anyone|u", "c:world:anyone|v",
	"w:world:anyone|u", "d:world:anyone|u", "0:world:anyone|u", "63:world:anyone", "u|u|r:digest:nocolon:x|read", "a:world:anyone",
}

// wrongACLs are none.
var wrongACLs = []string{
	"empty", "null", "unknown", "nobody", "cdrwa:digest:u", "cdrwa:digest:a:b:c", "cdrwa:ip:127.0.0.1/33", "cdrwa:ip:x", "cdrwa:sasl:bob",
	"cdrwa:x509:CN=a", "cdrwa:super:", "open|unknown", "cdrwa::", "cdrwa:world:",
}

// shortBodies are too short for their opcode, or have what must not be there.
var shortBodies = []string{
	"1 0000", "2 00000002 2f61", "3 00000002", "4 00", "5 00000002 2f61 ffffffff", "6 00", "7 00000002 2f61", "8 00000002 2f61", "9 00", "12 00",
	"14 00", "15 00", "17 00", "18 00000002 2f61 00000009", "19 00", "21 00000002 2f61", "22 00", "103 00", "104 00", "106 00000002 2f61",
	"106 00000002 2f61 00000007", "101 00", "105 00", "16 00",
}

// op draws one operation that does not end its connection.
func (g *generator) op() string {
	if g.chance(g.watches) {
		return g.watch()
	}
	switch n := g.IntN(100); {
	case n < 46:
		return g.write()
	case n < 72:
		return g.read()
	case n < 82:
		return g.multi()
	case n < 86:
		return g.setWatches()
	case n < 91:
		return fmt.Sprintf("addWatch %s %s", g.watchable(), pick(g, []string{"persistent", "recursive"}))
	case n < 93:
		return g.multiRead()
	case n < 95 && g.quota:
		return g.quotas()
	default:
		verb := pick(g, []string{"checkWatches", "removeWatches"})
		kind := pick(g, []string{"data", "data", "children", "children", "any", "persistent", "recursive", "persistent", "recursive", "0", "9"})
		return fmt.Sprintf("%s %s %s", verb, g.watchable(), kind)
	}
}

// watch draws what sets a watch and does nothing else.
func (g *generator) watch() string {
	switch n := g.IntN(100); {
	case n < 50:
		return fmt.Sprintf("addWatch %s %s", g.watchable(), pick(g, []string{"persistent", "recursive"}))
	case n < 70:
		return g.setWatches()
	default:
		return pick(g, []string{"exists ", "getData ", "getChildren "}) + g.watchable() + " watch"
	}
}

// auth draws who the connection says it is.
func (g *generator) auth() string {
	switch n := g.IntN(100); {
	case n < 40:
		return `auth digest "u:p"`
	case n < 65:
		return `auth digest "v:q"`
	case n < 75:
		return `auth digest "super:test"`
	case n < 92:
		return "auth " + pick(g, []string{`digest "u:wrong"`, `digest "super:wrong"`, `digest "nocolon"`, `ip ""`, `digest "a:b:c"`, `digest ""`})
	default:
		return "auth " + pick(g, []string{`nosuch "u:p"`, `world "anyone"`, "digest null", `sasl "bob"`, `super "test"`, `x509 "CN=a"`, `"" ""`})
	}
}

// rarity draws what clients seldom or never send. Some of it ends the connection.
func (g *generator) rarity() string {
	switch n := g.IntN(100); {
	case n < 58:
		return "op " + pick(g, shortBodies)
	case n < 68:
		return "sasl " + pick(g, []string{`""`, `"garbage"`, `"username=\"u\""`, "fill=1000", "null"})
	case n < 78:
		return "reconfig " + pick(g, []string{"", "leaving=2", `joining="server.2=127.0.0.1:1:2;3"`, "members=x config=5"})
	default:
		return "op " + pick(g, []string{"0", "10", "23", "99", "108", "500", "-1", "-2", "13 00000002 2f61 ffffffff", "102", "100 00"})
	}
}

func (g *generator) path() string {
	switch n := g.IntN(100); {
	case n < 4:
		return pick(g, oddPaths)
	case n < 12 && len(g.numbered) > 0:
		return pick(g, g.numbered)
	default:
		return pick(g, paths)
	}
}

// watchable is a path, more often one high up.
func (g *generator) watchable() string {
	if g.chance(25) {
		return pick(g, []string{"/", "/a", "/a/b"})
	}
	return g.path()
}

func (g *generator) version() string {
	if g.chance(60) {
		return ""
	}
	return fmt.Sprintf(" %d", g.IntN(5)-1)
}

func (g *generator) value() string {
	if value := pick(g, values); value != "" {
		return " " + value
	}
	return ""
}

// acl draws an ACL other than the open one.
func (g *generator) acl() string {
	if g.chance(12) {
		return pick(g, wrongACLs)
	}
	return pick(g, rightACLs)
}

func (g *generator) create() string {
	verb := pick(g, []string{"create", "create", "create", "create2", "createContainer", "createTTL"})
	path, flags := pick(g, paths), ""
	if g.chance(5) {
		path = pick(g, oddPaths)
	}
	if g.chance(25) {
		path, flags = pick(g, seqPaths), " seq"
	}
	if g.chance(30) {
		flags += " eph"
	}
	switch {
	case verb == "createContainer":
		if flags = ""; strings.HasSuffix(path, "-") {
			path = pick(g, paths)
		}
	case verb == "createTTL":
		flags = strings.TrimSuffix(flags, " eph") + " ttl=" + pick(g, []string{"100000000", "1099511627775", "0", "-1", "1099511627776"})
		if g.chance(5) {
			flags = " flags=" + pick(g, []string{"0", "1", "2", "3", "4", "7"}) + " ttl=100000000"
		}
	case g.chance(2):
		flags = " flags=" + pick(g, []string{"4", "5", "6", "7", "-1", "99"})
	}
	if g.chance(g.acls) {
		flags += " acl=" + g.acl()
	}
	return verb + " " + path + g.value() + flags
}

func (g *generator) write() string {
	switch n := g.IntN(100); {
	case n < 45:
		return g.create()
	case n < 75:
		return "delete " + g.path() + g.version()
	case n < 85:
		return g.setACL()
	default:
		return g.setData()
	}
}

// setData spares what only Triglot keeps for itself; see allow.go.
func (g *generator) setData() string {
	path := g.path()
	if path == "/zookeeper/config" {
		path = "/zookeeper"
	}
	return "setData " + path + g.value() + g.version()
}

// setACL spares the root, which every connection reads after each command.
func (g *generator) setACL() string {
	path := g.path()
	if path == "/" || path == `""` || strings.HasPrefix(path, "/zookeeper") {
		path = "/a"
	}
	acl := "open"
	if g.chance(60) {
		acl = g.acl()
	}
	return "setACL " + path + " " + acl + g.version()
}

func (g *generator) multi() string {
	ops := make([]string, g.IntN(5))
	for i := range ops {
		ops[i] = g.subOp()
	}
	return strings.TrimSpace("multi " + strings.Join(ops, " ; "))
}

// subOp is an operation of a multi; rarely one that may not be there.
func (g *generator) subOp() string {
	switch n := g.IntN(100); {
	case n < 35:
		return g.create()
	case n < 60:
		return "delete " + g.path() + g.version()
	case n < 78:
		return g.setData()
	case n < 98:
		return "check " + g.path() + g.version()
	default:
		return pick(g, []string{"getData /a", "setACL /a open", "exists /a", "sync /", "op 99", "deleteContainer /a", "multi"})
	}
}

func (g *generator) multiRead() string {
	ops := make([]string, g.IntN(4))
	for i := range ops {
		ops[i] = pick(g, []string{"getData ", "getChildren "}) + g.path()
		if g.chance(10) {
			ops[i] += " watch"
		}
	}
	if g.chance(3) {
		ops = append(ops, "exists /a")
	}
	return strings.TrimSpace("multiRead " + strings.Join(ops, " ; "))
}

func (g *generator) read() string {
	switch n := g.IntN(100); {
	case n < 12:
		return "getACL " + g.path()
	case n < 15:
		return "sync " + g.path()
	case n < 17:
		return "ping"
	case n < 20:
		return "whoAmI"
	case n < 24:
		return "getEphemerals " + pick(g, []string{`""`, "/", "/a", "/a/", "/b/n", "/nosuch", "a"})
	case n < 28:
		return "getAllChildrenNumber " + g.path()
	}
	line := pick(g, []string{"exists", "exists", "getData", "getData", "getChildren", "getChildren2"}) + " " + g.path()
	if g.chance(60) {
		line += " watch"
	}
	return line
}

func (g *generator) setWatches() string {
	verb, kinds := "setWatches", []string{"data", "exist", "child"}
	if g.chance(50) {
		verb, kinds = "setWatches2", append(kinds, "persistent", "recursive")
	}
	line := fmt.Sprintf("%s z%d", verb, g.IntN(g.writes+1))
	if g.chance(30) {
		line = verb + " last"
	}
	for _, kind := range kinds {
		var some []string
		for range g.IntN(4) {
			some = append(some, pick(g, paths))
		}
		if len(some) > 0 {
			line += " " + kind + "=" + strings.Join(some, ",")
		}
	}
	return line
}

// quotas draws what sets quotas of /a and /b, as setquota of zkCli does, and reads what
// they count.
func (g *generator) quotas() string {
	on := "/zookeeper/quota" + pick(g, []string{"/a", "/b"})
	limits := fmt.Sprintf(`"count=%d,bytes=%d=;byteHardLimit=%d;countHardLimit=%d"`,
		g.IntN(5)-1, g.IntN(20)-1, pick(g, []int{-1, -1, 10, 6000}), pick(g, []int{-1, -1, 2, 4}))
	switch n := g.IntN(100); {
	case n < 30:
		return fmt.Sprintf(`multi create %s ; create %s/zookeeper_limits %s ; create %s/zookeeper_stats "count=0,bytes=0"`, on, on, limits, on)
	case n < 40:
		return fmt.Sprintf("multi delete %s/zookeeper_stats ; delete %s/zookeeper_limits ; delete %s", on, on, on)
	case n < 55:
		return fmt.Sprintf("setData %s/zookeeper_limits %s", on, limits)
	default:
		return "getData " + on + "/zookeeper_stats"
	}
}
