package peer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core"
)

// wire is a connection that takes so many bytes at a time.
type wire struct {
	bytes.Buffer
	room int
}

func (w *wire) raw(b []byte) int {
	n, _ := w.Write(b[:min(len(b), w.room)])
	return n
}

// words are the messages that went over the wire.
func (w *wire) words(t *testing.T) (all []string) {
	t.Helper()
	frames := frameReader{r: bytes.NewReader(w.Bytes()), max: maxFrame}
	for {
		_, body, err := frames.next()
		if err != nil {
			return all
		}
		m := text("")
		require.NoError(t, proto.Unmarshal(body, m))
		all = append(all, m.Value)
	}
}

// openOutbox opens one whose pump sleeps.
func openOutbox(t *testing.T, w *wire) *outbox {
	t.Helper()
	o := new(outbox)
	require.True(t, o.open(func(error) {}, w.raw))
	_, idle := o.take(nil)
	require.True(t, idle)
	return o
}

// A message that nothing is in front of is written by who sends it; the pump sleeps on.
func TestSenderWritesItself(t *testing.T) {
	w, counted := &wire{room: 1 << 20}, new(traffic)
	o := openOutbox(t, w)
	require.True(t, o.send([]proto.Message{text("a"), text("b")}, counted))
	require.True(t, o.send([]proto.Message{text("c")}, counted))
	require.Empty(t, o.wake)
	require.Equal(t, []string{"a", "b", "c"}, w.words(t))
	require.EqualValues(t, 3, counted.sentMessages.Load())
	require.EqualValues(t, w.Len(), counted.sentBytes.Load())

	large := strings.Repeat("x", maxExpress)
	require.True(t, o.send([]proto.Message{text("%s", large)}, counted))
	require.Len(t, o.wake, 1, "what takes long is the pump's")
	require.True(t, o.send([]proto.Message{text("d")}, counted))
	require.Equal(t, []string{"a", "b", "c"}, w.words(t), "it goes behind the large one")
	items, _ := o.take(nil)
	require.Len(t, items, 2)
}

// What the connection has no room for is the pump's, and comes before all that follows.
func TestRestGoesFirst(t *testing.T) {
	w, counted := &wire{room: 5}, new(traffic)
	o := openOutbox(t, w)
	require.True(t, o.send([]proto.Message{text("begun")}, counted))
	require.Len(t, o.wake, 1)
	w.room = 1 << 20
	require.True(t, o.send([]proto.Message{text("behind")}, counted))
	require.Equal(t, 5, w.Len(), "nobody gets in front")
	items, idle := o.take(nil)
	require.False(t, idle)
	require.Len(t, items, 1)
	p := pump{conn: &timedConn{Conn: bufferConn{Conn: nil, wire: w}, traffic: counted}, out: o}
	require.NoError(t, p.write(items))
	require.Equal(t, []string{"begun", "behind"}, w.words(t))
	_, idle = o.take(items)
	require.True(t, idle)
	require.True(t, o.send([]proto.Message{text("again")}, counted))
	require.Equal(t, []string{"begun", "behind", "again"}, w.words(t))
}

// bufferConn is a connection to a wire.
type bufferConn struct {
	net.Conn
	wire *wire
}

func (c bufferConn) Write(b []byte) (int, error)      { return c.wire.Write(b) }
func (c bufferConn) SetWriteDeadline(time.Time) error { return nil }

// Behind a message that cannot be sent nothing goes out on the connection, which the pump
// ends for it: there would be a gap.
func TestNothingBehindWhatCannotBeSent(t *testing.T) {
	w, counted := &wire{room: 1 << 20}, new(traffic)
	o := openOutbox(t, w)
	require.True(t, o.send([]proto.Message{text("a"), text("\xff is no text"), text("b")}, counted))
	require.Equal(t, []string{"a"}, w.words(t))
	require.Len(t, o.wake, 1)
	items, _ := o.take(nil)
	require.Len(t, items, 2)
	p := pump{conn: &timedConn{Conn: bufferConn{Conn: nil, wire: w}, traffic: counted}, out: o}
	require.ErrorContains(t, p.write(items), "UTF-8")
	require.Equal(t, []string{"a"}, w.words(t))
}

// While the pump writes, be it a sign of life, nobody gets into its frames.
func TestSenderKeepsOutOfThePump(t *testing.T) {
	w, counted := &wire{room: 1 << 20}, new(traffic)
	o := openOutbox(t, w)
	o.writing.Lock()
	require.True(t, o.send([]proto.Message{text("a")}, counted))
	require.Zero(t, w.Len())
	require.Len(t, o.wake, 1)
	o.writing.Unlock()
}

// What was begun on a connection that ended is not gone on with on the next.
func TestRestEndsWithItsConnection(t *testing.T) {
	w, counted := &wire{room: 5}, new(traffic)
	o := openOutbox(t, w)
	raw, generation := o.enter(100)
	require.NotNil(t, raw)
	o.shut()
	require.True(t, o.owes(), "it may be lost")
	require.True(t, o.open(func(error) {}, w.raw))
	o.write(raw, generation, []item{{kind: frameMessage, message: text("late")}}, counted)
	require.Empty(t, o.begun())
	o.shut()
	require.False(t, o.send([]proto.Message{text("x")}, counted), "it is closed")
	require.True(t, o.owes())
}

// Over a real connection whose other end reads now and then, small and large messages
// keep their order, whoever writes them.
func TestSendersAndPumpKeepTheOrder(t *testing.T) {
	var r *relay
	b := newTestPeer(t, 2)
	r = newRelay(t, b.url)
	a := newTestPeer(t, 1)
	there := b.member()
	there.PeerURLs = []string{r.listener.Addr().String()}
	a.SetMembers([]core.Member{there})
	a.awaitUp(t)
	const n = 3000
	for i := range n {
		if i%500 == 100 {
			r.set(false, true)
		}
		if i%500 == 400 {
			r.set(false, false)
		}
		size := rand.IntN(40)
		if rand.IntN(10) == 0 {
			size = rand.IntN(4 * maxExpress)
		}
		a.Send(2, text("%d %s", i, strings.Repeat("x", size)))
	}
	r.set(false, false)
	eventually(t, "all there", func() bool { return len(b.r.heard()) >= n })
	next := 0
	for _, word := range b.r.heard() {
		var i int
		if _, err := fmt.Sscanf(word, "%d", &i); err != nil {
			continue // that a way is new
		}
		require.Equal(t, next, i)
		next++
	}
	require.Equal(t, n, next)
}
