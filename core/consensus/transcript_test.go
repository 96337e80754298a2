package consensus

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/cockroachdb/datadriven"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
)

// TestTranscript steps one replica by hand and shows all that it says:
//
//	start [voters=(1,2,3)] [applied=N]   open the log, which is kept from a former start
//	tick [n=N]
//	propose A B ...                      one step, so one batch at most
//	leave A                              the waiter of a proposal gives up
//	read
//	receive from=2 type=MsgApp term=T [index=I] [logterm=T] [commit=I] [entries=(T/I,...)] [reads=N]
//	append [n=N]                         the log writer does its next task
//	apply [n=N]                          the applier does its next task
//	log                                  what the log holds, and what a crash would leave
//	crash                                lose what is not synced
func TestTranscript(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		cryptotest.SetGlobalRandom(t, 1) // raft's election timeouts
		e := &transcript{now: time.UnixMilli(0), voters: []uint64{1}, incarnation: 6}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			e.out.Reset()
			e.handle(t, d)
			e.outcomes()
			if e.out.Len() == 0 {
				return "ok"
			}
			return e.out.String()
		})
	})
}

type transcript struct {
	out         strings.Builder
	now         time.Time
	voters      []uint64
	incarnation uint64
	log         *memLog
	r           *replica
	in          inputs
	appends     []*appendTask
	applies     []*applyTask
	shown       status
	waiters     []namedProposal
	readers     []*readBatch
}

type namedProposal struct {
	name string
	*Proposal
}

func (e *transcript) handle(t *testing.T, d *datadriven.TestData) {
	n := 1
	if d.HasArg("n") {
		d.ScanArgs(t, "n", &n)
	}
	switch d.Cmd {
	case "start":
		e.start(t, d)
	case "tick":
		for range n {
			e.now = e.now.Add(100 * time.Millisecond)
			e.in.ticks++
			e.step()
		}
	case "propose":
		for _, a := range d.CmdArgs {
			p := NewProposal([]byte(a.Key), time.Time{})
			e.waiters = append(e.waiters, namedProposal{a.Key, p})
			e.in.proposals = append(e.in.proposals, p)
		}
		e.step()
	case "leave":
		for _, w := range e.waiters {
			if w.name == d.CmdArgs[0].Key {
				ended, cancel := context.WithCancel(t.Context())
				cancel()
				_, err := w.Wait(ended)
				fmt.Fprintf(&e.out, "%s: %v\n", w.name, err)
			}
		}
	case "read":
		e.in.reads = newReadBatch()
		e.readers = append(e.readers, e.in.reads)
		e.step()
	case "receive":
		e.receive(t, d)
	case "append":
		for range n {
			e.append(t)
		}
	case "apply":
		for range n {
			e.apply()
		}
	case "log":
		fmt.Fprintf(&e.out, "holds   %s\ndurable %s\n", describeLog(e.log.now), describeLog(e.log.durable))
	case "crash":
		e.log.now, e.log.appends = e.log.durable, nil
		e.r, e.appends, e.applies, e.waiters, e.readers = nil, nil, nil, nil, nil
	default:
		t.Fatalf("no such command: %s", d.Cmd)
	}
}

func (e *transcript) start(t *testing.T, d *datadriven.TestData) {
	if d.HasArg("voters") {
		e.voters = nil
		for _, a := range d.CmdArgs {
			if a.Key == "voters" {
				for i := range a.Vals {
					var v uint64
					a.Scan(t, i, &v)
					e.voters = append(e.voters, v)
				}
			}
		}
	}
	if e.log == nil {
		e.log = newMemLog(e.voters...)
	}
	applied := uint64(1)
	if d.HasArg("applied") {
		d.ScanArgs(t, "applied", &applied)
	}
	e.incarnation++
	c := Config{
		ID: 1, Log: e.log, Applied: applied, Applier: noApplier{}, Incarnation: e.incarnation,
		RequestTimeout: 2 * time.Second, Logger: slog.New(transcriptHandler{out: &e.out}),
	}.withDefaults()
	r, err := newReplica(&c)
	if err != nil {
		fmt.Fprintf(&e.out, "error: %v\n", err)
		return
	}
	e.r, e.shown = r, status{}
	e.step()
}

func (e *transcript) receive(t *testing.T, d *datadriven.TestData) {
	var from, term, index, logTerm, commit, reads uint64
	var kind string
	d.ScanArgs(t, "from", &from)
	d.ScanArgs(t, "type", &kind)
	d.ScanArgs(t, "term", &term)
	d.MaybeScanArgs(t, "index", &index)
	d.MaybeScanArgs(t, "logterm", &logTerm)
	d.MaybeScanArgs(t, "commit", &commit)
	m := &Message{
		Type: raftpb.MessageType(raftpb.MessageType_value[kind]).Enum(), To: new(uint64(1)), From: &from,
		Term: &term, Index: &index, LogTerm: &logTerm, Commit: &commit,
	}
	if d.MaybeScanArgs(t, "reads", &reads) {
		m.Context = binary.LittleEndian.AppendUint64(nil, reads)
	}
	for _, a := range d.CmdArgs {
		if a.Key != "entries" {
			continue
		}
		for _, v := range a.Vals {
			var entry raftpb.Entry
			var et, ei uint64
			if _, err := fmt.Sscanf(v, "%d/%d", &et, &ei); err != nil {
				t.Fatal(err)
			}
			entry.Term, entry.Index = &et, &ei
			m.Entries = append(m.Entries, &entry)
		}
	}
	e.in.messages = append(e.in.messages, m)
	e.step()
}

func (e *transcript) step() {
	out, err := e.r.step(e.now, &e.in)
	e.in.reset()
	if err != nil {
		fmt.Fprintf(&e.out, "error: %v\n", err)
		return
	}
	for _, m := range out.messages {
		fmt.Fprintln(&e.out, describeMessage(m))
	}
	for _, a := range out.appends {
		fmt.Fprintf(&e.out, "append task: %s\n", describeAppend(a))
	}
	for _, a := range out.applies {
		fmt.Fprintf(&e.out, "apply task: %s\n", describeApply(a))
	}
	e.appends = append(e.appends, out.appends...)
	e.applies = append(e.applies, out.applies...)
	if out.status != e.shown {
		e.shown = out.status
		fmt.Fprintf(&e.out, "status: %+v\n", out.status)
	}
}

func (e *transcript) append(t *testing.T) {
	if len(e.appends) == 0 {
		t.Fatal("nothing to append")
	}
	task := e.appends[0]
	e.appends = e.appends[1:]
	if task.writes() {
		if err := e.log.Append(task.hard, task.entries, task.sync); err != nil {
			t.Fatal(err)
		}
	}
	e.in.appended = append(e.in.appended, task)
	e.step()
}

func (e *transcript) apply() {
	task := e.applies[0]
	e.applies = e.applies[1:]
	for _, c := range task.entries {
		for _, p := range c.Local {
			p.Complete(core.Result{Rev: core.Rev(c.Index)}, nil)
		}
	}
	e.in.applied = append(e.in.applied, task)
	e.step()
}

// outcomes shows who has been answered since the last look.
func (e *transcript) outcomes() {
	var waiting []namedProposal
	for _, w := range e.waiters {
		switch {
		case w.left():
		case !w.Done():
			waiting = append(waiting, w)
		default:
			result, err := w.Wait(context.Background())
			fmt.Fprintf(&e.out, "%s: applied at %d, %v\n", w.name, result.Rev, err)
		}
	}
	e.waiters = waiting
	var readers []*readBatch
	for _, r := range e.readers {
		select {
		case <-r.done:
			fmt.Fprintf(&e.out, "read: index %d, %v\n", r.index, r.err)
		default:
			readers = append(readers, r)
		}
	}
	e.readers = readers
}

func describeMessage(m *Message) string {
	to := fmt.Sprintf("send %v to %d, term %d", m.GetType(), m.GetTo(), m.GetTerm())
	switch m.GetType() {
	case raftpb.MsgProp:
		c := m.GetContext()
		return fmt.Sprintf("%s, message %d of stream %d: %s", to, c[9], c[1], describeChange(m.GetEntries()[0]))
	case raftpb.MsgSnapStatus:
		return fmt.Sprintf("%s, failed %v", to, m.GetReject())
	case raftpb.MsgSnap:
		at := m.GetSnapshot().GetMetadata()
		return fmt.Sprintf("%s, the log begins behind %d/%d", to, at.GetTerm(), at.GetIndex())
	}
	return fmt.Sprintf("%s, index %d, commit %d%s", to, m.GetIndex(), m.GetCommit(), describeEntries(m.GetEntries()))
}

// describeChange shows the commands of an entry and what it does to the members.
func describeChange(e *raftpb.Entry) string {
	if e.GetType() != raftpb.EntryConfChange {
		return describeData(e.GetData())
	}
	change, frame, err := readChange(e.GetData())
	if err != nil {
		return err.Error()
	}
	what := map[ChangeKind]string{AddVoter: "voter", AddLearner: "learner", RemoveMember: "remove"}[change.Kind]
	return fmt.Sprintf("%s(%s %d)", describeData(frame), what, change.ID)
}

func describeEntries(entries []*raftpb.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, " %d/%d%s", e.GetTerm(), e.GetIndex(), describeChange(e))
	}
	return b.String()
}

func describeData(data []byte) string {
	entry, err := command.DecodeEntry(data)
	if len(data) == 0 || err != nil {
		return "[]"
	}
	var all [][]byte
	for _, b := range entry.Batches {
		all = append(all, b.Commands...)
	}
	return fmt.Sprintf("%s", all)
}

func describeHard(h *raftpb.HardState) string {
	return fmt.Sprintf("term %d, vote %d, commit %d", h.GetTerm(), h.GetVote(), h.GetCommit())
}

func describeLog(s memLogState) string { return describeHard(s.hard) + describeEntries(s.entries) }

func describeAppend(a *appendTask) string {
	s := "nothing to write"
	if a.writes() {
		s = "write" + describeEntries(a.entries)
		if a.hard != nil {
			s += " (" + describeHard(a.hard) + ")"
		}
	}
	if a.sync {
		s += ", sync"
	}
	for _, m := range a.responses {
		s += fmt.Sprintf(", then %v to %d", m.GetType(), m.GetTo())
	}
	return s
}

func describeApply(a *applyTask) string {
	var parts []string
	for _, c := range a.entries {
		s := fmt.Sprintf("%d/%d%s", c.Term, c.Index, describeData(c.Data))
		if c.Local != nil {
			s += fmt.Sprintf(" of %d waiters", len(c.Local))
		}
		parts = append(parts, s)
	}
	if a.leadership != nil {
		parts = append(parts, fmt.Sprintf("tell that %d leads in term %d", a.leadership.leader, a.leadership.term))
	}
	return strings.Join(parts, ", ")
}

// transcriptHandler writes log messages without their time.
type transcriptHandler struct{ out *strings.Builder }

func (transcriptHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelDebug }
func (h transcriptHandler) WithAttrs([]slog.Attr) slog.Handler         { return h }
func (h transcriptHandler) WithGroup(string) slog.Handler              { return h }
func (h transcriptHandler) Handle(_ context.Context, r slog.Record) error {
	fmt.Fprintf(h.out, "%v %s", r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(h.out, " %v", a)
		return true
	})
	h.out.WriteByte('\n')
	return nil
}
