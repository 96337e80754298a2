package gateway

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/ensemble"
	"github.com/triglot/triglot/compat-tests/server"
)

// TestScript runs each file of testdata on a fresh server. Those in etcd hold etcd's
// answers, and both servers must give them; those in triglot hold Triglot's where it
// means to differ, and etcd must not give them, or there is nothing to differ in.
// To record anew:
//
//	TARGET=etcd go test ./gateway -rewrite
//	go test ./gateway -rewrite
//
// The commands; the input is the body:
//
//	post path=P [method=M] [fill=N] [HEADER=VALUE...] [hide=(FIELD,...)]
//	    a request, whose answer is shown; "fill" puts N letters in the place of $FILL
//	stream id=S path=P [lines=N] [HEADER=VALUE...]
//	    a request whose answer goes on: the first N lines (1 by default) are shown
//	next id=S [lines=N]
//	    shows the next N lines, or that the answer has ended
//	close id=S
//	    the client goes away
//	await path=P contains=TEXT [...]
//	    makes a request again and again until its answer contains TEXT
//
// Headers are Content-Type, Authorization and what begins with Grpc-. With "save=N" the
// token that an answer holds is what $N is in later headers.
func TestScript(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	for _, recorded := range []server.Target{server.Etcd, server.Triglot} {
		t.Run(string(recorded), func(t *testing.T) {
			if flag.Lookup("rewrite").Value.String() == "true" && recorded != target {
				t.Skipf("recorded with TARGET=%s", recorded)
			}
			datadriven.Walk(t, filepath.Join("testdata", string(recorded)), func(t *testing.T, path string) {
				t.Parallel()
				if several() && slices.Contains(ofOne, filepath.Base(path)) {
					t.Skip("it is written for a lone member")
				}
				runScript(t, path, target, recorded)
			})
		})
	}
}

// ofOne are the scripts that ask for what only a leader does, or a member without others.
var ofOne = []string{"maintenance.txt"}

// startServer starts a server, with MEMBERS=3 three, and returns the URL of one that
// follows.
func startServer(t *testing.T, target server.Target) (url string) {
	if !several() {
		return server.StartT(t, server.Options{
			Target: target, AdvertisePeerURL: "http://127.0.0.1:2380", EtcdMode: true,
		}).URL()
	}
	c, err := ensemble.Start(context.Background(), ensemble.Options{Kind: ensemble.Kind(target), EtcdMode: true})
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	require.NoError(t, err)
	leader := c.Leader(context.Background())
	at := slices.IndexFunc(c.Members, func(m *ensemble.Member) bool { return m != leader })
	return "http://" + c.Members[at].EtcdEndpoint()
}

func runScript(t *testing.T, path string, target, recorded server.Target) {
	url := startServer(t, target)
	patience := 10 * time.Second
	if target == server.Etcd && recorded == server.Triglot {
		patience = time.Second // some of what is asked for there never comes
	}
	s := newSession(url, patience)
	defer s.close()
	v := &renderer{target: target, url: url}
	// etcd comes to know the version of its store a little later than it serves.
	require.Eventually(t, func() bool {
		a, err := s.fetch(request{method: http.MethodGet, path: "/version"})
		return err == nil && strings.Contains(strings.Join(a.lines, ""), `"storage":"3.7.0"`)
	}, 10*time.Second, 20*time.Millisecond)
	status, err := s.fetch(request{method: http.MethodPost, path: "/v3/maintenance/status"})
	require.NoError(t, err)
	require.Len(t, status.lines, 1)
	require.NoError(t, v.learn(status.lines[0]))
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		got := run(t, s, v, d)
		if target == server.Etcd && recorded == server.Triglot {
			require.NotEqual(t, d.Expected, got, "%s: Triglot does not differ here", d.Pos)
			return d.Expected
		}
		return got
	})
	for name, st := range s.streams {
		select {
		case line := <-st.lines:
			require.Fail(t, "a stream has more than the script takes", "%s: %s", name, line)
		default:
		}
	}
}

// run executes one command and shows what came of it.
func run(t *testing.T, s *session, v *renderer, d *datadriven.TestData) string {
	switch d.Cmd {
	case "post":
		a, err := s.fetch(s.requestOf(t, d))
		if err != nil {
			return "error: " + strings.ReplaceAll(err.Error(), v.url, "URL") + "\n"
		}
		s.save(t, d, a)
		return v.answer(a, hidden(d))
	case "await":
		r, text, shown := s.requestOf(t, d), "", ""
		d.ScanArgs(t, "contains", &text)
		require.Eventually(t, func() bool {
			a, err := s.fetch(r)
			shown = v.answer(a, hidden(d))
			return err == nil && strings.Contains(shown, text)
		}, s.patience, 5*time.Millisecond, "%s: no answer holds %s", d.Pos, text)
		return shown
	case "stream":
		st := s.open(s.requestOf(t, d))
		s.streams[id(t, d)] = st
		if lines(t, d) == 0 {
			return ""
		}
		head, err := st.begin()
		if err != nil {
			return "error: " + strings.ReplaceAll(err.Error(), v.url, "URL") + "\n"
		}
		return v.head(head) + "\n" + following(t, v, d, st)
	case "next":
		return following(t, v, d, s.streams[id(t, d)])
	case "close":
		st := s.streams[id(t, d)]
		st.cancel()
		<-st.ended
		return ""
	default:
		d.Fatalf(t, "no command is called %q", d.Cmd)
		return ""
	}
}

// following shows the lines that a command asks for.
func following(t *testing.T, v *renderer, d *datadriven.TestData, st *stream) string {
	require.NotNil(t, st, d.Pos)
	got, ended, err := st.next(lines(t, d))
	a := v.lines(got, hidden(d))
	switch {
	case err != nil:
		a += "error: " + err.Error() + "\n"
	case ended:
		a += "end\n"
	}
	return a
}

func (v *renderer) answer(a reply, hide []string) string {
	return v.head(a) + "\n" + v.lines(a.lines, hide)
}

func (v *renderer) lines(lines, hide []string) string {
	var s strings.Builder
	for _, line := range lines {
		fmt.Fprintln(&s, v.line(line, hide))
	}
	return s.String()
}

var tokens = regexp.MustCompile(`"token":"([^"]*)"`)

// save remembers the token of an answer under the name that the command gives.
func (s *session) save(t *testing.T, d *datadriven.TestData, a reply) {
	name := ""
	if !d.MaybeScanArgs(t, "save", &name) {
		return
	}
	m := tokens.FindStringSubmatch(strings.Join(a.lines, "\n"))
	require.NotNil(t, m, "%s: no token in %s", d.Pos, a.lines)
	s.saved = append(s.saved, "$"+name, m[1])
}

func (s *session) requestOf(t *testing.T, d *datadriven.TestData) request {
	r := request{method: http.MethodPost, body: d.Input, header: make(http.Header)}
	d.ScanArgs(t, "path", &r.path)
	d.MaybeScanArgs(t, "method", &r.method)
	fill := 0
	if d.MaybeScanArgs(t, "fill", &fill) {
		r.body = strings.ReplaceAll(r.body, "$FILL", strings.Repeat("A", fill))
	}
	for _, arg := range d.CmdArgs {
		if arg.Key == "Content-Type" || arg.Key == "Authorization" || strings.HasPrefix(arg.Key, "Grpc-") {
			r.header.Set(arg.Key, strings.NewReplacer(s.saved...).Replace(strings.Join(arg.Vals, ", ")))
		}
	}
	return r
}

func id(t *testing.T, d *datadriven.TestData) (name string) {
	d.ScanArgs(t, "id", &name)
	return name
}

func lines(t *testing.T, d *datadriven.TestData) int {
	n := 1
	d.MaybeScanArgs(t, "lines", &n)
	return n
}

func hidden(d *datadriven.TestData) []string {
	for _, arg := range d.CmdArgs {
		if arg.Key == "hide" {
			return arg.Vals
		}
	}
	return nil
}
