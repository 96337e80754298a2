package zkoracle

import (
	"fmt"
	"slices"
	"strings"
)

// sent is a request that waits for its reply.
type sent struct {
	request
	xid   int32
	mixed bool // of a mixed pipeline: the zxid of the reply tells nothing
}

// call sends requests in one write and shows all frames up to the last reply. Of a
// mixed pipeline it shows no zxids of replies, and the events behind all replies:
// Triglot may do a write before it answers a read that was sent ahead of it, if the
// read cannot see the write.
func (s *side) call(c *conn, commands [][]token, mixed bool) ([]string, error) {
	var waiting []sent
	var out []byte
	for _, words := range commands {
		q, err := s.build(words)
		if err != nil {
			return nil, err
		}
		xid, framed := c.encode(q)
		waiting = append(waiting, sent{q, xid, mixed})
		out = append(out, framed...)
	}
	c.send(out)
	s.requests += len(waiting)
	var got []frameIn
	var end error
	for _, w := range waiting {
		var more []frameIn
		more, end = c.until(w.xid)
		if got = append(got, more...); end != nil {
			break
		}
	}
	ended := end == nil && len(got) > 0 && endsConnection(waiting[len(waiting)-1].request, got[len(got)-1].code)
	if ended { // at once or a little later: what comes until then is shown
		var more []frameIn
		more, end = c.until(noXid)
		got = append(got, more...)
	}
	switch {
	case mixed:
		events := func(f frameIn) bool { return f.xid == xidEvent }
		replies := slices.DeleteFunc(slices.Clone(got), events)
		got = append(replies, slices.DeleteFunc(got, func(f frameIn) bool { return !events(f) })...)
	case len(waiting) > 1:
		delayEvents(waiting, got)
	}
	names := s.learn(waiting, got)
	var lines []string
	for i, f := range got {
		if f.xid != xidEvent && len(waiting) > 0 && f.xid == waiting[0].xid {
			lines = append(lines, s.answer(c, waiting[0], f, names[i]))
			waiting = waiting[1:]
			continue
		}
		lines = append(lines, s.unasked(c, f))
	}
	switch {
	case ended:
		delete(s.conns, c.name)
		lines = append(lines, c.name+": "+closing(end))
	case end != nil:
		delete(s.conns, c.name)
		lines = append(lines, closing(end))
	}
	return lines, nil
}

// endsConnection says whether the server closes the connection behind its answer: to
// an opcode that there is not, and to an authentication that fails.
func endsConnection(q request, code int32) bool {
	return code == codeAuthFailed || code == codeRequireSasl || code == codeUnimplemented && !slices.Contains(refusable, q.op)
}

// refusable are the opcodes that there are and that may be Unimplemented all the same:
// without extendedTypesEnabled, or on a standalone server.
var refusable = []int32{opCreate, opCreate2, opCreateContainer, opCreateTTL, opMulti, opReconfig}

// delayEvents moves, in the answers to requests that were sent at once, each event
// behind the replies of earlier zxids: there ZooKeeper has it. Triglot promises less:
// an event comes before every reply that shows the change, and may come before the
// reply to an earlier request too.
func delayEvents(waiting []sent, got []frameIn) {
	passed := make([]bool, len(got)) // the replies that tell nothing of the state
	for i, f := range got {
		if f.xid != xidEvent && len(waiting) > 0 {
			passed[i] = !waiting[0].shows(f.code)
			waiting = waiting[1:]
		}
	}
	earlier := func(reply, event int) bool { return passed[reply] || got[reply].zxid < got[event].zxid }
	for i := len(got) - 2; i >= 0; i-- {
		for j := i; j+1 < len(got) && got[j].xid == xidEvent && got[j].zxid > 0 && got[j+1].xid != xidEvent && earlier(j+1, j); j++ {
			got[j], got[j+1] = got[j+1], got[j]
			passed[j], passed[j+1] = passed[j+1], passed[j]
		}
	}
}

// learn names the zxids of the writes among the replies, before anything is
// shown: an event comes ahead of the reply to the write that caused it. It returns
// the names by the position of the reply.
func (s *side) learn(waiting []sent, got []frameIn) map[int]string {
	names := make(map[int]string)
	for i, f := range got {
		if f.xid == xidEvent || len(waiting) == 0 || f.xid != waiting[0].xid {
			continue
		}
		q := waiting[0]
		waiting = waiting[1:]
		switch {
		case q.mixed:
			s.clock.disturbed()
		case q.write && f.code == 0 && !failedMulti(q, f):
			names[i] = s.clock.wrote(f.zxid)
		case !q.read:
			s.clock.disturbed()
		}
	}
	return names
}

// failedMulti reports whether the results are those of a multi of which an
// operation failed: all of them are errors then.
func failedMulti(q sent, f frameIn) bool {
	return q.op == opMulti && (&reader{rest: f.body}).int() == opError
}

// answer shows a reply.
func (s *side) answer(c *conn, q sent, f frameIn, name string) string {
	r := &reader{rest: f.body}
	text := ""
	if f.code == 0 {
		text = q.show(s, r)
	}
	if f.code != 0 || text == "" {
		text = strings.TrimSpace(errorName(f.code) + " " + text)
	}
	return text + s.zxidOf(c, q, f, name) + rest(r)
}

// zxidOf shows the zxid of a reply's header. A reply that shows nothing of the state
// may carry any that its connection has not gone beyond: ZooKeeper takes the last
// of all, Triglot the last that the connection was shown.
func (s *side) zxidOf(c *conn, q sent, f frameIn, name string) string {
	last := c.shown
	c.shown = max(c.shown, f.zxid)
	switch {
	case f.zxid > 0 && f.zxid < last:
		return fmt.Sprintf(" BACK FROM %s TO %s", s.clock.floor(last), s.clock.floor(f.zxid))
	case q.mixed, !q.shows(f.code):
		return ""
	case name != "":
		return " " + name
	default:
		return " " + s.clock.floor(f.zxid)
	}
}

// unasked shows an event, or a reply that nothing was asked for.
func (s *side) unasked(c *conn, f frameIn) string {
	if f.xid != xidEvent {
		return fmt.Sprintf("%s: A REPLY WITH XID %d: %s %s %x", c.name, f.xid, errorName(f.code), s.clock.floor(f.zxid), f.body)
	}
	r := &reader{rest: f.body}
	return c.name + ": " + s.event(f.zxid, f.code, r)
}
