package core

import (
	"context"
	"time"
)

// Overview shows all members at once, as one of them finds them.
type Overview interface {
	// Overview returns every member's own account of itself, by id. It needs no quorum: the
	// members are those of this member's latest view, and one that does not answer soon has
	// Err. It is for root while authentication is on, and names no key.
	Overview(ctx context.Context, who Principal) ([]MemberStatus, error)
}

// MemberStatus is a member as another one, or it itself, sees it.
type MemberStatus struct {
	Member Member
	// Err is why the member could not be asked, nil if it answered. What follows is zero
	// then.
	Err    error
	Status Status
	// Observer says that it is a learner that serves clients.
	Observer bool
	// Sessions is the number of sessions that its state holds: those of the whole cluster.
	Sessions int
	// Lag is how many entries of the log it has not applied that some member which answered
	// knows to be committed.
	Lag uint64
	// RTT is how long the way there and back takes; zero for the member that was asked.
	RTT time.Duration
}
