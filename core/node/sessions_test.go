package node

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

var (
	secretA = core.SecretHash{'a'}
	secretB = core.SecretHash{'b'}
)

func openSession(t testing.TB, n *Node, id core.LeaseID, timeout time.Duration) core.SessionRef {
	res, err := n.Do(testContext(t), core.Principal{}, &core.SessionOpen{ID: id, Timeout: timeout, Secret: secretA})
	require.NoError(t, err)
	return res.Outcome.(core.SessionOutcome).Session
}

func attach(t testing.TB, n *Node, id core.LeaseID, timeout time.Duration, secret core.SecretHash) (core.SessionRef, error) {
	res, err := n.Do(testContext(t), core.Principal{}, &core.SessionAttach{ID: id, Timeout: timeout, Secret: secret})
	if err != nil {
		return core.SessionRef{}, err
	}
	return res.Outcome.(core.SessionOutcome).Session, nil
}

// createEphemeral makes a znode that goes with its session.
func createEphemeral(t testing.TB, n *Node, ref core.SessionRef, path string) error {
	_, err := n.Do(testContext(t), core.Principal{}, &core.ZnodeWrite{Session: ref, Ops: []core.ZnodeOp{
		{Type: core.ZnodeCreate, Path: path, Data: []byte("me"), Kind: core.ZnodeEphemeral, OpenACL: true},
	}})
	return err
}

// recorder records what it is told of sessions.
type recorder struct {
	mu   sync.Mutex
	told []core.SessionRef
}

func (r *recorder) tell(ref core.SessionRef) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, ref)
}

func (r *recorder) heard() []core.SessionRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]core.SessionRef(nil), r.told...)
}

// pass lets time pass, in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func TestSessionLife(t *testing.T) {
	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	var told recorder
	stop := n.Sessions().Follow(told.tell)
	ref := openSession(t, n, 7, time.Minute)
	require.Equal(t, core.SessionRef{ID: 7, Epoch: 1}, ref)
	require.EqualValues(t, 1, n.Znodes().Counts().Sessions)
	require.NoError(t, createEphemeral(t, n, ref, "/lock"))
	require.Equal(t, "me", get(t, n, "/zk/lock"))
	require.NoError(t, n.Sessions().Touch(testContext(t), 7))

	_, err := attach(t, n, 7, time.Minute, secretB)
	require.ErrorIs(t, err, core.SessionExpired)
	require.Empty(t, told.heard())
	moved, err := attach(t, n, 7, time.Hour, secretA)
	require.NoError(t, err)
	require.Equal(t, core.SessionRef{ID: 7, Epoch: 2}, moved)
	require.Equal(t, []core.SessionRef{moved}, told.heard())
	require.ErrorIs(t, createEphemeral(t, n, ref, "/late"), core.SessionMoved)
	s, err := n.Leases().Status(testContext(t), core.Principal{}, 7, true)
	require.NoError(t, err)
	require.Equal(t, time.Hour, s.Granted)
	require.Equal(t, [][]byte{[]byte("/zk/lock")}, s.Keys)

	_, err = n.Do(testContext(t), core.Principal{}, &core.SessionClose{Session: ref})
	require.ErrorIs(t, err, core.SessionMoved)
	require.Equal(t, "me", get(t, n, "/zk/lock"))
	_, err = n.Do(testContext(t), core.Principal{}, &core.SessionClose{Session: moved})
	require.NoError(t, err)
	require.Equal(t, "<none>", get(t, n, "/zk/lock"))
	require.Equal(t, []core.SessionRef{moved, {ID: 7}}, told.heard())
	require.ErrorIs(t, n.Sessions().Touch(testContext(t), 7), core.SessionExpired)
	require.ErrorIs(t, createEphemeral(t, n, moved, "/late"), core.SessionExpired)
	require.Zero(t, n.Znodes().Counts().Sessions)

	stop()
	openSession(t, n, 8, time.Minute)
	_, err = n.Do(testContext(t), core.Principal{}, &core.LeaseRevoke{ID: 8})
	require.NoError(t, err)
	require.Len(t, told.heard(), 2, "told after it had asked not to be")
}

// An etcd client may end a session by its lease, whose keepalive is none of its
// business.
func TestSessionIsALease(t *testing.T) {
	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	var told recorder
	defer n.Sessions().Follow(told.tell)()
	ref := openSession(t, n, 7, time.Minute)
	require.NoError(t, createEphemeral(t, n, ref, "/lock"))
	_, err := n.Do(testContext(t), core.Principal{}, &core.LeaseGrant{ID: 9, TTL: time.Minute})
	require.NoError(t, err)

	_, err = n.Leases().KeepAlive(testContext(t), core.Principal{}, 7)
	require.ErrorIs(t, err, core.LeaseNotFound)
	require.ErrorIs(t, n.Sessions().Touch(testContext(t), 9), core.SessionExpired)
	ids, err := n.Leases().List(testContext(t), core.Principal{})
	require.NoError(t, err)
	require.ElementsMatch(t, []core.LeaseID{7, 9}, ids)
	_, err = n.Do(testContext(t), core.Principal{}, &core.LeaseGrant{ID: 7, TTL: time.Minute})
	require.ErrorIs(t, err, core.LeaseExists)

	_, err = n.Do(testContext(t), core.Principal{}, &core.LeaseRevoke{ID: 9})
	require.NoError(t, err)
	_, err = n.Do(testContext(t), core.Principal{}, &core.LeaseRevoke{ID: 7})
	require.NoError(t, err)
	require.Equal(t, []core.SessionRef{{ID: 7}}, told.heard())
	require.Equal(t, "<none>", get(t, n, "/zk/lock"))
	require.ErrorIs(t, n.Sessions().Touch(testContext(t), 7), core.SessionExpired)
}

// N7: ids are positive, and drawn by the proposer.
func TestSessionIDIsDrawn(t *testing.T) {
	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	first, second := openSession(t, n, 0, time.Minute), openSession(t, n, 0, time.Minute)
	require.Positive(t, first.ID)
	require.Positive(t, second.ID)
	require.NotEqual(t, first.ID, second.ID)
	for _, cmd := range []core.Command{&core.SessionOpen{Timeout: time.Minute}, &core.LeaseGrant{TTL: time.Minute}} {
		p := n.Lane().Submit(core.Principal{}, cmd)
		require.True(t, p.Done())
		_, err := p.Wait(testContext(t))
		require.ErrorIs(t, err, core.InvalidArgument)
	}
}

// N1: a session lives for its timeout and what a front end may keep a touch back, and
// ends within two ticks of that.
func TestSessionExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, testConfig(t))
		defer stopNode(t, n)
		require.NoError(t, n.Ready(testContext(t)))
		const timeout = 4 * time.Second
		openSession(t, n, 7, timeout)
		start := time.Now()
		ended := make(chan time.Time, 1)
		defer n.Sessions().Follow(func(ref core.SessionRef) { ended <- time.Now() })()
		for range 100 { // as late as may be
			pass(timeout + core.TouchInterval - time.Millisecond)
			require.NoError(t, n.Sessions().Touch(testContext(t), 7))
			start = time.Now()
		}
		took := (<-ended).Sub(start)
		require.GreaterOrEqual(t, took, timeout+core.TouchInterval)
		require.LessOrEqual(t, took, timeout+core.TouchInterval+2*expiryInterval)
		require.ErrorIs(t, n.Sessions().Touch(testContext(t), 7), core.SessionExpired)
	})
}

// To attach gives the session the new timeout, whole.
func TestAttachRestartsTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, testConfig(t))
		defer stopNode(t, n)
		openSession(t, n, 7, 2*time.Second)
		ended := make(chan time.Time, 2)
		pass(1900 * time.Millisecond)
		_, err := attach(t, n, 7, 10*time.Second, secretA)
		require.NoError(t, err)
		pass(9 * time.Second)
		_, err = attach(t, n, 7, time.Second, secretA)
		require.NoError(t, err)
		defer n.Sessions().Follow(func(core.SessionRef) { ended <- time.Now() })()
		start := time.Now()
		took := (<-ended).Sub(start)
		require.GreaterOrEqual(t, took, time.Second+core.TouchInterval)
		require.LessOrEqual(t, took, time.Second+core.TouchInterval+2*expiryInterval)
	})
}

// TestSessionSurvivesACrash: epoch, timeout and secret are in the log, and the
// session has its full timeout again.
func TestSessionSurvivesACrash(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	ref := openSession(t, n, 7, time.Minute)
	require.NoError(t, createEphemeral(t, n, ref, "/lock"))
	ref, err := attach(t, n, 7, time.Hour, secretA)
	require.NoError(t, err)
	left := crashed(cfg, 0, 1)
	stopNode(t, n)

	n = startNode(t, left)
	defer stopNode(t, n)
	require.Equal(t, "me", get(t, n, "/zk/lock"))
	require.EqualValues(t, 1, n.Znodes().Counts().Sessions)
	require.NoError(t, n.Sessions().Touch(testContext(t), 7))
	s, err := n.Leases().Status(testContext(t), core.Principal{}, 7, false)
	require.NoError(t, err)
	require.Equal(t, time.Hour, s.Granted)
	require.Greater(t, s.Remaining, time.Hour-time.Minute)
	require.NoError(t, createEphemeral(t, n, ref, "/still-mine"))
	_, err = attach(t, n, 7, time.Hour, secretB)
	require.ErrorIs(t, err, core.SessionExpired)
	again, err := attach(t, n, 7, time.Hour, secretA)
	require.NoError(t, err)
	require.Equal(t, core.SessionRef{ID: 7, Epoch: 3}, again)
}

// N2: a new leadership gives a session its full timeout again, however little it had
// left, and a grace for its client to find the leader.
func TestRestartGivesTheFullTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t)
		n := startNode(t, cfg)
		openSession(t, n, 7, 4*time.Second)
		pass(3900 * time.Millisecond)
		left := crashed(cfg, 0, 1)
		stopNode(t, n)

		n = startNode(t, left)
		defer stopNode(t, n)
		start := time.Now()
		ended := make(chan time.Time, 1)
		defer n.Sessions().Follow(func(core.SessionRef) { ended <- time.Now() })()
		require.NoError(t, n.Ready(testContext(t)))
		took := (<-ended).Sub(start)
		require.GreaterOrEqual(t, took, 4*time.Second+core.TouchInterval)
		require.LessOrEqual(t, took, 4*time.Second+core.TouchInterval+2*n.cfg.Timing.Election+2*expiryInterval)
	})
}

// N5: before the deadlines of a new leader run, a touch is not told that the session
// has ended: the state says that it has not.
func TestTouchBeforeDeadlinesRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, testConfig(t))
		defer stopNode(t, n)
		openSession(t, n, 7, time.Minute)
		term := n.Status().Term
		n.leases.mu.Lock()
		n.leases.deadlines.Follow()
		n.leases.mu.Unlock()
		require.ErrorIs(t, n.Sessions().Touch(testContext(t), 7), core.NoLeader)
		require.ErrorIs(t, n.Sessions().Touch(testContext(t), 8), core.SessionExpired)

		// The session is in the view, and the deadlines are about to be told.
		n.leases.mu.Lock()
		n.leases.deadlines.Lead(n.leases.now(), term, nil, 0)
		n.leases.mu.Unlock()
		touched := make(chan error, 1)
		go func() { touched <- n.Sessions().Touch(testContext(t), 7) }()
		synctest.Wait()
		require.Empty(t, touched)
		n.leases.leadership(n.Status().Leader, term, true)
		require.NoError(t, <-touched)
	})
}

// BenchmarkTouch is one touch of one of 10 000 sessions.
func BenchmarkTouch(b *testing.B) {
	n := startNode(b, testConfig(b))
	defer stopNode(b, n)
	for id := range core.LeaseID(10_000) {
		n.Lane().Submit(core.Principal{}, &core.SessionOpen{ID: id + 1, Timeout: time.Hour})
	}
	openSession(b, n, 20_000, time.Hour)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := n.Sessions().Touch(context.Background(), core.LeaseID(i%10_000+1)); err != nil {
			b.Fatal(fmt.Sprint(i, err))
		}
	}
}

func TestMetricsCountSessionsAndZnodes(t *testing.T) {
	cfg := testConfig(t)
	registry := prometheus.NewRegistry()
	cfg.Metrics = registry
	n := startNode(t, cfg)
	defer stopNode(t, n)
	require.NoError(t, createEphemeral(t, n, openSession(t, n, 7, time.Minute), "/lock"))
	families, err := registry.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "triglot_zk_") {
			got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	require.Equal(t, map[string]float64{
		"triglot_zk_sessions": 1, "triglot_zk_znodes": 6, "triglot_zk_ephemerals": 1,
		"triglot_zk_data_bytes": float64(len("/") + len("/zookeeper") + len("/zookeeper/config") + len("/zookeeper/quota") + len("/lock") + len("me")),
	}, got)
}

// Nobody is served before the member is ready: it may not have all that was acknowledged.
func TestSessionsWaitForReadiness(t *testing.T) {
	n := startNode(t, testConfig(t))
	require.NoError(t, n.Ready(testContext(t)))
	require.NoError(t, n.sessions.Contact())
	n.standing.ready.Store(false)
	require.ErrorIs(t, n.sessions.Contact(), core.NoLeader)
	require.NoError(t, n.sessions.inContact())
	stopNode(t, n)
}
