package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/cockroachdb/datadriven"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
)

// TestTranscript steps one replica by hand and shows all that it says:
//
//	start [voters=(1,2,3)] [learners=(4)] [applied=N]
//	                                     open the log, which is kept from a former start
//	tick [n=N]
//	propose A B ... [lane=L]             one step, so one batch at most
//	change C voter=N|learner=N|remove=N [term=T]
//	                                     propose a change of the members, judged in the present term or T
//	leave A                              the waiter of a proposal gives up
//	read
//	receive from=2 type=MsgApp term=T [index=I] [logterm=T] [commit=I] [entries=(T/I,...)] [reads=N] [reject]
//	receive from=2 type=MsgProp term=T stream=S number=N commands=(A,B)
//	disconnected from=2                  what was sent to a member may be lost
//	gone id=2 [late]                     a member is gone; late: its heartbeat is heard in the same step
//	fetched from=2 [index=I term=T voters=(1,2) [learners=(3)]]
//	                                     a fetch has ended, with a state or without
//	transfer to=N                        leadership is to be handed over
//	append [n=N]                         the log writer does its next task
//	apply [n=N] [refuse]                 the applier does its next task
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
	lanes       map[string]*Lane
	transfers   []*transfer
}

// lane is the lane of a name.
func (e *transcript) lane(name string) *Lane {
	if e.lanes == nil {
		e.lanes = map[string]*Lane{}
	}
	if e.lanes[name] == nil {
		e.lanes[name] = new(Lane)
	}
	return e.lanes[name]
}

// scanChange reads what a change does to the members.
func scanChange(t *testing.T, d *datadriven.TestData) (c MemberChange) {
	for name, kind := range map[string]ChangeKind{"voter": AddVoter, "learner": AddLearner, "remove": RemoveMember} {
		var id uint64
		if d.MaybeScanArgs(t, name, &id) {
			c = MemberChange{kind, core.MemberID(id)}
		}
	}
	return c
}

// scanIDs reads a list of members, nil if there is none.
func scanIDs(t *testing.T, d *datadriven.TestData, name string) (ids []uint64) {
	for _, a := range d.CmdArgs {
		if a.Key != name {
			continue
		}
		ids = make([]uint64, len(a.Vals))
		for i := range a.Vals {
			a.Scan(t, i, &ids[i])
		}
	}
	return ids
}

func (e *transcript) fetched(t *testing.T, d *datadriven.TestData) {
	var from uint64
	var f fetched
	d.ScanArgs(t, "from", &from)
	if !d.MaybeScanArgs(t, "index", &f.state.Index) {
		f.err = errors.New("the connection broke")
	}
	d.MaybeScanArgs(t, "term", &f.state.Term)
	f.state.From = core.MemberID(from)
	for _, id := range scanIDs(t, d, "voters") {
		f.state.Voters = append(f.state.Voters, core.MemberID(id))
	}
	for _, id := range scanIDs(t, d, "learners") {
		f.state.Learners = append(f.state.Learners, core.MemberID(id))
	}
	e.in.events = append(e.in.events, f)
	e.step()
}

func (e *transcript) gone(t *testing.T, d *datadriven.TestData) {
	var id uint64
	d.ScanArgs(t, "id", &id)
	e.in.events = append(e.in.events, gone(id))
	if d.HasArg("late") {
		term := e.r.status.term
		e.in.messages = append(e.in.messages, &Message{Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(1)), From: &id, Term: &term})
	}
	e.step()
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
		var lane string
		d.MaybeScanArgs(t, "lane", &lane)
		for _, a := range d.CmdArgs {
			if a.Key == "lane" {
				continue
			}
			p := NewProposal([]byte(a.Key), time.Time{})
			if lane != "" {
				p = NewOrdered(e.lane(lane), []byte(a.Key))
			}
			e.waiters = append(e.waiters, namedProposal{a.Key, p})
			e.in.proposals = append(e.in.proposals, p)
		}
		e.step()
	case "change":
		term := e.r.status.term
		d.MaybeScanArgs(t, "term", &term)
		p := NewMembership([]byte(d.CmdArgs[0].Key), scanChange(t, d), term)
		e.waiters = append(e.waiters, namedProposal{d.CmdArgs[0].Key, p})
		e.in.proposals = append(e.in.proposals, p)
		e.step()
	case "disconnected":
		var from uint64
		d.ScanArgs(t, "from", &from)
		e.in.events = append(e.in.events, disconnected(from))
		e.step()
	case "gone":
		e.gone(t, d)
	case "fetched":
		e.fetched(t, d)
	case "transfer":
		var to uint64
		d.ScanArgs(t, "to", &to)
		tr := &transfer{to: core.MemberID(to), done: make(chan error, 1)}
		e.transfers = append(e.transfers, tr)
		e.in.events = append(e.in.events, tr)
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
			e.apply(d.HasArg("refuse"))
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
	if ids := scanIDs(t, d, "voters"); ids != nil {
		e.voters = ids
	}
	if e.log == nil {
		e.log = newMemLog(e.voters...)
	}
	if ids := scanIDs(t, d, "learners"); ids != nil {
		e.log.conf.Learners = ids
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
	if d.HasArg("reject") {
		m.Reject = new(true)
	}
	switch kind {
	case "MsgProp":
		var stream, number uint64
		d.ScanArgs(t, "stream", &stream)
		d.ScanArgs(t, "number", &number)
		var commands []string
		for _, a := range d.CmdArgs {
			if a.Key == "commands" {
				commands = a.Vals
			}
		}
		f := forwarded(core.MemberID(from), 1, stream, number, commands...)
		m.Context, m.Entries = f.Context, f.Entries
	case "MsgSnap":
		m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: &index, Term: &logTerm}}
		m.Index, m.LogTerm = nil, nil
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
	e.r.duties.complained = time.Time{} // each line is wanted
	out, err := e.r.step(e.now, &e.in)
	e.in.reset()
	if err != nil {
		fmt.Fprintf(&e.out, "error: %v\n", err)
		return
	}
	for _, b := range out.answers {
		b.wake()
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
	if out.fetch != 0 {
		fmt.Fprintf(&e.out, "fetch the state of %d\n", out.fetch)
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
	if i := task.install; i != nil {
		select {
		case <-i.done:
		default:
			fmt.Fprintln(&e.out, "waits for the applier")
			return
		}
		if err := e.log.Reset(i.Index, i.Term); err != nil {
			t.Fatal(err)
		}
	}
	e.appends = e.appends[1:]
	if task.writes() {
		if err := e.log.Append(task.hard, task.entries, task.sync); err != nil {
			t.Fatal(err)
		}
	}
	e.in.appended = append(e.in.appended, task)
	e.step()
}

func (e *transcript) apply(refuse bool) {
	task := e.applies[0]
	e.applies = e.applies[1:]
	if task.install != nil {
		close(task.install.done)
	}
	for i := range task.entries {
		c := &task.entries[i]
		c.Refused = refuse && c.Change.Kind != NoChange
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
	e.transfers = slices.DeleteFunc(e.transfers, func(tr *transfer) bool {
		select {
		case err := <-tr.done:
			fmt.Fprintf(&e.out, "transfer to %d: %v\n", tr.to, err)
			return true
		default:
			return false
		}
	})
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
