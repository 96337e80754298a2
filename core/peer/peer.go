package peer

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/triglot/triglot/core"
)

// Config says who a member is to its peers. All of it is required, but for what says
// otherwise.
type Config struct {
	Cluster uint64
	Self    core.MemberID
	Name    string

	// Listeners are where peers connect, TLS done. Stop closes them.
	Listeners []net.Listener
	// Dial connects to a peer URL, TLS done.
	Dial func(ctx context.Context, url string) (net.Conn, error)

	Handler Handler
	// New says whether this member, as far as its disk knows, has never taken part (Hello).
	// Nil is that it has.
	New func() bool
	// OnLink is told whether there is a way to a member: that there is none when its name
	// is heard first and when a connection ends, and that there is one when messages
	// are taken. Nil is nobody.
	OnLink func(to core.MemberID, up bool)
	// OnGone is told that a member's process seems to have ended: there is no connection
	// with it, and those of its URLs that were tried last, all of them, were refused, or
	// closed before it had said anything. That it does not answer in time is no such sign.
	// All that it has sent was given to Handler before. It may be told again and again, as
	// often as it is tried. Nil is nobody.
	OnGone func(id core.MemberID)

	// ReadTimeout is the silence after which a connection counts as broken, WriteTimeout
	// how long a write may take (etcd's --raft-read-timeout, --raft-write-timeout); zero
	// is 5 s.
	ReadTimeout, WriteTimeout time.Duration
	// Logger is slog.Default if nil.
	Logger *slog.Logger
}

// Handler is what becomes of what peers say. Its methods may be called by several
// goroutines at a time; but Message of one member is called once at a time and in the
// order in which it sent, and so is Broken of one.
type Handler interface {
	// Message takes in a message, and may keep body. It must not block.
	Message(from core.MemberID, body []byte)
	// Broken says that what was sent to a member may be lost: what is sent from now on
	// goes on another stream.
	Broken(to core.MemberID)
	// Answer answers a question. An error reaches the one who asked as text.
	Answer(ctx context.Context, from core.MemberID, kind uint8, body []byte) ([]byte, error)
	// Transfer speaks on a connection that was opened by Transport.Open, until it
	// returns. The member is one of the cluster.
	Transfer(ctx context.Context, from core.MemberID, conn net.Conn) error
	// Admit says whether somebody may speak, nil if so. It is asked at the handshake; and
	// of one that this member dials, and that says that it is new, whether to speak to it.
	Admit(hello Hello) *Refusal
	// Introduce is what a stranger is told who asks who is there (Probe): anybody who may
	// connect, as it is needed to join. An error is what is wrong with what it says of
	// itself, for the log: it finds that out by what it is told.
	Introduce(who Newcomer) (Introduction, error)
	// Refused says that peers refuse this member for good: because it was removed from the
	// cluster, or has forgotten.
	Refused(by core.MemberID, why *Refusal)
}

// Hello is how one who connects introduces itself.
type Hello struct {
	Cluster  uint64
	From, To core.MemberID
	Name     string
	// New says that From has never voted nor acknowledged anything, as far as its disk
	// knows. If others know better, its disk was lost.
	New bool
}

// Newcomer is how one introduces itself that asks who is there, as far as it knows. The
// zero value says nothing.
type Newcomer struct {
	// Hello has no cluster and no member if it is to join a cluster that it does not know
	// yet, and never the one who is asked.
	Hello
	PeerURLs []string
}

// Refusal is why somebody may not speak. Both sides log its text.
type Refusal struct {
	// Removed says that the one who connects was a member and is none any more.
	Removed bool
	// Forgotten says that the one who connects says that it is new, and is not.
	Forgotten bool
	Reason    string
}

func (r *Refusal) Error() string { return r.Reason }

// Introduction is who a member is, and whom it knows.
type Introduction struct {
	Cluster uint64
	Self    core.MemberID
	Name    string
	// Mount is the path of the cluster's znodes as a core.node founding names it.
	Mount string
	// Leader is zero if none is known.
	Leader  core.MemberID
	Members []core.Member
	// Removed are those that were members.
	Removed []core.MemberID
}

// Status is what is known of the way to a peer.
type Status struct {
	ID core.MemberID
	// Since is when the present connection began to work, zero if there is none (etcd's
	// health checks ask for 5 s).
	Since time.Time
	// RTT is the last time that a question of the connection's own took.
	RTT time.Duration
	// Err is why there is none.
	Err error
}
