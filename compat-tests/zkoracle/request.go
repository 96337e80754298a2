package zkoracle

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// request is one request, without its header.
type request struct {
	op   int32
	body []byte
	// write: its success takes a zxid. read: whatever its outcome, it takes none.
	write, read bool
	// show takes the body of a successful reply apart.
	show func(s *side, r *reader) string
}

// shows says whether a reply tells anything of the state.
func (q request) shows(code int32) bool {
	switch {
	case code == codeUnimplemented, code == codeMarshalling, code == codeBadArguments && q.read:
		return false
	case q.op == opMulti:
		return q.write
	default:
		return !slices.Contains(stateless, q.op)
	}
}

// stateless are the opcodes whose replies tell nothing of the znodes.
var stateless = []int32{opPing, opCheckWatches, opRemoveWatches, opAuth, opSasl, opWhoAmI, opReconfig}

// Create flags (ZooKeeper 3.9 CreateMode).
var createFlags = map[string]int32{"eph": 1, "seq": 2, "container": 4}

const (
	flagTTL           = 5
	flagSequentialTTL = 6
)

// The kinds of watch that checkWatches and removeWatches name.
var watcherTypes = map[string]int32{"children": 1, "data": 2, "any": 3, "persistent": 4, "recursive": 5}

// build makes the request of a command: the words of one operation.
func (s *side) build(words []token) (request, error) {
	a := &args{rest: words}
	verb := a.word()
	var q request
	switch verb {
	case "create", "create2", "createContainer", "createTTL":
		q = create(verb, a)
	case "delete":
		q = request{op: opDelete, body: putInt(putString(nil, a.word()), a.version()), write: true, show: nothing}
	case "setData":
		path, data := a.word(), a.data()
		q = request{op: opSetData, body: putInt(putBuffer(putString(nil, path), data), a.version()), write: true, show: showStat}
	case "check":
		q = request{op: opCheck, body: putInt(putString(nil, a.word()), a.version()), show: nothing}
	case "exists", "getData", "getChildren", "getChildren2":
		q = readRequests[verb]
		q.body, q.read = putBool(putString(nil, a.word()), a.flag("watch")), true
	case "getACL":
		q = request{op: opGetACL, body: putString(nil, a.word()), read: true, show: showACL}
	case "setACL":
		q = setACL(a)
	case "sync":
		q = request{op: opSync, body: putString(nil, a.word()), read: true, show: showPath}
	case "ping":
		q = request{op: opPing, read: true, show: nothing}
	case "setWatches", "setWatches2":
		q = s.setWatches(verb, a)
	case "checkWatches", "removeWatches":
		q = watchesOf(verb, a)
	case "multi", "multiRead":
		return s.multi(verb, a.rest)
	case "op":
		q = request{op: a.int()}
		q.body, q.show = a.hex(), showByOp(q.op)
	default:
		var known bool
		if q, known = rarer(verb, a); !known {
			return request{}, fmt.Errorf("no operation is called %q", verb)
		}
	}
	return q, a.done()
}

// rarer makes the requests that are about the session, its connection or the server.
func rarer(verb string, a *args) (q request, known bool) {
	switch verb {
	case "close":
		q = request{op: opCloseSession, show: nothing}
	case "auth":
		scheme := a.word()
		q = request{op: opAuth, body: putBuffer(putString(putInt(nil, 0), scheme), a.data()), read: true, show: nothing}
	case "sasl":
		q = request{op: opSasl, body: putBuffer(nil, a.data()), read: true, show: showToken}
	case "whoAmI":
		q = request{op: opWhoAmI, read: true, show: showWho}
	case "addWatch":
		q = request{op: opAddWatch, read: true, show: showErrorResponse}
		q.body = putInt(putString(nil, a.word()), a.named(watchModes))
	case "getEphemerals":
		q = request{op: opGetEphemerals, body: putString(nil, a.word()), read: true, show: func(_ *side, r *reader) string { return children(r) }}
	case "getAllChildrenNumber":
		q = request{op: opCountDescend, body: putString(nil, a.word()), read: true, show: func(_ *side, r *reader) string { return fmt.Sprint(r.int()) }}
	case "deleteContainer":
		q = request{op: opDeleteContainer, body: putString(nil, a.word()), write: true, show: nothing}
	case "config":
		q = request{op: opGetData, body: putBool(putString(nil, "/zookeeper/config"), a.flag("watch")), read: true, show: showConfig}
	case "reconfig":
		q = request{op: opReconfig, show: showConfig}
		for _, name := range []string{"joining", "leaving", "members"} {
			if text, given := a.option(name); given {
				q.body = putString(q.body, text)
			} else {
				q.body = putInt(q.body, -1)
			}
		}
		q.body = putLong(q.body, a.number("config", -1))
	default:
		return q, false
	}
	return q, true
}

var watchModes = map[string]int32{"persistent": 0, "recursive": 1}

// named takes a word that names a number, or is one.
func (a *args) named(names map[string]int32) int32 {
	word := a.word()
	if n, known := names[word]; known {
		return n
	}
	n, err := strconv.ParseInt(word, 0, 32)
	if err != nil {
		a.fail("what is %q", word)
	}
	return int32(n)
}

var readRequests = map[string]request{
	"exists":       {op: opExists, show: showStat},
	"getData":      {op: opGetData, show: showData},
	"getChildren":  {op: opGetChildren, show: func(_ *side, r *reader) string { return children(r) }},
	"getChildren2": {op: opGetChildren2, show: func(s *side, r *reader) string { return children(r) + " " + s.stat(r.stat()) }},
}

// version takes an optional version; without one it is -1, any.
func (a *args) version() int32 {
	if len(a.rest) == 0 {
		return -1
	}
	return a.int()
}

func create(verb string, a *args) request {
	path, data := a.word(), a.data()
	flags := int32(a.number("flags", 0))
	for name, bit := range createFlags {
		if a.flag(name) {
			flags |= bit
		}
	}
	aclName, given := a.option("acl")
	if !given {
		aclName = "open"
	}
	q := request{op: opCreate, write: true, show: showPath}
	switch verb {
	case "create2":
		q.op, q.show = opCreate2, showPathStat
	case "createContainer":
		q.op, q.show = opCreateContainer, showPathStat
	case "createTTL":
		q.op, q.show = opCreateTTL, showPathStat
	}
	body, err := putACL(putBuffer(putString(nil, path), data), aclName)
	if err != nil {
		a.fail("%w", err)
	}
	switch {
	case verb == "createContainer" && flags == 0:
		flags = createFlags["container"]
	case verb == "createTTL" && flags == 0:
		flags = flagTTL
	case verb == "createTTL" && flags == createFlags["seq"]:
		flags = flagSequentialTTL
	}
	q.body = putInt(body, flags)
	if verb == "createTTL" {
		q.body = putLong(q.body, a.number("ttl", 0))
	}
	return q
}

func setACL(a *args) request {
	path, name := a.word(), a.word()
	body, err := putACL(putString(nil, path), name)
	if err != nil {
		a.fail("%w", err)
	}
	return request{op: opSetACL, body: putInt(body, a.version()), write: true, show: showStat}
}

// setWatches takes the relative zxid by name: z3, or last.
func (s *side) setWatches(verb string, a *args) request {
	body := putLong(nil, s.zxid(a))
	kinds := []string{"data", "exist", "child"}
	q := request{op: opSetWatches, read: true, show: nothing}
	if verb == "setWatches2" {
		q.op = opSetWatches2
		kinds = append(kinds, "persistent", "recursive")
	}
	for _, kind := range kinds {
		body = putStrings(body, a.list(kind))
	}
	q.body = body
	return q
}

func watchesOf(verb string, a *args) request {
	q := request{op: opCheckWatches, read: true, show: nothing}
	if verb == "removeWatches" {
		q.op = opRemoveWatches
	}
	q.body = putInt(putString(nil, a.word()), a.named(watcherTypes))
	return q
}

// zxid takes the name of a zxid: z3, last, or future, which no server has reached.
func (s *side) zxid(a *args) int64 {
	switch name := a.word(); name {
	case "last":
		return s.clock.latest()
	case "future":
		return 1 << 40
	default:
		z, known := s.clock.zxid(name)
		if !known {
			a.fail("no zxid is called %s", name)
		}
		return z
	}
}

// multi builds a multi from operations with ";" between them. An operation may be
// any that build knows; endless leaves out the end of the list.
func (s *side) multi(verb string, words []token) (request, error) {
	q := request{op: opMulti, show: showMulti}
	if verb == "multiRead" {
		q.op, q.read = opMultiRead, true
	}
	a := &args{rest: words}
	endless := a.flag("endless")
	repeat := a.number("repeat", 1)
	if len(a.rest) > 0 {
		for _, words := range split(a.rest, ";") {
			sub, err := s.build(words)
			if err != nil {
				return request{}, err
			}
			q.write = q.write || sub.write
			one := putInt(putBool(putInt(nil, sub.op), false), -1)
			one = append(one, sub.body...)
			q.body = append(q.body, strings.Repeat(string(one), int(repeat))...)
		}
	}
	if !endless {
		q.body = putInt(putBool(putInt(q.body, -1), true), -1)
	}
	return q, a.err
}
