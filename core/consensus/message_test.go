package consensus

import (
	"bytes"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// A message takes about as much memory as it has bytes, or is refused unread: the
// smallest entry has two bytes on its way, and a hundred here.
func TestDecodeMessageIsBounded(t *testing.T) {
	encoded := func(m *Message) []byte {
		b, err := proto.Marshal(m)
		require.NoError(t, err)
		return b
	}
	large := &raftpb.Entry{Data: make([]byte, 2*maxMessage)}
	m, err := DecodeMessage(encoded(&Message{Type: raftpb.MsgApp.Enum(), Entries: []*raftpb.Entry{large}}))
	require.NoError(t, err)
	require.Len(t, m.GetEntries()[0].GetData(), 2*maxMessage)

	full := &Message{Type: raftpb.MsgApp.Enum()}
	for size := 0; size < maxMessageBytes; {
		e := &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Term: new(uint64(1)), Index: new(uint64(1))}
		full.Entries = append(full.Entries, e)
		size += proto.Size(e)
	}
	m, err = DecodeMessage(encoded(full))
	require.NoError(t, err, "the smallest entries that fill a message of raft's")
	require.Len(t, m.GetEntries(), len(full.GetEntries()))

	for name, b := range map[string][]byte{
		"empty entries":   bytes.Repeat([]byte{7<<3 | 2, 0}, maxMessage/2+1),
		"two large":       encoded(&Message{Entries: []*raftpb.Entry{large, {}}}),
		"a large context": encoded(&Message{Context: make([]byte, maxMessage), Entries: []*raftpb.Entry{{}}}),
		"cut short":       append(encoded(&Message{Entries: []*raftpb.Entry{large}}), 7<<3|2, 5),
	} {
		_, err := DecodeMessage(b)
		require.Error(t, err, name)
	}
}

// What waits to be taken in counts with the memory that it takes.
func TestWaitingMessagesAreBounded(t *testing.T) {
	box := newMailbox(1, nil)
	d := &Driver{inbox: box}
	many := &Message{Entries: make([]*raftpb.Entry, 1<<17)}
	for i := range many.Entries {
		many.Entries[i] = new(raftpb.Entry)
	}
	for range 100 {
		d.Receive(many)
	}
	require.Len(t, box.in.messages, maxPendingMessages/(proto.Size(many)+1<<17*entryMemory))
}

// A peer that sends nothing but what it has no business to send does not fill the log.
func TestRefusedMessagesAreLoggedSparingly(t *testing.T) {
	var log bytes.Buffer
	config := Config{ID: 1, Log: newMemLog(1, 2, 3), Applied: 1, Applier: noApplier{}, Logger: slog.New(slog.NewTextHandler(&log, nil))}.withDefaults()
	r, err := newReplica(&config)
	require.NoError(t, err)
	strange := func() *Message {
		return &Message{Type: raftpb.MsgHup.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2))}
	}
	lines := func() int { return strings.Count(log.String(), "message from a peer refused") }
	in := inputs{}
	for range 100 {
		in.messages = append(in.messages, strange())
	}
	_, err = r.step(time.UnixMilli(0), &in)
	require.NoError(t, err)
	require.Equal(t, 1, lines())
	_, err = r.step(time.UnixMilli(0), &inputs{messages: []*Message{strange()}})
	require.NoError(t, err)
	require.Equal(t, 1, lines())
	_, err = r.step(time.UnixMilli(0).Add(refusedPause), &inputs{messages: []*Message{strange()}})
	require.NoError(t, err)
	require.Equal(t, 2, lines())
}

// anyMessage is what a peer that is broken, or worse, could send: any kind of message with
// any numbers. Two things it never does, for which a member has to end: to claim that more
// is committed than was, and so to have the log changed below that.
func anyMessage(rng *rand.Rand, r *replica, last uint64) *Message {
	number := func() *uint64 {
		all := []uint64{
			0, 1, 2, 100, math.MaxInt64, math.MaxUint64 - 1, math.MaxUint64,
			last, last + 1, r.status.term, r.status.committed, uint64(rng.IntN(10)),
		}
		return new(all[rng.IntN(len(all))])
	}
	m := &Message{
		Type: raftpb.MessageType(rng.IntN(len(raftpb.MessageType_name))).Enum(), From: new(uint64(2 + rng.IntN(2))), To: new(uint64(1)),
		Term: number(), Index: number(), LogTerm: number(), Commit: number(), RejectHint: number(), Reject: new(rng.IntN(3) == 0),
		Context: make([]byte, 8*rng.IntN(2)),
	}
	if rng.IntN(2) == 0 {
		m.Term = new(r.status.term + uint64(rng.IntN(3)/2))
	}
	switch m.GetType() {
	case raftpb.MsgHeartbeat:
		m.Commit = new(min(m.GetCommit(), r.status.committed))
	case raftpb.MsgApp:
		m.Commit = new(min(m.GetCommit(), r.status.committed))
		for i := range rng.IntN(3) {
			m.Entries = append(m.Entries, &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Index: new(m.GetIndex() + uint64(i) + 1), Term: m.Term})
		}
	case raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
		m.Entries = []*raftpb.Entry{{Data: make([]byte, rng.IntN(20))}}
	case raftpb.MsgSnap:
		m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: number(), Term: number()}}
	}
	return m
}

// Nothing that a peer can say ends a member: raft panics on some of it.
func TestPeersEndNobody(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		log := newMemLog(1, 2, 3)
		config := Config{ID: 1, Log: log, Applied: 1, Applier: noApplier{}, Logger: quiet()}.withDefaults()
		r, err := newReplica(&config)
		require.NoError(t, err)
		in := inputs{}
		for step := range 60 {
			last, err := log.LastIndex()
			require.NoError(t, err)
			m := anyMessage(rng, r, last)
			in.messages, in.ticks = append(in.messages, m), rng.IntN(3)
			if rng.IntN(4) == 0 {
				in.proposals = append(in.proposals, NewProposal([]byte("x"), never))
			}
			out, err := r.step(time.UnixMilli(int64(step)), &in)
			require.NoError(t, err, "seed %d, step %d: %v", seed, step, m)
			in = inputs{}
			for _, a := range out.appends {
				require.NoError(t, log.Append(a.hard, a.entries, a.sync))
				in.appended = append(in.appended, a)
			}
			in.applied = append(in.applied, out.applies...)
		}
	}
}
