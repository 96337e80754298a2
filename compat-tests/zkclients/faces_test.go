package zkclients

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestThreeFaces is the demonstration: etcdctl, zkCli and curl on one znode, each
// sees what the others write, and each one's watch fires on it.
func TestThreeFaces(t *testing.T) {
	needEtcd(t, shared)
	cli := startProgram(t, zkCli(t, shared.zk))
	cli.await("state:SyncConnected")
	streamed := startProgram(t, curlCommand(t, "/v3/watch",
		fmt.Sprintf(`{"create_request": {"key": %q}}`, encode("/zk/faces/config"))))
	t.Cleanup(streamed.kill) // a watch does not end by itself
	streamed.await(`"created":true`)

	// etcdctl writes: zkCli and curl read it, the znode has what the key says of it.
	var put struct{ Header struct{ Revision int64 } }
	require.NoError(t, json.Unmarshal([]byte(etcdctl(t, "put", "/zk/faces/config", "by etcdctl", "-w", "json")), &put))
	require.Contains(t, streamed.await(`"events"`), encode("by etcdctl"))
	cli.tell("get -s -w /faces/config")
	cli.await("by etcdctl")
	require.Equal(t, fmt.Sprintf("cZxid = 0x%x", put.Header.Revision), cli.await("cZxid"))
	cli.await("numChildren = 0")
	require.Equal(t, "by etcdctl", curlGet(t, "/zk/faces/config").value(t))
	require.Empty(t, curlGet(t, "/zk/faces").Kvs, "the parent is a znode and no key")
	cli.tell("ls /faces")
	cli.expect("[config]")

	// etcdctl writes again: zkCli's watch fires.
	etcdctl(t, "put", "/zk/faces/config", "once more")
	streamed.await(encode("once more"))
	cli.await("type:NodeDataChanged path:/faces/config")

	// curl writes: zkCli's watch fires, and it reads it; etcdctl too.
	cli.tell("get -w /faces/config")
	cli.await("once more")
	reply := curl(t, "/v3/kv/put", fmt.Sprintf(`{"key": %q, "value": %q}`, encode("/zk/faces/config"), encode("by curl")))
	require.Contains(t, reply, `"revision":`)
	streamed.await(encode("by curl"))
	cli.await("type:NodeDataChanged path:/faces/config")
	cli.tell("get /faces/config")
	cli.await("by curl")
	require.Equal(t, "/zk/faces/config\nby curl\n", etcdctl(t, "get", "/zk/faces/config"))

	// zkCli writes: curl's watch fires, etcdctl and curl read it.
	cli.tell("set -s /faces/config by-zkCli")
	modified := strings.TrimPrefix(cli.await("mZxid"), "mZxid = 0x")
	streamed.await(encode("by-zkCli"))
	revision, err := strconv.ParseInt(modified, 16, 64)
	require.NoError(t, err)
	got := curlGet(t, "/zk/faces/config")
	require.Equal(t, "by-zkCli", got.value(t))
	require.Equal(t, strconv.FormatInt(revision, 10), got.Kvs[0].ModRevision)
	require.Equal(t, "4", got.Kvs[0].Version)

	// A session's ephemeral is a key with a lease; it goes with zkCli's session.
	cli.tell("create -e /faces/here zkCli")
	cli.await("Created /faces/here")
	require.Equal(t, "zkCli", curlGet(t, "/zk/faces/here").value(t))
	require.NotEmpty(t, curlGet(t, "/zk/faces/here").Kvs[0].Lease)
	cli.tell("delete /faces/config")
	require.Contains(t, streamed.await(`"DELETE"`), encode("/zk/faces/config"))
	cli.tell("quit")
	cli.await("state:Closed")
	require.Empty(t, etcdctl(t, "get", "--prefix", "/zk/faces"))
}

// TestCurl is what a caller of the gateway does with curl alone.
func TestCurl(t *testing.T) {
	needEtcd(t, shared)
	reply := curl(t, "/version", "")
	require.Contains(t, reply, `"etcdserver":`)
	require.Contains(t, reply, `"etcdcluster":`)

	key := encode(t.Name())
	reply = curl(t, "/v3/kv/put", fmt.Sprintf(`{"key": %q, "value": %q}`, key, encode("1")))
	require.Contains(t, reply, `"cluster_id":"`)
	require.NotContains(t, reply, "error")
	require.Equal(t, "1", curlGet(t, t.Name()).value(t))

	grant := struct{ ID, TTL string }{}
	require.NoError(t, json.Unmarshal([]byte(curl(t, "/v3/lease/grant", `{"TTL": 100}`)), &grant))
	require.Equal(t, "100", grant.TTL)
	curl(t, "/v3/kv/put", fmt.Sprintf(`{"key": %q, "value": %q, "lease": %q}`, key, encode("2"), grant.ID))
	require.Contains(t, curl(t, "/v3/lease/keepalive", fmt.Sprintf(`{"ID": %q}`, grant.ID)), `"TTL":"100"`)
	txn := fmt.Sprintf(`{"compare": [{"key": %q, "target": "VERSION", "result": "EQUAL", "version": "2"}],
		"success": [{"requestDeleteRange": {"key": %q}}]}`, key, key)
	require.Contains(t, curl(t, "/v3/kv/txn", txn), `"succeeded":true`)
	require.NotContains(t, curl(t, "/v3/kv/txn", txn), `succeeded`)
	require.Empty(t, curlGet(t, t.Name()).Kvs)
	curl(t, "/v3/kv/lease/revoke", fmt.Sprintf(`{"ID": %q}`, grant.ID))

	for body, want := range map[string]string{
		`{"key": "b!"}`: `"code":3`, // not base64
		`{`:             `"code":3`,
		`{}`:            `"code":3`, // etcdserver: key is not provided
	} {
		reply := curl(t, "/v3/kv/put", body)
		require.Contains(t, reply, want, body)
		require.Contains(t, reply, `"message":`, body)
	}
	require.Contains(t, curl(t, "/v3/no/such/thing", "{}"), `"code":5`)
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// curlCommand posts a body to the gateway, or gets if there is none. It prints
// what comes as it comes.
func curlCommand(t *testing.T, path, body string) *exec.Cmd {
	t.Helper()
	_, err := exec.LookPath("curl")
	require.NoError(t, err, "this test needs curl: apt-get install curl")
	args := []string{"--silent", "--show-error", "--no-buffer", "--max-time", "60", shared.etcd + path}
	if body != "" {
		args = append(args, "--data", body)
	}
	return exec.Command("curl", args...)
}

func curl(t *testing.T, path, body string) string {
	t.Helper()
	output, err := curlCommand(t, path, body).CombinedOutput()
	require.NoError(t, err, "%s", output)
	return string(output)
}

// ranged is the gateway's answer to a range, as far as the tests look at it.
type ranged struct {
	Kvs []struct {
		Value       string
		ModRevision string `json:"mod_revision"`
		Version     string
		Lease       string
	}
}

// value is the value of the only key.
func (r ranged) value(t *testing.T) string {
	t.Helper()
	require.Len(t, r.Kvs, 1)
	value, err := base64.StdEncoding.DecodeString(r.Kvs[0].Value)
	require.NoError(t, err)
	return string(value)
}

func curlGet(t *testing.T, key string) ranged {
	t.Helper()
	var got ranged
	reply := curl(t, "/v3/kv/range", fmt.Sprintf(`{"key": %q}`, encode(key)))
	require.NoError(t, json.Unmarshal([]byte(reply), &got), reply)
	return got
}

func etcdctl(t *testing.T, args ...string) string {
	t.Helper()
	binary, err := server.Binary("etcdctl")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	output, err := exec.CommandContext(ctx, binary, append([]string{"--endpoints", shared.etcd}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", output)
	return string(output)
}
