package zk

import (
	"context"
	"errors"
	"fmt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// runner is what whoever runs a connection's requests works with.
type runner struct {
	// view serves reads until something is answered that it may not show; nil if
	// there is none.
	view core.View
	// viewer is who sees it.
	viewer *identities
	// scratch is where replies are made. One that is long goes over to the outbox, with it.
	scratch []byte
	// shown is the latest revision that the client knows to exist.
	shown core.Rev
	// watching says that the hub tells the table of watches of all revisions on
	// behalf of this connection. It stays once it is true. Of a connection that
	// never watched no event can contradict a reply.
	watching bool
	// unwritten is the bytes of replies appended since the last flush.
	unwritten int
	// tally is what was answered since then.
	tally tally
}

// release lets go of the view. The next one is newer.
func (r *runner) release() {
	if r.view != nil {
		r.view.Close()
		r.view = nil
	}
}

// view makes a view for who makes q.
func (c *conn) view(ctx context.Context, q *request, consistency core.Consistency) (core.View, error) {
	who, err := c.srv.principal(ctx, q.who)
	if err != nil {
		return nil, err
	}
	return c.srv.cfg.Store.View(ctx, who, consistency)
}

// currentView is the view that q reads from.
func (c *conn) currentView(q *request) (core.View, error) {
	if c.run.viewer != q.who {
		c.run.release()
	}
	if c.run.view == nil {
		v, err := c.view(c.ctx, q, core.Consistency{})
		if err != nil {
			return nil, err
		}
		c.run.view, c.run.viewer = v, q.who
	}
	return c.run.view, nil
}

// await waits until the events up to rev are queued; it reports false if the
// connection ends.
func (c *conn) await(rev core.Rev) bool {
	return !c.run.watching || c.srv.watches.await(&c.sub, rev, c.ctx.Done())
}

// shown is a revision that the client may be told the server has reached: one all
// of whose events are queued, as the client will ask for those after it when it
// sets its watches elsewhere.
func (c *conn) shown() core.Rev {
	switch r := &c.run; {
	case r.watching:
		r.shown = max(r.shown, core.Rev(c.srv.watches.dispatched.Load()))
	case r.view != nil:
		r.shown = max(r.shown, r.view.Rev())
	}
	return c.run.shown
}

// answerRequest runs a request whose turn it is and appends its reply.
func (c *conn) answerRequest(q *request) (err error) {
	switch {
	case q.failed != wire.OK:
		err = c.answer(q, c.shown(), q.failed, nil)
	case q.pending != nil:
		err = c.answerWrite(q)
	case q.op.read == nil:
		err = q.op.run(c, q)
	case q.watch:
		err = c.answerWatch(q)
	default:
		err = c.answerRead(q)
	}
	c.run.tally.add(q)
	if err == nil {
		c.weigh(q, c.run.tally.last)
	}
	if err == nil && (c.run.unwritten >= flushSize || q.op.read != nil && q.op.sees == seesAll) {
		err = c.rest() // also behind reads that may take long: no view is held for many of them
	}
	return err
}

// rest is called when the runner has nothing to do for the moment, or too much to
// write.
func (c *conn) rest() error {
	c.run.release()
	if c.run.unwritten == 0 {
		return nil
	}
	c.run.unwritten = 0
	if cap(c.run.scratch) > keptBuffer {
		c.run.scratch = nil
	}
	c.account()
	return c.flush()
}

// account adds what was answered to the statistics.
func (c *conn) account() {
	now := c.srv.clock()
	c.srv.stats.settle(&c.run.tally, now)
	c.stats.settle(&c.run.tally, c.run.shown, now)
	c.run.tally = tally{}
}

// frame appends the frame of a reply; body may be nil.
func (c *conn) frame(dst []byte, q *request, rev core.Rev, code wire.ErrorCode, body func([]byte) []byte) []byte {
	start := len(dst)
	dst = jute.OpenFrame(dst)
	dst = (&wire.ReplyHeader{Xid: q.xid, Zxid: int64(rev), Err: code}).Append(dst)
	if body != nil {
		dst = body(dst)
	}
	jute.CloseFrame(dst, start)
	return dst
}

// answer appends a reply that no event can contradict.
func (c *conn) answer(q *request, rev core.Rev, code wire.ErrorCode, body func([]byte) []byte) error {
	if code == wire.AuthFailed {
		c.srv.stats.authFailed.Add(1)
	}
	frame := c.frame(c.run.scratch[:0], q, rev, code, body)
	c.out.append(frame)
	c.appended(frame, rev)
	return nil
}

// appended keeps the books on a reply that was appended.
func (c *conn) appended(frame []byte, rev core.Rev) {
	if c.run.scratch = frame[:0]; len(frame) > flushSize {
		c.run.scratch = nil // it is the outbox's
	}
	c.run.unwritten += len(frame)
	c.run.tally.replied(len(frame) - jute.FrameHeader)
	c.run.shown = max(c.run.shown, rev)
}

// fail answers a request that failed, at a revision that c.shown may tell. The
// error says whether the connection goes on.
func (c *conn) fail(q *request, err error) error {
	verdict := verdictOf(err)
	if verdict.silent {
		return fmt.Errorf("%w: %w", errUnknownState, err)
	}
	return c.refuse(q, c.shown(), verdict)
}

// refuse answers with an error at a revision that the client may be told.
func (c *conn) refuse(q *request, rev core.Rev, verdict verdict) error {
	if err := c.answer(q, rev, verdict.code, nil); err != nil || !verdict.last {
		return err
	}
	if err := c.rest(); err != nil {
		return err
	}
	return errAnswered
}

// answerWrite answers a write when its outcome is known.
func (c *conn) answerWrite(q *request) error {
	c.run.release() // it may be older than the write
	res, err := q.pending.Wait(c.ctx)
	if err != nil {
		return c.failWrite(q, res.Rev, err)
	}
	if !c.await(res.Rev) {
		return errEnded
	}
	// Another's later write may have been shown already, to a read that preceded
	// this one: what the client knows to exist does not go back.
	rev := max(res.Rev, c.run.shown)
	frame := c.frame(c.run.scratch[:0], q, rev, wire.OK, nil)
	frame = q.op.reply(q, res.Outcome, frame)
	jute.CloseFrame(frame, 0)
	c.out.append(frame)
	c.appended(frame, rev)
	return nil
}

// failWrite answers a write that was refused; rev is the revision at which it was,
// zero if it was not even proposed. The refusal may show a change as well as a read:
// the events of that change go first. It tells of no change behind it: what the
// client sent after the refused write may have been applied already.
func (c *conn) failWrite(q *request, rev core.Rev, err error) error {
	verdict := verdictOf(err)
	if verdict.silent || rev == 0 {
		return c.fail(q, err)
	}
	if !c.await(rev) {
		return errEnded
	}
	return c.refuse(q, max(rev, c.run.shown), verdict)
}

// answerRead answers a read from the current view, or, if an event that the view does
// not show is queued already, from a newer one. Then it holds later events back: one
// with persistent watches may be told of many while it reads.
func (c *conn) answerRead(q *request) error {
	v, err := c.currentView(q)
	if err != nil {
		return c.fail(q, err)
	}
	frame, err := c.look(q, v)
	if frame == nil {
		return c.fail(q, err)
	}
	if !c.await(v.Rev()) {
		return errEnded
	}
	if rev := v.Rev(); c.out.reply(frame, rev) {
		c.appended(frame, rev)
		return nil
	}
	return c.watch(q, nil, func(v core.View) ([]byte, error) {
		frame, err := c.look(q, v)
		if frame == nil {
			return nil, err
		}
		return frame, nil
	})
}

// look makes the reply of a read. If the read fails there is an error besides the
// reply; without a reply the connection cannot go on.
func (c *conn) look(q *request, v core.View) ([]byte, error) {
	frame := c.frame(c.run.scratch[:0], q, v.Rev(), wire.OK, nil)
	frame, err := q.op.read(c.ctx, v, q, frame)
	if err != nil {
		verdict := verdictOf(err)
		if verdict.silent {
			return nil, err
		}
		return c.frame(frame[:0], q, v.Rev(), verdict.code, nil), err
	}
	jute.CloseFrame(frame, 0)
	return frame, nil
}

// answerWatch answers a read that sets a watch.
func (c *conn) answerWatch(q *request) error {
	regs := []registration{{path: q.path, kind: q.op.watches}}
	return c.watch(q, regs, func(v core.View) ([]byte, error) {
		frame, err := c.look(q, v)
		if frame == nil {
			return nil, err
		}
		regs[0].keep = err == nil || q.op.missing && errors.Is(err, core.NoNode)
		return frame, nil
	})
}

// watch answers a request that sets watches: reply makes the reply from a view, and
// says which of them are to be kept. See watchTable.
func (c *conn) watch(q *request, regs []registration, reply func(core.View) (frames []byte, err error)) error {
	failed, err := c.tryWatch(q, regs, reply)
	if failed != nil {
		return c.fail(q, failed)
	}
	return err
}

// tryWatch is watch, but for the answer to a request that failed.
func (c *conn) tryWatch(
	q *request, regs []registration, reply func(core.View) (frames []byte, err error),
) (failed, err error) {
	table := c.srv.watches
	if !c.run.watching {
		table.listening(c.srv.following.Listen())
		c.run.watching = true
	}
	since, failed := table.arm(&c.sub, regs)
	if failed != nil {
		return failed, nil
	}
	if c.run.view != nil && c.run.view.Rev() < since {
		c.run.release()
	}
	var frames []byte
	v, failed := c.currentView(q)
	if failed == nil {
		frames, failed = reply(v)
	}
	if failed != nil {
		table.withdraw(&c.sub, regs)
		return failed, nil
	}
	rev := v.Rev()
	if !c.await(rev) {
		return nil, errEnded
	}
	table.settle(&c.sub, rev, frames, regs)
	c.appended(frames, rev)
	return nil, nil
}
