package node

import (
	"context"
	"log/slog"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
)

// hungDisk has an eye on how long writes to the raft log take. A leader's heartbeats need
// no disk, but its next entry waits until its own log has the one before: with a disk that
// hangs it would lead for ever, and nothing would be committed (etcd #13527, #15247). So it
// hands leadership to a member whose disk has what its own has not. If all disks are slow,
// there is none, and nothing changes hands. It belongs to one goroutine.
type hungDisk struct {
	log interface {
		UnderWay() (took time.Duration, last uint64)
	}
	self     core.MemberID
	election time.Duration
	logger   *slog.Logger

	// said is when the log was told last, again when leadership may be handed over again,
	// and ahead since when a member is known to have written what this one has not.
	said, again, ahead time.Time
}

// leaderOf is consensus as hungDisk sees it.
type leaderOf interface {
	Status() (leader core.MemberID, term, committed, applied uint64)
	Progress(ctx context.Context) ([]consensus.Progress, error)
	TransferLeadership(ctx context.Context, to core.MemberID) error
}

const (
	// hungSilence is the least time between two lines that say that a write hangs.
	hungSilence = 10 * time.Second
	// handOverRest is how many election timeouts pass between two times that leadership is
	// handed over: slow disks must not pass it on and on.
	handOverRest = 10
)

// watch looks at the log until ctx ends.
func (h *hungDisk) watch(ctx context.Context, c leaderOf) {
	tick := time.NewTicker(h.election / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.look(ctx, c)
		case <-ctx.Done():
			return
		}
	}
}

// look says that a write hangs, and hands leadership over if this member leads.
func (h *hungDisk) look(ctx context.Context, c leaderOf) {
	took, last := h.log.UnderWay()
	if took < h.election/2 {
		h.ahead = time.Time{}
		return
	}
	if took >= h.election && time.Since(h.said) >= hungSilence {
		h.said = time.Now()
		h.logger.Warn("slow disk: a write to the raft log has not ended yet", "took", took.Round(time.Millisecond))
	}
	if leader, _, _, _ := c.Status(); leader != h.self || time.Since(h.again) < 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*h.election)
	defer cancel()
	members, err := c.Progress(ctx)
	if err != nil {
		return // no longer the leader
	}
	to := h.successor(members, last)
	switch {
	case to == 0:
		h.ahead = time.Time{}
		return
	case h.ahead.IsZero():
		h.ahead = time.Now()
	}
	if took < h.election || time.Since(h.ahead) < h.election/2 {
		return // disks that are about as slow as each other
	}
	h.again = time.Now().Add(handOverRest * h.election)
	h.logger.Warn("the disk hangs: leadership is handed over to a member that has what this one cannot write", "to", hexID(to))
	if err := c.TransferLeadership(ctx, to); err != nil {
		h.logger.Warn("leadership could not be handed over", "to", hexID(to), "error", err)
	}
}

// successor is a voter that has all up to last, if it can be
// elected without this one; zero if there is none.
func (h *hungDisk) successor(members []consensus.Progress, last uint64) core.MemberID {
	var to core.MemberID
	voters, active := 0, 0
	for _, m := range members {
		if m.Learner {
			continue
		}
		voters++
		if m.ID == h.self || !m.Active {
			continue
		}
		active++
		if m.Match >= last {
			to = m.ID
		}
	}
	if active <= voters/2 {
		return 0
	}
	return to
}
