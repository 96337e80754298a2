package peer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"
)

// TestOutboxModel: whatever happens in whatever order, what is taken on a connection are
// the messages put since it was opened, without a gap; and before another is opened
// somebody was told of each that was put before and may be lost.
func TestOutboxModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var o outbox
		next := int64(0)    // number of the next message
		due := int64(0)     // number of the next one to be taken
		untold := false     // a message was put, and nobody was told since
		isOpen := false     // the outbox
		overflowed := false // which ends the connection
		finished, queued := 0, 0
		size := rapid.SampledFrom([]int{1, maxQueued / 3}).Draw(rt, "size")
		take := func() {
			items, _ := o.take(nil)
			for _, it := range items {
				if it.kind == frameMessage {
					require.Equal(rt, due, it.message.(*wrapperspb.Int64Value).Value)
					due++
				}
				it.finish()
				o.wrote(it.size + itemOverhead)
			}
		}
		put := func(kind frameKind) {
			it := item{kind: kind, size: size, done: func() { finished++ }}
			if kind == frameMessage {
				it.message, untold = wrapperspb.Int64(next), true
				next++
			}
			if o.put(it) {
				require.True(rt, isOpen && !overflowed)
				queued++
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"message":  func(*rapid.T) { put(frameMessage) },
			"question": func(*rapid.T) { put(frameQuestion) },
			"take": func(*rapid.T) {
				if isOpen {
					take()
				}
			},
			"open": func(*rapid.T) {
				if isOpen {
					return
				}
				isOpen = o.open(func(error) { overflowed = true }, nil)
				require.Equal(rt, !untold, isOpen)
				due, overflowed = next, false
			},
			"shut": func(*rapid.T) {
				o.shut()
				isOpen = false
				require.Equal(rt, queued, finished)
			},
			"tell": func(*rapid.T) {
				if !isOpen {
					require.Equal(rt, untold, o.owes())
					untold = false
				}
			},
		})
	})
}

// TestNewestStreamCounts: a member that connects again before its former connection is
// known to be broken is heard on the new one, and on nothing else.
func TestNewestStreamCounts(t *testing.T) {
	p := newTestPeer(t, 2)
	g := greeting{Hello: Hello{Cluster: testCluster, From: 1, To: 2}, min: minVersion, max: maxVersion, purpose: forStream, process: 7}
	c := caller{dial: dialTCP, timeout: time.Second}
	for _, word := range []string{"first", "second", "third"} {
		conn, err := c.enter(t.Context(), p.url, &g)
		require.NoError(t, err)
		defer conn.Close()
		frame, err := appendMessage(nil, text("%s", word))
		require.NoError(t, err)
		_, err = conn.Write(frame)
		require.NoError(t, err)
		eventually(t, "heard", func() bool { return p.r.last() == word })
		p.inbound.mu.Lock()
		require.Len(t, p.inbound.streams, 1)
		p.inbound.mu.Unlock()
	}
	require.Equal(t, []string{"first", "second", "third"}, p.r.heard())
}
