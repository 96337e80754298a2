package observe

import (
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// family is the samples of one name in a scrape.
type family struct {
	kind   string
	labels []string           // their names, sorted; without le and quantile
	values map[string]float64 // by the sample's name and labels, as written
}

// scrape reads /metrics.
func scrape(t *testing.T, p *server.Process) map[string]*family {
	t.Helper()
	resp, err := http.Get(p.URL() + "/metrics")
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return parseScrape(t, string(text))
}

var (
	sampleLine = regexp.MustCompile(`^(\w+?)(?:\{(.*)\})? (\S+)$`)
	labelName  = regexp.MustCompile(`(\w+)="(?:[^"\\]|\\.)*"`)
)

func parseScrape(t *testing.T, text string) map[string]*family {
	t.Helper()
	families := make(map[string]*family)
	var f *family
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			f = &family{kind: kind, values: make(map[string]float64)}
			families[name] = f
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		require.NotNil(t, m, line)
		require.NotNil(t, f, line)
		value, err := strconv.ParseFloat(m[3], 64)
		require.NoError(t, err, line)
		f.values[strings.TrimSuffix(line, " "+m[3])] = value
		for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" && l[1] != "quantile" && !slices.Contains(f.labels, l[1]) {
				f.labels = append(f.labels, l[1])
			}
		}
		slices.Sort(f.labels)
	}
	return families
}

// basic is what monitoring looks for in a basic scrape of etcd (reference/etcd.md 4).
var basic = strings.Fields(`
etcd_cluster_version
etcd_debugging_auth_revision
etcd_debugging_disk_backend_commit_rebalance_duration_seconds
etcd_debugging_disk_backend_commit_spill_duration_seconds
etcd_debugging_disk_backend_commit_write_duration_seconds
etcd_debugging_lease_granted_total etcd_debugging_lease_renewed_total
etcd_debugging_lease_revoked_total etcd_debugging_lease_ttl_total
etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_current_revision
etcd_debugging_mvcc_db_compaction_keys_total etcd_debugging_mvcc_db_compaction_last
etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds
etcd_debugging_mvcc_db_compaction_total_duration_milliseconds
etcd_debugging_mvcc_events_total
etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds
etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_pending_events_total
etcd_debugging_mvcc_slow_watcher_total etcd_debugging_mvcc_total_put_size_in_bytes
etcd_debugging_mvcc_watch_stream_total etcd_debugging_mvcc_watcher_total
etcd_debugging_server_lease_expired_total
etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds
etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds
etcd_debugging_server_watch_send_loop_control_stream_duration_seconds
etcd_debugging_server_watch_send_loop_progress_duration_seconds
etcd_debugging_snap_save_marshalling_duration_seconds etcd_debugging_snap_save_total_duration_seconds
etcd_debugging_store_expires_total etcd_debugging_store_watch_requests_total etcd_debugging_store_watchers
etcd_disk_backend_commit_duration_seconds etcd_disk_backend_defrag_duration_seconds etcd_disk_backend_snapshot_duration_seconds
etcd_disk_defrag_inflight etcd_disk_wal_fsync_duration_seconds etcd_disk_wal_write_bytes_total etcd_disk_wal_write_duration_seconds
etcd_grpc_proxy_cache_hits_total etcd_grpc_proxy_cache_keys_total etcd_grpc_proxy_cache_misses_total
etcd_grpc_proxy_events_coalescing_total etcd_grpc_proxy_watchers_coalescing_total
etcd_mvcc_db_open_read_transactions etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes
etcd_mvcc_delete_total etcd_mvcc_hash_duration_seconds etcd_mvcc_hash_rev_duration_seconds
etcd_mvcc_put_total etcd_mvcc_range_total etcd_mvcc_txn_total
etcd_network_client_grpc_received_bytes_total etcd_network_client_grpc_sent_bytes_total etcd_network_known_peers
etcd_server_apply_duration_seconds etcd_server_client_requests_total etcd_server_go_version etcd_server_has_leader
etcd_server_health_failures etcd_server_health_success etcd_server_heartbeat_send_failures_total etcd_server_id
etcd_server_is_leader etcd_server_is_learner etcd_server_leader_changes_seen_total etcd_server_learner_promote_successes
etcd_server_proposals_applied_total etcd_server_proposals_committed_total etcd_server_proposals_failed_total
etcd_server_proposals_pending etcd_server_quota_backend_bytes etcd_server_read_indexes_failed_total
etcd_server_request_duration_seconds etcd_server_slow_apply_total etcd_server_slow_read_indexes_total
etcd_server_snapshot_apply_in_progress_total etcd_server_version
etcd_snap_db_fsync_duration_seconds etcd_snap_db_save_total_duration_seconds etcd_snap_fsync_duration_seconds
grpc_server_handled_total grpc_server_msg_received_total grpc_server_msg_sent_total grpc_server_started_total
os_fd_limit os_fd_used
go_goroutines go_memstats_alloc_bytes process_cpu_seconds_total process_resident_memory_bytes process_start_time_seconds
`)

// work is what both servers are asked to do before they are compared.
var work = []struct{ path, body string }{
	{"/v3/kv/put", `{"key":"YQ==","value":"MTIz"}`},
	{"/v3/kv/put", `{"key":"YQ==","value":"NDU2"}`},
	{"/v3/kv/put", `{"key":"Yg==","value":"NDU2"}`},
	{"/v3/kv/put", `{"key":"Yw==","value":"NDU2"}`},
	{"/v3/kv/put", `{"key":"ZA==","lease":"12345"}`}, // fails
	{"/v3/kv/range", `{"key":"YQ==","range_end":"eg=="}`},
	{"/v3/kv/range", `{"key":"YQ==","serializable":true}`},
	{"/v3/kv/deleterange", `{"key":"Yg=="}`},
	{"/v3/kv/deleterange", `{"key":"bm9uZQ=="}`},
	{"/v3/kv/txn", `{"success":[{"request_put":{"key":"ZQ==","value":"eA=="}},{"request_range":{"key":"ZQ=="}},{"request_delete_range":{"key":"Yw=="}}]}`},
	{"/v3/kv/txn", `{"success":[{"request_range":{"key":"ZQ=="}},{"request_range":{"key":"YQ=="}}]}`},
	{"/v3/kv/txn", `{"success":[{"request_put":{"key":"Zg==","value":"eA=="}}]}`},
	{"/v3/lease/grant", `{"TTL":100,"ID":7}`},
	{"/v3/lease/grant", `{"TTL":100,"ID":8}`},
	{"/v3/lease/keepalive", `{"ID":7}`},
	{"/v3/lease/revoke", `{"ID":8}`},
	{"/v3/maintenance/hash", `{}`},
	{"/v3/maintenance/hashkv", `{}`},
	{"/v3/maintenance/snapshot", `{}`},
	{"/v3/maintenance/defragment", `{}`},
	{"/v3/kv/compaction", `{"revision":3,"physical":true}`},
}

// same are the samples that must be equal on both servers after the work.
var same = []string{
	`etcd_cluster_version{cluster_version="3.7"}`,
	`etcd_debugging_auth_revision`,
	`etcd_debugging_lease_granted_total`,
	`etcd_debugging_lease_renewed_total`,
	`etcd_debugging_lease_revoked_total`,
	`etcd_debugging_lease_ttl_total_count`,
	`etcd_debugging_lease_ttl_total_sum`,
	`etcd_debugging_mvcc_compact_revision`,
	`etcd_debugging_mvcc_current_revision`,
	`etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count`,
	`etcd_debugging_mvcc_slow_watcher_total`,
	`etcd_debugging_mvcc_total_put_size_in_bytes`,
	`etcd_debugging_mvcc_watch_stream_total`,
	`etcd_debugging_mvcc_watcher_total`,
	`etcd_disk_backend_defrag_duration_seconds_count`,
	`etcd_disk_backend_snapshot_duration_seconds_count`,
	`etcd_disk_defrag_inflight`,
	`etcd_mvcc_delete_total`,
	`etcd_mvcc_hash_duration_seconds_count`,
	`etcd_mvcc_hash_rev_duration_seconds_count`,
	`etcd_mvcc_put_total`,
	`etcd_mvcc_txn_total`,
	`etcd_server_apply_duration_seconds_count{op="Put",success="true",version="v3"}`,
	`etcd_server_apply_duration_seconds_count{op="Put",success="false",version="v3"}`,
	`etcd_server_apply_duration_seconds_count{op="DeleteRange",success="true",version="v3"}`,
	`etcd_server_apply_duration_seconds_count{op="Txn",success="true",version="v3"}`,
	`etcd_server_apply_duration_seconds_count{op="Compaction",success="true",version="v3"}`,
	`etcd_server_apply_duration_seconds_count{op="LeaseGrant",success="true",version="v3"}`,
	`etcd_server_apply_duration_seconds_count{op="LeaseRevoke",success="true",version="v3"}`,
	`etcd_server_has_leader`,
	`etcd_server_is_leader`,
	`etcd_server_is_learner`,
	`etcd_server_proposals_pending`,
	`etcd_server_proposals_failed_total`,
	`etcd_server_request_duration_seconds_count{success="true",type="Put"}`,
	`etcd_server_request_duration_seconds_count{success="true",type="ReadonlyTxn"}`,
	`etcd_server_request_duration_seconds_count{success="true",type="Txn"}`,
	`etcd_server_request_duration_seconds_count{success="true",type="Compaction"}`,
	`etcd_server_version{server_version="3.7.3"}`,
	`grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}`,
	`grpc_server_handled_total{grpc_code="NotFound",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}`,
	`grpc_server_started_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"}`,
	`os_fd_limit`,
}

// moved are those that the work moves on either server, each by as much as it takes.
var moved = []string{
	"etcd_debugging_mvcc_db_compaction_keys_total", "etcd_debugging_mvcc_db_compaction_last", "etcd_debugging_mvcc_keys_total",
	"etcd_disk_backend_commit_duration_seconds_count", "etcd_disk_wal_fsync_duration_seconds_count", "etcd_disk_wal_write_bytes_total",
	"etcd_disk_wal_write_duration_seconds_count", "etcd_mvcc_db_total_size_in_bytes", "etcd_mvcc_db_total_size_in_use_in_bytes",
	"etcd_mvcc_range_total", `etcd_server_request_duration_seconds_count{success="true",type="Range"}`,
	`etcd_server_range_duration_seconds_count{success="true"}`,
	"etcd_server_health_success", "etcd_server_leader_changes_seen_total", "etcd_server_proposals_applied_total",
	"etcd_server_proposals_committed_total", "os_fd_used", "go_goroutines", "process_resident_memory_bytes",
	"etcd_debugging_server_watch_send_loop_control_stream_duration_seconds_count",
	"etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds_count", "etcd_debugging_mvcc_events_total",
	"etcd_debugging_disk_backend_commit_write_duration_seconds_count",
}

// later is passed over: what is there only once something was asked of the server that
// this test does not, or is etcd's build alone.
var later = []string{"go_", "process_", "promhttp_"}

func TestMetrics(t *testing.T) {
	scrapes := make(map[server.Target]map[string]*family)
	for _, target := range both {
		p := start(t, target)
		awaitVersion(t, p)
		stop := watchAll(t, p)
		for _, w := range work {
			resp, err := http.Post(p.URL()+w.path, "application/json", strings.NewReader(w.body))
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		eventually(t, func() bool {
			return scrape(t, p)["etcd_debugging_mvcc_db_compaction_keys_total"].values["etcd_debugging_mvcc_db_compaction_keys_total"] > 0
		}, "no compaction")
		scrapes[target] = scrape(t, p)
		stop()
	}
	etcd, triglot := scrapes[server.Etcd], scrapes[server.Triglot]

	for _, name := range basic {
		require.Contains(t, etcd, name, "the list is wrong")
		require.Contains(t, triglot, name)
	}
	for _, name := range slices.Sorted(maps.Keys(etcd)) {
		if slices.ContainsFunc(later, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			continue
		}
		if assert := triglot[name]; assert == nil {
			t.Errorf("there is no %s", name)
			continue
		}
		require.Equal(t, etcd[name].kind, triglot[name].kind, name)
		require.Equal(t, etcd[name].labels, triglot[name].labels, name)
	}
	for _, name := range []string{"etcd_network_known_peers", "etcd_server_id", "etcd_server_feature_enabled"} {
		require.Equal(t, etcd[name].values, triglot[name].values, name)
	}
	value := func(families map[string]*family, sample string) float64 {
		for name, f := range families {
			if v, ok := f.values[sample]; ok && strings.HasPrefix(sample, name) {
				return v
			}
		}
		t.Errorf("there is no sample %s", sample)
		return 0
	}
	for _, sample := range same {
		if want, got := value(etcd, sample), value(triglot, sample); want != got {
			t.Errorf("%s is %v, and %v in etcd", sample, got, want)
		}
	}
	for _, sample := range moved {
		require.NotZero(t, value(etcd, sample), "etcd: %s", sample)
		require.NotZero(t, value(triglot, sample), "Triglot: %s", sample)
	}
}

// TestExtensiveMetrics asks for the metrics that cost more: the time of each method.
func TestExtensiveMetrics(t *testing.T) {
	const name = "grpc_server_handling_seconds"
	got := make(map[server.Target]*family)
	for _, target := range both {
		p := start(t, target, "--metrics=extensive")
		for range 3 {
			post(t, p.URL(), "/v3/kv/put", `{"key":"YQ=="}`)
		}
		got[target] = scrape(t, p)[name]
		require.NotNil(t, got[target], target)
		require.EqualValues(t, 3, got[target].values[name+`_count{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}`], target)
	}
	require.Equal(t, got[server.Etcd].kind, got[server.Triglot].kind)
	require.Equal(t, got[server.Etcd].labels, got[server.Triglot].labels)
	for sample := range got[server.Etcd].values { // methods and buckets; etcd begins without Lock and Election
		if _, ok := got[server.Triglot].values[sample]; !ok {
			t.Errorf("there is no sample %s", sample)
		}
	}
}

// watchAll watches all keys until stop is called.
func watchAll(t *testing.T, p *server.Process) (stop func()) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, p.URL()+"/v3/watch", strings.NewReader(`{"create_request":{"key":"AA==","range_end":"AA=="}}`))
	require.NoError(t, err)
	resp, err := new(http.Transport).RoundTrip(req)
	require.NoError(t, err)
	var created [64]byte
	_, err = resp.Body.Read(created[:])
	require.NoError(t, err)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, resp.Body) // until it is closed
	}()
	return func() {
		_ = resp.Body.Close() // it is cut off
		<-drained
	}
}
