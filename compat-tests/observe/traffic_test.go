package observe

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// moving are the numbers of raft's status that differ from one moment to the next.
var moving = regexp.MustCompile(`"(term|commit|applied|match|next)":\d+`)

// TestVars compares what /debug/vars has of etcd's own, and what the gateway's calls
// count as bytes of gRPC.
func TestVars(t *testing.T) {
	const sent, received = "etcd_network_client_grpc_sent_bytes_total", "etcd_network_client_grpc_received_bytes_total"
	statuses, bytes := make(map[server.Target]string), make(map[server.Target][2]float64)
	for _, target := range both {
		p := start(t, target)
		awaitVersion(t, p)
		before := scrape(t, p)
		post(t, p.URL(), "/v3/kv/put", `{"key":"YQ==","value":"YmFyYmFy"}`)
		post(t, p.URL(), "/v3/kv/range", `{"key":"YQ=="}`)
		post(t, p.URL(), "/v3/kv/txn", `{"success":[{"request_range":{"key":"YQ=="}}]}`)
		post(t, p.URL(), "/v3/lease/grant", `{"TTL":100,"ID":7}`)
		post(t, p.URL(), "/v3/lease/keepalive", `{"ID":7}`)
		after := scrape(t, p)
		difference := func(name string) float64 { return after[name].values[name] - before[name].values[name] }
		bytes[target] = [2]float64{difference(sent), difference(received)}

		var vars struct {
			Files  int             `json:"file_descriptor_limit"`
			Status json.RawMessage `json:"raft.status"`
		}
		require.NoError(t, json.Unmarshal([]byte(ask(t, http.MethodGet, p.URL()+"/debug/vars", nil).Body), &vars))
		require.Positive(t, vars.Files)
		statuses[target] = moving.ReplaceAllString(string(vars.Status), `"$1":?`)
	}
	require.Equal(t, statuses[server.Etcd], statuses[server.Triglot])
	require.Positive(t, bytes[server.Etcd][0])
	require.Equal(t, bytes[server.Etcd], bytes[server.Triglot], "sent and received")
}

var slowApplies = regexp.MustCompile(`(?m)^etcd_server_slow_apply_total (\d+)$`)

// TestSlowRead has reads that take longer than commands may to be applied told of and
// counted.
func TestSlowRead(t *testing.T) {
	forBoth(t, func(t *testing.T, target server.Target) {
		args, url := flags(t, t.TempDir())
		_, logged := run(t, target, append(args, "--warning-apply-duration=1ns")...)
		eventually(t, func() bool { return strings.Contains(logged(), ready) }, "not ready")
		slow := func() int {
			found := slowApplies.FindStringSubmatch(ask(t, http.MethodGet, url+"/metrics", nil).Body)
			require.Len(t, found, 2)
			n, err := strconv.Atoi(found[1])
			require.NoError(t, err)
			return n
		}
		before := slow()
		post(t, url, "/v3/kv/range", `{"key":"YWJj"}`)
		post(t, url, "/v3/kv/txn", `{"success":[{"request_range":{"key":"YWJj"}}]}`)
		require.GreaterOrEqual(t, slow(), before+2)
		text := logged()
		for _, prefix := range []string{"read-only range ", "read-only txn "} {
			require.Regexp(t, `"msg":"apply request took too long","took":"[^"]+","expected-duration":"1ns","prefix":"`+prefix+
				`","request":"[^\n]*key:\\"abc\\"[^\n]*","response":"[^\n]*range_response_count:0[^\n]*size:\d+"`, text)
		}
	})
}
