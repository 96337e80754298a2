package httpfront

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/triglot/triglot/core"
)

// check is one named question about the member; nil is a good answer.
type check struct {
	name string
	run  func(context.Context) error
}

// livezChecks ask whether the process should be restarted.
func (f *Front) livezChecks() []check {
	return []check{{"serializable_read", f.checkLocalRead}}
}

// readyzChecks ask whether the member should be sent requests.
func (f *Front) readyzChecks() []check {
	return []check{
		{"data_corruption", f.checkCorruption},
		{"serializable_read", f.checkLocalRead},
		{"linearizable_read", f.checkQuorumRead},
		{"non_learner", f.checkNonLearner},
	}
}

func (f *Front) checkLocalRead(ctx context.Context) error  { return f.read(ctx, false) }
func (f *Front) checkQuorumRead(ctx context.Context) error { return f.read(ctx, true) }

func (f *Front) checkCorruption(context.Context) error {
	for _, alarm := range f.cfg.Cluster.Status().Alarms {
		if alarm.Type == core.AlarmCorrupt {
			return errors.New("alarm activated: CORRUPT")
		}
	}
	return nil
}

func (f *Front) checkNonLearner(context.Context) error {
	if self := f.cfg.Cluster.Self(); self.Learner && !self.Observer {
		return errors.New("not supported for learner")
	}
	return nil
}

// handleChecks serves the checks together at /kind and each at /kind/name.
func (f *Front) handleChecks(mux *http.ServeMux, kind string, checks []check) {
	mux.HandleFunc("/"+kind, func(w http.ResponseWriter, r *http.Request) {
		excluded := r.URL.Query()["exclude"]
		chosen := slices.DeleteFunc(slices.Clone(checks), func(c check) bool {
			return slices.Contains(excluded, c.name)
		})
		missing := slices.DeleteFunc(slices.Clone(excluded), func(name string) bool {
			return slices.ContainsFunc(checks, func(c check) bool { return c.name == name })
		})
		if len(missing) > 0 {
			// A newer version may have a check of that name: no reason to fail.
			f.cfg.Logger.Warn("some health checks cannot be excluded", "missing-health-checks", quotedNames(missing))
		}
		f.serveChecks(w, r, kind, chosen)
	})
	for _, c := range checks {
		mux.HandleFunc("/"+kind+"/"+c.name, func(w http.ResponseWriter, r *http.Request) {
			f.serveChecks(w, r, kind, []check{c})
		})
	}
}

func quotedNames(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return strings.Join(quoted, ",")
}

// serveChecks runs checks in order. It answers "ok" or, with status 503 or on
// request, one line a check.
func (f *Front) serveChecks(w http.ResponseWriter, r *http.Request, kind string, checks []check) {
	if !onlyGet(w, r) {
		return
	}
	var report strings.Builder
	failed := false
	for _, c := range checks {
		err := c.run(r.Context())
		f.health.count(kind, c.name, err == nil)
		if err != nil {
			failed = true
			fmt.Fprintf(&report, "[-]%s failed: %v\n", c.name, err)
			continue
		}
		fmt.Fprintf(&report, "[+]%s ok\n", c.name)
	}
	if failed {
		f.cfg.Logger.Error("Health check error", "path", r.URL.Path, "reason", report.String(), "status-code", http.StatusServiceUnavailable)
		http.Error(w, report.String(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	body := "ok\n"
	if r.URL.Query().Has("verbose") {
		body = report.String() + body
	}
	_, _ = w.Write([]byte(body)) // the client is gone; nothing to do
}
