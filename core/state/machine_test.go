package state

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
)

// TestTranscripts runs the transcripts of testdata. Their commands:
//
//	apply          each line is a command in the text form of the schema; all
//	               are one entry, and committed. Prints the replies.
//	feed           the same, and prints what followers of the state are told
//	range          each line is a range on the latest view
//	read-txn       a transaction that only reads, on the latest view
//	leases         the leases of the latest view with their keys
//	change         the same for an entry that tells raft of a change of members, and
//	               prints whether raft is to make it
//	members        the members of the latest view, and those that were removed
//	alarms         the alarms that stand
//	version        the version of etcd that the latest view passes for, and the
//	               one that a downgrade goes to
//	flush, crash   the engine flushes; the engine loses what it has not flushed
//	applied        the applied index
//
// and those of znodeTranscript and accountsTranscript.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		r := newRig(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return r.transcript(t, d)
		})
	})
}

func (r *rig) transcript(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "apply", "feed", "change":
		var cmds []core.Command
		for line := range strings.Lines(d.Input) {
			cmds = append(cmds, parse(t, line))
		}
		var out strings.Builder
		for _, reply := range r.applyEntry(d.Cmd == "change", cmds...) {
			out.WriteString(showReply(reply) + "\n")
		}
		if d.Cmd == "change" {
			fmt.Fprintf(&out, "for raft: %t\n", !r.machine.MembershipRefused())
		}
		delta := r.commit()
		if d.Cmd != "apply" {
			out.WriteString(showDelta(delta))
		}
		return out.String()
	case "range":
		var out strings.Builder
		for line := range strings.Lines(d.Input) {
			out.WriteString(r.rangeText(line) + "\n")
		}
		return out.String()
	case "read-txn":
		out, err := r.seen().Txn(context.Background(), parse(t, d.Input).(*core.Txn))
		if err != nil {
			return err.Error()
		}
		return showOutcome(out)
	case "leases":
		return r.leasesText()
	case "members":
		return r.membersText()
	case "alarms":
		return fmt.Sprintf("%+v", r.view.Alarms())
	case "version":
		return fmt.Sprintf("passes for %s, goes to %q", r.view.ClusterVersion(), r.view.DowngradeTo())
	case "flush":
		require.NoError(t, r.db.Flush())
		return ""
	case "crash":
		r.crash()
		return ""
	case "applied":
		index, term := r.machine.Applied()
		return fmt.Sprintf("index %d term %d rev %d", index, term, r.view.Rev())
	default:
		out, ok := r.znodeTranscript(t, d)
		if !ok {
			out, ok = r.accountsTranscript(t, d)
		}
		if !ok {
			d.Fatalf(t, "unknown command %q", d.Cmd)
		}
		return out
	}
}

func (r *rig) membersText() string {
	var out strings.Builder
	for _, m := range r.view.Members() {
		fmt.Fprintf(&out, "%+v\n", m)
	}
	for _, id := range r.view.RemovedMembers() {
		require.True(r.t, r.view.RemovedMember(id))
		fmt.Fprintf(&out, "%d was removed\n", id)
	}
	return out.String()
}

func (r *rig) leasesText() string {
	ids := map[core.LeaseID]string{}
	var order []core.LeaseID
	for i := core.LeaseID(-20); i < 20; i++ {
		l, err := r.view.Lease(i)
		if err != nil {
			require.ErrorIs(r.t, err, core.LeaseNotFound)
			continue
		}
		keys, err := r.view.LeaseKeys(i)
		require.NoError(r.t, err)
		session := ""
		if l.Session() {
			session = fmt.Sprintf(" session in epoch %d", l.Epoch)
		}
		if l.Remaining > 0 {
			session = fmt.Sprintf(" with %v left", l.Remaining)
		}
		ids[i] = fmt.Sprintf("%d for %v%s: %s", i, l.TTL, session, keys)
		order = append(order, i)
	}
	var out strings.Builder
	for _, id := range order {
		out.WriteString(ids[id] + "\n")
	}
	return out.String()
}

func TestApplyRefusesAGap(t *testing.T) {
	r := newRig(t)
	_, err := r.machine.Apply(Entry{Index: 7, Term: 2}, nil)
	require.ErrorContains(t, err, "entry 7 follows entry 1")
}

func TestApplyRefusesAMalformedCommand(t *testing.T) {
	r := newRig(t)
	nonsense := command.Entry{Batches: []command.Batch{{Commands: [][]byte{[]byte("nonsense")}}}}
	_, err := r.machine.Apply(Entry{Index: 2, Term: 2, Frame: nonsense}, nil)
	require.ErrorContains(t, err, "state: entry 2, command 0: malformed command")
}

func TestRepliesOnlyToOwnBatches(t *testing.T) {
	r := newRig(t)
	r.own = false
	require.Empty(t, r.apply(&core.Put{Key: []byte("k")}))
	r.commit()
	require.Equal(t, core.Rev(2), r.view.Rev())
}

func TestViewClosedTooOften(t *testing.T) {
	r := newRig(t)
	r.apply()
	v := r.view
	require.True(t, v.Retain())
	v.Close()
	r.commit() // closes the rig's hold
	require.False(t, v.Retain())
	require.Panics(t, v.Close)
}

// What a command wrote before it failed does not stay in memory with the next revision.
func TestFailedCommandLeavesNoChange(t *testing.T) {
	r := newRig(t)
	tx := r.machine.begin(true)
	_, err := tx.Put(&core.Put{Key: []byte("k"), Value: []byte("v")})
	require.NoError(t, err)
	require.Len(t, tx.Changes(), 1)
	_, err = r.machine.take(&tx, nil, core.Internal)
	require.Error(t, err)
	next := r.machine.begin(true)
	require.Empty(t, next.Changes())
	require.Equal(t, []core.Change{{}}, next.Changes()[:1])
}
