package zk

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// failing is a store whose writes to /fail fail.
type failing struct {
	core.Store
	err atomic.Value
}

func (f *failing) Lane() core.Lane { return failingLane{f, f.Store.Lane()} }

type failingLane struct {
	f *failing
	core.Lane
}

func (l failingLane) Submit(who core.Principal, cmd core.Command) core.Pending {
	if w, ok := cmd.(*core.ZnodeWrite); ok && len(w.Ops) > 0 && w.Ops[0].Path == "/fail" {
		return failed{l.f.err.Load().(error)}
	}
	return l.Lane.Submit(who, cmd)
}

type failed struct{ err error }

func (f failed) Wait(context.Context) (core.Result, error) { return core.Result{}, f.err }
func (f failed) Done() bool                                { return true }

// Every kind of failure is answered with a code of ZooKeeper's, or by closing the
// connection if the outcome is not known.
func TestEveryKindHasAVerdict(t *testing.T) {
	require.Len(t, kindVerdicts, len(core.Kinds()))
	unknown := []core.Kind{
		core.NoLeader, core.LeaderChanged, core.Stopped, core.Timeout, core.Canceled, core.Deadline, core.SessionMoved,
	}
	for _, kind := range core.Kinds() {
		verdict := verdictOf(fmt.Errorf("wrapped: %w", &core.Error{Kind: kind, Cause: context.DeadlineExceeded}))
		require.Negative(t, verdict.code, kind)
		if verdict.silent {
			require.Contains(t, unknown, kind)
		} else {
			require.NotContains(t, unknown, kind)
		}
	}
	require.Equal(t, wire.SystemError, verdictOf(context.Canceled).code)
	require.Equal(t, wire.SystemError, kindVerdict(255).code)
}

func TestKindsOnTheWire(t *testing.T) {
	var store failing
	s := startServer(t, func(c *Config) {
		store.Store = c.Store
		c.Store = &store
	})
	for _, kind := range core.Kinds() {
		if kind == core.TooManyRequests {
			continue // which is tried again: see TestFullStoreHoldsUpTheClient
		}
		t.Run(kind.Error(), func(t *testing.T) {
			store.err.Store(core.Errorf(kind, "because"))
			c := s.connect()
			c.send(wire.OpSetData, &wire.SetDataRequest{Path: "/fail", Version: -1})
			if kindVerdicts[kind].silent {
				c.gone()
				return
			}
			require.Equal(t, kindVerdicts[kind].code, c.recv().Err)
			if kindVerdicts[kind].last {
				c.gone()
				return
			}
			c.ok(wire.OpPing, nil, nil)
		})
	}
}

// Under the CORRUPT alarm nothing changes: writes are answered with DataInconsistency, and
// so is goodbye, which leaves the ephemerals; who has a session reads, and attaches it to
// another connection; a new client is turned away.
func TestCorrupt(t *testing.T) {
	t.Parallel() // it waits for a session to run out
	s := startServer(t)
	c := s.connect()
	c.create("/e", "mine", wire.Ephemeral)
	alarm := &core.SetAlarm{Alarm: core.Alarm{Type: core.AlarmCorrupt}, On: true}
	_, err := s.node.Do(s.ctx(), core.Principal{}, alarm)
	require.NoError(t, err)

	create := &wire.CreateRequest{Path: "/f", ACL: wire.OpenACLUnsafe}
	require.Equal(t, wire.DataInconsistency, c.call(wire.OpCreate, create).Err)
	data, _ := c.get("/e", false)
	require.Equal(t, "mine", data)
	again := s.dial()
	again.hello(wire.ConnectRequest{TimeOut: 5000, SessionID: c.session.SessionID, Password: c.session.Password})
	require.Equal(t, c.session.SessionID, again.session.SessionID)
	other := s.dial()
	other.write(framed((&wire.ConnectRequest{TimeOut: 5000}).Append))
	other.gone()
	require.Equal(t, wire.DataInconsistency, again.call(wire.OpCloseSession, nil).Err)
	again.gone()

	alarm.On = false
	_, err = s.node.Do(s.ctx(), core.Principal{}, alarm)
	require.NoError(t, err)
	last := s.connect()
	require.Eventually(t, func() bool { return last.exists("/e", false) == wire.NoNode }, patience, 20*time.Millisecond)
}
