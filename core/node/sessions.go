package node

import (
	"context"
	"slices"
	"sync"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/expiry"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/core/state/lease"
)

// sessions is what front ends do with the leases that are sessions. It implements
// core.Sessions.
type sessions struct {
	leases *leases

	mu        sync.Mutex // held while followers are called
	followers []*follower

	contact contact
}

type follower struct{ tell func(core.SessionRef) }

// Sessions gives access to the member's sessions. Those who follow them are called
// by the apply goroutine, after the view that shows the change is published and
// before the command that made it is answered.
func (n *Node) Sessions() core.Sessions { return &n.sessions }

// Touch implements core.Sessions.
func (s *sessions) Touch(ctx context.Context, id core.LeaseID) error {
	switch answer := s.leases.touch(id); {
	case answer == expiry.Renewed:
		return nil
	case answer == expiry.NotLeading && s.leases.n.clustered():
		// If it comes too late, or there is no such session, all members will apply that
		// the session has ended.
		s.leases.renewals.touch(id)
		return nil
	}
	err := s.leases.renewUncertain(ctx, id, true, func() expiry.Renewal { return s.leases.touch(id) })
	if err != nil && core.KindOf(err) == core.LeaseNotFound {
		return core.SessionExpired
	}
	return err
}

// Follow implements core.Sessions. When stop returns, fn is not called any more:
// so fn must not call stop, nor wait for one who does.
func (s *sessions) Follow(fn func(core.SessionRef)) (stop func()) {
	f := &follower{tell: fn}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followers = append(s.followers, f)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.followers = slices.DeleteFunc(s.followers, func(other *follower) bool { return other == f })
	}
}

// List implements core.Sessions.
func (s *sessions) List(context.Context) ([]core.SessionStatus, error) {
	v := s.leases.n.published.hold()
	if v == nil {
		return nil, core.Stopped
	}
	defer v.Close()
	var all []core.SessionStatus
	err := v.EachLease(func(id core.LeaseID, known lease.Lease) {
		if known.Session() {
			all = append(all, core.SessionStatus{ID: id, Timeout: known.TTL, Remaining: known.TTL})
		}
	})
	if err != nil {
		return nil, err
	}
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	now := s.leases.now()
	for i := range all {
		if left, leading := s.leases.deadlines.Remaining(now, all[i].ID); leading {
			all[i].Remaining = max(left, 0)
		}
	}
	return all, nil
}

// changed is told by apply which leases came and went.
func (s *sessions) changed(changes []state.LeaseChange) {
	for _, c := range changes {
		ended, attached := c.TTL == 0 && c.Epoch != 0, c.Epoch > 1
		switch {
		case ended:
			s.tell(core.SessionRef{ID: c.ID})
		case attached:
			s.tell(core.SessionRef{ID: c.ID, Epoch: c.Epoch})
		}
	}
}

func (s *sessions) tell(ref core.SessionRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.followers {
		f.tell(ref)
	}
}
