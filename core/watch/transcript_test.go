package watch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestTranscripts runs the files in testdata, which show what a reader sees.
// Rewrite them with -rewrite, and commit only differences that you understand.
//
// Commands, one a block, with arguments as name=value:
//
//	hub [ring=B] [queue=B] [items=N] [from=REV]   a new store and hub; the store has
//	                                              revisions up to REV that the ring lacks
//	write [empty] [missed]                        one revision, published: lines "key value"
//	                                              put, lines "key" delete, lines
//	                                              "/path event" a znode's step; what is missed
//	                                              is not published
//	step                                          move the dispatcher as far as it goes
//	reset                                         the state is replaced by one that has all
//	                                              revisions and compactions
//	add feed=F id=N key=K [end=E] [start=REV] [prev] [noput] [nodelete]
//	remove feed=F id=N
//	progress feed=F [id=N]                        without id: of all watches
//	compact rev=REV [missed]
//	take feed=F [n=N]                             the next deliveries, all by default
//	close feed=F
//	listen | unlisten                             to a follower, which prints below what
//	                                              moves the dispatcher
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Helper()
		s := &script{feeds: make(map[string]*feed)}
		datadriven.RunTest(t, path, s.run)
		s.hub.Close()
	})
}

// script is the state of one transcript.
type script struct {
	store *store
	hub   *Hub
	feeds map[string]*feed
	// follower prints into told.
	follower core.Following
	told     strings.Builder
}

// Revisions implements core.Follower.
func (s *script) Revisions(revs []*core.Revision, upTo core.Rev) {
	fmt.Fprintf(&s.told, "told up to %d\n", upTo)
	for _, rev := range revs {
		fmt.Fprintf(&s.told, "  %d:", rev.Rev)
		for _, c := range rev.Changes {
			fmt.Fprintf(&s.told, " key %s", c.KV.Key)
		}
		for _, step := range rev.Steps {
			fmt.Fprintf(&s.told, " znode %s %s", step.Path, eventNames[step.Event])
		}
		s.told.WriteByte('\n')
	}
}

// Lost implements core.Follower.
func (s *script) Lost(upTo core.Rev) { fmt.Fprintf(&s.told, "lost up to %d\n", upTo) }

var eventNames = []string{
	core.ZnodeCreated: "created", core.ZnodeDeleted: "deleted", core.ZnodeDataChanged: "changed",
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	out := s.command(t, d)
	out += s.told.String()
	s.told.Reset()
	return out
}

func (s *script) command(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var id int
	d.MaybeScanArgs(t, "id", &id)
	switch d.Cmd {
	case "hub":
		return s.start(t, d)
	case "write":
		return s.write(d)
	case "step":
		s.hub.dispatchAll()
		return fmt.Sprintf("dispatched %d\n", s.hub.Dispatched())
	case "add":
		s.feed(t, d).Add(core.WatchID(id), watchSpec(t, d))
	case "remove":
		return fmt.Sprintln(s.feed(t, d).Remove(core.WatchID(id)))
	case "progress":
		if !d.HasArg("id") {
			id = int(core.AllWatches)
		}
		s.feed(t, d).RequestProgress(core.WatchID(id))
	case "compact":
		var rev int
		d.ScanArgs(t, "rev", &rev)
		s.store.compact(core.Rev(rev))
		if !d.HasArg("missed") {
			s.hub.Compacted(core.Rev(rev))
		}
	case "reset":
		s.hub.Reset(s.store.rev, s.store.compacted)
		return fmt.Sprintf("revision %d\n", s.store.rev)
	case "take":
		return s.take(t, d)
	case "listen":
		return fmt.Sprintf("listens after %d\n", s.follower.Listen())
	case "unlisten":
		s.follower.Unlisten()
	case "close":
		s.feed(t, d).Close()
	default:
		d.Fatalf(t, "no such command")
	}
	return ""
}

func (s *script) start(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	o := Options{CompactRev: -1}
	from := 1
	d.MaybeScanArgs(t, "ring", &o.RingBytes)
	d.MaybeScanArgs(t, "queue", &o.QueueBytes)
	d.MaybeScanArgs(t, "items", &o.QueueItems)
	d.MaybeScanArgs(t, "from", &from)
	s.store = newStore()
	for rev := 2; rev <= from; rev++ {
		s.store.write(edit{"old", fmt.Sprint(rev)})
	}
	o.History, o.Start = s.store, s.store.rev
	s.hub = newHub(o)
	s.follower = s.hub.Follow(s)
	return fmt.Sprintf("revision %d\n", s.store.rev)
}

func (s *script) write(d *datadriven.TestData) string {
	var edits []edit
	var steps []core.ZnodeStep
	for _, line := range strings.Split(d.Input, "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch {
		case key == "":
		case key[0] == '/':
			event := core.ZnodeEvent(slices.Index(eventNames, value))
			steps = append(steps, core.ZnodeStep{Event: event, Path: key})
		default:
			edits = append(edits, edit{key, value})
		}
	}
	rev := s.store.write(edits...)
	rev.Steps = steps
	if d.HasArg("missed") {
		return fmt.Sprintf("revision %d, not heard of\n", rev.Rev)
	}
	if d.HasArg("empty") {
		s.hub.Publish(nil, rev.Rev)
	} else {
		s.hub.Publish([]*core.Revision{rev}, rev.Rev)
	}
	return fmt.Sprintf("revision %d\n", rev.Rev)
}

func (s *script) feed(t *testing.T, d *datadriven.TestData) *feed {
	t.Helper()
	var name string
	d.ScanArgs(t, "feed", &name)
	if s.feeds[name] == nil {
		s.feeds[name] = s.hub.open()
	}
	return s.feeds[name]
}

func watchSpec(t *testing.T, d *datadriven.TestData) core.WatchSpec {
	t.Helper()
	var key, end string
	var start int
	d.ScanArgs(t, "key", &key)
	d.MaybeScanArgs(t, "end", &end)
	d.MaybeScanArgs(t, "start", &start)
	spec := core.WatchSpec{
		Interval: core.Interval{Key: []byte(key)},
		Start:    core.Rev(start),
		PrevKV:   d.HasArg("prev"), NoPut: d.HasArg("noput"), NoDelete: d.HasArg("nodelete"),
	}
	if end != "" {
		spec.End = []byte(end)
	}
	return spec
}

func (s *script) take(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	f, n := s.feed(t, d), 1000
	d.MaybeScanArgs(t, "n", &n)
	var out strings.Builder
	for range n {
		delivery, ok, err := f.poll(context.Background())
		if err != nil {
			fmt.Fprintf(&out, "error: %v\n", err)
			break
		}
		if !ok {
			break
		}
		printDelivery(&out, delivery)
	}
	require.NotEqual(t, 1000, strings.Count(out.String(), "\n"))
	return out.String()
}

func printDelivery(out *strings.Builder, d core.Delivery) {
	names := map[core.DeliveryKind]string{
		core.DeliverEvents: "events", core.DeliverCreated: "created", core.DeliverCanceled: "canceled",
		core.DeliverCompacted: "compacted", core.DeliverProgress: "progress",
	}
	fmt.Fprintf(out, "watch %d %s at %d", d.Watch, names[d.Kind], d.Rev)
	if d.CompactRev != 0 {
		fmt.Fprintf(out, ", compacted to %d", d.CompactRev)
	}
	out.WriteByte('\n')
	for _, c := range d.Changes {
		fmt.Fprintf(out, "  %d %s", c.KV.ModRev, c.KV.Key)
		if c.KV.Deleted() {
			out.WriteString(" deleted")
		} else {
			fmt.Fprintf(out, " = %s", c.KV.Value)
		}
		if c.Prev != nil {
			fmt.Fprintf(out, " (was %s at %d)", c.Prev.Value, c.Prev.ModRev)
		}
		out.WriteByte('\n')
	}
}
