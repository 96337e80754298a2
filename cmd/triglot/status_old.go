package main

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/triglot/triglot/core"
	httpfront "github.com/triglot/triglot/frontends/http"
)

// number is a number as gateways have it in JSON: in quotes.
type number uint64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseUint(strings.Trim(string(b), `"`), 10, 64)
	*n = number(v)
	return err
}

func (n number) id() string { return httpfront.ID(uint64(n)) }

// oldStatus is the part of the answer to etcd's Status call that is shown.
type oldStatus struct {
	Header struct {
		Cluster number `json:"cluster_id"`
		Member  number `json:"member_id"`
		Rev     number `json:"revision"`
	} `json:"header"`
	Size    number `json:"dbSize"`
	InUse   number `json:"dbSizeInUse"`
	Leader  number `json:"leader"`
	Index   number `json:"raftIndex"`
	Applied number `json:"raftAppliedIndex"`
	Term    number `json:"raftTerm"`
}

// oldMember is a member in etcd's MemberList.
type oldMember struct {
	ID         number   `json:"ID"`
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
	Learner    bool     `json:"isLearner"`
}

// oldAlarm is an alarm in etcd's list.
type oldAlarm struct {
	Member number `json:"memberID"`
	Alarm  string `json:"alarm"`
}

// reportOfOne makes a report of what a member of an older version, or an etcd, tells
// through the gateway: the other members are known by name alone.
func reportOfOne(ctx context.Context, a *asker) (*httpfront.StatusReport, error) {
	var status oldStatus
	var list struct{ Members []oldMember }
	var alarms struct{ Alarms []oldAlarm }
	nothing := struct{}{}
	for path, answer := range map[string]any{
		"/v3/maintenance/status": &status, "/v3/cluster/member/list": &list, "/v3/maintenance/alarm": &alarms,
	} {
		if err := a.ask(ctx, http.MethodPost, path, nothing, answer); err != nil {
			return nil, err
		}
	}
	r := &httpfront.StatusReport{Cluster: status.Header.Cluster.id(), Asked: status.Header.Member.id(), Leader: status.Leader.id()}
	for i := range list.Members {
		one := status.known(&list.Members[i])
		if one.ID == r.Asked {
			one.State = status.state()
			for _, alarm := range alarms.Alarms {
				one.State.Alarms = append(one.State.Alarms, httpfront.AlarmReport{Member: alarm.Member.id(), Type: alarm.Alarm})
			}
		} else {
			one.Error = "the member that was asked is of a version that does not ask others"
		}
		r.Members = append(r.Members, one)
	}
	return r, nil
}

// known is what the member that was asked knows of one.
func (s *oldStatus) known(m *oldMember) httpfront.MemberReport {
	one := httpfront.MemberReport{ID: m.ID.id(), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Role: "unknown"}
	switch {
	case m.Learner:
		one.Role = "learner"
	case m.ID == s.Leader:
		one.Role = "leader"
	case m.ID == s.Header.Member:
		one.Role = "follower"
	}
	return one
}

func (s *oldStatus) state() *httpfront.StateReport {
	return &httpfront.StateReport{
		Leader: s.Leader.id(), Term: uint64(s.Term), Committed: uint64(s.Index), Applied: uint64(s.Applied),
		Lag: uint64(s.Index - min(s.Applied, s.Index)), Rev: core.Rev(s.Header.Rev),
		Size: int64(s.Size), InUse: int64(s.InUse), Alarms: []httpfront.AlarmReport{},
	}
}
