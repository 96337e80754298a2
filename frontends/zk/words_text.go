package zk

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net"
	"os"
	"os/user"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// fullVersion is the version as ZooKeeper prints it, but for the date: it is the
// one form that all clients can read (go-zookeeper FLWSrvr).
func (s *Server) fullVersion() string {
	return fmt.Sprintf("%s-%s, built on %s", s.cfg.About.Version, s.cfg.About.Build, s.cfg.About.Built.UTC().Format("01/02/2006 15:04 UTC"))
}

func (s *Server) writeVersion(b *bytes.Buffer) {
	fmt.Fprintf(b, "Zookeeper version: %s\n", s.fullVersion())
	if s.readOnly.Load() {
		b.WriteString("READ-ONLY mode; serving only read-only clients\n")
	}
}

func (s *Server) writeSrvr(b *bytes.Buffer, _ net.Conn) {
	s.writeVersion(b)
	s.writeFigures(b)
}

func (s *Server) writeStat(b *bytes.Buffer, nc net.Conn) {
	s.writeVersion(b)
	b.WriteString("Clients:\n")
	for _, c := range s.sessions.list() {
		writeClient(b, c.nc, 1, c)
		b.WriteString(")\n")
	}
	writeClient(b, nc, 0, nil)
	b.WriteString(")\n\n")
	s.writeFigures(b)
}

func (s *Server) writeCons(b *bytes.Buffer, nc net.Conn) {
	writeClient(b, nc, 0, nil)
	b.WriteString(")\n")
	for _, c := range s.sessions.list() {
		writeClient(b, c.nc, 1, c)
		f := c.stats.figures()
		fmt.Fprintf(b, ",sid=0x%x,lop=%s,est=%d,to=%d", int64(c.session.ID), lastOperation(f.last.op),
			f.established.UnixMilli(), c.timeout.Milliseconds())
		if f.last.op != nil && f.last.cxid >= 0 {
			fmt.Fprintf(b, ",lcxid=0x%x", f.last.cxid)
		}
		fmt.Fprintf(b, ",lzxid=0x%x,lresp=%d,llat=%d,minlat=%d,avglat=%d,maxlat=%d)\n",
			uint64(f.lastZxid()), f.last.at.Milliseconds(), f.last.took.Milliseconds(),
			f.min.Milliseconds(), f.mean().Milliseconds(), f.max.Milliseconds())
	}
	b.WriteString("\n")
}

// lastZxid is -1 if nothing was answered.
func (f *connFigures) lastZxid() int64 {
	if f.last.op == nil {
		return -1
	}
	return int64(f.last.zxid)
}

// writeClient begins the line of a connection; interest is whether the server reads
// from it. One that asks a word has no session, and c is nil.
func writeClient(b *bytes.Buffer, nc net.Conn, interest int, c *conn) {
	queued, received, sent := 0, uint64(1), uint64(0)
	if c != nil {
		queued, received, sent = c.outstanding(), c.stats.received.Load(), c.stats.sent.Load()
	}
	fmt.Fprintf(b, " /%s[%d](queued=%d,recved=%d,sent=%d", nc.RemoteAddr(), interest, queued, received, sent)
}

// outstanding is the number of requests that wait for their answer.
func (c *conn) outstanding() int {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	return c.queue.outstanding
}

// lastOperations are what `cons` calls them (ZooKeeper 3.9 FinalRequestProcessor).
var lastOperations = map[string]string{
	"ping": "PING", "openSession": "SESS", "multi": "MULT", "multiRead": "MLTR",
	"create": "CREA", "create2": "CREA", "createContainer": "CREA", "createTTL": "CREA",
	"delete": "DELE", "setData": "SETD", "reconfig": "RECO", "setACL": "SETA", "closeSession": "CLOS", "sync": "SYNC",
	"exists": "EXIS", "getData": "GETD", "setWatches": "SETW", "setWatches2": "STW2", "addWatch": "ADDW",
	"getACL": "GETA", "getChildren": "GETC", "getChildren2": "GETC", "getAllChildrenNumber": "GETACN",
	"checkWatches": "CHKW", "removeWatches": "REMW", "whoAmI": "HOMI", "getEphemerals": "GETE",
}

func lastOperation(op *operation) string {
	if op == nil {
		return "NA"
	}
	return cmp.Or(lastOperations[op.name], "NA")
}

func (s *Server) writeFigures(b *bytes.Buffer) {
	least, mean, most := s.stats.latency.milliseconds()
	fmt.Fprintf(b, "Latency min/avg/max: %d/%s/%d\n", least, javaDouble(mean), most)
	fmt.Fprintf(b, "Received: %d\n", s.stats.received.Load())
	fmt.Fprintf(b, "Sent: %d\n", s.stats.sent.Load())
	fmt.Fprintf(b, "Connections: %d\n", s.stats.connections.Load())
	fmt.Fprintf(b, "Outstanding: %d\n", s.stats.outstanding.Load())
	fmt.Fprintf(b, "Zxid: 0x%x\n", int64(s.cfg.Cluster.Status().Rev))
	mode := s.mode()
	fmt.Fprintf(b, "Mode: %s\n", mode)
	fmt.Fprintf(b, "Node count: %d\n", s.cfg.Znodes.Counts().Znodes)
	if mode == "leader" {
		b.WriteString("Proposal sizes last/min/max: -1/-1/-1\n") // as of one that has made none
	}
}

// javaDouble prints a number as Java does those of this size: with a point.
func javaDouble(f float64) string {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// setting is a line of `conf` or `envi`.
type setting struct {
	key   string
	value any
}

func writeSettings(b *bytes.Buffer, lines []setting) {
	for _, l := range lines {
		fmt.Fprintf(b, "%s=%v\n", l.key, l.value)
	}
}

// isSecure says whether the connections of a listener are TLS ones from their first byte.
func isSecure(l net.Listener) bool {
	s, ok := l.(interface{ Secure() bool })
	return ok && s.Secure()
}

// ports are those of the first plain and the first TLS listener, -1 if there is none.
func (s *Server) ports() (plain, secure int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	plain, secure = -1, -1
	for l := range s.listeners {
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			continue
		}
		if isSecure(l) {
			secure = max(secure, addr.Port)
		} else {
			plain = max(plain, addr.Port)
		}
	}
	return plain, secure
}

func (s *Server) writeConf(b *bytes.Buffer, _ net.Conn) {
	plain, secure := s.ports()
	size := s.cfg.Cluster.Status().Size
	writeSettings(b, []setting{
		{"clientPort", plain},
		{"secureClientPort", secure},
		{"dataDir", s.cfg.About.DataDir},
		{"dataDirSize", size},
		{"dataLogDir", s.cfg.About.DataDir},
		{"dataLogSize", size},
		{"tickTime", s.cfg.Limits.Tick.Milliseconds()},
		{"maxClientCnxns", s.cfg.Limits.MaxPerIP},
		{"minSessionTimeout", s.timeout(0).Milliseconds()},
		{"maxSessionTimeout", s.timeout(1 << 62).Milliseconds()},
		{"clientPortListenBacklog", -1},
		{"serverId", s.serverID()},
	})
	s.writeMembership(b)
}

func (s *Server) writeDirs(b *bytes.Buffer, _ net.Conn) {
	size := s.cfg.Cluster.Status().Size
	fmt.Fprintf(b, "datadir_size: %d\nlogdir_size: %d\n", size, size)
}

func (s *Server) writeEnvi(b *bytes.Buffer, _ net.Conn) {
	b.WriteString("Environment:\n")
	writeSettings(b, s.environment())
}

// environment has the names of Java's properties, which clients parse.
func (s *Server) environment() []setting {
	host, _ := os.Hostname() // empty if it is not known, as what follows
	dir, _ := os.Getwd()
	exe, _ := os.Executable()
	who, err := user.Current()
	if err != nil {
		who = &user.User{}
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	const mb = 1 << 20
	return []setting{
		{"zookeeper.version", s.fullVersion()},
		{"host.name", host},
		{"java.version", runtime.Version()},
		{"java.vendor", "none: this is Go"},
		{"java.home", "<NA>"},
		{"java.class.path", exe},
		{"java.library.path", "<NA>"},
		{"java.io.tmpdir", os.TempDir()},
		{"java.compiler", "<NA>"},
		{"os.name", strings.ToUpper(runtime.GOOS[:1]) + runtime.GOOS[1:]},
		{"os.arch", runtime.GOARCH},
		{"os.version", kernelRelease()},
		{"user.name", who.Username},
		{"user.home", who.HomeDir},
		{"user.dir", dir},
		{"os.memory.free", fmt.Sprintf("%dMB", (mem.HeapSys-mem.HeapInuse)/mb)},
		{"os.memory.max", fmt.Sprintf("%dMB", debug.SetMemoryLimit(-1)/mb)},
		{"os.memory.total", fmt.Sprintf("%dMB", mem.HeapSys/mb)},
	}
}

func kernelRelease() string {
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return "<NA>"
	}
	var b strings.Builder
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}

// javaDate is Date.toString.
func javaDate(t time.Time) string { return t.Format("Mon Jan 02 15:04:05 MST 2006") }
