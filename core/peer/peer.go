package peer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"google.golang.org/protobuf/proto"

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

	// ReadTimeout is the silence after which a connection counts as broken, WriteTimeout
	// how long a write may take (etcd's --raft-read-timeout, --raft-write-timeout); zero
	// is 5 s.
	ReadTimeout, WriteTimeout time.Duration
	// Logger is slog.Default if nil.
	Logger *slog.Logger
}

// Handler is what becomes of what peers say. Its methods may be called by several
// goroutines at a time, but those about one member one at a time and in order.
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
	// Admit says whether somebody may speak, nil if so. It is asked at the handshake.
	Admit(hello Hello) *Refusal
	// Introduce is what a stranger is told who asks who is there (Probe): anybody who may
	// connect, as it is needed to join.
	Introduce() Introduction
	// Removed says that peers refuse this member because it was removed from the cluster.
	Removed(by core.MemberID)
}

// Hello is how one who connects introduces itself.
type Hello struct {
	Cluster  uint64
	From, To core.MemberID
	Name     string
}

// Refusal is why somebody may not speak. Both sides log its text.
type Refusal struct {
	// Removed says that the one who connects was a member and is none any more.
	Removed bool
	Reason  string
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

// Transport is the ways to all peers. Its methods are safe for concurrent use.
type Transport struct{}

var errNotYet = errors.New("not yet") // the contract is ahead of the code

// Start listens. Nobody is dialled before SetMembers.
func Start(c Config) (*Transport, error) { panic(errNotYet) }

// SetMembers says who the members are, this one included. Those that are new, or have
// other URLs, are dialled, those that are gone are left.
func (t *Transport) SetMembers(members []core.Member) { panic(errNotYet) }

// Send sends a message; it keeps it and must own it. It never blocks: if the way to the
// member is full or broken, the message is dropped and Handler.Broken called.
func (t *Transport) Send(to core.MemberID, m proto.Message) { panic(errNotYet) }

// Ask asks a member a question and returns its answer. The kinds are the caller's. It
// fails with a *core.Error: Timeout if there is no connection, or when it breaks.
func (t *Transport) Ask(ctx context.Context, to core.MemberID, kind uint8, body []byte) ([]byte, error) {
	panic(errNotYet)
}

// Open opens a connection for Handler.Transfer of a member.
func (t *Transport) Open(ctx context.Context, to core.MemberID) (net.Conn, error) { panic(errNotYet) }

// Peers are the members but this one, by id.
func (t *Transport) Peers() []Status { panic(errNotYet) }

// Stop closes all connections and waits for the goroutines.
func (t *Transport) Stop() { panic(errNotYet) }

// Dialer is what a member uses that has no Transport yet, because it is to join.
type Dialer struct {
	Dial   func(ctx context.Context, url string) (net.Conn, error)
	Logger *slog.Logger
}

// Probe asks who is at a URL.
func (d Dialer) Probe(ctx context.Context, url string) (Introduction, error) { panic(errNotYet) }

// Open is Transport.Open for one that says who it is.
func (d Dialer) Open(ctx context.Context, url string, hello Hello) (net.Conn, error) {
	panic(errNotYet)
}
