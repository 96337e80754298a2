package zk

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// words are the four-letter words that there are, each with what answers it. Those
// that have nothing are known and not enabled, as on a ZooKeeper whose
// 4lw.commands.whitelist does not have them.
var words = map[string]func(s *Server, b *bytes.Buffer, nc net.Conn){
	"ruok": func(_ *Server, b *bytes.Buffer, _ net.Conn) { b.WriteString("imok") },
	"srvr": whileServing((*Server).writeSrvr),
	"stat": whileServing((*Server).writeStat),
	"mntr": whileServing((*Server).writeMntr),
	"conf": whileServing((*Server).writeConf),
	"envi": (*Server).writeEnvi,
	"isro": (*Server).writeIsro,

	"cons": disabled("cons"), "crst": disabled("crst"), "dirs": disabled("dirs"), "dump": disabled("dump"),
	"gtmk": disabled("gtmk"), "hash": disabled("hash"), "icfg": disabled("icfg"), "lsnp": disabled("lsnp"),
	"srst": disabled("srst"), "stmk": disabled("stmk"), "sysp": disabled("sysp"), "wchc": disabled("wchc"),
	"wchp": disabled("wchp"), "wchs": disabled("wchs"),
}

// answerWord is the whole answer to a four-letter word.
func (s *Server) answerWord(word string, nc net.Conn) []byte {
	var b bytes.Buffer
	words[word](s, &b, nc)
	return b.Bytes()
}

func disabled(word string) func(*Server, *bytes.Buffer, net.Conn) {
	return func(_ *Server, b *bytes.Buffer, _ net.Conn) {
		b.WriteString(word + " is not executed because it is not in the whitelist.\n")
	}
}

func whileServing(write func(*Server, *bytes.Buffer, net.Conn)) func(*Server, *bytes.Buffer, net.Conn) {
	return func(s *Server, b *bytes.Buffer, nc net.Conn) {
		if !s.serving() {
			b.WriteString("This ZooKeeper instance is not currently serving requests\n")
			return
		}
		write(s, b, nc)
	}
}

// serving says whether requests can be served: there is a leader.
func (s *Server) serving() bool { return s.cfg.Cluster.Self().Leader != 0 }

// fullVersion is the version as ZooKeeper prints it, but for the date: it is the
// one form that all clients can read (go-zookeeper FLWSrvr).
func (s *Server) fullVersion() string {
	return fmt.Sprintf("%s-%s, built on %s", s.cfg.Version, s.cfg.Build, s.cfg.Built.UTC().Format("01/02/2006 15:04 UTC"))
}

// mode is the server's role.
func (s *Server) mode() string {
	members, err := s.cfg.Cluster.Members(context.Background(), false)
	if err == nil && len(members) == 1 {
		return "standalone"
	}
	switch self := s.cfg.Cluster.Self(); {
	case self.Leader == self.Member:
		return "leader"
	case self.Learner:
		return "observer"
	}
	return "follower"
}

func (s *Server) writeIsro(b *bytes.Buffer, _ net.Conn) {
	if s.serving() {
		b.WriteString("rw")
	} else {
		b.WriteString("null")
	}
}

func (s *Server) writeSrvr(b *bytes.Buffer, _ net.Conn) {
	fmt.Fprintf(b, "Zookeeper version: %s\n", s.fullVersion())
	s.writeFigures(b)
}

func (s *Server) writeStat(b *bytes.Buffer, nc net.Conn) {
	fmt.Fprintf(b, "Zookeeper version: %s\nClients:\n", s.fullVersion())
	for _, c := range s.sessions.list() {
		c.queue.mu.Lock()
		queued := c.queue.outstanding
		c.queue.mu.Unlock()
		writeClient(b, c.nc, 1, queued, c.stats.received.Load(), c.stats.sent.Load())
	}
	writeClient(b, nc, 0, 0, 1, 0)
	b.WriteString("\n")
	s.writeFigures(b)
}

// writeClient writes the line of a connection; interest is whether the server reads
// from it.
func writeClient(b *bytes.Buffer, nc net.Conn, interest, queued int, received, sent uint64) {
	fmt.Fprintf(b, " /%s[%d](queued=%d,recved=%d,sent=%d)\n", nc.RemoteAddr(), interest, queued, received, sent)
}

func (s *Server) writeFigures(b *bytes.Buffer) {
	least, mean, most := s.stats.latency.milliseconds()
	fmt.Fprintf(b, "Latency min/avg/max: %d/%s/%d\n", least, javaDouble(mean), most)
	fmt.Fprintf(b, "Received: %d\n", s.stats.received.Load())
	fmt.Fprintf(b, "Sent: %d\n", s.stats.sent.Load())
	fmt.Fprintf(b, "Connections: %d\n", s.stats.connections.Load())
	fmt.Fprintf(b, "Outstanding: %d\n", s.stats.outstanding.Load())
	fmt.Fprintf(b, "Zxid: 0x%x\n", int64(s.cfg.Cluster.Status().Rev))
	fmt.Fprintf(b, "Mode: %s\n", s.mode())
	fmt.Fprintf(b, "Node count: %d\n", s.cfg.Znodes.Counts().Znodes)
}

// javaDouble prints a number as Java does those of this size: with a point.
func javaDouble(f float64) string {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func (s *Server) writeMntr(b *bytes.Buffer, _ net.Conn) {
	line := func(key string, value any) { fmt.Fprintf(b, "zk_%s\t%v\n", key, value) }
	line("version", s.fullVersion())
	line("server_state", s.mode())
	for _, g := range s.gauges() {
		value := strconv.FormatFloat(g.value, 'f', -1, 64)
		if g.name == "avg_latency" {
			value = javaDouble(g.value)
		}
		line(g.name, value)
	}
}

func (s *Server) writeConf(b *bytes.Buffer, nc net.Conn) {
	_, port, err := net.SplitHostPort(nc.LocalAddr().String())
	if err != nil {
		port = "-1"
	}
	size := s.cfg.Cluster.Status().Size
	tick := s.cfg.Limits.Tick.Milliseconds()
	for _, line := range []struct {
		key   string
		value any
	}{
		{"clientPort", port},
		{"secureClientPort", -1},
		{"dataDir", s.cfg.DataDir},
		{"dataDirSize", size},
		{"dataLogDir", s.cfg.DataDir},
		{"dataLogSize", size},
		{"tickTime", tick},
		{"maxClientCnxns", s.cfg.Limits.MaxPerIP},
		{"minSessionTimeout", s.cfg.timeout(0).Milliseconds()},
		{"maxSessionTimeout", 20 * tick},
		{"clientPortListenBacklog", -1},
		{"serverId", 0},
	} {
		fmt.Fprintf(b, "%s=%v\n", line.key, line.value)
	}
}

func (s *Server) writeEnvi(b *bytes.Buffer, _ net.Conn) {
	host, _ := os.Hostname() // empty if it is not known
	dir, _ := os.Getwd()
	b.WriteString("Environment:\n")
	for _, line := range [][2]string{
		{"zookeeper.version", s.fullVersion()},
		{"host.name", host},
		{"java.version", "none, this is " + runtime.Version()},
		{"os.name", runtime.GOOS},
		{"os.arch", runtime.GOARCH},
		{"user.dir", dir},
	} {
		fmt.Fprintf(b, "%s=%s\n", line[0], line[1])
	}
}
