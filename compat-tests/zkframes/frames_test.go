package zkframes

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/zkserver"
)

// zooKeeper and triglot are where the two servers listen.
var zooKeeper, triglot string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	zk, err := zkserver.Start(ctx, zkserver.Options{NoSync: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ours, err := zkserver.Start(ctx, zkserver.Options{Triglot: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err, zk.Stop())
		return 1
	}
	zooKeeper, triglot = zk.Endpoint(), ours.Endpoint()
	code := m.Run()
	for _, err := range []error{zk.Stop(), ours.Stop()} {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// onPurpose are the differences that are meant.
var onPurpose = map[string]string{
	"sync astral": "ZooKeeper answers a character beyond the basic plane as two surrogates, which nobody can read",

	"createTTL null":                       "a path of null is refused ahead of all else; ZooKeeper looks at flags and ttl first",
	"multiRead of a null path":             "ZooKeeper sends an empty list of results behind this error; no other error has a body",
	"multiRead of children of a null path": "the same",
}

type request struct {
	name string
	op   int32
	body string
}

// TestFrames asks both servers the same, in the same order.
func TestFrames(t *testing.T) {
	requests := append(pathsThatAreNone(), flagsThatAreNone()...)
	requests = append(requests, lies()...)
	requests = append(requests, multis()...)
	seen := map[string]bool{}
	for _, q := range requests {
		require.False(t, seen[q.name], "%s is there twice", q.name)
		seen[q.name] = true
		theirs, ours := ask(t, zooKeeper, q.op, q.body), ask(t, triglot, q.op, q.body)
		if why, meant := onPurpose[q.name]; meant {
			require.NotEqual(t, theirs, ours, "%s: no difference any more: %s", q.name, why)
			continue
		}
		if theirs != ours { // told here, so that the rest is asked for too
			t.Errorf("%s: ZooKeeper's answer is %s, ours %s", q.name, theirs, ours)
		}
	}
	for name := range onPurpose {
		require.True(t, seen[name], "nobody asks for %q", name)
	}
}

// pathsThatAreNone in every request that has a path.
func pathsThatAreNone() []request {
	kinds := []request{
		{"create", opCreate, str("d") + openACL + i32(0)},
		{"create2", opCreate2, str("d") + openACL + i32(0)},
		{"createContainer", opCreateContainer, str("d") + openACL + i32(4)},
		{"create sequential", opCreate, str("d") + openACL + i32(2)},
		{"delete", opDelete, i32(-1)},
		{"exists", opExists, "\x01"},
		{"getData", opGetData, "\x01"},
		{"setData", opSetData, str("d") + i32(-1)},
		{"getACL", opGetACL, ""},
		{"getChildren", opGetChildren, "\x01"},
		{"getChildren2", opGetChildren2, "\x00"},
		{"sync", opSync, ""},
		{"checkWatches", opCheckWatches, i32(3)},
		{"removeWatches", opRemoveWatches, i32(3)},
		{"createTTL", opCreateTTL, str("d") + openACL + i32(5) + i64(1000)},
		{"setACL", opSetACL, openACL + i32(7)},
		{"addWatch", opAddWatch, i32(1)},
		{"getEphemerals", opGetEphemerals, ""},
		{"getAllChildrenNumber", opGetAllChildrenNumber, ""},
	}
	var requests []request
	for _, k := range kinds {
		for name, path := range map[string]string{
			"null": null, "empty": str(""), "relative": str("a"), "malformed": str("/\xff\xfe"), "surrogate": str("/\xed\xa0\x80"),
			"slash at the end": str("/a/"), "slashes": str("/a//b"), "dots": str("/a/../b"), "dot": str("/."),
			"NUL": str("/a\x00b"), "control": str("/a\x1fb"), "astral": str("/\U0001F600"), "long": str("/" + strings.Repeat("x", 1000)),
		} {
			if name == "long" && strings.HasPrefix(k.name, "create") {
				continue // legal: a later one would find it there
			}
			requests = append(requests, request{k.name + " " + name, k.op, path + k.body})
		}
	}
	return requests
}

// flagsThatAreNone, and ACLs.
func flagsThatAreNone() []request {
	var requests []request
	for _, flags := range []int32{-1, 4, 5, 6, 7, 1 << 30} {
		for _, k := range []request{{"create", opCreate, ""}, {"create2", opCreate2, ""}, {"createContainer", opCreateContainer, ""}} {
			name := fmt.Sprintf("%s with flags %d", k.name, flags)
			requests = append(requests, request{name, k.op, str("/"+strings.ReplaceAll(name, " ", "-")) + str("d") + openACL + i32(flags)})
		}
	}
	acl := func(name, acl string) request {
		return request{"create, " + name, opCreate, str("/acl-"+strings.ReplaceAll(name, " ", "-")) + str("d") + acl + i32(0)}
	}
	return append(requests,
		acl("null ACL", null), acl("empty ACL", i32(0)), acl("negative ACL", i32(-7)), acl("open twice", i32(2)+openACL[4:]+openACL[4:]),
		acl("unknown scheme", i32(1)+i32(31)+str("smb")+str("anyone")), acl("nobody", i32(1)+i32(31)+str("world")+str("nobody")),
		acl("null scheme", i32(1)+i32(31)+null+null),
		acl("permissions 0", i32(1)+i32(0)+str("world")+str("anyone")), acl("permissions 63", i32(1)+i32(63)+str("world")+str("anyone")),
	)
}

// lies are lengths that are not, and bodies that are not.
func lies() []request {
	many := i32(1 << 30)
	return []request{
		{"create with a lying ACL", opCreate, str("/lie") + str("d") + many + i32(0)},
		{"create with a lying path", opCreate, many + "/lie"},
		{"create with negative data", opCreate, str("/lie") + i32(-7) + openACL + i32(0)},
		{"create with something behind", opCreate, str("/behind") + str("d") + openACL + i32(0) + "behind"},
		{"create cut short", opCreate, str("/cut") + str("d") + openACL},
		{"getData without a watch", opGetData, str("/")},
		{"getData of nothing", opGetData, ""},
		{"getData, watch 7", opGetData, str("/nothing") + "\x07"},
		{"sync of nothing", opSync, ""},
		{"setWatches of nothing", opSetWatches, ""},
		{"setWatches, null", opSetWatches, i64(1) + null + null + null},
		{"setWatches, negative", opSetWatches, i64(1) + i32(-5) + i32(-5) + i32(-5)},
		{"setWatches, lying", opSetWatches, i64(1) + many},
		{"setWatches of paths that are none", opSetWatches, i64(1) + i32(1) + str("a") + i32(2) + str("") + str("/a/") + i32(0)},
		{"setWatches of what is gone", opSetWatches, i64(1) + i32(1) + str("/gone") + i32(1) + str("/gone2") + i32(1) + str("/gone3")},
		{"removeWatches of no type", opRemoveWatches, str("/a") + i32(9)},
		{"checkWatches of no type", opCheckWatches, str("/a") + i32(0)},
		{"check by itself", opCheck, str("/") + i32(-1)},
		{"request 0", 0, ""},
		{"request 99", 99, ""},
		{"request -1", -1, "what"},
		{"closeSession with a body", opCloseSession, "body"},
		{"ping with a body", opPing, "body"},
		{"setACL with a lying ACL", opSetACL, str("/") + many + i32(-1)},
		{"setACL with a negative ACL", opSetACL, str("/") + i32(-7) + i32(-1)},
		{"setACL cut short", opSetACL, str("/") + openACL},
		{"addWatch without a mode", opAddWatch, str("/")},
		{"addWatch of no mode", opAddWatch, str("/") + i32(2)},
		{"addWatch with something behind", opAddWatch, str("/") + i32(0) + "behind"},
		{"getEphemerals of nothing", opGetEphemerals, ""},
		{"getAllChildrenNumber of nothing", opGetAllChildrenNumber, ""},
		{"whoAmI with a body", opWhoAmI, "body"},
		{"setWatches2 of nothing", opSetWatches2, ""},
		{"setWatches2 with three lists", opSetWatches2, i64(1) + null + null + null},
		{"setWatches2, lying", opSetWatches2, i64(1) + i32(0) + i32(0) + i32(0) + i32(0) + many},
		{"setWatches2, empty", opSetWatches2, i64(1) + i32(0) + i32(0) + i32(0) + i32(0) + i32(0)},
		{"createTTL without a ttl", opCreateTTL, str("/ttl") + str("d") + openACL + i32(5)},
		{"createTTL with a lying ACL", opCreateTTL, str("/ttl") + str("d") + many + i32(5) + i64(1)},
		{"reconfig of nothing", opReconfig, ""},
		{"reconfig of nulls", opReconfig, null + null + null + i64(-1)},
		{"reconfig with lying servers", opReconfig, many},
		{"sasl of nothing", opSasl, ""},
		{"sasl of null", opSasl, null},
		{"sasl of an empty token", opSasl, str("")},
		{"sasl with a lying token", opSasl, many},
		{"auth of nothing", opAuth, ""},
		{"auth, lying", opAuth, i32(0) + many},
		{"auth, null scheme", opAuth, i32(0) + null + null},
		{"auth, null credentials", opAuth, i32(0) + str("digest") + null},
		{"auth, malformed credentials", opAuth, i32(0) + str("digest") + str("u:\xff\xfe")},
		{"auth, wrong type", opAuth, i32(77) + str("digest") + str("u:p")},
		{"auth with something behind", opAuth, i32(0) + str("digest") + str("u:p") + "behind"},
	}
}

// multis that are none, whole or in part.
func multis() []request {
	head := func(op int32) string { return i32(op) + "\x00" + null }
	end := null + "\x01" + null
	multi := func(name string, op int32, body string) request {
		return request{"multi of " + name, opMulti, head(op) + body + end}
	}
	requests := []request{
		{"empty multi", opMulti, end},
		{"multi of nothing", opMulti, ""},
		{"multi without an end", opMulti, head(opDelete) + str("/a") + i32(-1)},
		{"multi cut short", opMulti, head(opDelete) + str("/a")},
		{"multi of reads and writes", opMulti, head(opGetData) + str("/") + "\x00" + head(opDelete) + str("/a") + i32(-1) + end},
		{"multi of writes and reads", opMulti, head(opDelete) + str("/a") + i32(-1) + head(opGetData) + str("/") + "\x00" + end},
		multi("an exists", opExists, str("/")+"\x00"),
		multi("a multi", opMulti, end),
		multi("a lying path", opDelete, i32(1<<30)),
		multi("a createTTL", opCreateTTL, str("/ttl")+str("d")+openACL+i32(5)+i64(1000)),
		multi("a createTTL whose flags are none", opCreateTTL, str("/ttl")+str("d")+openACL+i32(7)+i64(1000)),
		multi("a createTTL that is plain", opCreateTTL, str("/plain")+str("d")+openACL+i32(0)+i64(1000)),
	}
	reads := func(name, body string) request { return request{"multiRead of " + name, opMultiRead, body} }
	requests = append(requests,
		reads("nothing", ""), reads("an end", end), reads("no end", head(opGetData)+str("/nothing")+"\x00"),
		reads("a null path", head(opGetData)+null+"\x00"+end), reads("children of a null path", head(opGetChildren)+null+"\x00"+end),
		reads("a lying path", head(opGetData)+i32(1<<30)+end), reads("an empty path", head(opGetChildren)+str("/nothing")+"\x07"+end),
		reads("an exists", head(opExists)+str("/")+"\x00"+end), reads("a multi", head(opMulti)+end+end),
		reads("more behind the end", head(opGetData)+str("/nothing")+"\x00"+end+"behind"),
		reads("two paths that are none", head(opGetData)+str("a")+"\x00"+head(opGetChildren)+str("/a/")+"\x00"+end),
	)
	for name, path := range map[string]string{
		"null": null, "empty": str(""), "relative": str("a"), "malformed": str("/\xff"), "slash": str("/a/"), "unknown": str("/unknown"), "root": str("/"),
	} {
		requests = append(
			requests,
			multi("delete "+name, opDelete, path+i32(-1)),
			multi("check "+name, opCheck, path+i32(-1)),
			multi("create "+name, opCreate, path+str("d")+openACL+i32(0)),
		)
		if name != "root" { // whose data the servers need not have set equally often
			requests = append(requests, multi("setData "+name, opSetData, path+str("d")+i32(-1)))
		}
	}
	for _, flags := range []int32{-1, 5, 6, 7} {
		requests = append(requests, multi(fmt.Sprintf("create with flags %d", flags), opCreate, str("/flags")+str("d")+openACL+i32(flags)))
	}
	return requests
}

// TestHandshakes: the first bytes of a connection.
func TestHandshakes(t *testing.T) {
	shakeHands := func(version int32, zxid int64, timeout int32, session int64, rest string) string {
		return str(i32(version) + i64(zxid) + i32(timeout) + i64(session) + rest)
	}
	zeros := str(strings.Repeat("\x00", 16))
	plain := shakeHands(0, 0, 10_000, 0, zeros+"\x00")
	firsts := map[string]string{
		"plain":               plain,
		"without readOnly":    shakeHands(0, 0, 10_000, 0, zeros),
		"readOnly":            shakeHands(0, 0, 10_000, 0, zeros+"\x01"),
		"readOnly 7":          shakeHands(0, 0, 10_000, 0, zeros+"\x07"),
		"something behind":    shakeHands(0, 0, 10_000, 0, zeros+"\x00behind"),
		"version 12":          shakeHands(12, 0, 10_000, 0, zeros+"\x00"),
		"version -1":          shakeHands(-1, 0, 10_000, 0, zeros+"\x00"),
		"zxid of the future":  shakeHands(0, 1<<60, 10_000, 0, zeros+"\x00"),
		"negative zxid":       shakeHands(0, -1, 10_000, 0, zeros+"\x00"),
		"null password":       shakeHands(0, 0, 10_000, 0, null+"\x00"),
		"empty password":      shakeHands(0, 0, 10_000, 0, str("")+"\x00"),
		"long password":       shakeHands(0, 0, 10_000, 0, str(strings.Repeat("x", 1000))+"\x00"),
		"lying password":      shakeHands(0, 0, 10_000, 0, i32(1<<30)+"\x00"),
		"unknown session":     shakeHands(0, 0, 10_000, 12345, zeros+"\x00"),
		"and null password":   shakeHands(0, 0, 10_000, 12345, null+"\x00"),
		"and no readOnly":     shakeHands(0, 0, 10_000, 12345, zeros),
		"negative session":    shakeHands(0, 0, 10_000, -1, zeros+"\x00"),
		"cut in the password": str(plain[4 : 4+43]),
		"cut before it":       str(plain[4 : 4+24]),
		"empty frame":         str(""),
		"negative length":     "\xff\xff\xff\xfe",
		"largest length":      "\x7f\xff\xff\xff",
		"length of 1 MiB":     "\x00\x10\x00\x00",
		"HTTP":                "GET / HTTP/1.1\r\n\r\n",
	}
	for _, timeout := range []int32{0, -1, 1, 3999, 4000, 40_000, 40_001, 1<<31 - 1, -1 << 31} {
		firsts[fmt.Sprintf("timeout %d", timeout)] = shakeHands(0, 0, timeout, 0, zeros+"\x00")
	}
	for name, first := range firsts {
		require.Equal(t, shake(t, zooKeeper, first), shake(t, triglot, first), "%s: ZooKeeper's answer and ours", name)
	}
}
