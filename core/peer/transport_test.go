package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/triglot/triglot/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a Handler that remembers.
type recorder struct {
	mu       sync.Mutex
	messages []string // what came, and "broken" where something may be lost
	broken   int      // how often
	removed  []core.MemberID
	forgot   []core.MemberID
	refuse   func(Hello) *Refusal
	answer   func(ctx context.Context, kind uint8, body []byte) ([]byte, error)
	transfer func(ctx context.Context, conn net.Conn) error
}

func (r *recorder) Message(from core.MemberID, body []byte) {
	m := new(wrapperspb.StringValue)
	if err := unmarshal(body, m); err != nil {
		m.Value = err.Error()
	}
	r.note(m.Value)
}

func (r *recorder) Broken(to core.MemberID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken++
	r.messages = append(r.messages, fmt.Sprintf("broken %x", uint64(to)))
}

// between does something while nothing can break unnoticed.
func (r *recorder) between(do func(broken int)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do(r.broken)
}

func (r *recorder) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, s)
}

func (r *recorder) Answer(ctx context.Context, _ core.MemberID, kind uint8, body []byte) ([]byte, error) {
	return r.answer(ctx, kind, body)
}

func (r *recorder) Transfer(ctx context.Context, _ core.MemberID, conn net.Conn) error {
	return r.transfer(ctx, conn)
}

func (r *recorder) Admit(h Hello) *Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse == nil {
		return nil
	}
	return r.refuse(h)
}

func (r *recorder) Introduce(who Newcomer) (Introduction, error) {
	if who.Name == "" {
		return testIntroduction, nil
	}
	return testIntroduction, fmt.Errorf("nobody knows %v", who)
}

func (r *recorder) Refused(by core.MemberID, why *Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if why.Removed {
		r.removed = append(r.removed, by)
	}
	if why.Forgotten {
		r.forgot = append(r.forgot, by)
	}
}

func (r *recorder) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.messages...)
}

// last is what was heard last.
func (r *recorder) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.messages) == 0 {
		return ""
	}
	return r.messages[len(r.messages)-1]
}

// testLog gathers lines.
type testLog struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

const testCluster = 0xc0ffee

// testPeer is a member with a transport.
type testPeer struct {
	*Transport
	r   *recorder
	log *testLog
	url string
	id  core.MemberID
}

func dialTCP(ctx context.Context, url string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", url)
}

func newTestPeer(t testing.TB, id core.MemberID, change ...func(*Config)) *testPeer {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &testPeer{r: new(recorder), log: new(testLog), url: listener.Addr().String(), id: id}
	c := Config{
		Cluster: testCluster, Self: id, Name: fmt.Sprintf("m%d", id), Listeners: []net.Listener{listener}, Dial: dialTCP,
		Handler: p.r, Logger: slog.New(slog.NewTextHandler(p.log, nil)),
	}
	for _, f := range change {
		f(&c)
	}
	p.Transport, err = Start(c)
	require.NoError(t, err)
	t.Cleanup(p.Stop)
	return p
}

func (p *testPeer) member() core.Member { return core.Member{ID: p.id, PeerURLs: []string{p.url}} }

// pair is two members that are connected.
func pair(t testing.TB, change ...func(*Config)) (*testPeer, *testPeer) {
	a, b := newTestPeer(t, 1, change...), newTestPeer(t, 2, change...)
	members := []core.Member{a.member(), b.member()}
	a.SetMembers(members)
	b.SetMembers(members)
	a.awaitUp(t)
	b.awaitUp(t)
	return a, b
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, time.Millisecond, what)
}

func (p *testPeer) awaitUp(t testing.TB) {
	t.Helper()
	eventually(t, "connected", func() bool {
		peers := p.Peers()
		return len(peers) > 0 && peers[0].Err == nil
	})
}

func text(format string, args ...any) *wrapperspb.StringValue {
	return wrapperspb.String(fmt.Sprintf(format, args...))
}

func TestMessagesArriveInOrder(t *testing.T) {
	a, b := pair(t)
	const n = 10_000
	for i := range n {
		a.Send(2, text("%d", i))
	}
	eventually(t, "all there", func() bool { return len(b.r.heard()) >= n })
	// A way that is new says once that what was sent before may be lost.
	got := b.r.heard()[1:]
	for i := range n - 1 {
		require.Equal(t, fmt.Sprint(i), got[i])
	}
	require.Positive(t, a.Peers()[0].RTT)
	stats := a.Stats()[0]
	require.EqualValues(t, n, stats.SentMessages)
	require.Zero(t, stats.SentFailures)
	require.EqualValues(t, n, b.Stats()[0].ReceivedMessages)
}

func TestAsk(t *testing.T) {
	a, b := pair(t)
	b.r.answer = func(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
		_, hasDeadline := ctx.Deadline()
		switch kind {
		case 1:
			return append([]byte("you said "), body...), nil
		case 2:
			return nil, core.NotLeader
		case 3:
			return nil, core.Errorf(core.NoSpace, "the disk of %x", 7)
		case 4:
			return nil, errors.New("no kind")
		}
		<-ctx.Done()
		return nil, fmt.Errorf("deadline: %v: %w", hasDeadline, ctx.Err())
	}
	ctx := t.Context()
	got, err := a.Ask(ctx, 2, 1, []byte("hello"))
	require.NoError(t, err)
	require.Equal(t, "you said hello", string(got))
	_, err = a.Ask(ctx, 2, 2, nil)
	require.Equal(t, core.NotLeader, err)
	_, err = a.Ask(ctx, 2, 3, nil)
	require.ErrorIs(t, err, core.NoSpace)
	require.EqualError(t, err, "out of space: the disk of 7")
	_, err = a.Ask(ctx, 2, 4, nil)
	require.EqualError(t, err, "internal error: no kind")
	_, err = a.Ask(ctx, 9, 1, nil)
	require.ErrorIs(t, err, core.Timeout)
	_, err = a.Ask(ctx, 2, 1, make([]byte, maxQuestion+1))
	require.ErrorIs(t, err, core.RequestTooLarge)

	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = a.Ask(short, 2, 5, nil)
	require.ErrorIs(t, err, core.Deadline)

	broken := make(chan error)
	go func() {
		_, err := a.Ask(ctx, 2, 5, nil)
		broken <- err
	}()
	eventually(t, "asked", func() bool {
		l := a.link(2)
		l.asked.mu.Lock()
		defer l.asked.mu.Unlock()
		return len(l.asked.waiting) == 1
	})
	b.Stop()
	require.ErrorIs(t, <-broken, core.Timeout)
}

func TestTransfer(t *testing.T) {
	a, b := pair(t)
	b.r.transfer = func(_ context.Context, conn net.Conn) error {
		_, err := io.Copy(conn, conn)
		return err
	}
	conn, err := a.Open(t.Context(), 2)
	require.NoError(t, err)
	_, err = conn.Write([]byte("state"))
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, "state", string(got))
	require.NoError(t, conn.Close())

	b.r.mu.Lock()
	b.r.refuse = func(Hello) *Refusal { return &Refusal{Reason: "not you"} }
	b.r.mu.Unlock()
	_, err = a.Open(t.Context(), 2)
	require.ErrorIs(t, err, core.Timeout)
	var r *Refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, "not you", r.Reason)
	_, err = Dialer{Dial: dialTCP}.Open(t.Context(), b.url, Hello{Cluster: testCluster, From: 1, To: 2})
	require.ErrorAs(t, err, &r)
}
