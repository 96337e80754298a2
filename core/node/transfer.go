package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/core/transfer"
	"github.com/triglot/triglot/storage/checkpoint"
)

const (
	// DefaultTransferRate is what states are sent with, in bytes a second: half of a line
	// of 1 Gbit/s, and a small part of what a disk reads, so that clients and the log hardly
	// notice. A gigabyte takes 16 s.
	DefaultTransferRate = 64 << 20

	// checkpointLasts is how long a checkpoint is kept that nobody is being sent: a receiver
	// that was cut off, or started again, goes on with it. It keeps old files on the disk, and
	// the log behind it.
	checkpointLasts = time.Minute
)

// states are the states that go from member to member.
type states struct {
	fetcher  fetcher
	outgoing outgoing
}

func (s *states) init(ctx context.Context, n *Node) {
	s.fetcher.init(ctx, n)
	s.outgoing.init(n)
}

// outgoing are the checkpoints that this member sends to others. All who ask are sent
// the same one while that will do.
type outgoing struct {
	n     *Node
	limit *transfer.Limit
	// making is held by who makes a checkpoint.
	making semaphore

	mu sync.Mutex
	// all are those that there are; the last one is for who asks next.
	all []*outgoingCheckpoint
	// made counts them, sent the bytes that were sent of them.
	made int
	sent int64
}

// outgoingCheckpoint is a checkpoint in a directory of its own.
type outgoingCheckpoint struct {
	dir   string
	index uint64
	// members are some of those that were members at its index, or all.
	members []core.Member
	// users are being sent it; since is when the last of them was done, if there is none.
	users int
	since time.Time
}

func (o *outgoing) init(n *Node) {
	o.n, o.making = n, make(semaphore, 1)
	o.limit = transfer.NewLimit(n.cfg.Limits.TransferBytesPerSecond)
}

// Transfer implements peer.Handler: it sends the state to a member that asks for it.
func (p *peers) Transfer(ctx context.Context, from core.MemberID, conn net.Conn) error {
	o, logger := &p.states.outgoing, p.n.cfg.Logger.With("to", fmt.Sprintf("%x", uint64(from)))
	begun, end := time.Now(), p.n.metrics.states.sent.begin(from)
	var c *outgoingCheckpoint
	sent, err := transfer.Send(ctx, conn, o.limit, func(ctx context.Context) (*transfer.Sender, error) {
		var err error
		if c, err = o.take(ctx, from); err != nil {
			return nil, err
		}
		logger.Info("sending the state to another member", "index", c.index)
		return transfer.NewSender(p.n.cfg.FS, c.dir, c.index)
	})
	end(err)
	if c != nil {
		o.give(c, sent)
	}
	took := time.Since(begun).Round(time.Millisecond)
	if err != nil {
		logger.Warn("sending the state to another member was cut off", "bytes", sent, "took", took, "error", err)
		return err
	}
	logger.Info("sent database snapshot", "index", c.index, "bytes", sent, "took", took)
	return nil
}

// take returns a checkpoint to send to a member, to be given back.
func (o *outgoing) take(ctx context.Context, to core.MemberID) (*outgoingCheckpoint, error) {
	if err := o.n.acquire(ctx, o.making); err != nil {
		return nil, err
	}
	defer o.making.release()
	if c, err := o.share(to); c != nil || err != nil {
		return c, err
	}
	c := o.plan()
	index, err := o.create(c)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.all = slices.DeleteFunc(o.all, func(other *outgoingCheckpoint) bool { return other == c })
		return nil, err
	}
	c.index = index
	return c, nil
}

// plan notes a checkpoint that is about to be made, which will be as of what is applied
// now, or later: from now on the log stays that comes after that.
func (o *outgoing) plan() *outgoingCheckpoint {
	c := &outgoingCheckpoint{users: 1}
	if v := o.n.published.hold(); v != nil {
		c.index, c.members = v.Index(), v.Members()
		v.Close()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.made++
	c.dir = o.n.cfg.FS.PathJoin(o.n.disk.dir.join(outgoingName), strconv.Itoa(o.made))
	o.all = append(o.all, c)
	return c
}

func (o *outgoing) create(c *outgoingCheckpoint) (index uint64, err error) {
	if err := o.n.cfg.FS.MkdirAll(o.n.disk.dir.join(outgoingName), 0o700); err != nil {
		return 0, err
	}
	e := o.n.disk.holdEngine()
	defer e.release()
	return checkpoint.Create(e.db, c.dir, state.IndexIn)
}

// share returns the newest checkpoint if it will do: if the log still has what comes
// after it, and the one that it is for was a member already when it was made: one that
// joins must be a member in what it joins with. REQUIRES: making is held.
func (o *outgoing) share(to core.MemberID) (*outgoingCheckpoint, error) {
	first, err := o.n.disk.log.FirstIndex()
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.all) == 0 {
		return nil, nil
	}
	c := o.all[len(o.all)-1]
	if c.index+1 < first || memberIn(c.members, to) == nil && o.n.knows(to) {
		return nil, nil
	}
	c.users++
	return c, nil
}

// give gives a checkpoint back of which so many bytes were sent.
func (o *outgoing) give(c *outgoingCheckpoint, sent int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent += sent
	c.users--
	c.since = time.Now()
}

// tidy removes the checkpoints that nobody goes on with.
func (o *outgoing) tidy(now time.Time) error {
	var old []*outgoingCheckpoint
	o.mu.Lock()
	kept := o.all[:0]
	for i, c := range o.all {
		newest := i == len(o.all)-1
		if c.users == 0 && (!newest || now.Sub(c.since) >= checkpointLasts) {
			old = append(old, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(o.all[len(kept):])
	o.all = kept
	o.mu.Unlock()
	var errs []error
	for _, c := range old {
		errs = append(errs, o.n.disk.dir.removeDir(c.dir))
	}
	return errors.Join(errs...)
}

// needed is the index behind which the log must stay for those who are being sent a
// checkpoint; ok is false if there is none.
func (o *outgoing) needed() (index uint64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.all {
		if !ok || c.index < index {
			index, ok = c.index, true
		}
	}
	return index, ok
}

// close removes all checkpoints. Nobody is being sent one any more.
func (o *outgoing) close() error { return o.n.disk.dir.removeDir(o.n.disk.dir.join(outgoingName)) }
