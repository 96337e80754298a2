package consensus

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
)

const (
	// maxEntryBytes bounds the data of an entry that holds several commands. A
	// larger entry gains nothing: the cost of an append is spread over thousands
	// of commands long before.
	maxEntryBytes = 1 << 20

	// maxMessageBytes bounds an append message to a peer: one full entry, so that
	// a lost message costs little to send again.
	maxMessageBytes = maxEntryBytes

	// maxInflightBytes bounds what is on its way to one peer. With a round trip
	// of 100 ms it allows 640 MB/s.
	maxInflightBytes = 64 << 20

	// maxInflightMessages complements maxInflightBytes for small messages.
	maxInflightMessages = 4096

	// maxUnappliedBytes bounds the commands a leader has appended and not yet
	// applied: the memory that a leader without a quorum, or with a slow state
	// machine, can fill. What does not fit waits in the queue.
	maxUnappliedBytes = 32 << 20

	// maxApplyingBytes bounds the committed entries handed to the applier and not
	// yet applied. It is some full entries, so that the applier never waits for
	// the consensus goroutine between two of them.
	maxApplyingBytes = 4 << 20

	// maxLazyBytes is how much is applied without the replica's being told at once: little
	// of maxApplyingBytes.
	maxLazyBytes = maxApplyingBytes / 16

	// maxUnapplied is the number of committed entries that may wait to be applied
	// before proposals are refused (etcd T-03). What the log held at the start does
	// not count: while it is replayed, clients wait.
	maxUnapplied = 5000

	defaultTickInterval    = 100 * time.Millisecond
	defaultElectionTimeout = time.Second
	defaultQueueBytes      = 32 << 20
)

// Log is the raft log as the driver needs it. Append is called by one goroutine at a time;
// the methods of raft.Storage are called by another meanwhile.
type Log interface {
	raft.Storage
	// Append writes the hard state, unless it is nil, and the entries, which
	// replace whatever the log holds from their first index on. With sync set,
	// all that has been appended so far is durable when it returns. An error is
	// final: the member stops. The log must not change the entries, and may keep
	// them.
	Append(hs *raftpb.HardState, entries []*raftpb.Entry, sync bool) error
	// Reset empties the log, durably: it goes on after index, whose entry had the given
	// term. The hard state keeps its term and vote; its commit index is at least index
	// then. It is called in a row with Append.
	Reset(index, term uint64) error
}

// Message is a message between the members of a cluster. It is immutable once it
// has been handed over.
type Message = raftpb.Message

// Config says how to start a Driver. ID, Log and Applier are required.
type Config struct {
	// ID is this member. It must be one of the members that the log names.
	ID core.MemberID

	// Log is the member's raft log. Its ConfState gives the voters and the learners as of
	// Applied.
	Log Log

	// Applied is the index up to which the state machine holds the log's entries.
	// It must lie within the log, and not beyond the commit index of the log's
	// hard state.
	Applied uint64

	// Applier is the state machine.
	Applier Applier

	// Incarnation tells the batches of this start of the member from those of
	// former ones. Zero draws one.
	Incarnation uint64

	// TickInterval is the time between two heartbeats of a leader and the
	// granularity of all deadlines. Zero is 100 ms.
	TickInterval time.Duration

	// ElectionTimeout is how long a member waits for a leader before it tries to
	// become one. It is rounded down to whole ticks, of which it needs at least
	// two. Zero is one second.
	ElectionTimeout time.Duration

	// EarlyElection has a member that starts, and hears of no leader, campaign at its turn
	// instead of after an election timeout (etcd's --initial-election-tick-advance). It asks
	// first whether it could win, so it disturbs no leader.
	EarlyElection bool

	// RequestTimeout is how long a read, or a proposal without a deadline of its
	// own, waits for an outcome. Zero is 5 s and twice the election timeout
	// (etcd T-04).
	RequestTimeout time.Duration

	// QueueBytes bounds the commands that wait to be appended; beyond it
	// proposals are refused. Zero is 32 MiB.
	QueueBytes int

	// Send hands messages to the network, those for one member in order. It is
	// called by one goroutine at a time and must not block: what it cannot take
	// it drops. A lone member needs none.
	Send func([]*Message)

	// Fetch has the state fetched from a member, because the log no longer holds what this
	// one lacks. It is called by one goroutine at a time, must not block, and may be called
	// again for a fetch that is under way. Driver.Fetched ends it.
	Fetch func(from core.MemberID)

	// Appending, unless it is nil, is told of each entry that holds commands before the log
	// is given it, and so before its sync: what the state machine will read for it can be
	// read meanwhile. Data is the entry as core/command encodes it; it is immutable and may
	// be kept. The entry need not be committed ever, and another may take its place. Appending
	// runs on the goroutine that is about to append, and must not wait for anything: the
	// entry's callers wait for it.
	Appending func(data []byte)

	// OnLeadership is told of every change of leader or term, in order. It runs
	// in a row with the calls of Applier, between two of them: that this member
	// leads is told after an entry of its own term is applied, when all that
	// earlier leaders acknowledged is. The leader is zero if none is known. It may
	// propose, but must not wait for the outcome, nor stop the driver. It may be
	// called before Start returns.
	OnLeadership func(leader core.MemberID, term uint64, self bool)

	// Logger takes raft's messages; nil is slog.Default.
	Logger *slog.Logger

	// Now is the clock that stamps entries and that deadlines are measured by;
	// nil is time.Now.
	Now func() time.Time
}

// withDefaults fills in what may be left zero.
func (c Config) withDefaults() Config {
	if c.TickInterval == 0 {
		c.TickInterval = defaultTickInterval
	}
	if c.ElectionTimeout == 0 {
		c.ElectionTimeout = defaultElectionTimeout
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 5*time.Second + 2*c.ElectionTimeout
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = defaultQueueBytes
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	for c.Incarnation == 0 {
		var b [8]byte
		rand.Read(b[:])
		c.Incarnation = binary.LittleEndian.Uint64(b[:])
	}
	return c
}

// electionTicks is the election timeout in ticks.
func (c *Config) electionTicks() int { return int(c.ElectionTimeout / c.TickInterval) }

// validate reports what is wrong with the configuration or with the log. raft
// panics on most of it.
func (c *Config) validate() error {
	switch {
	case c.ID == 0:
		return errors.New("the member has no id")
	case raft.IsLocalMsgTarget(uint64(c.ID)):
		return fmt.Errorf("member id %x is reserved", uint64(c.ID))
	case c.Log == nil:
		return errors.New("there is no log")
	case c.Applier == nil:
		return errors.New("there is no applier")
	case c.TickInterval < 0 || c.ElectionTimeout < 2*c.TickInterval:
		return fmt.Errorf("the election timeout (%v) must be at least two ticks (%v each)", c.ElectionTimeout, c.TickInterval)
	case c.RequestTimeout < 0 || c.QueueBytes < 0:
		return fmt.Errorf("a limit is negative: request timeout %v, queue of %d bytes", c.RequestTimeout, c.QueueBytes)
	}
	return nil
}

// logState is what a log says of itself when a replica opens it.
type logState struct {
	hard *raftpb.HardState
	conf *raftpb.ConfState
	last uint64
	// changed is the last entry behind the commit index that changes the members.
	changed logged
}

// openLog reads the log's state and checks that raft can start from it.
func openLog(log Log, self core.MemberID, applied uint64) (logState, error) {
	first, err := log.FirstIndex()
	if err != nil {
		return logState{}, fmt.Errorf("read the log's first index: %w", err)
	}
	last, err := log.LastIndex()
	if err != nil {
		return logState{}, fmt.Errorf("read the log's last index: %w", err)
	}
	hard, conf, err := log.InitialState()
	if err != nil {
		return logState{}, fmt.Errorf("read the log's initial state: %w", err)
	}
	commit := first - 1 // as raft takes it if there is no hard state
	if !raft.IsEmptyHardState(hard) {
		commit = hard.GetCommit()
	}
	switch {
	case commit < first-1 || commit > last:
		return logState{}, fmt.Errorf("commit index %d is outside of the log, which holds entries %d to %d", commit, first, last)
	case applied < first-1 || applied > last:
		return logState{}, fmt.Errorf("applied index %d is outside of the log, which holds entries %d to %d", applied, first, last)
	case applied > commit:
		return logState{}, fmt.Errorf("applied index %d is beyond commit index %d: the log's hard state must be raised to it first", applied, commit)
	}
	if err := checkConf(conf, self); err != nil {
		return logState{}, err
	}
	changed, err := lastChange(log, commit+1, last)
	if err != nil {
		return logState{}, fmt.Errorf("look for changes of the members in the log: %w", err)
	}
	return logState{
		changed: changed,

		hard: &raftpb.HardState{Term: new(hard.GetTerm()), Vote: new(hard.GetVote()), Commit: new(commit)},
		conf: conf,
		last: last,
	}, nil
}

// lastChange finds the last of some entries that changes the members.
func lastChange(log Log, from, to uint64) (last logged, err error) {
	for from <= to {
		entries, err := log.Entries(from, to+1, maxMessageBytes)
		if err != nil {
			return logged{}, err
		}
		last.find(entries)
		from += uint64(len(entries))
	}
	return last, nil
}

// checkConf reports why a member cannot run with a configuration. One that is in none
// was removed, or never added, and has nothing to say.
func checkConf(conf *raftpb.ConfState, self core.MemberID) error {
	voters, learners := conf.GetVoters(), conf.GetLearners()
	switch {
	case len(conf.GetVotersOutgoing()) > 0 || len(conf.GetLearnersNext()) > 0:
		return fmt.Errorf("the log's configuration is in transition, which this version cannot run: %v", conf)
	case len(voters) == 0:
		return errors.New("the log names no voters")
	case !slices.Contains(voters, uint64(self)) && !slices.Contains(learners, uint64(self)):
		return fmt.Errorf("member %x is neither among the voters %x nor among the learners %x", uint64(self), voters, learners)
	}
	for i, id := range slices.Concat(voters, learners) {
		if id == 0 || raft.IsLocalMsgTarget(id) {
			return fmt.Errorf("member id %x is reserved", id)
		}
		if slices.Contains(slices.Concat(voters, learners)[:i], id) {
			return fmt.Errorf("member %x is named twice", id)
		}
	}
	return nil
}

// raftConfig is how raft is run.
func (c *Config) raftConfig() *raft.Config {
	return &raft.Config{
		ID:            uint64(c.ID),
		ElectionTick:  c.electionTicks(),
		HeartbeatTick: 1,
		Storage:       c.Log,
		Applied:       c.Applied,
		Logger:        raftLogger{c.Logger.With("component", "raft")},

		// Messages leave, and reads are answered, while the log syncs.
		AsyncStorageWrites: true,

		MaxSizePerMsg:             maxMessageBytes,
		MaxInflightMsgs:           maxInflightMessages,
		MaxInflightBytes:          maxInflightBytes,
		MaxUncommittedEntriesSize: maxUnappliedBytes,
		MaxCommittedSizePerReady:  maxApplyingBytes,

		// A leader that has lost its quorum steps down, and a member that comes
		// back from a partition does not depose a working leader.
		CheckQuorum: true,
		PreVote:     true,

		// A read costs a round of heartbeats. The alternative, a lease, trusts the
		// clocks of all members and is unsafe as raft implements it: a leader may
		// believe in its lease for up to two election timeouts while the others
		// elect after one (etcd-io/raft#166).
		ReadOnlyOption: raft.ReadOnlySafe,

		// A proposal must not enter the log under another term than the one it was
		// accepted in, and the leader stamps the time.
		DisableProposalForwarding: true,

		// A leader that has applied its own removal leads no more.
		StepDownOnRemoval: true,
	}
}
