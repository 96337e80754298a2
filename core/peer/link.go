package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
)

const (
	// minPause and maxPause bound the pause after an attempt that failed: it doubles.
	// A peer that connects to this member ends it. maxRefusedPause is that after one
	// that was refused, as nothing changes soon.
	minPause        = 20 * time.Millisecond
	maxPause        = 250 * time.Millisecond
	maxRefusedPause = 5 * time.Second

	// provenAfter is how long a connection must last for the next attempt to be made at once.
	provenAfter = time.Second

	// beatsPerTimeout is how many signs of life there are in a read timeout.
	beatsPerTimeout = 3

	// readBuffer is what is read at a time at most, of small frames.
	readBuffer = 64 << 10
)

// link is the way from this member to another: one connection at a time, which its
// goroutine makes, and makes again.
type link struct {
	t       *Transport
	id      core.MemberID
	out     outbox
	asked   questions
	traffic *traffic
	// stop ends the goroutine, for the given reason.
	stop context.CancelCauseFunc
	// nudge has it try again now. Capacity 1.
	nudge chan struct{}

	// mu guards what follows.
	mu     sync.Mutex
	name   string
	urls   []string
	status Status
	// current is the URL that is connected to, and drop ends the connection; nil if there is
	// none.
	current string
	drop    context.CancelCauseFunc
}

func newLink(t *Transport, m *core.Member, counted *traffic) *link {
	l := &link{t: t, id: m.ID, traffic: counted, nudge: make(chan struct{}, 1), status: Status{ID: m.ID, Err: errNotTried}}
	l.out.owed = true // what was sent to it before it was known is lost
	l.set(m)
	return l
}

var (
	errNotTried = errors.New("not yet tried")
	errMoved    = errors.New("its peer URLs changed")
	errGone     = errors.New("it is no member any more")
	errStopping = errors.New("this member is stopping")
)

// set says where the peer is. A connection to elsewhere ends.
func (l *link) set(m *core.Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.name = m.Name
	if slices.Equal(l.urls, m.PeerURLs) {
		return
	}
	l.urls = slices.Clone(m.PeerURLs)
	if l.drop != nil && !slices.Contains(l.urls, l.current) {
		l.drop(errMoved)
	}
	l.poke()
}

// poke ends a pause.
func (l *link) poke() {
	select {
	case l.nudge <- struct{}{}:
	default: // a token is there already
	}
}

// run connects until ctx ends.
func (l *link) run(ctx context.Context) {
	var pause backoff
	var absences int
	l.t.config.OnLink(l.id, false)
	for attempt := 0; ctx.Err() == nil; attempt++ {
		began := time.Now()
		err := l.attempt(ctx, attempt)
		if ctx.Err() != nil {
			return
		}
		l.fail(err)
		if l.out.owes() {
			l.t.config.Handler.Broken(l.id)
		}
		absences = l.missed(err, absences)
		if time.Since(began) > provenAfter && !isRefusal(err) {
			pause = backoff{}
		}
		select {
		case <-time.After(pause.next(isRefusal(err), rand.Float64())):
		case <-l.nudge:
		case <-ctx.Done():
		}
	}
}

// missed looks whether the peer is gone, after an attempt, and so many before it to which
// nobody was there. It returns how many there are now.
func (l *link) missed(err error, absences int) int {
	var nobody absent
	if !errors.As(err, &nobody) {
		return 0
	}
	if absences++; absences >= l.ways() && !l.t.inbound.has(l.id) {
		l.t.config.OnGone(l.id)
	}
	return absences
}

func isRefusal(err error) bool {
	var r refused
	return errors.As(err, &r)
}

// backoff is the pauses between attempts. The zero value begins with the shortest.
type backoff struct{ last time.Duration }

// next is the next pause: twice the last one, less up to half of it by chance (0 to 1),
// so that members do not try in step.
func (b *backoff) next(refused bool, chance float64) time.Duration {
	longest := maxPause
	if refused {
		longest = maxRefusedPause
	}
	b.last = min(max(2*b.last, minPause), longest)
	return b.last - time.Duration(chance*float64(b.last)/2)
}

// attempt connects to one of the URLs in turn, and stays until the connection ends. It
// returns why it did.
func (l *link) attempt(ctx context.Context, attempt int) error {
	url, err := l.url(attempt)
	if err != nil {
		return err
	}
	conn, err := l.t.caller.enter(ctx, url, l.t.greeting(l.id, forStream))
	if err != nil {
		l.complain(ctx, url, err)
		return unreached{url, err}
	}
	if l.t.sparing.due(remark{l.about(), "connected"}, time.Now()) {
		l.t.log.Info("connected to a peer", "peer", l.about(), "url", url)
	}
	if err = l.serve(ctx, url, conn); errors.Is(err, io.EOF) {
		err = errors.New("it closed the connection")
	}
	l.traffic.disconnects.Add(1)
	if ctx.Err() == nil && l.t.sparing.due(remark{l.about(), "lost: " + reasonOf(err)}, time.Now()) {
		l.t.log.Warn("lost the connection to a peer", "peer", l.about(), "url", url, "error", err)
	}
	return unreached{url, err}
}

// unreached is why there is no connection to a URL, in which no other address is named.
type unreached struct {
	url string
	err error
}

func (u unreached) Error() string { return u.url + ": " + reasonOf(u.err) }
func (u unreached) Unwrap() error { return u.err }

func (l *link) url(attempt int) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.urls) == 0 {
		return "", errors.New("no peer URL of it is known")
	}
	return l.urls[attempt%len(l.urls)], nil
}

// ways is how many URLs there are.
func (l *link) ways() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.urls)
}

func (l *link) about() string { return fmt.Sprintf("%x", uint64(l.id)) }

// complain logs that there is no way to the peer, and passes on that it refuses this
// member for good.
func (l *link) complain(ctx context.Context, url string, err error) {
	if ctx.Err() != nil {
		return
	}
	var r refused
	text := "a peer cannot be reached"
	if errors.As(err, &r) {
		text = "a peer refuses this member"
	}
	if l.t.sparing.due(remark{l.about(), reasonOf(err)}, time.Now()) {
		l.t.log.Warn(text, "peer", l.about(), "url", url, "error", err)
	}
	if r.Refusal != nil && (r.Removed || r.Forgotten) && r.proven {
		l.t.config.Handler.Refused(l.id, r.Refusal)
	}
}

// serve speaks on a connection until it ends, and returns why it did.
func (l *link) serve(parent context.Context, url string, conn net.Conn) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // a read or a write may be under way
	for !l.out.open(cancel, rawWriter(conn)) {
		if l.out.owes() {
			l.t.config.Handler.Broken(l.id)
		}
	}
	l.t.config.OnLink(l.id, true)
	timed := l.t.timed(conn, l.traffic)
	l.connected(url, cancel)
	started := time.Now()
	var reading sync.WaitGroup
	reading.Go(func() { cancel(l.read(timed, started)) })
	p := pump{conn: timed, out: &l.out, every: l.t.config.ReadTimeout / beatsPerTimeout, beat: func(b []byte) []byte {
		var now [8]byte
		binary.LittleEndian.PutUint64(now[:], uint64(time.Since(started)))
		return appendFrame(b, framePing, now[:], nil)
	}}
	cancel(p.run(ctx))
	_ = conn.Close() // why it ended is known
	reading.Wait()
	l.out.shut()
	l.t.config.OnLink(l.id, false)
	err := context.Cause(ctx)
	l.asked.fail(core.Errorf(core.Timeout, "the connection to member %x broke: %w", uint64(l.id), err))
	return err
}

// read takes in the peer's answers and signs of life.
func (l *link) read(conn *timedConn, started time.Time) error {
	frames := frameReader{r: bufio.NewReaderSize(conn, readBuffer), max: answerHead + maxQuestion}
	for {
		kind, body, err := frames.next()
		if err != nil {
			return err
		}
		switch kind {
		case frameAlive:
		case framePong:
			if len(body) != 8 {
				return fmt.Errorf("a pong of %d bytes", len(body))
			}
			l.measured(time.Since(started) - time.Duration(binary.LittleEndian.Uint64(body)))
		case frameAnswer, frameFailure:
			id, rest, err := decodeAnswer(body)
			if err != nil {
				return err
			}
			if kind == frameFailure {
				l.asked.settle(id, answer{err: decodeError(rest)})
			} else {
				l.asked.settle(id, answer{body: rest})
			}
		default:
			return fmt.Errorf("a frame of kind %d has no place here", kind)
		}
	}
}

func (l *link) connected(url string, drop context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = Status{ID: l.id, Since: time.Now()}
	l.current, l.drop = url, drop
	if !slices.Contains(l.urls, url) {
		drop(errMoved) // in the meantime
	}
}

func (l *link) measured(rtt time.Duration) {
	l.traffic.observe(rtt)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.RTT = rtt
}

func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = Status{ID: l.id, RTT: l.status.RTT, Err: err}
	l.current, l.drop = "", nil
}

func (l *link) state() (Status, Stats) {
	s := l.traffic.stats()
	l.mu.Lock()
	defer l.mu.Unlock()
	s.ID, s.Name, s.Active = l.id, l.name, l.status.Err == nil
	return l.status, s
}
