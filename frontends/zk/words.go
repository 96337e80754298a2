package zk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/triglot/triglot/frontends/zk/jute"
)

// word answers a four-letter word.
type word func(s *Server, b *bytes.Buffer, nc net.Conn)

// words are the four-letter words that ZooKeeper 3.9 knows (FourLetterCommands), with
// what answers each. Any other four bytes are the length of a frame.
var words = map[string]word{
	"conf": whileServing((*Server).writeConf),
	"cons": whileServing((*Server).writeCons),
	"crst": whileServing((*Server).resetConnections),
	"dirs": whileServing((*Server).writeDirs),
	"dump": whileServing((*Server).writeDump),
	"envi": (*Server).writeEnvi,
	"gtmk": func(s *Server, b *bytes.Buffer, _ net.Conn) { b.WriteString(strconv.FormatInt(s.traceMask.Load(), 10)) },
	"hash": whileServing(func(*Server, *bytes.Buffer, net.Conn) {}), // as a ZooKeeper that has not yet logged a digest
	"isro": (*Server).writeIsro,
	"mntr": whileServing((*Server).writeMntr),
	"ruok": func(_ *Server, b *bytes.Buffer, _ net.Conn) { b.WriteString("imok") },
	"srst": whileServing((*Server).resetStats),
	"srvr": whileServing((*Server).writeSrvr),
	"stat": whileServing((*Server).writeStat),
	"stmk": nil, // see setTraceMask
	"wchc": whileServing((*Server).writeWatchesByConnection),
	"wchp": whileServing((*Server).writeWatchesByPath),
	"wchs": whileServing((*Server).writeWatchSummary),
	// What telnet sends when it is closed.
	"\xff\xf4\xff\xfd": nil,
}

// telnetClose is the name under which that is enabled and refused.
const telnetClose = "telnet close"

// notServing answers the words that need a leader while there is none.
const notServing = "This ZooKeeper instance is not currently serving requests"

// defaultTraceMask is ZooTrace's; it means nothing here but can be set.
const defaultTraceMask = 306

// enabledWords is the whitelist: those named, all for "*", and those that ZooKeeper's
// own scripts need.
func enabledWords(list []string, readOnly bool) map[string]bool {
	enabled := map[string]bool{"srvr": true, "isro": readOnly}
	for _, name := range list {
		if name = strings.TrimSpace(name); name != "*" {
			enabled[name] = true
			continue
		}
		for known := range words {
			enabled[wordName(known)] = true
		}
	}
	return enabled
}

// IsWord reports whether ZooKeeper answers a word that the whitelist has.
func IsWord(name string) bool {
	for known := range words {
		if wordName(known) == name {
			return true
		}
	}
	return false
}

func wordName(known string) string {
	if known[0] == 0xff {
		return telnetClose
	}
	return known
}

// answerWord is the whole answer to a word that there is; rest reads the bytes behind
// it. It fails if a word lacks what must follow.
func (s *Server) answerWord(text string, nc net.Conn, rest func(n int) ([]byte, error)) ([]byte, error) {
	var b bytes.Buffer
	switch name := wordName(text); {
	case !s.words[name]:
		b.WriteString(name + " is not executed because it is not in the whitelist.\n")
	case text == "stmk":
		mask, err := rest(8)
		if err != nil {
			return nil, err
		}
		s.traceMask.Store(int64(binary.BigEndian.Uint64(mask)))
		fmt.Fprintf(&b, "%d", s.traceMask.Load())
	case words[text] != nil:
		words[text](s, &b, nc)
	}
	return b.Bytes(), nil
}

// known says whether the first bytes of a connection are a four-letter word.
func known(text string) bool {
	_, ok := words[text]
	return ok
}

// tell answers a word, in full.
func (s *Server) tell(text string, nc net.Conn, in *frames) {
	answer, err := s.answerWord(text, nc, func(n int) ([]byte, error) {
		b, err := in.need(jute.FrameHeader + n)
		if err != nil {
			return nil, err
		}
		return b[jute.FrameHeader:], nil
	})
	if err != nil {
		return
	}
	_, _ = nc.Write(answer) // nobody to tell
	s.stats.sent.Add(1)
}

// lost says whether a connection ended because nothing more could be read from it.
func lost(reason error) bool {
	var e net.Error
	return errors.Is(reason, io.EOF) || errors.As(reason, &e)
}

// turnedAway counts a connection that ended before it asked for anything.
func (s *Server) turnedAway(err error) {
	var e net.Error
	switch {
	case errors.Is(err, errFrameLength):
		s.stats.count(largeRequests)
	case errors.As(err, &e) && e.Timeout():
		s.stats.count(sessionlessExpired)
	}
}

// whileServing has a word answered only while requests are.
func whileServing(write word) word {
	return func(s *Server, b *bytes.Buffer, nc net.Conn) {
		if !s.serving() {
			b.WriteString(notServing + "\n")
			return
		}
		write(s, b, nc)
	}
}

// serving says whether requests are served: there is a leader that can be reached, or
// clients are served that only read.
func (s *Server) serving() bool { return s.cfg.Sessions.Contact() == nil || s.readOnly.Load() }

func (s *Server) resetConnections(b *bytes.Buffer, _ net.Conn) {
	s.resetConnectionStats()
	b.WriteString("Connection stats reset.\n")
}

func (s *Server) resetConnectionStats() {
	for _, c := range s.sessions.list() {
		c.stats.reset()
	}
}

func (s *Server) resetStats(b *bytes.Buffer, _ net.Conn) {
	s.stats.reset()
	b.WriteString("Server stats reset.\n")
}

func (s *Server) writeIsro(b *bytes.Buffer, _ net.Conn) {
	switch {
	case s.readOnly.Load():
		b.WriteString("ro")
	case s.serving():
		b.WriteString("rw")
	default:
		b.WriteString("null")
	}
}

func (s *Server) writeWatchSummary(b *bytes.Buffer, _ net.Conn) {
	w := s.watches.summary()
	fmt.Fprintf(b, "%d connections watching %d paths\nTotal watches:%d\n", w.connections, w.paths, w.watches)
}

func (s *Server) writeWatchesByConnection(b *bytes.Buffer, _ net.Conn) {
	for _, g := range s.dataWatches().sessions() {
		fmt.Fprintf(b, "0x%x\n", g.session)
		for _, path := range g.paths {
			fmt.Fprintf(b, "\t%s\n", path)
		}
	}
	b.WriteString("\n")
}

func (s *Server) writeWatchesByPath(b *bytes.Buffer, _ net.Conn) {
	for _, g := range s.dataWatches().paths() {
		fmt.Fprintf(b, "%s\n", g.path)
		for _, id := range g.sessions {
			fmt.Fprintf(b, "\t0x%x\n", id)
		}
	}
	b.WriteString("\n")
}

// watchReport is who watches the data of what.
type watchReport struct {
	bySession map[int64][]string
	byPath    map[string][]int64
}

// dataWatches makes a report. What it shows is of a moment for each connection.
func (s *Server) dataWatches() *watchReport {
	w := &watchReport{bySession: map[int64][]string{}, byPath: map[string][]int64{}}
	for _, c := range s.sessions.list() {
		id := int64(c.session.ID)
		for _, path := range s.watches.watchedData(&c.sub) {
			w.bySession[id] = append(w.bySession[id], path)
			w.byPath[path] = append(w.byPath[path], id)
		}
	}
	return w
}

type sessionWatches struct {
	session int64
	paths   []string
}

func (w *watchReport) sessions() []sessionWatches {
	all := make([]sessionWatches, 0, len(w.bySession))
	for _, id := range sortedKeys(w.bySession) {
		slices.Sort(w.bySession[id])
		all = append(all, sessionWatches{id, w.bySession[id]})
	}
	return all
}

type pathWatches struct {
	path     string
	sessions []int64
}

func (w *watchReport) paths() []pathWatches {
	all := make([]pathWatches, 0, len(w.byPath))
	for _, path := range sortedKeys(w.byPath) {
		slices.Sort(w.byPath[path])
		all = append(all, pathWatches{path, w.byPath[path]})
	}
	return all
}
