package zkoracle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// host is a running server.
type host interface {
	Kill() error
	Terminate() error
	Restart(ctx context.Context) error
	Stop() error
	LogTail() string
}

// side is one server, all connections to it, and what is known of its zxids and
// sessions. One goroutine uses it at a time.
type side struct {
	host     host
	endpoint string
	conns    map[string]*conn   // the open ones, by name
	sessions map[string]session // by the name of the connection that made them
	clock    *clock
	quiet    bool // no pings after the commands
}

func newSide(h host, endpoint string) *side {
	return &side{host: h, endpoint: endpoint, conns: make(map[string]*conn), sessions: make(map[string]session), clock: newClock()}
}

func (s *side) close() error {
	for _, c := range s.conns {
		c.close()
	}
	return s.host.Stop()
}

// do runs one command and shows what came of it, a line each. An error is one of
// the command, not of the server.
func (s *side) do(line string) (lines []string, err error) {
	words, err := tokens(line)
	if err != nil {
		return nil, err
	}
	if len(words) < 2 {
		return nil, errors.New("a command is NAME VERB ...")
	}
	name, verb := words[0].text, words[1].text
	switch name {
	case "restart":
		return nil, s.restart(verb)
	case "4lw":
		return s.word(verb), nil
	}
	a := &args{rest: words[2:]}
	switch verb {
	case "connect", "reattach", "dial":
		lines, err = s.connect(name, verb, a)
	default:
		c := s.conns[name]
		if c == nil {
			return []string{"not open"}, nil
		}
		lines, err = s.on(c, verb, a, words[1:])
	}
	if err != nil {
		return nil, err
	}
	if !s.quiet {
		lines = append(lines, s.settle()...)
	}
	s.quiet = false
	if verb == "close" || verb == "await" {
		sortEnds(lines)
	}
	return lines, a.err
}

// sortEnds sorts events of one connection and one zxid that follow one another:
// ZooKeeper deletes the ephemerals of a session in no order.
func sortEnds(lines []string) {
	for i := 0; i < len(lines); {
		of := oneChange(lines[i])
		end := i + 1
		for of != "" && end < len(lines) && oneChange(lines[end]) == of {
			end++
		}
		slices.Sort(lines[i:end])
		i = end
	}
}

// oneChange is the connection and the zxid of an event; empty if the line is none.
func oneChange(line string) string {
	words := strings.Fields(line)
	if len(words) != 4 || !strings.HasSuffix(words[0], ":") {
		return ""
	}
	return words[0] + words[3]
}

// on runs a command on an open connection.
func (s *side) on(c *conn, verb string, a *args, words []token) ([]string, error) {
	switch verb {
	case "drop":
		c.close()
		delete(s.conns, c.name)
		return nil, nil
	case "bytes":
		c.send(a.hex())
		s.quiet = true
		s.clock.disturbed()
		return nil, a.err
	case "frame":
		c.send(frame(a.hex()))
		s.clock.disturbed()
		if !c.ready {
			_, text := c.welcome()
			if c.net == nil {
				delete(s.conns, c.name)
			}
			return []string{text}, a.err
		}
		return s.any(c), a.err
	case "gone":
		return s.gone(c), nil
	case "await":
		return s.await(c, int(a.number("events", 1))), a.err
	case "pipeline":
		return s.call(c, split(words[1:], "|"), false)
	case "mixed":
		return s.call(c, split(words[1:], "|"), true)
	default:
		return s.call(c, [][]token{words}, false)
	}
}

// connect opens a connection: "dial" without a handshake, "connect" with one for
// a new session, "reattach" with one for a session that was made before.
func (s *side) connect(name, verb string, a *args) ([]string, error) {
	if old := s.conns[name]; old != nil {
		old.close() // a client has one connection
	}
	c, err := open(name, s.endpoint)
	if err != nil {
		return []string{"cannot connect: " + err.Error()}, nil
	}
	s.conns[name] = c
	if verb == "dial" {
		return nil, a.done()
	}
	h := handshake{timeout: int32(a.number("timeout", 30_000)), version: int32(a.number("version", 0))}
	h.short, h.readOnly = a.flag("short"), a.flag("ro")
	h.session.passwd = make([]byte, a.number("zeros", passwordLen))
	if zxid, given := a.option("zxid"); given {
		z := &args{rest: []token{{text: zxid}}}
		if h.lastZxid = s.zxid(z); z.err != nil {
			return nil, z.err
		}
	}
	if verb == "reattach" {
		if h.session, err = s.credentials(a); err != nil {
			return nil, err
		}
	} else {
		s.clock.disturbed()
	}
	if err := a.done(); err != nil {
		return nil, err
	}
	given, text := c.shake(h)
	switch {
	case given.id == 0:
	case verb == "connect":
		s.sessions[name] = given
	case given.id != h.session.id || !bytes.Equal(given.passwd, h.session.passwd):
		text += ", ANOTHER SESSION"
	}
	if c.net == nil {
		delete(s.conns, name)
	}
	return []string{text}, nil
}

// credentials takes the session to reattach, and what is wrong with its password.
func (s *side) credentials(a *args) (session, error) {
	wrong, _ := a.option("passwd")
	name := a.word()
	asked, known := s.sessions[name]
	if !known {
		asked = session{id: 0x123456789, passwd: make([]byte, passwordLen)}
	}
	asked.passwd = slices.Clone(asked.passwd)
	switch wrong {
	case "":
	case "wrong":
		asked.passwd[0]++
	case "zero":
		asked.passwd = make([]byte, passwordLen)
	case "short":
		asked.passwd = asked.passwd[:passwordLen-1]
	case "long":
		asked.passwd = append(asked.passwd, 0)
	case "empty":
		asked.passwd = []byte{}
	case "null":
		asked.passwd = nil
	default:
		return session{}, fmt.Errorf("no password is called %q", wrong)
	}
	return asked, a.err
}

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
	var got []frameIn
	var end error
	for _, w := range waiting {
		var more []frameIn
		more, end = c.until(w.xid)
		if got = append(got, more...); end != nil {
			break
		}
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
	if end != nil {
		delete(s.conns, c.name)
		lines = append(lines, closing(end))
	}
	return lines, nil
}

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

// any shows the next frames up to the first that is no event.
func (s *side) any(c *conn) (lines []string) {
	for {
		f, err := c.reply()
		if err != nil {
			delete(s.conns, c.name)
			return append(lines, closing(err))
		}
		if f.xid != xidEvent {
			line := fmt.Sprintf("xid %d: %s %s", f.xid, errorName(f.code), s.clock.floor(f.zxid))
			if len(f.body) > 0 {
				line += fmt.Sprintf(" %x", f.body)
			}
			return append(lines, line)
		}
		lines = append(lines, s.unasked(c, f))
	}
}

// gone waits for the server to close the connection, and shows what comes before.
func (s *side) gone(c *conn) (lines []string) {
	for {
		body, err := c.next()
		if err != nil {
			delete(s.conns, c.name)
			return append(lines, closing(err))
		}
		lines = append(lines, fmt.Sprintf("%d bytes: %x", len(body), body))
	}
}

// settle has every connection read, and shows what comes before the answer: with the
// answer comes every event of what was answered on any connection before (Z5).
func (s *side) settle() (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(s.conns)) {
		c := s.conns[name]
		if !c.ready {
			continue
		}
		xid, framed := c.encode(request{op: opExists, body: putBool(putString(nil, "/"), false)})
		c.send(framed)
		got, err := c.until(xid)
		if err == nil {
			read := got[len(got)-1]
			got = got[:len(got)-1]
			if read.code != 0 || read.zxid < c.shown {
				lines = append(lines, fmt.Sprintf("%s: THE ROOT: %s, %s AFTER %s", name, errorName(read.code), s.clock.floor(read.zxid), s.clock.floor(c.shown)))
			}
			c.shown = max(c.shown, read.zxid)
		}
		for _, f := range got {
			lines = append(lines, s.unasked(c, f))
		}
		if err != nil {
			delete(s.conns, name)
			lines = append(lines, name+": "+closing(err))
		}
	}
	return lines
}

// awaitTimeout bounds the wait for an event, such as that of a session's end.
const awaitTimeout = 30 * time.Second

// await keeps all connections alive until so many events have come in on one.
func (s *side) await(c *conn, events int) (lines []string) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(awaitTimeout); ; <-ticker.C {
		lines = append(lines, s.settle()...)
		count := 0
		for _, line := range lines {
			if strings.HasPrefix(line, c.name+": ") {
				count++
			}
		}
		if count >= events {
			return lines
		}
		if time.Now().After(deadline) {
			return append(lines, "NOTHING MORE CAME")
		}
	}
}

// restart ends the server, with SIGKILL or SIGTERM, and starts it on its data.
func (s *side) restart(how string) error {
	for _, c := range s.conns {
		c.close()
	}
	clear(s.conns)
	s.clock.disturbed()
	end := s.host.Terminate
	if how == "kill" {
		end = s.host.Kill
	}
	if err := end(); err != nil {
		return err
	}
	return s.host.Restart(context.Background())
}
