package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
)

// inbound is a stream that a member has opened to this one. The goroutine that made
// the handshake reads it.
type inbound struct {
	t       *Transport
	from    core.MemberID
	process uint64
	conn    *timedConn
	out     outbox
	// slots are taken by questions that are being answered, until the answer is written.
	slots     chan struct{}
	answering sync.WaitGroup
	stop      context.CancelCauseFunc
	done      chan struct{} // closed when nothing of it reaches the handler any more
}

var errReplaced = errors.New("the member has opened another one")

// serveStream serves a member's stream until it ends.
func (t *Transport) serveStream(conn net.Conn, g *greeting) {
	ctx, cancel := context.WithCancelCause(t.ctx)
	defer cancel(nil)
	in := &inbound{
		t: t, from: g.From, process: g.process,
		slots: make(chan struct{}, maxAnswering), stop: cancel, done: make(chan struct{}),
	}
	counted := t.arrived(g.From)
	in.conn = t.timed(conn, counted)
	t.inbound.add(in)
	err := in.run(ctx)
	t.inbound.remove(in)
	if l := t.link(g.From); l != nil {
		l.poke() // it may be gone
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("it closed the connection")
	}
	if t.ctx.Err() != nil || errors.Is(err, errReplaced) {
		return
	}
	counted.receivedFailures.Add(1)
	peer := fmt.Sprintf("%x", uint64(g.From))
	if t.sparing.due(remark{peer, "inbound: " + reasonOf(err)}, time.Now()) {
		t.log.Info("a peer's connection ended", "peer", peer, "remote-addr", conn.RemoteAddr().String(), "error", err)
	}
}

// run reads until the connection ends, and returns why it did. It leaves no goroutine.
func (in *inbound) run(ctx context.Context) error {
	defer close(in.done)
	defer context.AfterFunc(ctx, func() { _ = in.conn.Close() })()
	in.out.open(in.stop, nil)
	var writing sync.WaitGroup
	writing.Go(func() {
		p := pump{conn: in.conn, out: &in.out, every: in.t.config.ReadTimeout / beatsPerTimeout, beat: func(b []byte) []byte {
			return appendFrame(b, frameAlive, nil, nil)
		}}
		in.stop(p.run(ctx))
	})
	in.stop(in.read(ctx))
	_ = in.conn.Close() // why it ended is known
	writing.Wait()
	in.out.shut()
	in.answering.Wait()
	return context.Cause(ctx)
}

func (in *inbound) read(ctx context.Context) error {
	frames := frameReader{r: bufio.NewReaderSize(in.conn, readBuffer), max: maxFrame}
	for {
		kind, body, err := frames.next()
		if err != nil {
			return err
		}
		switch kind {
		case frameMessage:
			in.conn.traffic.receivedMessages.Add(1)
			in.t.config.Handler.Message(in.from, body)
		case framePing:
			if len(body) != 8 {
				return fmt.Errorf("a ping of %d bytes", len(body))
			}
			in.out.put(item{kind: framePong, head: body})
		case frameQuestion:
			q, err := decodeQuestion(body)
			if err != nil {
				return err
			}
			in.answer(ctx, q)
		default:
			return fmt.Errorf("a frame of kind %d has no place here", kind)
		}
	}
}

// answer has a question answered. It does not wait.
func (in *inbound) answer(ctx context.Context, q question) {
	select {
	case in.slots <- struct{}{}:
	default:
		in.reply(q.id, nil, core.TooManyRequests, nil)
		return
	}
	in.answering.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(q.timeout)*time.Millisecond)
		defer cancel()
		body, err := in.t.config.Handler.Answer(ctx, in.from, q.kind, q.body)
		if err == nil && len(body) > maxQuestion {
			err = core.Errorf(core.Internal, "the answer has %d bytes: the most is %d", len(body), maxQuestion)
		}
		in.reply(q.id, body, err, func() { <-in.slots })
	})
}

func (in *inbound) reply(id uint64, body []byte, err error, done func()) {
	it := item{kind: frameAnswer, head: binary.LittleEndian.AppendUint64(nil, id), body: body, done: done}
	if err != nil {
		it.kind, it.body = frameFailure, encodeError(err)
	}
	it.size = len(it.head) + len(it.body)
	if !in.out.put(it) {
		it.finish()
	}
}

// add makes a stream the one of its member, once the former one has ended: what was
// sent on it comes before what is sent on this.
func (i *inbounds) add(in *inbound) {
	for {
		i.mu.Lock()
		former := i.streams[in.from]
		if former == nil {
			if i.streams == nil {
				i.streams = make(map[core.MemberID]*inbound)
			}
			i.streams[in.from] = in
			i.mu.Unlock()
			return
		}
		i.mu.Unlock()
		former.stop(errReplaced)
		<-former.done
		i.remove(former)
	}
}

func (i *inbounds) remove(in *inbound) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.streams[in.from] == in {
		delete(i.streams, in.from)
	}
}

// has says whether a member has a stream to this one.
func (i *inbounds) has(id core.MemberID) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.streams[id] != nil
}

// keep ends the streams of those that are not present.
func (i *inbounds) keep(present map[core.MemberID]bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for id, in := range i.streams {
		if !present[id] {
			in.stop(errGone)
		}
	}
}

// impostor refuses a stream of a member that is connected from another process, and
// alive: its data directory was copied. One that was started again is taken for an
// impostor only if its former process ended without the kernel's saying so, and then
// for as long as that could still have been heard of.
func (i *inbounds) impostor(g *greeting, now time.Time, timeout time.Duration) *Refusal {
	i.mu.Lock()
	defer i.mu.Unlock()
	in := i.streams[g.From]
	if in == nil || in.process == g.process {
		return nil
	}
	if silence := now.Sub(time.Unix(0, in.conn.heard.Load())); silence > timeout/2 {
		return nil
	}
	return &Refusal{Reason: fmt.Sprintf("member %x is connected already, from another process (%s): was its data directory copied?",
		uint64(g.From), in.conn.RemoteAddr())}
}
