package httpfront

import (
	"bytes"
	"encoding/json"
	"expvar"
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"

	"golang.org/x/net/trace"

	"github.com/triglot/triglot/core"
)

// handleDebug serves /debug/vars and, if they are wanted, the profiles and grpc-go's
// traces, at the paths that etcd has for them.
func (f *Front) handleDebug(mux *http.ServeMux) {
	mux.HandleFunc("/debug/vars", f.serveVars)
	if f.cfg.Debug.Pprof {
		handleProfiles(mux)
	}
	if f.cfg.Debug.Traces {
		mux.HandleFunc("/debug/requests", func(w http.ResponseWriter, r *http.Request) { trace.Render(w, r, true) })
		mux.HandleFunc("/debug/events", func(w http.ResponseWriter, r *http.Request) { trace.RenderEvents(w, r, true) })
	}
}

// mutexSamples is how many contended locks one is noted of, unless something else
// was set before: etcd's rate.
const mutexSamples = 5

func handleProfiles(mux *http.ServeMux) {
	if runtime.SetMutexProfileFraction(-1) == 0 {
		runtime.SetMutexProfileFraction(mutexSamples)
	}
	const prefix = "/debug/pprof/"
	mux.HandleFunc(prefix, pprof.Index) // the named profiles too
	mux.HandleFunc(prefix+"cmdline", pprof.Cmdline)
	mux.HandleFunc(prefix+"profile", pprof.Profile)
	mux.HandleFunc(prefix+"symbol", pprof.Symbol)
	mux.HandleFunc(prefix+"trace", pprof.Trace)
}

// serveVars shows the variables of the process, as expvar has them, and the state of
// raft under etcd's name.
func (f *Front) serveVars(w http.ResponseWriter, r *http.Request) {
	if !onlyGet(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	var b bytes.Buffer
	b.WriteString("{\n")
	expvar.Do(func(v expvar.KeyValue) { fmt.Fprintf(&b, "%q: %s,\n", v.Key, v.Value) })
	fmt.Fprintf(&b, "%q: %s\n}\n", "raft.status", raftStatus(f.cfg.Cluster.Status()))
	_, _ = w.Write(b.Bytes()) // the client is gone; nothing to do
}

// progress is what a leader knows of a member's log.
type progress struct {
	Match uint64 `json:"match"`
	Next  uint64 `json:"next"`
	State string `json:"state"`
}

// raftStatus is what a member knows of raft, with the names and the order that raft
// itself writes. A member that is alone votes for itself, and what is in its log is
// committed: the rest follows from the status.
func raftStatus(s core.Status) []byte {
	hex := func(id core.MemberID) string { return strconv.FormatUint(uint64(id), 16) }
	role, known := "StateFollower", map[string]progress{}
	switch s.Leader {
	case s.Member:
		role = "StateLeader"
		known[hex(s.Member)] = progress{Match: s.Committed, Next: s.Committed + 1, State: "StateReplicate"}
	case 0:
		role = "StateCandidate"
	}
	b, err := json.Marshal(struct {
		ID             string              `json:"id"`
		Term           uint64              `json:"term"`
		Vote           string              `json:"vote"`
		Commit         uint64              `json:"commit"`
		Lead           string              `json:"lead"`
		RaftState      string              `json:"raftState"`
		Applied        uint64              `json:"applied"`
		Progress       map[string]progress `json:"progress"`
		LeadTransferee string              `json:"leadtransferee"`
	}{hex(s.Member), s.Term, hex(s.Member), s.Committed, hex(s.Leader), role, s.Applied, known, "0"})
	if err != nil {
		panic(err) // texts and numbers
	}
	return b
}
