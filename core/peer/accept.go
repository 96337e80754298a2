package peer

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/triglot/triglot/core"
)

const (
	// maxHandshakes bounds the handshakes under way. The next one ends the oldest:
	// proper ones take milliseconds.
	maxHandshakes = 256
	// maxTransfers bounds the transfers under way: each may read the disk.
	maxTransfers = 16
	// acceptPause is the pause when nothing can be accepted: there are no descriptors.
	acceptPause = 100 * time.Millisecond
	// partingTime is how long a stranger has to read what it is told.
	partingTime = time.Second
)

// inbounds are the connections that others made. It is safe for concurrent use; the
// zero value is ready.
type inbounds struct {
	mu         sync.Mutex
	handshakes list.List // of net.Conn, the oldest first
	streams    map[core.MemberID]*inbound
	transfers  int
}

// listen accepts until Stop. It returns when what it accepted has ended.
func (t *Transport) listen(l net.Listener) {
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			t.running.Go(func() { t.admit(conn) })
		case t.ctx.Err() != nil:
			return
		case errors.Is(err, net.ErrClosed):
			t.log.Error("peers cannot connect any more: the listener was closed", "address", l.Addr().String())
			return
		default:
			if t.sparing.due(remark{l.Addr().String(), reasonOf(err)}, time.Now()) {
				t.log.Warn("a peer's connection cannot be accepted", "address", l.Addr().String(), "error", err)
			}
			select {
			case <-time.After(acceptPause):
			case <-t.ctx.Done():
				return
			}
		}
	}
}

// admit makes the handshake, and has the connection served.
func (t *Transport) admit(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // why it ends is logged, or known
	defer context.AfterFunc(t.ctx, func() { _ = conn.Close() })()
	g, err := t.handshake(conn)
	if err != nil {
		t.reject(conn, err)
		return
	}
	switch g.purpose {
	case forStream:
		t.serveStream(conn, &g)
	case forTransfer:
		t.serveTransfer(conn, &g)
	case forProbe: // it has been told
	}
}

// handshake answers a greeting. It fails if the connection has no further use for
// another reason than that it was a probe.
func (t *Transport) handshake(conn net.Conn) (greeting, error) {
	entry := t.inbound.enter(conn)
	defer t.inbound.leave(entry)
	if err := conn.SetDeadline(time.Now().Add(t.config.ReadTimeout)); err != nil {
		return greeting{}, err
	}
	if err := readMagic(conn); err != nil {
		return greeting{}, err
	}
	frames := frameReader{r: conn, max: maxStrangerFrame}
	kind, body, err := frames.next()
	if err != nil {
		return greeting{}, err
	}
	if kind != frameHello {
		return greeting{}, fmt.Errorf("a frame of kind %d instead of a hello", kind)
	}
	g, err := decodeGreeting(body)
	if err != nil {
		return greeting{}, fmt.Errorf("the hello cannot be read: %w", err)
	}
	kind, body, err = t.answer(&g, time.Now())
	if _, writeErr := conn.Write(appendFrame([]byte(magic), kind, body, nil)); err == nil {
		err = writeErr
	}
	if err != nil {
		return greeting{}, err
	}
	return g, conn.SetDeadline(time.Time{})
}

// answer is the frame that answers a greeting, and the refusal if it is one.
func (t *Transport) answer(g *greeting, now time.Time) (frameKind, []byte, error) {
	r := reply{cluster: t.config.Cluster, self: t.config.Self, new: t.isNew(), version: g.agree()}
	switch {
	case r.version == 0:
		r.refusal = &Refusal{Reason: fmt.Sprintf("member %x speaks versions %d to %d of the protocol between members, this one %d to %d",
			uint64(g.From), g.min, g.max, minVersion, maxVersion)}
	case g.purpose == forProbe:
		return frameIntroduction, t.introduce(g, now), nil
	case g.purpose != forStream && g.purpose != forTransfer:
		r.refusal = &Refusal{Reason: fmt.Sprintf("a connection for purpose %d is not known here", g.purpose)}
	default:
		r.refusal = t.config.Handler.Admit(g.Hello)
	}
	if r.refusal == nil && g.purpose == forStream {
		r.refusal = t.inbound.impostor(g, now, t.config.ReadTimeout)
	}
	kind, body := r.encode()
	if r.refusal != nil {
		return kind, body, r.refusal
	}
	return kind, body, nil
}

// introduce is what a newcomer is told. If it will not be let in like that, the log has a
// line here, too.
func (t *Transport) introduce(g *greeting, now time.Time) []byte {
	i, err := t.config.Handler.Introduce(Newcomer{Hello: g.Hello, PeerURLs: g.peerURLs})
	if err != nil && t.sparing.due(remark{g.Name, reasonOf(err)}, now) {
		t.log.Warn("a member that is to be new asked who this is, and cannot start like that", "error", err)
	}
	return i.encode()
}

// reject says why a connection was refused, to the log, and to a stranger that
// understands it.
func (t *Transport) reject(conn net.Conn, err error) {
	if t.ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
		return // somebody looked whether the port is open
	}
	var s stranger
	if errors.As(err, &s) && s == strangerHTTP {
		partWithHTTP(conn)
	}
	if t.sparing.due(remark{host(conn), reasonOf(err)}, time.Now()) {
		t.log.Warn("rejected connection on peer endpoint", "remote-addr", conn.RemoteAddr().String(), "error", err)
	}
}

// partWithHTTP tells a client of HTTP where it is.
func partWithHTTP(conn net.Conn) {
	const text = "This is the port where members of Triglot talk to each other; clients use another one.\n"
	if conn.SetDeadline(time.Now().Add(partingTime)) != nil {
		return
	}
	_, err := io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "+
		strconv.Itoa(len(text))+"\r\nConnection: close\r\n\r\n"+text)
	half, ok := conn.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		return
	}
	// If it were closed with something unread, the client might not see the answer.
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, maxStrangerFrame))
}

// enter notes a handshake under way.
func (i *inbounds) enter(conn net.Conn) *list.Element {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.handshakes.Len() >= maxHandshakes {
		oldest := i.handshakes.Front()
		_ = oldest.Value.(net.Conn).Close() // it has had its time
		i.handshakes.Remove(oldest)
	}
	return i.handshakes.PushBack(conn)
}

func (i *inbounds) leave(entry *list.Element) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.handshakes.Remove(entry) // nothing if it has gone
}

// serveTransfer hands a connection to the handler.
func (t *Transport) serveTransfer(conn net.Conn, g *greeting) {
	if !t.inbound.beginTransfer() {
		t.log.Warn("too many transfers are under way: one was turned away", "peer", fmt.Sprintf("%x", uint64(g.From)), "most", maxTransfers)
		return
	}
	defer t.inbound.endTransfer()
	err := t.config.Handler.Transfer(t.ctx, g.From, conn)
	if err != nil && t.ctx.Err() == nil && t.sparing.due(remark{host(conn), "transfer: " + reasonOf(err)}, time.Now()) {
		t.log.Warn("a transfer to a peer ended early", "peer", fmt.Sprintf("%x", uint64(g.From)), "error", err)
	}
}

func (i *inbounds) beginTransfer() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.transfers >= maxTransfers {
		return false
	}
	i.transfers++
	return true
}

func (i *inbounds) endTransfer() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.transfers--
}
