package zkoracle

import (
	"fmt"
	"hash/crc32"
	"regexp"
	"slices"
	"strings"
)

// longMulti is the number of results from which only the first and last are shown,
// and the rest by a checksum.
const longMulti = 20

// longData is the length from which data is shown by its length only.
const longData = 64

func nothing(*side, *reader) string { return "" }

// showByOp shows the body of a reply to an opcode that was given as a number.
func showByOp(op int32) func(*side, *reader) string {
	switch op {
	case opCreate, opSync:
		return showPath
	case opExists, opSetData:
		return showStat
	case opGetData:
		return showData
	case opMulti, opMultiRead:
		return showMulti
	case opGetEphemerals:
		return func(_ *side, r *reader) string { return children(r) }
	default:
		return showRest
	}
}

// showRest shows a body that has no form here.
func showRest(_ *side, r *reader) string { return fmt.Sprintf("%x", r.take(len(r.rest))) }

func showPath(_ *side, r *reader) string { return quotePath(r.string()) }

func showStat(s *side, r *reader) string { return s.stat(r.stat()) }

func showPathStat(s *side, r *reader) string {
	return quotePath(r.string()) + " " + s.stat(r.stat())
}

func showData(s *side, r *reader) string { return data(r.buffer()) + " " + s.stat(r.stat()) }

// showACL sorts digests of the same permissions that follow one another: where they
// come from an entry of the scheme auth, ZooKeeper's order is that of a hash table.
func showACL(s *side, r *reader) string {
	var all []string
	from, before := 0, aclEntry{}
	for n := r.int(); n > 0 && r.err == nil; n-- {
		e := aclEntry{r.int(), r.string(), r.string()}
		if e.scheme != "digest" || e.scheme != before.scheme || e.perms != before.perms {
			slices.Sort(all[from:])
			from = len(all)
		}
		before = e
		all = append(all, fmt.Sprintf("%d:%s:%s", e.perms, e.scheme, e.id))
	}
	slices.Sort(all[from:])
	return fmt.Sprintf("%v %s", all, s.stat(r.stat()))
}

// showWho shows the ids of a connection.
func showWho(_ *side, r *reader) string {
	var all []string
	for n := r.int(); n > 0 && r.err == nil; n-- {
		all = append(all, fmt.Sprintf("%s:%s", r.string(), r.string()))
	}
	slices.Sort(all) // ZooKeeper's are in a concurrent set
	return fmt.Sprintf("%q", all)
}

var nonce = regexp.MustCompile(`nonce="[^"]*"`)

// showToken shows what a SASL server says, without what is random of it.
func showToken(_ *side, r *reader) string {
	token := r.buffer()
	if token == nil {
		return "null"
	}
	return fmt.Sprintf("%q", nonce.ReplaceAllString(string(token), "nonce=..."))
}

// showErrorResponse shows the record that is addWatch's whole answer.
func showErrorResponse(_ *side, r *reader) string { return errorName(r.int()) }

func data(b []byte) string {
	switch {
	case b == nil:
		return "null"
	case len(b) > longData:
		return fmt.Sprintf("(%d bytes)", len(b))
	default:
		return fmt.Sprintf("%q", b)
	}
}

// children shows the names sorted: ZooKeeper's order is none.
func children(r *reader) string {
	names := r.strings()
	slices.Sort(names)
	return fmt.Sprintf("%q", names)
}

// stat shows what is not zero, and of the times what is wrong.
func (s *side) stat(v stat) string {
	parts := []string{"czxid " + s.clock.exact(v.czxid), "mzxid " + s.clock.exact(v.mzxid), "pzxid " + s.clock.exact(v.pzxid)}
	for _, n := range []struct {
		name  string
		value int32
	}{
		{"version", v.version},
		{"cversion", v.cversion},
		{"aversion", v.aversion},
		{"length", v.dataLength},
		{"children", v.numChildren},
	} {
		if n.value != 0 {
			parts = append(parts, fmt.Sprintf("%s %d", n.name, n.value))
		}
	}
	if v.owner != 0 {
		parts = append(parts, "owner "+s.owner(v.owner))
	}
	if wrong := s.clock.wrongTime(v.czxid, v.ctime); wrong != "" {
		parts = append(parts, "CTIME "+wrong)
	}
	if wrong := s.clock.wrongTime(v.mzxid, v.mtime); wrong != "" {
		parts = append(parts, "MTIME "+wrong)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// owner names a session.
func (s *side) owner(id int64) string {
	for name, session := range s.sessions {
		if session.id == id {
			return name
		}
	}
	return fmt.Sprintf("unknown session %#x", uint64(id))
}

// showMulti shows the results of a multi, one after the other.
func showMulti(s *side, r *reader) string {
	var all []string
	for r.err == nil {
		op, done, code := r.int(), r.bool(), r.int()
		if r.err != nil {
			break
		}
		if done {
			if op != -1 || code != -1 {
				all = append(all, fmt.Sprintf("ends with {%d, %d}", op, code))
			}
			break
		}
		all = append(all, s.result(op, code, r))
	}
	if n := len(all); n > longMulti {
		middle := strings.Join(all[3:n-3], "; ")
		all = slices.Concat(all[:3], []string{fmt.Sprintf("... %d more, CRC %08x ...", n-6, crc32.ChecksumIEEE([]byte(middle)))}, all[n-3:])
	}
	return "[" + strings.Join(all, "; ") + "]"
}

func (s *side) result(op, code int32, r *reader) string {
	switch op {
	case opError:
		told := r.int()
		if told != code {
			return fmt.Sprintf("%s in the header, %s in the body", errorName(code), errorName(told))
		}
		return errorName(told)
	case opCreate:
		return "create " + quotePath(r.string()) + unlessZero(code)
	case opCreate2, opCreateContainer, opCreateTTL:
		return fmt.Sprintf("create(%d) %s %s", op, quotePath(r.string()), s.stat(r.stat())) + unlessZero(code)
	case opSetData:
		return "setData " + s.stat(r.stat()) + unlessZero(code)
	case opDelete:
		return "delete" + unlessZero(code)
	case opCheck:
		return "check" + unlessZero(code)
	case opGetData:
		return "getData " + showData(s, r) + unlessZero(code)
	case opGetChildren:
		return "getChildren " + children(r) + unlessZero(code)
	default:
		r.err = fmt.Errorf("a result of type %d", op)
		return ""
	}
}

func unlessZero(code int32) string {
	if code == 0 {
		return ""
	}
	return " with " + errorName(code)
}

// The names of events and of the state of the session in them (Watcher.Event).
var eventNames = map[int32]string{1: "Created", 2: "Deleted", 3: "DataChanged", 4: "ChildrenChanged"}

const syncConnected = 3

// event shows a WatcherEvent and the zxid of its header.
func (s *side) event(zxid int64, code int32, r *reader) string {
	kind, state, path := r.int(), r.int(), r.string()
	name, known := eventNames[kind]
	if !known {
		name = fmt.Sprintf("event %d", kind)
	}
	text := fmt.Sprintf("%s %s %s", name, quotePath(path), s.clock.exact(zxid))
	if state != syncConnected {
		text += fmt.Sprintf(" STATE %d", state)
	}
	if code != 0 {
		text += " ERROR " + errorName(code)
	}
	return text + rest(r)
}

// quotePath quotes a path only if it must be.
func quotePath(path string) string {
	quoted := fmt.Sprintf("%q", path)
	if quoted == `"`+path+`"` && path != "" && !strings.Contains(path, " ") {
		return path
	}
	return quoted
}

// rest says what is wrong with what a record was read from.
func rest(r *reader) string {
	switch {
	case r.err != nil:
		return " BROKEN: " + r.err.Error()
	case len(r.rest) > 0:
		return fmt.Sprintf(" AND %d BYTES MORE: %x", len(r.rest), r.rest[:min(len(r.rest), 64)])
	default:
		return ""
	}
}
