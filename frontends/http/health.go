package httpfront

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/triglot/triglot/core"
)

// health is the body of /health, in etcd's order. Health is "true" or "false".
type health struct {
	Health string `json:"health"`
	Reason string `json:"reason"`
}

// serveHealth answers the older of etcd's two health checks: no alarm, a leader,
// and a read that works. The query exclude=NOSPACE passes over an alarm, and
// serializable=true asks about this member alone.
func (f *Front) serveHealth(w http.ResponseWriter, r *http.Request) {
	if !onlyGet(w, r) {
		return
	}
	query := r.URL.Query()
	reason := f.unhealthy(r.Context(), query["exclude"], query.Get("serializable") == "true")
	h := health{Health: "true", Reason: reason}
	if reason != "" {
		h.Health = "false"
	}
	body, err := json.Marshal(h)
	if err != nil {
		panic(err) // two strings
	}
	if reason != "" {
		f.health.failures.Inc()
		f.cfg.Logger.Warn("/health error", "output", string(body), "status-code", http.StatusServiceUnavailable)
		http.Error(w, string(body), http.StatusServiceUnavailable)
		return
	}
	f.health.successes.Inc()
	_, _ = w.Write(body) // the client is gone; nothing to do
}

// unhealthy says why the member is not healthy, in etcd's words; empty if it is.
func (f *Front) unhealthy(ctx context.Context, excluded []string, serializable bool) string {
	status := f.cfg.Cluster.Status()
	for _, alarm := range status.Alarms {
		if name := alarmName(alarm.Type); !slices.Contains(excluded, name) {
			f.cfg.Logger.Warn("serving /health false due to an alarm", "alarm", name)
			return "ALARM " + name
		}
	}
	if !serializable && status.Leader == 0 {
		f.cfg.Logger.Warn("serving /health false; no leader")
		return "RAFT NO LEADER"
	}
	if err := f.read(ctx, !serializable); err != nil {
		f.cfg.Logger.Warn("serving /health false; Range fails", "error", err)
		return "RANGE ERROR:" + err.Error()
	}
	return ""
}

func alarmName(t core.AlarmType) string {
	switch t {
	case core.AlarmNoSpace:
		return "NOSPACE"
	case core.AlarmCorrupt:
		return "CORRUPT"
	default:
		return "UNKNOWN"
	}
}

// probe is what the health checks read: one key, there or not, so that the
// engine is asked whatever the store holds.
var probe = &core.Range{Interval: core.Interval{Key: []byte{0}}, KeysOnly: true, Limit: 1}

// read tries a read of the store. Its error is the one that an etcd client would
// see.
func (f *Front) read(ctx context.Context, linearizable bool) error {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.RequestTimeout)
	defer cancel()
	view, err := f.cfg.Store.View(ctx, core.Principal{Member: true}, core.Consistency{Linearizable: linearizable})
	if err != nil {
		return clientError(err)
	}
	defer view.Close()
	if _, err := view.Range(ctx, probe); err != nil {
		return clientError(err)
	}
	return nil
}
