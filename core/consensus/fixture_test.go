package consensus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
)

// recorder is a state machine that remembers what it was given.
type recorder struct {
	mu      sync.Mutex
	entries []Committed
	calls   []int // entries of each call
	before  func(batch []Committed) error
	refuse  func(c *Committed) bool
	install func(s Installed) error
}

func (r *recorder) Install(s Installed) error { return r.install(s) }

func (r *recorder) Apply(batch []Committed) error {
	if r.before != nil {
		if err := r.before(batch); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.entries = append(r.entries, batch...)
	for i := range batch {
		batch[i].Refused = r.refuse != nil && r.refuse(&batch[i])
		r.entries[len(r.entries)-len(batch)+i].Local = append([]*Proposal(nil), batch[i].Local...)
	}
	r.calls = append(r.calls, len(batch))
	r.mu.Unlock()
	for i := range batch {
		for _, p := range batch[i].Local {
			p.Complete(core.Result{Rev: core.Rev(batch[i].Index)}, nil)
		}
	}
	return nil
}

// commands are the commands of all entries, in order.
func (r *recorder) commands() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		for _, b := range e.Entry.Batches {
			for _, c := range b.Commands {
				all = append(all, string(c))
			}
		}
	}
	return all
}

// filled counts the entries that hold commands.
func (r *recorder) filled() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		if len(e.Data) > 0 {
			n++
		}
	}
	return n
}

// gate holds the log writer up while it is closed.
type gate struct{ open chan struct{} }

func (g *gate) beforeAppend([]*raftpb.Entry, bool) error {
	<-g.open
	return nil
}

// start starts a driver that the test stops.
func start(t *testing.T, c Config) *Driver {
	t.Helper()
	if c.Logger == nil {
		c.Logger = quiet()
	}
	if c.Applied == 0 {
		c.Applied = 1
	}
	d, err := Start(c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Stop() }) // the error is the failure that a test asked for
	return d
}

// startLone starts a lone member and waits until it leads.
func startLone(t *testing.T) (*Driver, *memLog, *recorder) {
	t.Helper()
	log, state := newMemLog(1), &recorder{}
	d := start(t, Config{ID: 1, Log: log, Applier: state})
	synctest.Wait()
	require.True(t, d.SoleLeader())
	return d, log, state
}

// hold makes the log writer wait before its next append, until release.
func hold(log *memLog) (release func()) {
	g := &gate{open: make(chan struct{})}
	log.mu.Lock()
	log.beforeAppend = g.beforeAppend
	log.mu.Unlock()
	return func() { close(g.open) }
}

// outcome is what a proposal came to.
type outcome struct {
	command string
	result  core.Result
	err     error
	after   time.Duration
}

// propose proposes a command and waits for its outcome on a goroutine of its own.
func propose(t *testing.T, d *Driver, command string, deadline time.Time) <-chan outcome {
	t.Helper()
	p := NewProposal([]byte(command), deadline)
	require.NoError(t, d.Propose(p))
	c := make(chan outcome, 1)
	begun := time.Now()
	go func() {
		result, err := p.Wait(context.Background())
		c <- outcome{command, result, err, time.Since(begun)}
	}()
	return c
}

// cluster is three drivers and a network between them.
type cluster struct {
	drivers map[core.MemberID]*Driver
	logs    map[core.MemberID]*memLog
	states  map[core.MemberID]*recorder

	mu   sync.Mutex
	drop func(m *Message) bool // nil: nothing
}

// startCluster starts three members and waits for a leader. It stops them before
// the test's bubble ends.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{
		drivers: map[core.MemberID]*Driver{}, logs: map[core.MemberID]*memLog{}, states: map[core.MemberID]*recorder{},
	}
	c.mu.Lock()
	for id := core.MemberID(1); id <= 3; id++ {
		c.logs[id], c.states[id] = newMemLog(1, 2, 3), &recorder{}
		c.drivers[id] = start(t, Config{ID: id, Log: c.logs[id], Applier: c.states[id], Send: c.send})
	}
	c.mu.Unlock()
	c.leader(t)
	return c
}

func (c *cluster) send(messages []*Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range messages {
		if d := c.drivers[core.MemberID(m.GetTo())]; d != nil && (c.drop == nil || !c.drop(m)) {
			d.Receive(m)
		}
	}
}

func (c *cluster) setDrop(drop func(m *Message) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop = drop
}

// leader waits until the members that are not left out agree on a leader among
// them.
func (c *cluster) leader(t *testing.T, leftOut ...core.MemberID) core.MemberID {
	t.Helper()
	for range 200 {
		<-time.After(100 * time.Millisecond) // of the bubble's clock
		synctest.Wait()
		if l := c.agreed(leftOut); l != 0 {
			return l
		}
	}
	require.FailNow(t, "no leader")
	return 0
}

func (c *cluster) agreed(leftOut []core.MemberID) (leader core.MemberID) {
	for id, d := range c.drivers {
		if slices.Contains(leftOut, id) {
			continue
		}
		l, _, _, _ := d.Status()
		if l == 0 || slices.Contains(leftOut, l) || leader != 0 && leader != l {
			return 0
		}
		leader = l
	}
	return leader
}

// numbered names the nth of many commands.
func numbered(n int) string { return fmt.Sprintf("command %d", n) }
