package etcdload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/cmd/triglot/bench/keyspace"
)

var bidirectional = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// appendWatched is the i-th key that is watched. They are not of the key space.
func (l *Load) appendWatched(b []byte, i int) []byte {
	return keyspace.AppendNumber(append(append(b, l.Keys.Prefix()...), "watch/"...), i)
}

// watchOwn has each client's key watched once.
func (l *Load) watchOwn(ctx context.Context) error {
	return l.watch(ctx, l.Clients, func(i int) int { return i })
}

// watchOne has one key watched by all.
func (l *Load) watchOne(ctx context.Context) error {
	return l.watch(ctx, l.Watchers, func(int) int { return 0 })
}

// watchMany has as many keys as watchers, each watched once.
func (l *Load) watchMany(ctx context.Context) error {
	return l.watch(ctx, l.Watchers, func(i int) int { return i })
}

// watch begins the watches, each of a key, spread over the streams, and receives what they
// say until the load is closed.
func (l *Load) watch(ctx context.Context, watchers int, keyOf func(watcher int) int) error {
	l.board = newBoard(l.Clients)
	ready := make(chan error, l.Streams)
	for i := range l.Streams {
		s, err := l.conn(i).NewStream(l.ctx, bidirectional, methodWatch) //nolint:contextcheck // it outlives the call
		if err != nil {
			return err
		}
		count := 0
		for w := i; w < watchers; w += l.Streams {
			if err := s.SendMsg(&message{appendWatch(nil, l.appendWatched(nil, keyOf(w)), nil, 0)}); err != nil {
				return fmt.Errorf("watch: %w", errors.Join(err, s.RecvMsg(&watchAnswer{})))
			}
			count++
		}
		r := &receiver{load: l, stream: i, created: count, ready: ready, last: make(map[int64]int64, count)}
		if count == 0 {
			ready <- nil
		}
		l.streams.Go(func() { r.run(s) })
	}
	for range l.Streams {
		select {
		case err := <-ready:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// receiver takes what a watch stream says. It belongs to one goroutine.
type receiver struct {
	load   *Load
	stream int
	// created is how many watches are still to be confirmed. ready is told once all are.
	created int
	ready   chan<- error
	// last is the revision of each watch's latest event.
	last map[int64]int64
}

func (r *receiver) run(s grpc.ClientStream) {
	ans := &watchAnswer{each: r.event}
	for {
		err := s.RecvMsg(ans)
		if err == nil && ans.canceled {
			err = ans.refusal()
		}
		switch {
		case err != nil:
			r.broken(err)
			return
		case ans.created:
			if r.created--; r.created == 0 {
				r.ready <- nil
			}
		}
	}
}

// broken ends the load, unless it is at its end.
func (r *receiver) broken(err error) {
	if r.load.ctx.Err() != nil {
		return
	}
	err = fmt.Errorf("watch: %w", err)
	if r.created > 0 {
		r.ready <- err
		return
	}
	r.load.Fail(err)
}

// event counts an event. One that comes twice, or not in order, is an error.
func (r *receiver) event(id int64, row row) error {
	if row.modRev <= r.last[id] {
		r.load.Record.Fail(errors.New("an event of a watch came twice, or out of order"))
		return nil
	}
	r.last[id] = row.modRev
	latency, whole, err := r.load.board.delivered(row.value)
	if err != nil {
		r.load.Record.Fail(err)
		return nil
	}
	r.load.Record.Observe(r.stream, latency, 1)
	if whole != nil {
		whole.tell()
	}
	return nil
}

func (l *Load) ownWriter(i int, random *rand.Rand) drive.Call {
	return l.writer(i, random, 1, func() int { return i })
}

func (l *Load) oneWriter(i int, random *rand.Rand) drive.Call {
	return l.writer(i, random, l.Watchers, func() int { return 0 })
}

func (l *Load) anyWriter(i int, random *rand.Rand) drive.Call {
	return l.writer(i, random, 1, func() int { return random.IntN(l.Watchers) })
}

// writer puts watched keys, and waits after each until it is delivered to all its watchers.
func (l *Load) writer(i int, random *rand.Rand, watchers int, keyOf func() int) drive.Call {
	conn, req, ans := l.conn(i), &message{}, &revAnswer{}
	value := slices.Clone(l.Keys.Value(random))
	return func(ctx context.Context, start time.Time) error {
		l.board.begin(i, int64(watchers), start, value)
		req.b = appendPut(req.b[:0], l.appendWatched(nil, keyOf()), value)
		if err := conn.Invoke(ctx, methodPut, req, ans); err != nil {
			l.board.abandon(i)
			return err
		}
		return l.board.await(ctx, i)
	}
}

// findTarget decides what a late watch has to catch up with: it ends with a write of this
// moment.
func (l *Load) findTarget(ctx context.Context) error {
	req := &message{appendPut(nil, l.Keys.AppendKey(nil, 0), l.Keys.Value(rand.New(rand.NewPCG(0, 0))))}
	var ans revAnswer
	if err := l.conns[0].Invoke(ctx, methodPut, req, &ans); err != nil {
		return err
	}
	l.target, l.from = ans.rev, l.FromRevision
	if l.Behind > 0 {
		l.from = ans.rev - l.Behind + 1
	}
	if l.from < 1 || l.from > l.target {
		return fmt.Errorf("the server is at revision %d: a watch cannot catch up from %d", l.target, l.from)
	}
	return nil
}

// latecomer begins a watch in the past, of everything below the prefix, and takes its events
// up to the target. The latency is that of all of them, from the request to the last event.
func (l *Load) latecomer(i int, _ *rand.Rand) drive.Call {
	var s grpc.ClientStream
	var end context.CancelFunc // of s
	var last, before int64     // the last event's revision, and how many the watch before had
	ans := &watchAnswer{each: func(_ int64, r row) error {
		if r.modRev < last {
			return errors.New("events of a watch came out of order")
		}
		last = r.modRev
		return nil
	}}
	create := &message{appendWatch(nil, []byte(l.Keys.Prefix()), l.Keys.PrefixEnd(), l.from)}
	return func(ctx context.Context, start time.Time) (err error) {
		if s == nil {
			var lasting context.Context
			lasting, end = context.WithCancel(l.ctx)
			s, err = l.conn(i).NewStream(lasting, bidirectional, methodWatch) //nolint:contextcheck // it outlives the call
		}
		defer func() {
			if err != nil {
				end()
				s = nil
			}
		}()
		if err != nil {
			return err
		}
		if err := s.SendMsg(create); err != nil {
			return errors.Join(err, s.RecvMsg(ans))
		}
		events := int64(0)
		for last = 0; last < l.target; events += ans.events {
			if err := s.RecvMsg(ans); err != nil {
				return err
			}
			if ans.canceled {
				return ans.refusal()
			}
		}
		if before != 0 && before != events {
			return fmt.Errorf("a watch had %d events, and the one before %d", events, before)
		}
		before = events
		l.Record.Observe(i, time.Since(start), events)
		return cancelWatch(s, ans)
	}
}

// cancelWatch ends a watch and waits until it has ended.
func cancelWatch(s grpc.ClientStream, ans *watchAnswer) error {
	if err := s.SendMsg(&message{appendCancel(nil, ans.id)}); err != nil {
		return err
	}
	for !ans.canceled {
		if err := s.RecvMsg(ans); err != nil {
			return err
		}
	}
	return nil
}
