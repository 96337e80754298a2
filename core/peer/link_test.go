package peer

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/triglot/triglot/core"
)

// relay passes bytes on, until it is told not to.
type relay struct {
	listener net.Listener
	to       string
	wait     sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	// mute swallows what comes, stuck does not even read it; both in one direction.
	mute, stuck bool
	changed     *sync.Cond
}

func newRelay(t testing.TB, to string) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{listener: l, to: to}
	r.changed = sync.NewCond(&r.mu)
	r.wait.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, in, out)
			r.mu.Unlock()
			r.wait.Go(func() { r.pass(in, out, true) })
			r.wait.Go(func() { r.pass(out, in, false) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.set(false, false)
		r.cut()
		r.wait.Wait()
	})
	return r
}

func (r *relay) pass(from, to net.Conn, there bool) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		r.mu.Lock()
		for there && r.stuck {
			r.changed.Wait()
		}
		r.mu.Unlock()
		n, err := from.Read(b)
		if err != nil {
			return
		}
		r.mu.Lock()
		swallow := there && r.mute
		r.mu.Unlock()
		if swallow {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (r *relay) set(mute, stuck bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute, r.stuck = mute, stuck
	r.changed.Broadcast()
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}

func (r *relay) url() string { return r.listener.Addr().String() }

// through is two members, the first of which reaches the second through a relay.
func through(t testing.TB, change ...func(*Config)) (*testPeer, *testPeer, *relay) {
	a, b := newTestPeer(t, 1, change...), newTestPeer(t, 2, change...)
	r := newRelay(t, b.url)
	a.SetMembers([]core.Member{{ID: 2, PeerURLs: []string{r.url()}}})
	a.awaitUp(t)
	return a, b, r
}

func quick(c *Config) { c.ReadTimeout, c.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond }

// TestNoGapWithinAStream: connections are cut while numbers are sent. On each stream the
// receiver sees numbers that follow each other, and between two streams the sender was
// told that something may be lost.
func TestNoGapWithinAStream(t *testing.T) {
	a, b, r := through(t)
	stop := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			// Every message says after how many breaks it was sent, as consensus numbers streams.
			a.r.between(func(broken int) { a.Send(2, text("%d %d", broken, i)) })
			if i%100 == 0 {
				<-time.After(time.Millisecond)
			}
		}
	})
	for range 10 {
		before := len(b.r.heard())
		eventually(t, "some arrive", func() bool { return len(b.r.heard()) > before+50 })
		r.cut()
	}
	close(stop)
	sending.Wait()
	b.Stop() // nothing comes any more
	last := map[int]int{}
	newest := 0
	for _, m := range b.r.heard() {
		if strings.HasPrefix(m, "broken") {
			continue
		}
		stream, number, _ := strings.Cut(m, " ")
		s, err := strconv.Atoi(stream)
		require.NoError(t, err)
		n, err := strconv.Atoi(number)
		require.NoError(t, err)
		require.GreaterOrEqual(t, s, newest, "a message of a former stream came late")
		newest = s
		if before, ok := last[s]; ok && n != before+1 {
			t.Fatalf("after %d came %d in stream %d", before, n, s)
		}
		last[s] = n
	}
	require.GreaterOrEqual(t, newest, 10)
}

// TestSilenceBreaks: whichever way nothing comes through, and whether or not anything is
// sent, the connection ends within the timeout, and another works when it can.
func TestSilenceBreaks(t *testing.T) {
	for name, mute := range map[string]bool{"what is sent vanishes": true, "nothing is taken": false} {
		t.Run(name, func(t *testing.T) {
			a, _, r := through(t, quick)
			since := a.Peers()[0].Since
			r.set(mute, !mute)
			eventually(t, "broken", func() bool { return a.Peers()[0].Err != nil })
			require.Zero(t, a.Peers()[0].Since)
			r.set(false, false)
			a.awaitUp(t)
			require.True(t, a.Peers()[0].Since.After(since))
		})
	}
}

// TestQuietIsNotSilence: a connection on which nobody has anything to say stays.
func TestQuietIsNotSilence(t *testing.T) {
	a, _ := pair(t, quick)
	var since time.Time
	var measured uint64
	eventually(t, "eight round trips, 100 ms each, on one connection", func() bool {
		count := a.Stats()[0].RTT.Count
		if now := a.Peers()[0].Since; !now.Equal(since) { // a busy machine may be late for once
			since, measured = now, count
		}
		return count >= measured+8
	})
}

// TestOverflow: what a peer does not take is dropped, and the sender is told.
func TestOverflow(t *testing.T) {
	a, b, r := through(t, func(c *Config) { c.ReadTimeout, c.WriteTimeout = time.Minute, time.Minute })
	told := len(a.r.heard())
	r.set(false, true)
	large := wrapperspb.String(strings.Repeat("x", 8<<20))
	for range maxQueued>>23 + 4 {
		a.Send(2, large)
	}
	eventually(t, "told", func() bool { return len(a.r.heard()) > told })
	require.Contains(t, a.log.String(), errOverflow.Error())
	require.Positive(t, a.Stats()[0].SentFailures)
	r.set(false, false)
	a.awaitUp(t)
	a.Send(2, text("again"))
	eventually(t, "heard", func() bool { return b.r.last() == "again" })
}

// TestBrokenIsTold whenever something was sent that may be lost, and not else.
func TestBrokenIsTold(t *testing.T) {
	a, _, r := through(t)
	require.Equal(t, []string{"broken 2"}, a.r.heard(), "what was sent before it was known")
	for range 3 { // nothing was sent
		since := a.Peers()[0].Since
		r.cut()
		eventually(t, "another", func() bool { return a.Peers()[0].Since.After(since) })
	}
	require.Len(t, a.r.heard(), 1)
	a.Send(2, text("x"))
	r.cut()
	eventually(t, "told", func() bool { return len(a.r.heard()) == 2 })
	a.awaitUp(t)
	// While there is no connection, too; and at each attempt no more than once.
	require.NoError(t, r.listener.Close())
	r.cut()
	eventually(t, "lost", func() bool { return a.Peers()[0].Err != nil })
	before := len(a.r.heard())
	for range 100 {
		a.Send(2, text("x"))
	}
	eventually(t, "told", func() bool { return len(a.r.heard()) > before })
	require.Less(t, len(a.r.heard()), before+10)
}

// TestOnLink: no way at first; then one, none, one, and each is told before Broken.
func TestOnLink(t *testing.T) {
	links := new(recorder)
	a, _, r := through(t, func(c *Config) {
		if handler := c.Handler.(*recorder); c.Self == 1 {
			links = handler
			c.OnLink = func(to core.MemberID, up bool) { handler.note(fmt.Sprintf("up %v", up)) }
		}
	})
	a.Send(2, text("x"))
	r.cut()
	want := []string{"up false", "broken 2", "up true", "up false", "broken 2", "up true"}
	eventually(t, "up again", func() bool { return len(links.heard()) >= len(want) })
	require.Equal(t, want, links.heard()[:len(want)])
}

// TestURLsInTurn: of several peer URLs one that works is found; if they change, the
// connection follows.
func TestURLsInTurn(t *testing.T) {
	a, b, c := newTestPeer(t, 1), newTestPeer(t, 2), newTestPeer(t, 2)
	a.SetMembers([]core.Member{{ID: 2, PeerURLs: []string{"127.0.0.1:1"}}})
	const refused = "127.0.0.1:1: dial: connect: connection refused"
	eventually(t, "refused", func() bool { return a.Peers()[0].Err.Error() == refused })
	_, err := a.Ask(t.Context(), 2, 1, nil)
	require.EqualError(t, err, "request timed out: there is no connection to member 2: "+refused)
	a.SetMembers([]core.Member{{ID: 2, PeerURLs: []string{"127.0.0.1:1", b.url}}})
	a.awaitUp(t)
	a.SetMembers([]core.Member{{ID: 2, PeerURLs: []string{b.url, "127.0.0.1:1"}}})
	a.Send(2, text("to b"))
	eventually(t, "heard", func() bool { return len(b.r.heard()) == 1 })
	a.SetMembers([]core.Member{c.member()})
	eventually(t, "heard", func() bool {
		a.Send(2, text("to c"))
		return len(c.r.heard()) > 0
	})
	a.SetMembers(nil)
	require.Empty(t, a.Peers())
	_, err = a.Open(t.Context(), 2)
	require.ErrorIs(t, err, core.Timeout)
	eventually(t, "c is left", func() bool {
		c.inbound.mu.Lock()
		defer c.inbound.mu.Unlock()
		return len(c.inbound.streams) == 0
	})
}

// TestMembersThatGoAreLeft: their connections to this member end, too.
func TestMembersThatGoAreLeft(t *testing.T) {
	a, b := pair(t)
	b.r.mu.Lock()
	b.r.refuse = func(Hello) *Refusal { return &Refusal{Removed: true, Reason: "gone"} }
	b.r.mu.Unlock()
	b.SetMembers([]core.Member{b.member()})
	eventually(t, "refused", func() bool { return isRefusal(a.Peers()[0].Err) })
}

// TestPokedByWhoConnects: one whose attempts have become rare tries again when the
// other connects.
func TestPokedByWhoConnects(t *testing.T) {
	a := newTestPeer(t, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	url := l.Addr().String()
	require.NoError(t, l.Close())
	a.SetMembers([]core.Member{{ID: 2, PeerURLs: []string{url}}})
	link := a.link(2)
	eventually(t, "tried", func() bool { return a.Peers()[0].Err != errNotTried })
	a.arrived(2)
	eventually(t, "tried again", func() bool { return len(link.nudge) == 0 })
}

// TestLargeMessage is larger than what is allocated, and written, at a time.
func TestLargeMessage(t *testing.T) {
	a, b := pair(t)
	a.Send(2, wrapperspb.String(strings.Repeat("x", 40<<20)))
	a.Send(2, text("after"))
	eventually(t, "heard", func() bool { return b.r.last() == "after" })
	require.Len(t, b.r.heard(), 3)
}

// TestAnswersAreBounded: more questions than may be answered at a time are refused, and
// messages pass them by.
func TestAnswersAreBounded(t *testing.T) {
	a, b := pair(t)
	release := make(chan struct{})
	b.r.answer = func(context.Context, uint8, []byte) ([]byte, error) {
		<-release
		return []byte("ok"), nil
	}
	errs := make(chan error, maxAnswering+10)
	for range maxAnswering + 10 {
		go func() {
			_, err := a.Ask(t.Context(), 2, 1, nil)
			errs <- err
		}()
	}
	for range 10 {
		require.ErrorIs(t, <-errs, core.TooManyRequests)
	}
	a.Send(2, text("x"))
	eventually(t, "heard", func() bool { return b.r.last() == "x" })
	close(release)
	for range maxAnswering {
		require.NoError(t, <-errs)
	}
}

// TestStopDuringEverything leaves nothing behind: TestMain looks for goroutines.
func TestStopDuringEverything(t *testing.T) {
	a, b := pair(t)
	b.r.answer = func(ctx context.Context, _ uint8, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	b.r.transfer = func(_ context.Context, conn net.Conn) error {
		_, err := io.Copy(io.Discard, conn)
		return err
	}
	conn, err := a.Open(t.Context(), 2)
	require.NoError(t, err)
	defer conn.Close()
	mute, err := net.Dial("tcp", b.url)
	require.NoError(t, err)
	defer mute.Close()
	var asking sync.WaitGroup
	for range 10 {
		asking.Go(func() { _, _ = a.Ask(t.Context(), 2, 1, nil) })
	}
	for i := range 1000 {
		a.Send(2, text("%d", i))
	}
	b.Stop()
	asking.Wait()
	a.Stop()
	a.SetMembers([]core.Member{b.member()})
	a.Send(2, text("late"))
	_, err = a.Ask(t.Context(), 2, 1, nil)
	require.Error(t, err)
	_, err = a.Open(t.Context(), 2)
	require.Error(t, err)
}

func TestBackoff(t *testing.T) {
	var b backoff
	var got []string
	for range 6 {
		got = append(got, b.next(false, 0).String())
	}
	require.Equal(t, "[20ms 40ms 80ms 160ms 250ms 250ms]", fmt.Sprint(got))
	require.Equal(t, 500*time.Millisecond, b.next(true, 0))
	require.Equal(t, 500*time.Millisecond, b.next(true, 1))
	require.Equal(t, 1500*time.Millisecond, b.next(true, 0.5))
	require.Equal(t, 4*time.Second, b.next(true, 0))
	require.Equal(t, 5*time.Second, b.next(true, 0))
	require.Equal(t, maxPause, b.next(false, 0))
}

func TestSparing(t *testing.T) {
	var s sparing
	now := time.Now()
	require.True(t, s.due(remark{"a", "x"}, now))
	require.False(t, s.due(remark{"a", "x"}, now.Add(59*time.Second)))
	require.True(t, s.due(remark{"b", "x"}, now))
	require.True(t, s.due(remark{"a", "x"}, now.Add(time.Minute)))
	for i := range 2 * maxSpared {
		s.due(remark{"c", strconv.Itoa(i)}, now)
	}
	require.Len(t, s.told, maxSpared)
	require.True(t, s.due(remark{"d", "x"}, now.Add(time.Hour)))
}
