package inproc

import (
	"context"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// NewStream starts a streaming call. As with a network, it holds on to a handler
// until ctx ends, or RecvMsg has returned an error.
func (c *Channel) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, name string, _ ...grpc.CallOption,
) (grpc.ClientStream, error) {
	m := c.methods[name]
	if m.stream == nil {
		return nil, unknown(name)
	}
	if ctx.Err() != nil {
		return nil, endOf(ctx)
	}
	s := &stream{
		call:       newCall(name),
		channel:    c,
		caller:     ctx,
		sendsOne:   !desc.ClientStreams,
		requests:   newHalf(),
		replies:    newHalf(),
		headerSent: make(chan struct{}),
		done:       make(chan struct{}),
	}
	s.handler, s.cancel = context.WithCancelCause(serverContext(ctx, s))
	if !c.start(func() { s.serve(m) }) {
		s.cancel(errClosed)
		return nil, errClosed
	}
	return (*clientStream)(s), nil
}

// start runs f on a goroutine that Close waits for. It reports false if the
// channel is closed.
func (c *Channel) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.handlers.Go(f)
	return true
}

// stream is a streaming call. Its two ends are clientStream and serverStream.
type stream struct {
	*call
	channel *Channel
	caller  context.Context // what the call was made with
	// sendsOne is set if there is one request only. Then it is no error that the
	// handler did not take it: generated code would not ask how the call ended.
	sendsOne bool
	handler  context.Context // what the handler sees; it ends with it
	cancel   context.CancelCauseFunc

	requests, replies *half

	sendHeader sync.Once
	headerSent chan struct{} // closed once the header can no longer change
	done       chan struct{} // closed once the handler has returned
	err        error         // what it returned; valid once done is closed
}

// serve runs the handler.
func (s *stream) serve(m method) {
	stop := context.AfterFunc(s.channel.life, func() { s.cancel(context.Cause(s.channel.life)) })
	defer stop()
	err := s.channel.guard(s.name, func() error { return m.stream(m.impl, (*serverStream)(s)) })
	if err != nil {
		s.err = wireError(err)
	}
	s.cancel(context.Canceled) // a goroutine of the handler may still wait for a request
	close(s.done)
}

// SendHeader is what a handler reaches by grpc.SendHeader.
func (s *stream) SendHeader(md metadata.MD) error {
	if err := s.SetHeader(md); err != nil {
		return err
	}
	s.sendHeader.Do(func() { close(s.headerSent) })
	return nil
}

// serverStream is the handler's end of a stream.
type serverStream stream

var _ grpc.ServerStream = (*serverStream)(nil)

func (s *serverStream) Context() context.Context        { return s.handler }
func (s *serverStream) SetHeader(md metadata.MD) error  { return s.call.SetHeader(md) }
func (s *serverStream) SendHeader(md metadata.MD) error { return (*stream)(s).SendHeader(md) }
func (s *serverStream) SetTrailer(md metadata.MD)       { _ = s.call.SetTrailer(md) } // never fails

// SendMsg returns once the client has taken m, and is done with it then.
func (s *serverStream) SendMsg(m any) error {
	if err := s.SendHeader(nil); err != nil {
		return err
	}
	return s.replies.send(s.handler, m)
}

// RecvMsg returns io.EOF once the client has said that nothing more follows.
func (s *serverStream) RecvMsg(m any) error { return s.requests.receive(s.handler, m) }

// clientStream is the caller's end of a stream.
type clientStream stream

var _ grpc.ClientStream = (*clientStream)(nil)

func (s *clientStream) Context() context.Context { return s.caller }

// Header waits for the handler's first message or header, or for its end; then
// there may be none, and RecvMsg says how it ended. A call that the caller has ended
// fails here unless there was a header before.
func (s *clientStream) Header() (metadata.MD, error) {
	select {
	case <-s.headerSent:
	case <-s.done:
	case <-s.caller.Done():
	}
	select {
	case <-s.headerSent:
	default:
		if s.caller.Err() != nil { // even if the handler has seen it, and ended, by now
			return nil, endOf(s.caller)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.header, nil
}

// Trailer may be called once RecvMsg has returned an error.
func (s *clientStream) Trailer() metadata.MD {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trailer
}

// CloseSend says that no more requests follow.
func (s *clientStream) CloseSend() error {
	s.requests.close()
	return nil
}

// SendMsg returns once the handler has taken m. If the handler has returned, the
// error is io.EOF, and RecvMsg says how it ended.
func (s *clientStream) SendMsg(m any) error {
	if err := s.channel.accept(m.(proto.Message)); err != nil {
		s.cancel(err)
		return err
	}
	err := s.requests.send(s.handler, m)
	switch {
	case err == nil, s.sendsOne:
		return nil
	case s.caller.Err() == nil:
		return io.EOF
	default:
		return err
	}
}

// RecvMsg returns io.EOF once the handler has returned without an error.
func (s *clientStream) RecvMsg(m any) error {
	select {
	case s.replies.wanted <- m.(proto.Message):
		if err := <-s.replies.filled; err != nil {
			return err
		}
		s.channel.cfg.Transferred(0, proto.Size(m.(proto.Message)))
		return nil
	case <-s.done:
	case <-s.caller.Done():
	}
	switch {
	case s.caller.Err() != nil: // the handler may have ended of that
		return endOf(s.caller)
	case s.err != nil:
		return s.err
	default:
		return io.EOF
	}
}

// half carries the messages of one direction. The receiver offers a message, and
// the sender copies its own into it: nobody holds what the other may change, and
// a sender is as slow as its receiver.
type half struct {
	wanted chan proto.Message
	filled chan error // the answer to each message that was taken from wanted

	closing sync.Once
	closed  chan struct{} // closed once nothing more is sent
}

func newHalf() *half {
	return &half{wanted: make(chan proto.Message), filled: make(chan error), closed: make(chan struct{})}
}

func (h *half) close() { h.closing.Do(func() { close(h.closed) }) }

func (h *half) send(ctx context.Context, m any) error {
	if ctx.Err() != nil {
		return endOf(ctx) // even if the receiver waits
	}
	select {
	case into := <-h.wanted:
		h.filled <- fill(into, m.(proto.Message))
		return nil
	case <-ctx.Done():
		return endOf(ctx)
	}
}

func (h *half) receive(ctx context.Context, m any) error {
	select {
	case h.wanted <- m.(proto.Message):
		return <-h.filled
	case <-h.closed:
		return io.EOF
	case <-ctx.Done():
		return endOf(ctx)
	}
}

// fill makes dst a copy of src.
func fill(dst, src proto.Message) error {
	if err := sameType(dst, src); err != nil {
		return err
	}
	proto.Reset(dst)
	proto.Merge(dst, src)
	return nil
}
