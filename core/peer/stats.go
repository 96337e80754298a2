package peer

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
)

// Stats is what went to and fro between this member and another since this one was
// started. Bytes are those of streams, without transfers.
type Stats struct {
	ID                             core.MemberID
	Name                           string
	SentBytes, ReceivedBytes       uint64
	SentMessages, ReceivedMessages uint64
	SentFailures, ReceivedFailures uint64
	Disconnects                    uint64
	// Active says that messages can be sent.
	Active bool
	RTT    RoundTrips
}

// RTTBuckets are the upper bounds of RoundTrips, in seconds: etcd's.
var RTTBuckets = func() (bounds [16]float64) {
	for i, bound := 0, 0.0001; i < len(bounds); i, bound = i+1, 2*bound {
		bounds[i] = bound
	}
	return bounds
}()

// RoundTrips is a histogram of how long the questions of connections took.
type RoundTrips struct {
	// Counts are of round trips up to the bound of that index, and not up to the one below.
	Counts [len(RTTBuckets)]uint64
	Count  uint64
	Sum    time.Duration
}

// traffic counts what Stats tells.
type traffic struct {
	sentBytes, receivedBytes       atomic.Uint64
	sentMessages, receivedMessages atomic.Uint64
	sentFailures, receivedFailures atomic.Uint64
	disconnects                    atomic.Uint64

	mu  sync.Mutex
	rtt RoundTrips
}

func (t *traffic) observe(rtt time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rtt.Count++
	t.rtt.Sum += rtt
	for i, bound := range RTTBuckets {
		if rtt.Seconds() <= bound {
			t.rtt.Counts[i]++
			return
		}
	}
}

func (t *traffic) stats() Stats {
	t.mu.Lock()
	rtt := t.rtt
	t.mu.Unlock()
	return Stats{
		SentBytes: t.sentBytes.Load(), ReceivedBytes: t.receivedBytes.Load(),
		SentMessages: t.sentMessages.Load(), ReceivedMessages: t.receivedMessages.Load(),
		SentFailures: t.sentFailures.Load(), ReceivedFailures: t.receivedFailures.Load(),
		Disconnects: t.disconnects.Load(), RTT: rtt,
	}
}
