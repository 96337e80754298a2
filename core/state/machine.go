package state

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/state/auth"
	"github.com/triglot/triglot/core/state/kv"
	"github.com/triglot/triglot/core/state/lease"
	"github.com/triglot/triglot/core/state/znode"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
	"github.com/triglot/triglot/storage/mvcc"
)

// The revisions of a store that has never been written (etcd T-10) or compacted
// (etcd T-70).
const (
	firstRev     core.Rev = 1
	notCompacted core.Rev = -1
)

// The index and term of the entry that every founding member holds to be applied
// before the first real one: their states are equal from there on.
const (
	FirstIndex = 1
	FirstTerm  = 1
)

// Machine is the state machine. It belongs to one goroutine.
type Machine struct {
	db     *storage.DB
	caches mvcc.Caches
	w      *mvcc.Writer
	leases *lease.Table
	// znodes is nil if the store has none.
	znodes *znode.Tree
	acls   *auth.ACLs

	pos       position
	compacted core.Rev
	members   members
	// alarms are replaced, never changed: views share them.
	alarms []core.Alarm
	rights rights
	// downgradeTo is the version that a downgrade goes to, empty if there is none.
	downgradeTo string

	room  deleteRoom
	delta Delta
	// next is what the next revision is made of, nil until a command begins.
	next   *core.Revision
	posBuf []byte
	shared shared
}

// deleteRoom is what deletes may still take: entry of what is for the entry at hand,
// keep of the memory for earlier versions until the next Commit.
type deleteRoom struct{ entry, keep int64 }

// shared is what a machine and its views share. It is safe for concurrent use.
type shared struct {
	// counts serves the counts of pages.
	counts kv.Counts
	// children remembers those of znodes.
	children znode.Lists
	// open counts the views that have not been closed for good.
	open atomic.Int64
	// reads counts what they were asked for.
	reads reads
}

// Entry is a committed entry.
type Entry struct {
	Index, Term uint64
	// Frame holds the commands, still encoded; it is empty for the entry with
	// which a leader begins its term. The machine does not keep it.
	Frame command.Entry
	// Membership says that the entry tells raft of a change of members, which its one
	// command makes here: see Machine.MembershipRefused.
	Membership bool
	// Own says which batches of the entry this process waits for.
	Own func(member core.MemberID, incarnation uint64) bool
}

// Reply is the outcome of one command.
type Reply struct {
	core.Result
	// Err is why the command did nothing, a core.Kind.
	Err error
}

// Delta is what the entries of one Commit did, for those who follow the state.
type Delta struct {
	// Revisions are the changes, by revision.
	Revisions []*core.Revision
	// Leases that came or went, and sessions that were attached, in order of the
	// commands.
	Leases []LeaseChange
	// Checkpoints are the leases of which it was written down what they have left,
	// or, with zero, that they have all of it.
	Checkpoints []core.LeaseRemaining
	// Tokens that were granted, or ended, in order.
	Tokens []TokenChange
	// Members says that those of the view are not the ones of the last Commit's.
	Members bool
	// Compacted is the revision compacted to, if that changed; otherwise zero.
	Compacted core.Rev
	// Marks are the numbers of the HashMarks: what is to be summed up is the state as of
	// the entry that holds them.
	Marks []uint64
	// Tally is how much it was.
	Tally Tally
}

// LeaseChange is a lease that came, or went, or a session that was attached.
type LeaseChange struct {
	ID core.LeaseID
	// TTL is the time that the lease has from now; zero for one that went.
	TTL time.Duration
	// Epoch is the session's, its last one if it went; zero for a lease that is no
	// session.
	Epoch uint64
}

// Bootstrap writes the state that all founding members of a cluster start from.
// Keys below mount are znodes: a legal znode path, or empty for all keys. The state
// is durable when Bootstrap returns.
func Bootstrap(db *storage.DB, cluster uint64, founders []core.Member, mount string) error {
	b := db.NewBatch()
	if err := znode.Bootstrap(b.Set, mount); err != nil {
		return errors.Join(fmt.Errorf("state: bootstrap: %w", err), b.Close())
	}
	pos := position{index: FirstIndex, term: FirstTerm, rev: firstRev}
	b.Set(row(keys.MetaApplied), pos.append(nil))
	b.Set(row(keys.MetaCompacted), appendRev(nil, notCompacted))
	b.Set(row(keys.MetaIdentity), appendUints(nil, []uint64{cluster}))
	b.Set(row(keys.MetaMembers), appendMembers(nil, founders))
	if err := errors.Join(b.Commit(), b.Close()); err != nil {
		return fmt.Errorf("state: bootstrap: %w", err)
	}
	if err := db.Flush(); err != nil {
		return fmt.Errorf("state: bootstrap: %w", err)
	}
	return nil
}

// Open reads the state in db. The machine keeps db and caches, which the caller
// owns.
func Open(db *storage.DB, caches mvcc.Caches) (*Machine, error) {
	w, err := mvcc.NewWriter(db, caches)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	m := &Machine{db: db, caches: caches, w: w, room: deleteRoom{keep: kv.MaxKeptBytes}}
	if err := m.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("state: %w", err), w.Close())
	}
	return m, nil
}

func (m *Machine) load() error {
	var err error
	read := func(name keys.Meta) []byte {
		var b []byte
		if err == nil {
			b, err = m.db.Get(row(name))
		}
		return b
	}
	pos, compacted := read(keys.MetaApplied), read(keys.MetaCompacted)
	members, removed, alarms := read(keys.MetaMembers), read(keys.MetaRemoved), read(keys.MetaAlarms)
	policy := read(keys.MetaACLPolicy)
	m.downgradeTo = string(read(keys.MetaDowngrade))
	if err != nil {
		return err
	}
	if pos == nil {
		return errors.New("the state is empty, though the member is not new: restore this member from a peer or a backup")
	}
	if m.pos, err = decodePosition(pos); err != nil {
		return err
	}
	m.pos.sameKeys = m.pos.rev
	if m.pos.keys == unknown { // the next Commit writes it
		all := core.Interval{Key: core.FromKey, End: core.FromKey}
		m.pos.keys = 0
		if err := m.w.Scan(all, 0, true, func(*core.KV) bool { m.pos.keys++; return true }); err != nil {
			return err
		}
	}
	if m.compacted, err = decodeRev(compacted); err != nil {
		return err
	}
	if m.rights.policy, err = decodePolicy(policy); err != nil {
		return err
	}
	if m.members.all, err = decodeMembers(members); err != nil {
		return err
	}
	if m.members.removed, err = decodeRemoved(removed); err != nil {
		return err
	}
	if m.alarms, err = decodeAlarms(alarms); err != nil {
		return err
	}
	if m.rights.accounts, err = auth.Load(m.w); err != nil {
		return err
	}
	if m.leases, err = lease.Load(m.w); err != nil {
		return err
	}
	m.acls = auth.NewACLs(m.w)
	if err := m.countLists(); err != nil {
		return err
	}
	m.znodes, err = znode.Open(m.w, m.leases, m.acls)
	return err
}

// OpenViews is the number of views that somebody holds. The engine must not be
// closed before it is zero. Safe for concurrent use.
func (m *Machine) OpenViews() int64 { return m.shared.open.Load() }

// Reads is what views were asked for: ranges, those in transactions that only read
// included, and such transactions with more than one. Safe for concurrent use.
func (m *Machine) Reads() (ranges, txns uint64) {
	return m.shared.reads.ranges.Load(), m.shared.reads.txns.Load()
}

// Close gives up what has been applied and not committed.
func (m *Machine) Close() error { return m.w.Close() }

// ClusterIn is the id of the cluster whose state is in db; zero if there is none.
func ClusterIn(db *storage.DB) (uint64, error) {
	b, err := db.Get(row(keys.MetaIdentity))
	if err != nil || b == nil {
		return 0, err
	}
	ids, err := decodeUints(b)
	if err != nil || len(ids) != 1 {
		return 0, fmt.Errorf("state: malformed identity row %x", b)
	}
	return ids[0], nil
}

// BatchSize is about how many bytes Commit will write.
func (m *Machine) BatchSize() int { return m.w.Size() }

// Applied is the index and term of the last entry applied.
func (m *Machine) Applied() (index, term uint64) { return m.pos.index, m.pos.term }

// Apply applies one entry to the batch under way, and appends a reply for each
// command of the batches that are e's own. An error is a fault of the store or
// of the log, never a command's: the machine must not be used any more.
func (m *Machine) Apply(e Entry, replies []Reply) ([]Reply, error) {
	if e.Index != m.pos.index+1 {
		return nil, fmt.Errorf("state: entry %d follows entry %d", e.Index, m.pos.index)
	}
	m.pos.clock = max(m.pos.clock, e.Frame.TimeMS)
	m.room.entry = kv.MaxDeleteBytes
	m.members.beginEntry(e.Membership)
	if m.znodes != nil {
		m.znodes.BeginEntry()
	}
	for i := range e.Frame.Batches {
		b := &e.Frame.Batches[i]
		own := e.Own != nil && e.Own(b.Member, b.Incarnation)
		for n, encoded := range b.Commands {
			reply, err := m.run(encoded, e.Term, own)
			if err != nil {
				return nil, fmt.Errorf("state: entry %d, command %d: %w", e.Index, n, err)
			}
			if own {
				replies = append(replies, reply)
			}
		}
	}
	if m.znodes != nil {
		if err := m.znodes.EndEntry(); err != nil {
			return nil, fmt.Errorf("state: entry %d: %w", e.Index, err)
		}
	}
	m.pos.index, m.pos.term = e.Index, e.Term
	return replies, nil
}

// run applies one command. The error is a fault; a command's own is in the reply.
func (m *Machine) run(encoded []byte, term uint64, own bool) (Reply, error) {
	cmd, who, err := command.DecodeCommandAs(encoded)
	if err != nil {
		return Reply{}, err
	}
	outcome, err := m.execute(cmd, who, term, own)
	if err != nil {
		var kind core.Kind
		if !errors.As(err, &kind) {
			return Reply{}, err
		}
		outcome = nil
	}
	m.delta.Tally.count(cmd, outcome, err != nil)
	return Reply{Result: core.Result{Rev: m.pos.rev, Outcome: outcome}, Err: err}, nil
}

func (m *Machine) execute(cmd core.Command, who core.Principal, term uint64, own bool) (core.Outcome, error) {
	if err := m.alarmed(cmd); err != nil { // first, as in etcd
		return nil, err
	}
	if err := m.permit(who, cmd); err != nil {
		return nil, err
	}
	switch c := cmd.(type) {
	case *core.Put:
		tx := m.begin(own)
		out, err := tx.Put(c)
		return m.take(&tx, out, err)
	case *core.DeleteRange:
		tx := m.begin(own)
		out, err := tx.DeleteRange(c)
		return m.take(&tx, out, err)
	case *core.Txn:
		return m.txn(c, who, own)
	case *core.ZnodeWrite:
		return m.writeZnodes(c, who)
	case *core.SetEnsemble:
		return m.setServers(c, who)
	case *core.Compact:
		return nil, m.compact(c.Rev)
	case *core.LeaseGrant, *core.LeaseRevoke, *core.LeaseExpire, *core.LeaseCheckpoint:
		return m.changeLeases(cmd, term)
	case *core.SessionOpen:
		return m.openSession(c)
	case *core.SessionAttach:
		return m.attachSession(c)
	case *core.SessionClose:
		return nil, m.closeSession(c)
	case *core.SetAlarm:
		return m.setAlarm(c)
	case *core.SetMember:
		return nil, m.setMember(&c.Member)
	case *core.MemberUpdate:
		return nil, m.updateMember(c)
	case *core.MemberAdd, *core.MemberRemove, *core.MemberPromote:
		return nil, m.changeMembership(c)
	case *core.SetDowngrade:
		return nil, m.setDowngrade(c.Target)
	case *core.ZnodeReap:
		return nil, m.reap(c, term)
	case *core.ZnodeRestore:
		return m.restore(c)
	case *core.SetZnodeACLPolicy:
		return nil, m.setPolicy(c)
	case *core.HashMark:
		m.delta.Marks = append(m.delta.Marks, c.ID)
		return nil, nil
	default:
		return m.manageAuth(cmd)
	}
}

func (m *Machine) begin(reads bool) kv.Tx {
	var znodes kv.Znodes // not an interface that holds nil
	if m.znodes != nil {
		m.znodes.Begin(m.pos.rev+1, m.pos.clock)
		znodes = m.znodes
	}
	bounds := m.bounds()
	bounds.Room, bounds.Keep = &m.room.entry, &m.room.keep
	if m.next == nil {
		m.next = core.NewRevision()
	}
	clear(m.next.Changes[:cap(m.next.Changes)]) // a command that failed may have left one
	return kv.Begin(m.w, m.leases, znodes, bounds, m.next.Changes, reads)
}

// bounds are the revisions that can be read.
func (m *Machine) bounds() kv.Bounds { return kv.Bounds{Rev: m.pos.rev, Compact: m.compacted} }

// take makes what a command changed, if anything, the next revision. It gives the
// command's result on, and does nothing if the command failed.
func (m *Machine) take(tx *kv.Tx, out core.Outcome, err error) (core.Outcome, error) {
	if err != nil {
		if m.znodes != nil {
			m.znodes.Undo()
		}
		return nil, err
	}
	changes := tx.Changes()
	var steps []core.ZnodeStep
	touched := false
	if m.znodes != nil {
		steps, touched = m.znodes.Steps(), m.znodes.Changed()
	}
	if len(changes) > 0 || touched {
		m.pos.rev++
		grown, same := m.delta.Tally.changed(changes)
		if m.pos.keys += grown; !same {
			m.pos.sameKeys = m.pos.rev
		}
		next := m.next
		next.Rev, next.Changes, next.NoPrevValues, next.Steps = m.pos.rev, changes, !tx.PrevValues(), steps
		m.delta.Revisions, m.next = append(m.delta.Revisions, next), nil
	}
	return out, nil
}

func (m *Machine) txn(t *core.Txn, who core.Principal, own bool) (core.Outcome, error) {
	mark := m.w.Mark()
	tx := m.begin(own)
	if m.rights.policy == core.ZnodeACLHide && !who.Member {
		if g := m.guard(who); g != nil {
			tx.See(hidden{g})
		}
	}
	out, err := tx.Txn(t)
	if err != nil {
		m.w.Rollback(mark)
	}
	return m.take(&tx, out, err)
}

func (m *Machine) grant(c *core.LeaseGrant) (core.Outcome, error) {
	if c.TTL < time.Millisecond {
		return nil, core.InvalidArgument // a lease without a deadline would live for ever
	}
	if c.TTL > core.MaxLeaseTTL {
		return nil, core.LeaseTTLTooLarge
	}
	if err := m.leases.Grant(c.ID, lease.Lease{TTL: c.TTL, Granted: m.pos.index + 1}); err != nil {
		return nil, err
	}
	m.delta.Leases = append(m.delta.Leases, LeaseChange{ID: c.ID, TTL: c.TTL})
	return core.LeaseOutcome{ID: c.ID, TTL: c.TTL}, nil
}

func (m *Machine) revoke(id core.LeaseID) error {
	if !m.leases.Exists(id) {
		return core.LeaseNotFound
	}
	attached, err := m.leases.Keys(id)
	if err != nil {
		return err
	}
	tx := m.begin(false)
	if _, err := m.take(&tx, nil, tx.DeleteKeys(attached)); err != nil {
		return err
	}
	m.delta.Leases = append(m.delta.Leases, LeaseChange{ID: id, Epoch: m.leases.Epoch(id)})
	m.leases.Remove(id)
	return nil
}

// expire revokes the leases that the leader of this very term found overdue.
func (m *Machine) expire(c *core.LeaseExpire, term uint64) error {
	if c.Term != term {
		return core.LeaderChanged
	}
	for _, id := range c.IDs {
		if !m.leases.ExistedAt(id, c.AsOf) {
			continue
		}
		if err := m.revoke(id); err != nil {
			return err
		}
		if kv.MaxDeleteBytes-m.room.entry >= maxExpireBytes {
			break // the leader asks again for the others
		}
	}
	return nil
}

// maxExpireBytes is what the deletes of an entry may have taken when another lease is
// to expire in it: leases may have any number of keys, and all of an entry is one
// batch of the engine.
const maxExpireBytes = 64 << 20

// Compacting reports whether what was applied since the last Commit gives up history.
func (m *Machine) Compacting() bool { return m.delta.Compacted != 0 }

// Commit makes what was applied since the last Commit visible: it commits the
// engine batch and returns a view of the new state and what has changed. The
// caller owns both; the view must be closed.
func (m *Machine) Commit() (*View, Delta, error) {
	m.posBuf = m.pos.append(m.posBuf[:0])
	m.w.SetRow(row(keys.MetaApplied), m.posBuf)
	if m.znodes != nil {
		m.znodes.Save()
	}
	if err := m.w.Commit(m.pos.index); err != nil {
		return nil, Delta{}, fmt.Errorf("state: commit up to entry %d: %w", m.pos.index, err)
	}
	delta := m.delta
	m.delta, m.room.keep = Delta{}, kv.MaxKeptBytes
	return m.view(), delta, nil
}
