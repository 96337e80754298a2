package consensus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
)

func TestStartRefuses(t *testing.T) {
	short := newMemLog(1) // holds 2 to 1, commit 1
	long := newMemLog(1)
	require.NoError(t, long.Append(nil, []*raftpb.Entry{{Term: new(uint64(1)), Index: new(uint64(2))}}, true))
	lost := newMemLog(1)
	lost.raiseCommit(9)
	joint := newMemLog(1)
	joint.conf.VotersOutgoing = []uint64{2}
	valid := Config{ID: 1, Log: short, Applied: 1, Applier: noApplier{}}
	for want, change := range map[string]func(*Config){
		"the member has no id":                func(c *Config) { c.ID = 0 },
		"is reserved":                         func(c *Config) { c.ID = core.MemberID(raft.LocalAppendThread) },
		"there is no log":                     func(c *Config) { c.Log = nil },
		"there is no applier":                 func(c *Config) { c.Applier = nil },
		"at least two ticks":                  func(c *Config) { c.ElectionTimeout = 150 * time.Millisecond },
		"a limit is negative":                 func(c *Config) { c.QueueBytes = -1 },
		"applied index 0 is outside of":       func(c *Config) { c.Applied = 0 },
		"applied index 7 is outside of":       func(c *Config) { c.Applied = 7 },
		"2 is beyond commit index 1":          func(c *Config) { c.Log, c.Applied = long, 2 },
		"commit index 9 is outside of":        func(c *Config) { c.Log = lost },
		"is in transition":                    func(c *Config) { c.Log = joint },
		"member 2 is neither among":           func(c *Config) { c.ID = 2 },
		"names no voters":                     func(c *Config) { c.Log = newMemLog() },
		"member 1 is named twice":             func(c *Config) { c.Log = withLearners(newMemLog(1), 1) },
		"1 voters and 1 learners, and no way": func(c *Config) { c.Log = withLearners(newMemLog(1), 2) },
		"2 voters and 0 learners, and no way": func(c *Config) { c.Log = newMemLog(1, 2) },
		"read the log's first index: broken":  func(c *Config) { c.Log = brokenLog{short} },
	} {
		c := valid
		change(&c)
		d, err := Start(c)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "consensus: ")
		require.Nil(t, d)
	}
}

// withLearners names learners in a log.
func withLearners(l *memLog, ids ...uint64) *memLog {
	l.conf.Learners = ids
	return l
}

type brokenLog struct{ *memLog }

func (brokenLog) FirstIndex() (uint64, error) { return 0, errors.New("broken") }

func TestProposalIsAnsweredOnce(t *testing.T) {
	p := NewProposal(nil, never)
	p.Complete(core.Result{Rev: 7}, nil)
	p.Complete(core.Result{}, core.Stopped)
	result, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 7, result.Rev)
	require.Empty(t, p.done)
	(*Proposal)(nil).Complete(core.Result{}, nil)
}

// Who waits for several proposals finds all settled that were settled together.
func TestWakingComesAfterSettling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := NewProposal(nil, never), NewProposal(nil, never)
		woken := make(chan bool, 1)
		go func() {
			_, err := first.Wait(t.Context())
			woken <- err == nil && second.Done()
		}()
		synctest.Wait()
		first.Settle(core.Result{}, nil)
		synctest.Wait()
		require.Empty(t, woken, "it is settled, and not woken yet")
		second.Settle(core.Result{}, nil)
		first.Wake()
		require.True(t, <-woken)
		second.Wake()
		first.Wake()
		(*Proposal)(nil).Settle(core.Result{}, nil)
		(*Proposal)(nil).Wake()
	})
}

func TestProposalIsAbandoned(t *testing.T) {
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("client went away"))
	p := NewProposal(nil, never)
	_, err := p.Wait(ended)
	require.ErrorIs(t, err, core.Canceled)
	require.ErrorContains(t, err, "client went away")
	require.True(t, p.left())
	p.Complete(core.Result{}, nil)
	require.Empty(t, p.done)
}

// A queue with gaps: whoever has left is neither proposed nor answered, nor does
// anybody get another's answer.
func TestAbandonedProposalsLeaveTheQueue(t *testing.T) {
	p := proposer{member: 1, incarnation: 2, timeout: time.Second}
	now := time.UnixMilli(5000)
	var all []*Proposal
	size := 0
	for i := range 6 {
		all = append(all, NewProposal([]byte(numbered(i)), never))
		size += all[i].size()
	}
	p.add(now, all)
	for _, i := range []int{0, 2, 5} {
		all[i].state.Store(abandoned)
	}
	data := handOn(&p, now)
	require.Empty(t, p.queue)
	require.Equal(t, size, p.released)
	e, err := command.DecodeEntry(data)
	require.NoError(t, err)
	require.EqualValues(t, 5000, e.TimeMS)
	local, err := p.claim(e)
	require.NoError(t, err)
	require.Equal(t, []*Proposal{all[1], all[3], all[4]}, local)
	local, err = p.claim(e)
	require.NoError(t, err)
	require.Nil(t, local, "claimed twice")
}

// handOn makes a batch of what is queued and returns its entry.
func handOn(p *proposer, now time.Time) []byte {
	b, taken := p.next(now, maxEntryBytes, true)
	data := command.AppendEntry(nil, now.UnixMilli(), []command.Batch{p.encoded(&b)})
	p.drop(taken)
	p.handOn(b)
	return data
}

// What is ordered is proposed in its turn even if its waiter has left: else one that
// follows it would overtake it.
func TestOrderedProposalsKeepTheirPlace(t *testing.T) {
	p := proposer{member: 1, incarnation: 2, timeout: time.Second}
	now := time.Now()
	gone, last := NewOrdered(new(Lane), []byte("gone")), NewOrdered(new(Lane), []byte("last"))
	p.add(now, []*Proposal{gone, last})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := gone.Wait(ended)
	require.ErrorIs(t, err, core.Canceled)
	e, err := command.DecodeEntry(handOn(&p, now))
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("gone"), []byte("last")}, e.Batches[0].Commands)
	local, err := p.claim(e)
	require.NoError(t, err)
	require.Len(t, local, 2)
	for _, q := range local {
		q.Complete(core.Result{Rev: 7}, nil)
	}
	result, err := last.Wait(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 7, result.Rev)
}

// laneOf makes proposals of one lane.
func laneOf(n int) (lane *Lane, all []*Proposal) {
	lane = new(Lane)
	for i := range n {
		all = append(all, NewOrdered(lane, []byte(numbered(i))))
	}
	return lane, all
}

// failed waits for proposals and returns what they came to.
func failed(t *testing.T, all ...*Proposal) (errs []error) {
	t.Helper()
	for _, p := range all {
		require.True(t, p.Done())
		_, err := p.Wait(t.Context())
		errs = append(errs, err)
	}
	return errs
}

// A lane breaks when the fate of one of its proposals is unknown, or one is given up:
// nothing of it is proposed later. Other lanes go on.
func TestLanesBreak(t *testing.T) {
	now := time.Now()
	start := func() (*proposer, *Lane, []*Proposal, *Lane, []*Proposal) {
		p := &proposer{member: 1, incarnation: 2, timeout: time.Second}
		broken, a := laneOf(3)
		whole, b := laneOf(1)
		p.add(now, a[:2])
		return p, broken, a, whole, b
	}
	check := func(p *proposer, broken *Lane, last *Proposal, whole *Lane, other *Proposal) {
		t.Helper()
		require.True(t, broken.Broken())
		require.False(t, whole.Broken())
		require.Equal(t, []*Proposal{other}, p.queue)
		released := p.released
		p.add(now, []*Proposal{last})
		require.Equal(t, []error{core.LeaderChanged}, failed(t, last))
		require.Equal(t, released+last.size(), p.released)
		require.Equal(t, []*Proposal{other}, p.queue)
	}

	p, broken, a, whole, b := start() // overdue in the queue
	p.add(now.Add(time.Second), b)
	p.sweep(now.Add(time.Second), core.NoLeader)
	require.Equal(t, []error{core.NoLeader, core.LeaderChanged}, failed(t, a[:2]...))
	check(p, broken, a[2], whole, b[0])

	p, broken, a, whole, b = start() // overdue in the log
	handOn(p, now)
	p.add(now.Add(time.Second), append(a[2:], b...))
	p.sweep(now.Add(time.Second), core.NoLeader)
	require.Equal(t, []error{core.Timeout, core.Timeout, core.LeaderChanged}, failed(t, a...))
	check(p, broken, NewOrdered(broken, nil), whole, b[0])

	p, broken, a, whole, b = start() // of unknown fate
	handOn(p, now)
	p.add(now, append(a[2:], b...))
	p.forget(core.LeaderChanged)
	require.Equal(t, []error{core.LeaderChanged, core.LeaderChanged, core.LeaderChanged}, failed(t, a...))
	check(p, broken, NewOrdered(broken, nil), whole, b[0])
}

// In an entry every proposal keeps its own deadline, and its own place.
func TestDeadlinesWithinAnEntry(t *testing.T) {
	p := proposer{member: 1, incarnation: 2}
	now := time.Now()
	a, b, c := NewProposal(nil, never), NewProposal(nil, now.Add(time.Second)), NewProposal(nil, now.Add(2*time.Second))
	p.add(now, []*Proposal{a, b, c})
	data := handOn(&p, now)
	answered := func() []bool { return []bool{a.Done(), b.Done(), c.Done()} }
	p.sweep(now.Add(time.Second-1), core.NoLeader)
	require.Equal(t, []bool{false, false, false}, answered())
	p.sweep(now.Add(time.Second), core.NoLeader)
	require.Equal(t, []bool{false, true, false}, answered())
	p.sweep(now.Add(2*time.Second), core.NoLeader)
	require.Equal(t, []bool{false, true, true}, answered())
	require.Equal(t, core.Timeout, c.err, "it is in the log")
	e, err := command.DecodeEntry(data)
	require.NoError(t, err)
	local, err := p.claim(e)
	require.NoError(t, err)
	require.Equal(t, []*Proposal{a, nil, nil}, local)
}

func TestClaimNoticesAMismatch(t *testing.T) {
	p := proposer{member: 1, incarnation: 2, timeout: time.Second}
	p.add(time.Now(), []*Proposal{NewProposal([]byte("a"), never), NewProposal([]byte("b"), never)})
	handOn(&p, time.Now())
	local, err := p.claim(command.Entry{Batches: []command.Batch{
		{Member: 1, Incarnation: 2, Sequence: 1, Commands: [][]byte{[]byte("a")}},
	}})
	require.ErrorContains(t, err, "batch 1 has 1 commands, 2 were proposed")
	require.Len(t, local, 2, "they are owed an answer all the same")
}

// The replica proposes from a buffer that it uses again. That is safe only as
// long as raft copies what it is given.
func TestRaftCopiesProposals(t *testing.T) {
	log := newMemLog(1)
	c := Config{ID: 1, Log: log, Applied: 1, Applier: noApplier{}, Logger: quiet()}.withDefaults()
	r, err := newReplica(&c)
	require.NoError(t, err)
	lead(t, r, log)
	data := []byte("first")
	require.NoError(t, r.rn.Propose(data))
	copy(data, "XXXXX")
	out, err := r.step(time.Now(), &inputs{})
	require.NoError(t, err)
	require.Equal(t, "first", string(out.appends[0].entries[0].GetData()))
}

// lead steps a lone replica until it leads and has nothing to append.
func lead(t *testing.T, r *replica, log *memLog) {
	t.Helper()
	for in := (inputs{}); !r.leads() || r.disk.appending > 0; {
		out, err := r.step(time.Now(), &in)
		require.NoError(t, err)
		in.reset()
		in.appended = append(in.appended, out.appends...)
		for _, a := range out.appends {
			require.NoError(t, log.Append(a.hard, a.entries, a.sync))
		}
	}
}

// A member that answers a message of a former term confirms nothing. raft would
// take it for the confirmation of index 0, which no log of ours holds.
func TestStaleNoticeIsNoConfirmation(t *testing.T) {
	r := &replica{self: 1, status: status{term: 4}}
	notice := func(term, index uint64, reject bool) *Message {
		return &Message{Type: raftpb.MsgAppResp.Enum(), Term: &term, Index: &index, Reject: &reject}
	}
	require.True(t, r.staleNotice(notice(4, 0, false)))
	require.True(t, r.staleNotice(notice(3, 0, false)))
	require.False(t, r.staleNotice(notice(5, 0, false)), "of a newer term we must hear")
	require.False(t, r.staleNotice(notice(4, 0, true)), "a rejection says where the log ends")
	require.False(t, r.staleNotice(notice(4, 1, false)))
}

func TestReaderAsksAgain(t *testing.T) {
	now := time.Now()
	r := reader{incarnation: 3, timeout: time.Second, retryTicks: 5}
	require.False(t, r.due())
	first, second := newReadBatch(), newReadBatch()
	r.add(now, first)
	require.True(t, r.due())
	a := r.ask()
	r.add(now, second)
	require.False(t, r.due())
	r.waiting += 5
	require.True(t, r.due())
	b := r.ask()
	require.NotEqual(t, a, b)
	r.answered(a, 7) // the answer to the first question was only late
	require.Equal(t, []*readBatch{first}, r.answers)
	require.EqualValues(t, 7, first.index)
	require.True(t, r.due(), "the second batch is next")
	r.ask()
	r.answered(b, 8) // the second question was not asked for the second batch
	require.Equal(t, []*readBatch{first}, r.answers, "a reader was served by a question older than it")
	r.lost()
	require.True(t, r.due())
	r.answered(r.ask(), 9)
	require.Equal(t, []*readBatch{first, second}, r.answers)
	require.EqualValues(t, 9, second.index)
	r.answered([]byte("short"), 1)
}

func TestCheckMessage(t *testing.T) {
	known := newMembers(1, &logState{conf: &raftpb.ConfState{Voters: []uint64{1, 2, 3, 6}, Learners: []uint64{5}}})
	known.set(&raftpb.ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{5}})
	message := func(change func(m *Message)) *Message {
		m := &Message{
			Type: raftpb.MsgApp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(5)),
			Index: new(uint64(3)), LogTerm: new(uint64(2)),
			Entries: []*raftpb.Entry{{Term: new(uint64(2)), Index: new(uint64(4))}, {Term: new(uint64(5)), Index: new(uint64(5))}},
		}
		change(m)
		return m
	}
	require.NoError(t, checkMessage(message(func(*Message) {}), &known))
	kind := func(k raftpb.MessageType) func(m *Message) {
		return func(m *Message) { m.Type, m.Entries = k.Enum(), nil }
	}
	for name, change := range map[string]func(m *Message){
		"for another":        func(m *Message) { m.To = new(uint64(3)) },
		"from one removed":   func(m *Message) { m.From = new(uint64(6)) },
		"from nobody":        func(m *Message) { m.From = nil },
		"from a thread":      func(m *Message) { m.From = new(raft.LocalAppendThread) },
		"from itself":        func(m *Message) { m.From = new(uint64(1)) },
		"no type":            func(m *Message) { m.Type = raftpb.MessageType(99).Enum() },
		"no term":            func(m *Message) { m.Term = nil },
		"gap":                func(m *Message) { m.Index = new(uint64(2)) },
		"term goes back":     func(m *Message) { m.LogTerm = new(uint64(3)) },
		"term of the future": func(m *Message) { m.Term = new(uint64(4)) },
		"hup":                kind(raftpb.MsgHup),
		"proposal of a stranger": func(m *Message) {
			kind(raftpb.MsgProp)(m)
			m.From = new(uint64(4))
		},
		"fetch of a stranger": func(m *Message) {
			kind(raftpb.MsgSnapStatus)(m)
			m.From = new(uint64(4))
		},
		"question of a stranger": func(m *Message) {
			m.Type, m.Entries, m.From = raftpb.MsgReadIndex.Enum(), m.Entries[:1], new(uint64(4))
		},
		"transfer":            kind(raftpb.MsgTransferLeader),
		"storage":             kind(raftpb.MsgStorageAppendResp),
		"snapshot of nothing": kind(raftpb.MsgSnap),
		"snapshot with data": func(m *Message) {
			kind(raftpb.MsgSnap)(m)
			m.Snapshot = &raftpb.Snapshot{
				Data: []byte("x"), Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(1)), Term: new(uint64(1))},
			}
		},
		"question": kind(raftpb.MsgReadIndex),
		"answer":   kind(raftpb.MsgReadIndexResp),
		"short context": func(m *Message) {
			kind(raftpb.MsgHeartbeatResp)(m)
			m.Context = []byte("short")
		},
		"vote without term": func(m *Message) {
			kind(raftpb.MsgVote)(m)
			m.Term = nil
		},
		"snapshot inside":  func(m *Message) { m.Snapshot = &raftpb.Snapshot{} },
		"responses inside": func(m *Message) { m.Responses = []*Message{{}} },
	} {
		require.Error(t, checkMessage(message(change), &known), name)
	}
	for name, change := range map[string]func(m *Message){
		"a leader yet to be known": func(m *Message) { m.From = new(uint64(4)) },
		"a learner's proposal": func(m *Message) {
			kind(raftpb.MsgProp)(m)
			m.From = new(uint64(5))
		},
		"a fetch": kind(raftpb.MsgSnapStatus),
		"an offer": func(m *Message) {
			kind(raftpb.MsgSnap)(m)
			m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(1)), Term: new(uint64(1))}}
		},
	} {
		require.NoError(t, checkMessage(message(change), &known), name)
	}
}

func TestRaftLogger(t *testing.T) {
	var out bytes.Buffer
	l := raftLogger{slog.New(slog.NewTextHandler(&out, nil))}
	l.Debugf("%v", unprintable{t})
	l.Infof("%v", unprintable{t})
	l.Info("quiet")
	l.Warningf("term %d", 7)
	l.Error("lost ", 3)
	require.NotContains(t, out.String(), "quiet")
	require.Contains(t, out.String(), `level=WARN msg="term 7"`)
	require.Contains(t, out.String(), `level=ERROR msg="lost 3"`)
	require.PanicsWithError(t, "raft: log 9", func() { l.Panicf("log %d", 9) })
	require.PanicsWithError(t, "raft: log", func() { l.Fatal("log") })
}

// unprintable fails the test when it is formatted.
type unprintable struct{ t *testing.T }

func (u unprintable) String() string {
	u.t.Error("formatted in vain")
	return ""
}

// A bug of ours is not to pass for an error of the log's.
func TestAsErrorKeepsBugsPanics(t *testing.T) {
	cause := errors.New("disk")
	require.Equal(t, cause, asError(cause, nil))
	require.Equal(t, cause, asError(nil, cause))
	require.Equal(t, raftPanic("x"), asError(raftPanic("x"), nil))
	require.NoError(t, asError(nil, nil))
	require.Panics(t, func() { _ = asError("a string", nil) })
	require.Panics(t, func() {
		defer func() { _ = asError(recover(), nil) }()
		at := func(s []int, i int) int { return s[i] }
		at(nil, 1)
	})
}
