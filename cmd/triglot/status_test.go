package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	httpfront "github.com/triglot/triglot/frontends/http"
)

// showStatus runs triglot status, and returns its exit status and what it says.
func showStatus(t *testing.T, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	p := &process{args: append([]string{"triglot", "status"}, args...), environ: env, stdout: &out, stderr: &problems}
	status = p.run()
	return status, out.String(), problems.String()
}

func TestStatusOfALoneMember(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, address := serving(t, dir, nil, anyPort...)
	put(t, dial(t, address), "k", "v")
	status, out, _ := showStatus(t, nil, "--endpoints", address)
	require.Zero(t, status, out)
	require.Regexp(t, `^cluster [0-9a-f]+, leader [0-9a-f]+, 1 of 1 members answer\n`, out)
	require.Contains(t, out, "leader")
	for _, format := range []string{"--json", "-wjson"} {
		status, out, _ = showStatus(t, []string{"ETCDCTL_ENDPOINTS=http://127.0.0.1:1,http://" + address}, format)
		require.Zero(t, status, out)
		var got struct {
			Healthy bool
			httpfront.StatusReport
		}
		require.NoError(t, json.Unmarshal([]byte(out), &got))
		require.True(t, got.Healthy)
		require.Len(t, got.Members, 1)
		require.Equal(t, "default", got.Members[0].Name)
		require.Positive(t, got.Members[0].State.Rev)
	}
	status, out, _ = showStatus(t, nil, "--endpoints", "unix://"+filepath.Join(dir, "data", localSocket))
	require.Zero(t, status, out)
	r.stop()

	status, _, problems := showStatus(t, nil, "--endpoints", address)
	require.Equal(t, exitFailed, status)
	require.Contains(t, problems, "triglot: "+address+": ")
	require.Contains(t, problems, "connection refused")
}

// Each endpoint that does not answer is named with the reason, as JSON too.
func TestStatusWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	mute, curt := listen(), listen()
	go func() {
		for c, err := curt.Accept(); err == nil; c, err = curt.Accept() {
			_, _ = c.Read(make([]byte, 1))
			_ = c.Close()
		}
	}()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	for _, test := range []struct{ endpoint, says string }{
		{mute.Addr().String(), "no answer within 200ms"},
		{curt.Addr().String(), "it closes the connection, as a port that is not for etcd's clients may"},
		{"https://" + plain.Listener.Addr().String(), "it speaks HTTP, not HTTPS"},
		{secure.Listener.Addr().String(), "it speaks HTTPS, not HTTP"},
		{secure.URL, "its certificate is not to be trusted (--cacert names the authority): x509: certificate signed by unknown authority"},
	} {
		want := test.endpoint + ": " + test.says
		within := "--command-timeout=30s" // those that say something have time to
		if strings.HasPrefix(test.says, "no answer") {
			within = "--command-timeout=200ms"
		}
		status, out, problems := showStatus(t, nil, within, "--endpoints", test.endpoint)
		require.Equal(t, exitFailed, status)
		require.Empty(t, out)
		require.Equal(t, "triglot: "+want+"\n", problems)
		status, out, problems = showStatus(t, nil, within, "-w=json", "--endpoints", test.endpoint)
		require.Equal(t, exitFailed, status)
		require.Empty(t, problems)
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(out), &got))
		require.Equal(t, map[string]any{"healthy": false, "problems": []any{want}}, got)
	}
}

// Whoever is not root sees nothing while authentication is on, but through the socket.
func TestStatusNeedsRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// What a password costs is paid with the CPU that others leave: little of a busy one.
	r, address := serving(t, dir, nil, append(slices.Clip(anyPort), "--bcrypt-cost=4")...)
	post := func(path, body string) {
		resp, err := http.Post("http://"+address+path, "application/json", bytes.NewBufferString(body))
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode, "%s", text)
	}
	post("/v3/auth/user/add", `{"name":"root","password":"secret"}`)
	post("/v3/auth/user/add", `{"name":"alice","password":"secret"}`)
	post("/v3/auth/role/add", `{"name":"root"}`)
	post("/v3/auth/user/grant", `{"user":"root","role":"root"}`)
	post("/v3/auth/enable", `{}`)
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{nil, exitFailed, "401 Unauthorized"},
		{[]string{"--user=alice:secret"}, exitFailed, "403 Forbidden: etcdserver: permission denied"},
		{[]string{"--user=root:wrong"}, exitFailed, "authentication failed"},
		{[]string{"--user=root"}, exitUsage, "--user has no password"},
		{[]string{"--user=root:secret"}, exitOK, ""},
		{[]string{"--user=root", "--password=secret"}, exitOK, ""},
		{[]string{"--endpoints=unix://" + filepath.Join(dir, "data", localSocket)}, exitOK, ""},
		{[]string{"-w=yaml"}, exitUsage, `--write-out "yaml" is not one of table, json`},
		{[]string{"more"}, exitUsage, "takes flags only"},
	} {
		status, out, problems := showStatus(t, nil, append([]string{"--endpoints=" + address, "--command-timeout=" + patience.String()}, test.args...)...)
		require.Equal(t, test.status, status, "%v: %s%s", test.args, out, problems)
		require.Contains(t, problems, test.says)
		require.NotContains(t, problems+out, "secret")
	}
	r.stop()
}

// A member that cannot be reached, a leader on which they do not agree and an alarm are
// each a reason for status 1.
func TestStatusNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	report := `{"cluster_id":"c","member_id":"a","leader":"a","members":[
		{"id":"a","name":"m1","role":"leader","client_urls":["http://h:1"],"state":{"leader":"a","revision":7,"alarms":[{"member_id":"b","alarm":"NOSPACE"}]}},
		{"id":"b","name":"m2","role":"follower","state":{"leader":"d","alarms":[{"member_id":"b","alarm":"NOSPACE"}]}},
		{"id":"d","name":"","role":"unknown","error":"no connection"},
		{"id":"e","name":"m5","role":"unknown","error":"no connection"},
		{"id":"f","name":"m6","role":"learner","error":"no connection"}]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, report) }))
	defer server.Close()
	status, out, _ := showStatus(t, nil, "--endpoints", server.URL)
	require.Equal(t, exitFailed, status)
	require.Contains(t, out, "cluster c, leader a, 2 of 5 members answer\n")
	for _, line := range []string{
		"only 2 of 4 voting members answer: without a majority nothing can be written",
		"alarm NOSPACE of member b", "member b (m2) takes d for the leader", "member d has not started",
		"member e (m5) does not answer: no connection",
	} {
		require.Contains(t, out, "\n"+line+"\n")
	}
}

// A member of an older version, like an etcd, tells of itself.
func TestStatusOfAnOlderMember(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/v3/maintenance/status":  `{"header":{"cluster_id":"12","member_id":"10","revision":"7","raft_term":"2"},"version":"3.7.0","dbSize":"2048","leader":"10","raftIndex":"9","raftTerm":"2","raftAppliedIndex":"8"}`,
		"/v3/cluster/member/list": `{"members":[{"ID":"10","name":"m1","peerURLs":["http://h:1"],"clientURLs":["http://h:2"]}]}`,
		"/v3/maintenance/alarm":   `{}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, text)
	}))
	defer server.Close()
	status, out, problems := showStatus(t, nil, "--endpoints", server.URL)
	require.Zero(t, status, out+problems)
	require.Contains(t, out, "cluster c, leader a, 1 of 1 members answer\n")
	require.Contains(t, out, "2.0 kB")
}
