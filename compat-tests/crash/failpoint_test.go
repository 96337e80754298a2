package crash

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// failing is a server with failpoints.
type failing struct {
	*server.Process
	gofail string // where they are served
}

func startFailing(t *testing.T) *failing {
	t.Helper()
	binary, err := server.Binary("triglot-failpoints")
	require.NoError(t, err)
	port, err := server.FreePort()
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	return &failing{gofail: "http://" + address, Process: server.StartT(t, server.Options{
		Target: server.Triglot, Binary: binary, Dir: t.TempDir(), Args: quickTicks, Env: []string{"GOFAIL_HTTP=" + address},
	})}
}

// arm sets what is to happen at a failpoint; empty disarms it.
func (f *failing) arm(name, terms string) error {
	method := http.MethodPut
	if terms == "" {
		method = http.MethodDelete
	}
	req, err := http.NewRequest(method, f.gofail+"/"+name, strings.NewReader(terms))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%s %s: %s", method, name, resp.Status)
	}
	return resp.Body.Close()
}

// die waits until the server has ended of itself.
func (f *failing) die() error {
	select {
	case <-f.Done():
		return f.Kill() // which only takes note
	case <-time.After(lifeTimeout):
		return fmt.Errorf("the server lives on")
	}
}

func (f *failing) names() (string, error) {
	resp, err := http.Get(f.gofail + "/")
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	return string(b), resp.Body.Close()
}

// TestFailpointsUnderLoad has the server panic at each place that a write comes by,
// under load: nothing that was acknowledged is lost, nothing is made up.
func TestFailpointsUnderLoad(t *testing.T) {
	random := newRandom(t)
	p := startFailing(t)
	names, err := p.names()
	require.NoError(t, err)
	ctx := context.Background()
	conn, err := dial(p.Endpoint())
	require.NoError(t, err)
	_, rev, err := rowsOf(ctx, conn, 0)
	require.NoError(t, err)
	require.NoError(t, conn.Close())

	ledger := NewLedger(rev)
	load := NewLoad(ledger, 12, 3, random.Uint64())
	for round, name := range []string{"raftBeforeSave", "raftAfterSave", "beforeCommit", "afterCommit"} {
		require.Contains(t, names, name)
		kill := func() error {
			if err := p.arm(name, "panic"); err != nil {
				return err
			}
			return p.die()
		}
		remains, err := load.Live(ctx, p.Endpoint(), 200+random.Int64N(1000), 400, kill)
		require.NoError(t, err, name)
		require.Contains(t, p.Log(), "failpoint panic", name)
		require.NoError(t, p.Restart(ctx), name)
		requireKept(t, load.Audit(ctx, p.Endpoint(), remains), round)
	}
}

// TestFailpointsOfCompaction has the server panic at each step of a compaction: it is
// finished by the next run.
func TestFailpointsOfCompaction(t *testing.T) {
	for _, name := range []string{
		"compactBeforeCommitScheduledCompact", "compactAfterCommitScheduledCompact", "compactBeforeCommitBatch",
		"compactAfterCommitBatch", "compactBeforeSetFinishedCompact", "compactAfterSetFinishedCompact",
	} {
		t.Run(name, func(t *testing.T) {
			p := startFailing(t)
			const writes = 100
			for i := range writes {
				ask(t, p.URL()+"/v3/kv/put", fmt.Sprintf(`{"key":"YQ==","value":"%04d"}`, i), http.StatusOK)
			}
			require.NoError(t, p.arm(name, "panic"))
			resp, err := http.Post(p.URL()+"/v3/kv/compaction", "application/json", strings.NewReader(`{"revision":90,"physical":true}`))
			if err == nil {
				require.NotEqual(t, http.StatusOK, resp.StatusCode, "it was acknowledged")
				require.NoError(t, resp.Body.Close())
			}
			require.NoError(t, p.die())
			require.Contains(t, p.Log(), "failpoint panic")
			require.NoError(t, p.Restart(context.Background()))

			text := ask(t, p.URL()+"/v3/kv/range", `{"key":"YQ=="}`, http.StatusOK)
			require.Contains(t, text, `"mod_revision":"101","version":"100"`)
			ask(t, p.URL()+"/v3/kv/range", `{"key":"YQ==","revision":90}`, http.StatusOK)
			text = ask(t, p.URL()+"/v3/kv/range", `{"key":"YQ==","revision":89}`, http.StatusBadRequest)
			require.Contains(t, text, "required revision has been compacted")
			require.Eventually(t, func() bool { return strings.Contains(scrape(t, p.URL()), finished(name)) },
				lifeTimeout, 20*time.Millisecond, "the history is not collected")
		})
	}
}

// finished is what a scrape shows once the compaction is over: there is nothing left to
// remove, if the last batch was durable.
func finished(name string) string {
	if name == "compactAfterSetFinishedCompact" {
		return "etcd_debugging_mvcc_db_compaction_keys_total 0\n"
	}
	return "etcd_debugging_mvcc_db_compaction_keys_total 88\n"
}

func scrape(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url + "/metrics")
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return string(b)
}

func ask(t *testing.T, url, body string, status int) string {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, status, resp.StatusCode, "%s: %s", url, text)
	return withoutSpace(string(text))
}

// withoutSpace takes out the white space that protojson puts in, in some builds, lest
// anybody relies on its form.
func withoutSpace(text string) string {
	return strings.NewReplacer(`", "`, `","`, `": "`, `":"`).Replace(text)
}

// TestFailpointsOfWatches holds up a watch stream: nothing is missing, and nobody else
// waits.
func TestFailpointsOfWatches(t *testing.T) {
	p := startFailing(t)
	ctx, cancel := context.WithTimeout(context.Background(), lifeTimeout)
	defer cancel()
	for _, name := range []string{"beforeSendWatchResponse", "beforeSyncWatchers", "beforeProgressIfSync"} {
		require.NoError(t, p.arm(name, "sleep(100)"))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL()+"/v3/watch",
		strings.NewReader(`{"create_request":{"key":"YQ==","start_revision":1}}`))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close() //nolint:errcheck // it is cut off
	begun := time.Now()
	for range 10 {
		ask(t, p.URL()+"/v3/kv/put", `{"key":"YQ==","value":"MQ=="}`, http.StatusOK)
	}
	require.Less(t, time.Since(begun), 5*time.Second)
	for _, name := range []string{"beforeSendWatchResponse", "beforeSyncWatchers", "beforeProgressIfSync"} {
		require.NoError(t, p.arm(name, ""))
	}
	var got strings.Builder
	buf := make([]byte, 4096)
	for strings.Count(got.String(), `"mod_revision"`) < 10 {
		n, err := resp.Body.Read(buf)
		require.NoError(t, err, got.String())
		got.Write(buf[:n])
	}
	require.Equal(t, 10, strings.Count(got.String(), `"mod_revision"`))
	require.Contains(t, withoutSpace(got.String()), `"version":"10"`)
}

// TestFailpointsShowInStages slows down one stage of a write at a time: the line about
// the slow request names it.
func TestFailpointsShowInStages(t *testing.T) {
	p := startFailing(t)
	const slow = 400 * time.Millisecond // more than --warning-unary-request-duration
	for i, tt := range []struct{ failpoint, stage string }{
		{"raftAfterSave", "log"},
		{"beforeCommit", "apply"},
	} {
		require.NoError(t, p.arm(tt.failpoint, "sleep(400)"))
		ask(t, p.URL()+"/v3/kv/put", `{"key":"YQ==","value":"MQ=="}`, http.StatusOK)
		require.NoError(t, p.arm(tt.failpoint, ""))
		lines := regexp.MustCompile(`(?m)^.*request stats.*$`).FindAllString(p.Log(), -1)
		require.Len(t, lines, i+1, p.Log())
		for _, stage := range []string{"queue", "log", "apply"} {
			m := regexp.MustCompile(` ` + stage + `=(\S+)|"` + stage + `":"([^"]+)"`).FindStringSubmatch(lines[i])
			require.NotNil(t, m, lines[i])
			took, err := time.ParseDuration(m[1] + m[2])
			require.NoError(t, err)
			if stage == tt.stage {
				require.GreaterOrEqual(t, took, slow, "%s in %s", stage, lines[i])
			} else {
				require.Less(t, took, slow, "%s in %s", stage, lines[i])
			}
		}
	}
	require.Contains(t, scrape(t, p.URL()), "etcd_server_slow_apply_total 1\n")
}
