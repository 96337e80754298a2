package zk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// Reconfig changes the servers of an ensemble that a zoo.cfg made (ZooKeeper 3.9
// PrepRequestProcessor, reconfig; E5). Server N is the member with that name, or, until it
// has started, the one with its peer URL. ZooKeeper goes from one configuration to the next
// in one transaction; members are changed one at a time here: those that join or change
// first, then /zookeeper/config in a revision, which is its version, then those that leave,
// each of which takes its line along. What fails on the way ends it, and /zookeeper/config
// says how far it came.

// anyConfig is the id of a configuration that stands for any.
const anyConfig = -1

// decodeReconfig refuses what a ZooKeeper refuses on which reconfig is disabled, or that is
// standalone, as one is that no zoo.cfg made one of several.
func decodeReconfig(c *conn, q *request, r *jute.Reader) {
	var m wire.ReconfigRequest
	switch m.Decode(r); {
	case r.Err() != nil:
	case !c.srv.cfg.Features.Reconfig:
		q.refuse(wire.ReconfigDisabled)
	case c.srv.cfg.Ensemble.Servers == "":
		q.refuse(wire.Unimplemented)
	default:
		q.body = &m
	}
}

// reconfig makes the change, and answers with the configuration that is then. Once this
// member has left the connection ends with the answer.
func (c *conn) reconfig(q *request) error {
	ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
	defer cancel()
	c.run.release()
	var err error = wire.ReconfigInProgress
	if c.srv.reconfiguring.TryLock() {
		err = c.reconfigure(ctx, q)
		c.srv.reconfiguring.Unlock()
	}
	var refused wire.ErrorCode
	if errors.As(err, &refused) {
		return c.answer(q, c.shown(), refused, nil)
	}
	if err != nil {
		return c.fail(q, err)
	}
	left := c.srv.left(ctx)
	v, err := c.srv.cfg.Store.View(ctx, core.Principal{Member: true}, core.Consistency{Linearizable: !left})
	if err != nil {
		return c.fail(q, err)
	}
	defer v.Close()
	z, err := v.Znodes().Znode(configPath, 0)
	if err != nil {
		return c.fail(q, err)
	}
	if !c.await(v.Rev()) {
		return errEnded
	}
	err = c.answer(q, max(v.Rev(), c.run.shown), wire.OK, func(dst []byte) []byte { return appendData(dst, &z) })
	if err != nil || !left {
		return err
	}
	if err := c.rest(); err != nil {
		return err
	}
	return errAnswered // what else this client has to ask another member answers
}

// left says that this member was removed, and knows of it. A removed ZooKeeper goes on as
// a follower without a vote; here no leader answers it, and it ends soon.
func (s *Server) left(ctx context.Context) bool {
	members, err := s.cfg.Cluster.Members(ctx, false)
	self := s.cfg.Cluster.Self().Member
	return err == nil && !slices.ContainsFunc(members, func(m core.Member) bool { return m.ID == self })
}

// configuration is what /zookeeper/config says now, as far as this member knows.
func (s *Server) configuration() string {
	v, err := s.cfg.Store.View(s.ctx, core.Principal{Member: true}, core.Consistency{})
	if err != nil {
		return s.founded()
	}
	defer v.Close()
	z, err := v.Znodes().Znode(configPath, 0)
	if err != nil || len(z.Data) == 0 {
		return s.founded()
	}
	return string(z.Data)
}

// founded is the configuration of an ensemble that was never reconfigured.
func (s *Server) founded() string {
	if s.cfg.Ensemble.Servers == "" {
		return ""
	}
	return s.cfg.Ensemble.Servers + "version=0"
}

// serverSet are servers by number.
type serverSet map[int64]EnsembleServer

// text is a line for each server, by number.
func (l serverSet) text() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(l)) {
		b.WriteString(l[id].Line + "\n")
	}
	return b.String()
}

func (l serverSet) voters() (n int) {
	for _, s := range l {
		if !s.Observer {
			n++
		}
	}
	return n
}

// reconfiguration is a reconfig under way.
type reconfiguration struct {
	srv *Server
	who core.Principal
	// now is the configuration that is, written by revision from, next the one that is to be.
	now, next serverSet
	from      core.Rev
	// members are as they were found.
	members []core.Member
	session core.SessionRef
}

// reconfigure checks a request in ZooKeeper's order, and makes the change.
func (c *conn) reconfigure(ctx context.Context, q *request) error {
	m := q.body.(*wire.ReconfigRequest)
	r := reconfiguration{srv: c.srv, session: c.session}
	var err error
	if r.who, err = c.srv.principal(ctx, q.who); err != nil {
		return err
	}
	v, err := c.srv.cfg.Store.View(ctx, r.who, core.Consistency{Linearizable: true})
	if err != nil {
		return err
	}
	defer v.Close()
	z, err := v.Znodes().Znode(configPath, 0)
	if err != nil {
		return err
	}
	if r.from = z.Mzxid; m.CurConfigID != anyConfig && m.CurConfigID != int64(r.from) {
		return wire.BadVersion
	}
	if err := r.read(string(z.Data)); err != nil {
		return err
	}
	if r.next, err = r.wanted(m); err != nil {
		return err
	}
	if n := r.next.voters(); n == 0 || n == 1 && !c.srv.cfg.Ensemble.Sole {
		return wire.BadArguments
	}
	if r.members, err = c.srv.cfg.Cluster.Members(ctx, true); err != nil {
		return err
	}
	if err := r.connected(ctx); err != nil {
		return err
	}
	if err := r.set(ctx, nil); err != nil { // may the client do this?
		return err
	}
	return r.apply(ctx)
}

// read takes in the present configuration, or that of zoo.cfg if there is none.
func (r *reconfiguration) read(text string) error {
	if text == "" {
		text = r.srv.cfg.Ensemble.Servers
	}
	r.now = serverSet{}
	for line := range strings.Lines(text) {
		number, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "server."), "=")
		if !ok || number == "version" {
			continue
		}
		id, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %q: %w", configPath, line, err)
		}
		if r.now[id], err = r.srv.cfg.Ensemble.Parse(id, rest); err != nil {
			return fmt.Errorf("%s: %q: %w", configPath, line, err)
		}
	}
	return nil
}

// wanted is the configuration that a request asks for.
func (r *reconfiguration) wanted(m *wire.ReconfigRequest) (serverSet, error) {
	if m.NewMembers != wire.NullText {
		return r.whole(m.NewMembers)
	}
	next := maps.Clone(r.now)
	for _, text := range split(m.LeavingServers, ",") {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, wire.MarshallingError // over which ZooKeeper trips
		}
		delete(next, id)
	}
	for _, text := range split(m.JoiningServers, ",") {
		parts := split(text, "=")
		if len(parts) != 2 {
			return nil, wire.BadArguments
		}
		id, err := strconv.ParseInt(parts[0][strings.LastIndexByte(parts[0], '.')+1:], 10, 64)
		if err != nil {
			return nil, wire.MarshallingError
		}
		s, err := r.srv.cfg.Ensemble.Parse(id, parts[1])
		if err != nil || !s.Clients {
			return nil, wire.BadArguments
		}
		for _, other := range next {
			if other.ID != id && slices.ContainsFunc(s.Own, func(a string) bool { return slices.Contains(other.Own, a) }) {
				return nil, wire.BadArguments
			}
		}
		next[id] = s
	}
	return next, nil
}

// split is ZooKeeper's StringUtils.split: without what is empty, and without spaces.
func split(text, separator string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, separator) {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// whole is a configuration that is given as one, as in zoo.cfg (QuorumPeerConfig.
// parseDynamicConfig). Groups of servers are not to be had here.
func (r *reconfiguration) whole(text string) (serverSet, error) {
	e := &r.srv.cfg.Ensemble
	pairs, err := e.Properties(strings.ReplaceAll(text, ",", "\n"))
	if err != nil {
		return nil, wire.MarshallingError
	}
	next := serverSet{}
	for _, p := range pairs {
		key := strings.TrimSpace(p[0])
		number, ok := strings.CutPrefix(key, "server.")
		switch {
		case strings.HasPrefix(key, "group"), strings.HasPrefix(key, "weight"):
			return nil, wire.Unimplemented
		case key == "version":
			continue
		case !ok:
			return nil, wire.BadArguments
		}
		id, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, wire.MarshallingError
		}
		if next[id], err = e.Parse(id, p[1]); err != nil {
			return nil, wire.BadArguments
		}
	}
	switch n := next.voters(); {
	case n == 0 && e.Sole, n <= 1 && !e.Sole && len(next) > n: // where it trips again
		return nil, wire.MarshallingError
	}
	return next, nil
}

// connected fails unless a quorum of the next configuration follows the leader (ZooKeeper
// 3.9 Leader.isQuorumSynced).
func (r *reconfiguration) connected(ctx context.Context) error {
	overview, err := r.srv.cfg.Ensemble.Overview.Overview(ctx, core.Principal{Member: true})
	if err != nil {
		return err
	}
	leader, follow := r.srv.cfg.Cluster.Self().Leader, 0
	for id, s := range r.next {
		m := r.member(id)
		if s.Observer || m == nil {
			continue
		}
		if slices.ContainsFunc(overview, func(o core.MemberStatus) bool {
			return o.Member.ID == m.ID && o.Err == nil && leader != 0 && o.Status.Leader == leader
		}) {
			follow++
		}
	}
	if follow <= r.next.voters()/2 {
		return wire.NewConfigNoQuorum
	}
	return nil
}

// member is the member that is a server; nil if there is none yet.
func (r *reconfiguration) member(id int64) *core.Member {
	has := func(urls []string) func(core.Member) bool {
		return func(m core.Member) bool {
			return m.Name == "" && slices.ContainsFunc(m.PeerURLs, func(u string) bool { return slices.Contains(urls, u) })
		}
	}
	for _, is := range []func(core.Member) bool{
		func(m core.Member) bool { return m.Name == strconv.FormatInt(id, 10) },
		has(r.urls(r.now[id])),
		has(r.urls(r.next[id])),
	} {
		if at := slices.IndexFunc(r.members, is); at >= 0 {
			return &r.members[at]
		}
	}
	return nil
}

// urls are a server's peer URLs.
func (r *reconfiguration) urls(s EnsembleServer) []string {
	scheme := "http://"
	if r.srv.cfg.Ensemble.TLS {
		scheme = "https://"
	}
	urls := make([]string, len(s.Peers))
	for i, address := range s.Peers {
		urls[i] = scheme + address
	}
	slices.Sort(urls)
	return urls
}

// apply makes the change.
func (r *reconfiguration) apply(ctx context.Context) error {
	leaving := r.leaving()
	for id, s := range r.next {
		m := r.member(id)
		switch {
		case m == nil:
		case !m.Learner && s.Observer: // a voter that is to be none must leave, and come back as another
			return wire.Unimplemented
		case slices.Contains(leaving, m.ID):
			return wire.BadArguments
		}
	}
	reached, failed := r.join(ctx)
	lines := maps.Clone(r.now) // of those that leave, too: they have not left yet
	maps.Copy(lines, reached)
	for id := range r.now {
		if _, stays := r.next[id]; !stays && r.member(id) == nil && failed == nil {
			delete(lines, id)
		}
	}
	if lines.text() != r.now.text() || failed == nil && (r.from == 0 || len(leaving) == 0) {
		if err := r.set(ctx, lines); err != nil {
			return err
		}
	}
	for _, id := range leaving {
		if failed == nil {
			failed = r.change(ctx, func() error {
				_, err := r.srv.cfg.Ensemble.Membership.Remove(ctx, r.who, id)
				return err
			})
		}
	}
	return failed
}

// set writes a configuration in the place of the present one; without servers it only asks
// whether that may be done.
func (r *reconfiguration) set(ctx context.Context, to serverSet) error {
	cmd := core.SetEnsemble{Session: r.session, Servers: to.text(), From: r.from}
	_, err := r.srv.cfg.Store.Do(ctx, r.who, &cmd)
	return verdictOfChange(err)
}

// leaving are the members that are to leave, this one last: it is to see to the others.
func (r *reconfiguration) leaving() (ids []core.MemberID) {
	self := r.srv.cfg.Cluster.Self().Member
	for id := range r.now {
		if _, stays := r.next[id]; stays {
			continue
		}
		if m := r.member(id); m != nil {
			ids = append(ids, m.ID)
		}
	}
	slices.SortFunc(ids, func(a, b core.MemberID) int {
		if a == self || b == self {
			return map[bool]int{true: 1, false: -1}[a == self]
		}
		return int(min(max(int64(a>>1)-int64(b>>1), -1), 1))
	})
	return ids
}

// join makes members of the servers that are none, and of the others what they are to be.
// It returns those that are as they are to be.
func (r *reconfiguration) join(ctx context.Context) (serverSet, error) {
	reached, who, members := serverSet{}, r.who, r.srv.cfg.Ensemble.Membership
	for _, id := range slices.Sorted(maps.Keys(r.next)) {
		s, m := r.next[id], r.member(id)
		urls := r.urls(s)
		err := r.change(ctx, func() (err error) {
			switch {
			case m == nil:
				return r.add(ctx, urls, s.Observer)
			case !slices.Equal(slices.Sorted(slices.Values(m.PeerURLs)), urls) && r.now[id].Line != s.Line:
				_, err = members.Update(ctx, who, m.ID, urls)
			}
			if err == nil && m.Learner && !s.Observer {
				_, err = members.Promote(ctx, who, m.ID)
			}
			return err
		})
		if err != nil {
			return reached, err
		}
		reached[id] = s
	}
	return reached, nil
}

// add adds a member. One that was removed in this very second had the id that it would get,
// which is made of its URLs and the second (etcd T-101): that passes as well.
func (r *reconfiguration) add(ctx context.Context, urls []string, observer bool) error {
	_, _, err := r.srv.cfg.Ensemble.Membership.Add(ctx, r.who, urls, observer)
	if core.KindOf(err) == core.MemberNotFound {
		return core.Unhealthy
	}
	return err
}

// While the members' connections are younger than etcd's --strict-reconfig-check wants them
// to be, a change is tried again: that passes in some seconds, and ZooKeeper knows of no
// such check.
const (
	steadyRetry   = 500 * time.Millisecond
	steadyTimeout = 2 // of these is a session's timeout: a client gives up after two thirds of it
)

// change makes one change of members.
func (r *reconfiguration) change(ctx context.Context, do func() error) error {
	deadline, _ := ctx.Deadline()
	patience := time.Until(deadline) / steadyTimeout
	for begin := time.Now(); ; {
		err := do()
		if core.KindOf(err) != core.Unhealthy || time.Since(begin) > patience {
			return verdictOfChange(err)
		}
		select {
		case <-time.After(steadyRetry):
		case <-ctx.Done():
			return verdictOfChange(err)
		}
	}
}

// verdictOfChange is what a change of members that failed says to ZooKeeper's client: of
// one that would put the quorum at risk that there is none, and of one that somebody else
// was faster with that he is at it.
func verdictOfChange(err error) error {
	if err == nil {
		return nil
	}
	switch core.KindOf(err) {
	case core.NotEnoughStarted, core.Unhealthy, core.LearnerNotReady:
		return wire.NewConfigNoQuorum
	case core.BadMemberURLs, core.PeerURLExists, core.MemberExists:
		return wire.BadArguments
	case core.BadVersion, core.MemberNotFound, core.NotLearner:
		return wire.ReconfigInProgress
	default:
		return err
	}
}
