package lease

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/triglot/triglot/core"
)

// Lease is what the row of a lease holds.
type Lease struct {
	// TTL is the time it lives without a keepalive, in whole milliseconds.
	TTL time.Duration
	// Granted is the index of the entry that granted it, or attached the session
	// last: an expiry from before is not of this lease.
	Granted uint64
	// Remaining is what it had left of its time at its last checkpoint, in whole
	// milliseconds: less than TTL. Zero is all of it: there was none, or it was
	// renewed since.
	Remaining time.Duration
	// Epoch counts the connections that a session was attached to, from 1. It is
	// zero for a lease that is no session.
	Epoch uint64
	// Secret is the hash of a session's secret.
	Secret core.SecretHash
}

// Session reports whether the lease is a session.
func (l *Lease) Session() bool { return l.Epoch != 0 }

func (l *Lease) entry() entry { return entry{granted: l.Granted, epoch: l.Epoch} }

// The first byte of a lease row is its format. The first format knew no
// sessions: a time to live and the index of the grant, both uvarint. The second
// has a kind in front of these, and behind a session's epoch (uvarint) and secret,
// or what a lease that was checkpointed has left (milliseconds, uvarint).
const (
	formatPlain = 1
	formatKind  = 2
)

// The kinds of lease in a row.
const (
	kindPlain        = 0
	kindSession      = 1
	kindCheckpointed = 2
)

func (l *Lease) row() []byte {
	kind := byte(kindPlain)
	switch {
	case l.Session():
		kind = kindSession
	case l.Remaining > 0:
		kind = kindCheckpointed
	}
	b := binary.AppendUvarint([]byte{formatKind, kind}, uint64(l.TTL.Milliseconds()))
	b = binary.AppendUvarint(b, l.Granted)
	switch kind {
	case kindSession:
		b = binary.AppendUvarint(b, l.Epoch)
		b = append(b, l.Secret[:]...)
	case kindCheckpointed:
		b = binary.AppendUvarint(b, uint64(l.Remaining.Milliseconds()))
	}
	return b
}

// DecodeRow reads the row of a lease, in any format there has been.
func DecodeRow(row []byte) (Lease, error) {
	d := rowDecoder{rest: row}
	kind := byte(kindPlain)
	switch format := d.byte(); format {
	case formatPlain:
	case formatKind:
		kind = d.byte()
	default:
		return Lease{}, fmt.Errorf("lease row of unknown format %d", format)
	}
	l := Lease{TTL: d.milliseconds(), Granted: d.uvarint()}
	switch kind {
	case kindPlain:
	case kindSession:
		l.Epoch = d.uvarint()
		d.bytes(l.Secret[:])
		d.bad = d.bad || l.Epoch == 0
	case kindCheckpointed:
		l.Remaining = d.milliseconds()
		d.bad = d.bad || l.Remaining == 0 || l.Remaining >= l.TTL
	default:
		return Lease{}, fmt.Errorf("lease row of unknown kind %d", kind)
	}
	if d.bad || len(d.rest) != 0 {
		// The row itself is not shown: it may hold the hash of a secret.
		return Lease{}, fmt.Errorf("malformed lease row of %d bytes", len(row))
	}
	return l, nil
}

// rowDecoder takes a row apart from the front; bad says that it was too short or
// out of range.
type rowDecoder struct {
	rest []byte
	bad  bool
}

func (d *rowDecoder) byte() byte {
	var b [1]byte
	d.bytes(b[:])
	return b[0]
}

func (d *rowDecoder) bytes(dst []byte) {
	if d.bad = d.bad || len(d.rest) < len(dst); !d.bad {
		d.rest = d.rest[copy(dst, d.rest):]
	}
}

func (d *rowDecoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if d.bad = d.bad || n <= 0; d.bad {
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *rowDecoder) milliseconds() time.Duration {
	const most = math.MaxInt64 / uint64(time.Millisecond)
	v := d.uvarint()
	d.bad = d.bad || v > most
	return time.Duration(min(v, most)) * time.Millisecond
}
