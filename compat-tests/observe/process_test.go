package observe

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// post calls the gateway and returns the body of the answer.
func post(t *testing.T, url, path, body string) string {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second}
	resp, err := client.Post(url+path, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s: %s", path, text)
	return string(text)
}

// command is how a server is run with nothing but flags.
func command(t *testing.T, target server.Target, args ...string) *exec.Cmd {
	t.Helper()
	path, err := server.Binary(string(target))
	require.NoError(t, err)
	if target == server.Triglot {
		args = append([]string{"etcd"}, args...)
	}
	return exec.Command(path, args...)
}

// flags are those of a lone member on free ports, and its client URL.
func flags(t *testing.T, dir string) (args []string, url string) {
	t.Helper()
	client, err := server.FreePort()
	require.NoError(t, err)
	peer, err := server.FreePort()
	require.NoError(t, err)
	url = fmt.Sprintf("http://127.0.0.1:%d", client)
	peerURL := fmt.Sprintf("http://127.0.0.1:%d", peer)
	return []string{
		"--name", "m1", "--data-dir", dir, "--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL, "--initial-cluster", "m1=" + peerURL,
	}, url
}

func forBoth(t *testing.T, test func(t *testing.T, target server.Target)) {
	for _, target := range both {
		t.Run(string(target), func(t *testing.T) {
			t.Parallel()
			test(t, target)
		})
	}
}

func TestVersionComesFirst(t *testing.T) {
	forBoth(t, func(t *testing.T, target server.Target) {
		out, err := command(t, target, "--version").Output()
		require.NoError(t, err)
		first, _, _ := strings.Cut(string(out), "\n")
		require.Equal(t, "etcd Version: 3.7.3", first)
	})
}

const ready = "ready to serve client requests"

// logLine is what every line of the log has.
type logLine struct{ Level, TS, Caller, Msg string }

func logLines(t *testing.T, text string) []logLine {
	t.Helper()
	var lines []logLine
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		var l logLine
		require.NoError(t, json.Unmarshal([]byte(line), &l), line)
		require.NotEmpty(t, l.Level, line)
		require.NotEmpty(t, l.Msg, line)
		require.Regexp(t, `^[\w.@-]+(/[\w.@-]+)*\.go:\d+$`, l.Caller, line)
		_, err := time.Parse("2006-01-02T15:04:05.999999Z0700", l.TS)
		require.NoError(t, err, line)
		lines = append(lines, l)
	}
	return lines
}

// TestLog runs a member through its life: every line is JSON, one says that it serves
// and is true, and nothing is an error. The log of a graceful stop is part of it.
func TestLog(t *testing.T) {
	forBoth(t, func(t *testing.T, target server.Target) {
		args, url := flags(t, t.TempDir())
		r, logged := run(t, target, args...)
		eventually(t, func() bool { return strings.Contains(logged(), ready) }, "not ready")
		require.Contains(t, ask(t, http.MethodGet, url+"/health", nil).Body, `"health":"true"`, "it said that it was ready")
		for i := range 20 {
			post(t, url, "/v3/kv/put", fmt.Sprintf(`{"key":"YQ==","value":"%04d"}`, i))
		}
		post(t, url, "/v3/kv/compaction", `{"revision":10,"physical":true}`)
		post(t, url, "/v3/maintenance/defragment", `{}`)
		post(t, url, "/v3/lease/grant", `{"TTL":2}`)
		ask(t, http.MethodGet, url+"/readyz?verbose", nil)
		begun := time.Now()
		require.NoError(t, r.Terminate())
		require.Less(t, time.Since(begun), 5*time.Second)
		lines := logLines(t, logged())
		times, compacted := 0, false
		for _, l := range lines {
			if target == server.Triglot { // etcd now and then fails to note the version of its store
				require.Contains(t, []string{"debug", "info", "warn"}, l.Level, l.Msg)
			}
			if l.Msg == ready {
				times++
			}
			compacted = compacted || l.Msg == "finished scheduled compaction"
		}
		require.Equal(t, 1, times, "it said so more than once")
		require.True(t, compacted, "no line about the compaction")
	})
}

// TestLives takes a member through what operators do to processes.
func TestLives(t *testing.T) {
	forBoth(t, func(t *testing.T, target server.Target) {
		dir := t.TempDir() // exists, and is empty
		args, url := flags(t, dir)
		begin := func() (*server.Run, func() string) {
			r, logged := run(t, target, args...)
			eventually(t, func() bool { return strings.Contains(logged(), ready) }, "not ready")
			return r, logged
		}
		r, _ := begin()
		post(t, url, "/v3/kv/put", `{"key":"YQ==","value":"MQ=="}`)

		require.NoError(t, syscall.Kill(r.PID(), syscall.SIGSTOP))
		client := &http.Client{Timeout: 300 * time.Millisecond}
		eventually(t, func() bool {
			resp, err := client.Get(url + "/health")
			if err != nil {
				return true
			}
			require.NoError(t, resp.Body.Close())
			return false
		}, "a stopped process answers")
		require.NoError(t, syscall.Kill(r.PID(), syscall.SIGCONT))
		post(t, url, "/v3/kv/put", `{"key":"Yg==","value":"MQ=="}`)

		require.NoError(t, r.Kill())
		r, _ = begin()
		require.Contains(t, post(t, url, "/v3/kv/range", `{"key":"AA==","range_end":"AA==","count_only":true}`), `"count":"2"`, "after SIGKILL")

		post(t, url, "/v3/kv/put", `{"key":"Yw==","value":"MQ=="}`)
		require.NoError(t, r.Terminate())
		begin()
		require.Contains(t, post(t, url, "/v3/kv/range", `{"key":"AA==","range_end":"AA==","count_only":true}`), `"count":"3"`, "after SIGTERM")
	})
}

// TestSlowRequest has a limit that every request exceeds: each is told in one line
// with etcd's words, and no value is in the log.
func TestSlowRequest(t *testing.T) {
	forBoth(t, func(t *testing.T, target server.Target) {
		args, url := flags(t, t.TempDir())
		_, logged := run(t, target, append(args, "--warning-unary-request-duration=1ns")...)
		eventually(t, func() bool { return strings.Contains(logged(), ready) }, "not ready")
		post(t, url, "/v3/kv/put", `{"key":"YnJpZw==","value":"c3dvcmRmaXNo"}`) // brig: swordfish
		var stats map[string]any
		eventually(t, func() bool {
			for line := range strings.Lines(logged()) {
				if strings.Contains(line, "request stats") && strings.Contains(line, "/etcdserverpb.KV/Put") {
					return json.Unmarshal([]byte(line), &stats) == nil
				}
			}
			return false
		}, "no line")
		require.Equal(t, "warn", stats["level"])
		require.Contains(t, stats["request content"], "brig")
		for _, field := range []string{
			"start time", "time spent", "remote", "response type", "request count", "request size", "response count", "response size",
		} {
			require.Contains(t, stats, field)
		}
		if target == server.Triglot {
			for _, stage := range []string{"queue", "log", "apply"} {
				took, err := time.ParseDuration(stats[stage].(string))
				require.NoError(t, err)
				require.Positive(t, took, stage)
			}
		}
		require.NotContains(t, logged(), "swordfish")
		require.NotContains(t, logged(), "c3dvcmRmaXNo")
	})
}
