package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/triglot/triglot/core"
)

// dialTimeout bounds an attempt to connect. It is short since the kernel repeats what
// was lost ever more rarely: when a partition heals, a new attempt is quicker.
const dialTimeout = 2 * time.Second

// caller connects to peer URLs.
type caller struct {
	dial func(ctx context.Context, url string) (net.Conn, error)
	// timeout bounds the handshake.
	timeout time.Duration
	// admit is Handler.Admit, nil for one that takes everybody.
	admit func(Hello) *Refusal
}

// call connects to a URL, says g, and returns the connection, and the frame that came
// back. The caller closes it.
func (c caller) call(ctx context.Context, url string, g *greeting) (net.Conn, frameKind, []byte, error) {
	conn, err := c.connect(ctx, url)
	if err != nil {
		return nil, 0, nil, unanswered(err)
	}
	unbind := context.AfterFunc(ctx, func() { _ = conn.Close() }) // it is about to be closed anyway
	kind, body, err := c.greet(conn, g)
	if !unbind() {
		err = context.Cause(ctx)
	}
	var nobody absent
	if err != nil && !errors.As(err, &nobody) {
		err = explain(err)
	}
	if err != nil {
		_ = conn.Close() // the other error says more
		return nil, 0, nil, err
	}
	return conn, kind, body, nil
}

func (c caller) connect(ctx context.Context, url string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return c.dial(ctx, url)
}

func (c caller) greet(conn net.Conn, g *greeting) (frameKind, []byte, error) {
	if err := conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, nil, err
	}
	if _, err := conn.Write(appendFrame([]byte(magic), frameHello, g.encode(), nil)); err != nil {
		return 0, nil, unanswered(err)
	}
	if err := readMagic(conn); err != nil {
		return 0, nil, unanswered(err)
	}
	frames := frameReader{r: conn, max: maxReplyFrame}
	kind, body, err := frames.next()
	if err != nil {
		return 0, nil, err
	}
	return kind, body, conn.SetDeadline(time.Time{})
}

// absent is the error of an attempt that shows that nobody is there, rather than that
// nobody can be reached.
type absent struct{ error }

func (a absent) Unwrap() error { return a.error }

// unanswered explains the error of an attempt that ended before there was an answer. It is
// absent if the connection was refused, or if it was ended at once, as a proxy does whose
// target is gone.
func unanswered(err error) error {
	var dial *net.OpError
	for _, sign := range []error{syscall.ECONNREFUSED, syscall.ENOENT} { // that a socket has no file
		if errors.As(err, &dial) && dial.Op == "dial" && errors.Is(err, sign) {
			return absent{explain(err)}
		}
	}
	for _, sign := range []error{io.EOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, sign) {
			return absent{explain(err)}
		}
	}
	return explain(err)
}

// refused is the error of one that was refused, or that a stranger answered.
type refused struct {
	*Refusal
	// proven says that it came from the member and the cluster that were asked for.
	proven bool
}

func (r refused) Unwrap() error { return r.Refusal }

// enter connects, and returns a connection on which the member g is for has let it in.
// If it did not, the error is of type refused.
func (c caller) enter(ctx context.Context, url string, g *greeting) (net.Conn, error) {
	conn, kind, body, err := c.call(ctx, url, g)
	if err != nil {
		return nil, err
	}
	r, err := decodeReply(kind, body)
	if err == nil {
		err = c.judge(g, &r)
	}
	if err != nil {
		_ = conn.Close() // the other error says more
		return nil, err
	}
	return conn, nil
}

// judge is why a reply to a greeting does not let this member in, or lets in nobody that
// this member would speak to.
func (c caller) judge(g *greeting, r *reply) error {
	switch {
	case r.refusal != nil:
		return refused{r.refusal, r.cluster == g.Cluster && r.self == g.To}
	case r.cluster != g.Cluster || r.self != g.To:
		return refused{Refusal: &Refusal{Reason: fmt.Sprintf("it is member %x of cluster %x, not member %x of cluster %x",
			uint64(r.self), r.cluster, uint64(g.To), g.Cluster)}}
	case r.version < minVersion || r.version > maxVersion:
		return fmt.Errorf("it wants version %d of the protocol between members, this one speaks %d to %d", r.version, minVersion, maxVersion)
	case r.new && c.admit != nil:
		if refusal := c.admit(Hello{Cluster: r.cluster, From: r.self, To: g.From, New: true}); refusal != nil {
			return refusal // the wish to speak is this member's: nobody was refused
		}
	}
	return nil
}

// Dialer is what a member uses that has no Transport yet, because it is to join.
type Dialer struct {
	// Dial connects to a peer URL, TLS done.
	Dial func(ctx context.Context, url string) (net.Conn, error)
}

// Probe asks for who who is at a URL. Its error says what is there instead.
func (d Dialer) Probe(ctx context.Context, url string, who Newcomer) (Introduction, error) {
	g := greeting{Hello: who.Hello, peerURLs: who.PeerURLs, min: minVersion, max: maxVersion, purpose: forProbe}
	conn, kind, body, err := caller{dial: d.Dial, timeout: defaultTimeout}.call(ctx, url, &g)
	if err != nil {
		return Introduction{}, fmt.Errorf("%s: %w", url, err)
	}
	_ = conn.Close() // it has said what it had to say
	if kind == frameIntroduction {
		i, err := decodeIntroduction(body)
		if err != nil {
			return Introduction{}, fmt.Errorf("%s: %w", url, err)
		}
		return i, nil
	}
	r, err := decodeReply(kind, body)
	switch {
	case err != nil:
	case r.refusal != nil:
		err = r.refusal
	default:
		err = errors.New("it does not say who it is")
	}
	return Introduction{}, fmt.Errorf("%s: %w", url, err)
}

// Open is Transport.Open for one that says who it is. A *Refusal is among the error's
// causes if there is one.
func (d Dialer) Open(ctx context.Context, url string, hello Hello) (net.Conn, error) {
	g := greeting{Hello: hello, min: minVersion, max: maxVersion, purpose: forTransfer}
	conn, err := caller{dial: d.Dial, timeout: defaultTimeout}.enter(ctx, url, &g)
	if err != nil {
		return nil, core.Errorf(core.Timeout, "%s: %w", url, err)
	}
	return conn, nil
}
