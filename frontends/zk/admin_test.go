package zk

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/wire"
)

const superTest = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=" // of the password "test"

// adminClient asks a handler.
type adminClient struct {
	testing.TB
	handler http.Handler
}

func (s *server) admin(cfg AdminConfig) adminClient { return adminClient{s.TB, NewAdmin(s.face, cfg)} }

func (c adminClient) ask(method, path, auth string) *httptest.ResponseRecorder {
	c.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader("x"))
	r.RemoteAddr = "127.0.0.1:4711"
	if auth != "-" {
		r.Header.Set("Authorization", auth)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w
}

func recordedAdmin(t testing.TB, name string) (code string, body string) {
	b, err := os.ReadFile(filepath.Join("testdata", "admin", name+".txt"))
	require.NoError(t, err)
	code, body, _ = strings.Cut(string(b), "\n")
	return code, body
}

// What AdminServer answers is what ZooKeeper's does, line by line: keys, their order,
// kinds of values and indents.
func TestAdminIsZooKeepers(t *testing.T) {
	s := startServer(t, allWords)
	s.scene()
	c := s.admin(AdminConfig{InitialConfig: "x"})
	initial := regexp.MustCompile(`"initial_configuration" : ".*"`)
	for _, name := range strings.Fields(`connections configuration dirs get_trace_mask hash initial_configuration is_read_only last_snapshot
		leader observers ruok set_trace_mask server_stats stats voting_view watch_summary zabstate nope snap snapshot watches watches_by_path
		connection_stat_reset stat_reset observer_connection_stat_reset`) {
		code, body := recordedAdmin(t, name)
		w := c.ask(http.MethodGet, "/commands/"+name, "-")
		got := w.Body.String()
		if name == "last_snapshot" { // ZooKeeper has one from its start
			body = strings.NewReplacer(`"0"`, `"ffffffffffffffff"`).Replace(body)
		}
		body, got = initial.ReplaceAllString(body, "INITIAL"), initial.ReplaceAllString(got, "INITIAL")
		require.Equal(t, code, statusOf(w), name)
		require.Equal(t, adminShape(body), adminShape(got), name)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	}
	for name, path := range map[string]string{
		"set_trace_mask_1": "set_trace_mask?traceMask=1", "set_trace_mask_x": "set_trace_mask?traceMask=x", "ruok_": "ruok/", "links": "",
	} {
		code, body := recordedAdmin(t, name)
		w := c.ask(http.MethodGet, "/commands/"+path, "-")
		require.Equal(t, code, statusOf(w), name)
		require.Equal(t, body, w.Body.String(), name)
	}
	_, links := recordedAdmin(t, "links")
	require.Equal(t, links, c.ask(http.MethodPost, "/commands", "-").Body.String())
	require.Equal(t, http.StatusNotFound, c.ask(http.MethodGet, "/other", "-").Code)
	require.Equal(t, http.StatusNotFound, c.ask(http.MethodGet, "/commandsx", "-").Code)
}

func statusOf(w *httptest.ResponseRecorder) string { return strconv.Itoa(w.Code) }

// adminShape is an answer without what differs; it keeps the order of lines.
func adminShape(text string) string {
	for _, v := range []struct{ re, with string }{
		{`\S+-[0-9a-z]+, built on [0-9/-]+ \d\d:\d\d UTC`, "VERSION"},
		{`127\.0\.0\.1:\d+`, "ADDRESS"},
		{`"/\S*"`, "PATH"},
		{`\b\d{15,}\b`, "SESSION"},
		{`(connections|paths|watches)" : (\d+)`, "$1 $2"},
		{`\[ (PATH|SESSION)(, (PATH|SESSION))* \]`, "LIST"},
		{`-?\b\d+\.\d+\b`, "DOUBLE"},
		{`"\w*_dir" : "?\w+"?`, "DIR"},
		{`"\w*_dir" : PATH`, "DIR"},
		{` : "(PING|ADDW|GETD)"`, " : OP"},
		{` : -?\d+`, " : N"},
	} {
		text = regexp.MustCompile(v.re).ReplaceAllString(text, v.with)
	}
	return text
}

// All names of a command answer alike.
func TestAdminAliases(t *testing.T) {
	s := startServer(t)
	c := s.admin(AdminConfig{})
	for i := range adminCommands {
		for _, name := range adminCommands[i].names {
			var m map[string]any
			body := c.ask(http.MethodGet, "/commands/"+name, "digest u:p").Body.Bytes()
			if !adminCommands[i].guarded {
				require.NoError(t, json.Unmarshal(body, &m), "%s", body)
				require.Equal(t, adminCommands[i].names[0], m["command"])
			}
		}
	}
	monitor := c.ask(http.MethodGet, "/commands/mntr", "-").Body.Bytes()
	var ours, theirs map[string]any
	require.NoError(t, json.Unmarshal(monitor, &ours))
	_, recorded := recordedAdmin(t, "monitor")
	require.NoError(t, json.Unmarshal([]byte(recorded), &theirs))
	for key := range ours {
		require.Contains(t, theirs, key)
	}
	var dump map[string]any
	require.NoError(t, json.Unmarshal(c.ask(http.MethodGet, "/commands/dump", "-").Body.Bytes(), &dump))
	require.Contains(t, dump, "expiry_time_to_session_ids")
	require.Contains(t, dump, "session_id_to_ephemeral_paths")
}

func TestAdminAuthorization(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Security.SuperDigest = superTest })
	c := s.admin(AdminConfig{RateLimit: time.Nanosecond})
	for i, auth := range []string{"digest u:p", "digest", "ip", "world anyone", "Basic x", "digest a b c", ""} {
		code, body := recordedAdmin(t, "auth"+strconv.Itoa(i))
		w := c.ask(http.MethodGet, "/commands/snapshot?streaming=false", auth)
		require.Equal(t, code, statusOf(w), auth)
		require.Equal(t, body, w.Body.String(), auth)
	}
	code, body := recordedAdmin(t, "post_restore")
	w := c.ask(http.MethodPost, "/commands/restore", "-")
	require.Equal(t, code, statusOf(w))
	require.Equal(t, body, w.Body.String())
	for _, r := range []struct{ method, command, allow string }{
		{http.MethodPost, "ruok", "GET, HEAD"}, {http.MethodGet, "restore", "POST"}, {http.MethodDelete, "ruok", "GET, HEAD, POST"},
	} {
		w := c.ask(r.method, "/commands/"+r.command, "digest super:test")
		require.Equal(t, http.StatusMethodNotAllowed, w.Code)
		require.Equal(t, r.allow, w.Header().Get("Allow"))
	}
}

func TestAdminSnapshot(t *testing.T) {
	s := startServer(t)
	s.connect().create("/a", "data", wire.Persistent)
	c := s.admin(AdminConfig{})
	w := c.ask(http.MethodGet, "/commands/snapshot", "digest u:p")
	require.Equal(t, http.StatusOK, w.Code)
	exact := map[string][]string(w.Header()) // ZooKeeper's names are not Go's canonical ones
	require.Equal(t, []string{"0x2"}, exact["last_zxid"])
	require.Equal(t, []string{strconv.Itoa(w.Body.Len())}, exact["snapshot_size"])
	require.Equal(t, "application/octet-stream", w.Header().Get("Content-Type"))
	require.True(t, bytes.HasPrefix(w.Body.Bytes(), []byte("ZKSN")))
	require.Contains(t, w.Body.String(), "/a")
	require.Contains(t, c.ask(http.MethodGet, "/commands/lsnp", "-").Body.String(), `"zxid" : "2"`)
	require.Eventually(t, func() bool { // one in 300 ms
		return c.ask(http.MethodGet, "/commands/snapshot", "digest u:p").Code == http.StatusTooManyRequests
	}, patience, time.Millisecond)

	off := s.admin(AdminConfig{NoSnapshot: true, NoRestore: true})
	w = off.ask(http.MethodGet, "/commands/snapshot", "digest u:p")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "{\n  \"command\" : \"snapshot\",\n  \"error\" : null\n}", w.Body.String())
	require.Equal(t, http.StatusServiceUnavailable, off.ask(http.MethodPost, "/commands/restore", "digest u:p").Code)
}

// A restore answers as ZooKeeper's: a snapshot, another too soon, nonsense, and nothing.
// It ends the connections of sessions that are not in the snapshot, and what was written
// since is gone.
func TestAdminRestore(t *testing.T) {
	s := startServer(t)
	client := s.connect()
	client.create("/a", "data", wire.Persistent)
	const restore, auth = "/commands/restore", "digest u:p"
	snapshot := s.admin(AdminConfig{}).ask(http.MethodGet, "/commands/snapshot", auth).Body.String()
	later := s.connect()
	later.create("/later", "x", wire.Persistent)
	often, seldom := s.admin(AdminConfig{RateLimit: time.Nanosecond}), s.admin(AdminConfig{})
	send := func(c adminClient, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, restore, strings.NewReader(body))
		r.Header.Set("Authorization", auth)
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, r)
		return w
	}
	check := func(name string, w *httptest.ResponseRecorder) {
		t.Helper()
		code, body := recordedAdmin(t, "post_restore_"+name)
		require.Equal(t, code, statusOf(w), name)
		require.Equal(t, adminShape(body), adminShape(w.Body.String()), name)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	}
	before := s.node.Status().Rev
	check("bad", send(often, "nonsense"))
	check("empty", send(often, ""))
	check("bad", send(often, snapshot[:len(snapshot)-1]))
	require.Equal(t, before, s.node.Status().Rev, "nothing was changed")
	check("ok", send(seldom, snapshot))
	check("limited", send(seldom, snapshot))
	require.Equal(t, http.StatusServiceUnavailable, send(s.admin(AdminConfig{NoRestore: true}), snapshot).Code)
	client.gone()
	later.gone()
	c := s.connect()
	data, stat := c.get("/a", false)
	require.Equal(t, "data", data)
	require.EqualValues(t, 2, stat.Czxid)
	require.Greater(t, stat.Mzxid, stat.Czxid)
	require.Equal(t, wire.NoNode, c.exists("/later", false))
}

// Guarded commands need all rights on "/", and a snapshot is for who may read all that is
// in it (design 8; ZooKeeper gives it to whoever has the rights on "/").
func TestAdminGuardsWhatACLsProtect(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Security.SuperDigest = superTest })
	ask := func(auth string) int {
		return s.admin(AdminConfig{}).ask(http.MethodGet, "/commands/snapshot", auth).Code
	}
	c := s.connect()
	c.auth("digest", "u:p")
	require.Equal(t, wire.OK, c.createWith("/secret", allow(31, "digest", digestOf)))
	require.Equal(t, http.StatusForbidden, ask("digest other:p"))
	require.Equal(t, http.StatusForbidden, ask("ip"))
	require.Equal(t, http.StatusOK, ask("digest u:p"))
	require.Equal(t, http.StatusOK, ask("digest super:test"))
	require.Equal(t, wire.OK, c.setACL("/", -1, allow(31, "digest", digestOf)))
	require.Equal(t, http.StatusOK, ask("digest u:p"))
	require.Equal(t, wire.OK, c.setACL("/", -1, allow(15, "digest", digestOf), allow(16, "ip", "127.0.0.1")))
	w := s.admin(AdminConfig{}).ask(http.MethodGet, "/commands/snapshot", "digest u:p")
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Equal(t, "{\n  \"command\" : \"snapshot\",\n  \"error\" : \"Not authorized\"\n}", w.Body.String())
	require.Equal(t, http.StatusForbidden, s.admin(AdminConfig{}).ask(http.MethodPost, "/commands/restore", "digest u:p").Code)
	require.Equal(t, http.StatusOK, ask("digest super:test"))
}

func TestAdminWithoutALeader(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Sessions = leaderless{c.Sessions} })
	c := s.admin(AdminConfig{CommandURL: "/x"})
	for name, want := range map[string]string{"srvr": notServing, "snapshot": notServing} {
		w := c.ask(http.MethodGet, "/x/"+name, "-")
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "{\n  \"command\" : \""+name+"\",\n  \"error\" : \""+want+"\"\n}", w.Body.String())
	}
	require.Contains(t, c.ask(http.MethodGet, "/x/env", "-").Body.String(), "java.version")
}

func TestPrettyJSON(t *testing.T) {
	o := object{
		{"a", object{}},
		{"b", []object{}},
		{"c", []object{{{"x", 1}, {"y", nil}}, {{"z", true}}}},
		{"d", []int64{1, -2}},
		{"e", "<\"\n\u00e9>"},
		{"f", object{{"g", double(1)}}},
	}
	require.Equal(t, `{
  "a" : { },
  "b" : [ ],
  "c" : [ {
    "x" : 1,
    "y" : null
  }, {
    "z" : true
  } ],
  "d" : [ 1, -2 ],
  "e" : "<\"\né>",
  "f" : {
    "g" : 1.0
  }
}`, string(o.pretty()))
}
