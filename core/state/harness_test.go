package state

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/command/commandpb"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/mvcc"
)

// rig is a machine on a file system in memory, fed with commands as text.
type rig struct {
	t       tester
	fs      *storage.MemFS
	db      *storage.DB
	machine *Machine
	view    *View
	// cacheBytes is the size of the row cache, own whether results are built,
	// clock the time stamp of the next entry.
	cacheBytes int64
	// memTable is the engine's memtable: small, so that tests see flushes.
	memTable int64
	own      bool
	clock    int64
	term     uint64
	// damaged says that the number of keys need not be right.
	damaged bool
	// mount is the prefix of the keys that are znodes.
	mount string
	// who makes the commands and reads: see principal.
	who core.Principal
}

const (
	testMember      core.MemberID = 1
	testIncarnation uint64        = 2
)

// tester is what the rig needs of a test: a property's is no testing.TB.
type tester interface {
	require.TestingT
	Helper()
}

func newRig(t testing.TB) *rig {
	r := newRigOn(t)
	t.Cleanup(r.close)
	return r
}

func newRigOn(t tester) *rig { return newSizedRig(t, 1<<20) }

func newSizedRig(t tester, memTable int64) *rig { return newMountedRig(t, memTable, "/zk") }

func newMountedRig(t tester, memTable int64, mount string) *rig {
	r := &rig{t: t, fs: storage.NewCrashableMemFS(), cacheBytes: 1 << 20, memTable: memTable, own: true, term: 2, mount: mount}
	r.openDB()
	require.NoError(t, Bootstrap(r.db, 1, []core.Member{{ID: testMember, PeerURLs: []string{"http://h:1"}}}, r.mount))
	r.openMachine()
	return r
}

func (r *rig) openDB() {
	db, err := storage.Open("state", storage.Options{FS: r.fs, CacheBytes: 1 << 20, MemTableBytes: r.memTable})
	require.NoError(r.t, err)
	r.db = db
}

func (r *rig) openMachine() {
	var err error
	r.machine, err = Open(r.db, mvcc.Caches{Versions: mvcc.NewCache(r.cacheBytes), Rows: mvcc.NewCache(r.cacheBytes)})
	require.NoError(r.t, err)
	r.commit()
}

func (r *rig) close() {
	r.view.Close()
	r.view = nil
	require.NoError(r.t, r.machine.Close())
	require.NoError(r.t, r.db.Close())
}

// crash loses what the engine has not flushed, and opens what is left.
func (r *rig) crash() {
	left := storage.CrashClone(r.fs, 0, 1)
	r.close()
	r.fs = left
	r.openDB()
	r.openMachine()
}

// apply applies the commands as one entry, without committing.
func (r *rig) apply(cmds ...core.Command) []Reply { return r.applyEntry(false, cmds...) }

// applyEntry is apply for an entry that tells raft of a change of members, or not.
func (r *rig) applyEntry(membership bool, cmds ...core.Command) []Reply {
	index, _ := r.machine.Applied()
	var encoded [][]byte
	for _, c := range cmds {
		encoded = append(encoded, command.AppendCommandAs(nil, r.principal(), c))
	}
	r.clock += 10
	e := Entry{
		Index: index + 1,
		Term:  r.term,

		Membership: membership,
		Frame: command.Entry{TimeMS: r.clock, Batches: []command.Batch{
			{Member: testMember, Incarnation: testIncarnation, Sequence: index, Commands: encoded},
		}},
	}
	if r.own {
		e.Own = func(m core.MemberID, i uint64) bool { return m == testMember && i == testIncarnation }
	}
	replies, err := r.machine.Apply(e, nil)
	require.NoError(r.t, err)
	for _, b := range encoded {
		clear(b) // a decoded command aliases it, and nothing that lives on may
	}
	return replies
}

func (r *rig) commit() Delta {
	view, delta, err := r.machine.Commit()
	require.NoError(r.t, err)
	if r.view != nil {
		r.view.Close()
	}
	r.view = view
	// What counts rely on. Large stores are not gone through at each step.
	if n := view.Keys(); n < 300 && !r.damaged {
		var keys int64
		all := core.Interval{Key: []byte{0}, End: core.FromKey}
		require.NoError(r.t, view.reader.Visit(all, 0, true, func(*core.KV) bool { keys++; return true }))
		require.Equal(r.t, keys, n, "keys that there are")
	}
	return delta
}

// parse reads a command in the text form of the schema.
func parse(t require.TestingT, text string) core.Command {
	var m commandpb.Command
	require.NoError(t, prototext.Unmarshal([]byte(text), &m), text)
	b, err := m.MarshalVT()
	require.NoError(t, err)
	c, err := command.DecodeCommand(b)
	require.NoError(t, err, text)
	return c
}

func showReply(r Reply) string {
	if r.Err != nil {
		return fmt.Sprintf("rev %d: %v", r.Rev, r.Err)
	}
	return strings.TrimSpace(fmt.Sprintf("rev %d: ok %s", r.Rev, showOutcome(r.Outcome)))
}

func showOutcome(o core.Outcome) string {
	switch o := o.(type) {
	case nil:
		return ""
	case core.PutOutcome:
		if o.Prev == nil {
			return ""
		}
		return "prev " + showKV(o.Prev)
	case core.DeleteOutcome:
		return fmt.Sprintf("deleted %d%s", o.Deleted, showKVs(o.Prev))
	case *core.RangeOutcome:
		return showRange(o.RangeResult)
	case core.TxnOutcome:
		var b strings.Builder
		fmt.Fprintf(&b, "succeeded %t", o.Succeeded)
		for _, op := range o.Ops {
			fmt.Fprintf(&b, " [@%d %s]", op.Rev, showOutcome(op.Outcome))
		}
		return b.String()
	case core.LeaseOutcome:
		return fmt.Sprintf("lease %d for %v", o.ID, o.TTL)
	case core.SessionOutcome:
		return fmt.Sprintf("session %d epoch %d", o.Session.ID, o.Session.Epoch)
	case *core.ZnodeOutcome:
		return showZnodeOutcome(o)
	case core.TokenOutcome:
		return fmt.Sprintf("token of index %d", o.Index)
	case core.AlarmOutcome:
		return fmt.Sprintf("stood %t", o.Stood)
	default:
		return fmt.Sprintf("%T", o)
	}
}

func showRange(r core.RangeResult) string {
	more := ""
	if r.More {
		more = " more"
	}
	return fmt.Sprintf("count %d%s%s", r.Count, more, showKVs(r.KVs))
}

func showKVs(kvs []*core.KV) string {
	var b strings.Builder
	for _, kv := range kvs {
		b.WriteString(" " + showKV(kv))
	}
	return b.String()
}

// showKV is key=value{create,mod,version[,lease]}; a tombstone is -key{mod}.
func showKV(kv *core.KV) string {
	acl := ""
	if kv.ACL != core.ACLOpen {
		acl = fmt.Sprintf(",acl %d", kv.ACL)
	}
	if kv.Deleted() {
		return fmt.Sprintf("-%s{%d%s}", kv.Key, kv.ModRev, acl)
	}
	lease := acl
	if kv.Lease != 0 {
		lease = fmt.Sprintf(",lease %d%s", kv.Lease, acl)
	}
	value := "=" + string(kv.Value)
	if kv.Value == nil {
		value = ""
	}
	return fmt.Sprintf("%s%s{%d,%d,%d%s}", kv.Key, value, kv.CreateRev, kv.ModRev, kv.Version, lease)
}

func showDelta(d Delta) string {
	var b strings.Builder
	for _, rev := range d.Revisions {
		fmt.Fprintf(&b, "@%d", rev.Rev)
		for _, c := range rev.Changes {
			b.WriteString(" " + showKV(c.KV))
			if c.Prev != nil {
				b.WriteString(" was " + showKV(c.Prev))
			}
		}
		b.WriteString(showSteps(rev.Steps) + "\n")
	}
	for _, l := range d.Leases {
		fmt.Fprintf(&b, "lease %d %v", l.ID, l.TTL)
		if l.Epoch != 0 {
			fmt.Fprintf(&b, " session epoch %d", l.Epoch)
		}
		b.WriteString("\n")
	}
	for _, l := range d.Checkpoints {
		fmt.Fprintf(&b, "lease %d has %v left\n", l.ID, l.TTL)
	}
	for _, c := range d.Tokens {
		switch {
		case c.Index != 0:
			fmt.Fprintf(&b, "token of %s %.1x... granted at %d\n", c.User, c.Secret, c.Index)
		case c.User != "":
			fmt.Fprintf(&b, "tokens of %s end\n", c.User)
		default:
			b.WriteString("all tokens end\n")
		}
	}
	if d.Members {
		b.WriteString("other members\n")
	}
	if d.Compacted != 0 {
		fmt.Fprintf(&b, "compacted to %d\n", d.Compacted)
	}
	return b.String()
}

func (r *rig) rangeText(text string) string {
	txn := parse(r.t, "txn:{then:{range:{"+text+"}}}").(*core.Txn)
	res, err := r.seen().Range(context.Background(), txn.Then[0].Range)
	if err != nil {
		return err.Error()
	}
	return showRange(res)
}
