package zkoracle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"
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
	quiet    bool    // no settling after the command
	unsettle bool    // nor after any: the server answers no reads
	places   []place // of an ensemble that the script knows of
	// requests were sent for commands, reads to place the events.
	requests, reads int
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
	words, err := tokens(s.expand(line))
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
	if !s.quiet && !s.unsettle {
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
	case "quiet":
		s.quiet = true
		return s.call(c, [][]token{words[1:]}, false)
	case "drop":
		c.hangUp()
		delete(s.conns, c.name)
		return nil, nil
	case "bytes":
		c.send(a.hex())
		s.quiet = true
		s.clock.disturbed()
		return nil, a.err
	case "frame":
		s.requests++
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
		s.clock.disturbed()
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
		old.hangUp() // a client has one connection
	}
	c, err := open(name, s.endpoint)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) { // before dialling was done
		return []string{closing(io.EOF)}, nil
	}
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
	s.requests++
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
		s.reads++
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
	if err := s.host.Restart(context.Background()); err != nil {
		return err
	}
	if e, several := s.host.(*ensemble); several {
		s.endpoint = e.follower()
	}
	return nil
}
