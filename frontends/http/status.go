package httpfront

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/triglot/triglot/core"
)

// StatusPath is where all members are shown, as JSON: to GET, and to root alone while
// authentication is on. It is Triglot's own.
const StatusPath = "/triglot/v1/status"

// StatusReport is the body at StatusPath. Ids are hexadecimal, as etcdctl shows them.
type StatusReport struct {
	Cluster string `json:"cluster_id"`
	// Asked is the member that gathered the report, Leader whom it takes for that; empty
	// if it knows none.
	Asked   string         `json:"member_id"`
	Leader  string         `json:"leader"`
	Members []MemberReport `json:"members"`
}

// MemberReport is a member's part of a StatusReport.
type MemberReport struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peer_urls"`
	ClientURLs []string `json:"client_urls"`
	// Role is leader, follower, candidate (it knows no leader), learner, observer, or unknown.
	Role string `json:"role"`
	// Error is why the member could not be asked; the rest is not there then.
	Error string        `json:"error,omitempty"`
	State *StateReport  `json:"state,omitempty"`
	RTT   time.Duration `json:"rtt_ns,omitempty"`
}

// StateReport is what a member says of its state.
type StateReport struct {
	Leader    string   `json:"leader"`
	Term      uint64   `json:"raft_term"`
	Committed uint64   `json:"raft_committed_index"`
	Applied   uint64   `json:"raft_applied_index"`
	Lag       uint64   `json:"lag"`
	Rev       core.Rev `json:"revision"`
	// CompactRev is zero or less if there was no compaction.
	CompactRev core.Rev `json:"compact_revision"`
	Size       int64    `json:"db_size"`
	InUse      int64    `json:"db_size_in_use"`
	Quota      int64    `json:"db_size_quota"`
	Sessions   int      `json:"sessions"`
	// Alarms are those that stand, of this and other members.
	Alarms []AlarmReport `json:"alarms"`
}

// AlarmReport is an alarm and who has raised it.
type AlarmReport struct {
	Member string `json:"member_id"`
	Type   string `json:"alarm"`
}

// handleStatus serves StatusPath to whom caller finds out.
func (f *Front) handleStatus(mux *http.ServeMux, caller func(*http.Request) (core.Principal, error)) {
	if f.cfg.Overview == nil {
		return
	}
	mux.HandleFunc(StatusPath, func(w http.ResponseWriter, r *http.Request) {
		if !onlyGet(w, r) {
			return
		}
		who, err := caller(r)
		var members []core.MemberStatus
		if err == nil {
			members, err = f.cfg.Overview.Overview(r.Context(), who)
		}
		if err != nil {
			http.Error(w, clientError(err).Error(), statusCode(err))
			return
		}
		body, err := json.Marshal(report(f.cfg.Cluster.Self(), members))
		if err != nil {
			panic(err) // texts and numbers
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // the client is gone; nothing to do
	})
}

func statusCode(err error) int {
	switch core.KindOf(err) {
	case core.InvalidAuthToken, core.UserEmpty:
		return http.StatusUnauthorized
	case core.PermissionDenied, core.AuthOldRevision:
		return http.StatusForbidden
	case core.Internal:
		return http.StatusInternalServerError
	default:
		return http.StatusServiceUnavailable
	}
}

// caller says who makes a request by the token in its header, which is the one of etcd's
// gateway, or by the certificate of its connection.
func (f *Front) caller(r *http.Request) (core.Principal, error) {
	if f.cfg.Auth == nil || !f.cfg.Auth.Status().Enabled {
		return core.Principal{}, nil
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "" && f.cfg.ClientCertAuth {
		return f.cfg.Auth.Resolve(r.Context(), core.Credentials{CertificateSubject: subject(r.TLS)})
	}
	return f.cfg.Auth.Resolve(r.Context(), core.Credentials{Token: token})
}

// subject is the common name of the certificate that a connection was verified with.
func subject(state *tls.ConnectionState) string {
	if state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return ""
	}
	return state.VerifiedChains[0][0].Subject.CommonName
}

func report(self core.Self, members []core.MemberStatus) *StatusReport {
	all := &StatusReport{
		Cluster: ID(self.ClusterID), Asked: ID(uint64(self.Member)), Leader: ID(uint64(self.Leader)),
		Members: make([]MemberReport, len(members)),
	}
	for i := range members {
		all.Members[i] = reportOne(&members[i])
	}
	return all
}

func reportOne(m *core.MemberStatus) MemberReport {
	r := MemberReport{
		ID: ID(uint64(m.Member.ID)), Name: m.Member.Name, RTT: m.RTT, Role: role(m),
		PeerURLs: append([]string{}, m.Member.PeerURLs...), ClientURLs: append([]string{}, m.Member.ClientURLs...),
	}
	if m.Err != nil {
		r.Error = errorText(m.Err)
		return r
	}
	s := &m.Status
	r.State = &StateReport{
		Leader: ID(uint64(s.Leader)), Term: s.Term, Committed: s.Committed, Applied: s.Applied, Lag: m.Lag,
		Rev: s.Rev, CompactRev: s.CompactRev, Size: s.Size, InUse: s.InUse, Quota: s.Quota,
		Sessions: m.Sessions, Alarms: []AlarmReport{},
	}
	for _, a := range s.Alarms {
		r.State.Alarms = append(r.State.Alarms, AlarmReport{ID(uint64(a.Member)), alarmName(a.Type)})
	}
	return r
}

// errorText is why a member could not be asked: what there is of its own words.
func errorText(err error) string {
	if e := (*core.Error)(nil); errors.As(err, &e) {
		if e.Kind == core.Timeout { // of the question, which nobody has put
			return e.Cause.Error()
		}
		return e.Error()
	}
	return clientError(err).Error()
}

func role(m *core.MemberStatus) string {
	switch {
	case m.Member.Learner && m.Observer:
		return "observer"
	case m.Member.Learner:
		return "learner"
	case m.Err != nil:
		return "unknown"
	case m.Status.Leader == m.Member.ID:
		return "leader"
	case m.Status.Leader == 0:
		return "candidate"
	}
	return "follower"
}

// ID is an id as a StatusReport has it; empty for zero, which is nobody's.
func ID(id uint64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("%x", id)
}
