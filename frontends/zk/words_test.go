package zk

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// word asks a four-letter word and returns all that comes.
func (s *server) word(word string) string {
	s.Helper()
	c := s.dial()
	c.write([]byte(word))
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c.nc)
	require.NoError(s, err)
	return string(b)
}

func allWords(c *Config) { c.Words = []string{"*"} }

// scene does what testdata/README.md says was done before ZooKeeper was asked.
func (s *server) scene() (a, b *client) {
	a, b = s.dial(), s.dial()
	a.hello(wire.ConnectRequest{TimeOut: 10000})
	b.hello(wire.ConnectRequest{TimeOut: 10000})
	a.create("/e", "data", wire.Ephemeral)
	a.create("/p", "data", wire.Persistent)
	b.create("/eb", "x", wire.Ephemeral)
	b.create("/ec", "x", wire.Ephemeral)
	a.get("/p", true)
	a.children("/", true)
	b.get("/p", true)
	require.Equal(s, wire.NoNode, b.call(wire.OpGetData, &wire.GetDataRequest{Path: "/gone", Watch: true}).Err)
	require.Equal(s, wire.NoNode, b.exists("/gone", true))
	b.watchRecursively("/r")
	a.ok(wire.OpPing, nil, nil)
	require.Eventually(s, func() bool { // a reply is counted just after it is written
		return s.face.stats.sent.Load() == 13 && s.face.stats.outstanding.Load() == 0
	}, patience, time.Millisecond)
	return a, b
}

// watchRecursively sends addWatch, whose reply has a body.
func (c *client) watchRecursively(path string) {
	c.Helper()
	body := func(dst []byte) []byte {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(path)))
		dst = append(dst, path...)
		return binary.BigEndian.AppendUint32(dst, 1)
	}
	require.Equal(c, wire.OK, c.call(wire.OpCode(106), appender(body)).Err)
}

type appender func([]byte) []byte

func (a appender) Append(dst []byte) []byte { return a(dst) }

// The parts of an answer that differ from one server to another, in the order in which
// they are looked for.
var varying = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\S+-[0-9a-z]+, built on [0-9/-]+ \d\d:\d\d UTC`), "VERSION"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`\w{3} \w{3} \d\d \d\d:\d\d:\d\d \w+ \d{4}`), "DATE"},
	{regexp.MustCompile(`(lcxid)=0x\d+`), "$1=CXID"},
	{regexp.MustCompile(`lzxid=0xffffffffffffffff`), "lzxid=NONE"},
	{regexp.MustCompile(`0x[0-9a-f]+`), "HEX"},
	{regexp.MustCompile(`\b\d{15,}\b`), "SESSION"},
	{regexp.MustCompile(`-?\b\d+\.\d+\b`), "DOUBLE"},
	{regexp.MustCompile(`\b(to|recved|sent|queued)=(\d+)`), "$1=is $2"},
	{regexp.MustCompile(`=-?\d+\b`), "=N"},
	{regexp.MustCompile(`([: /\t])-?\d{2,}\b`), "${1}N"},
	{regexp.MustCompile(`(min/avg/max: |size: )\d+|/\d+$|(Received: |Sent: |Zxid: )\d+`), "$1${2}N"},
	{regexp.MustCompile(`(?m)(/DOUBLE/)\d+$`), "${1}N"},
}

// normal is an answer without what differs, its lines sorted: ZooKeeper's have no order
// of their own.
func normal(text string) []string {
	for _, v := range varying {
		text = v.re.ReplaceAllString(text, v.with)
	}
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return lines
}

func recordedWord(t testing.TB, name string) string {
	b, err := os.ReadFile(filepath.Join("testdata", "words", name+".txt"))
	require.NoError(t, err)
	return string(b)
}

func TestWordsAreZooKeepers(t *testing.T) {
	s := startServer(t, allWords)
	s.scene()
	ask := func(name, word string) {
		t.Helper()
		require.Equal(t, normal(recordedWord(t, name)), normal(s.word(word)), name)
	}
	for _, name := range strings.Fields("ruok srvr stat conf cons dirs dump gtmk isro wchc wchp wchs hash") {
		if name == "conf" || name == "dump" {
			continue // below
		}
		ask(name, name)
	}
	ask("stmk", "stmk"+string(binary.BigEndian.AppendUint64(nil, 306)))
	keys := func(text string) (all []string) {
		for line := range strings.Lines(text) {
			key, _, _ := strings.Cut(line, "=")
			all = append(all, key)
		}
		return all
	}
	for _, name := range []string{"conf", "envi"} {
		require.Equal(t, keys(recordedWord(t, name)), keys(s.word(name)), name)
	}
	sets := regexp.MustCompile(`Sets \(\d+\)/\(\d+\)|\d+ expire`) // there, an empty one, and one of the connection that asks
	shape := func(text string) []string { return slices.Compact(normal(sets.ReplaceAllString(text, "SETS"))) }
	require.Equal(t, shape(recordedWord(t, "dump")), shape(s.word("dump")))
	ask("crst", "crst")
	ask("srst", "srst")
	ask("cons_reset", "cons")
	s.dial().hello(wire.ConnectRequest{TimeOut: 10000})
	var cons []string
	require.Eventually(t, func() bool { // an answer counts once it is written
		cons = normal(s.word("cons"))
		return slices.Equal(normal(recordedWord(t, "cons_new")), cons)
	}, 10*time.Second, time.Millisecond, "%q", &cons)
}

func TestWordsOfTheRuok(t *testing.T) {
	s := startServer(t, allWords)
	require.Equal(t, "imok", s.word("ruok\n"))
	require.Equal(t, "-1", s.word("stmk"+strings.Repeat("\xff", 8)))
	require.Equal(t, "-1", s.word("gtmk"))
	require.Empty(t, s.word("\xff\xf4\xff\xfd"))
	require.Empty(t, s.word("nope"))
}

// monitored is the lines of mntr by their keys: whether each is text, a double or a
// whole number.
func monitored(t *testing.T, text string) map[string]string {
	kinds := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		require.True(t, ok, line)
		switch {
		case regexp.MustCompile(`^-?\d+$`).MatchString(value):
			kinds[key] = "whole"
		case regexp.MustCompile(`^-?\d+\.\d+$`).MatchString(value):
			kinds[key] = "double"
		default:
			kinds[key] = "text"
		}
	}
	return kinds
}

// Whatever mntr has is in ZooKeeper's, in the same form.
func TestMntrIsZooKeepers(t *testing.T) {
	s := startServer(t, allWords)
	s.scene()
	theirs, text := monitored(t, recordedWord(t, "mntr")), s.word("mntr")
	ours := monitored(t, text)
	for key, kind := range ours {
		require.Equal(t, theirs[key], kind, key)
	}
	for _, line := range strings.Split(`server_state	standalone
znode_count	9
watch_count	5
ephemerals_count	3
num_alive_connections	3
global_sessions	2
local_sessions	0
outstanding_requests	0
last_client_response_size	16
min_client_response_size	16
connection_request_count	2
connection_drop_count	0
bytes_received_count	426
cnt_updatelatency	4
cnt_readlatency	7`, "\n") {
		require.Contains(t, text, "zk_"+line+"\n")
	}
	for _, key := range []string{"avg_latency", "packets_received", "uptime", "approximate_data_size", "p999_readlatency", "sum_fsynctime"} {
		require.Contains(t, ours, "zk_"+key)
	}
}

// The forms that a client reads that is older than ZooKeeper's present date
// (go-zookeeper FLWSrvr).
func TestTheVersionHasTheOldDate(t *testing.T) {
	s := startServer(t, func(c *Config) { c.About.Build = "0123abc"; c.About.Built = time.Unix(1e9, 0) })
	require.True(t, strings.HasPrefix(s.word("srvr"), "Zookeeper version: 3.9.5-0123abc, built on 09/09/2001 01:46 UTC\n"))
}

func TestTheWhitelist(t *testing.T) {
	names := slices.Sorted(maps.Keys(words))
	for _, c := range []struct {
		list     []string
		readOnly bool
		enabled  []string
	}{
		{nil, false, []string{"srvr"}},
		{nil, true, []string{"srvr", "isro"}},
		{[]string{" ruok ", "mntr", "nope"}, false, []string{"srvr", "ruok", "mntr"}},
		{[]string{"ruok", "*"}, false, names},
	} {
		s := startServer(t, func(cfg *Config) { cfg.Words, cfg.Features.ReadOnly = c.list, c.readOnly })
		for _, name := range names {
			refused := wordName(name) + " is not executed because it is not in the whitelist.\n"
			if slices.Contains(c.enabled, name) {
				require.True(t, s.face.words[wordName(name)], name)
			} else {
				require.Equal(t, refused, s.word(name))
			}
		}
	}
}

type leaderless struct{ core.Sessions }

func (leaderless) Contact() error { return core.NoLeader }

func TestWordsWithoutALeader(t *testing.T) {
	s := startServer(t, allWords, func(c *Config) { c.Sessions = leaderless{c.Sessions} })
	for _, word := range strings.Fields("srvr stat mntr conf cons crst dirs dump hash srst wchc wchp wchs") {
		require.Equal(t, notServing+"\n", s.word(word), word)
	}
	require.Equal(t, "null", s.word("isro"))
	require.Equal(t, "imok", s.word("ruok"))
	require.Contains(t, s.word("envi"), "java.version=")
}

func TestJavaDouble(t *testing.T) {
	for f, want := range map[float64]string{0: "0.0", 1: "1.0", 0.25: "0.25", 12.3456: "12.3456"} {
		require.Equal(t, want, javaDouble(f))
	}
}

// Words are answered on a TLS port, too, and conf tells the ports apart.
func TestWordsOverTLS(t *testing.T) {
	s := startServer(t, allWords)
	l, config := listenTLS(t)
	served := make(chan error, 1)
	go func() { served <- s.face.Serve(l) }()
	t.Cleanup(func() { _ = l.Close() })
	nc, err := tls.Dial("tcp", l.Addr().String(), config)
	require.NoError(t, err)
	defer func() { _ = nc.Close() }() // it was only read
	_, err = nc.Write([]byte("conf"))
	require.NoError(t, err)
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(nc)
	require.NoError(t, err)
	_, plain, err := net.SplitHostPort(s.address)
	require.NoError(t, err)
	_, secure, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	require.Contains(t, string(b), "clientPort="+plain+"\nsecureClientPort="+secure+"\n")
}

// secureListener says what it is.
type secureListener struct{ net.Listener }

func (secureListener) Secure() bool { return true }

// listenTLS listens with a certificate of its own, and returns what a client needs.
func listenTLS(t *testing.T) (net.Listener, *tls.Config) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	t.Cleanup(s.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.TLS)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return secureListener{l}, &tls.Config{RootCAs: roots, ServerName: "example.com"}
}
